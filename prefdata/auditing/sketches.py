"""Which texts of a dataset are nearly the same: sets of shingles of every side, kept while it is read, compared at the
end. Candidates by MinHash bands, then the true Jaccard similarity of the sets; nothing is said of pairs not compared.

Signatures are of one permutation (Li, Owen and Zhang, 2012): a set's smallest value in each of BINS bins. They cost one
pass over the values where BINS permutations would cost as many. Values are not sorted before two sets are compared.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from prefdata.auditing.tokens import Int64s, Ragged, Sets, UInt32s, UInt64s, offsets_of, sets
from prefdata.dedup.candidates import candidates
from prefdata.dedup.minhash import band_keys
from prefdata.dedup.shingles import Flat

Floats = npt.NDArray[np.float64]

SHINGLE_WORDS = 3
"""As prefdata.dedup takes for single turns."""

MIN_SIMILARITY = 0.8
"""Jaccard similarity of two texts from which on they are nearly the same; the default of groupings: near_duplicates."""

SIDES_SIMILARITY = 0.9
"""Of chosen and rejected, which are alike for better reasons."""

BINS, BAND = 32, 3
"""A power of two, and 10 bands of 3: finds 99.9 % of the pairs at similarity 0.8."""

SMALL = 2 * BINS
"""Shingles of a text below which its signature says little."""

MAX_VALUES = 32_000_000
"""Shingles that are kept, 128 MB: about 65,000 pairs of 1 KB a side, 300,000 of 200 characters. Rows after that are not
compared with others."""

MAX_PAIRS = 4_000_000
"""Pairs of texts that are compared after each met the first of its bucket; the largest buckets are left out."""

_ROUNDS = 2
_REACH = 60
"""About how many comparisons a row of a large bucket takes."""

_BLOCK = 1 << 21
"""Values that are compared in one pass."""


class Pool(Protocol):
    """Numbered sets, wherever they lie."""

    @property
    def lengths(self) -> Int64s:
        """Size of each set."""

    def of(self, texts: Int64s) -> Sets:
        """The sets of some texts, in that order."""


class Look(NamedTuple):
    """What is kept of the texts of a chunk."""

    height: int
    sets: Mapping[str, Sets]
    """Side -> the sets of its texts."""
    signatures: Mapping[str, UInt32s]
    alike: list[tuple[int, float]]
    """Rows whose chosen and rejected, unequal, reach SIDES_SIMILARITY, and their similarity."""


class _Side:
    def __init__(self) -> None:
        self.values: list[UInt32s] = []
        self.lengths: list[Int64s] = []
        self.signatures: list[UInt32s] = []

    def all(self) -> tuple[Sets, UInt32s]:
        """All sets and their signatures."""
        if not self.values:
            return Sets(np.zeros(0, dtype=np.uint32), np.zeros(1, dtype=np.int64)), np.zeros((0, BINS), dtype=np.uint32)
        self.values, self.lengths = [np.concatenate(self.values)], [np.concatenate(self.lengths)]
        self.signatures = [np.concatenate(self.signatures)]
        return Sets(self.values[0], offsets_of(self.lengths[0])), self.signatures[0]


class _Scattered(NamedTuple):
    """The sets of texts that lie on several sides: of each text the side and the row."""

    kept: list[Sets]
    side: Int64s
    row: Int64s
    lengths: Int64s

    def of(self, texts: Int64s) -> Sets:
        side, row, counts = self.side[texts], self.row[texts], self.lengths[texts]
        offsets = offsets_of(counts)
        values = np.empty(int(offsets[-1]), dtype=np.uint32)
        for number, kept in enumerate(self.kept):
            own = np.flatnonzero(side == number)
            some = kept.of(row[own])
            inside = np.arange(some.values.size) + np.repeat(offsets[:-1][own] - some.offsets[:-1], some.lengths)
            values[inside] = some.values
        return Sets(values, offsets)


class Sketches:
    """The sets of the texts of a dataset's first rows, by side."""

    def __init__(self, sides: tuple[str, ...]) -> None:
        self.sides = sides
        self.compared = 0
        """Rows whose sets are kept: the first ones."""
        self.alike: list[tuple[int, float]] = []
        """Rows whose chosen and rejected, unequal, reach SIDES_SIMILARITY, and their similarity: of all rows."""
        self._left = MAX_VALUES
        self._kept = {side: _Side() for side in sides}
        self._near: dict[tuple[str, ...], Near] = {}
        self._lock = threading.Lock()

    def look(self, chunk: pl.DataFrame, words: Mapping[str, Ragged]) -> Look:
        """What `add` takes of a chunk of rows with features, and the words of their sides. May be called by several
        threads at a time."""
        wanted: tuple[str, ...] = self.sides
        both = {"chosen", "rejected"} <= set(wanted)
        if self._left <= 0:
            wanted = ("chosen", "rejected") if both else ()
        found = {side: sets(words[side], size=SHINGLE_WORDS) for side in wanted}
        signed = {side: signatures(values) for side, values in found.items()}
        return Look(chunk.height, found, signed, _alike(chunk, found, signed) if both else [])

    def add(self, look: Look) -> None:
        """Takes the chunks in their order."""
        self.alike += look.alike
        if self._left <= 0:
            return
        self.compared += look.height
        for side, values in look.sets.items():
            self._kept[side].values.append(values.values)
            self._kept[side].lengths.append(values.lengths)
            self._kept[side].signatures.append(look.signatures[side])
            self._left -= values.values.size

    def near(self, rows: pl.DataFrame, sides: tuple[str, ...]) -> Near:
        """The texts of `sides` of the compared rows, and which of them are nearly the same; `rows` are all rows."""
        with self._lock:
            if sides not in self._near:
                norms = [rows[f"{side}_norm"].head(self.compared) for side in sides]
                self._near[sides] = Near([self._kept[side].all() for side in sides], norms)
        return self._near[sides]


def _alike(chunk: pl.DataFrame, found: Mapping[str, Sets], signed: Mapping[str, UInt32s]) -> list[tuple[int, float]]:
    """Rows whose sides are nearly the same, and their similarity."""
    chosen, rejected = found["chosen"], found["rejected"]
    unequal = (chunk["chosen_norm"] != chunk["rejected_norm"]).to_numpy()
    smaller = np.minimum(chosen.lengths, rejected.lengths)
    agree = (signed["chosen"] == signed["rejected"]).sum(axis=1)
    some = np.flatnonzero(unequal & (smaller > 0) & ((agree >= BINS * 5 // 8) | (smaller < SMALL)))
    if not some.size:
        return []
    one, other = chosen.of(some), rejected.of(some)
    both = Sets(
        np.concatenate([one.values, other.values]), np.concatenate([one.offsets, other.offsets[1:] + one.offsets[-1]])
    )
    number = np.arange(some.size)
    similarity = jaccard(both, number, number + some.size)
    reached = similarity >= SIDES_SIMILARITY
    rows = chunk["row"].gather(pl.Series(some[reached])).to_list()
    return list(zip(rows, similarity[reached].tolist(), strict=True))


class Near:
    """The different texts of some sides of rows, and the groups of nearly the same ones."""

    def __init__(self, kept: list[tuple[Sets, UInt32s]], norms: list[pl.Series]) -> None:
        self._lock = threading.Lock()
        height = len(norms[0]) if norms else 0
        pool = pl.DataFrame({"norm": pl.concat(norms) if norms else pl.Series([], dtype=pl.UInt64)})
        pool = pool.with_row_index("at").with_columns(pl.col("at").first().over("norm").alias("first"))
        firsts = pool.filter(pl.col("at") == pl.col("first")).select("norm", text=pl.int_range(pl.len()))
        joined = pool.select("norm").join(firsts, on="norm", how="left", maintain_order="left")
        where = pool.filter(pl.col("at") == pl.col("first"))["at"].to_numpy().astype(np.int64)
        self.text: list[Int64s] = [
            joined["text"].to_numpy().astype(np.int64)[number * height : (number + 1) * height]
            for number in range(len(norms))
        ]
        """For each side the number of each row's text."""
        side, row = where // max(height, 1), where % max(height, 1)
        lengths, self._signature = np.zeros(where.size, dtype=np.int64), np.zeros((where.size, BINS), dtype=np.uint32)
        for number, (sets_, signature) in enumerate(kept):
            own = side == number
            lengths[own], self._signature[own] = sets_.lengths[row[own]], signature[row[own]]
        self.sets: Pool = _Scattered([sets_ for sets_, _ in kept], side, row, lengths)
        """Of each different text."""

    @cached_property
    def _groups(self) -> list[Int64s]:
        labels = near_groups(self.sets, self._signature, floor=MIN_SIMILARITY)
        return [labels[text] for text in self.text]

    @property
    def groups(self) -> list[Int64s]:
        """By side: for each side the group of each row's text: what pairs of MIN_SIMILARITY connect."""
        with self._lock:
            return self._groups

    def similarity(self, left: tuple[int, Int64s], right: tuple[int, Int64s]) -> Floats:
        """Jaccard similarity of texts given as (number of the side, rows), pairwise."""
        return jaccard(self.sets, self.text[left[0]][left[1]], self.text[right[0]][right[1]])


def near_groups(texts: Pool, signature: UInt32s, *, floor: float) -> Int64s:
    """The smallest number of the group of each set: sets that a chain of pairs of at least `floor` connects.

    Compared are sets whose signatures share a band: first each with the smallest number of its bucket, then, of those
    still apart, all in small buckets and a bounded number in large ones (see prefdata.dedup.candidates). So texts that
    are all alike cost one comparison each. `signature` are their `signatures`.
    """
    group = np.arange(texts.lengths.size, dtype=np.int64)
    bucket, member = _buckets(texts.lengths, signature)
    for _ in range(_ROUNDS):
        head = member[np.concatenate([[True], bucket[1:] != bucket[:-1]])[: bucket.size]]
        first = np.repeat(head, np.unique(bucket, return_counts=True)[1])
        apart = first != member
        group = _joined(
            texts, signature, group, np.minimum(first, member)[apart], np.maximum(first, member)[apart], floor
        )
        bucket, member = _apart(bucket, group[member])
        if not bucket.size:
            return group
    sizes = np.unique(bucket, return_counts=True)[1]
    small = np.repeat(np.cumsum(np.sort(sizes) * np.minimum(np.sort(sizes), _REACH)) <= MAX_PAIRS, np.sort(sizes))
    order = np.lexsort((member, bucket, np.repeat(sizes, sizes)))[small]
    order = np.sort(order)
    bucket, member = bucket[order], member[order]
    some, inside = np.unique(member, return_inverse=True)
    sets_ = texts.of(some)
    base = Flat(sets_.values, sets_.offsets)  # type: ignore[arg-type]  # of 64 bits it takes the lower 32
    found = candidates(bucket, inside.reshape(-1).astype(np.int64), base)
    return _joined(texts, signature, group, some[found.left], some[found.right], floor)


def _buckets(lengths: Int64s, signature: UInt32s) -> tuple[Int64s, Int64s]:
    """(bucket, set) of the sets that share a band with another, sorted."""
    some = np.flatnonzero(lengths > 0)
    keys = band_keys(_interleaved(signature), bands=BINS // BAND, rows=BAND)[some]
    buckets, members, seen = [], [], 0
    for band in range(keys.shape[1]):
        order = np.argsort(keys[:, band], kind="stable")
        ordered = keys[order, band]
        bucket = np.cumsum(np.concatenate([[0], ordered[1:] != ordered[:-1]])[: ordered.size]).astype(np.int64)
        shared = np.bincount(bucket)[bucket] > 1
        buckets.append(bucket[shared] + seen)
        members.append(some[order[shared]])
        seen += int(bucket[-1]) + 1 if bucket.size else 0
    return np.concatenate(buckets), np.concatenate(members)


def _apart(bucket: Int64s, member: Int64s) -> tuple[Int64s, Int64s]:
    """Each (bucket, member) once, of buckets with several."""
    span = int(member.max(initial=0)) + 1
    codes = np.unique(bucket * span + member)
    bucket, member = codes // span, codes % span
    several = np.unique(bucket, return_inverse=True, return_counts=True)
    shared = several[2][several[1].reshape(-1)] > 1
    return bucket[shared], member[shared]


def _joined(texts: Pool, signature: UInt32s, group: Int64s, left: Int64s, right: Int64s, floor: float) -> Int64s:
    """`group` with the groups of those pairs joined that reach `floor`."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    height = group.size
    codes = np.unique(left * max(height, 1) + right)
    left, right = codes // max(height, 1), codes % max(height, 1)
    # of large sets at 0.8 or above, 1 in 1,000,000 agrees in fewer bins
    agree = (signature[left] == signature[right]).sum(axis=1)
    possible = (agree >= BINS * 5 // 12) | (np.minimum(texts.lengths[left], texts.lengths[right]) < SMALL)
    left, right = left[possible], right[possible]
    reached = jaccard(texts, left, right) >= floor
    ends = np.concatenate([left[reached], np.arange(height)]), np.concatenate([right[reached], group])
    graph = coo_matrix((np.ones(ends[0].size, dtype=np.uint8), ends), shape=(height, height))
    labels = connected_components(graph, directed=False)[1]
    smallest = np.unique(labels, return_index=True)[1]
    return np.asarray(smallest[labels], dtype=np.int64)


def signatures(texts: Sets) -> UInt32s:
    """The smallest value of each set in each of BINS equal ranges, shape (texts, BINS).

    An empty bin takes what the next full one holds (Shrivastava and Li, 2014); an empty set has zeros.
    """
    lengths = texts.lengths
    place = np.repeat(np.arange(lengths.size, dtype=np.uint32) * np.uint32(BINS), lengths)
    place += texts.values >> np.uint32(33 - BINS.bit_length())
    flat = np.full(lengths.size * BINS, _EMPTY, dtype=np.uint32)
    np.minimum.at(flat, place.astype(np.intp), texts.values)
    table = flat.reshape(-1, BINS)
    table[lengths == 0] = 0
    some = np.flatnonzero((table == _EMPTY).any(axis=1))
    if some.size:
        part = np.ascontiguousarray(table[some].T)
        for turn in range(2 * BINS - 2, -1, -1):
            here, following = part[turn % BINS], part[(turn + 1) % BINS]
            np.copyto(here, following, where=here == _EMPTY)
        table[some] = part.T
    return table


_EMPTY = np.uint32(0xFFFFFFFF)


def _interleaved(signature: UInt32s) -> UInt32s:
    """Bins in an order that puts neighbours, which may be copies of each other, into different bands."""
    bands = BINS // BAND
    return np.ascontiguousarray(signature[:, [band + bands * row for band in range(bands) for row in range(BAND)]])


def jaccard(texts: Pool, left: Int64s, right: Int64s) -> Floats:
    """Size of the intersection over size of the union; two empty sets are equal, 1.0."""
    work = np.cumsum(texts.lengths[left] + texts.lengths[right])
    common, union = np.zeros(left.size, dtype=np.int64), np.zeros(left.size, dtype=np.int64)
    if left.size and work[-1]:
        cuts = np.unique(np.append(np.searchsorted(work, np.arange(0, int(work[-1]), _BLOCK)), left.size))
        for low, high in itertools.pairwise(cuts):
            keys = np.concatenate([_keyed(texts, side[low:high], number) for number, side in enumerate((left, right))])
            keys.sort()
            # the pair, the value and the side of each, once; then the pair and the value
            keys = keys[np.append(keys[1:] != keys[:-1], True)] >> np.uint64(1)
            twice = np.append(keys[1:] == keys[:-1], False)
            pair = (keys >> np.uint64(32)).astype(np.int64)
            common[low:high] = np.bincount(pair[twice], minlength=int(high - low))
            union[low:high] = np.bincount(pair, minlength=int(high - low)) - common[low:high]
    return np.where(union > 0, common / np.maximum(union, 1), 1.0)


def _keyed(texts: Pool, rows: Int64s, side: int) -> UInt64s:
    some = texts.of(rows)
    number = np.repeat(np.arange(rows.size, dtype=np.uint64) << np.uint64(33), some.lengths)
    number |= (some.values.astype(np.uint64) << np.uint64(1)) | np.uint64(side)
    return number
