"""Physical lines of a text file with their byte offsets, decoded strictly; never a replaced character.

Which encoding: a byte order mark decides; else strict UTF-8; else GB18030 where the file as a whole shows it (see
`detect`). A line that cannot be decoded in the file's encoding is handed on without text, to be quarantined; the
encoding of a single line is never guessed.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from prefdata.errors import RecipeError
from prefdata.reading.account import MIB, ReadAgain, ReadLimits, Unreadable
from prefdata.reading.sources import Source

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, ""),
    (codecs.BOM_UTF32_BE, ""),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks, longest first where one begins another; "" = refused."""

CODECS = {
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "cp1252": "cp1252",
    "latin-1": "latin-1",
}
"""Encodings that can be asked for, and the codec that decodes each. All but UTF-16 hold ASCII line ends as they are."""

ALIASES = {"utf8": "utf-8", "utf-16": "utf-16-le", "gbk": "gb18030", "gb2312": "gb18030", "iso-8859-1": "latin-1"}


class Block(NamedTuple):
    """Consecutive lines. `texts` holds None where a line cannot be decoded; line ends are cut off, a CR may be left."""

    line: int
    """1-based number of the first line."""
    offset: int
    """Byte offset of the first line in the decompressed file."""
    raws: list[bytes]
    texts: list[str | None]
    end: str
    """The line end that was cut off."""
    width: int
    """Bytes of a line end."""

    def offsets(self) -> list[int]:
        """Byte offset of every line."""
        return list(accumulate((len(raw) + self.width for raw in self.raws[:-1]), initial=self.offset))


class TooLong(NamedTuple):
    """A line over the limit: its hash and size, not its bytes."""

    line: int
    offset: int
    sha256: str
    size: int


class Lines:
    """Iterates over the lines of a source as Blocks and TooLongs. `encoding` is known once iteration has begun."""

    def __init__(self, source: Source, *, encoding: str, limits: ReadLimits) -> None:
        self.source = source
        self.limits = limits
        self.asked = known_encoding(encoding)
        self.encoding = "utf-8" if self.asked == "auto" else self.asked
        self._trusted = self.asked != "auto"

    def __iter__(self) -> Iterator[Block | TooLong]:
        for piece in self._pieces():
            if isinstance(piece, TooLong):
                yield piece
            else:
                line, offset, raws, data = piece
                yield Block(line, offset, raws, self._decode(raws, data), self._end, self._width)

    def _start(self, chunks: Iterator[bytes]) -> tuple[bytes, int, bool]:
        """The first bytes after the mark, the length of the mark, and whether that is the whole file."""
        head, whole = b"", True
        for chunk in chunks:
            head += chunk
            if len(head) >= MIB or b"\n" in head:
                whole = False
                break
        self.encoding, mark = settle(head, self.asked)
        self._trusted |= self.encoding != "utf-8"
        head = head[mark:]
        wide = self.encoding.startswith("utf-16")
        codec = CODECS[self.encoding]
        self._width = 2 if wide else 1
        self._end = "\n"
        if "\n".encode(codec) not in head and "\r".encode(codec) in head:
            self._end = "\r"
        return head, mark, whole

    def _pieces(self) -> Iterator[tuple[int, int, list[bytes], bytes] | TooLong]:
        chunks = self.source.chunks(self.limits)
        head, offset, _ = self._start(chunks)
        newline = self._end.encode(CODECS[self.encoding])
        cap = self.limits.max_line_bytes
        line, carry = 1, b""
        skipping: hashlib._Hash | None = None
        skipped = 0

        def sized(raws: list[bytes], data: bytes) -> Iterator[tuple[int, int, list[bytes], bytes] | TooLong]:
            nonlocal line, offset
            if len(data) <= cap or max(map(len, raws)) <= cap:
                yield line, offset, raws, data
                line += len(raws)
                offset += len(data) + self._width
                return
            for raw in raws:
                if len(raw) > cap:
                    yield TooLong(line, offset, hashlib.sha256(raw).hexdigest(), len(raw))
                else:
                    yield line, offset, [raw], raw
                line += 1
                offset += len(raw) + self._width

        for chunk in _prepended(head, chunks):
            if skipping is not None:
                # the tail of a line that is over the limit: hashed, not held
                carry += chunk
                cut = self._first(carry, newline)
                if cut < 0:
                    keep = len(carry) % self._width
                    body, carry = carry[: len(carry) - keep], carry[len(carry) - keep :]
                    skipping.update(body)
                    skipped += len(body)
                    continue
                skipping.update(carry[:cut])
                skipped += cut
                yield TooLong(line, offset, skipping.hexdigest(), skipped)
                line += 1
                offset += skipped + self._width
                chunk, carry, skipping = carry[cut + self._width :], b"", None
            data, rest = self._cut(carry, chunk, newline)
            if data is not None:
                yield from sized(self._split(data, newline), data)
            carry = rest
            if len(carry) > cap:
                keep = len(carry) % self._width
                body, carry = carry[: len(carry) - keep], carry[len(carry) - keep :]
                skipping, skipped = hashlib.sha256(body), len(body)
        if skipping is not None:
            skipping.update(carry)
            yield TooLong(line, offset, skipping.hexdigest(), skipped + len(carry))
        elif carry:
            yield from sized([carry], carry)

    def _first(self, data: bytes, newline: bytes) -> int:
        cut = data.find(newline)
        while cut >= 0 and cut % self._width:
            cut = data.find(newline, cut + 1)
        return cut

    def _cut(self, carry: bytes, chunk: bytes, newline: bytes) -> tuple[bytes | None, bytes]:
        """The whole lines of carry + chunk without their last line end, and what is left."""
        if self._width == 1:
            cut = chunk.rfind(newline)
            return (None, carry + chunk) if cut < 0 else (carry + chunk[:cut], chunk[cut + 1 :])
        data = carry + chunk
        cut = data.rfind(newline)
        while cut >= 0 and cut % 2:
            cut = data.rfind(newline, 0, cut + 1)
        return (None, data) if cut < 0 else (data[:cut], data[cut + 2 :])

    def _split(self, data: bytes, newline: bytes) -> list[bytes]:
        if self._width == 1:
            return data.split(newline)
        raws: list[bytes] = []
        start = 0
        while True:
            cut = data.find(newline, start)
            while cut >= 0 and cut % 2:
                cut = data.find(newline, cut + 1)
            if cut < 0:
                return [*raws, data[start:]]
            raws.append(data[start:cut])
            start = cut + 2

    def _decode(self, raws: list[bytes], data: bytes) -> list[str | None]:
        codec = CODECS[self.encoding]
        try:
            texts: list[str | None] = list(data.decode(codec).split(self._end))
            if len(texts) == len(raws):
                return texts
        except UnicodeDecodeError:
            if not self._trusted:
                found = detect(self.source, self.limits)
                if found != "utf-8":
                    raise ReadAgain(found) from None
                self._trusted = True
        return [_strict(raw, codec) for raw in raws]


def _prepended(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from chunks


def _strict(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None


def known_encoding(name: str) -> str:
    """`name` as one of CODECS, or "auto"."""
    lowered = name.lower()
    if lowered == "auto":
        return "auto"
    lowered = ALIASES.get(lowered, lowered)
    if lowered not in CODECS:
        raise RecipeError(f"encoding {name!r}: expected auto, {', '.join(CODECS)}")
    return lowered


def settle(head: bytes, asked: str) -> tuple[str, int]:
    """The encoding that the first bytes show (UTF-8 until the contrary is found), and the length of the mark."""
    for mark, encoding in MARKS:
        if head.startswith(mark):
            if asked == "auto":
                if not encoding:
                    raise Unreadable("unsupported_encoding", offset=0)
                return encoding, len(mark)
            if encoding and CODECS[encoding] == CODECS[asked]:
                return asked, len(mark)
    if asked != "auto":
        return asked, 0
    # UTF-16 without a mark, or no text at all
    if head[:4096].count(0) * 5 > len(head[:4096]):
        raise Unreadable("unsupported_encoding", offset=0)
    return "utf-8", 0


def detect(source: Source, limits: ReadLimits) -> str:
    """`utf-8` or `gb18030`, of a file without a mark that is not UTF-8 throughout; else raises Unreadable.

    GB18030 where all of it holds: every line decodes strictly; at least nine in ten of the lines that are not ASCII
    fail as UTF-8 (a UTF-8 file with a broken line stays UTF-8); and at least nine in ten of the characters beyond
    ASCII are in GB 2312, the everyday plane (Western text read as GB18030 is not). Otherwise UTF-8, and the lines
    that fail are quarantined; refused where those are more than one and more than half of all lines.
    """
    filled = foreign = failed = undecodable = beyond = everyday = 0
    for piece in Lines(source, encoding="latin-1", limits=limits)._pieces():
        if isinstance(piece, TooLong):
            continue
        for raw in piece[2]:
            if not raw or raw.isspace():
                continue
            filled += 1
            if raw.isascii():
                continue
            foreign += 1
            if _strict(raw, "utf-8") is not None:
                continue
            failed += 1
            text = _strict(raw, "gb18030")
            if text is None:
                undecodable += 1
            elif beyond < MIB:
                wide = "".join(char for char in text if char > "\x7f")
                beyond += len(wide)
                everyday += len(wide.encode("gb2312", "ignore")) // 2
    if not undecodable and failed * 10 >= foreign * 9 and everyday * 10 >= beyond * 9:
        return "gb18030"
    if failed > 1 and failed * 2 > filled:
        raise Unreadable("unsupported_encoding")
    return "utf-8"
