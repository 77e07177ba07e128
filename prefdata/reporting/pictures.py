"""The pictures of a run as its page shows them: thumbnails beside rows, what was refused, what stands out.

A thumbnail is the JPEG that the gate made of the decoded pixels; nothing of the file as it came is in it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.io import SLICE

TABLE = "pictures.parquet"

STEP = "pictures"
"""Where rows leave for their pictures, in unmade.parquet."""

EXTREMES = 6
"""Pictures shown at an end of a measure."""

ENDS = (
    ("blur", False, "the most blurred"),
    ("contrast", False, "the most uniform"),
    ("brightness", False, "the darkest"),
    ("brightness", True, "the brightest"),
)
"""Measure, whether its highest are shown, and what these are called."""

QUANTILES = (("least", 0.0), ("5 %", 0.05), ("median", 0.5), ("95 %", 0.95), ("most", 1.0))

MEASURES = (
    ("width", "pixels"),
    ("height", "pixels"),
    ("blur", "variance of the Laplacian of the channel where it is largest; low is blurred"),
    ("entropy", "bits of the luminance, 0 to 8"),
    ("brightness", "mean luminance, 0 to 1"),
    ("contrast", "standard deviation of the channel where it is largest, 0 to 0.5"),
)


def known(run: Path) -> bool:
    """Whether the rows of a run have pictures."""
    return (run / TABLE).is_file()


def thumbnails(run: Path, rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """(source, address in the row) -> `src`, a data address, `width`, `height` and `format` of the picture as it came.

    `rows` hold `source` and `images`. A picture that has no thumbnail any more is not in it.
    """
    asked = {(row["source"], one["uri"]) for row in rows for one in row["images"] or []}
    if not asked or not known(run):
        return {}
    wanted = pl.DataFrame(sorted(asked), schema={"source": pl.String, "at": pl.String}, orient="row")
    table = pl.scan_parquet(run / TABLE, glob=False).select("source", at=pl.coalesce("uri", "address"))
    found = (
        _shown(
            run,
            table.join(wanted.lazy().with_columns(asked=True), on=["source", "at"], how="left", maintain_order="left"),
        )
        .with_columns(at=pl.coalesce("uri", "address"))
        .sort("source", "at", "address")
        .unique(["source", "at"], keep="first", maintain_order=True)
    )
    return {(row["source"], row["at"]): _drawn(row) for row in found.iter_rows(named=True)}


def by_address(run: Path, addresses: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Address within the run -> what `thumbnails` tells of it, for pictures whose source is not known."""
    asked = sorted(set(addresses))
    if not asked or not known(run):
        return {}
    table = pl.scan_parquet(run / TABLE, glob=False).select(asked=pl.col("uri").is_in(asked))
    found = _shown(run, table).sort("uri", "width", "height", "format").unique("uri", keep="first", maintain_order=True)
    return {row["uri"]: _drawn(row) for row in found.iter_rows(named=True)}


def of_row(row: Mapping[str, Any], drawn: Mapping[tuple[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """The thumbnails of a row's pictures in their order, each with the `side` that it stands in."""
    places = [(one["side"], drawn.get((row["source"], one["uri"]))) for one in row["images"] or []]
    return [{**found, "side": side} for side, found in places if found is not None]


def section(run: Path, account: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the page tells of pictures; None for a run without any.

    `refused_rows`: rows that left with them. `refused_because`: reason, sentence and number, most frequent first.
    `measures`: quantiles of each measure over the different pictures. `ends`: the pictures at the ends of measures.
    """
    if account is None:
        return None
    from prefdata.picturing.reasons import REASONS

    because = sorted(account["refused_because"].items(), key=lambda item: (-item[1], item[0]))
    names = [name for name, _ in MEASURES]
    table = pl.scan_parquet(run / TABLE, glob=False).select("pixels", "source", "address", *names).with_row_index("row")
    different = (
        table.drop_nulls("pixels")
        .sort("pixels", "source", "address")
        .unique("pixels", keep="first", maintain_order=True)
    )
    measured = different.select("row", "pixels", *names).collect()
    return {
        **account,
        "refused_because": [
            {"reason": reason, "says": REASONS.get(reason, "").replace("`", ""), "pictures": number}
            for reason, number in because
        ],
        "refused_rows": _refused_rows(run),
        "different": measured.height,
        "quantiles": [name for name, _ in QUANTILES],
        "measures": [
            {"name": name, "what": what, "values": [_quantile(measured[name], share) for _, share in QUANTILES]}
            for name, what in MEASURES
            if measured.height
        ],
        "ends": _ends(run, measured),
    }


def _refused_rows(run: Path) -> int:
    """Rows that were refused for their pictures."""
    file = run / "unmade.parquet"
    if not file.is_file():
        return 0
    return int(pl.read_parquet(file, columns=["step"], glob=False).filter(pl.col("step") == STEP).height)


def _ends(run: Path, measured: pl.DataFrame) -> list[dict[str, Any]]:
    """Of each end of a measure the pictures there; their thumbnails alone are read."""
    chosen = [
        (title, name, measured.sort(name, "pixels", descending=[high, False], nulls_last=True).head(EXTREMES))
        for name, high, title in ENDS
    ]
    wanted = pl.concat([frame["row"] for _, _, frame in chosen]).unique()
    drawn = {row["pixels"]: _drawn(row) for row in _rows(run, wanted).iter_rows(named=True)}
    return [
        {
            "title": title,
            "measure": name,
            "pictures": [
                {**drawn[row["pixels"]], "value": row[name]}
                for row in frame.iter_rows(named=True)
                if row["pixels"] in drawn
            ],
        }
        for title, name, frame in chosen
        if frame.height
    ]


def _shown(run: Path, asked: pl.LazyFrame) -> pl.DataFrame:
    """The rows of the table where `asked`, which has as many, says so and that have a thumbnail."""
    rows = asked.with_row_index("row").filter("asked").select("row").collect()["row"]
    return _rows(run, rows)


def _rows(run: Path, rows: pl.Series) -> pl.DataFrame:
    """Some rows of the table with their thumbnails, those without left out: read a slice of the file at a time."""
    table = pl.scan_parquet(run / TABLE, glob=False).with_row_index("row")
    found = [table.head(0).collect()]
    for start in (rows.unique() // SLICE).unique().sort() * SLICE:
        slices = table.slice(start, SLICE).filter(pl.col("thumbnail").is_not_null()).collect()
        found.append(slices.join(rows.unique().to_frame("row"), on="row", how="semi", maintain_order="left"))
    return pl.concat(found)


def _drawn(row: Mapping[str, Any]) -> dict[str, Any]:
    src = "data:image/jpeg;base64," + base64.b64encode(row["thumbnail"]).decode()
    return {"src": src, **{name: row[name] for name in ("width", "height", "format")}}


def _quantile(values: pl.Series, share: float) -> float | None:
    found = values.drop_nulls()
    return float(found.quantile(share, "nearest") or 0.0) if len(found) else None
