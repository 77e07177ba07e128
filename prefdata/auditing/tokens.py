"""Texts as hashes of their words, of many texts at once: for comparisons that must cost next to nothing a row.

Words are runs of letters and digits in lower case, and runs of the symbols `$ + < = > ^ | ~` and backtick; every
Chinese character, kana, emoji and symbol beyond ASCII is a word of its own. Blanks, punctuation and invisible
characters are between words; a text of nothing else ("???") is one word as a whole. prefdata.dedup.shingles goes
further (NFKC, pseudonyms by type, apostrophes) and takes ten times as long. Hashes are the same at every version.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash

UInt64s = npt.NDArray[np.uint64]
UInt32s = npt.NDArray[np.uint32]
UInt8s = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BLOCK = 1 << 18
"""Bytes of text in one pass: the working copies stay in a core's cache."""

LONGEST = 256
"""Bytes of a word that its hash sees, beside its length."""

_VALUES = 1 << 15
"""Words in one pass over their hashes, for the same reason."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ABSENT = np.uint64(0x5851F42D4C957F2D)
_PLACES = (0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)

_ALONE = (
    (0x3005, 0x3007), (0x3041, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x1F000, 0x1FAFF),
    (0x20000, 0x3FFFF),
)  # fmt: skip
"""Code points that are words of their own, beside symbols: those of scripts without blanks, and emoji."""
_SYMBOLS = b"$+<=>^`|~"


class Ragged(NamedTuple):
    """The values of all texts in one array, and where each text begins (one more entry than texts)."""

    values: UInt64s
    offsets: Int64s

    @property
    def lengths(self) -> Int64s:
        """Number of values of each text."""
        return np.diff(self.offsets)


class Sets(NamedTuple):
    """Like `Ragged`; the values of a text are 32-bit and stand for their set: in any order, some several times."""

    values: UInt32s
    offsets: Int64s

    @property
    def lengths(self) -> Int64s:
        """Values of each text: at least as many as its set has."""
        return np.diff(self.offsets)

    def of(self, texts: Int64s) -> Sets:
        """The sets of some texts, in that order."""
        counts = self.lengths[texts]
        offsets = offsets_of(counts)
        inside = np.arange(int(offsets[-1])) + np.repeat(self.offsets[:-1][texts] - offsets[:-1], counts)
        return Sets(self.values[inside], offsets)


def tokens(texts: pl.Series) -> Ragged:
    """64-bit hashes of the words of each text, in order. Null is an empty text."""
    texts = texts.fill_null("")
    if not len(texts):
        return Ragged(np.zeros(0, dtype=np.uint64), np.zeros(1, dtype=np.int64))
    joined: bytes = texts.str.join("\n").cast(pl.Binary).item()
    # one byte between words before the first and behind the last; more, that a word may be read eight bytes at a time
    codes = np.frombuffer(bytearray(b"\n" + joined + bytes(LONGEST + 8)).translate(_CODE), dtype=np.uint8)
    ends = np.cumsum(texts.str.len_bytes().to_numpy().astype(np.int64) + 1)
    ascii_ = joined.isascii()
    hashes, starts = [], []
    begin, done = 0, 0
    while begin < len(texts):
        end = max(begin + 1, int(np.searchsorted(ends, done + BLOCK, "right")))
        first, last = _bounds(codes[done : int(ends[end - 1]) + 1], ascii_)
        starts.append(first + done)
        hashes.append(_hashes(codes[done + 1 :], first, last - first))
        begin, done = end, int(ends[end - 1])
    offsets = np.searchsorted(np.concatenate(starts), np.concatenate([[0], ends])).astype(np.int64)
    found = Ragged(np.concatenate(hashes), offsets)
    silent = np.flatnonzero((np.diff(offsets) == 0) & (np.diff(ends, prepend=0) > 1))
    return _with_whole(found, texts, silent) if silent.size else found


def shingles(found: Ragged, *, size: int) -> Ragged:
    """Hashes of every `size` words in a row, in order; a shorter text is one shingle as a whole, no text none."""
    lengths = found.lengths
    counts = np.where(lengths >= size, lengths - size + 1, (lengths > 0).astype(np.int64))
    offsets = offsets_of(counts)
    inside = np.arange(int(offsets[-1])) + np.repeat(found.offsets[:-1] - offsets[:-1], counts)
    return Ragged(_every(found, size)[inside], offsets)


def sets(found: Ragged, *, size: int) -> Sets:
    """The upper halves of the `shingles` of each text."""
    every = _every(found, size)
    lengths, starts = found.lengths, found.offsets[:-1]
    # the last words of a text begin no shingle: the first one stands there again
    for place in range(1, size):
        there = lengths > place
        every[found.offsets[1:][there] - place] = every[starts[there]]
    return Sets((every >> np.uint64(32)).astype(np.uint32), found.offsets)


def _every(found: Ragged, size: int) -> UInt64s:
    """At each word the hash of the `size` words that begin there, whichever text they are of; a text of fewer words is
    a shingle of its own at its first."""
    total = found.values.size
    padded = np.concatenate([found.values, np.full(size, _ABSENT, dtype=np.uint64)])
    every, part = np.empty(total, dtype=np.uint64), np.empty(min(total, _VALUES), dtype=np.uint64)
    for low in range(0, total, _VALUES):
        out = every[low : low + _VALUES]
        some = part[: out.size]
        np.multiply(padded[low : low + out.size], _multiplier(0), out=out)
        for place in range(1, size):
            out += np.multiply(padded[low + place : low + place + out.size], _multiplier(place), out=some)
        _mix(out, some)
    short = np.flatnonzero((found.lengths > 0) & (found.lengths < size))
    if short.size:
        starts, lengths = found.offsets[:-1][short], found.lengths[short]
        whole = np.zeros(short.size, dtype=np.uint64)
        for place in range(size):
            # what is past a text's end counts as absent; its end may be the array's
            at = np.minimum(starts + place, padded.size - 1)
            whole += np.where(place < lengths, padded[at], _ABSENT) * _multiplier(place)
        every[starts] = _mix(whole, np.empty_like(whole))
    return every


def offsets_of(counts: Int64s) -> Int64s:
    """Where each text begins, and where the last ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _bounds(codes: UInt8s, ascii_: bool) -> tuple[Int64s, Int64s]:
    """Where words begin and end, from the second byte of `codes` on. Its first and last are between words. Characters
    beyond ASCII are made small, or set between words, in place."""
    apart = [] if ascii_ else [_settled(codes, width) for width in (2, 3, 4)]
    kind = (codes > 0).view(np.uint8)
    kind += (codes >= _LETTERS).view(np.uint8)
    for width, places in zip((2, 3, 4), apart, strict=False):
        # neighbours are of different kinds
        turn = (2 * width + np.arange(places.size) % 2).astype(np.uint8)
        for step in range(width):
            kind[places + step] = turn
    edge = kind[1:] != kind[:-1]
    inside = kind > 0
    return np.flatnonzero(edge & inside[1:]), np.flatnonzero(edge & inside[:-1])


def _settled(codes: UInt8s, width: int) -> Int64s:
    """Where characters of `width` bytes that are words of their own begin. Capitals become small ones, in place, and
    what is between words 0."""
    low, high = {2: (0xC2, 0xDF), 3: (0xE0, 0xEF), 4: (0xF0, 0xF4)}[width]
    # in one pass: what is below `low` wraps round
    places = np.flatnonzero((codes - np.uint8(low)) <= high - low)
    if not places.size:
        return places
    points = codes[places].astype(np.int64) & (0x7F >> width)
    for step in range(1, width):
        points = (points << 6) | (codes[places + step] & 0x3F)
    classes = _classes(points)
    between = places[classes == _BETWEEN]
    for step in range(width):
        codes[between + step] = 0
    capital = np.flatnonzero(classes == _CAPITAL)
    if capital.size:
        some, which = np.unique(points[capital], return_inverse=True)
        small = np.array([list(chr(one).lower().encode()) for one in some.tolist()], dtype=np.uint8)
        for step in range(width):
            codes[places[capital] + step] = small[which.reshape(-1), step]
    apart: Int64s = places[classes == _APART]
    return apart


def _classes(points: Int64s) -> UInt8s:
    """Of code points beyond ASCII; each is looked up once in the life of the process."""
    found = _CLASS[points]
    new = points[found == _UNKNOWN]
    if new.size:
        some = np.unique(new)
        _CLASS[some] = [_class(chr(one)) for one in some.tolist()]
        found = _CLASS[points]
    return found


def _class(letter: str) -> int:
    category, point = unicodedata.category(letter), ord(letter)
    if category[0] in "PZ" or category == "Cf" or letter == "\x85" or 0xFE00 <= point <= 0xFE0F:
        return _BETWEEN
    if category[0] == "S" or any(low <= point <= high for low, high in _ALONE):
        return _APART
    small = letter.lower()
    changes = small != letter and len(small) == 1 and len(small.encode()) == len(letter.encode())
    return _CAPITAL if changes else _LETTER


def _with_whole(found: Ragged, texts: pl.Series, silent: Int64s) -> Ragged:
    """`found` with one word, the text as a whole, for the texts `silent` that have none. Blank ones stay empty."""
    whole = texts.gather(pl.Series(silent)).str.strip_chars().to_list()
    digests = [xxhash.xxh3_64_intdigest(said.encode()) if said else None for said in whole]
    numbers = np.array([text for text, one in zip(silent, digests, strict=True) if one is not None], dtype=np.int64)
    if not numbers.size:
        return found
    hashes = np.array([one for one in digests if one is not None], dtype=np.uint64)
    counts = found.lengths.copy()
    counts[numbers] = 1
    return Ragged(np.insert(found.values, found.offsets[numbers], hashes), offsets_of(counts))


def _hashes(codes: UInt8s, starts: Int64s, lengths: Int64s) -> UInt64s:
    """Of words at `starts`: themselves, up to eight bytes; of longer ones eight bytes at a time."""
    windows: UInt64s = np.ndarray((codes.size - 7,), dtype="<u8", buffer=codes, strides=(1,))
    hashes = windows[starts]
    hashes &= _MASK[np.minimum(lengths, 8)]
    going = np.flatnonzero(lengths > 8)
    if not going.size:
        return hashes
    seen, begin = np.minimum(lengths[going], LONGEST), starts[going]
    found = hashes[going] + lengths[going].astype(np.uint64) * _GOLDEN
    _mix(found, np.empty_like(found))
    place, left = 8, np.arange(going.size)
    while left.size:
        part = windows[begin[left] + place] & _MASK[np.minimum(seen[left] - place, 8)]
        mixed = found[left] * _GOLDEN + part
        found[left] = _mix(mixed, part)
        place += 8
        left = left[seen[left] > place]
    hashes[going] = found
    return hashes


def _multiplier(place: int) -> np.uint64:
    return np.uint64((_PLACES[place % 3] + 2 * place) & 0xFFFFFFFFFFFFFFFF)


def _mix(values: UInt64s, spare: UInt64s) -> UInt64s:
    """The finaliser of MurmurHash3, in place; `spare` of the same size is overwritten."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values ^= np.right_shift(values, np.uint64(33), out=spare)
        values *= np.uint64(factor)
    values ^= np.right_shift(values, np.uint64(33), out=spare)
    return values


_UNKNOWN, _LETTER, _CAPITAL, _APART, _BETWEEN = range(5)
_CLASS = np.zeros(0x110000, dtype=np.uint8)

_LETTERS = ord("0")
"""Codes from here on are of letters and digits, those below of symbols; 0 is between words."""


def _code(byte: int) -> int:
    if byte in _SYMBOLS:
        return 1 + _SYMBOLS.index(byte)
    if byte >= 128 or chr(byte).isalnum():
        return byte + 32 if ord("A") <= byte <= ord("Z") else byte
    return 0


_CODE = bytes(_code(byte) for byte in range(256))
_MASK = np.array([(1 << (8 * size)) - 1 for size in range(9)], dtype=np.uint64)
