"""Pictures of a dataset outside any run, let in for as long as it takes to examine its rows.

They pass the gate as those of a run do, into a folder that is thrown away; where a picture was refused the row says why
in place of its address.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from prefdata.schema import IMAGE


class LetIn(NamedTuple):
    """Frames of rows whose addresses are seen from `folder`."""

    frames: list[pl.DataFrame]
    folder: Path


@contextlib.contextmanager
def let_in(frames: Sequence[tuple[pl.DataFrame, Path]]) -> Iterator[LetIn]:
    """The rows with every picture below the folder beside them, or inside its address, stored; that is there within the
    context.

    A refused picture is called `<address> (<reason>)`, which no file is.
    """
    with tempfile.TemporaryDirectory(prefix="prefdata-pictures-") as place:
        store = Path(place)
        yield LetIn([_stored(rows, root, store) for rows, root in frames], store)


def _stored(rows: pl.DataFrame, root: Path, store: Path) -> pl.DataFrame:
    has = rows["images"].list.len().fill_null(0) > 0
    if not has.any():
        return rows
    from prefdata.pictures import Address, Gate, GateSettings

    shown = rows.filter(has).select("id", "images").explode("images").unnest("images")
    addresses = shown["uri"].drop_nulls().unique(maintain_order=True)
    with Gate(GateSettings(), store=store) as gate:
        table = gate.look([Address(root, one) for one in addresses])
    told = table.select(
        addresses.alias("uri"),
        stored=pl.coalesce("uri", pl.format("{} ({})", "address", pl.col("reason").fill_null("not_stored"))),
    )
    lists = (
        shown.join(told, on="uri", how="left", maintain_order="left")
        .group_by("id", maintain_order=True)
        .agg(pl.struct(uri="stored", side="side", message="message", part="part").cast(IMAGE).alias("_images"))
    )
    whole = rows.join(lists, on="id", how="left", maintain_order="left")
    return whole.with_columns(images=pl.coalesce("_images", "images")).drop("_images")
