"""The gate through which every picture goes that comes from outside, and what is known of those that passed.

`Gate.look` opens, checks, decodes, measures and stores; `read(run).seen(...)` gives scorers and groupings what was
found. Nothing else in this code base opens a picture that it did not store itself. What each reason means is in
REASONS; how a picture is opened, fetched, decoded and bounded is in the package `prefdata.picturing`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import polars as pl

from prefdata.errors import MissingExtraError, RecipeError
from prefdata.picturing import addresses
from prefdata.picturing.drawn import PLACE, Drawn
from prefdata.picturing.fetch import Fetcher
from prefdata.picturing.looking import FOLDER, Found, Look, Memory
from prefdata.picturing.pool import Pool
from prefdata.picturing.reasons import REASONS

__all__ = ["FILE", "FOLDER", "PICTURES", "REASONS", "SEEN", "Address", "Gate", "GateSettings", "Pictures", "read"]

logger = logging.getLogger(__name__)

MiB = 1 << 20

FILE = "pictures.parquet"

PICTURES = pl.Schema(
    {
        "source": pl.String(),
        "address": pl.String(),
        "uri": pl.String(),
        "reason": pl.String(),
        "sha256": pl.String(),
        "pixels": pl.String(),
        "format": pl.String(),
        "bytes": pl.Int64(),
        "width": pl.Int32(),
        "height": pl.Int32(),
        "frames": pl.Int32(),
        "blur": pl.Float32(),
        "entropy": pl.Float32(),
        "brightness": pl.Float32(),
        "contrast": pl.Float32(),
        "phash": pl.UInt64(),
        "fingerprint": pl.Binary(),
        "thumbnail": pl.Binary(),
    }
)
"""What is known of a picture, a row for each source and address.

`address` as the source names it ("bytes:<first 16 of the SHA-256>" where it held the bytes); `uri` where the picture
is stored, seen from the run (null = refused, or nothing is stored); `reason` why it was refused (null = taken);
`sha256` and `bytes` of the file as it came; `pixels` a hash of the upright RGB pixels before they are stored, and of
their size; `width` and `height` upright, as it came; `frames` null where those behind the first are broken; `blur` the
variance of the Laplacian at 512 pixels at most, of the channel (red, green, blue) where it is largest, low = blurred;
`entropy` of the luminance's histogram in bits, 0-8; `brightness` mean luminance, 0-1; `contrast` standard deviation
of the channel where it is largest, 0-0.5; `phash` 64 bits of its lowest
frequencies; `fingerprint` 16 x 16 RGB, 768 bytes row by row; `thumbnail` a JPEG of at most 96 pixels.
"""

SEEN = pl.Struct(
    {
        "uri": pl.String(),
        "path": pl.String(),
        "pixels": pl.String(),
        "width": pl.Int32(),
        "height": pl.Int32(),
        "blur": pl.Float32(),
        "entropy": pl.Float32(),
        "brightness": pl.Float32(),
        "contrast": pl.Float32(),
        "phash": pl.UInt64(),
        "fingerprint": pl.Binary(),
        "side": pl.String(),
        "message": pl.Int32(),
        "part": pl.Int32(),
    }
)
"""A picture of a row, as scorers and groupings get it: what was measured, where its file is, its place in the row."""

MEASURED = tuple(name for name in SEEN.to_schema() if name not in ("uri", "path", "side", "message", "part"))

COLOUR = re.compile(r"white|black|gr[ae]y|#[0-9a-fA-F]{6}")

FETCH_SECONDS = 30.0
"""Wall time in which a picture must have been fetched."""


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """How pictures are let in; a recipe's section `pictures:`, for all its sources."""

    root: str | None = field(default=None, metadata={"file": True})
    """Folder below which paths are looked up; by default the one of the data file that names them."""
    max_bytes: int = 20 * MiB
    """A larger file is refused unread."""
    max_pixels: int = 40_000_000
    """A larger picture is refused before it is decoded."""
    formats: tuple[Literal["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"], ...] = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
    """Formats that are let in, told by the bytes and not by the name of a file."""
    background: str = "white"
    """What transparent pixels lie on: white, black, grey, or #rrggbb."""
    store: Literal["encode", "original", "none"] = "encode"
    """encode: pictures are written again from their pixels, and nothing else of the file is kept; original: files
    that hold nothing but their pixels, upright, are kept byte by byte, others encoded; none: only measured."""
    max_side: int | None = None
    """Larger pictures are stored at this many pixels on their longer side."""
    hosts: tuple[str, ...] = ()
    """Hosts that pictures may be fetched from, by https. None by default: the network is off."""
    workers: int = 2
    """Processes that decode."""
    seconds: float = 10.0
    """Processor time for one picture."""
    memory: int = 1024 * MiB
    """Bytes of memory for one picture."""

    def __post_init__(self) -> None:
        faults = [
            f"{name}: {getattr(self, name)}, expected a whole number of at least {least}"
            for name, least in (("max_bytes", 1), ("max_pixels", 1), ("workers", 1), ("memory", 64 * MiB))
            if getattr(self, name) < least
        ]
        if self.max_side is not None and self.max_side < 1:
            faults.append(f"max_side: {self.max_side}, expected a whole number of at least 1")
        if not 0 < self.seconds < 86_400:
            faults.append(f"seconds: {self.seconds}, expected a number above 0")
        if not self.formats:
            faults.append("formats: none, so that no picture could be let in")
        if COLOUR.fullmatch(self.background) is None:
            faults.append(f"background: {self.background!r}, expected white, black, grey or #rrggbb")
        faults += [
            f"hosts: {host!r}, expected the name of a host, such as images.example.com"
            for host in self.hosts
            if re.fullmatch(r"[A-Za-z0-9.\-]+", host) is None
        ]
        if faults:
            raise RecipeError(faults)


class Address(NamedTuple):
    """A picture as a source names it: a path below `root`, a `data:` or https address, or the bytes themselves."""

    root: Path
    address: str | bytes
    source: str = ""
    """Name of the source, for the table."""


class Gate:
    """Opens, checks, decodes, measures and stores pictures; a context manager, as it holds processes."""

    def __init__(self, settings: GateSettings, *, store: Path | None) -> None:
        """`store`: the run directory, below which pictures are written; None writes nothing."""
        if importlib.util.find_spec("PIL") is None:
            raise MissingExtraError("opening pictures", "images")
        self.settings = settings
        self.store = store if settings.store != "none" else None
        config = {
            "max_pixels": settings.max_pixels,
            "formats": list(settings.formats),
            "background": settings.background,
            "max_side": settings.max_side,
            "store": "none" if self.store is None else settings.store,
            "folder": None if self.store is None else str((self.store / FOLDER).resolve()),
            "seconds": settings.seconds,
            "memory": settings.memory,
        }
        # a worker counts its own processor time; the wall clock is for one that waits for something
        self.pool = Pool(config, workers=settings.workers, patience=60 + 10 * settings.seconds)
        self.fetcher = Fetcher(settings.hosts, max_bytes=settings.max_bytes, seconds=FETCH_SECONDS)
        self.memory = Memory(self.store)
        self._looking = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes; `look` would start them again."""
        self.pool.close()

    def look(self, given: Sequence[Address]) -> pl.DataFrame:
        """PICTURES: a row for each address, in order. A picture that is refused has its reason and no uri.

        Files of equal bytes are decoded once. Raises ResourceError where the disk is full, PrefdataError where no
        worker starts; never for a picture.
        """
        given = [self._rooted(one) for one in given]
        with self._looking:
            look = Look(
                [(one.root, one.address) for one in given],
                self.settings,
                store=self.store,
                pool=self.pool,
                fetcher=self.fetcher,
                memory=self.memory,
            )
            found = look.found()
        rows = [found[one.root, one.address] for one in given]
        names = [_name(one.address, row.sha256) for one, row in zip(given, rows, strict=True)]
        columns: dict[str, list[Any]] = {"source": [one.source for one in given], "address": names}
        for at, column in enumerate(Found._fields):
            columns["bytes" if column == "size" else column] = [row[at] for row in rows]
        table = pl.DataFrame(columns, schema=PICTURES)
        refused = table["reason"].drop_nulls()
        logger.info("pictures: %d looked at, %d refused", table.height, refused.len())
        return table

    def _rooted(self, one: Address) -> Address:
        return one if self.settings.root is None else one._replace(root=Path(self.settings.root))


def _name(address: str | bytes, digest: str | None) -> str:
    """An address as the table holds it: of a picture that came along, the hash of its bytes, or of what stood there."""
    if isinstance(address, bytes) or addresses.is_data(address):
        given = address if isinstance(address, bytes) else address.encode(errors="surrogatepass")
        return f"bytes:{(digest or hashlib.sha256(given).hexdigest())[:16]}"
    # half of a surrogate pair is no text: polars would refuse the whole table
    return address.encode(errors="backslashreplace").decode()


@dataclass(frozen=True)
class Pictures:
    """What a run knows of its pictures."""

    table: pl.DataFrame
    root: Path
    """The run directory, from which `uri` is seen."""
    drawn: Drawn | None = None
    """Where the fingerprints are whose places `table` has; null where it has the fingerprints themselves, or none."""

    def seen(self, images: pl.Series, sides: Sequence[str], *, sources: pl.Series | None = None) -> pl.Series:
        """The pictures of each row, List(SEEN), that stand in one of `sides`, in the order of `images`.

        Null where a row has none. `images`: the column of canonical rows; `sources`: theirs, which tell pictures apart
        that are not stored. A picture that the run does not know, or refused, is left out; so is, without `sources`,
        one that is not stored and whose address leads to others in other sources. `path` is one for equal pixels,
        and null where nothing is stored.
        """
        by, index = ["uri"], self._by_uri
        if sources is not None and not self._stored:
            by, index = ["source", "uri"], self._by_source
        named = (
            pl.DataFrame({"row": pl.int_range(images.len(), dtype=pl.UInt32, eager=True), "images": images})
            .with_columns(source=pl.lit(None, pl.String) if sources is None else sources)
            .filter(pl.col("images").list.len() > 0)
            .explode("images")
            .unnest("images")
            .filter(pl.col("side").is_in(list(sides)))
        )
        # the index is walked for those that are asked for, and never put into a hash table of its own size
        known = index.join(named.select(by).unique(), on=by, how="semi", maintain_order="left")
        known = known.with_columns(path=pl.concat_str(pl.lit(f"{self.root.resolve()}/"), "file"))
        if self.drawn is not None:
            known = known.hstack(self.drawn.get(known, ["fingerprint"]))
        told = (
            named.join(known, on=by, how="inner", maintain_order="left")
            .group_by("row", maintain_order=True)
            .agg(pl.struct(list(SEEN.to_schema())).alias("pictures"))
        )
        rows = pl.DataFrame({"row": pl.int_range(images.len(), dtype=pl.UInt32, eager=True)})
        joined = rows.join(told, on="row", how="left", maintain_order="left")
        return joined["pictures"].cast(pl.List(SEEN))

    @cached_property
    def _stored(self) -> bool:
        return self.table["uri"].null_count() < self.table.height

    @cached_property
    def _by_uri(self) -> pl.DataFrame:
        if self._stored:
            return self._index(pl.col("uri").is_not_null(), by=["uri"])
        return self._index(pl.col("pixels").n_unique().over("address") == 1, by=["uri"])

    @cached_property
    def _by_source(self) -> pl.DataFrame:
        return self._index(pl.lit(True), by=["source", "uri"])

    def _index(self, which: pl.Expr, *, by: list[str]) -> pl.DataFrame:
        """What is known of the pictures that were taken, one row for each that rows may name."""
        names = [name for name in (*MEASURED, *PLACE) if name in self.table.columns]
        return (
            self.table.lazy()
            .filter(pl.col("reason").is_null() & pl.col("pixels").is_not_null())
            .filter(which)
            .with_columns(file=pl.col("uri").min().over("pixels"), uri=pl.coalesce("uri", "address"))
            .unique(by, keep="first", maintain_order=True)
            .select(*by, "file", *names)
            .collect()
        )


def read(run: Path) -> Pictures | None:
    """The pictures of a run; None where it has none."""
    file = run / FILE
    return Pictures(pl.read_parquet(file, glob=False), run) if file.is_file() else None
