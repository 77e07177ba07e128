"""The fitted combiner: what its shares and probabilities depend on, and what they do not."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import polars as pl
import pytest

from prefdata.logs.satisfaction import MODELS, fitted, fold_of
from prefdata.logs.text_features import SIGNAL_FEATURES

GOOD, BAD = ["lovely", "splendid", "cheers", "ideal"], ["pointless", "useless", "nope", "rubbish"]
THINGS = ["box", "bus", "book", "bed", "boat", "bag"]


def log(sessions: int, *, turns: int = 4, seed: int = 0) -> pl.DataFrame:
    """Rated turns whose words tell the rating in three of four; two unrated turns at the end."""
    dice = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for index in range(sessions * turns):
        grade = dice.choice([0.0, 0.25, 0.5, 0.75, 1.0])
        heard = grade if dice.random() < 0.75 else dice.choice([0.0, 1.0])
        words = GOOD if heard > 0.5 else BAD if heard < 0.5 else THINGS
        rows.append(
            {
                "session": f"r{index // turns:03d}",
                "turn": index % turns,
                "customer_after": f"{dice.choice(words)} {dice.choice(THINGS)}",
                "reply": f"the {dice.choice(THINGS)} is here",
                "rating": grade,
                "_rating": 1.0 if grade > 0.7 else -1.0 if grade < 0.3 else 0.0,
            }
        )
    rows += [
        {"session": "u", "turn": turn, "customer_after": text, "reply": "", "rating": None, "_rating": None}
        for turn, text in enumerate(["lovely bus", "pointless bus"])
    ]
    frame = pl.DataFrame(rows, schema_overrides={"rating": pl.Float64, "_rating": pl.Float64})
    empty = [pl.lit(None, dtype=pl.Float32).alias(name) for name in SIGNAL_FEATURES]
    return frame.with_columns(pl.lit("where is it?").alias("customer_before"), *empty)


def turned(rows: pl.DataFrame, away: pl.Series) -> pl.DataFrame:
    """`rows` with the ratings of some turned round."""
    return rows.with_columns(
        pl.when(away).then(1.0 - pl.col("rating")).otherwise("rating").alias("rating"),
        pl.when(away).then(-pl.col("_rating")).otherwise("_rating").alias("_rating"),
    )


@pytest.mark.parametrize("held", [0, 3])
def test_what_a_fold_is_told_depends_on_no_rating_in_it(held: int) -> None:
    rows = log(60)
    rated = rows["_rating"].is_not_null()
    fold = np.full(rows.height, -1)
    fold[rated.to_numpy()] = fold_of(rows.filter(rated)["session"], folds=5, seed=1)
    away = pl.Series(fold == held)
    before, told = fitted(rows, folds=5, seed=1)
    after, told_after = fitted(turned(rows, away), folds=5, seed=1)
    assert told["shares"]["chosen"] is True
    assert before.filter(away).equals(after.filter(away))
    assert told["shares"]["folds"][held] == told_after["shares"]["folds"][held]
    assert not before.filter(~away).equals(after.filter(~away))


def test_the_same_rows_give_the_same() -> None:
    first, second = fitted(log(40), folds=5, seed=0), fitted(log(40), folds=5, seed=0)
    assert first[0].equals(second[0])
    assert first[1] == second[1]


def test_shares_stand_in_the_card_and_sum_to_one() -> None:
    probability, card = fitted(log(100), folds=4, seed=0)
    shares = card["shares"]
    assert shares["chosen"] is True
    assert len(shares["folds"]) == 4
    for one in (shares["unrated"], *shares["folds"]):
        assert tuple(one) == MODELS
        assert sum(one.values()) == pytest.approx(1.0, abs=1e-3)
    good, bad = probability.tail(2)
    assert good > 0.8
    assert bad < 0.5


def test_another_log_gets_other_shares() -> None:
    rows = log(60)
    # grades that say nothing but their side's mean: the model of grades loses what it knew more
    flat = rows.with_columns(
        pl.when(pl.col("_rating") == 0.0).then(pl.col("turn") / 3.0).otherwise("rating").alias("rating")
    )
    assert fitted(rows, folds=5, seed=0)[1]["shares"]["folds"] != fitted(flat, folds=5, seed=0)[1]["shares"]["folds"]


@pytest.mark.parametrize(("sessions", "folds"), [(12, 5), (30, 2)])
def test_few_sessions_get_fixed_shares(sessions: int, folds: int) -> None:
    probability, card = fitted(log(sessions), folds=folds, seed=0)
    assert card["shares"]["chosen"] is False
    assert card["shares"]["unrated"] == {"grade": 0.5, "clear": 0.5, "dissatisfied": 0.0}
    assert probability.is_not_nan().all()
    assert probability.is_between(0.0, 1.0).all()


def test_a_log_without_neutral_ratings_is_fitted() -> None:
    rows = log(60).filter(pl.col("_rating").is_null() | (pl.col("_rating") != 0.0))
    probability, card = fitted(rows, folds=5, seed=0)
    assert card["auc"] > 0.8
    assert probability.is_not_nan().all()


def test_a_fold_without_sessions_is_borne() -> None:
    probability, card = fitted(log(6, turns=12), folds=7, seed=0)
    assert card["shares"]["chosen"] is False
    assert probability.is_not_nan().all()
