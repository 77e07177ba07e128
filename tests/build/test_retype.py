"""Rows of one type as rows of another, row by row."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from prefdata.build.retype import RETYPES, retype
from prefdata.errors import InputError
from prefdata.schema import SCHEMAS, RecordType

P, U, S, Q = RecordType.PREFERENCE, RecordType.UNPAIRED, RecordType.SFT, RecordType.PROMPT


def message(role: str, content: str) -> list[dict[str, str | None]]:
    return [{"role": role, "content": content, "tool_calls": None}]


def frame(record_type: RecordType, *rows: dict[str, Any]) -> pl.DataFrame:
    full = []
    for row in rows:
        given = {"source": "s", "group": "g", "prompt": "question", **row}
        for side in ("prompt", "completion", "chosen", "rejected"):
            if isinstance(given.get(side), str):
                given[side] = message("user" if side == "prompt" else "assistant", given[side])
        full.append(given)
    return pl.DataFrame(full, schema=SCHEMAS[record_type])


def text(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("content")).list.join(" | ")


def test_a_pair_becomes_a_desirable_and_an_undesirable_row_side_by_side() -> None:
    pairs = frame(P, {"id": "2", "chosen": "A", "rejected": "B", "margin": 1.5, "evidence": '{"by":"rating"}'})
    built = retype(pairs, P, U)
    assert built.rows.select(text("completion"), "label", "group", "label_confidence").rows() == [
        ("A", True, "g", None),
        ("B", False, "g", None),
    ]
    assert built.rows["evidence"].to_list() == [
        '{"by":"pair","pair":"2","side":"chosen","margin":1.5,"of":{"by":"rating"}}',
        '{"by":"pair","pair":"2","side":"rejected","margin":1.5,"of":{"by":"rating"}}',
    ]
    assert built.rows["label_sources"].to_list() == [["pair"], ["pair"]]
    assert built.unmade.height == 0


def test_an_equal_pair_gives_no_labels() -> None:
    pairs = frame(P, {"id": "1", "chosen": "same", "rejected": " same\n"})
    built = retype(pairs, P, U)
    assert built.rows.height == 0
    assert built.unmade.rows() == [
        ("1", None, "chosen", ["equal_sides"]),
        ("1", None, "rejected", ["equal_sides"]),
    ]


def test_the_sound_side_of_a_pair_stays_where_the_other_is_empty() -> None:
    built = retype(frame(P, {"id": "1", "chosen": "", "rejected": "B"}), P, U)
    assert built.rows.select(text("completion"), "label").rows() == [("B", False)]
    assert built.unmade.rows() == [("1", None, "chosen", ["empty_completion"])]


def test_a_picture_goes_with_the_side_that_holds_it() -> None:
    pictures = [
        {"uri": "q.png", "side": "prompt", "message": 0, "part": 0},
        {"uri": "a.png", "side": "chosen", "message": 0, "part": 0},
    ]
    built = retype(frame(P, {"id": "1", "chosen": "", "rejected": "B", "images": pictures}), P, U)
    assert built.rows["images"].to_list() == [
        [pictures[0], {"uri": "a.png", "side": "completion", "message": 0, "part": 0}],
        [pictures[0]],
    ]


def test_the_chosen_side_of_a_pair_is_an_example_under_the_same_id() -> None:
    built = retype(
        frame(P, {"id": "1", "chosen": "A", "rejected": "B"}, {"id": "0", "chosen": "", "rejected": "B"}), P, S
    )
    assert built.rows.select("id", text("completion"), "evidence").rows() == [
        ("1", "A", '{"by":"pair","side":"chosen"}')
    ]
    assert built.unmade.rows() == [("0", None, "chosen", ["empty_completion"])]


def test_only_desirable_rows_are_examples() -> None:
    rows = frame(
        U,
        {"id": "b", "completion": "B", "label": False},
        {"id": "a", "completion": "A", "label": True},
        {"id": "n", "completion": "N"},
    )
    built = retype(rows, U, S)
    assert built.rows["id"].to_list() == ["a"]
    assert built.unmade.rows() == [("b", None, None, ["undesirable"]), ("n", None, None, ["abstained"])]


@pytest.mark.parametrize("source", [P, U, S])
def test_anything_becomes_prompts(source: RecordType) -> None:
    sides = {name: "A" for name in ("completion", "chosen") if name in SCHEMAS[source]}
    sides |= {"rejected": "B"} if source == P else {}
    rows = frame(source, {"id": "1", **sides}, {"id": "2", **sides}, {"id": "3", **sides, "prompt": " "})
    built = retype(rows, source, Q)
    assert built.rows.select("id", text("prompt")).rows() == [("1", "question"), ("2", "question")]
    assert built.unmade.rows() == [("3", None, None, ["no_prompt"])]


def test_prompts_seen_in_an_earlier_chunk_are_left_out() -> None:
    seen: set[str] = set()
    first = retype(frame(S, {"id": "1", "completion": "A"}, {"id": "2", "completion": "B"}), S, Q, seen=seen)
    second = retype(
        frame(S, {"id": "3", "completion": "C"}, {"id": "4", "completion": "D", "prompt": "new"}), S, Q, seen=seen
    )
    assert first.rows["id"].to_list() == ["1"]
    assert second.rows["id"].to_list() == ["4"]
    assert second.unmade.rows() == [("3", None, None, ["prompt_repeated"])]


def test_rows_keep_their_order_and_chunks_do_not_matter() -> None:
    pairs = frame(P, *({"id": str(number), "chosen": f"A{number}", "rejected": "B"} for number in (3, 1, 2)))
    whole = retype(pairs, P, U).rows
    parts = pl.concat([retype(pairs.slice(at, 1), P, U).rows for at in range(3)])
    assert whole.select(text("completion"))["completion"].to_list() == ["A3", "B", "A1", "B", "A2", "B"]
    assert parts.equals(whole)


@pytest.mark.parametrize("source", list(RecordType))
@pytest.mark.parametrize("target", list(RecordType))
def test_every_way_is_either_open_or_refused_with_its_reason(source: RecordType, target: RecordType) -> None:
    empty = frame(source)
    if source == target or target in RETYPES[source]:
        assert retype(empty, source, target).rows.schema == SCHEMAS[target]
    else:
        with pytest.raises(InputError, match=f"rows of {source} cannot become {target}: .*; they can become"):
            retype(empty, source, target)
