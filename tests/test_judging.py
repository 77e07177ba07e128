"""Deciding: every reason of every row, bounds inclusive, null is unjudged, survivors chosen last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl
import pytest

from prefdata.errors import PrefdataError
from prefdata.judging import Reads, RowFilter, Rule, decide, judge, scoring_parameters, sidecar_key, threshold
from prefdata.schema import MESSAGES


@dataclass(frozen=True)
class Length:
    """Characters of a text; null for texts that say `null`."""

    unit: int = 1
    limit: int = threshold(5)
    name: ClassVar[str] = "length"
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Reads]] = frozenset({"text"})
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    def parameters(self) -> Mapping[str, Any]:
        return scoring_parameters(self)

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        assert not items.is_duplicated().any()
        text = pl.col("text")
        length = pl.when(text != "null").then(text.str.len_chars() / self.unit).cast(pl.Float64)
        return items.select(length=length, first=text.str.slice(0, 1))


@dataclass(frozen=True)
class Pairs:
    """Edges given beforehand."""

    name: str = "near_duplicates"
    version: int = 1
    min_similarity: float = 0.8

    def parameters(self) -> Mapping[str, Any]:
        return {}

    def keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    def edges(self, bucket: pl.DataFrame) -> pl.DataFrame:
        return bucket

    def groups(self, edges: pl.DataFrame) -> pl.DataFrame:
        members = sorted({*edges["left"], *edges["right"]})
        return pl.DataFrame(
            {"id": members, "cluster": members[:1] * len(members), "size": len(members), "similarity": 0.9},
            schema={"id": pl.String, "cluster": pl.String, "size": pl.Int64, "similarity": pl.Float32},
        )


def edges(*pairs: tuple[str, str, float]) -> pl.DataFrame:
    return pl.DataFrame(
        list(pairs), schema={"left": pl.String, "right": pl.String, "similarity": pl.Float32}, orient="row"
    )


def texts(*contents: str | None) -> pl.DataFrame:
    side = [[{"role": "assistant", "content": content, "tool_calls": None}] for content in contents]
    return pl.DataFrame({"completion": side}, schema={"completion": MESSAGES})


def scored(**columns: list[Any]) -> pl.DataFrame:
    height = len(next(iter(columns.values())))
    base = {
        "id": [chr(ord("a") + row) for row in range(height)],
        "label": [True] * height,
        "label_confidence": [0.9] * height,
    }
    return pl.DataFrame({**base, **columns})


def rules(**named: Rule) -> RowFilter:
    return RowFilter(name="length", scorer=Length(), sides=("completion",), rules=named)


def reasons(frame: pl.DataFrame, *filters: RowFilter, **options: Any) -> dict[str, list[str]]:
    return dict(decide(frame, filters, [], **options).rows.select("id", "reasons").iter_rows())


def test_judge_scores_each_distinct_text_once_and_rounds() -> None:
    row_filter = RowFilter(name="length", scorer=Length(unit=3), sides=("completion",), rules={})
    found = judge(texts("ab", "null", "ab"), row_filter, "completion")
    assert found.columns == ["length_completion", "length_completion_first"]
    assert found["length_completion"].cast(pl.Float64).round(6).to_list() == [0.6667, None, 0.6667]


def test_bounds_are_inclusive() -> None:
    row_filter = rules(too_short=Rule(min=2.0), too_long=Rule(max=4.0))
    frame = scored(length_completion=[1.9999, 2.0, 4.0, 4.0001])
    assert reasons(frame, row_filter) == {"a": ["too_short"], "b": [], "c": [], "d": ["too_long"]}


def test_a_row_carries_all_its_reasons() -> None:
    row_filter = rules(too_short=Rule(min=2.0), wrong_start=Rule(column="first", values=("a",)))
    frame = scored(length_completion=[1.0], length_completion_first=["b"])
    assert reasons(frame, row_filter) == {"a": ["too_short", "wrong_start"]}


def test_a_null_score_is_unjudged_and_kept_unless_told_otherwise() -> None:
    frame = scored(length_completion=[None, 3.0]).cast({"length_completion": pl.Float32})
    row_filter = rules(too_short=Rule(min=2.0))
    decision = decide(frame, [row_filter], [])
    assert decision.rows["kept"].to_list() == [True, True]
    assert decision.rows["unjudged"].to_list() == [["length"], []]
    assert reasons(frame, row_filter, unjudged="drop") == {"a": ["unjudged_by_length"], "b": []}


def test_a_rule_for_desirable_rows_leaves_the_others_alone() -> None:
    frame = scored(length_completion=[9.0, 9.0, 9.0], label=[True, False, None])
    assert reasons(frame, rules(too_long=Rule(max=5.0, only="desirable"))) == {
        "a": ["too_long"],
        "b": [],
        "c": ["label_abstained"],
    }


def test_percentiles_become_numbers_over_the_whole_run() -> None:
    frame = scored(length_completion=[float(value) for value in range(1, 12)])
    decision = decide(frame, [rules(lowest=Rule(min_percentile=20))], [])
    assert decision.thresholds["lowest"]["min"] == 3.0
    assert decision.rows.filter(~pl.col("kept"))["id"].to_list() == ["a", "b"]


def test_a_percentile_is_of_the_rows_that_the_rule_speaks_for() -> None:
    frame = scored(
        length_completion=[*(float(value) for value in range(11, 22)), *(float(value) for value in range(1, 10))],
        label=[True] * 11 + [False] * 8 + [None],
    )
    decision = decide(frame, [rules(lowest=Rule(min_percentile=20, only="desirable"))], [])
    assert decision.thresholds["lowest"]["min"] == 13.0
    assert decision.rows.filter(~pl.col("kept"))["id"].to_list() == ["a", "b", "t"]


def test_the_survivor_is_the_most_confident_then_the_best_then_the_smallest_id() -> None:
    pairs = edges(("a", "b", 0.9), ("a", "c", 0.9))
    frame = scored(label_confidence=[0.7, 0.9, 0.9], length_completion=[1.0, 2.0, 3.0])
    decision = decide(frame, [], [(Pairs(), pairs)], quality=("length_completion", "higher"))
    assert decision.rows["survivor"].to_list() == ["c", "c", None]
    tie = decide(
        frame.with_columns(length_completion=1.0), [], [(Pairs(), pairs)], quality=("length_completion", "higher")
    )
    assert tie.rows["survivor"].to_list() == ["b", None, "b"]


def test_a_group_with_a_passing_member_never_loses_them_all() -> None:
    frame = scored(label_confidence=[0.99, 0.6], length_completion=[1.0, 3.0])
    decision = decide(frame, [rules(too_short=Rule(min=2.0))], [(Pairs(), edges(("a", "b", 0.9)))])
    assert decision.rows["kept"].to_list() == [False, True]
    assert decision.rows["reasons"].to_list() == [["too_short", "near_duplicates"], []]


def test_edges_below_the_threshold_join_nothing() -> None:
    decision = decide(scored(label_confidence=[0.5, 0.6]), [], [(Pairs(), edges(("a", "b", 0.79)))])
    assert decision.rows["kept"].to_list() == [True, True]


def test_where_lower_is_better_the_lower_score_survives_and_null_never_does() -> None:
    pairs = edges(("a", "b", 0.9), ("a", "c", 0.9))
    frame = scored(length_completion=[0.7, 0.01, None])
    decision = decide(frame, [], [(Pairs(), pairs)], quality=("length_completion", "lower"))
    assert decision.rows["survivor"].to_list() == ["b", None, "b"]


def test_a_survivor_is_always_a_kept_row() -> None:
    exact = (Pairs(name="exact_duplicates"), edges(("a", "b", 1.0)))
    near = (Pairs(name="near_duplicates"), edges(("a", "c", 0.9)))
    chain = decide(scored(label_confidence=[0.8, 0.7, 0.9]), [], [exact, near])
    assert chain.rows["survivor"].to_list() == ["c", "c", None]
    torn = decide(scored(label=[True, True, False]), [], [exact, near])
    assert torn.rows["kept"].to_list() == [False, False, False]
    assert torn.rows["survivor"].to_list() == [None, None, None]


@pytest.mark.parametrize("value", [0.0003, 0.1234, 0.7, 12.3457])
def test_rows_on_a_percentile_bound_pass(value: float) -> None:
    frame = scored(length_completion=[value] * 5).cast({"length_completion": pl.Float32})
    for rule in (Rule(min_percentile=50), Rule(max_percentile=50)):
        assert decide(frame, [rules(bound=rule)], []).rows["kept"].to_list() == [True] * 5


def test_a_rule_over_a_column_that_is_not_there_is_an_error() -> None:
    with pytest.raises(PrefdataError, match="rule typo of length reads length_completion_frist"):
        decide(scored(length_completion=[1.0]), [rules(typo=Rule(column="frist", min=0.0))], [])


def test_conflicting_labels_in_a_cluster_abstain() -> None:
    frame = scored(label=[True, False, True])
    decision = decide(frame, [], [(Pairs(), edges(("a", "b", 0.9)))])
    assert decision.rows["reasons"].to_list() == [["conflicting_labels"], ["conflicting_labels"], []]
    assert decision.clusters["conflict"].to_list() == [True, True]


def test_a_dropped_member_makes_no_conflict() -> None:
    frame = scored(label=[True, False], length_completion=[3.0, 1.0])
    decision = decide(frame, [rules(too_short=Rule(min=2.0))], [(Pairs(), edges(("a", "b", 0.9)))])
    assert decision.rows["kept"].to_list() == [True, False]


def test_the_funnel_counts_both_classes_after_every_step() -> None:
    frame = scored(label=[True, False, None], length_completion=[1.0, 3.0, 3.0])
    decision = decide(frame, [rules(too_short=Rule(min=2.0))], [])
    assert [tuple(step) for step in decision.funnel] == [
        ("rows", 3, 1, 1),
        ("label_abstained", 2, 1, 1),
        ("too_short", 1, 0, 1),
    ]


def test_the_order_of_rows_changes_nothing() -> None:
    frame = scored(label_confidence=[0.7, 0.9, 0.9], length_completion=[1.0, 2.0, 3.0])
    options: dict[str, Any] = {"quality": ("length_completion", "higher")}
    pairs = [(Pairs(), edges(("a", "b", 0.9), ("a", "c", 0.9)))]
    assert decide(frame, [], pairs, **options).rows.equals(decide(frame.reverse(), [], pairs, **options).rows)


def test_thresholds_are_no_part_of_a_sidecars_key() -> None:
    revs = pl.Series(["r1", "r2"])
    assert sidecar_key(Length(limit=5), "completion", revs) == sidecar_key(Length(limit=9), "completion", revs)
    assert sidecar_key(Length(unit=1), "completion", revs) != sidecar_key(Length(unit=2), "completion", revs)
    assert sidecar_key(Length(), "completion", revs) != sidecar_key(Length(), "completion", revs.reverse())


def test_a_scorer_that_loses_rows_is_an_error() -> None:
    class Broken(Length):
        def score(self, items: pl.DataFrame) -> pl.DataFrame:
            return items.select(length=pl.lit(1.0)).head(0)

    row_filter = RowFilter(name="length", scorer=Broken(), sides=("completion",), rules={})
    with pytest.raises(Exception, match="scorer length gave 0 rows for 1 items"):
        judge(texts("a"), row_filter, "completion")
