"""SFT rows from conversations, chosen sides and desirable rows."""

from __future__ import annotations

import polars as pl
import pytest

from prefdata.build.sft import from_conversations, from_desirable, from_pairs
from prefdata.errors import InputError
from prefdata.schema import IMAGE, MESSAGES, SCHEMAS, RecordType


def said(*turns: str, calls: str | None = None) -> list[dict[str, str | None]]:
    """Messages: "u:..." a customer's, "a:..." an agent's, "t:..." a tool's, "s:..." the system's."""
    roles = {"u": "user", "a": "assistant", "t": "tool", "s": "system"}
    return [{"role": roles[one[0]], "content": one[2:], "tool_calls": None} for one in turns]


def conversations(*given: list[dict[str, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": [f"c{number}" for number in range(len(given))], "source": "s", "messages": list(given)},
        schema_overrides={"messages": MESSAGES},
    )


def canonical(record_type: RecordType, rows: list[dict[str, object]]) -> pl.DataFrame:
    full = [{"source": "s", "group": "g", **row} for row in rows]
    return pl.DataFrame(full, schema=SCHEMAS[record_type])


def texts(rows: pl.DataFrame, *sides: str) -> list[tuple[str, ...]]:
    """The contents of each side, joined by " | ", rows sorted."""
    joined = [pl.col(side).list.eval(pl.element().struct.field("content")).list.join(" | ") for side in sides]
    return sorted(rows.select(joined).rows())


def test_every_turn_of_a_conversation_becomes_a_row() -> None:
    built = from_conversations(conversations(said("s:be kind", "u:hi", "a:hello", "u:lost", "a:sorry")))
    assert texts(built.rows, "prompt", "completion") == [
        ("be kind | hi", "hello"),
        ("be kind | hi | hello | lost", "sorry"),
    ]
    assert built.unmade.height == 0
    assert built.rows["evidence"].sort().to_list() == [
        '{"by":"conversation","conversation":"c0","message":2}',
        '{"by":"conversation","conversation":"c0","message":4}',
    ]
    assert built.rows["group"].n_unique() == 1


def test_the_last_turn_only() -> None:
    built = from_conversations(conversations(said("u:hi", "a:hello", "u:lost", "a:sorry", "u:thanks")), turns="last")
    assert texts(built.rows, "prompt", "completion") == [("hi | hello | lost", "sorry")]


@pytest.mark.parametrize(
    ("turns", "reason", "part"),
    [
        (["a:welcome", "u:hi"], "no_prompt", "0"),
        (["s:rules", "a:welcome"], "no_prompt", "1"),
        (["u:hi"], "no_agent_turn", None),
        ([], "no_agent_turn", None),
        (["u:hi", "a: "], "empty_completion", "1"),
        (["u:hi", "a:wait", "t:42"], "ends_in_tool_result", "1"),
    ],
)
def test_a_turn_that_is_no_example(turns: list[str], reason: str, part: str | None) -> None:
    built = from_conversations(conversations(said(*turns)))
    assert built.rows.height == 0
    assert built.unmade.rows() == [("c0", None, part, [reason])]


def test_messages_in_a_row_and_tool_results_are_one_completion() -> None:
    built = from_conversations(conversations(said("u:hi", "a:let me look", "t:42", "a:it is 42")))
    assert texts(built.rows, "prompt", "completion") == [("hi", "let me look | 42 | it is 42")]


def test_pictures_go_to_the_side_that_holds_their_message() -> None:
    pictures = [
        {"uri": "first.png", "side": "messages", "message": 0, "part": 1},
        {"uri": "answer.png", "side": "messages", "message": 3, "part": 0},
        {"uri": "later.png", "side": "messages", "message": 4, "part": 0},
    ]
    rows = conversations(said("u:see", "a:yes", "u:more", "a:", "u:this", "a:no")).with_columns(
        images=pl.Series([pictures], dtype=pl.List(IMAGE))
    )
    built = from_conversations(rows)
    found = dict(zip(built.rows["completion"].list.eval(pl.element().struct.field("content")).list.join("").to_list(),
                     built.rows["images"].to_list(), strict=True))  # fmt: skip
    first = {"uri": "first.png", "side": "prompt", "message": 0, "part": 1}
    assert found["yes"] == [first]
    assert found[""] == [first, {"uri": "answer.png", "side": "completion", "message": 0, "part": 0}]
    assert [one["side"] for one in found["no"]] == ["prompt"] * 3


def test_a_conversation_of_the_wrong_shape_is_refused() -> None:
    rows = pl.DataFrame({"id": ["a", "a"], "messages": ["text", "text"]})
    with pytest.raises(InputError, match=r"source: missing, expected String; messages: String, expected List"):
        from_conversations(rows)
    with pytest.raises(InputError, match="turns: 'all', expected every or last"):
        from_conversations(conversations(said("u:a")), turns="all")  # type: ignore[arg-type]


def test_an_answer_that_another_pair_rejects_is_no_example() -> None:
    pair = {"prompt": said("u:q")}
    pairs = canonical(
        RecordType.PREFERENCE,
        [
            {**pair, "id": "ab", "chosen": said("a:A"), "rejected": said("a:B")},
            {**pair, "id": "ac", "chosen": said("a:A"), "rejected": said("a:C")},
            {**pair, "id": "bc", "chosen": said("a:B"), "rejected": said("a:C")},
            {**pair, "id": "x", "chosen": said("a: "), "rejected": said("a:C")},
        ],
    )
    built = from_pairs(pairs)
    assert texts(built.rows, "prompt", "completion") == [("q", "A")]
    assert built.unmade.rows() == [
        ("ac", None, "chosen", ["repeated"]),
        ("bc", None, "chosen", ["both_chosen_and_rejected"]),
        ("x", None, "chosen", ["empty_completion"]),
    ]
    assert from_pairs(pairs.reverse()).rows.equals(built.rows)


def test_desirable_rows_only() -> None:
    row = {"prompt": said("u:q")}
    rows = canonical(
        RecordType.UNPAIRED,
        [
            {**row, "id": "good", "completion": said("a:A"), "label": True, "label_confidence": 0.9},
            {**row, "id": "same", "completion": said("a:A"), "label": True, "label_confidence": 0.9},
            {**row, "id": "unsure", "completion": said("a:B"), "label": True, "label_confidence": 0.6},
            {**row, "id": "bad", "completion": said("a:C"), "label": False},
            {**row, "id": "torn", "completion": said("a:C"), "label": True},
            {**row, "id": "silent", "completion": said("a:D")},
            {**row, "id": "void", "completion": [], "label": True},
        ],
    )
    built = from_desirable(rows, min_confidence=0.7)
    assert built.rows["id"].to_list() == ["good"]
    assert {(row[0], *row[3]) for row in built.unmade.rows()} == {
        ("same", "repeated"),
        ("unsure", "low_confidence"),
        ("bad", "undesirable"),
        ("torn", "conflicting_labels"),
        ("silent", "abstained"),
        ("void", "empty_completion"),
    }
