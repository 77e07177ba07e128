"""The sets that an ablation compares: what is held out, and the training rows with each filter left out.

Nothing is scored: every set is a new decision over the scores, labels and duplicate clusters that the run has. What is
held out is drawn once, for all sets alike, by the law of prefdata.build.splits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import polars as pl

from prefdata import catalogue, judging, mixture, splitting, stages
from prefdata.build import splits as laws
from prefdata.build.splits import Splits
from prefdata.errors import RecipeError, nearest
from prefdata.judging import Decision, Grouping, RowFilter
from prefdata.rows import told
from prefdata.schema import RecordType
from prefdata.splitting import Division
from prefdata.stages import State

Kind = Literal["full", "filter", "rule", "grouping", "all"]

GUARDS = ("exact_duplicates", "near_duplicates")
"""Groupings whose clusters never stand on both sides, whether the recipe has them or not."""

FULL = "full recipe"
ALL_FILTERS = "all filters"
EVERYTHING = "everything"

TRAIN, HELD_OUT, SET_ASIDE = "train", "held_out", "set_aside"
"""Sides of a row; set aside is a copy of a row of the other side, which no model sees."""


class Arm(NamedTuple):
    """A set to train on: the recipe with `name` left out."""

    name: str
    kind: Kind
    training: pl.Series
    """Ids on the training side that this decision keeps, sorted."""
    dropped: int
    """Rows of the whole run that carry a reason of what is left out, in the full recipe."""
    alone: int
    """Rows of the whole run that nothing else drops: kept here, dropped in the full recipe."""


class Sets(NamedTuple):
    """What is compared, and on what.

    `rows`: every row that can be trained on or held out: `id`, `unit`, `side`, `label` (null of pairs), `clean` (the
    full recipe keeps it); sorted by id. `arms`: the full recipe first.
    """

    type: RecordType
    rows: pl.DataFrame
    arms: tuple[Arm, ...]


class _Left(NamedTuple):
    """What stays where something is left out."""

    name: str
    kind: Kind
    filters: list[RowFilter]
    groupings: list[str]
    reasons: frozenset[str]


def sets(state: State, *, share: float, only: Sequence[str] = ()) -> Sets:
    """The held-out rows and the training rows of every arm.

    `share` is the fraction of the anchors that is held out; `only` names what to leave out, all that there is without
    it. Raises RecipeError for rows that no reward is learnt from, and for a name that the recipe does not have.
    """
    if state.type not in (RecordType.UNPAIRED, RecordType.PREFERENCE):
        raise RecipeError(f"a reward is learnt from pairs and from labelled answers; this recipe makes {state.type}")
    sidecars = stages.score(state)
    scores = stages.scores(state, sidecars)
    labels, _ = stages.label(state, scores, sidecars)
    edges = dict(zip([one.name for one in state.groupings], stages.group(state), strict=True))
    scored = scores.join(labels.select("id", "label", "label_confidence"), on="id", how="left", maintain_order="left")
    known = told(state, labels, scores)

    def decided(filters: Sequence[RowFilter], groupings: Sequence[str]) -> Decision:
        return judging.decide(
            scored,
            filters,
            [(one, edges[one.name]) for one in state.groupings if one.name in groupings],
            unjudged=state.recipe.unjudged,
            quality=_quality(state),
            labelled=state.type is RecordType.UNPAIRED,
            oriented=state.oriented(),
        )

    names = [one.name for one in state.groupings]
    first = decided(state.filters, names)
    sides = _sides(state, first, share)
    division = Division(Splits(sides.rename({"unit": "group", "side": "split"}), {}), sides, [])

    def trained(decision: Decision) -> pl.Series:
        """Ids on the training side after the recipe's `mix` and `balance`."""
        mixed, _ = mixture.mixed(state, decision, known)
        even = splitting.even_out(state, mixed, division, known)
        kept = even.rows.filter("kept").join(sides.filter(pl.col("side") == TRAIN), on="id", how="semi")
        return kept["id"].sort()

    wanted = _left_out(state)
    known_names = [one.name for one in wanted]
    faults = [
        f"--only {name}: not in this recipe; {nearest(name, known_names)}" for name in only if name not in known_names
    ]
    if faults:
        raise RecipeError(faults)
    wanted = [one for one in wanted if not only or one.name in only]
    arms = [Arm(FULL, "full", trained(first), 0, 0)]
    for position, one in enumerate(wanted):
        state.progress("decide", position, len(wanted))
        decision = decided(one.filters, one.groupings)
        carried = pl.col("reasons").list.set_intersection(sorted(one.reasons)).list.len() > 0
        alone = decision.rows.filter("kept").join(first.rows.filter(~pl.col("kept")), on="id", how="semi")
        arms.append(Arm(one.name, one.kind, trained(decision), first.rows.filter(carried).height, alone.height))
    state.progress("decide", len(wanted), len(wanted))
    usable = scored.select("id", "label")
    if state.type is RecordType.UNPAIRED:
        usable = usable.filter(pl.col("label").is_not_null())
    rows = usable.join(sides, on="id", how="inner").join(first.rows.select("id", clean="kept"), on="id", how="left")
    return Sets(state.type, rows.select("id", "unit", "side", "label", "clean").sort("id"), tuple(arms))


def _quality(state: State) -> tuple[str, Literal["higher", "lower"]] | None:
    """What the runner chooses survivors by; of the full recipe in every arm."""
    if not state.filters:
        return None
    first = state.filters[0]
    return f"{first.scorer.name}_{first.sides[0]}", first.scorer.better


def _left_out(state: State) -> list[_Left]:
    """Every filter, every rule of a filter with several, every grouping, all filters, and everything."""
    filters, groupings = state.filters, [one.name for one in state.groupings]
    found: list[_Left] = []
    for one in filters:
        others = [other for other in filters if other is not one]
        reasons = frozenset(one.rules) | {f"unjudged_by_{one.name}"}
        found.append(_Left(one.name, "filter", others, groupings, reasons))
        for reason in one.rules if len(one.rules) > 1 else ():
            rules = {name: rule for name, rule in one.rules.items() if name != reason}
            without = [dataclasses.replace(one, rules=rules) if other is one else other for other in filters]
            found.append(_Left(f"{one.name}.{reason}", "rule", without, groupings, frozenset([reason])))
    for name in groupings:
        rest = [other for other in groupings if other != name]
        found.append(_Left(name, "grouping", filters, rest, frozenset([name])))
    every = frozenset().union(*(one.reasons for one in found if one.kind == "filter"))
    if len(filters) > 1:
        found.append(_Left(ALL_FILTERS, "all", [], groupings, every))
    if filters and groupings:
        copies = every | {*groupings, "conflicting_labels"}
        found.append(_Left(EVERYTHING, "all", [], [], frozenset(copies)))
    return found


def _sides(state: State, decision: Decision, share: float) -> pl.DataFrame:
    """`id`, `unit` and `side` of every record.

    Units are those of the recipe's split, so that with the same salt its held-out rows are held out here too. Copies
    that still stand on two sides, courtesies too short to tie units, are set aside on the one that their cluster did
    not draw: with the duplicates filter left out too, no copy of a held-out row is trained on.
    """
    split = state.recipe.split
    salt = state.recipe.seed if split.salt is None else split.salt
    links, connect = splitting.links_of(state, decision)
    if split.by == "time":
        found = laws.split_by_time(links, connect=connect, shares={laws.EVALUATION: share}).rows
    else:
        found = laws.split_by_hash(links, connect=connect, shares={laws.EVALUATION: share}, salt=salt).rows
    held = pl.col("split") != laws.TRAIN
    rows = found.select("id", unit="group", side=pl.when(held).then(pl.lit(HELD_OUT)).otherwise(pl.lit(TRAIN)))
    copies = laws.components(*_clusters(state, rows.select("id"))).rename({"group": "copies"})
    drawn = copies.select(pl.col("copies").unique().sort())
    drawn = drawn.with_columns(draw=laws.sides(drawn["copies"], shares={laws.EVALUATION: share}, salt=salt))
    rows = rows.join(copies.join(drawn, on="copies"), on="id", how="left", maintain_order="left")
    own = pl.when(pl.col("draw") == laws.TRAIN).then(pl.lit(TRAIN)).otherwise(pl.lit(HELD_OUT))
    astride = pl.col("side").n_unique().over("copies") > 1
    aside = pl.when(astride & (own != pl.col("side"))).then(pl.lit(SET_ASIDE)).otherwise(pl.col("side"))
    return rows.select("id", "unit", side=aside)


def _clusters(state: State, ids: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """`ids` with a column of clusters for each grouping of the recipe and of GUARDS, and the names of these columns."""
    have = {one.name for one in state.groupings}
    missing: list[Grouping] = [catalogue.load("grouping", name)().build() for name in GUARDS if name not in have]
    guarded = dataclasses.replace(state, groupings=[*state.groupings, *missing])
    for grouping, edges in zip(guarded.groupings, stages.group(guarded), strict=True):
        members = grouping.groups(edges.filter(pl.col("similarity") >= grouping.min_similarity))
        ids = ids.join(members.select("id", pl.col("cluster").alias(grouping.name)), on="id", how="left")
    return ids, [one.name for one in guarded.groupings]
