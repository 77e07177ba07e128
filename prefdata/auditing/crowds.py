"""Several annotators' verdicts on the same items: how far they agree, and how good each of them is.

Verdicts are integers from 0, -1 where there is none. Import this module where it is used, inside functions: numpy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from prefdata.auditing.statistics import Estimate, Floats, Ints

RESAMPLES = 1_000
_LEAST = 1e-6


class Crowd(NamedTuple):
    """What CROWDLAB says."""

    consensus: Ints
    """The verdict of each item."""
    quality: Floats
    """Of each item's consensus: the probability that it is right, [0, 1]."""
    annotators: Floats
    """Of each annotator, [0, 1]; NaN for one who shares no item with another."""


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


def crowdlab(verdicts: Ints, predicted: Floats) -> Crowd:
    """CROWDLAB (Goh, Tkachenko and Mueller, 2022): annotators and a model weigh as much as they agree with the others.

    `verdicts`: items by annotators; `predicted`: held-out probabilities, items by classes. The same figures as
    `cleanlab.multiannotator.get_label_quality_multiannotator` 2.9 gives.
    """
    classes = predicted.shape[1]
    given = verdicts >= 0
    number = given.sum(axis=1)
    votes = np.stack([(verdicts == one).sum(axis=1) for one in range(classes)], axis=1)
    majority = _majority(votes, predicted)
    model, weights = _weights(verdicts, number, majority, predicted)
    likely = _posterior(verdicts, number, votes, majority, predicted, model, weights)
    consensus = _best(likely, majority)
    model, weights = _weights(verdicts, number, consensus, predicted)
    likely = _posterior(verdicts, number, votes, consensus, predicted, model, weights)
    several = number > 1
    quality = np.full(verdicts.shape[1], np.nan)
    share = model / (model + np.sum(weights) * np.mean(number) / len(weights))
    for one in range(verdicts.shape[1]):
        own, shared = given[:, one], given[:, one] & several
        if shared.any():
            by_model = likely[own, verdicts[own, one]].mean()
            quality[one] = share * by_model + (1 - share) * (verdicts[shared, one] == consensus[shared]).mean()
    return Crowd(consensus, likely[np.arange(len(likely)), consensus], quality)


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


def _majority(votes: Ints, predicted: Floats) -> Ints:
    """The verdict of most; of several the one that the model finds likeliest."""
    most = votes == votes.max(axis=1, keepdims=True)
    return np.asarray(np.where(most, predicted, -1.0).argmax(axis=1), dtype=np.int64)


def _best(likely: Floats, majority: Ints) -> Ints:
    """The likeliest verdict; the majority's where it is as likely."""
    top = likely.max(axis=1)
    kept = likely[np.arange(len(likely)), majority] >= top
    return np.asarray(np.where(kept, majority, likely.argmax(axis=1)), dtype=np.int64)


def _weights(verdicts: Ints, number: Ints, consensus: Ints, predicted: Floats) -> tuple[float, Floats]:
    """Of the model and of each annotator: 1 - their error over that of always naming the most frequent verdict."""
    several = number > 1
    some = consensus[several]
    common = np.bincount(some, minlength=predicted.shape[1]).argmax()
    lazy = max(float((some != common).mean()), _LEAST)
    agreement, _ = pairwise(verdicts)
    agreement = np.where(np.isnan(agreement), np.nanmean(agreement), agreement)
    weights = np.maximum(1 - (1 - agreement) / lazy, _LEAST)
    error = float((predicted[several].argmax(axis=1) != some).mean())
    return max(1 - error / lazy, _LEAST) * float(np.sqrt(number.mean())), weights


def _posterior(
    verdicts: Ints, number: Ints, votes: Ints, consensus: Ints, predicted: Floats, model: float, weights: Floats
) -> Floats:
    """Weighted mean of what the model and each annotator say of every verdict."""
    agreed = votes[np.arange(len(votes)), consensus] / number
    right = float(agreed[number > 1].mean())
    wrong = (1 - right) / (predicted.shape[1] - 1)
    given = verdicts >= 0
    weight = np.where(given, weights, 0.0)
    said = np.stack([(weight * np.where(verdicts == one, right, wrong)).sum(axis=1)
                     for one in range(predicted.shape[1])], axis=1)  # fmt: skip
    return np.asarray((model * predicted + said) / (model + weight.sum(axis=1))[:, None], dtype=np.float64)
