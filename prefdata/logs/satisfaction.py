"""The fitted combiner: probability that a customer was satisfied, learned from the rated turns of the same log.

Over signals and text features, a logistic regression learns the clear ratings and a ridge regression the grades of all
rated turns, the neutral ones as what they are: grades in the middle. Both, standardised and weighed, become a
probability by a logistic curve fitted to held-out scores. Folds never tear a session apart.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from prefdata.errors import InputError
from prefdata.logs.calibration import honesty, roc_auc
from prefdata.logs.text_features import BLOCKS, RELATIONS, SIGNAL_FEATURES, Counted, Counter, dense, prepare

Floats = NDArray[np.float64]

MAX_ALPHA = 45.0
"""Ridge penalty of the model of grades from 9,000 rated turns on; less for fewer turns, in proportion."""
INVERSE_PENALTY = 0.15
"""C of the logistic model of clear ratings."""
DENSE_WEIGHT = 0.15
"""Weight of a standardised signal or relation beside n-gram vectors of length 1."""
LOGISTIC_SHARE = 0.3
"""Share of the logistic model in the joined score. Between .3 and .6 the area under the curve is the same to .001 on
the developed part of SGD (benchmarks/signals.md); the model of grades ranks the dissatisfied end better."""
SESSION_PRIOR = 2.0
"""Rated turns of a session at which half of its deviation from the log's mean is taken for its raters' taste."""
BATCH_ROWS = 20_000
"""Unrated rows that are counted at a time."""


class _Scales(NamedTuple):
    """What a model remembers of its training rows to weigh counts."""

    columns: dict[str, NDArray[np.int64]]
    idf: dict[str, Floats]
    mean: Floats
    spread: Floats


class _Model:
    """A linear model of the grade and a logistic one of the clear ratings, fitted to one set of training rows."""

    def __init__(self, rows: Counted, grade: Floats, said: Floats, *, min_rows: int) -> None:
        from sklearn.linear_model import LogisticRegression, Ridge

        self.scales = _scales(rows, min_rows)
        weighed = self._weighed(rows)
        alpha = float(np.clip(len(grade) / 200.0, 2.0, MAX_ALPHA))
        self.graded = Ridge(alpha=alpha, solver="sparse_cg", tol=1e-4).fit(weighed, grade)
        clear = np.flatnonzero(said != 0.0)
        self.decided = LogisticRegression(C=INVERSE_PENALTY, max_iter=500, tol=1e-4)
        self.decided.fit(weighed[clear], said[clear] > 0.0)

    def _weighed(self, rows: Counted) -> Any:
        from scipy.sparse import csr_matrix, hstack

        blocks = [_tfidf(rows.counts[name][:, self.scales.columns[name]], self.scales.idf[name]) for name in BLOCKS]
        numbers = (rows.dense - self.scales.mean) / self.scales.spread * DENSE_WEIGHT
        return hstack([*blocks, csr_matrix(numbers)]).tocsr()

    def scores(self, rows: Counted) -> Floats:
        """(rows, 2): foretold grade, and log-odds of a satisfied customer."""
        weighed = self._weighed(rows)
        return np.column_stack([self.graded.predict(weighed), self.decided.decision_function(weighed)])


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


def _adjusted(grade: Floats, session: NDArray[np.int64]) -> Floats:
    """Grades without outliers, and less what is their session's raters' taste: its mean, shrunk to the log's."""
    centre, spread = float(grade.mean()), float(grade.std())
    clipped = np.clip(grade, centre - 2.5 * spread, centre + 2.5 * spread)
    sums = np.bincount(session, weights=grade - centre)
    counts = np.bincount(session)
    return np.asarray(clipped - (sums / (counts + SESSION_PRIOR))[session])


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
    grades = grade.to_numpy()
    said = rated["_rating"].to_numpy()
    session = rated["session"].rank("dense").to_numpy().astype(np.int64) - 1
    min_rows = 3 if rated.height >= 1000 else 2
    prepared = prepare(rated)
    counter = Counter(prepared, min_rows=min_rows)
    counted = Counted(counter.first, dense(prepared))
    fold = fold_of(rated["session"], folds=folds, seed=seed)
    scores = np.zeros((rated.height, 2))
    for held in range(folds):
        inside, outside = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        if len(outside):
            if len(np.unique(np.sign(said[inside][said[inside] != 0.0]))) < 2:
                raise InputError("one class of ratings stands in one fold of sessions only; use method: rules")
            target = _adjusted(grades[inside], session[inside])
            model = _Model(_picked(counted, inside), target, said[inside], min_rows=min_rows)
            scores[outside] = model.scores(_picked(counted, outside))
    clear = said != 0.0
    truth = said > 0.0
    centre, spread = scores.mean(axis=0), np.maximum(scores.std(axis=0), 1e-9)
    score = _joined(scores, centre, spread)
    # what the card tells of calibration comes from curves that saw none of the fold either
    checked = np.zeros(rated.height)
    for held in range(folds):
        known = clear & (fold != held)
        checked[fold == held] = _probability(_calibration(score[known], truth[known]), score[fold == held])
    calibration = _calibration(score[clear], truth[clear])
    final = _Model(counted, _adjusted(grades, session), said, min_rows=min_rows)
    result = np.full(rows.height, np.nan)
    result[rated["_row"].to_numpy()] = _probability(calibration, score)
    rest = rows.filter(pl.col("_rating").is_null())
    for start in range(0, rest.height, BATCH_ROWS):
        batch = rest.slice(start, BATCH_ROWS)
        found = final.scores(counter.counted(prepare(batch)))
        result[batch["_row"].to_numpy()] = _probability(calibration, _joined(found, centre, spread))
    card = {
        "folds": folds,
        "seed": seed,
        "rated_sessions": int(session.max()) + 1,
        **honesty(checked[clear], truth[clear]),
        "auc": round(roc_auc(score[clear], truth[clear]), 4),
        "coefficients": _coefficients(final, counter),
    }
    return pl.Series("_fitted", result), card


def _joined(scores: Floats, centre: Floats, spread: Floats) -> Floats:
    """The two standardised scores, weighed: grade, log-odds."""
    return np.asarray((scores - centre) / spread @ np.array([1.0 - LOGISTIC_SHARE, LOGISTIC_SHARE]))


class _Logistic(NamedTuple):
    """A logistic regression over the one score that both models make (Platt's scaling)."""

    weight: float
    bias: float


def _calibration(score: Floats, truth: NDArray[np.bool_]) -> _Logistic:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, max_iter=1000, tol=1e-8).fit(score[:, None], truth)
    return _Logistic(float(model.coef_[0, 0]), float(model.intercept_[0]))


def _probability(model: _Logistic, score: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-(score * model.weight + model.bias))))


def _coefficients(model: _Model, counter: Counter, *, top: int = 40) -> list[dict[str, Any]]:
    """The heaviest signals, relations and acts of the logistic model; n-grams of row text are never named."""
    named: list[tuple[str, float]] = []
    place = 0
    for name in BLOCKS:
        columns = model.scales.columns[name]
        if BLOCKS[name].analyzer == "act":
            terms = counter.vectorizers[name].get_feature_names_out()[columns]
            named += zip(terms, model.decided.coef_[0][place : place + len(columns)], strict=True)
        place += len(columns)
    named += zip((*SIGNAL_FEATURES, *RELATIONS), model.decided.coef_[0][place:] * DENSE_WEIGHT, strict=True)
    heaviest = sorted(named, key=lambda pair: (-abs(pair[1]), pair[0]))[:top]
    return [{"feature": str(name), "weight": round(float(weight), 5)} for name, weight in heaviest if weight]
