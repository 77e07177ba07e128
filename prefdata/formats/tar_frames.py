"""WebDataset tars to samples: files that follow each other and share a key are one record.

The tar is read as a stream of bytes, header by header. No name in it is ever used as a path and nothing is written to
disk; links, devices and sparse files are refused, and a member that is too large is passed over unread. A sample has
JSON, text and pictures, by what stands after the first dot of the file's name; all other files are left alone.
https://github.com/webdataset/webdataset
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import polars as pl

from prefdata.formats.picture_bytes import address_of
from prefdata.reading.account import MIB, ReadLimits, Unreadable
from prefdata.reading.sources import Source

KEY = "__key__"
IMAGES = "images"
TEXT = "txt"

PICTURES = frozenset({"png", "jpg", "jpeg", "gif", "webp", "bmp", "tif", "tiff"})
TEXTS = frozenset({"txt", "text", "caption"})

MAX_PICTURE = 64 * MIB
"""Bytes of a picture that are read; whoever opens pictures has a limit of their own, below it."""

MAX_MEMBERS = 1_000
"""Files of one sample."""

MAX_SAMPLE = 256 * MIB
"""Bytes of the files of one sample that are kept until it is whole."""

_BLOCK = 512
_MAX_HEADER = MIB


class Sample(NamedTuple):
    """The files of one key: JSON text of an object that has it as `__key__`, and `fault`, why it cannot be read."""

    number: int
    offset: int
    text: str
    pictures: dict[str, str]
    """What stands after the key -> address that holds the bytes."""
    words: str | None
    fault: str
    size: int
    sha256: str
    """Of the bytes of its files that were read."""


class _Member(NamedTuple):
    name: str
    offset: int
    data: bytes
    fault: str
    size: int


def samples(source: Source, limits: ReadLimits) -> Iterator[Sample]:
    """The samples of a tar in order. Raises Unreadable where it breaks off, after those that stand before."""
    held: list[_Member] = []
    key, number, kept = "", 0, 0
    for member in _members(source, limits):
        mine = _key(member.name)
        if held and mine != key:
            number += 1
            yield _sample(number, key, held, limits)
            held, kept = [], 0
        key, kept = mine, kept + len(member.data)
        if len(held) < MAX_MEMBERS:
            held.append(member if kept <= MAX_SAMPLE else member._replace(data=b"", fault="member_too_large"))
        else:
            held[-1] = held[-1]._replace(data=b"", fault="too_many_members")
    if held:
        yield _sample(number + 1, key, held, limits)


def with_members(frame: pl.DataFrame, found: dict[int, Sample]) -> pl.DataFrame:
    """`frame` (rows of the samples' JSON) with the text and the addresses of the pictures of its samples.

    `images` of the JSON names pictures by what stands after the key, or gives addresses; without it all count, in
    order of their names. A batch kernel.
    """
    mine = [found[line] for line in frame["_line"]]
    told = frame[IMAGES].to_list() if IMAGES in frame.columns else [None] * frame.height
    listed = [_listed(one, some) for one, some in zip(mine, told, strict=True)]
    made = {}
    if any(listed):
        made[IMAGES] = pl.Series(IMAGES, listed, dtype=pl.List(pl.String))
    words = [one.words for one in mine]
    if any(one is not None for one in words):
        made[TEXT] = pl.Series(TEXT, words, dtype=pl.String)
    return frame.with_columns(made.values())


def _listed(sample: Sample, told: object) -> list[str | None] | None:
    if isinstance(told, list):
        names = [one if isinstance(one, str) else None for one in told]
        return [sample.pictures.get(one, one) if one is not None else None for one in names]
    if isinstance(told, str) and told:
        return [sample.pictures.get(told, told)]
    return [sample.pictures[name] for name in sorted(sample.pictures, key=_natural)] or None


def _natural(name: str) -> tuple[int, str]:
    number = re.match(r"\d+", name)
    return (int(number.group()) if number and len(number.group()) < 10 else -1, name)


def _key(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}" if folder else file.partition(".")[0]


def _sample(number: int, key: str, members: list[_Member], limits: ReadLimits) -> Sample:
    text: str | None = None
    words, fault = None, ""
    pictures: dict[str, str] = {}
    for member in members:
        fault = fault or member.fault
        rest = PurePosixPath(member.name).name.partition(".")[2].lower()
        kind = rest.rpartition(".")[2]
        if member.fault:
            continue
        if kind in PICTURES:
            if rest in pictures:
                fault = fault or "duplicate_member"
            pictures[rest] = "" if fault else address_of(member.data)
        elif kind == "json" or kind in TEXTS:
            try:
                read = member.data.decode("utf-8-sig")
            except UnicodeDecodeError:
                fault = fault or "bad_encoding"
                continue
            if (text if kind == "json" else words) is not None:  # which of the two is meant nothing tells
                fault = fault or "duplicate_member"
            elif "\x00" in read:
                fault = fault or "nul_character"
            elif kind == "json":
                text = read.strip()
            else:
                words = read.strip("\r\n")
    text = "{}" if text is None else text
    fault = fault or ("" if text.startswith("{") else "not_object")
    printable = "".join(char if char.isprintable() else "?" for char in key)
    rest = text[1:].lstrip()
    text = f'{{"{KEY}":{json.dumps(printable)}{"" if rest.startswith("}") else ","}{rest}'
    size = sum(member.size for member in members)
    digest = hashlib.sha256(b"".join(hashlib.sha256(member.data).digest() for member in members)).hexdigest()
    return Sample(number, members[0].offset, text, pictures, words, fault, size, digest)


def _members(source: Source, limits: ReadLimits) -> Iterator[_Member]:
    """The files of the tar, with the bytes of those that a sample may need."""
    stream = _Stream(source.chunks(limits))
    name, size = "", -1
    while True:
        offset = stream.position
        block = stream.read(_BLOCK)
        if not block.strip(b"\0"):
            return
        if len(block) < _BLOCK:
            raise Unreadable("truncated_tar", offset=offset)
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
        except tarfile.TarError as error:
            raise Unreadable("broken_tar", offset=offset) from error
        length = size if size >= 0 and info.type in tarfile.REGULAR_TYPES else info.size
        if length < 0:
            raise Unreadable("broken_tar", offset=offset)
        if info.type in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            if length > _MAX_HEADER:
                raise Unreadable("broken_tar", offset=offset)
            told = stream.block(length, offset)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                name = told.rstrip(b"\0").decode("utf-8", "backslashreplace")
            elif info.type == tarfile.XHDTYPE:
                found = _records(told, offset)
                name = found.get(b"path", b"").decode("utf-8", "backslashreplace") or name
                size = int(found[b"size"]) if found.get(b"size", b"").isdigit() else -1
            continue
        called, name, size = name or info.name, "", -1
        file = PurePosixPath(called).name
        if info.type == tarfile.DIRTYPE or not file or file.startswith("."):
            stream.skip(length if info.type in tarfile.REGULAR_TYPES else 0, offset)
            continue
        if info.type not in tarfile.REGULAR_TYPES or info.type == tarfile.GNUTYPE_SPARSE:
            stream.skip(length if info.type == tarfile.GNUTYPE_SPARSE else 0, offset)
            yield _Member(called, offset, b"", "not_a_regular_file", 0)
            continue
        kind = file.lower().rpartition(".")[2]
        most = MAX_PICTURE if kind in PICTURES else limits.max_line_bytes if kind in TEXTS or kind == "json" else -1
        if most < 0 or length > most:
            stream.skip(length, offset)
            yield _Member(called, offset, b"", "member_too_large" if most >= 0 else "", length)
        else:
            yield _Member(called, offset, stream.block(length, offset), "", length)


def _records(told: bytes, offset: int) -> dict[bytes, bytes]:
    """The records of an extended header, each `LENGTH KEY=VALUE` and a line end, of which a value may have more."""
    found, at = {}, 0
    while at < len(told) and told[at]:  # what fills the block is zeros
        said, _, _ = told[at : at + 20].partition(b" ")
        length = int(said) if said.isdigit() else 0
        record = told[at + len(said) + 1 : at + length]
        if length <= len(said) + 1 or at + length > len(told) or not record.endswith(b"\n"):
            raise Unreadable("broken_tar", offset=offset)
        key, _, value = record[:-1].partition(b"=")
        found[key] = value
        at += length
    return found


class _Stream:
    """Bytes that come in chunks, read in order."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""
        self.position = 0

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        parts, wanted = [], size
        while wanted:
            if not self._rest:
                self._rest = next(self._chunks, b"")
                if not self._rest:
                    break
            parts.append(self._rest[:wanted])
            self._rest = self._rest[wanted:]
            wanted -= len(parts[-1])
        found = b"".join(parts)
        self.position += len(found)
        return found

    def block(self, size: int, offset: int) -> bytes:
        """`size` bytes, and past what fills the last block. Raises Unreadable where they are not there."""
        found = self.read(size)
        if len(found) < size:
            raise Unreadable("truncated_tar", offset=offset)
        self.read(-size % _BLOCK)
        return found

    def skip(self, size: int, offset: int) -> None:
        """As `block`, a MiB at a time, and nothing kept."""
        left = size + -size % _BLOCK
        while left:
            found = len(self.read(min(left, MIB)))
            if not found:
                raise Unreadable("truncated_tar", offset=offset)
            left -= found
