"""Pictures of a run's rows: each through the gate once, rows with the addresses of what was stored, files watched.

What a picture is, and which are refused, prefdata.pictures knows; it is loaded where a row has a picture, not before.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from prefdata import judging
from prefdata.formats.addresses import seen_from_root as from_folder_of
from prefdata.io import SLICE, write_parquet, write_slices
from prefdata.picture_owners import OWNED, at, owned_of, pairs, settled, theirs, untold
from prefdata.picturing.drawn import DRAWN, Drawn
from prefdata.reading.account import Unreadable
from prefdata.reading.sources import sha256_of
from prefdata.recipe_parts import Recipe, Source, plain
from prefdata.rundir import key_of
from prefdata.schema import IMAGE, stable_hash

if TYPE_CHECKING:
    from prefdata.pictures import Gate, GateSettings, Pictures

STEP = "pictures"
"""Where a row leaves one of whose pictures was refused."""

TABLE = "pictures.parquet"
"""Of a run: one row a picture and source, with what was found in it. See prefdata.pictures.PICTURES."""

STORE = "pictures"
"""Folder of a run with the pictures that its rows have."""

WATCHED = "stages/pictures.parquet"
"""Of a run: `source`, `address` and `found`, which tells its content, of every picture that is a file of its own."""

WHOSE = "stages/whose_pictures.parquet"
"""Of a run: prefdata.picture_owners.OWNED of the pictures of refused rows, for the day when a customer is erased."""

AMONG_INPUTS = "pictures/"
"""What the hash of a source's pictures is called among those of its files; no file's name ends so."""

NO_ADDRESS = "no_address"
"""Why a row is refused that says of a picture neither where it is nor what."""

AT_ONCE = 1024
"""Pictures that are looked at together: what is found of these is in memory."""

TRACES = ("uri", "sha256", "pixels", "phash", "fingerprint", "thumbnail")
"""What shows a picture, or lets one who has it recognise it: kept of the pictures that rows have, of no other."""

BOUNDS = {"seconds": "timed_out", "memory": "out_of_memory"}
"""Settings of the gate that only those pictures show that were refused for this reason."""

MEASURES = ("blur", "entropy", "brightness", "contrast")
"""What is measured in a picture and told of it."""

_SCHEME = r"^[A-Za-z][A-Za-z0-9+.-]*:"
"""How an address begins that is no path: with a scheme, or a drive."""

_OF_NETWORK = r"(?s)^([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/?#]*@)?([^?#]*).*$"
"""An address of the network: its scheme, who asks, host and path, and what stands behind, which may let one in."""

_STORED = re.compile(r"pictures/[0-9a-f]{2}/[0-9a-f]{16,64}\.[a-z]{3,4}")
"""What gates call the pictures that they store."""


class Passed(NamedTuple):
    """Rows all of whose pictures were taken, and the others."""

    rows: pl.DataFrame
    refused: pl.DataFrame
    """The rows as they were handed in, with `reasons` (List(String)) beside."""


class Looking:
    """The pictures of a run while its sources are read; a context, since they are decoded in processes of their own."""

    def __init__(self, recipe: Recipe, run: Path) -> None:
        self._recipe, self._run = recipe, run
        self._gate: Gate | None = None
        self._drawn: Drawn | None = None
        self._tables: list[pl.DataFrame] = []
        self._rows: dict[bytes, int] = {}
        self._met: dict[str, list[pl.DataFrame]] = {}
        self._used, self._gone = pairs([]), pairs([])
        self._owned, self._gone_owned = OWNED.to_frame(), OWNED.to_frame()

    def __enter__(self) -> Looking:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._gate is not None:
            self._gate.__exit__(*error)
        self._gate = None

    def passed(self, rows: pl.DataFrame, source: Source) -> Passed:
        """`rows` after the gate; addresses in `images` are seen from the source's root, see `seen_from_root`."""
        has = rows["images"].list.len().fill_null(0) > 0
        if not has.any():
            return Passed(rows, rows.clear().with_columns(reasons=pl.lit([], pl.List(pl.String))))
        shown = rows.with_row_index("_row").filter(has).select("_row", "images").explode("images").unnest("images")
        known = self._looked(shown["uri"].drop_nulls().unique(maintain_order=True), source)
        met = owned_of(rows, shown.join(known, on="uri"), source.name, hashed=source.layout is not None)
        self._met.setdefault(source.name, []).append(met)
        no_address = pl.when(pl.col("uri").is_null()).then(pl.lit(NO_ADDRESS))
        lists = (
            shown.join(known, on="uri", how="left", maintain_order="left")
            .group_by("_row", maintain_order=True)
            .agg(
                pl.struct(uri="stored", side="side", message="message", part="part").cast(IMAGE).alias("_images"),
                reasons=pl.coalesce(no_address, "reason").drop_nulls().unique().sort(),
            )
        )
        whole = rows.with_row_index("_row").join(lists, on="_row", how="left", maintain_order="left")
        gone = whole["reasons"].list.len().fill_null(0) > 0
        taken = whole.filter(~gone).with_columns(images=pl.coalesce("_images", "images"))
        return Passed(taken.select(rows.columns), whole.filter(gone).select(*rows.columns, "reasons"))

    def keep(self, source: Source, kept: pl.DataFrame, forgotten: pl.DataFrame, customers: Sequence[str] = ()) -> None:
        """Notes which pictures the records of a source have, and which those had that the run has to forget.

        `customers` are the hashes of who is forgotten in the source.
        """
        name = pl.lit(source.name).alias("source")
        kept, forgotten = kept.with_columns(name), forgotten.with_columns(name)
        self._used = pl.concat([self._used, pairs([kept])])
        self._gone = pl.concat([self._gone, pairs([forgotten])])
        if met := self._met.pop(source.name, None):
            owned = untold(pl.concat(met), self._table().filter(pl.col("source") == source.name), [kept, forgotten])
            gone = theirs(owned, {source.name: customers})
            self._owned = pl.concat([self._owned, owned.filter(~gone)])
            self._gone_owned = pl.concat([self._gone_owned, owned.filter(gone)])

    def write(self) -> list[Path]:
        """pictures.parquet, the watched files, and the store without what no record has; gives the files.

        Of a picture whose rows all left before they were records only its address and measures are kept, see TRACES;
        of one that only forgotten customers had, nothing is. Where no row had a picture nothing is written.
        """
        if not self._tables:
            for name in (TABLE, WATCHED, WHOSE):
                (self._run / name).unlink(missing_ok=True)
            prune(self._run)
            return []
        found = self._table().unique(["source", "address"], keep="first", maintain_order=True)
        found = settled(found, used=self._used, gone=self._gone, gone_owned=self._gone_owned, owned=self._owned)
        return _written(self._run, found, self._drawings(), _watched(found, self._recipe), self._owned)

    def pictures(self) -> Pictures | None:
        """What was looked at so far; null where no row had a picture."""
        if not self._tables:
            return None
        from prefdata.pictures import Pictures

        return Pictures(self._table(), self._run, self._drawings())

    def _table(self) -> pl.DataFrame:
        """What was found so far, with the places of what is drawn."""
        return pl.concat(self._tables)

    def _drawings(self) -> Drawn:
        if self._drawn is None:
            self._drawn = drawn_beside(self._run)
        return self._drawn

    def _looked(self, addresses: pl.Series, source: Source) -> pl.DataFrame:
        """`uri` (the addresses), `stored` (what rows call the picture from now on), `reason` (null where taken) and
        `address` (as the table has it)."""
        from prefdata.pictures import Address

        keys = [_key(source.name, address) for address in addresses]
        new = {key: address for key, address in zip(keys, addresses, strict=True) if key not in self._rows}
        root = root_of(source, self._recipe)
        for start in range(0, len(new), AT_ONCE):
            some = dict(list(new.items())[start : start + AT_ONCE])
            table = self._open().look([Address(root, address) for address in some.values()])
            table = table.with_columns(source=pl.lit(source.name), address=_without_tokens(table["address"]))
            self._tables.append(self._drawings().put(table))
            self._rows |= dict(zip(some, range(len(self._rows), len(self._rows) + len(some)), strict=True))
        told = self._table().select("uri", "address", "reason")[[self._rows[key] for key in keys]]
        return addresses.to_frame("uri").hstack(told.select("address", "reason", stored=at()))

    def _open(self) -> Gate:
        if self._gate is None:
            from prefdata.pictures import Gate

            self._gate = Gate(settings_of(self._recipe), store=self._run).__enter__()
        return self._gate


def known(run: Path) -> Pictures | None:
    """The pictures of a run without their thumbnails, their fingerprints on disk; null where it has none."""
    if not (run / TABLE).is_file():
        return None
    from prefdata.pictures import PICTURES, Pictures

    return Pictures(*_placed(run, [name for name in PICTURES if name != "thumbnail"]))


def settings_of(recipe: Recipe) -> GateSettings:
    """The gate's settings, their folder seen from the recipe's."""
    from prefdata.pictures import GateSettings

    made: GateSettings = judging.rooted(recipe.pictures or GateSettings(), recipe.root)
    return made


def seen_from_root(uri: pl.Expr, file: pl.Expr, recipe: Recipe) -> pl.Expr:
    """An address as seen from the root of its source: a path is meant from the folder of the data file that has it.

    `file` is that file as the source names it. Where the recipe has a folder for pictures, they are meant from there.
    """
    if recipe.pictures is not None and recipe.pictures.root is not None:
        return uri
    return from_folder_of(uri, file)


def root_of(source: Source, recipe: Recipe) -> Path:
    """The folder under which the pictures of a source are: as the recipe says, else the one its files are named in."""
    if recipe.pictures is not None and recipe.pictures.root is not None:
        return Path(settings_of(recipe).root or "").resolve()
    given = [(recipe.root / path).resolve() for path in source.path]
    return Path(os.path.commonpath([path if path.is_dir() else path.parent for path in given]))


def bounds(recipe: Recipe, run: Path) -> dict[str, float] | None:
    """The time and memory for one picture, where a picture of the run was refused for want of them; else null."""
    reasons = pl.read_parquet(run / TABLE, columns=["reason"], glob=False)["reason"]
    if not reasons.is_in(list(BOUNDS.values())).any():
        return None
    settings = settings_of(recipe)
    return {name: getattr(settings, name) for name in BOUNDS}


def unchanged(recipe: Recipe, run: Path, bounded: Mapping[str, float] | None = None) -> bool:
    """Whether the pictures beside the data are those that the run was made of, and those missing still are.

    False where a host gave no answer: it may give one now; and where pictures were refused under other bounds than
    those of the recipe (`bounded`, as `bounds` told).
    """
    from prefdata.picturing.reasons import OF_THE_MOMENT

    file = run / WATCHED
    if not file.is_file():
        return True
    reasons = pl.read_parquet(run / TABLE, columns=["reason"], glob=False)["reason"]
    if reasons.is_in(OF_THE_MOMENT).any() or bounded not in (None, bounds(recipe, run)):
        return False
    watched = pl.read_parquet(file, glob=False)
    roots = {source.name: root_of(source, recipe) for source in recipe.sources}
    limit = settings_of(recipe).max_bytes
    return all(_found(roots[source], name, limit) == found for source, name, found in watched.iter_rows())


def with_pictures(run: Path, hashes: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The hashes of a run's input files, source by source, with one of the pictures that are files beside them."""
    found = without_pictures(hashes)
    if (run / WATCHED).is_file():
        for (source,), rows in pl.read_parquet(run / WATCHED, glob=False).group_by("source", maintain_order=True):
            found[str(source)][AMONG_INPUTS] = key_of(rows.sort("address").select("address", "found").rows())
    return found


def without_pictures(hashes: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The hashes of the files alone, as they are known before a source is read."""
    return {
        source: {name: one for name, one in named.items() if name != AMONG_INPUTS} for source, named in hashes.items()
    }


def account(run: Path, recipe: Recipe) -> dict[str, Any] | None:
    """Pictures that were looked at, those that rows have, and those refused by reason; null where there were none."""
    if not (run / TABLE).is_file():
        return None
    found = pl.read_parquet(run / TABLE, columns=["source", "address", "uri", "reason"], glob=False)
    refused = found.drop_nulls("reason").group_by("reason").len().sort("reason")
    return {
        "settings": plain(recipe.pictures or settings_of(recipe)),
        "pictures": found.height,
        "refused": int(found["reason"].count()),
        "refused_because": dict(refused.iter_rows()),
        "stored": found["uri"].n_unique() - int(found["uri"].null_count() > 0),
    }


def of_row(run: Path, source: str, images: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is known of the pictures of one row: `addresses` that they came by, place in the row, format, measures."""
    names = ("format", "bytes", "width", "height", *MEASURES)
    rows: dict[str, list[dict[str, Any]]] = {}
    if (run / TABLE).is_file():
        table = pl.scan_parquet(run / TABLE, glob=False).filter(pl.col("source") == source)
        mine = table.with_columns(at=at()).filter(pl.col("at").is_in([one["uri"] for one in images]))
        for row in mine.select("at", "address", *names).sort("address").collect().iter_rows(named=True):
            rows.setdefault(row["at"], []).append(row)
    found = []
    for one in images:
        known = rows.get(one["uri"], [])
        facts = {name: known[0][name] for name in names} if known else {}
        rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in facts.items()}
        found.append({**one, "addresses": [row["address"] for row in known], **rounded})
    return found


def forget(run: Path, gone: pl.DataFrame, stays: pl.DataFrame, customers: Mapping[str, str]) -> list[Path]:
    """Takes the pictures out that only the records `gone` and these `customers` had; gives the files that are left.

    `stays` are the other records; both hold `source` and `images`. Customers are a hash for each source.
    """
    if not (run / TABLE).is_file():
        return []
    table, _, drawn = _placed(run)
    owned = whose(run)
    forgotten = theirs(owned, {source: [customer] for source, customer in customers.items()})
    left = settled(
        table,
        used=pairs([stays]),
        gone=pairs([gone]),
        gone_owned=owned.filter(forgotten),
        owned=owned.filter(~forgotten),
    )
    watched = pl.read_parquet(run / WATCHED, glob=False)
    watched = watched.join(left, on=["source", "address"], how="semi", maintain_order="left")
    return _written(run, left, drawn, watched, owned.filter(~forgotten))


def whose(run: Path) -> pl.DataFrame:
    """OWNED: whose those pictures of a run are that no record tells of."""
    there = (run / WHOSE).is_file()
    return pl.read_parquet(run / WHOSE, glob=False) if there else OWNED.to_frame()


def nobodys(run: Path) -> bool:
    """Whether the table of a run names pictures that neither a record nor `whose` tells a customer of."""
    if not (run / TABLE).is_file():
        return False
    found = pl.read_parquet(run / TABLE, columns=["source", "address", "pixels"], glob=False)
    unused = found.filter(pl.col("pixels").is_null())
    return bool(unused.join(whose(run).drop_nulls(), on=["source", "address"], how="anti").height)


def _watched(table: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    beside = table.filter(~pl.col("address").str.contains(_SCHEME))
    roots = {source.name: root_of(source, recipe) for source in recipe.sources}
    limit = settings_of(recipe).max_bytes
    told = [
        _found(roots[source], name, limit) if sha256 is None else sha256
        for source, name, sha256 in beside.select("source", "address", "sha256").iter_rows()
    ]
    return beside.select("source", "address").with_columns(found=pl.Series(told, dtype=pl.String))


def drawn_beside(run: Path) -> Drawn:
    """What is drawn of pictures, on the disk of the run where it may be written."""
    return Drawn(run if os.access(run, os.W_OK) else Path(tempfile.gettempdir()))


def _placed(run: Path, names: Sequence[str] | None = None) -> tuple[pl.DataFrame, Path, Drawn]:
    """The table of a run, or its columns `names`, with the places of what is drawn; the run; where that is."""
    drawn = drawn_beside(run)
    table = pl.scan_parquet(run / TABLE, glob=False)
    table = table if names is None else table.select(names)
    height = int(table.select(pl.len()).collect().item())
    slices = (table.slice(start, SLICE).collect() for start in range(0, max(height, 1), SLICE))
    return pl.concat([drawn.put(one) for one in slices]), run, drawn


def _written(run: Path, table: pl.DataFrame, drawn: Drawn, watched: pl.DataFrame, owned: pl.DataFrame) -> list[Path]:
    """Writes all three, TRACES of pictures that records have (`used`) alone, and prunes the store; gives the files."""
    from prefdata.pictures import PICTURES

    traces = [name for name in (*TRACES, *(f"{name}_bytes" for name in DRAWN)) if name in table.columns]
    table = table.with_columns(pl.when("used").then(name).alias(name) for name in traces)
    slices = (table.slice(start, SLICE) for start in range(0, max(table.height, 1), SLICE))
    (run / WATCHED).parent.mkdir(exist_ok=True)
    write_slices(run / TABLE, (one.hstack(drawn.get(one)).select(PICTURES.names()) for one in slices), PICTURES)
    write_parquet(run / WATCHED, watched)
    files = [run / TABLE, run / WATCHED]
    if owned.height:
        files.append(run / WHOSE)
        write_parquet(files[-1], owned.sort(owned.columns))
    else:
        (run / WHOSE).unlink(missing_ok=True)
    return [*files, *prune(run, set(table["uri"].drop_nulls().to_list()))]


def prune(run: Path, named: Set[str] = frozenset()) -> list[Path]:
    """Removes the stored pictures of a run whose addresses are not `named`; gives the files of the others.

    What a gate does not name so is not ours, and is left alone.
    """
    kept = []
    for file in sorted((run / STORE).glob("*/*")):
        name = file.relative_to(run).as_posix()
        if name in named:
            kept.append(file)
        elif _STORED.fullmatch(name):
            file.unlink()
    for folder in [*sorted((run / STORE).glob("*/")), run / STORE]:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return kept


def _found(root: Path, address: str, limit: int) -> str | None:
    """What tells the content of a file under `root`: its hash, of a larger one than is read its size, else null."""
    file = root / address
    try:
        if not file.resolve().is_relative_to(root.resolve()):
            return None
        size = file.stat().st_size
        return f"{size} bytes" if size > limit else sha256_of(file)
    except (Unreadable, OSError, ValueError, RuntimeError):  # not there, no regular file, no name of a file, a ring
        return None


def _without_tokens(addresses: pl.Series) -> pl.Series:
    """Addresses without what lets one in: of the network host and path, and of more a hash, which tells them apart."""
    bare = addresses.str.replace(_OF_NETWORK, "$1$2")
    hashed = stable_hash([addresses], purpose="picture address", size=8)
    return pl.select(pl.when(bare == addresses).then(addresses).otherwise(bare + "?" + hashed)).to_series()


def _key(source: str, address: str) -> bytes:
    """What an address of a source is known by."""
    return hashlib.blake2b(f"{source}\0{address}".encode(), digest_size=16).digest()
