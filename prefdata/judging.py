"""Scoring and deciding: what a scorer, a rule, a row filter and a grouping are; `judge` scores, `decide` removes.

Scores are kept and cost time; decisions are expressions over kept scores and cost none. Reading, writing and the
order of steps belong to the runner.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import polars as pl

from prefdata.errors import PrefdataError
from prefdata.pictured import identity, pictures_of
from prefdata.text import joined_text, last_user_text

if TYPE_CHECKING:
    from prefdata.pictures import Pictures

Side = Literal["prompt", "completion", "chosen", "rejected"]
Reads = Literal["text", "prompt", "images"]

SCORE_DECIMALS = 4
"""Scores are rounded to this many decimals before they are kept, so that a decision never hangs on the last bits."""


def threshold(default: Any) -> Any:
    """A dataclass field that only decides: it never changes a score, so a sidecar's key leaves it out."""
    return field(default=default, metadata={"threshold": True})


def file_path(default: str | None = None, *, or_name: bool = False) -> Any:
    """A dataclass field that names a file; in a recipe, relative paths are meant from the recipe's folder.

    With `or_name` it may also be a name of something else, which it is where no such file is there.
    """
    return field(default=default, metadata={"file": True, "or_name": or_name})


def rooted(settings: Any, root: Path) -> Any:
    """The settings with their files looked up from `root`."""
    found = {
        entry.name: str(root / getattr(settings, entry.name))
        for entry in dataclasses.fields(settings)
        if entry.metadata.get("file") and (value := getattr(settings, entry.name)) is not None
        if not entry.metadata.get("or_name") or (root / value).exists()
    }
    return dataclasses.replace(settings, **found) if found else settings


def scoring_parameters(settings: Any) -> dict[str, Any]:
    """The fields of a settings dataclass that scores depend on: all but the thresholds."""
    return {
        entry.name: getattr(settings, entry.name)
        for entry in dataclasses.fields(settings)
        if not entry.metadata.get("threshold")
    }


class TextScorer(Protocol):
    """What is measured about a text, alone, with its prompt, or with its pictures."""

    @property
    def name(self) -> str:
        """Name of the scorer and of its main score."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever the same text would get another score."""
        ...

    @property
    def reads(self) -> frozenset[Reads]:
        """What `items` must hold beside nothing: `text`, `prompt`, `images`."""
        ...

    @property
    def better(self) -> Literal["higher", "lower"]:
        """Which end of the main score is the good one."""
        ...

    def parameters(self) -> Mapping[str, Any]:
        """All that the scores depend on besides name and version, as JSON values (a model's file hash, say)."""
        ...

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        """Unique items in, as many rows in the same order out: only score columns, the main one first, null = unjudged.

        `items` has String columns `text` and, where the scorer reads it, `prompt` (the last customer turn). Where it
        reads images, `pictures` are those of the prompt and of the judged side, a list of prefdata.pictures.SEEN in
        their order, null where there are none.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which scores pass. Bounds are inclusive; a percentile, in [0, 100], is of the judged rows of the whole run that
    the rule speaks for."""

    column: str | None = None
    """Score column of the scorer; None is its main score."""
    min: float | None = None
    max: float | None = None
    min_percentile: float | None = None
    max_percentile: float | None = None
    values: tuple[str, ...] | None = None
    """For text columns: the values that pass."""
    only: Literal["desirable", "undesirable"] | None = None
    """The rows the rule speaks for; None is all."""


@dataclass(frozen=True, kw_only=True)
class RowFilter:
    """A scorer applied to sides of a row, and the rules that decide. It never edits or reorders a row."""

    name: str
    scorer: TextScorer
    sides: tuple[Side, ...]
    rules: Mapping[str, Rule]
    """Reason -> rule. A reason reads true in "dropped because ..."."""


class Grouping(Protocol):
    """Relations between rows: exact and near-duplicates, overlap with another set."""

    @property
    def name(self) -> str:
        """Name of the grouping, and of its reason for dropping."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever the same rows would get other edges."""
        ...

    @property
    def min_similarity(self) -> float:
        """Edges below it are not followed; in [0, 1]."""
        ...

    def parameters(self) -> Mapping[str, Any]:
        """All that the edges depend on besides name and version."""
        ...

    def keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Of a shard (`id`, `customer`, `reply`): `id`, `key` and the narrow columns that `edges` needs.

        A grouping with "images" in an attribute `reads` is given `pictures`, too, as a scorer is.
        """
        ...

    def edges(self, bucket: pl.DataFrame) -> pl.DataFrame:
        """All rows of one or several keys in: verified pairs `left` < `right` with their `similarity` out."""
        ...

    def groups(self, edges: pl.DataFrame) -> pl.DataFrame:
        """`id`, `cluster` (its smallest id), `size`, `similarity` (the row's best); edges come above the threshold."""
        ...


class Transform(Protocol):
    """Edits turns before anything is written, and says in the column `touched` what it did."""

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same rows in the same order, text edited, `touched` extended."""
        ...


def score_columns(row_filter: RowFilter, side: Side, names: Sequence[str]) -> dict[str, str]:
    """Columns of the scorer -> columns of the scored frame: the main one is `<scorer>_<side>`."""
    stem = f"{row_filter.scorer.name}_{side}"
    return {name: stem if position == 0 else f"{stem}_{name}" for position, name in enumerate(names)}


def sidecar_key(scorer: TextScorer, side: Side, revs: pl.Series) -> str:
    """Hash of what a shard's scores depend on: the contents of its rows, the scorer, its parameters; no threshold."""
    made_of = json.dumps([scorer.name, scorer.version, dict(scorer.parameters()), side], sort_keys=True, default=str)
    digest = hashlib.blake2b(made_of.encode(), digest_size=12)
    digest.update("\n".join(revs.to_list()).encode())
    return digest.hexdigest()


def judge(frame: pl.DataFrame, row_filter: RowFilter, side: Side, *, pictures: Pictures | None = None) -> pl.DataFrame:
    """The score columns of one side: as many rows as `frame`, in its order.

    Every distinct text, with the same pictures where the scorer looks at them, is scored once. Those are looked up in
    `pictures`, or stand in a column of that name. Null is "unjudged"; floats are rounded to SCORE_DECIMALS.
    """
    scorer = row_filter.scorer
    columns = [joined_text(side).alias("text")]
    if "prompt" in scorer.reads:
        columns.append(last_user_text("prompt").alias("prompt"))
    items = frame.select(columns)
    unique, alike = items.unique(maintain_order=True), items.columns
    if "images" in scorer.reads:
        items = items.with_columns(pictures_of(frame, ("prompt", side), pictures).alias("pictures"))
        items = items.with_columns(_shown=identity(items["pictures"]))
        alike = [*alike, "_shown"]
        unique = items.unique(alike, keep="first", maintain_order=True)
    scores = scorer.score(unique.drop("_shown", strict=False))
    if scores.height != unique.height:
        raise PrefdataError(f"scorer {scorer.name} gave {scores.height} rows for {unique.height} items")
    renamed = scores.rename(score_columns(row_filter, side, scores.columns))
    rounded = renamed.with_columns(pl.selectors.float().fill_nan(None).round(SCORE_DECIMALS).cast(pl.Float32))
    found = unique.select(alike).hstack(rounded)
    joined = items.select(alike).join(found, on=alike, how="left", maintain_order="left", nulls_equal=True)
    return joined.select(rounded.columns)


class FunnelStep(NamedTuple):
    """Rows left after a step, by class."""

    step: str
    rows: int
    desirable: int
    undesirable: int


@dataclass(frozen=True)
class Decision:
    """What `decide` came to.

    `rows`: id, kept, reasons (all of them, in rule order), unjudged (names of filters that had no score), cluster
    (null outside clusters), survivor (the row kept in this one's place, else null).
    """

    rows: pl.DataFrame
    thresholds: dict[str, dict[str, Any]]
    funnel: list[FunnelStep]
    clusters: pl.DataFrame


def decide(
    scored: pl.DataFrame,
    filters: Sequence[RowFilter],
    groupings: Sequence[tuple[Grouping, pl.DataFrame]],
    *,
    unjudged: Literal["keep", "drop"] = "keep",
    quality: tuple[str, Literal["higher", "lower"]] | None = None,
    labelled: bool = True,
    oriented: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
) -> Decision:
    """The one place where rows leave.

    `scored` holds `id`, `label` (null = abstained), `label_confidence` and the score columns; `groupings` come with
    their verified edges. A row that abstained is dropped as `label_abstained`. Of a duplicate group the survivor is
    chosen last, among the rows that pass every filter: the most confident, then the best by `quality` (a score column
    and its good end; null is worst), then the smallest id. Where passing members carry both labels, all of them are
    dropped as `conflicting_labels`.

    Rows that are not `labelled` (pairs, examples, prompts) have null there and abstain from nothing. Pairs of a cluster
    conflict where `oriented`, given `id` and `cluster` of its rows, says true of one and false of another.
    """
    scored = scored.sort("id")
    thresholds: dict[str, dict[str, Any]] = {}
    checks: dict[str, pl.Series] = {}
    if labelled:
        checks["label_abstained"] = scored.select(pl.col("label").is_null()).to_series()
    unjudged_flags: dict[str, pl.Series] = {}
    for row_filter in filters:
        for side in row_filter.sides:
            stem = f"{row_filter.scorer.name}_{side}"
            missing = pl.lit(False)
            for reason, rule in row_filter.rules.items():
                column = stem if rule.column in (None, row_filter.scorer.name) else f"{stem}_{rule.column}"
                if column not in scored.columns:
                    raise PrefdataError(f"rule {reason} of {row_filter.name} reads {column}, which no scorer gives")
                spoken = speaks(rule, side, labelled=labelled)
                low, high = _bounds((scored if rule.only is None else scored.filter(spoken))[column], rule)
                bounds: dict[str, Any] = {"column": column, "min": low, "max": high, "only": rule.only}
                if rule.values is not None:
                    bounds["values"] = list(rule.values)
                # a rule that speaks for several sides has a name for each after the first
                thresholds[reason if reason not in thresholds else f"{reason}:{side}"] = bounds
                failed = _flags(scored, ~_passes(column, rule, low, high) & spoken)
                checks[reason] = checks[reason] | failed if reason in checks else failed
                missing = missing | (pl.col(column).is_null() & spoken)
            gone = _flags(scored, missing)
            known = unjudged_flags.get(row_filter.name)
            unjudged_flags[row_filter.name] = gone if known is None else known | gone
    if unjudged == "drop":
        checks.update({f"unjudged_by_{name}": flags for name, flags in unjudged_flags.items()})

    label = scored["label"]
    alive = pl.repeat(True, scored.height, eager=True)
    funnel = [_funnel("rows", alive, label)]
    for reason, failed in checks.items():
        alive = alive & ~failed
        funnel.append(_funnel(reason, alive, label))
    passing = alive

    chosen_for = pl.Series("survivor", [None], dtype=pl.String).new_from_index(0, scored.height)
    cluster = chosen_for.alias("cluster")
    clusters: list[pl.DataFrame] = []
    conflicting = pl.repeat(False, scored.height, eager=True)
    for grouping, edges in groupings:
        members = grouping.groups(edges.filter(pl.col("similarity") >= grouping.min_similarity))
        view = scored.select(
            "id",
            "label",
            confidence=pl.col("label_confidence").fill_null(0.0),
            quality=_goodness(scored, quality),
        ).with_columns(passing=passing, alive=alive)
        view = view.join(members.select("id", "cluster", "similarity"), on="id", how="left", maintain_order="left")
        view = view.with_columns(stance=pl.col("label"))
        if oriented is not None:
            stances = oriented(view.filter(pl.col("cluster").is_not_null()).select("id", "cluster"))
            stances = stances.rename({"oriented": "stance"})
            view = view.drop("stance").join(stances, on="id", how="left", maintain_order="left")
        view = view.with_columns(
            conflict=(pl.col("passing") & pl.col("cluster").is_not_null())
            & (
                (pl.col("passing") & pl.col("stance")).any().over("cluster")
                & (pl.col("passing") & ~pl.col("stance")).any().over("cluster")
            )
        ).with_columns(pl.col("conflict").fill_null(False))
        chosen = (
            view.filter(pl.col("cluster").is_not_null() & pl.col("alive") & ~pl.col("conflict"))
            .sort(["cluster", "confidence", "quality", "id"], descending=[False, True, True, False])
            .group_by("cluster", maintain_order=True)
            .agg(pl.col("id").first().alias("chosen"))
        )
        view = view.join(chosen, on="cluster", how="left", maintain_order="left")
        doubled = (view["chosen"].is_not_null() & (view["chosen"] != view["id"])).fill_null(False)
        conflicting = conflicting | view["conflict"]
        checks[grouping.name] = doubled
        alive = alive & ~doubled
        funnel.append(_funnel(grouping.name, alive, label))
        alive = alive & ~view["conflict"]
        if view["conflict"].any():
            funnel.append(_funnel(f"conflicting_labels of {grouping.name}", alive, label))
        chosen_for = pl.select(pl.coalesce(pl.when(doubled).then(view["chosen"]), chosen_for)).to_series()
        cluster = pl.select(pl.coalesce(view["cluster"], cluster)).to_series()
        clusters.append(
            view.filter(pl.col("cluster").is_not_null()).select(
                pl.lit(grouping.name).alias("grouping"), "cluster", "id", "similarity", "label", "conflict"
            )
        )
    if groupings:
        checks["conflicting_labels"] = conflicting

    rows = scored.select("id").with_columns(
        kept=alive,
        reasons=_names(checks, scored.height),
        unjudged=_names(unjudged_flags, scored.height),
        cluster=cluster,
        survivor=_survivors(scored["id"], chosen_for, alive, hops=len(groupings)),
    )
    empty = pl.DataFrame(
        schema={
            "grouping": pl.String,
            "cluster": pl.String,
            "id": pl.String,
            "similarity": pl.Float32,
            "label": pl.Boolean,
            "conflict": pl.Boolean,
        }
    )
    listed = [frame.cast(empty.schema) for frame in clusters]
    return Decision(rows=rows, thresholds=thresholds, funnel=funnel, clusters=pl.concat([empty, *listed]))


def _goodness(scored: pl.DataFrame, quality: tuple[str, Literal["higher", "lower"]] | None) -> pl.Expr:
    """The score that chooses among equally confident duplicates, higher is better."""
    if quality is None or quality[0] not in scored.columns or not scored[quality[0]].dtype.is_numeric():
        return pl.lit(0.0)
    score = pl.col(quality[0]).cast(pl.Float64)
    return (score if quality[1] == "higher" else -score).fill_null(float("-inf"))


def _survivors(ids: pl.Series, chosen_for: pl.Series, kept: pl.Series, *, hops: int) -> pl.Series:
    """The kept row that stands for each dropped one: the one chosen, or the one chosen for that one, else null."""
    step = pl.DataFrame({"id": ids, "next": chosen_for})
    found = pl.DataFrame({"id": ids, "at": chosen_for})
    for _ in range(hops):
        found = found.join(step, left_on="at", right_on="id", how="left", maintain_order="left")
        found = found.select("id", at=pl.coalesce("next", "at"))
    alive = pl.DataFrame({"id": ids, "kept": kept})
    found = found.join(alive, left_on="at", right_on="id", how="left", maintain_order="left")
    return found.select(pl.when("kept").then(pl.col("at")).alias("survivor")).to_series()


def _bounds(scores: pl.Series, rule: Rule) -> tuple[float | None, float | None]:
    """The numbers a rule comes to: percentiles over the judged ones of `scores`, by the nearest rank."""
    low, high = rule.min, rule.max
    judged = scores.drop_nulls() if rule.min_percentile is not None or rule.max_percentile is not None else None
    if judged is not None and judged.len():
        if rule.min_percentile is not None:
            value = round(float(judged.quantile(rule.min_percentile / 100, "nearest") or 0.0), SCORE_DECIMALS)
            low = value if low is None else max(low, value)
        if rule.max_percentile is not None:
            value = round(float(judged.quantile(rule.max_percentile / 100, "nearest") or 0.0), SCORE_DECIMALS)
            high = value if high is None else min(high, value)
    return low, high


def _passes(column: str, rule: Rule, low: float | None, high: float | None) -> pl.Expr:
    """Whether the score is inside the rule's bounds; null where there is no score."""
    tests = []
    if rule.values is not None:
        tests.append(pl.col(column).is_in(list(rule.values)))
    if low is not None:
        tests.append(pl.col(column).cast(pl.Float64).round(SCORE_DECIMALS) >= low)
    if high is not None:
        tests.append(pl.col(column).cast(pl.Float64).round(SCORE_DECIMALS) <= high)
    return pl.all_horizontal(tests) if tests else pl.lit(True)


def _flags(frame: pl.DataFrame, test: pl.Expr) -> pl.Series:
    """The test of every row; null is False."""
    return frame.with_columns(_flag=test).get_column("_flag").fill_null(False)


def speaks(rule: Rule, side: Side, *, labelled: bool) -> pl.Expr:
    """Whether the rule speaks for a row: chosen sides are desirable, rejected ones undesirable, examples desirable."""
    if rule.only is None:
        return pl.lit(True)
    if side in ("chosen", "rejected"):
        return pl.lit((side == "chosen") == (rule.only == "desirable"))
    if not labelled:
        return pl.lit(rule.only == "desirable")
    return (pl.col("label") == (rule.only == "desirable")).fill_null(False)


def _funnel(step: str, alive: pl.Series, label: pl.Series) -> FunnelStep:
    desirable = int((alive & label.fill_null(False)).sum())
    undesirable = int((alive & ~label.fill_null(True)).sum())
    return FunnelStep(step, int(alive.sum()), desirable, undesirable)


def _names(flags: Mapping[str, pl.Series], height: int) -> pl.Series:
    """List column of the names whose flag is up."""
    if not flags:
        return pl.Series("names", [[]], dtype=pl.List(pl.String)).new_from_index(0, height)
    frame = pl.DataFrame(dict(flags.items()))
    picked = pl.concat_list(
        [pl.when(pl.col(name)).then(pl.lit(name)).otherwise(pl.lit(None, dtype=pl.String)) for name in flags]
    ).list.drop_nulls()
    return frame.select(picked.alias("names")).to_series()
