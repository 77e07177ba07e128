"""Texts as hashes of their words, of many texts at once: for comparisons that must cost next to nothing a row.

Words are runs of letters and digits, lower case; every Chinese character, kana, emoji and symbol is a word of its own.
A text of none of these ("???") is one word as a whole. This is what prefdata.dedup.shingles calls tokens, which goes
further (NFKC, pseudonyms by type, apostrophes) and takes ten times as long. Hashes are the same at every version.
"""

from __future__ import annotations

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

BLOCK = 1 << 20
"""Bytes of text in one pass: the working copies stay at some megabytes."""

LONGEST = 256
"""Bytes of a word that its hash sees, beside its length."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ABSENT = np.uint64(0x5851F42D4C957F2D)
_PLACES = (0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)

_ALONE = (
    (0x2190, 0x2BFF), (0x3005, 0x3007), (0x3041, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
    (0x1F000, 0x1FAFF), (0x20000, 0x3FFFF),
)  # fmt: skip
"""Code points that are words of their own."""
_BETWEEN = (
    (0x2000, 0x206F), (0x2E00, 0x2E7F), (0x3000, 0x3004), (0x3008, 0x3020), (0x3030, 0x3030), (0xFE00, 0xFE6F),
    (0xFF00, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF65), (0xFFFD, 0xFFFD),
)  # fmt: skip
"""Code points between words, beyond U+00BF."""


class Ragged(NamedTuple):
    """The values of all texts in one array, and where each text begins (one more entry than texts)."""

    values: UInt64s
    offsets: Int64s

    @property
    def lengths(self) -> Int64s:
        """Number of values of each text."""
        return np.diff(self.offsets)


class Sets(NamedTuple):
    """Like `Ragged`; the values of a text are 32-bit, sorted, each once."""

    values: UInt32s
    offsets: Int64s

    @property
    def lengths(self) -> Int64s:
        """Size of each set."""
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
    sizes = texts.str.len_bytes().to_numpy().astype(np.int64) + 1
    ends = np.cumsum(sizes)
    hashes, counts = [], []
    begin = 0
    while begin < len(texts):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + BLOCK, "right")))
        some = _block(texts[begin:end], sizes[begin:end])
        hashes.append(some.values)
        counts.append(some.lengths)
        begin = end
    if not hashes:
        return Ragged(np.zeros(0, dtype=np.uint64), np.zeros(1, dtype=np.int64))
    return Ragged(np.concatenate(hashes), offsets_of(np.concatenate(counts)))


def shingles(found: Ragged, *, size: int) -> Ragged:
    """Hashes of every `size` words in a row, in order; a shorter text is one shingle as a whole, no text none."""
    lengths = found.lengths
    short = np.flatnonzero((lengths > 0) & (lengths < size))
    total = found.values.size
    counts = np.where(lengths >= size, lengths - size + 1, (lengths > 0).astype(np.int64))
    offsets = offsets_of(counts)
    if not total:
        return Ragged(found.values, offsets)
    padded = np.concatenate([found.values, np.full(size, _ABSENT, dtype=np.uint64)])
    every = np.zeros(total, dtype=np.uint64)
    for place in range(size):
        every += padded[place : place + total] * _multiplier(place)
    if short.size:
        starts = found.offsets[:-1][short]
        every[starts] = 0
        for place in range(size):
            there = place < lengths[short]
            # a text's end may be the array's: what is past it counts as absent anyway
            at = np.minimum(starts + place, padded.size - 1)
            every[starts] += np.where(there, padded[at], _ABSENT) * _multiplier(place)
    inside = np.arange(int(offsets[-1])) + np.repeat(found.offsets[:-1] - offsets[:-1], counts)
    return Ragged(_mix(every[inside]), offsets)


def sets(found: Ragged) -> Sets:
    """The upper halves of the values of each text as a set."""
    number = np.repeat(np.arange(found.lengths.size, dtype=np.uint64), found.lengths)
    keys = (number << np.uint64(32)) | (found.values >> np.uint64(32))
    keys.sort()
    kept = np.ones(keys.size, dtype=bool)
    kept[1:] = keys[1:] != keys[:-1]
    keys = keys[kept]
    counts = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=found.lengths.size)
    return Sets(keys.astype(np.uint32), offsets_of(counts))


def offsets_of(counts: Int64s) -> Int64s:
    """Where each text begins, and where the last ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _block(texts: pl.Series, sizes: Int64s) -> Ragged:
    """`tokens` of texts that together fit into memory a few times over; `sizes` in bytes, with one between texts."""
    joined = _lower(texts, sizes)
    raw = np.frombuffer(joined + bytes(LONGEST + 8), dtype=np.uint8)
    starts, ends = _bounds(joined, raw[: len(joined)])
    hashes = _hashes(raw, starts, ends - starts)
    offsets = np.searchsorted(starts, np.concatenate([[0], np.cumsum(sizes)])).astype(np.int64)
    offsets[-1] = starts.size
    silent = np.flatnonzero((np.diff(offsets) == 0) & (sizes > 1))
    return _with_whole(Ragged(hashes, offsets), texts, silent) if silent.size else Ragged(hashes, offsets)


def _lower(texts: pl.Series, sizes: Int64s) -> bytes:
    """The texts in lower case as UTF-8, a line end between them. A text whose length that would change stays."""
    joined: bytes = texts.str.join("\n").cast(pl.Binary).item()
    raw = np.frombuffer(joined, dtype=np.uint8)
    letters = np.flatnonzero((raw >= 0xC3) & (raw <= 0xD6))  # of Latin, Greek, Cyrillic and Armenian, but A to Z
    if not letters.size:
        return joined.translate(_LOWER)
    odd = pl.Series(np.unique(np.searchsorted(np.cumsum(sizes), letters, "right")))
    some = texts.gather(odd)
    small = some.str.to_lowercase()
    same = (small.str.len_bytes() == some.str.len_bytes()).arg_true()
    texts = texts.clone().scatter(odd.gather(same), small.gather(same))
    lowered: bytes = texts.str.join("\n").cast(pl.Binary).item()
    return lowered.translate(_LOWER)


def _bounds(joined: bytes, raw: UInt8s) -> tuple[Int64s, Int64s]:
    """Where words begin, and where they end."""
    word = np.zeros(raw.size + 2, dtype=bool)
    word[1:-1] = np.frombuffer(joined.translate(_WORD_BYTE), dtype=bool)
    lead = np.zeros(0, dtype=np.int64) if joined.isascii() else np.flatnonzero(raw >= 0xC2)
    breaks = _mark(word[1:-1], lead, raw)
    if breaks is None:
        edges = np.flatnonzero(word[1:] != word[:-1])
        return edges[::2], edges[1::2]
    starts = np.flatnonzero(word[1:-1] & (~word[:-2] | breaks[:-1]))
    return starts, np.flatnonzero(word[1:-1] & (~word[2:] | breaks[1:])) + 1


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


def _mark(inside: Bools, lead: Int64s, raw: UInt8s) -> Bools | None:
    """Takes the marks beyond ASCII out of `inside`, in place; gives the places (one more than bytes) at which a word
    ends though it goes on, None where there are none. `lead`: where characters of several bytes begin."""
    if not lead.size:
        return None
    first = raw[lead].astype(np.int64)
    breaks: Bools | None = None
    # of two bytes: U+0080 to U+00BF are marks, all others letters
    marks = lead[first == 0xC2]
    inside[marks] = False
    inside[marks + 1] = False
    for width, low, high in ((3, 0xE0, 0xEF), (4, 0xF0, 0xF4)):
        places = lead[(first >= low) & (first <= high)]
        if not places.size:
            continue
        point = raw[places].astype(np.int64) & (0x0F if width == 3 else 0x07)
        for step in range(1, width):
            point = (point << 6) | (raw[places + step] & 0x3F)
        between, alone = _in(point, _BETWEEN), _in(point, _ALONE)
        for step in range(width):
            inside[places[between] + step] = False
        if alone.any():
            breaks = np.zeros(raw.size + 1, dtype=bool) if breaks is None else breaks
            breaks[places[alone]] = True
            breaks[places[alone] + width] = True
    return breaks


def _in(points: Int64s, ranges: tuple[tuple[int, int], ...]) -> Bools:
    edges = np.array([edge for low, high in ranges for edge in (low, high + 1)])
    return np.asarray(np.searchsorted(edges, points, "right") % 2 == 1)


def _hashes(raw: UInt8s, starts: Int64s, lengths: Int64s) -> UInt64s:
    """Of words at `starts`, eight bytes at a time."""
    windows: UInt64s = np.ndarray((raw.size - 8,), dtype="<u8", buffer=raw.data, strides=(1,))
    seen = np.minimum(lengths, LONGEST)
    hashes = _mix((windows[starts] & _MASK[np.minimum(seen, 8)]) + lengths.astype(np.uint64) * _GOLDEN)
    place, going = 8, np.flatnonzero(seen > 8)
    while going.size:
        part = windows[starts[going] + place] & _MASK[np.minimum(seen[going] - place, 8)]
        hashes[going] = _mix(hashes[going] * _GOLDEN + part)
        place += 8
        going = going[seen[going] > place]
    return hashes


def _multiplier(place: int) -> np.uint64:
    return np.uint64((_PLACES[place % 3] + 2 * place) & 0xFFFFFFFFFFFFFFFF)


def _mix(values: UInt64s) -> UInt64s:
    """The finaliser of MurmurHash3, in place."""
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


_WORD_BYTE = bytes(byte >= 128 or chr(byte).isalnum() for byte in range(256))
_LOWER = bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in range(256))
_MASK = np.array([(1 << (8 * size)) - 1 for size in range(9)], dtype=np.uint64)
