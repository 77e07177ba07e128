"""Folders of pictures with a text file beside each, `cat.jpg` and `cat.txt`: every picture is one record.

A picture without a text, and a text without a picture, are records as well: whoever decodes them says why they give no
row. The pictures themselves are not opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import polars as pl

from prefdata.io import ReadLimits
from prefdata.reading.account import PLACE, Account, Unreadable
from prefdata.reading.sources import RUN_LOG, Source, open_regular, sha256_of

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"})
TEXT = ".txt"

IMAGE_COLUMN, TEXT_COLUMN = "image", "text"

SPLITS: Mapping[str, frozenset[str]] = {
    "train": frozenset({"train", "training"}),
    "validation": frozenset({"validation", "valid", "val", "dev"}),
    "test": frozenset({"test", "testing", "eval", "evaluation"}),
}
"""Split -> what its folder may be called."""

_READABLE = ("line_too_long", "bad_encoding", "nul_character")
"""Faults of texts that can be opened."""

BATCH = 4_096
"""Records of one frame."""


def sidecars(folder: Path) -> list[Source]:
    """The texts of the pictures under `folder`, sorted by name, and the pictures that have none; empty where there is
    no picture. Of several pictures of a name (`cat.jpg`, `cat.png`), the text is that of the first in the alphabet.

    Hidden files and folders, run directories, and links that lead out of the folder are left alone.
    """
    inside = folder.resolve()
    found, seen = [], False
    for parent, folders, names in os.walk(folder):
        if RUN_LOG in names:
            folders[:] = []
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        kept = [name for name in names if not name.startswith(".") and _inside(Path(parent, name), inside)]
        texts = {Path(name).stem: name for name in kept if Path(name).suffix.lower() == TEXT}
        pictures = [name for name in kept if Path(name).suffix.lower() in PICTURES]
        seen = seen or bool(pictures)
        told = {_beside(Path(parent, name)) for name in texts.values()}
        found += [Path(parent, name) for name in (*texts.values(), *pictures) if name not in told]
    if not seen:
        return []
    named = sorted((one.relative_to(folder).as_posix(), one) for one in found)
    return [Source(_printable(name), path) for name, path in named]


def is_sidecar(source: Source) -> bool:
    """Whether a file of a folder is there as the text of a picture, or as a picture."""
    return source.suffix in (TEXT, *PICTURES)


def sidecar_frames(sources: Sequence[Source], limits: ReadLimits) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Frames of `_file`, `_line` (1), `_offset` (0), `image` (name beside the text, null where there is none) and
    `text`, of one split each; with the quarantine of what could not be read."""
    for some in _of_one_split(sources):
        rows: list[tuple[str, int, int, str | None, str | None]] = []
        quarantine = []
        for source in some:
            try:
                rows.append((source.name, 1, 0, _picture(source), _text(source, limits)))
            except Unreadable as error:
                account = Account(source.name)
                digest = sha256_of(source.path) if error.reason in _READABLE else ""
                account.quarantine_hashed(error.reason, line=1, offset=0, sha256=digest, size=0)
                quarantine.append(account.drained())
        schema = {**PLACE, IMAGE_COLUMN: pl.String, TEXT_COLUMN: pl.String}
        gone = pl.concat(quarantine) if quarantine else Account("").drained()
        yield pl.DataFrame(rows, schema=schema, orient="row"), gone


def _of_one_split(sources: Sequence[Source]) -> Iterator[Sequence[Source]]:
    """Neighbours that are of one split, BATCH at most."""
    for _, group in groupby(sources, key=lambda source: split_of(source.name)):
        same = list(group)
        yield from (same[start : start + BATCH] for start in range(0, len(same), BATCH))


def split_of(name: str) -> str | None:
    """The split that a folder above the file `name` is called by, as Hugging Face's datasets tell it; else null."""
    folders = re.split(r"[/!]", name.lower())[:-1]
    return next((split for one in folders for split, names in SPLITS.items() if one in names), None)


def _inside(path: Path, folder: Path) -> bool:
    return not path.is_symlink() or path.resolve().is_relative_to(folder)


def _picture(source: Source) -> str | None:
    """The name of the picture of a record."""
    if source.path.suffix.lower() in PICTURES:
        return _printable(source.path.name)
    found = _beside(source.path)
    return None if found is None else _printable(found)


def _beside(text: Path) -> str | None:
    """The name of the picture that a text belongs to."""
    for suffix in sorted(PICTURES):
        for one in (suffix, suffix.upper(), suffix.capitalize()):
            if text.with_suffix(one).exists():
                return text.with_suffix(one).name
    return None


def _printable(name: str) -> str:
    """`name` as text that a frame can hold: bytes that are no UTF-8 as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _text(source: Source, limits: ReadLimits) -> str | None:
    if source.path.suffix.lower() != TEXT:
        return None
    with open_regular(source.path) as stream:
        data = stream.read(limits.max_line_bytes + 1)
    if len(data) > limits.max_line_bytes:
        raise Unreadable("line_too_long")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("bad_encoding") from None
    if "\x00" in text:
        raise Unreadable("nul_character")
    return text.strip()
