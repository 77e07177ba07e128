"""diff.html: one self-contained page of what two datasets or runs differ in. It loads nothing and runs nothing.

All that stands in the data is shown as text: escaped, held in its own direction, characters that a browser would hide
or obey written as their code points.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefdata.comparing.findings import Change, Status
from prefdata.comparing.labels import KEPT
from prefdata.reporting import pages
from prefdata.reporting.audit.json import unreadable
from prefdata.reporting.audit.page import HTML_LANGUAGES, name, prose, text
from prefdata.reporting.audit.words import SYMBOLS, pieces, record_type, severity
from prefdata.reporting.diff import rows as diff_rows
from prefdata.reporting.diff.markdown import kept_line
from prefdata.reporting.diff.terminal import label_lines, named, shares
from prefdata.reporting.diff.words import (
    Language,
    command,
    effect,
    moved,
    percent,
    relabelled,
    say,
    seen,
    words,
)

if TYPE_CHECKING:
    from prefdata.comparing.shapes import Shape
    from prefdata.comparing.sides import Side
    from prefdata.comparison import Comparison

SIGNS = {Status.NEW: "+", Status.WORSE: "▲", Status.BETTER: "▼", Status.GONE: "−", Status.SAME: "="}
"""A shape each, so that colour is not all that tells them apart."""

SETTINGS = 60
"""Characters of a setting of a run."""


def write_page(found: Comparison, path: Path, *, lang: Language = "en") -> Path:
    """Writes the page of a comparison to `path` and returns it. The file is readable by its owner only."""
    return pages.write(render(found, lang=lang), path)


def render(found: Comparison, *, lang: Language = "en") -> str:
    """The page as HTML; equal comparisons give equal pages. Texts of the rows shown are read again from the files."""
    from markupsafe import Markup

    environment = pages.environment()
    environment.filters.update(
        prose=prose, count=lambda value: f"{value:,}", percent=percent, safe_text=text, name=name
    )
    environment.globals.update(say=lambda key, **values: say(key, lang, **values))
    sheets = ("style.css.jinja", "drawing.css", "audit.css", "diff.css")
    style = "".join(environment.get_template(sheet).render() for sheet in sheets)
    findings = [_finding(found, one, lang) for one in found.findings or ()]
    return environment.get_template("diff.html.jinja").render(
        language=HTML_LANGUAGES[lang],
        policy=f"default-src 'none'; style-src '{_sha256(style)}'; base-uri 'none'; form-action 'none'",
        style=Markup(style),
        sides=[_side(found.a, "A", lang), _side(found.b, "B", lang)],
        rows=_rows(found, lang),
        equal=_equal(found),
        other_types=_other_types(found, lang),
        prompts=found.prompts,
        kinds=diff_rows.shown(found, lang),
        labels=_labels(found, lang),
        audited=found.findings is not None,
        statuses=[
            {
                "name": status.value,
                "sign": SIGNS[status],
                "word": say(f"status_{status}", lang),
                "count": sum(one["status"] == status.value for one in findings),
            }
            for status in Status
        ],
        findings=[one for one in findings if one["status"] != Status.SAME.value],
        unmoved=[one for one in findings if one["status"] == Status.SAME.value],
        clear=[_shape(found, one, lang) for one in found.shapes if one.clear],
        unclear=[_shape(found, one, lang) for one in found.shapes if not one.clear],
        shapes=len(found.shapes),
        runs=_runs(found, lang),
    )


def _sha256(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _side(side: Side, mark: str, lang: Language) -> dict[str, Any]:
    return {
        "mark": mark,
        "name": side.name,
        "kind": say(f"kind_{side.kind}", lang),
        "type": record_type(side.type.value, lang),
        "format": side.audit.format,
        "rows": side.audit.rows,
        "read": side.audit.read,
        "unreadable": unreadable(side.audit),
    }


def _equal(found: Comparison) -> bool:
    rows = found.rows
    if rows is None:
        return False
    return not (rows.relabelled.height or rows.changed.height or len(rows.only_a) or len(rows.only_b))


def _other_types(found: Comparison, lang: Language) -> dict[str, str] | None:
    if found.rows is not None:
        return None
    kinds = {mark: record_type(side.type.value, lang) for mark, side in (("a", found.a), ("b", found.b))}
    return {"told": say("other_types", lang, **kinds), "command": command(found)}


def _rows(found: Comparison, lang: Language) -> dict[str, Any] | None:
    """Tiles of the account of the rows, a chart of both sides, and what was edited."""
    rows = found.rows
    if rows is None:
        return None
    from prefdata.reporting.drawing import Kind, Stack, key, split_bars

    numbers = {
        "same": rows.same.height,
        relabelled(found): rows.relabelled.height,
        "changed": rows.changed.height,
        "only_a": len(rows.only_a),
        "only_b": len(rows.only_b),
    }
    kinds: tuple[Kind, ...] = ("none", "limit", "major", "", "other")
    own = {"A": found.a.audit.rows, "B": found.b.audit.rows}
    tiles = [
        {
            "name": say(kind, lang),
            "rows": number,
            "notes": [
                say("of_rows_of", lang, share=percent(number / total), mark=mark)
                for mark, total in own.items()
                if total and kind != f"only_{'b' if mark == 'A' else 'a'}"
            ],
        }
        for kind, number in numbers.items()
    ]
    bars = [
        Stack(
            f"{mark}: {name(side.name)}",
            [
                (shade, number)
                for (kind, number), shade in zip(numbers.items(), kinds, strict=True)
                if kind != f"only_{other}"
            ],
            f"{side.audit.rows:,}",
        )
        for mark, side, other in (("A", found.a, "b"), ("B", found.b, "a"))
    ]
    title = say("rows_title", lang)
    edited = rows.changed["edited"].explode().drop_nulls().value_counts().sort("count", descending=True).rows()
    form = int((~rows.changed["wording"]).sum())
    told = [say("edited_in", lang, side=say(f"side_{side}", lang), rows=number) for side, number in edited]
    return {
        "tiles": tiles,
        "chart": split_bars(bars, title=title, whole=False),
        "key": key([(say(kind, lang), shade) for kind, shade in zip(numbers, kinds, strict=True)]),
        "edited": told + ([say("form_only", lang, rows=form)] if form else []),
        "repeated": rows.repeated,
    }


def _labels(found: Comparison, lang: Language) -> dict[str, Any] | None:
    labels = found.labels
    if labels is None or not labels.rows:
        return None
    columns = list(next(iter(labels.table.values())))
    return {
        "lines": label_lines(found, lang),
        "swaps": KEPT in labels.table,
        "columns": [say(f"label_{name}", lang) for name in columns],
        "rows": [
            {
                "name": say(f"label_{was}", lang),
                "cells": [{"rows": ways[now], "moved": was != now and ways[now] > 0} for now in columns],
            }
            for was, ways in labels.table.items()
        ],
    }


def _finding(found: Comparison, change: Change, lang: Language) -> dict[str, Any]:
    told = words(found, change, lang)
    return {
        "check": change.check,
        "status": change.status.value,
        "sign": SIGNS[change.status],
        "status_word": say(f"status_{change.status}", lang),
        "severity": change.severity.value,
        "symbol": SYMBOLS[change.severity],
        "severity_word": severity(change.severity, lang),
        "was": severity(change.a.severity, lang) if change.a and change.a.severity != change.severity else "",
        "title": told.title,
        "why": told.why,
        "cure": pieces(told.cure) if change.status in (Status.NEW, Status.WORSE) else [],
        "a": seen(change.a),
        "b": seen(change.b),
        "difference": moved(change.difference, lang),
        "rows": [
            say(what, lang, rows=number)
            for what, number in (("rows_new", change.rows_new), ("rows_gone", change.rows_gone))
            if number
        ],
        "places": change.places,
        "more": max(0, (change.rows_new or 0) - len(change.places)),
    }


def _shape(found: Comparison, shape: Shape, lang: Language) -> dict[str, Any]:
    """A distribution: its effect, a chart, and a table of both sides."""
    from prefdata.reporting.drawing import Opposed, Series, histogram, key, opposed_bars

    title = say(f"shape_{shape.name}", lang)
    sides = (("A", ""), ("B", "other"))
    told: dict[str, Any] = {"title": title, "effect": effect(shape.effect, lang), "note": "", "key": ""}
    if shape.numbers is not None:
        from prefdata.comparing.shapes import QUANTILES

        series = [
            Series(mark, [count / max(1, side.rows) for count in side.counts], kind)  # type: ignore[arg-type]
            for (mark, kind), side in zip(sides, shape.numbers, strict=True)
        ]
        told["chart"] = histogram(series, shape.edges, title=title, stacked=False, percent=True)
        told["note"] = say("at_most", lang)
        heads = [say("rows", lang), say("mean", lang)]
        heads += [
            say("median", lang) if at == 0.5 else say("quantile", lang, percent=f"{100 * at:g}") for at in QUANTILES
        ]
        figures = [
            [f"{side.rows:,}", *(f"{one:,.4g}" for one in (side.mean, *side.quantiles))] for side in shape.numbers
        ]
        told["rows"] = [list(row) for row in zip(heads, *figures, strict=True)]
    else:
        bars = [
            Opposed(named(value, lang), one, other, f"{percent(one)} : {percent(other)}")
            for value, one, other in shares(shape)
        ]
        told["chart"] = opposed_bars(bars, title=title, kinds=("", "other"))
        told["key"] = key([(mark, kind) for mark, kind in sides])
        told["rows"] = [[named(value, lang), f"{one:,}", f"{other:,}"] for value, one, other in shape.values]
    return told


def _runs(found: Comparison, lang: Language) -> dict[str, Any] | None:
    runs = found.runs
    if runs is None:
        return None
    import json

    def told(value: Any) -> str:
        written = json.dumps(value, ensure_ascii=False)
        return written if len(written) <= SETTINGS else written[: SETTINGS - 1] + "…"

    return {
        "line": kept_line(found, lang),
        "steps": [{"what": say(what, lang), **one} for what in ("came", "went") for one in runs["steps"][what]],
        "settings": [
            {"name": one["setting"], "a": told(one["before"]), "b": told(one["after"])} for one in runs["recipe"]
        ],
        "inputs": [f"{one['source']}: {one['file']} {one['what']}" for one in runs["inputs"]],
        "moved": len(runs["moved"]),
        "edited": len(runs["edited"]),
    }
