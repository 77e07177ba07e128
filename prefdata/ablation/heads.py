"""The reward head of an ablation: logistic regression over frozen features, Bradley-Terry over those of two answers.

A row's features are of its prompt and one answer; a pair's are those of the chosen side minus those of the rejected
one, so that what both share says nothing. Two kinds of features: words, which need no model, and the hidden states of
a language model (trainers.features_states).
Import this module where it is used, inside functions: it needs scipy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import sparse

from prefdata.ablation.statistics import Floats
from prefdata.auditing.bags import bag
from prefdata.auditing.linear import fit
from prefdata.schema import RecordType
from prefdata.sides import sides_of
from prefdata.text import joined_text, last_user_text

RARE = 2
"""Answers in which a word must stand to be a feature."""

PRIOR = {"words": 1.0, "states": 30.0}
"""Prior precision of the weights, by kind of features; fixed, so that no set is tuned better than another."""


class Head(NamedTuple):
    """A trained head."""

    weights: Floats
    intercept: float

    def margins(self, features: Any) -> Floats:
        """The reward of each row, or of each pair the difference of its sides' rewards."""
        return np.asarray(features @ self.weights + self.intercept, dtype=np.float64)


def train(features: Any, label: Floats, *, prior: float, pairs: bool) -> Head:
    """The head for rows of `features` (dense or CSR) and labels 1 and 0; of pairs all labels are 1."""
    return Head(*fit(features, label, prior=prior, intercept=not pairs))


def answers_of(record_type: RecordType) -> tuple[str, ...]:
    """The sides that get a reward: the completion, or chosen and rejected."""
    return sides_of(record_type)[1:]


def word_features(records: pl.DataFrame, record_type: RecordType) -> Any:
    """CSR matrix, one row a record: the words of the answer and of the last customer turn, and the answer's length.

    Counts as log(1 + n), scaled to length 1 for each text; a word's column is its own, none are hashed. Made of all
    records at once, without labels, so that every set has the same columns.
    """
    sides = answers_of(record_type)
    texts = pl.concat([records.select(joined_text(side).fill_null("").alias("text")).to_series() for side in sides])
    words = _scaled(bag(texts).often(RARE).counts)
    length = np.log1p(texts.str.len_chars().to_numpy().astype(np.float64))[:, None]
    spread = float(length.std()) or 1.0
    block = sparse.hstack([words, sparse.csr_matrix((length - length.mean()) / (4 * spread))]).tocsr()
    if record_type is RecordType.PREFERENCE:
        return block[: records.height] - block[records.height :]
    asked = records.select(last_user_text("prompt").fill_null("").alias("text")).to_series()
    return sparse.hstack([block, _scaled(bag(asked).often(RARE).counts)]).tocsr()


def state_features(states: Floats, record_type: RecordType) -> Floats:
    """Dense matrix, one row a record, from (records, answers, width) hidden states: each column standardised.

    Mean and spread are those of all records, without labels.
    """
    flat = states.reshape(-1, states.shape[-1]).astype(np.float64)
    spread = flat.std(axis=0)
    scaled = (states - flat.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    if record_type is RecordType.PREFERENCE:
        return np.asarray(scaled[:, 0] - scaled[:, 1], dtype=np.float64)
    return np.asarray(scaled[:, 0], dtype=np.float64)


def _scaled(counts: Any) -> Any:
    """log(1 + n), each row of length 1; an empty row stays empty."""
    logged = counts.copy()
    logged.data = np.log1p(logged.data)
    length = np.sqrt(np.asarray(logged.multiply(logged).sum(axis=1))).ravel()
    return sparse.diags_array(1 / np.where(length > 0, length, 1.0)).tocsr() @ logged
