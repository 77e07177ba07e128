"""report.html of a run: one self-contained page, drawn from report.json, the rows and the trained stage.

Row text stands in the page only, never in report.json; everything is escaped and nothing in the page can run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.reporting import charts, drawing, image_text, pages, picture_clashes, pictures
from prefdata.reporting.accounts import ENDS
from prefdata.reporting.notes import labelled, notes, percent
from prefdata.reporting.policy import policy
from prefdata.reporting.texts import shown, snippet, visible
from prefdata.reporting.training import page as training
from prefdata.reporting.training import stages

COEFFICIENTS = 14
"""Of the fitted combiner, the strongest ones."""

SHEETS = ("style.css.jinja", "drawing.css", "training.css")

PICTURES = "pictures.css"
"""The sheet of a page that shows pictures."""

FATES = ("row", "context", "signal", "separator", "set_aside", "erased", "refused", "quarantined")

WHAT = {
    "prompt_completion": "examples",
    "preference": "pairs",
    "unpaired_preference": "labelled answers",
    "prompt_only": "prompts",
}
"""Type -> what its rows are called."""


def write_page(path: Path) -> Path:
    """Writes report.html of the run at `path` and returns its path. The file is readable by its owner only."""
    page = path / "report.html"
    return pages.write(render(path), page)


def render(path: Path) -> str:
    """The page as HTML."""
    from markupsafe import Markup

    report = json.loads((path / "report.json").read_text(encoding="utf-8"))
    environment = pages.environment()
    environment.filters.update(
        count=_count,
        percent=_percent,
        ratio=_ratio,
        share=lambda value: "–" if value is None else percent(value),
        points=_points,
        shown=shown,
        snippet=snippet,
        visible=visible,
        number=_number,
        feature=lambda name: visible(name.replace("_", " ").replace(":", ": ").replace("+", " + ")),
        signed=lambda value: f"{value:+.2f}",
        words=lambda name: visible(name.replace("_", " ").replace(".", ": ")),
        dictsort_numeric=lambda table: sorted(table.items(), key=lambda item: int(item[0])),
    )
    trained = stages.of_run(path, report)
    stopping = {rule["reason"]: rule for rule in report["rules"] if rule["failed"]}
    rows = _rows(path, _named(report))
    fate_names = [name for name in FATES if any(fate.get(name) for fate in report["fates"])]
    report["fates"] = [{**dict.fromkeys(fate_names, 0), **fate} for fate in report["fates"]]
    looks = pictures.section(path, report.get("pictures"))
    sheets = (*SHEETS, *((PICTURES,) if looks else ()))
    style = "".join(environment.get_template(sheet).render() for sheet in sheets)
    return environment.get_template("report.html.jinja").render(
        style=Markup(style),
        policy=policy(style, pictures=looks is not None),
        report=report,
        pictures=looks,
        clashes=picture_clashes.section(report, rows),
        image_text=image_text.section(report.get("accounts", [])),
        training=training.told(trained, path),
        notes=notes(report, trained),
        funnel=_funnel(report["funnel"]),
        sides=[
            (title, {**side, "unlabelled": side["rows"] - side["desirable"] - side["undesirable"]})
            for name, title in (("train", "training"), ("evaluation", "held out"), ("test", "test"))
            if (side := report["split"].get(name))
        ],
        rules_by_reason=stopping,
        samples={reason["reason"]: [rows[name] for name in reason["examples"]] for reason in report["reasons"]},
        borderline={
            reason: [{**rows[near["id"]], **near} for near in rule["borderline"]] for reason, rule in stopping.items()
        },
        clusters=[
            {
                **grouping,
                "examples": [
                    {**one, "rows": [{**rows[mate["id"]], **mate} for mate in one["rows"]]}
                    for one in grouping["examples"]
                ],
            }
            for grouping in report["clusters"]
        ],
        sources=charts.sources(report["labels"]["sources"], title="What labels rest on"),
        reliability=charts.reliability(report["card"].get("reliability", []), title="Reliability"),
        coefficients=charts.coefficients(
            report["card"].get("coefficients", [])[:COEFFICIENTS], title="Strongest coefficients"
        ),
        charts=charts,
        key=drawing.key,
        fate_names=fate_names,
        fate_key=[(charts.words(name), charts.FATES[name]) for name in fate_names],
        labelled=labelled(report),
        accounts=report.get("accounts", []),
        ends=ENDS,
        what=WHAT[report["recipe"].get("type", "unpaired_preference")],
        session_facts=_session_facts(report["sessions"]),
        exported=[
            {"file": f"{target}/{file}", **counts}
            for target, files in report["exports"].items()
            for file, counts in files.items()
        ],
        recipe=json.dumps(report["recipe"], indent=2, ensure_ascii=False, sort_keys=True),
    )


def _named(report: dict[str, Any]) -> set[str]:
    """Ids of all rows that the page shows."""
    found = {name for reason in report["reasons"] for name in reason["examples"]}
    found |= {near["id"] for rule in report["rules"] if rule["failed"] for near in rule["borderline"]}
    found |= picture_clashes.named(report)
    return found | {
        mate["id"] for grouping in report["clusters"] for one in grouping["examples"] for mate in one["rows"]
    }


def _rows(path: Path, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the page shows of each row: its pictures, the last customer turn, the reply, the label, the reasons."""
    wanted = pl.Series("id", sorted(ids), dtype=pl.String).implode()
    found: dict[str, dict[str, Any]] = {}
    for folder, reasons in (("kept", pl.lit([], dtype=pl.List(pl.String))), ("dropped", pl.col("reasons"))):
        files = sorted((path / folder).glob("*.parquet"))
        if not files:
            continue
        rows = pl.scan_parquet(files, glob=False).filter(pl.col("id").is_in(wanted))
        there = [name for name in ("completion", "chosen", "rejected", "label") if name in rows.collect_schema()]
        pictured = ("source", "images") if pictures.known(path) else ()
        columns = rows.select("id", "prompt", *there, *pictured, reasons.alias("reasons")).collect()
        drawn = pictures.thumbnails(path, columns.select(pictured).iter_rows(named=True)) if pictured else {}
        found.update(
            (row["id"], {**_row(row), "pictures": pictures.of_row(row, drawn) if drawn else []})
            for row in columns.iter_rows(named=True)
        )
    missing: dict[str, Any] = {"customer": "", "reply": "", "label": None, "reasons": [], "pictures": []}
    return {name: found.get(name, {"id": name, **missing}) for name in ids}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    customer = [message["content"] for message in row["prompt"] or [] if message["role"] == "user"]
    said = {
        side: "\n".join(message["content"] or "" for message in row.get(side) or [])
        for side in ("completion", "chosen", "rejected")
    }
    return {
        "id": row["id"],
        "customer": (customer[-1] or "") if customer else "",
        "reply": said["completion"] or said["chosen"],
        **({"worse": said["rejected"]} if "completion" not in row else {}),
        "label": row.get("label"),
        "reasons": row["reasons"] or [],
    }


def _funnel(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each step with what it removed, the share of desirable rows after it, and how far that moved it."""
    found: list[dict[str, Any]] = []
    for at, step in enumerate(steps):
        name = step["step"] if at else "all rows"
        labelled = step["desirable"] + step["undesirable"]
        share = step["desirable"] / labelled if labelled else None
        last = found[-1] if at else None
        moved = share - last["share"] if last and share is not None and last["share"] is not None else None
        found.append(
            {
                **step,
                "name": name,
                "pair": (name, {**step, "unlabelled": step["rows"] - labelled}),
                "removed": last["rows"] - step["rows"] if last else None,
                "share": share,
                "shift": moved,
                "worked": last is None or last["rows"] != step["rows"],
            }
        )
    return found


def _session_facts(sessions: dict[str, dict[str, Any]]) -> list[str]:
    """Names of the counts of sessions; fates and reasons of units are told elsewhere."""
    names = {name: None for facts in sessions.values() for name in facts}
    return [name for name in names if not name.startswith(("fate.", "reason."))]


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _percent(value: float, total: float) -> str:
    return percent(value / total) if total else "–"


def _ratio(one: int, other: int) -> str:
    return f"{one / other:.2f} : 1" if other else f"{one:,} : 0"


def _points(value: float | None) -> str:
    """A change of a share in percentage points; nothing where it rounds to zero."""
    return "" if value is None or abs(value) < 0.0005 else f"{100 * value:+.1f} pt"


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
