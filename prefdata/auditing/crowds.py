"""Several annotators' verdicts on the same items: how far they agree, and how good each of them is.

Verdicts are integers from 0, -1 where there is none. Import this module where it is used, inside functions: numpy.
"""

from __future__ import annotations

import warnings

import numpy as np

from prefdata.auditing.statistics import Estimate, Floats, Ints

RESAMPLES = 1_000


def alpha(counts: Ints, groups: Ints | None = None, *, alike: tuple[int, ...] = (), seed: int = 0) -> Estimate:
    """Krippendorff's alpha of nominal verdicts, with a percentile interval by bootstrap over groups of items.

    `counts`: items by verdicts, how many annotators gave it; items with one annotator say nothing. `alike` are verdicts
    whose names are drawn by lot (first and second answer): chance gives them equal shares. 1 is full agreement, 0 what
    chance gives (Krippendorff, 2011, Computing Krippendorff's Alpha-Reliability).
    """
    told = counts.sum(axis=1) > 1
    counts = counts[told].astype(np.float64)
    groups = np.arange(len(counts)) if groups is None else np.unique(groups[told], return_inverse=True)[1].reshape(-1)
    if not len(counts):
        return Estimate(0.0, -1.0, 1.0)
    size = counts.sum(axis=1)
    differ = (size**2 - (counts**2).sum(axis=1)) / (size - 1)
    parts = np.zeros((int(groups.max()) + 1, counts.shape[1] + 1))
    np.add.at(parts, groups, np.column_stack([differ, counts]))
    value = float(_alpha(parts.sum(axis=0, keepdims=True), alike)[0])
    draws = np.random.default_rng(seed)
    often = draws.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), size=RESAMPLES)
    low, high = np.quantile(_alpha(often.astype(np.float64) @ parts, alike), [0.025, 0.975])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _alpha(sums: Floats, alike: tuple[int, ...]) -> Floats:
    """Of rows of: observed disagreement, then the number of each verdict."""
    observed, counts = sums[:, 0], sums[:, 1:].copy()
    if alike:
        counts[:, list(alike)] = counts[:, list(alike)].mean(axis=1, keepdims=True)
    total = counts.sum(axis=1)
    expected = (total**2 - (counts**2).sum(axis=1)) / np.maximum(total - 1, 1)
    return np.asarray(np.where(expected > 0, 1 - observed / np.where(expected > 0, expected, 1), 1.0))


def crowdlab(verdicts: Ints, predicted: Floats) -> Floats:
    """The quality of each annotator in [0, 1] by CROWDLAB (Goh, Tkachenko and Mueller, 2022), as cleanlab has it.

    Annotators and a model weigh as much as they agree with the others. `verdicts`: items by annotators, each item and
    each annotator with one verdict at least, some items with several; `predicted`: held-out probabilities, items by
    verdicts. No two verdicts of an item should be equally likely: cleanlab breaks such ties by lot.
    """
    from cleanlab.multiannotator import get_label_quality_multiannotator

    given = np.where(verdicts < 0, np.nan, verdicts.astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no two annotators agree: low figures say so
        found = get_label_quality_multiannotator(given, predicted, return_detailed_quality=False, verbose=False)
    return np.asarray(found["annotator_stats"]["annotator_quality"].sort_index(), dtype=np.float64)


def pairwise(verdicts: Ints) -> tuple[Floats, Ints]:
    """Of each annotator: how often another one of the same item said the same, and of how many comparisons."""
    given = verdicts >= 0
    same, compared = np.zeros(verdicts.shape[1]), np.zeros(verdicts.shape[1], dtype=np.int64)
    for one in range(verdicts.shape[1]):
        own = given[:, one]
        others = given[own].copy()
        others[:, one] = False
        compared[one] = int(others.sum())
        same[one] = float(((verdicts[own] == verdicts[own, one][:, None]) & others).sum())
    return np.where(compared > 0, same / np.maximum(compared, 1), np.nan), compared
