"""The order of rows: for KTO labels mixed in every micro-batch, neighbours of like length, no twin inside.

TRL reads KTO rows in the order given and pairs each prompt with its neighbour's completion to estimate the KL term.
So the order decides whether a micro-batch holds both labels and whether that estimate means anything. For the other
methods it decides how much of a batch is padding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

WINDOW = 8
"""Micro-batches within which rows are sorted by length: enough to save padding, few enough to stay mixed."""

LENGTH_WINDOW = 50
"""Batches within which rows are sorted where length alone decides; as many as transformers takes."""


class Order(NamedTuple):
    """Which rows come when."""

    rows: list[int]
    """Positions in the input, a multiple of the batch size."""
    left_out: list[int]
    """Positions that would have made a short last batch, whose KL pairs would be worth less or nothing."""
    single_label_batches: int
    """Micro-batches with one label only; zero unless one class is rarer than one row a batch."""
    fixed: bool = True
    """Whether rows are read in just this order, and not shuffled by TRL."""

    def whole(self, batch: int) -> Order:
        """The same without the rows that would make a short last batch of `batch` rows, where the order is fixed.

        With several processes a batch is that of all of them: what it lacks would be filled with rows of its
        beginning, and one process would read those twice.
        """
        over = len(self.rows) % batch if self.fixed else 0
        if not over:
            return self
        return self._replace(rows=self.rows[:-over], left_out=sorted([*self.left_out, *self.rows[-over:]]))


def as_given(count: int) -> Order:
    """All rows in their own order, for methods that leave shuffling to TRL."""
    return Order(list(range(count)), [], 0, fixed=False)


def by_length(lengths: Sequence[int], ids: Sequence[str], *, batch: int, seed: int) -> Order:
    """Rows of like length in one batch, and batches of all lengths mixed; the same order on every machine and epoch.

    Decided beforehand, since the sampler of transformers draws anew when a killed run goes on, and would not end in
    the same weights. The batch with the longest row comes first: where memory does not suffice, that shows at once.
    """
    ranked = sorted(range(len(ids)), key=lambda row: _rank(ids[row], seed))
    used = len(ranked) // batch * batch
    rows, left_out = ranked[:used], sorted(ranked[used:])
    made: list[list[int]] = []
    for start in range(0, used, batch * LENGTH_WINDOW):
        window = sorted(rows[start : start + batch * LENGTH_WINDOW], key=lambda row: (lengths[row], ids[row]))
        batches = [window[at : at + batch] for at in range(0, len(window), batch)]
        made += sorted(batches, key=lambda rows: _rank(ids[rows[0]], seed))
    longest = max(range(len(made)), key=lambda at: max(lengths[row] for row in made[at]), default=0)
    made[: longest + 1] = [*made[longest : longest + 1], *made[:longest]]
    return Order([row for rows in made for row in rows], left_out, 0)


def interleave(
    labels: Sequence[bool],
    lengths: Sequence[int],
    completions: Sequence[str],
    ids: Sequence[str],
    *,
    batch: int,
    seed: int,
    pictures: Sequence[Collection[str]] | None = None,
) -> Order:
    """The same order on every machine: by a hash of seed and id, not by a generator.

    Each micro-batch holds both labels in the ratio of the classes, as near as whole rows allow. Equal completions, and
    rows about one picture (`pictures`: each row's), are moved apart where another row of the same label can take the
    place: what is said of a picture in one row is no mismatched completion of the other.
    """
    ranked = sorted(range(len(ids)), key=lambda row: _rank(ids[row], seed))
    good = [row for row in ranked if labels[row]]
    bad = [row for row in ranked if not labels[row]]
    batches = len(ranked) // batch
    rows_used = batches * batch
    bad_used = round(rows_used * len(bad) / len(ranked)) if ranked else 0
    bad_used = min(len(bad), max(bad_used, rows_used - len(good)))
    left_out = sorted(good[rows_used - bad_used :] + bad[bad_used:])
    quota = [(at + 1) * bad_used // batches - at * bad_used // batches for at in range(batches)]
    made: list[list[int]] = []
    for start in range(0, batches, WINDOW):
        counts = quota[start : start + WINDOW]
        bad_here = sorted(_take(bad, sum(counts)), key=lambda row: (lengths[row], ids[row]))
        good_here = sorted(_take(good, batch * len(counts) - sum(counts)), key=lambda row: (lengths[row], ids[row]))
        window = [_alternate(_take(good_here, batch - count), _take(bad_here, count)) for count in counts]
        made += sorted(window, key=lambda rows: _rank(ids[rows[0]], seed))
    marks = [frozenset({("said", completion)}) for completion in completions]
    if pictures is not None:
        marks = [mark | {("shown", one) for one in row} for mark, row in zip(marks, pictures, strict=True)]
    _part_twins(made, labels, marks)
    single = sum(len({bool(labels[row]) for row in rows}) == 1 for rows in made)
    return Order([row for rows in made for row in rows], left_out, single)


def _rank(one: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\x1f{one}".encode(), digest_size=8).digest()


def _take(rows: list[int], count: int) -> list[int]:
    taken, rows[:] = rows[:count], rows[count:]
    return taken


def _alternate(good: list[int], bad: list[int]) -> list[int]:
    """Both labels spread evenly, so that most rotated pairs cross labels."""
    places = sorted(
        [((at + 0.5) / len(good), 0, row) for at, row in enumerate(good)]
        + [((at + 0.5) / len(bad), 1, row) for at, row in enumerate(bad)]
    )
    return [row for _, _, row in places]


def _part_twins(made: list[list[int]], labels: Sequence[bool], marks: Sequence[frozenset[tuple[str, str]]]) -> None:
    """Swaps a row of which its batch already holds a mark with the nearest row elsewhere that suits both batches."""

    def of(rows: Sequence[int], but: int) -> set[tuple[str, str]]:
        return set().union(*(marks[row] for row in rows if row != but))

    for at, rows in enumerate(made):
        for place, row in enumerate(rows):
            if marks[row].isdisjoint(of(rows[:place], row)):
                continue
            here = of(rows, row)
            swap = next(
                (
                    (there, spot)
                    for distance in range(1, len(made))
                    for there in {(at + distance) % len(made)}
                    for spot, other in enumerate(made[there])
                    if labels[other] == labels[row]
                    and marks[other].isdisjoint(here | marks[row])
                    and marks[row].isdisjoint(of(made[there], other))
                ),
                None,
            )
            if swap is not None:
                there, spot = swap
                rows[place], made[there][spot] = made[there][spot], row
