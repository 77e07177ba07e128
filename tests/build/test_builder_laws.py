"""What holds for every builder, whatever it is given: no equal sides, no ties, nothing lost, no influence of order."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.build import preference, unpaired
from prefdata.build.built import REASONS, Built, sift
from prefdata.build.matched import MatchSettings, from_sessions, from_unpaired
from prefdata.build.pairs import joined_groups
from prefdata.build.retype import RETYPES, retype
from prefdata.build.sft import from_conversations, from_desirable, from_pairs
from prefdata.dedup.near import NearDuplicates
from prefdata.schema import MESSAGES, SCHEMAS, RecordType

BUILD = Path(__file__).resolve().parents[2] / "prefdata" / "build"

# few values, so that ties, equal answers and repeated prompts are the rule
PROMPTS = st.sampled_from(["where is my parcel number 7", "where is my parcel number 7!", "我的退款在哪里", "", "🙂"])
ANSWERS = st.sampled_from(
    ["yes it is on its way", "No it is lost", "no  it is lost", "", " ", "我不知道", "case 12345"]
)
RATINGS = st.sampled_from([None, float("nan"), 0.0, 0.1, 0.2, 0.3, 5.0])


def message(role: str, content: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": content, "tool_calls": None}]


def shuffled(frame: pl.DataFrame, order: list[int]) -> pl.DataFrame:
    return frame[order]


def contents(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("content").str.strip_chars()).list.join("|")


def holds(built: Built, again: Built) -> None:
    """What is true of all results; `again` was built of the same rows in another order."""
    assert again.rows.equals(built.rows)
    assert again.unmade.equals(built.unmade)
    assert set(built.counts()) <= set(REASONS)
    assert all(len(reasons) > 0 for reasons in built.unmade["reasons"].to_list())
    for evidence in built.rows["evidence"].drop_nulls() if "evidence" in built.rows.columns else []:
        assert isinstance(json.loads(evidence), dict)
    if "chosen" in built.rows.columns:
        assert built.rows.filter(contents("chosen") == contents("rejected")).height == 0
        assert built.rows.filter((contents("chosen") == "") | (contents("rejected") == "")).height == 0


@st.composite
def rated(draw: st.DrawFn) -> tuple[pl.DataFrame, list[int]]:
    rows = draw(st.lists(st.tuples(PROMPTS, ANSWERS, RATINGS), max_size=10))
    frame = pl.DataFrame(
        {
            "id": [f"{at:02d}" for at in range(len(rows))],
            "source": ["s"] * len(rows),
            "prompt": [row[0] for row in rows],
            "answer": [row[1] for row in rows],
            "rating": [row[2] for row in rows],
        },
        schema_overrides={
            "id": pl.String,
            "source": pl.String,
            "prompt": pl.String,
            "answer": pl.String,
            "rating": pl.Float64,
        },
    )
    return frame, draw(st.permutations(range(len(rows))))


@settings(max_examples=30)
@given(rated(), st.sampled_from(["all_pairs", "best_worst", "best_random"]), st.sampled_from([0.0, 0.1, 3.0]))
def test_ratings(case: tuple[pl.DataFrame, list[int]], policy: Any, margin: float) -> None:
    frame, order = case
    built = preference.from_ratings(frame, policy=policy, min_margin=margin)
    holds(built, preference.from_ratings(shuffled(frame, order), policy=policy, min_margin=margin))
    evidence = [json.loads(one) for one in built.rows["evidence"]]
    paired = {one[side] for one in evidence for side in ("chosen", "rejected")}
    assert paired | set(built.unmade["id"]) | set(built.unmade["other"].drop_nulls()) == set(frame["id"])
    assert all(one["chosen_rating"] > one["rejected_rating"] for one in evidence)
    assert all(found >= margin - 1e-6 and found > 0 for found in built.rows["margin"])
    if policy == "all_pairs":
        sound = [
            row
            for row in frame.iter_rows(named=True)
            if row["rating"] is not None and row["rating"] == row["rating"] and row["answer"].strip() and row["prompt"]
        ]
        both = sum(one["prompt"] == other["prompt"] for one, other in combinations(sound, 2))
        assert built.rows.height + built.unmade["other"].is_not_null().sum() == both


@settings(max_examples=25)
@given(rated(), st.sampled_from(["prompt_mean", "prompt_median", 0.1]), st.sampled_from([0.0, 0.1]))
def test_labels_from_ratings(case: tuple[pl.DataFrame, list[int]], line: Any, band: float) -> None:
    frame, order = case
    built = unpaired.from_ratings(frame, threshold=line, band=band)
    holds(built, unpaired.from_ratings(shuffled(frame, order), threshold=line, band=band))
    assert sorted([*built.rows["id"], *built.unmade["id"]]) == sorted(frame["id"])


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            PROMPTS, ANSWERS, ANSWERS, st.sampled_from(["a", "b", "tie", "?"]), st.sampled_from(["x", "y", None])
        ),
        max_size=10,
    ),
    st.sampled_from([0.0, 0.6, 1.0]),
    st.randoms(use_true_random=False),
)
def test_verdicts(rows: list[tuple[Any, ...]], least: float, random: Any) -> None:
    names = ["prompt", "answer_a", "answer_b", "verdict", "annotator"]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row").with_columns(
        id=pl.int_range(pl.len()).cast(pl.String).str.zfill(2), source=pl.lit("s")
    )
    order = random.sample(range(frame.height), frame.height)
    built = preference.from_verdicts(frame, min_agreement=least)
    holds(built, preference.from_verdicts(shuffled(frame, order), min_agreement=least))
    known = [row for row in rows if row[3] != "?"]
    compared = {(prompt, *sorted((one.strip(), other.strip()))) for prompt, one, other, _, _ in known}
    assert built.rows.height + built.unmade.height == len(compared) + len(rows) - len(known)
    # turned round, every verdict says the same
    turned = frame.rename({"answer_a": "answer_b", "answer_b": "answer_a"}).with_columns(
        pl.col("verdict").replace({"a": "b", "b": "a"})
    )
    sides = [contents(side) for side in ("prompt", "chosen", "rejected")]
    found = [preference.from_verdicts(one, min_agreement=least).rows.select(sides).rows() for one in (frame, turned)]
    assert sorted(found[0]) == sorted(found[1])


@settings(max_examples=20)
@given(st.lists(st.tuples(PROMPTS, ANSWERS, ANSWERS), max_size=8))
def test_edits(rows: list[tuple[str, str, str]]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(["prompt", "draft", "sent"], pl.String), orient="row").with_columns(
        id=pl.int_range(pl.len()).cast(pl.String), source=pl.lit("s")
    )
    built = preference.from_edits(frame)
    holds(built, preference.from_edits(frame.reverse()))
    assert built.rows.height + built.unmade.height == frame.height


@st.composite
def labelled(draw: st.DrawFn) -> tuple[pl.DataFrame, list[int]]:
    rows = []
    for at in range(draw(st.integers(0, 8))):
        said = draw(st.sampled_from([[], [*message("user", "hello there you"), *message("assistant", "hi")]]))
        rows.append(
            {
                "id": f"{at:02d}",
                "source": "s",
                "group": "g",
                "prompt": [*said, *message("user", draw(PROMPTS))],
                "completion": message("assistant", draw(ANSWERS)),
                "label": draw(st.sampled_from([True, False, None])),
                "label_confidence": draw(st.sampled_from([None, 0.5, 0.9])),
                "meta": draw(
                    st.sampled_from([None, f'{{"session":"x","turn":{at}}}', f'{{"session":"y","turn":{at}}}'])
                ),
            }
        )
    return pl.DataFrame(rows, schema=SCHEMAS[RecordType.UNPAIRED]), draw(st.permutations(range(len(rows))))


@settings(max_examples=12)
@given(labelled(), st.integers(1, 3))
def test_matched_replies(case: tuple[pl.DataFrame, list[int]], most: int) -> None:
    frame, order = case
    grouping, limits = NearDuplicates().build(), MatchSettings(max_uses=most, min_context_similarity=0.0)
    for build in (
        lambda rows: from_unpaired(rows, grouping=grouping, settings=limits),
        lambda rows: from_sessions(rows, min_similarity=0.0, max_uses=most),
    ):
        built = build(frame)
        holds(built, build(shuffled(frame, order)))
        evidence = [json.loads(one) for one in built.rows["evidence"]]
        used = Counter(one[side] for one in evidence for side in ("chosen", "rejected"))
        assert set(used) | set(built.unmade["id"]) | set(built.unmade["other"].drop_nulls()) == set(frame["id"])
        assert all(count <= most for count in used.values())
        label = dict(frame.select("id", "label").rows())
        assert all(label[one["chosen"]] is True and label[one["rejected"]] is False for one in evidence)


@settings(max_examples=15)
@given(labelled())
def test_labelled_rows_as_examples_and_pairs_as_labelled_rows(case: tuple[pl.DataFrame, list[int]]) -> None:
    frame, order = case
    built = from_desirable(frame)
    holds(built, from_desirable(shuffled(frame, order)))
    assert sorted([*built.rows["id"], *built.unmade["id"]]) == sorted(frame["id"])
    pairs = frame.select(
        "id", "source", "group", "prompt", "images", "tools", "time", "language", "evidence", "meta",
        chosen="completion", rejected=pl.col("completion").shift(1).fill_null(pl.lit([], MESSAGES)),
        margin=pl.lit(None, pl.Float32),
    )  # fmt: skip
    for build, each in ((unpaired.from_pairs, 2), (from_pairs, 1)):
        built = build(pairs)
        holds(built, build(shuffled(pairs, order)))
        assert built.rows.height + built.unmade.height == each * pairs.height
    for target in RETYPES[RecordType.PREFERENCE]:
        found = retype(pairs, RecordType.PREFERENCE, target, seen=set())
        assert found.rows.height + found.unmade.height == pairs.height * (2 if target == RecordType.UNPAIRED else 1)


@settings(max_examples=25)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), ANSWERS), max_size=7), max_size=4
    )
)
def test_conversations(given_turns: list[list[tuple[str, str]]]) -> None:
    said = [[one for role, content in turns for one in message(role, content)] for turns in given_turns]
    frame = pl.DataFrame(
        {"id": [str(at) for at in range(len(said))], "source": ["s"] * len(said), "messages": said},
        schema={"id": pl.String, "source": pl.String, "messages": MESSAGES},
    )
    built = from_conversations(frame)
    holds(built, from_conversations(frame.reverse()))
    runs = [re.findall("[at]+", "".join(role[0] for role, _ in turns)) for turns in given_turns]
    assert built.rows.height + built.unmade.height == sum(max(len(one), 1) for one in runs)
    whole = {json.dumps(one) for one in said}
    for row in built.rows.iter_rows(named=True):
        begun = json.dumps([*row["prompt"], *row["completion"]])[:-1]
        assert any(one.startswith(begun) for one in whole)
        assert any(one["role"] == "user" for one in row["prompt"])


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=15))
def test_joined_groups_are_the_connected_ones(links: list[tuple[int, int]]) -> None:
    names = {at: f"{at:02d}" for at in range(13)}
    left = pl.Series([names[one] for one, _ in links], dtype=pl.String)
    right = pl.Series([names[other] for _, other in links], dtype=pl.String)
    wanted = {at: {at} for at in range(13)}
    for one, other in links:
        both = wanted[one] | wanted[other]
        for at in both:
            wanted[at] = both
    assert joined_groups(left, right).to_list() == [names[min(wanted[one])] for one, _ in links]


# ---------------------------------------------------------------------------------------------- the vocabulary


def test_every_sentence_has_a_builder_that_gives_its_reason() -> None:
    """That no reason is without a sentence is checked where reasons are given (`sift`)."""
    counted: Counter[str] = Counter()
    for file in sorted(BUILD.glob("*.py")):
        counted.update(re.findall(r'"([a-z_]+)"', file.read_text(encoding="utf-8")))
    made_up = {f"over_cap_{name}" for name in ("prompt", "customer", "source")}
    assert {name for name in REASONS if counted[name] < 2} == made_up


def test_a_reason_without_a_sentence_is_a_fault_of_the_builder() -> None:
    with pytest.raises(KeyError, match="reasons without a sentence: odd"):
        sift(pl.DataFrame({"id": ["1"]}), {"odd": pl.lit(True)})
