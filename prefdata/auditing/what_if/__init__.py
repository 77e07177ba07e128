"""What would this filter do: every filter and grouping tried on a dataset, nothing removed.

Rows are scored once and decided from scores, as in a run: a filter keeps here what a run with the same settings keeps.
Rows are taken as they stand in the files: transforms of a recipe, which edit texts before they are scored, are not
applied. A grouping is tried on all rows; in a run it chooses among those that pass the filters.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from prefdata import catalogue
from prefdata.auditing import features
from prefdata.auditing.dataset import Audited, place
from prefdata.auditing.what_if.curves import Bar, Point, Verdicts, curve, nearest, proposals, values_of, verdicts
from prefdata.auditing.what_if.effects import Borderline, Curve, Effect, Reason, Value, Values, WhatIf
from prefdata.auditing.what_if.groups import Clusters, clusters, nearest_edges
from prefdata.auditing.what_if.scores import Progress, Scored, Shelf, id_of, scored
from prefdata.auditing.what_if.settings import Asked, as_setting, setting_of, snippet, values_settings
from prefdata.auditing.what_if.slices import Slice, parts_of, slices, with_verdicts
from prefdata.errors import PrefdataError, RecipeError
from prefdata.judging import decide
from prefdata.schema import RecordType
from prefdata.sides import fitted

EXCERPT = 300
"""Characters of a text beside a threshold."""

VALUES = 20
"""Of a text column, listed; the commonest."""

COVERED = (90.0, 99.0)
"""Percent of the judged rows that proposed lists of values let pass."""


def of_catalogue(record_type: RecordType) -> list[Asked]:
    """Every filter and grouping of the catalogue with its defaults, but for what has nothing to look at.

    Those judge no side of the type, ask for a model to be named, or read pictures.
    """
    found = []
    for name in catalogue.FILTERS:
        try:
            settings = catalogue.load("filter", name)()
            if "images" in fitted(settings.build(), record_type).scorer.reads:
                continue
        except RecipeError:
            continue
        except (PrefdataError, ImportError):
            pass  # it is tried all the same, and told with what it lacks
        found.append(Asked("filter", name, settings, settings))
    for name in catalogue.GROUPINGS:
        settings = catalogue.load("grouping", name)()
        if "images" not in getattr(settings.build(), "reads", ()):
            found.append(Asked("grouping", name, settings, settings))
    return found


def what_if(
    data: Audited,
    asked: Sequence[Asked],
    *,
    recipe: str | None = None,
    unjudged: Literal["keep", "drop"] = "keep",
    progress: Progress | None = None,
) -> WhatIf:
    """What each of `asked` would keep and drop of `data`, at its thresholds and at others.

    Example: `what_if(data, of_catalogue(data.type)).kept`.
    """
    if not data.total:
        return WhatIf(recipe=recipe, rows=0, kept=0, abstained=0, effects=(), overlap=())
    with tempfile.TemporaryDirectory(prefix="prefdata-") as folder:
        shelf = Shelf(Path(folder), data.type)
        found = scored(data, asked, shelf, progress=progress)
        if progress is not None:
            progress("what if: decisions", data.total)
        return _Trial(data, list(asked), found, unjudged).told(recipe, shelf)


class _Trial:
    def __init__(self, data: Audited, asked: list[Asked], found: Scored, unjudged: Literal["keep", "drop"]) -> None:
        self.data, self.asked, self.found, self.unjudged = data, asked, found, unjudged
        self.labelled = data.type is RecordType.UNPAIRED
        self.verdicts: dict[str, Verdicts] = {
            name: verdicts(found.frame, one, unjudged=unjudged, labelled=self.labelled)
            for name, one in found.filters.items()
        }
        self.clusters: dict[str, Clusters] = {}
        self.dropped: dict[str, pl.Series] = {name: one.dropped() for name, one in self.verdicts.items()}
        for one in asked:
            if one.name in found.groupings:
                grouping, edges = found.groupings[one.name]
                self.clusters[one.name], self.dropped[one.name] = clusters(
                    found.frame, one, grouping, edges, labelled=self.labelled, oriented=found.oriented
                )
        self.names = [one.name for one in asked if one.name in self.dropped]
        self.shown: list[tuple[Any, pl.DataFrame]] = []

    def told(self, recipe: str | None, shelf: Shelf) -> WhatIf:
        parts = parts_of(self.data.rows, self.found.frame, self.data.type)
        total = self.data.total
        cut = [slices(parts, self.dropped[name]) for name in self.names]
        kept = [total - int(self.dropped[name].sum()) for name in self.names]
        judged = with_verdicts([(total, left, one) for left, one in zip(kept, cut, strict=True)])
        by_name = dict(zip(self.names, judged, strict=True))
        effects = [self.effect(one, by_name) for one in self.asked]
        decision = decide(
            self.found.frame,
            list(self.found.filters.values()),
            [self.found.groupings[name] for name in self.names if name in self.found.groupings],
            unjudged=self.unjudged,
            quality=self.quality(),
            labelled=self.labelled,
            oriented=self.found.oriented,
        )
        overlap = tuple(
            tuple(int((self.dropped[one] & self.dropped[other]).sum()) for other in self.names) for one in self.names
        )
        return WhatIf(
            recipe=recipe,
            rows=total,
            kept=int(decision.rows["kept"].sum()),
            abstained=self.found.frame["label"].null_count() if self.labelled else 0,
            effects=tuple(self.with_texts(effects, shelf)),
            overlap=overlap,
        )

    def quality(self) -> tuple[str, Literal["higher", "lower"]] | None:
        """The score that chooses among duplicates: a run takes the first filter's."""
        for one in self.found.filters.values():
            return f"{one.scorer.name}_{one.sides[0]}", one.scorer.better
        return None

    def others(self, *names: str) -> pl.Series:
        """The rows that any filter or grouping drops but for those named."""
        found = pl.repeat(False, self.data.total, eager=True)
        for name, dropped in self.dropped.items():
            if name not in names:
                found = found | dropped
        return found

    def effect(self, asked: Asked, by_name: Mapping[str, tuple[Slice, ...]]) -> Effect:
        name = asked.name
        if name not in self.dropped:
            return Effect(name=name, kind=asked.kind, message=self.found.failed.get(name, ""))
        dropped = self.dropped[name]
        told = Effect(
            name=name,
            kind=asked.kind,
            rows=self.data.total,
            kept=self.data.total - int(dropped.sum()),
            alone=int((dropped & ~self.others(name)).sum()),
            slices=by_name[name],
        )
        if asked.kind == "grouping":
            grouping, edges = self.found.groupings[name]
            if self.clusters[name].setting:
                self.shown.append(((name, None), nearest_edges(edges, grouping.min_similarity)))
            reason = Reason(name=name, dropped=told.dropped, alone=told.alone)
            return dataclasses.replace(told, reasons=(reason,), clusters=self.clusters[name])
        verdict = self.verdicts[name]
        filters = pl.repeat(False, self.data.total, eager=True)
        for other in self.found.filters:
            if other != name:
                filters = filters | self.dropped[other]
        return dataclasses.replace(
            told,
            unjudged=int(verdict.unjudged.sum()),
            sides=tuple(self.found.filters[name].sides),
            slices=(*self.by_side(verdict), *told.slices),
            reasons=self.reasons(name, verdict),
            curves=tuple(self.curve(bar, verdict, filters, asked) for bar in verdict.bars),
            values=tuple(self.values(asked)),
        )

    def by_side(self, verdict: Verdicts) -> list[Slice]:
        """Of rows with several answers: what is kept where each side alone decides."""
        if len(self.data.answers) < 2:
            return []
        rows = self.data.total
        return [
            Slice(by="side", value=side, rows=rows, kept=rows - int(failed.sum()))
            for side, failed in verdict.sides.items()
        ]

    def reasons(self, name: str, verdict: Verdicts) -> tuple[Reason, ...]:
        others = self.others(name)
        count = pl.select(
            pl.sum_horizontal([one.cast(pl.UInt16) for one in verdict.reasons.values()] or [0])
        ).to_series()
        return tuple(
            Reason(name=reason, dropped=int(failed.sum()), alone=int((failed & (count == 1) & ~others).sum()))
            for reason, failed in verdict.reasons.items()
        )

    def curve(self, bar: Bar, verdict: Verdicts, filters: pl.Series, asked: Asked) -> Curve:
        judged = len(bar.scores) - bar.scores.null_count()
        name = f"{bar.sides[0]}_norm"
        texts = self.data.rows[name] if name in self.data.rows.columns else self.data.rows["row"]
        if bar.scores.min() != bar.scores.max():
            self.shown.append(((bar.filter, (bar.reason, bar.bound, bar.threshold)), nearest(bar, texts)))
        return Curve(
            reason=bar.reason,
            bound=bar.bound,
            threshold=bar.threshold,
            sides=bar.sides,
            column=bar.column,
            setting=setting_of(asked.settings, bar.reason, bar.bound),
            judged=judged,
            low=_number(bar.scores.min()),
            high=_number(bar.scores.max()),
            points=self.allowed(curve(bar, verdict, filters), bar, asked),
            proposals=proposals(bar, asked),
            borderline=(),
        )

    def allowed(self, points: tuple[Point, ...], bar: Bar, asked: Asked) -> tuple[Point, ...]:
        """The points whose thresholds the settings take: no negative counts, no half words."""
        setting = setting_of(asked.settings, bar.reason, bar.bound)
        if setting is None:
            return points
        return tuple(
            one
            for one in points
            if one.threshold == bar.threshold
            or (
                as_setting(asked, setting, one.threshold) == one.threshold
                and asked.moved(setting, as_setting(asked, setting, one.threshold)) is not None
            )
        )

    def values(self, asked: Asked) -> list[Values]:
        row_filter = self.found.filters[asked.name]
        found = []
        for setting, reason, rule in values_settings(asked.settings):
            columns = {side: f"{row_filter.scorer.name}_{side}_{rule.column}" for side in row_filter.sides}
            counted = values_of(self.found.frame, columns)
            named = getattr(asked.settings, setting)
            listed = counted.head(VALUES)
            found.append(
                Values(
                    reason=reason,
                    setting=setting,
                    column=str(rule.column),
                    values=tuple(
                        Value(value=value, rows=rows, passes=named is None or value in named)
                        for value, rows in listed.iter_rows()
                    ),
                    more=counted.height - listed.height,
                    recipes={f"{percent:g}": _covering(asked, setting, counted, percent) for percent in COVERED},
                )
            )
        return found

    def with_texts(self, effects: list[Effect], shelf: Shelf) -> list[Effect]:
        """The effects with the rows next to their thresholds, whose texts are read again."""
        numbers = [frame[name] for _, frame in self.shown for name in ("row", "other") if name in frame.columns]
        if not numbers:
            return effects
        wanted = pl.concat([one.cast(pl.UInt32).alias("row") for one in numbers]).unique().sort()
        rows = features.texts(shelf.rows(wanted.to_frame().select(id_of()).to_series()), self.data.type)
        told = dict(zip(wanted.to_list(), rows.iter_rows(named=True), strict=True))
        places = self.data.rows.select("row", "_file", "_line", "part")[wanted]
        where = {one["row"]: place(one) for one in places.iter_rows(named=True)}
        shown = {
            key: tuple(self.borderline(one, told, where) for one in frame.iter_rows(named=True))
            for key, frame in self.shown
        }
        found = []
        for effect in effects:
            curves = tuple(
                dataclasses.replace(
                    one, borderline=shown.get((effect.name, (one.reason, one.bound, one.threshold)), ())
                )
                for one in effect.curves
            )
            found.append(dataclasses.replace(effect, curves=curves, borderline=shown.get((effect.name, None), ())))
        return found

    def borderline(self, one: Mapping[str, Any], told: Mapping[int, Any], where: Mapping[int, str]) -> Borderline:
        row, other = told[one["row"]], one.get("other")
        return Borderline(
            place=where[one["row"]],
            score=float(one["score"]),
            kept=bool(one["kept"]),
            texts={side: _said(row, side)[:EXCERPT] for side in self.data.sides},
            chars={side: len(_said(row, side)) for side in self.data.sides},
            beside=where[other] if other is not None else "",
            beside_texts={}
            if other is None
            else {side: _said(told[other], side)[:EXCERPT] for side in self.data.sides},
        )


def _said(row: Mapping[str, Any], side: str) -> str:
    """The text of a side; of a prompt its last user turn, where it has one."""
    return str((row["turn_text"] if side == "prompt" else "") or row[f"{side}_text"])


def _covering(asked: Asked, setting: str, counted: pl.DataFrame, percent: float) -> str:
    """The piece of a recipe that names the fewest values under which so many percent of the judged rows pass."""
    if not counted.height:
        return ""
    least = percent / 100 * int(counted["rows"].sum())
    needed = int((counted["rows"].cum_sum() < least).sum()) + 1
    return snippet(asked, setting, tuple(counted["value"].head(needed).to_list()))


def _number(value: Any) -> float | None:
    return None if value is None else round(float(value), 4)
