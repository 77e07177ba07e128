"""Pictures of a dataset opened: those that the gate of a run would refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.auditing.check import Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels
from prefdata.errors import InputError
from prefdata.formats.screens import has_pictures
from prefdata.gating import NO_ADDRESS
from prefdata.schema import RecordType

REASONS = pl.Schema({"row": pl.UInt32(), "reason": pl.String(), "pictures": pl.UInt32()})


class _Looking:
    """The gate while the rows go by; each address is looked at once."""

    def __init__(self, folder: Path) -> None:
        from prefdata.pictures import Gate, GateSettings

        if not folder.is_dir():
            raise InputError(f"{folder}: no folder of pictures")
        self.folder = folder
        self.gate = Gate(GateSettings(), store=None)
        self.known: dict[bytes, str | None] = {}

    def collect(self, chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
        """`row`, `reason` and how many of its pictures are refused for it."""
        from prefdata.pictures import Address

        if not has_pictures(chunk):
            return pl.DataFrame(schema=REASONS)
        named = (
            chunk.select("row", uri=pl.col("images").list.eval(pl.element().struct.field("uri")))
            .filter(pl.col("uri").list.len() > 0)
            .explode("uri")
        )
        addresses = named["uri"].drop_nulls().unique(maintain_order=True).to_list()
        new = [one for one in addresses if _key(one) not in self.known]
        found = self.gate.look([Address(self.folder, one) for one in new])["reason"]
        self.known.update(zip(map(_key, new), found, strict=True))
        told = [NO_ADDRESS if one is None else self.known[_key(one)] for one in named["uri"]]
        return (
            named.with_columns(reason=pl.Series(told, dtype=pl.String))
            .filter(pl.col("reason").is_not_null())
            .group_by("row", "reason", maintain_order=True)
            .agg(pictures=pl.len().cast(pl.UInt32))
        )

    def find(self, data: Audited) -> Found:
        """The rows, the reasons with how many pictures each, and beside every row its own."""
        self.gate.close()
        rows = data.collected["refused_pictures"]
        counts = rows.group_by("reason").agg(pl.col("pictures").sum()).sort("reason")
        beside = rows.group_by("row", maintain_order=True).agg(pl.col("reason").unique().sort().str.join(", "))
        return Found(
            rows=rows["row"].unique().sort(),
            measures={"pictures": dict(counts.iter_rows())} if rows.height else {},
            beside=dict(beside.iter_rows()),
        )


def _key(address: str) -> bytes:
    """A hash: addresses may hold whole pictures."""
    return hashlib.blake2b(address.encode(), digest_size=16).digest()


def _with(check: Check, options: Mapping[str, Any]) -> Check | None:
    """The check with the folder that an audit names for pictures; None where it names none."""
    if options.get("pictures") is None:
        return None
    looking = _Looking(Path(options["pictures"]))
    return replace(check, collect=looking.collect, find=looking.find)


REFUSED_PICTURES = Check(
    name="refused_pictures",
    family="form",
    title="A picture of the row cannot be used",
    why="It is broken, cut off, no picture at all, or larger than anything that should be opened: trainers stop there, "
    "or train on what is left of it.",
    cure="Run it: the gate of a run leaves such rows out and tells why; or mend the files.",
    levels=Levels(critical=0.01, major=0),
    prepare=_with,
)
