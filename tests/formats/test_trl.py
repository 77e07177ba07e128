"""TRL's export: explicit sides, boolean labels, no column of nulls, labels spread evenly, the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdata import catalogue
from prefdata.conversion import convert
from prefdata.formats.core import Outcome, identify
from prefdata.formats.export import write_export
from prefdata.formats.messages import MARK
from prefdata.formats.order import interleave
from prefdata.formats.trl import Trl
from prefdata.schema import MESSAGES, SCHEMAS, RecordType, conform


def rows(labels: list[bool]) -> pl.DataFrame:
    side = [[{"role": "user", "content": f"q {at} 你好 🙂", "tool_calls": None}] for at in range(len(labels))]
    reply = [[{"role": "assistant", "content": f"a {at}", "tool_calls": None}] for at in range(len(labels))]
    ids = [f"{at:04d}" for at in range(len(labels))]
    frame = pl.DataFrame(
        {"id": ids, "source": ids, "group": ids, "prompt": side, "completion": reply, "label": labels},
        schema_overrides={"prompt": MESSAGES, "completion": MESSAGES, "label": pl.Boolean},
    )
    return conform(frame, RecordType.UNPAIRED)


def test_the_file_holds_what_the_trainer_reads(tmp_path: Path) -> None:
    written = write_export(Trl(), {"train": rows([True, False, True])}, RecordType.UNPAIRED, tmp_path)["files"]
    frame = pl.read_parquet(tmp_path / "train.parquet")
    assert frame.columns == ["id", "prompt", "completion", "label"]
    assert frame.schema["label"] == pl.Boolean
    assert frame.filter(pl.col("id") == "0002")["completion"].to_list() == [[{"role": "assistant", "content": "a 2"}]]
    facts = written["train.parquet"]
    assert (facts["rows"], facts["desirable"], facts["undesirable"]) == (3, 2, 1)


def test_the_order_of_rows_changes_no_byte(tmp_path: Path) -> None:
    frame = rows([True, False, True, True, False])
    for name, given_rows in (("a", frame), ("b", frame.reverse())):
        write_export(Trl(), {"train": given_rows}, RecordType.UNPAIRED, tmp_path / name)
    assert (tmp_path / "a/train.parquet").read_bytes() == (tmp_path / "b/train.parquet").read_bytes()


@given(st.lists(st.booleans(), min_size=8, max_size=60))
def test_labels_are_spread_evenly(labels: list[bool]) -> None:
    spread = interleave(rows(labels))["label"].to_list()
    assert sorted(spread) == sorted(labels)
    good = sum(labels)
    for end in range(len(labels) + 1):
        assert abs(sum(spread[:end]) - end * good / len(labels)) <= 1.0


def test_rows_of_one_label_and_rows_without_keep_their_order() -> None:
    labels = [None, True, True, True, False, None]
    frame = pl.DataFrame({"at": range(6), "label": labels}, schema_overrides={"label": pl.Boolean})
    assert interleave(frame.filter(pl.col("label").is_not_null()).head(0)).rows() == []
    assert interleave(frame).rows() == [(1, True), (0, None), (2, True), (4, False), (5, None), (3, True)]
    mixed = pl.DataFrame({"at": range(4), "label": [True, False, True, False]})
    assert interleave(mixed).equals(mixed)


def messages(*contents: str, roles: tuple[str, ...] = ("user", "assistant")) -> list[dict[str, str]]:
    return [{"role": role, "content": one} for role, one in zip(roles, contents, strict=False)]


def contents(frame: pl.DataFrame, side: str) -> list[list[str]]:
    return [[turn["content"] for turn in row] for row in frame[side].to_list()]


def reasons(outcome: Outcome) -> dict[int, list[str]]:
    return dict(outcome.refused.iter_rows())


def test_a_label_in_words_is_refused_and_read_once_it_is_told() -> None:
    frame = pl.DataFrame({"prompt": ["q", "q"], "completion": ["a", "b"], "label": ["false", "true"]})
    assert reasons(Trl().decode(frame, RecordType.UNPAIRED)) == {0: ["ambiguous_label"], 1: ["ambiguous_label"]}
    told = Trl(labels={"false": False, "true": True}).decode(frame, RecordType.UNPAIRED)
    assert told.rows["label"].to_list() == [False, True]
    numbers = frame.with_columns(label=pl.Series([0, 1]))
    assert reasons(Trl().decode(numbers, RecordType.UNPAIRED)) == {0: ["ambiguous_label"], 1: ["ambiguous_label"]}


def test_whole_conversations_without_a_prompt_are_cut_where_they_part() -> None:
    frame = pl.DataFrame(
        {
            "chosen": [messages("q", "good"), messages("q", "good")],
            "rejected": [messages("q", "bad"), messages("other", "bad")],
        }
    )
    outcome = Trl().decode(frame, RecordType.PREFERENCE)
    assert contents(outcome.rows, "prompt") == [["q"], []]
    assert contents(outcome.rows, "chosen") == [["good"], ["q", "good"]]
    sent = Trl().encode(identify(outcome.rows, RecordType.PREFERENCE, source="test"), RecordType.PREFERENCE)
    assert reasons(sent) == {1: ["answer_not_by_assistant", "empty_prompt"]}


def test_a_prompt_that_its_answers_repeat_is_refused() -> None:
    frame = pl.DataFrame(
        {"prompt": [messages("q")], "chosen": [messages("q", "good")], "rejected": [messages("q", "bad")]}
    )
    assert reasons(Trl().decode(frame, RecordType.PREFERENCE)) == {0: ["prompt_in_answer"]}


def test_a_prompt_that_both_answers_repeat_as_text_is_refused_and_a_greeting_is_not() -> None:
    asked = "Q: what is a lease?"
    frame = pl.DataFrame(
        {
            "prompt": [asked, "Hi", asked],
            "chosen": [asked + " A: a contract", "Hi, how can I help?", asked + " A contract."],
            "rejected": [asked + " A: a dog", "Hi there", "A dog."],
        }
    )
    assert reasons(Trl().decode(frame, RecordType.PREFERENCE)) == {0: ["prompt_in_answer"]}


def test_a_message_without_content_is_refused_where_it_is_read() -> None:
    frame = pl.DataFrame({"messages": [[{"role": "user", "content": None}, {"role": "assistant", "content": "a"}]]})
    assert reasons(Trl().decode(frame, RecordType.SFT)) == {0: ["missing_content"]}


def test_equal_sides_empty_answers_and_rows_without_a_label_are_not_written() -> None:
    pairs = pl.DataFrame({"prompt": ["q"] * 3, "chosen": ["a", "same", " "], "rejected": ["b", "same", "c"]})
    read = identify(Trl().decode(pairs, RecordType.PREFERENCE).rows, RecordType.PREFERENCE, source="test")
    sent = Trl().encode(read, RecordType.PREFERENCE)
    assert reasons(sent) == {1: ["equal_sides"], 2: ["empty_answer"]}
    assert sent.rows.drop("id").to_dicts() == [
        {
            "prompt": [{"role": "user", "content": "q"}],
            "chosen": [{"role": "assistant", "content": "a"}],
            "rejected": [{"role": "assistant", "content": "b"}],
        }
    ]
    unlabelled = pl.DataFrame(
        {"prompt": ["q"], "completion": ["a"], "label": [None]}, schema_overrides={"label": pl.Boolean}
    )
    rows_ = identify(Trl().decode(unlabelled, RecordType.UNPAIRED).rows, RecordType.UNPAIRED, source="test")
    assert reasons(Trl().encode(rows_, RecordType.UNPAIRED)) == {0: ["label_missing"]}


def test_pictures_go_where_their_parts_stand_and_a_literal_tag_stays_text() -> None:
    parts = [{"type": "text", "text": "see <image>"}, {"type": "image", "text": None}, {"type": "text", "text": "?"}]
    answer = [{"type": "text", "text": "a cat"}]
    frame = pl.DataFrame(
        {
            "messages": [[{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]] * 2,
            "images": [["cat.jpg"], ["cat.jpg", "dog.jpg"]],
        }
    )
    outcome = Trl().decode(frame, RecordType.SFT)
    assert reasons(outcome) == {1: ["image_count"]}
    assert outcome.rows["images"].to_list() == [[{"uri": "cat.jpg", "side": "prompt", "message": 0, "part": 1}]]
    sent = Trl().encode(identify(outcome.rows, RecordType.SFT, source="test"), RecordType.SFT)
    assert sent.rows["prompt"].to_list() == [[{"role": "user", "content": parts}]]
    assert sent.rows["images"].to_list() == [["cat.jpg"]]


def test_plain_text_holds_one_turn_and_no_system_prompt() -> None:
    frame = pl.DataFrame(
        {
            "messages": [
                messages("q", "a"),
                messages("be brief", "q", "a", roles=("system", "user", "assistant")),
                messages("q", "a", "r", "b", roles=("user", "assistant", "user", "assistant")),
            ]
        }
    )
    read = identify(Trl().decode(frame, RecordType.SFT).rows, RecordType.SFT, source="test")
    sent = Trl(style="standard", ids=False).encode(read, RecordType.SFT)
    assert sent.rows.to_dicts() == [{"prompt": "q", "completion": "a"}]
    assert reasons(sent) == {1: ["system_prompt"], 2: ["multi_turn_prompt"]}


def scored(**scores: list[float | None]) -> pl.DataFrame:
    count = len(next(iter(scores.values())))
    side = {name: [messages(f"{name} {at}", roles=(role,)) for at in range(count)] for name, role in SIDES.items()}
    return pl.DataFrame({**side, **scores})


SIDES = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}


@pytest.mark.parametrize("name", ["trl", "huggingface", "openrlhf"])
def test_pairs_that_were_rated_equal_or_the_other_way_round_are_refused(name: str) -> None:
    frame = scored(score_chosen=[8.0, 8.0, 7.5, None, float("nan")], score_rejected=[7.0, 8.0, 8.0, 8.0, float("nan")])
    outcome = catalogue.load("format", name)().decode(frame, RecordType.PREFERENCE)
    assert reasons(outcome) == {1: ["tie"], 2: ["worse_chosen"]}
    assert outcome.rows["margin"].to_list() == [None, None, None]  # TRL takes a margin from a column of that name only
    assert json.loads(outcome.rows["meta"][0]) == {"score_chosen": 8.0, "score_rejected": 7.0}


def test_scores_that_are_no_numbers_or_alone_say_nothing() -> None:
    for scores in ({"score_chosen": ["b"], "score_rejected": ["b"]}, {"score_chosen": [1.0]}):
        assert reasons(Trl().decode(scored(**scores), RecordType.PREFERENCE)) == {}  # type: ignore[arg-type]


def test_files_of_rated_pairs_are_still_read_in_one_way(tmp_path: Path) -> None:
    scored(score_chosen=[2, 2], score_rejected=[1, 2]).write_parquet(tmp_path / "pairs.parquet")
    result = convert(tmp_path / "pairs.parquet", to="trl", out=tmp_path / "out.jsonl")
    assert (result.source, result.refused_reading, result.written) == ("trl", {"tie": 1}, 1)


def asked(*turns: tuple[str, str | None, str | None]) -> pl.DataFrame:
    prompt = [{"role": role, "content": text, "tool_calls": calls} for role, text, calls in turns]
    row = {"id": "1", "prompt": prompt, "completion": [{"role": "assistant", "content": "a", "tool_calls": None}]}
    wanted = {"id": pl.String, "prompt": MESSAGES, "completion": MESSAGES}
    return pl.DataFrame([row], schema=wanted).with_columns(
        images=pl.lit(None, SCHEMAS[RecordType.SFT]["images"]), tools=pl.lit(None, pl.String)
    )


CALL = '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([("user", "", None)], ["empty_turn"]),
        ([("user", " \n", None)], ["empty_turn"]),
        ([("system", "s", None), ("user", None, None)], ["empty_turn"]),
        ([("user", "", None), ("assistant", "b", None), ("user", "q", None)], []),
        ([("user", "q", None), ("assistant", "", CALL)], []),
        ([("user", "q", None), ("assistant", "", CALL), ("tool", "", None)], []),
        ([("user", MARK, None)], []),
    ],
)
def test_an_answer_to_nothing_is_not_written(
    turns: list[tuple[str, str | None, str | None]], expected: list[str]
) -> None:
    found = reasons(Trl().encode(asked(*turns), RecordType.SFT))
    assert found.get(0, []) == expected


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.Float32, pl.UInt8])
def test_a_label_that_is_a_number_is_told_by_its_whole_value(dtype: type[pl.DataType]) -> None:
    frame = pl.DataFrame({"prompt": ["q", "q", "q"], "completion": ["a", "b", "c"], "label": [1, 0, 2]})
    frame = frame.cast({"label": dtype})
    for labels in ({"1": True, "0": False}, {"1.0": True, "0.0": False}):
        told = Trl(labels=labels).decode(frame, RecordType.UNPAIRED)
        assert told.rows["label"].to_list() == [True, False]
        assert reasons(told) == {2: ["ambiguous_label"]}


def test_a_label_between_whole_numbers_is_told_by_its_text() -> None:
    frame = pl.DataFrame({"prompt": ["q", "q"], "completion": ["a", "b"], "label": [0.5, 1.0]})
    told = Trl(labels={"0.5": True}).decode(frame, RecordType.UNPAIRED)
    assert (told.rows["label"].to_list(), reasons(told)) == ([True], {1: ["ambiguous_label"]})


def test_label_words_that_look_like_numbers_stay_words() -> None:
    frame = pl.DataFrame({"prompt": ["q", "q"], "completion": ["a", "b"], "label": ["1", "1.0"]})
    told = Trl(labels={"1": True}).decode(frame, RecordType.UNPAIRED)
    assert reasons(told) == {1: ["ambiguous_label"]}


def shown(record_type: RecordType) -> pl.DataFrame:
    """Rows with a picture in the prompt, in an answer, in none."""
    made = []
    for at, sides in enumerate((["prompt"], ["prompt", "completion"], [])):
        side = "chosen" if record_type is RecordType.PREFERENCE else "completion"
        names = {"prompt": "prompt", "completion": side}
        texts = {"prompt": [("user", "Which one?")], side: [("assistant", f"This one, {at}.")]}
        if record_type is RecordType.PREFERENCE:
            texts["rejected"] = [("assistant", "None.")]
        for one in sides:
            texts[names[one]] = [(role, MARK + text) for role, text in texts[names[one]]]
        row = {
            name: [{"role": role, "content": text, "tool_calls": None} for role, text in turns]
            for name, turns in texts.items()
        }
        images = [{"uri": "x.png", "side": names[one], "message": 0, "part": 0} for one in sides]
        made.append({"id": str(at), "source": "s", "group": "g", "label": True, **row, "images": images or None})
    schema = {name: dtype for name, dtype in SCHEMAS[record_type].items() if name in made[0]}
    return conform(pl.DataFrame([{name: row[name] for name in schema} for row in made], schema=schema), record_type)


@pytest.mark.parametrize("kind", [RecordType.SFT, RecordType.PREFERENCE, RecordType.UNPAIRED])
def test_a_picture_in_an_answer_is_not_for_trl_and_stays_in_containers(kind: RecordType) -> None:
    assert reasons(Trl().encode(shown(kind), kind)) == {1: ["answer_images"]}
    for name in ("huggingface", "webdataset"):
        assert reasons(catalogue.load("format", name)().encode(shown(kind), kind)) == {}
