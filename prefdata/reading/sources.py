"""From a path to the streams of bytes behind it: files, folders, gzip and zip, with caps while they are unpacked.

A path is data: nothing is globbed, no scheme is followed, no folder name becomes a column, only regular files are
opened.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from prefdata.errors import InputError
from prefdata.reading.account import MIB, ReadLimits, Unreadable

CHUNK = MIB

RUN_LOG = "run.log.jsonl"
"""The file that tells a run directory."""

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
}
"""Formats by the suffix that is left once .gz is taken off."""

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Source:
    """One readable thing: a file on disk, or a member of a zip."""

    name: str
    path: Path
    member: str | None = None

    @property
    def suffix(self) -> str:
        """The suffix without .gz, in lower case: `.csv` for `log.CSV.gz`."""
        pure = PurePosixPath(self.member if self.member is not None else self.path.name)
        return PurePosixPath(pure.stem).suffix.lower() if self.gzipped else pure.suffix.lower()

    @property
    def gzipped(self) -> bool:
        return (self.member if self.member is not None else self.path.name).lower().endswith(".gz")

    def size(self) -> int:
        if self.member is None:
            return self.path.stat().st_size
        with _archive(self.path) as archive:
            return archive.getinfo(self.member).file_size

    @contextlib.contextmanager
    def _stored(self) -> Iterator[tuple[BinaryIO, int]]:
        if self.member is None:
            with open_regular(self.path) as stream:
                yield stream, os.fstat(stream.fileno()).st_size
        else:
            with _archive(self.path) as archive:
                try:
                    info = archive.getinfo(self.member)
                    if info.flag_bits & 1:
                        raise Unreadable("encrypted_archive")
                    with archive.open(info) as member:
                        yield member, info.compress_size  # type: ignore[misc]
                except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
                    raise Unreadable("bad_zip") from error

    def chunks(self, limits: ReadLimits) -> Iterator[bytes]:
        """The decompressed bytes, a MiB at a time; raises Unreadable where a cap is passed or the stream breaks."""
        with self._stored() as (stored, size):
            if not self.gzipped:
                yield from _counted(stored, limits.max_bytes, "file_too_large")
                return
            try:
                ceiling = min(limits.max_bytes, max(MIB, int(limits.max_ratio * size)))
                with gzip.GzipFile(fileobj=stored) as unpacked:
                    yield from _counted(unpacked, ceiling, "decompression_bomb")
            except EOFError as error:
                raise Unreadable("truncated_gzip") from error
            except (gzip.BadGzipFile, zlib.error) as error:
                raise Unreadable("bad_gzip") from error

    def head(self, limits: ReadLimits, size: int) -> bytes:
        """The first `size` bytes, or all there are."""
        parts, length = [], 0
        chunks = self.chunks(limits)
        for chunk in chunks:
            parts.append(chunk)
            length += len(chunk)
            if length >= size:
                break
        chunks.close()  # type: ignore[attr-defined]
        return b"".join(parts)[:size]

    @contextlib.contextmanager
    def seekable(self, limits: ReadLimits) -> Iterator[BinaryIO]:
        """A handle for the formats that need to seek (Parquet, XLSX): the file itself, or its bytes in memory."""
        if self.member is None and not self.gzipped:
            with open_regular(self.path) as stream:
                yield stream
        else:
            yield io.BytesIO(b"".join(self.chunks(limits)))


def _counted(stream: BinaryIO | gzip.GzipFile, ceiling: int, reason: str) -> Iterator[bytes]:
    total = 0
    while chunk := stream.read(CHUNK):
        total += len(chunk)
        if total > ceiling:
            raise Unreadable(reason, offset=ceiling)
        yield chunk


def open_regular(path: Path) -> io.BufferedReader:
    """`path` opened for reading; a pipe or a device is refused without waiting for it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable("no_permission" if isinstance(error, PermissionError) else "cannot_be_opened") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Unreadable("not_a_regular_file")
    return os.fdopen(descriptor, "rb")


def sha256_of(path: Path) -> str:
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with open_regular(path) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OverflowError) as error:
            raise Unreadable("bad_zip") from error
        with archive:
            yield archive


def check_archive(stream: BinaryIO, size: int, limits: ReadLimits) -> list[zipfile.ZipInfo]:
    """The entries of a zip (an XLSX is one), once the sizes that it declares are within the caps."""
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OverflowError) as error:
        raise Unreadable("bad_zip") from error
    total = sum(entry.file_size for entry in entries)
    if total > min(limits.max_bytes, max(MIB, int(limits.max_ratio * size))):
        raise Unreadable("decompression_bomb")
    return entries


Refuse = Callable[[str, Path, str], None]
"""Called with name, path and reason for a file of the input that cannot be looked into."""


def sources(
    path: str | Path | Sequence[str | Path],
    *,
    suffixes: frozenset[str],
    limits: ReadLimits,
    refuse: Refuse,
) -> list[Source]:
    """The sources behind `path`, sorted by name, so that the order in which files are given changes nothing.

    A folder gives the files under it whose suffix (without .gz) is in `suffixes`, and zips; hidden files and links
    that lead out of it are left alone. A file that is named itself is taken whatever it is called. Raises InputError
    where a path does not exist, is given twice, or holds nothing to read.
    """
    given = [path] if isinstance(path, (str, Path)) else list(path)
    if not given:
        raise InputError("no input: the list of paths is empty")
    found: dict[Path, None] = {}
    roots = []
    for entry in given:
        if _SCHEME.match(str(entry)):
            raise InputError(f"{entry}: addresses are not read, only files; fetch it first and give the local path")
        if "\x00" in str(entry):
            raise InputError("a path with a NUL character cannot be opened")
        location = Path(entry)
        if not location.exists():
            raise InputError(f"{entry}: no such file or folder")
        if location.is_dir():
            files = _folder(location, suffixes)
            if not files:
                known = " ".join(sorted(suffixes))
                raise InputError(f"{entry}: no file to read in this folder; expected {known}, plain, .gz or .zip")
            roots.append(location.absolute())
        else:
            if not location.is_file():
                raise InputError(f"{entry}: not a regular file")
            files = [location]
            roots.append(location.absolute().parent)
        for file in files:
            if file.absolute() in found:
                raise InputError(f"{entry}: given twice")
            found[file.absolute()] = None
    root = Path(os.path.commonpath(roots))
    names = {_printable(file.relative_to(root).as_posix()): file for file in found}
    result = []
    for name in sorted(names):
        if name.lower().endswith(".zip"):
            result += _members(name, names[name], suffixes, limits, refuse)
        else:
            result.append(Source(name, names[name]))
    return result


def _folder(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    inside = folder.resolve()
    files = []
    for parent, folders, names in os.walk(folder):
        if RUN_LOG in names:  # a run directory inside the folder is output, not input
            folders[:] = []
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(parent, name)
            if name.startswith(".") or not _wanted(name, suffixes):
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(inside):
                continue
            files.append(file)
    return files


def _wanted(name: str, suffixes: frozenset[str]) -> bool:
    pure = PurePosixPath(name.lower())
    suffix = PurePosixPath(pure.stem).suffix if pure.suffix == ".gz" else pure.suffix
    return suffix in suffixes or pure.suffix == ".zip"


def _members(name: str, path: Path, suffixes: frozenset[str], limits: ReadLimits, refuse: Refuse) -> list[Source]:
    try:
        with open_regular(path) as stream:
            entries = check_archive(stream, os.fstat(stream.fileno()).st_size, limits)
    except Unreadable as error:
        refuse(name, path, error.reason)
        return []
    result, seen = [], set()
    for entry in sorted(entries, key=lambda entry: entry.filename):
        pure = PurePosixPath(entry.filename)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in pure.parts)
        if entry.is_dir() or hidden or not _wanted(pure.name, suffixes):
            continue
        inner = f"{name}!{_printable(entry.filename)}"
        if pure.suffix.lower() == ".zip":
            refuse(inner, path, "nested_archive")
        elif entry.filename in seen:
            refuse(inner, path, "duplicate_member")
        else:
            seen.add(entry.filename)
            result.append(Source(inner, path, entry.filename))
    if not result:
        refuse(name, path, "nothing_to_read")
    return result


def _printable(name: str) -> str:
    """`name` as text that can stand in a frame: bytes that are no UTF-8 and control characters as escapes."""
    text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
