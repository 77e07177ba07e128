"""Pictures of rows on their way into an export: files in `images/` beside the data, or bytes inside it.

Rows name stored pictures as `pictures/<2 hex>/<hash>.<suffix>` under the run directory; rows that were read elsewhere
may hold the bytes themselves, as `data:` addresses. All other addresses go out as they stand. Nothing is decoded.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.errors import RecipeError, ResourceError
from prefdata.formats.core import Container, Format, Outcome, nothing_refused, refuse
from prefdata.formats.picture_bytes import address_of, bytes_of, suffix_of
from prefdata.formats.screens import has_pictures
from prefdata.schema import IMAGE

STORED = r"^pictures/[0-9a-f]{2}/[0-9a-f]{8,128}\.[a-z]{3,4}$"
"""Address of a stored picture, from the run directory on."""

EMBEDDED = pl.List(pl.Struct({"bytes": pl.Binary, "path": pl.String}))
"""Pictures as Hugging Face's `Image` keeps them: `path` is a name beside bytes, an address without."""

COLUMNS = ("images", "rejected_images")
"""Columns in which addresses may become EMBEDDED."""

BATCH_BYTES = 16 * 2**20
"""Bytes of pictures that are in memory at a time."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_STORED = re.compile(STORED)


class PictureExport:
    """How one format takes the pictures of an export.

    `store` is the run directory (null: addresses are left alone, but for bytes), `data` the folder of the data files,
    `name` the folder in it that gets the pictures. `files` and `bytes` count what was written.
    """

    def __init__(
        self, fmt: Format, container: Container, *, store: Path | None, data: Path, name: str = "images"
    ) -> None:
        self.mode: str | None = getattr(fmt, "pictures", None)
        self.store, self.folder, self.name = store, data / name, name
        columns = getattr(fmt, "picture_columns", ())
        self.inside = self.mode == "bytes" and container in ("parquet", "tar") and bool(columns)
        """Whether bytes go into a column of their own, after the format has written its rows."""
        self.embeds: bool | None = True if store is not None or container == "tar" else None
        """Whether they do in this file: told by its first rows with pictures."""
        self.files = self.bytes = 0
        if self.mode == "files" and container == "tar":
            raise RecipeError("pictures: files are inside a tar; only bytes fit there")
        self._made: dict[str, str] = {}

    def batches(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """`rows` in slices whose pictures fill BATCH_BYTES at most, where bytes go inside; else as they are."""
        if self.mode != "bytes" or self.store is None or not has_pictures(rows):
            yield rows
            return
        sizes = self._sizes(rows)
        start, held = 0, 0
        for at, size in enumerate(sizes):
            if held + size > BATCH_BYTES and at > start:
                yield rows[start:at]
                start, held = at, 0
            held += size
        yield rows[start:]

    def placed(self, rows: pl.DataFrame) -> Outcome:
        """`rows` with the addresses that they will have; those of which a stored picture is gone are refused."""
        if self.mode is None or not has_pictures(rows):
            return Outcome(rows, nothing_refused())
        addresses = _addresses(rows)
        if self.embeds is None:
            self.embeds = any(one.startswith("data:") for one in addresses)
        gone = [one for one in addresses if self._stored(one) and not self._file(one).is_file()]
        uri = pl.element().struct.field("uri")
        lost = pl.col("images").list.eval(uri.is_in(gone)).list.any()
        result = refuse(rows, {"picture_not_there": lost}) if gone else Outcome(rows, nothing_refused())
        if self.mode == "bytes" and self.inside:
            return result
        missing = set(gone)
        new = {one: self._placed(one) for one in addresses if one not in missing}
        new = {one: to for one, to in new.items() if to != one}
        if not new:
            return result
        moved = pl.col("images").list.eval(
            pl.when(pl.element().is_not_null()).then(
                pl.element().struct.with_fields(uri=uri.replace(list(new), list(new.values())))
            )
        )
        return Outcome(result.rows.with_columns(moved.cast(pl.List(IMAGE)).alias("images")), result.refused)

    def written(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The format's rows with bytes in place of addresses in COLUMNS, where they go inside."""
        names = [name for name in COLUMNS if frame.schema.get(name) == pl.List(pl.String)]
        if names and self.embeds is None:  # a column of pictures before the first one: what comes is not known
            self.embeds = True
        if not (self.inside and self.embeds):
            return frame
        return frame.with_columns(self._embedded(frame[name]) for name in names)

    def told(self) -> dict[str, int]:
        """Files of pictures and their bytes, beside the data or inside."""
        return {"files": self.files, "bytes": self.bytes}

    def _stored(self, address: str) -> bool:
        return self.store is not None and _STORED.match(address) is not None

    def _file(self, address: str) -> Path:
        assert self.store is not None
        return self.store / address

    def _sizes(self, rows: pl.DataFrame) -> list[int]:
        sizes = {one: self._size(one) for one in _addresses(rows)}
        listed = rows["images"].list.eval(pl.element().struct.field("uri")).to_list()
        return [sum(sizes.get(one, 0) for one in some or ()) for some in listed]

    def _size(self, address: str) -> int:
        if not self._stored(address):
            return len(address) if address.startswith("data:") else 0
        try:
            return self._file(address).stat().st_size
        except OSError:
            return 0

    def _placed(self, address: str) -> str:
        """The address that a picture will have, its file copied or written where that is to be."""
        if self.mode == "bytes":
            return self._counted(address_of(self._file(address).read_bytes())) if self._stored(address) else address
        if address in self._made:
            return self._made[address]
        if self._stored(address):
            name = address.removeprefix("pictures/")
            self._put(name, self._file(address))
        else:
            data = bytes_of(address)
            if data is None:
                return address
            digest = hashlib.sha256(data).hexdigest()
            name = f"{digest[:2]}/{digest}.{suffix_of(data)}"
            self._put(name, data)
        to = f"{self.name}/{name}"
        if len(address) < 1024:
            self._made[address] = to
        return to

    def _put(self, name: str, data: bytes | Path) -> None:
        target = self.folder / name
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            if isinstance(data, Path):
                shutil.copyfile(data, temporary)
            else:
                temporary.write_bytes(data)
            os.replace(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            if error.errno in NO_ROOM:
                raise ResourceError(f"{self.name}: no room left on the disk; free some and run again") from error
            raise
        self.files += 1
        self.bytes += target.stat().st_size

    def _counted(self, address: str) -> str:
        self.files += 1
        self.bytes += len(base64.b64decode(address.partition(",")[2]))
        return address

    def _embedded(self, addresses: pl.Series) -> pl.Series:
        """A batch kernel: pictures are looked up one by one."""
        rows = [None if some is None else [self._inside(one) for one in some] for some in addresses.to_list()]
        return pl.Series(addresses.name, rows, dtype=EMBEDDED)

    def _inside(self, address: str | None) -> dict[str, Any]:
        if address is None:
            return {"bytes": None, "path": None}
        data = self._file(address).read_bytes() if self._stored(address) else bytes_of(address)
        if data is None:
            return {"bytes": None, "path": address}
        self.files += 1
        self.bytes += len(data)
        name = address.rpartition("/")[2] if self._stored(address) else None
        return {"bytes": data, "path": name}


def _addresses(rows: pl.DataFrame) -> list[str]:
    """The distinct addresses of the pictures of `rows`, in order."""
    uris = rows["images"].list.eval(pl.element().struct.field("uri")).explode(empty_as_null=True).drop_nulls()
    found: list[str] = uris.unique(maintain_order=True).to_list()
    return found
