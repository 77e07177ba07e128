"""The fitted combiner: probability that a customer was satisfied, learned from the rated turns of the same log.

Three linear models read signals and text features: a ridge regression the grades of all rated turns, a logistic one the
clear ratings, another the dissatisfied against all others. Their shares in one score and the curve from it to a
probability are chosen on turns that they had not seen (joining.py). Folds never tear a session apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from prefdata.errors import InputError
from prefdata.logs.calibration import honesty
from prefdata.logs.joining import Joining, join
from prefdata.logs.text_features import BLOCKS, RELATIONS, SIGNAL_FEATURES, Counted, Counter, dense, prepare

Floats = NDArray[np.float64]

MODELS = ("grade", "clear", "dissatisfied")
"""The models, in the order of their scores."""
MAX_ALPHA = 25.0
"""Ridge penalty of the model of grades from 9,000 rated turns on; less for fewer turns, in proportion. Half or twice
as much changes the area under the curve by less than .001 on the developed part of SGD (benchmarks/signals.md)."""
INVERSE_PENALTIES = {"clear": 0.2, "dissatisfied": 0.3}
"""C of the logistic models, picked on the developed part of SGD; between .1 and .4 (clear) and .1 and .3 the area under
the curve of the joined score moves by less than .001."""
DENSE_WEIGHT = 0.15
"""Weight of a standardised signal or relation beside n-gram vectors of length 1."""
SESSION_PRIOR = 2.0
"""Rated turns of a session at which half of its deviation from the log's mean is taken for its raters' taste."""
FIXED_SHARES = np.array([0.5, 0.5, 0.0])
"""Shares where too few sessions are rated to choose: few turns teach the third model little of its own."""
MIN_SESSIONS = 4
"""Sessions a fold with clear ratings of the rarer class, from which on shares are chosen."""
BATCH_ROWS = 20_000
"""Unrated rows that are counted at a time."""


class _Scales(NamedTuple):
    """What a model remembers of its training rows to weigh counts."""

    columns: dict[str, NDArray[np.int64]]
    idf: dict[str, Floats]
    mean: Floats
    spread: Floats


class _Ratings(NamedTuple):
    """What is known of the rated rows."""

    grade: Floats
    """0 to 1."""
    said: Floats
    """-1 to 1, 0 neutral."""
    session: NDArray[np.int64]

    def picked(self, index: NDArray[np.int64]) -> _Ratings:
        """Those of some rows."""
        return _Ratings(self.grade[index], self.said[index], self.session[index])

    def both_classes(self) -> bool:
        """Whether satisfied and dissatisfied turns are among them."""
        return bool((self.said > 0.0).any() and (self.said < 0.0).any())


class _Model:
    """The models of MODELS, fitted to one set of training rows."""

    def __init__(self, rows: Counted, known: _Ratings, *, min_rows: int) -> None:
        from scipy.sparse import csr_matrix, hstack
        from sklearn.linear_model import LogisticRegression, Ridge

        self.scales = _scales(rows, min_rows)
        clear = np.flatnonzero(known.said != 0.0)
        plain = self._weighed(rows)
        emphasis = _emphasis(plain[clear], known.said[clear] > 0.0, numbers=rows.dense.shape[1])
        weighed = plain.multiply(emphasis).tocsr()
        count, width = weighed.shape
        alpha = float(np.clip(count / 360.0, 2.0, MAX_ALPHA))
        # raters differ in taste, and sessions in raters: each session has an intercept, forgotten after the fit
        taste = np.full(count, np.sqrt(alpha / SESSION_PRIOR))
        sessions = csr_matrix((taste, (np.arange(count), known.session)), shape=(count, known.session.max() + 1))
        graded = Ridge(alpha=alpha, solver="sparse_cg", tol=1e-4)
        graded.fit(hstack([weighed, sessions]).tocsr(), _without_outliers(known.grade))

        def logistic(name: str) -> Any:
            return LogisticRegression(C=INVERSE_PENALTIES[name], max_iter=500, tol=1e-4)

        decided = logistic("clear").fit(weighed[clear], known.said[clear] > 0.0)
        # where nobody is neutral this one is the other but for its penalty
        warned = logistic("dissatisfied").fit(weighed, known.said >= 0.0)
        weights = np.column_stack([graded.coef_[:width], decided.coef_[0], warned.coef_[0]])
        self.weights = weights * emphasis[:, None]

    def _weighed(self, rows: Counted) -> Any:
        from scipy.sparse import csr_matrix, hstack

        blocks = [_tfidf(rows.counts[name][:, self.scales.columns[name]], self.scales.idf[name]) for name in BLOCKS]
        numbers = (rows.dense - self.scales.mean) / self.scales.spread * DENSE_WEIGHT
        return hstack([*blocks, csr_matrix(numbers)]).tocsr()

    def scores(self, rows: Counted) -> Floats:
        """(rows, models), each higher for the satisfied, on scales of their own."""
        return np.asarray(self._weighed(rows) @ self.weights)


def _emphasis(weighed: Any, satisfied: NDArray[np.bool_], *, numbers: int) -> Floats:
    """A factor for every n-gram: 1 + |log-ratio of its rates on both sides| (as in NB-SVM, Wang and Manning, 2012).

    Scaled so that rows keep their mean square length; 1 for the `numbers` dense features at the end.
    """
    ngrams = weighed[:, : weighed.shape[1] - numbers]
    good, bad = (np.asarray(ngrams[side].sum(axis=0)).ravel() + 1.0 for side in (satisfied, ~satisfied))
    factor = 1.0 + np.abs(np.log(good / good.sum()) - np.log(bad / bad.sum()))
    square = np.asarray(ngrams.multiply(ngrams).sum(axis=0)).ravel()
    length = np.sqrt((factor**2 * square).sum() / max(square.sum(), 1e-9))
    return np.concatenate([factor / max(length, 1e-9), np.ones(numbers)])


def _without_outliers(grade: Floats) -> Floats:
    centre, spread = float(grade.mean()), float(grade.std())
    return np.asarray(np.clip(grade, centre - 2.5 * spread, centre + 2.5 * spread))


def _scales(rows: Counted, min_rows: int) -> _Scales:
    columns, idf = {}, {}
    for name, counts in rows.counts.items():
        frequency = np.bincount(counts.indices, minlength=counts.shape[1])
        columns[name] = np.flatnonzero(frequency >= min_rows)
        idf[name] = np.log((1.0 + counts.shape[0]) / (1.0 + frequency[columns[name]])) + 1.0
        if BLOCKS[name].analyzer == "act":
            idf[name] = np.ones_like(idf[name])
    spread = rows.dense.std(axis=0)
    return _Scales(columns, idf, rows.dense.mean(axis=0), np.where(spread > 1e-9, spread, 1.0))


def _tfidf(counts: Any, idf: Floats) -> Any:
    """Sublinear term frequency times inverse document frequency, each row of length 1."""
    weighed = counts.copy()
    weighed.data = (1.0 + np.log(weighed.data)) * idf[weighed.indices]
    norm = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    weighed.data = weighed.data / np.repeat(np.where(norm > 0.0, norm, 1.0), np.diff(weighed.indptr))
    return weighed


def _picked(rows: Counted, index: NDArray[np.int64]) -> Counted:
    return Counted({name: counts[index] for name, counts in rows.counts.items()}, rows.dense[index])


def fold_of(sessions: pl.Series, *, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of every row: sessions dealt out by a seeded shuffle of their sorted names."""
    names = sessions.unique().sort()
    order = np.random.default_rng(seed).permutation(len(names)) % folds
    dealt = pl.DataFrame({"session": names, "fold": order.astype(np.int64)})
    return sessions.to_frame("session").join(dealt, on="session", how="left", maintain_order="left")["fold"].to_numpy()


def fitted(rows: pl.DataFrame, *, folds: int, seed: int) -> tuple[pl.Series, dict[str, Any]]:
    """Probability that the customer was satisfied, for every row, and what is known about the model.

    `rows` are those of `combine`, sorted, with `_rating` (-1 to 1, 0 neutral, null unrated). A rated row's probability
    comes from models that saw no turn of its session; an unrated row's from all rated rows.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # one thread: sums are taken in one order, whatever the machine
    with threadpool_limits(limits=1):
        return _fitted(rows, folds=folds, seed=seed)


def _fitted(rows: pl.DataFrame, *, folds: int, seed: int) -> tuple[pl.Series, dict[str, Any]]:
    rows = rows.with_row_index("_row")
    rated = rows.filter(pl.col("_rating").is_not_null())
    grade = rated.select(pl.coalesce(pl.col("rating").cast(pl.Float64), 0.5 + pl.col("_rating") / 2.0)).to_series()
    session = rated["session"].rank("dense").to_numpy().astype(np.int64) - 1
    known = _Ratings(grade.to_numpy(), rated["_rating"].to_numpy().astype(np.float64), session)
    min_rows = 3 if rated.height >= 1000 else 2
    prepared = prepare(rated)
    counter = Counter(prepared, min_rows=min_rows)
    counted = Counted(counter.first, dense(prepared))
    fold = fold_of(rated["session"], folds=folds, seed=seed)

    def asked(away: tuple[int, ...]) -> Floats:
        """Scores for the rows of the folds `away` from models of all others; nan for the others."""
        inside, outside = np.flatnonzero(~np.isin(fold, away)), np.flatnonzero(np.isin(fold, away))
        scores = np.full((len(fold), len(MODELS)), np.nan)
        if len(outside):
            if not known.picked(inside).both_classes():
                raise InputError("one class of ratings stands in one fold of sessions only; use method: rules")
            model = _Model(_picked(counted, inside), known.picked(inside), min_rows=min_rows)
            scores[outside] = model.scores(_picked(counted, outside))
        return scores

    scores = np.zeros((rated.height, len(MODELS)))
    for held in range(folds):
        scores[fold == held] = asked((held,))[fold == held]
    clear, truth = known.said != 0.0, known.said > 0.0
    nested = _enough(known, fold, folds)
    if nested:
        joinings = _nested(asked, fold, folds, known)
        final_joining = join(scores[clear], truth[clear])
    else:
        final_joining = join(scores[clear], truth[clear], shares=FIXED_SHARES)
        joinings = [
            join(scores[some], truth[some], shares=FIXED_SHARES) if some.any() else final_joining
            for some in (clear & (fold != held) for held in range(folds))
        ]
    found = np.zeros(rated.height)
    for held in range(folds):
        found[fold == held] = joinings[held].probability(scores[fold == held])
    final = _Model(counted, known, min_rows=min_rows)
    result = np.full(rows.height, np.nan)
    result[rated["_row"].to_numpy()] = found
    rest = rows.filter(pl.col("_rating").is_null())
    for start in range(0, rest.height, BATCH_ROWS):
        batch = rest.slice(start, BATCH_ROWS)
        scored = final.scores(counter.counted(prepare(batch)))
        result[batch["_row"].to_numpy()] = final_joining.probability(scored)
    card = {
        "folds": folds,
        "seed": seed,
        "rated_sessions": int(session.max()) + 1,
        **honesty(found[clear], truth[clear]),
        "shares": {
            "chosen": nested,
            "unrated": _named(final_joining),
            "folds": [_named(joining) for joining in joinings],
        },
        "coefficients": _coefficients(final, counter),
    }
    return pl.Series("_fitted", result), card


def _enough(known: _Ratings, fold: NDArray[np.int64], folds: int) -> bool:
    """Whether two folds can be spared: MIN_SESSIONS a fold with the rarer class, and both classes in what is left."""
    rarer = min(len(np.unique(known.session[side])) for side in (known.said > 0.0, known.said < 0.0))
    return rarer >= MIN_SESSIONS * folds and all(
        known.picked(np.flatnonzero(~np.isin(fold, pair))).both_classes()
        for pair in itertools.combinations(range(folds), 2)
    )


def _nested(
    asked: Callable[[tuple[int, ...]], Floats], fold: NDArray[np.int64], folds: int, known: _Ratings
) -> list[Joining]:
    """The joining of every fold, chosen without it: on the other folds, each foretold by models of the remaining ones.

    Models that leave out two folds serve the choice for either.
    """
    inner = np.zeros((folds, len(fold), len(MODELS)))
    for first, second in itertools.combinations(range(folds), 2):
        scores = asked((first, second))
        inner[first][fold == second] = scores[fold == second]
        inner[second][fold == first] = scores[fold == first]
    joinings = []
    for held in range(folds):
        some = (known.said != 0.0) & (fold != held)
        joinings.append(join(inner[held][some], known.said[some] > 0.0))
    return joinings


def _named(joining: Joining) -> dict[str, float]:
    return {name: round(float(share), 4) for name, share in zip(MODELS, joining.shares, strict=True)}


def _coefficients(model: _Model, counter: Counter, *, top: int = 40) -> list[dict[str, Any]]:
    """The heaviest signals, relations and acts of the logistic model; n-grams of row text are never named."""
    named: list[tuple[str, float]] = []
    weights = model.weights[:, MODELS.index("clear")]
    place = 0
    for name in BLOCKS:
        columns = model.scales.columns[name]
        if BLOCKS[name].analyzer == "act":
            terms = counter.vectorizers[name].get_feature_names_out()[columns]
            named += zip(terms, weights[place : place + len(columns)], strict=True)
        place += len(columns)
    named += zip((*SIGNAL_FEATURES, *RELATIONS), weights[place:] * DENSE_WEIGHT, strict=True)
    heaviest = sorted(named, key=lambda pair: (-abs(pair[1]), pair[0]))[:top]
    return [{"feature": str(name), "weight": round(float(weight), 5)} for name, weight in heaviest if weight]
