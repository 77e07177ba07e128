"""report.html of a run: one self-contained page, drawn from report.json, the rows and the trained stage.

Row text stands in the page only, never in report.json; everything is escaped and nothing in the page can run.
"""

from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.io import write_atomic

SAMPLES = 3
"""Rows shown for each reason."""

MAX_CHARS = 600
"""Characters of a text shown before it is cut."""

MATES = 3
"""Rows shown of a cluster."""

BARS_HEIGHT = 72.0
CHART_WIDTH = 320.0
PLOT_HEIGHT = 150.0


def write_page(path: Path) -> Path:
    """Writes report.html of the run at `path` and returns its path. The file is readable by its owner only."""
    page = path / "report.html"
    write_atomic(page, render(path).encode())
    page.chmod(0o600)
    return page


def render(path: Path) -> str:
    """The page as HTML."""
    import jinja2

    report = json.loads((path / "report.json").read_text(encoding="utf-8"))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("prefdata.reporting", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(count=_count, percent=_percent, shown=shown, number=_number, words=_words)
    rows = _Rows(path)
    stage = _stage(path, report)
    return environment.get_template("report.html.jinja").render(
        report=report,
        stage=stage,
        samples={reason["reason"]: rows.dropped_for(reason["reason"]) for reason in report["reasons"]},
        borderline={
            rule["reason"]: [{**rows.one(near["id"]), **near} for near in rule["borderline"]]
            for rule in report["rules"]
            if rule["failed"]
        },
        clusters=[
            {**grouping, "examples": [{**one, "rows": rows.cluster(one["cluster"])} for one in grouping["examples"]]}
            for grouping in report["clusters"]
        ],
        bars=bars,
        curve=curve,
        reliability=reliability,
        funnel_max=max((step["rows"] for step in report["funnel"]), default=1) or 1,
        recipe=json.dumps(report["recipe"], indent=2, ensure_ascii=False, sort_keys=True),
    )


class _Rows:
    """The rows of a run, looked up without loading them all."""

    def __init__(self, path: Path) -> None:
        self.kept = pl.scan_parquet(sorted((path / "kept").glob("*.parquet")), glob=False)
        self.dropped = pl.scan_parquet(sorted((path / "dropped").glob("*.parquet")), glob=False)

    def dropped_for(self, reason: str) -> list[dict[str, Any]]:
        found = self.dropped.filter(pl.col("reasons").list.contains(reason)).sort("id").head(SAMPLES)
        return [
            _row(row) for row in found.select("id", "prompt", "completion", "label", "reasons").collect().to_dicts()
        ]

    def one(self, name: str) -> dict[str, Any]:
        for frame in (self.kept, self.dropped):
            found = frame.filter(pl.col("id") == name).select("id", "prompt", "completion", "label").collect()
            if found.height:
                return _row(found.to_dicts()[0])
        return {"id": name, "customer": "", "reply": "", "label": None}

    def cluster(self, name: str) -> list[dict[str, Any]]:
        found = self.dropped.filter(pl.col("cluster") == name).sort("id").head(MATES)
        mates = found.select("id", "prompt", "completion", "label", "survivor").collect()
        survivors = mates["survivor"].drop_nulls().unique().sort().to_list()[:1]
        first = [{**self.one(survivor), "kept": True} for survivor in survivors]
        return first + [{**_row(row), "kept": False} for row in mates.to_dicts()]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of a row: the last customer turn, the reply, the label."""
    customer = [message["content"] for message in row["prompt"] or [] if message["role"] == "user"]
    reply = [message["content"] or "" for message in row["completion"] or []]
    return {
        "id": row["id"],
        "customer": (customer[-1] or "") if customer else "",
        "reply": "\n".join(reply),
        "label": row["label"],
        "reasons": row.get("reasons", []),
    }


def _stage(path: Path, report: dict[str, Any]) -> dict[str, Any] | None:
    """The trained stage, if there is one: its record, its curve, its sampled answers."""
    train = report["recipe"]["train"]
    folder = path / "model" / train["name"] if train else path / "model"
    try:
        record = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
    except OSError:
        return None

    def beside(name: str) -> Any:
        file = folder / name
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []

    return {"record": record, "history": beside("metrics.json"), "samples": beside("samples.json")}


def bars(histogram: dict[str, Any], rule: dict[str, Any]) -> dict[str, Any]:
    """Rectangles of a stacked histogram and the x of each threshold, in pixels of a CHART_WIDTH x BARS_HEIGHT box.

    Heights are square roots of counts, so that ten rows beside ten thousand are still seen.
    """
    series = ("unlabelled", "undesirable", "desirable")
    names = histogram.get("values")
    count = len(histogram["desirable"])
    totals = [sum(histogram[name][at] for name in series) for at in range(count)]
    top = math.sqrt(max(totals, default=0) or 1)
    width = CHART_WIDTH / max(count, 1)
    rectangles = []
    for at in range(count):
        height = BARS_HEIGHT * math.sqrt(totals[at]) / top
        y = BARS_HEIGHT
        for name in series:
            part = height * histogram[name][at] / totals[at] if totals[at] else 0.0
            y -= part
            if part:
                label = names[at] if names else f"{histogram['edges'][at]:.3g} to {histogram['edges'][at + 1]:.3g}"
                rectangles.append(
                    {
                        "x": round(at * width, 2),
                        "y": round(y, 2),
                        "width": round(max(width - 1, 1), 2),
                        "height": round(part, 2),
                        "kind": name,
                        "title": f"{label}: {histogram[name][at]:,} {name}",
                    }
                )
    lines = []
    edges = histogram.get("edges") or []
    if edges and edges[-1] > edges[0]:
        for bound in ("min", "max"):
            if rule.get(bound) is not None:
                x = CHART_WIDTH * (rule[bound] - edges[0]) / (edges[-1] - edges[0])
                lines.append({"x": round(x, 2), "label": f"{bound} {rule[bound]:g}", "right": x > CHART_WIDTH / 2})
    return {"rectangles": rectangles, "lines": lines, "first": edges[:1], "last": edges[-1:], "names": names}


def curve(history: list[dict[str, Any]], key: str) -> dict[str, Any] | None:
    """Points of one logged value over the steps, in pixels, with its first, last, least and greatest value."""
    points = [(entry["step"], entry[key]) for entry in history if isinstance(entry.get(key), (int, float))]
    if len(points) < 2:
        return None
    steps = [step for step, _ in points]
    values = [float(value) for _, value in points]
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    length = (steps[-1] - steps[0]) or 1
    path = " ".join(
        f"{CHART_WIDTH * (step - steps[0]) / length:.1f},{PLOT_HEIGHT - 8 - (PLOT_HEIGHT - 16) * (value - low) / spread:.1f}"
        for step, value in zip(steps, values, strict=True)
    )
    return {"points": path, "first": values[0], "last": values[-1], "low": low, "high": high, "steps": steps[-1]}


def reliability(card: dict[str, Any]) -> list[dict[str, Any]]:
    """Points of the reliability curve: predicted against observed share of satisfied turns, sized by rows."""
    found = card.get("reliability") or []
    total = sum(one["n"] for one in found) or 1
    return [
        {
            "x": round(PLOT_HEIGHT * one["predicted"], 1),
            "y": round(PLOT_HEIGHT * (1 - one["observed"]), 1),
            "radius": round(3 + 9 * math.sqrt(one["n"] / total), 1),
            "title": f"predicted {one['predicted']:.2f}, observed {one['observed']:.2f}, {one['n']:,} turns",
        }
        for one in found
        if one["n"] and one["predicted"] is not None and one["observed"] is not None
    ]


def shown(text: str | None) -> str:
    """A text as the page may show it: cut, and with control and Bidi characters written as U+XXXX."""
    text = text or ""
    cut = text[:MAX_CHARS]
    visible = "".join(
        character
        if character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co")
        else f"⟨U+{ord(character):04X}⟩"
        for character in cut
    )
    return visible + (f" … ({len(text) - MAX_CHARS:,} more characters)" if len(text) > MAX_CHARS else "")


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _percent(value: float, total: float) -> str:
    return f"{100 * value / total:.1f} %" if total else "–"


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _words(name: str) -> str:
    return name.replace("_", " ")
