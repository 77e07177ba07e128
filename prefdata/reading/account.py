"""What every reader shares: the limits, and the account of what was read, left out as blank, or quarantined."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

MIB = 2**20

QUARANTINE = pl.Schema(
    {
        "file": pl.String(),  # name under the given root, never an absolute path
        "line": pl.Int64(),  # 1-based line or record number; null = the whole file
        "offset": pl.Int64(),  # byte offset in the decompressed file, null where it has no meaning
        "reason": pl.String(),
        "sha256": pl.String(),  # of the raw bytes; of the file on disk where line is null
        "bytes": pl.Int64(),
    }
)
"""What could not be read, and where it stands: never its text."""


PLACE = {"_file": pl.String, "_line": pl.Int64, "_offset": pl.Int64}
"""Where a row stands."""

RESERVED = frozenset((*PLACE, "_key"))
"""Names that a column of the data must not have."""


@dataclass(frozen=True, kw_only=True)
class ReadLimits:
    """What a file may cost. Beyond it the line, or the file, is quarantined."""

    max_line_bytes: int = 4 * MIB
    """Bytes of one record: a line, a CSV record with its quoted line ends, an element of a JSON document."""
    max_bytes: int = 8 * 1024 * MIB
    """Decompressed bytes of a file; of all members together for a zip."""
    max_ratio: float = 100.0
    """Decompressed by compressed bytes, looked at above 1 MiB."""
    max_columns: int = 4096
    """Columns of a file: the union of keys of a JSONL file with a new key in every line would grow quadratically."""


class FileReport(NamedTuple):
    """The account of one file: `units` = rows + `quarantined`, and `blank` lines beside them."""

    file: str
    sha256: str
    """Of the file on disk; members of a zip carry the hash of their archive."""
    bytes: int
    """Size on disk; of a member of a zip, its decompressed size."""
    encoding: str
    """`utf-8`, `utf-8-sig` (with BOM), `utf-16-le`, `utf-16-be`, `gb18030`; "" where the format has none
    or the file cannot be read."""
    units: int
    """Records found: rows and quarantined ones; a file that cannot be read at all is one unit."""
    blank: int
    quarantined: int
    columns: tuple[str, ...] = ()
    """The columns that this file itself has, in its own order: where they differ between files, the schema drifted."""


class Unreadable(Exception):
    """A file as a whole cannot be read. Inside the readers only: it becomes a file-level row of the quarantine."""

    def __init__(self, reason: str, *, offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class ReadAgain(Exception):
    """The file turned out to be in another encoding than the one it was being read in."""

    def __init__(self, encoding: str) -> None:
        super().__init__(encoding)
        self.encoding = encoding


@dataclass
class Account:
    """The running account of one file."""

    file: str
    encoding: str = ""
    rows: int = 0
    blank: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    _quarantine: list[tuple[str, int | None, int | None, str, str | None, int]] = field(default_factory=list)

    def quarantine(self, reason: str, raw: bytes, *, line: int, offset: int | None) -> None:
        """Notes one record by the hash of its raw bytes."""
        digest = hashlib.sha256(raw).hexdigest()
        self._quarantine.append((self.file, line, offset, reason, digest, len(raw)))

    def quarantine_hashed(self, reason: str, *, line: int, offset: int | None, sha256: str, size: int) -> None:
        """Notes one record whose bytes were too many to be held."""
        self._quarantine.append((self.file, line, offset, reason, sha256, size))

    def refuse(self, reason: str, *, offset: int | None, sha256: str | None, size: int) -> None:
        """Notes the file as a whole; everything read from it before does not count."""
        self.rows = self.blank = 0
        self.columns, self.encoding = {}, ""
        self._quarantine = [(self.file, None, offset, reason, sha256, size)]

    def quarantine_file(self, reason: str, *, offset: int | None, size: int) -> None:
        """Notes that the file breaks off, or cannot be read at all; what was read before stays."""
        self._quarantine.append((self.file, None, offset, reason, None, size))

    @property
    def quarantined(self) -> int:
        return len(self._quarantine)

    def drained(self) -> pl.DataFrame:
        """What was quarantined since the last call."""
        found = self.frame()
        self._quarantine = []
        return found

    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(self._quarantine, schema=QUARANTINE, orient="row")

    def report(self, *, sha256: str, size: int) -> FileReport:
        return FileReport(
            file=self.file,
            sha256=sha256,
            bytes=size,
            encoding=self.encoding,
            units=self.rows + self.quarantined,
            blank=self.blank,
            quarantined=self.quarantined,
            columns=tuple(self.columns),
        )
