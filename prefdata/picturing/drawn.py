"""What is drawn of pictures, kept on disk while the run that found it goes on: a file without a name, read by place.

It takes some 4 KB a picture, which would be most of what a run over many pictures holds in memory; a killed run leaves
nothing behind, as the file has no name.
"""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from prefdata.errors import ResourceError

DRAWN = ("fingerprint", "thumbnail")
"""The columns of prefdata.pictures.PICTURES that are kept so."""

PLACE = pl.Schema({"place": pl.Int64(), **{f"{name}_bytes": pl.Int32() for name in DRAWN}})
"""Where in the file a row's drawings begin, and how long each is; null for one that is not there."""

RECENT = 4096
"""Pictures whose place is remembered, so that those that come again are not written again."""

Place = tuple[int, int | None, int | None]


class Drawn:
    """Fingerprints and thumbnails in a file without a name, which is closed when nobody holds this any more."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".drawn-")  # noqa: SIM115  # closed below
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._recent: OrderedDict[str, Place] = OrderedDict()

    def put(self, table: pl.DataFrame) -> pl.DataFrame:
        """Keeps what is drawn in `table`, of equal pixels once; the table with PLACE instead."""
        there = [name if name in table.columns else pl.lit(None, pl.Binary).alias(name) for name in DRAWN]
        places: list[Place] = []
        parts: list[bytes] = []
        for pixels, fingerprint, thumbnail in table.select("pixels", *there).iter_rows():
            known = self._recent.get(pixels) if pixels is not None else None
            if known is None:
                mine = [one for one in (fingerprint, thumbnail) if one is not None]
                known = (self._end, fingerprint and len(fingerprint), thumbnail and len(thumbnail))
                parts += mine
                self._end += sum(map(len, mine))
                if pixels is not None:
                    self._recent[pixels] = known
                    if len(self._recent) > RECENT:
                        self._recent.popitem(last=False)
            places.append(known)
        self._write(parts)
        return table.drop(DRAWN, strict=False).hstack(pl.DataFrame(places, schema=PLACE, orient="row"))

    def get(self, places: pl.DataFrame, names: Iterable[str] = DRAWN) -> pl.DataFrame:
        """What is drawn at places (PLACE, as `put` told them): the columns `names`."""
        found: dict[str, list[bytes | None]] = {name: [] for name in DRAWN if name in set(names)}
        for begin, *lengths in places.select(PLACE.names()).iter_rows():
            at = begin or 0
            for name, length in zip(DRAWN, lengths, strict=True):
                if name in found:
                    found[name].append(None if length is None else os.pread(self._file.fileno(), length, at))
                at += length or 0
        return pl.DataFrame(found, schema=dict.fromkeys(found, pl.Binary()))

    def _write(self, parts: list[bytes]) -> None:
        try:
            self._file.write(b"".join(parts))
            self._file.flush()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise ResourceError("no room left on the disk for what is seen in pictures; free some") from error
            raise
