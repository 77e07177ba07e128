"""diff.json: every figure and place of a diff. No row text, no clock, no place on a machine.

docs/diff-report.schema.json describes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata.auditing.dataset import place
from prefdata.reporting.audit.json import unreadable
from prefdata.reporting.diff.words import title

if TYPE_CHECKING:
    from prefdata.comparing.findings import Change, Figure, Seen
    from prefdata.comparing.rows import Pairing
    from prefdata.comparing.shapes import Shape
    from prefdata.comparing.sides import Side
    from prefdata.comparison import Comparison

VERSION = 1
"""Of the form of diff.json; raised where a reader of the old one would be wrong."""

PLACES_SHOWN = 1_000
"""Places of each kind of rows."""


def to_json(found: Comparison) -> dict[str, Any]:
    """The comparison as JSON data; equal comparisons give equal data. Of two runs, `prefdata.diff.diff` stands in it
    at the same level."""
    return {
        "version": VERSION,
        "a": _side(found.a),
        "b": _side(found.b),
        "rows": _rows(found, found.rows) if found.rows is not None else None,
        "prompts": found.prompts._asdict(),
        "labels": found.labels.to_json() if found.labels is not None else None,
        "findings": [_change(found, one) for one in found.findings] if found.findings is not None else None,
        "distributions": [_shape(one) for one in found.shapes],
        **(found.runs or {}),
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "kind": side.kind,
        "format": side.audit.format,
        "type": side.type.value,
        "read": side.audit.read,
        "rows": side.audit.rows,
        "unreadable": unreadable(side.audit),
        "refused": dict(side.audit.refused),
    }


def _rows(found: Comparison, rows: Pairing) -> dict[str, Any]:
    edited = rows.changed["edited"].explode().value_counts().sort("edited").rows()
    return {
        "same": rows.same.height,
        "relabelled": rows.relabelled.height,
        "changed": rows.changed.height,
        "only_a": len(rows.only_a),
        "only_b": len(rows.only_b),
        "edited": {side: number for side, number in edited if side is not None},
        "form_only": int((~rows.changed["wording"]).sum()),
        "repeated": {"a": rows.repeated[0], "b": rows.repeated[1]},
        "places": {
            "relabelled": _pairs(found, rows.relabelled),
            "changed": [
                {**places, "edited": edited}
                for places, edited in zip(
                    _pairs(found, rows.changed), rows.changed["edited"].head(PLACES_SHOWN).to_list(), strict=True
                )
            ],
            "only_a": places(found.a, rows.only_a.head(PLACES_SHOWN)),
            "only_b": places(found.b, rows.only_b.head(PLACES_SHOWN)),
        },
    }


def _pairs(found: Comparison, pairs: pl.DataFrame) -> list[dict[str, Any]]:
    shown = pairs.head(PLACES_SHOWN)
    both = zip(places(found.a, shown["a"]), places(found.b, shown["b"]), strict=True)
    return [{"a": one, "b": other} for one, other in both]


def places(side: Side, rows: pl.Series) -> list[str]:
    """Where rows stand: file:line, and #n where a line gives several."""
    return [place(row) for row in side.rows.select("_file", "_line", "part")[rows].iter_rows(named=True)]


def _change(found: Comparison, change: Change) -> dict[str, Any]:
    return {
        "check": change.check,
        "family": change.family,
        "title": title(found, change),
        "status": change.status.value,
        "severity": change.severity.value,
        "a": _seen(change.a),
        "b": _seen(change.b),
        "difference": _figure(change.difference),
        "rows_new": change.rows_new,
        "rows_gone": change.rows_gone,
        "places": list(change.places),
    }


def _seen(seen: Seen | None) -> dict[str, Any] | None:
    if seen is None:
        return None
    return {
        "severity": seen.severity.value,
        "count": seen.rows,
        "total": seen.total,
        "share": round(seen.share, 6),
        "estimate": _figure(seen.figure),
    }


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {"of": figure.name, "value": round(figure.value, 6), "interval": [round(one, 6) for one in figure[2:]]}


def _shape(shape: Shape) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": shape.name,
        "clear": shape.clear,
        "effect": {
            "name": shape.effect.name,
            "value": shape.effect.value,
            "p_value": float(f"{shape.effect.p_value:.4g}"),
            "cohen_d": _d(shape.effect.cohen_d),
        },
    }
    if shape.numbers is not None:
        from prefdata.comparing.shapes import QUANTILES

        told["edges"] = list(shape.edges)
        for mark, side in zip(("a", "b"), shape.numbers, strict=True):
            quantiles = {f"{at:g}": value for at, value in zip(QUANTILES, side.quantiles, strict=True)}
            told[mark] = {"rows": side.rows, "mean": side.mean, "quantiles": quantiles, "counts": list(side.counts)}
    else:
        from prefdata.comparing.shapes import OTHERS

        told["values"] = [
            {"value": None if value == OTHERS else value, "others": value == OTHERS, "a": one, "b": other}
            for value, one, other in shape.values
        ]
    return told


def _d(told: tuple[float, float, float] | None) -> dict[str, Any] | None:
    return {"value": told[0], "interval": list(told[1:])} if told is not None else None
