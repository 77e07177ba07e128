"""Signals joined to a label: satisfied, not, or abstained, with confidence, sources and evidence.

A rating of the customer decides where it is clear. Else a combiner does: by rules, or fitted to the rated part of the
log (satisfaction.py). Neutral is not negative, and what disagrees abstains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import polars as pl

from prefdata.errors import InputError, RecipeError
from prefdata.judging import threshold
from prefdata.logs.signals import BY_NAME, SIGNALS

LABELS = pl.Schema(
    {
        "session": pl.String(),
        "turn": pl.Int32(),
        "label": pl.Boolean(),
        "label_confidence": pl.Float32(),
        "label_sources": pl.List(pl.String()),
        "evidence": pl.String(),
    }
)

TOXICITY = "toxicity_completion"

Method = Literal["auto", "rules", "fitted"]


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """How signals become labels."""

    method: Method = "auto"
    """rules: weights that need no training. fitted: a logistic regression fitted to the rated turns. auto: fitted
    where at least `min_rated` turns of each class are rated, in four sessions for each fold, else rules."""

    min_confidence: float = threshold(0.65)
    """Below it the label abstains; 0.5 is a coin's, 1 is certain."""

    min_rated: int = 100
    """Rated turns of each class from which on `auto` fits."""

    rude_from: float = threshold(0.8)
    """Toxicity of the agent's turn from which on it counts against the turn (`rude_agent`)."""

    folds: int = 5
    """Parts of the rated sessions for cross-validation."""

    seed: int = 0
    """Of the split of sessions into folds."""


class Labels(NamedTuple):
    """What `combine` found."""

    labels: pl.DataFrame
    """Columns of LABELS, sorted by session and turn; `label` null = abstained."""
    card: dict[str, Any]
    """How labels were made, as plain data for a report: `method`, counts of rows, ratings and labels, and where both
    classes are rated how well the combiner foretells the ratings: `auc`, `ece`, `reliability`, for the fitted one from
    folds that had not seen the session, with its heaviest `coefficients`."""


def combine(frame: pl.DataFrame, *, settings: LabelSettings) -> Labels:
    """A label for every row of `frame`, the result of `credit`; the order of its rows has no influence.

    `frame` may carry `toxicity_completion` (Float32 in [0, 1], 1 most toxic). Raises InputError where `fitted` is
    asked for and the log has too few rated turns of one class.
    """
    _check(settings)
    rows = _with_rudeness(frame.sort("session", "turn"), settings.rude_from)
    rows = rows.with_columns(_rating().alias("_rating"))
    rows = rows.with_columns(_score(rows.columns).alias("_score"))
    rules = (1.0 / (1.0 + (-pl.col("_score")).exp())).alias("_rules")
    rows = rows.with_columns(rules)
    satisfied = rows.filter(pl.col("_rating") > 0.0).height
    dissatisfied = rows.filter(pl.col("_rating") < 0.0).height
    card: dict[str, Any] = {
        "rows": rows.height,
        "rated": rows["_rating"].is_not_null().sum(),
        "rated_satisfied": satisfied,
        "rated_dissatisfied": dissatisfied,
    }
    # sessions that hold ratings of the rarer class: what folds can be made of
    sessions = min(rows.filter(side)["session"].n_unique() for side in (pl.col("_rating") > 0, pl.col("_rating") < 0))
    method = settings.method
    if method == "auto":
        enough = min(satisfied, dissatisfied) >= settings.min_rated and sessions >= 4 * settings.folds
        method = "fitted" if enough else "rules"
    if method == "fitted":
        from prefdata.logs.satisfaction import fitted

        if sessions < settings.folds:
            raise InputError(
                f"the fitted combiner found {satisfied} satisfied and {dissatisfied} dissatisfied rated turns, "
                f"one class in {sessions} sessions, expected each in at least {settings.folds}; use method: rules"
            )
        probability, about = fitted(rows, folds=settings.folds, seed=settings.seed)
        card.update(about)
        rows = rows.with_columns(probability.alias("_fitted"))
    elif satisfied and dissatisfied:
        from prefdata.logs.calibration import honesty

        clear = rows.filter(pl.col("_rating") != 0.0)
        card.update(honesty(clear["_rules"].to_numpy(), (clear["_rating"] > 0.0).to_numpy()))
    card["method"] = method
    labels = _decide(rows, method, settings)
    card.update(_counts(labels))
    return Labels(labels, card)


def _check(settings: LabelSettings) -> None:
    faults = []
    if settings.method not in ("auto", "rules", "fitted"):
        faults.append(f"method {settings.method!r}: known are auto, fitted, rules")
    if not 0.5 <= settings.min_confidence <= 1.0:
        faults.append(f"min_confidence {settings.min_confidence}: expected 0.5 to 1")
    if settings.folds < 2:
        faults.append(f"folds {settings.folds}: expected at least 2")
    if faults:
        raise RecipeError(faults)


def _with_rudeness(frame: pl.DataFrame, rude_from: float) -> pl.DataFrame:
    toxicity = pl.col(TOXICITY) if TOXICITY in frame.columns else pl.lit(None, dtype=pl.Float32)
    value = pl.when(toxicity >= rude_from).then(-1.0).when(toxicity.is_not_null()).then(0.0)
    return frame.with_columns(value.cast(pl.Float32).alias("rude_agent"))


def _rating() -> pl.Expr:
    """What the customer's ratings say: in [-1, 1], 0 where they are neutral or disagree, null where there are none.

    The turn's own ratings come before the session's, which count by how much of the outcome the turn carries.
    """

    def said(scope: str) -> pl.Expr:
        names = [signal.name for signal in SIGNALS if signal.rating and signal.scope == scope]
        values = [pl.col(name).cast(pl.Float64) for name in names]
        mixed = (pl.max_horizontal(values) > 0.0) & (pl.min_horizontal(values) < 0.0)
        return pl.when(mixed).then(0.0).otherwise(pl.mean_horizontal(values))

    return pl.coalesce(said("turn"), said("session") * pl.col("credit_weight").cast(pl.Float64))


def _value(name: str) -> pl.Expr:
    """The signal's value, as far as the turn carries it."""
    value = pl.col(name).cast(pl.Float64)
    return value * pl.col("credit_weight").cast(pl.Float64) if BY_NAME[name].scope == "session" else value


def _score(columns: list[str]) -> pl.Expr:
    """Log-odds that the customer was satisfied, by the weights of SIGNALS; ratings have no part in it."""
    return pl.sum_horizontal(
        _value(signal.name).fill_null(0.0) * signal.weight
        for signal in SIGNALS
        if signal.name in columns and not signal.rating
    )


def _decide(rows: pl.DataFrame, method: str, settings: LabelSettings) -> pl.DataFrame:
    rated = pl.col("_rating").is_not_null()
    rude = pl.col("rude_agent").fill_null(0.0) < 0.0
    combined = _shifted(pl.col("_fitted"), rude) if method == "fitted" else pl.col("_rules")
    # a good rating of a rude turn is a disagreement: it abstains
    spoken = pl.when(rude & (pl.col("_rating") > 0.0)).then(0.0).otherwise(pl.col("_rating"))
    probability = pl.when(rated).then(0.5 + spoken / 2.0).otherwise(combined).round(4)
    rows = rows.with_columns(
        probability.alias("_probability"), pl.when(rated).then(pl.lit("rating")).otherwise(pl.lit(method)).alias("_by")
    )
    confidence = pl.max_horizontal(pl.col("_probability"), 1.0 - pl.col("_probability"))
    sure = (confidence >= settings.min_confidence) & (pl.col("_probability") != 0.5)
    label = pl.when(sure).then(pl.col("_probability") > 0.5)
    rows = rows.with_columns(label.alias("label"), confidence.cast(pl.Float32).alias("label_confidence"))
    return rows.select(
        "session",
        pl.col("turn").cast(pl.Int32),
        "label",
        "label_confidence",
        _sources(rows.columns).alias("label_sources"),
        _evidence(rows.columns).alias("evidence"),
    )


def _shifted(probability: pl.Expr, rude: pl.Expr) -> pl.Expr:
    """`probability` with the log-odds of a rude agent taken off."""
    p = probability.clip(1e-6, 1.0 - 1e-6)
    odds = (p / (1.0 - p)).log() - pl.when(rude).then(BY_NAME["rude_agent"].weight).otherwise(0.0)
    return 1.0 / (1.0 + (-odds).exp())


def _sources(columns: list[str]) -> pl.Expr:
    """Names of the signals that spoke for the label, in the order of SIGNALS, after `fitted` where that decided."""
    sign = pl.when(pl.col("label")).then(1.0).otherwise(-1.0)
    spoke = [
        pl.when(_value(signal.name) * sign > 0.0).then(pl.lit(signal.name))
        for signal in SIGNALS
        if signal.name in columns
    ]
    by_model = pl.when(pl.col("_by") == "fitted").then(pl.lit("fitted"))
    named = pl.concat_list([by_model, *spoke]).list.drop_nulls()
    return pl.when(pl.col("label").is_not_null()).then(named).otherwise(pl.lit([], dtype=pl.List(pl.String)))


def _evidence(columns: list[str]) -> pl.Expr:
    """A JSON object: what decided, the probability, every signal that spoke, the entries of word lists, the credit."""
    pairs = [
        pl.when(pl.col(signal.name) != 0.0).then(
            pl.lit(f'"{signal.name}":') + pl.col(signal.name).cast(pl.Float64).round(4).cast(pl.String)
        )
        for signal in SIGNALS
        if signal.name in columns
    ]
    signals = pl.concat_list(pairs).list.drop_nulls().list.join(",")
    spoken = pl.col("entries").fill_null(pl.lit([], dtype=pl.List(pl.String))).alias("entries")
    entries = pl.struct(spoken).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")
    return pl.concat_str(
        pl.lit('{"by":"') + pl.col("_by") + pl.lit('","probability":') + pl.col("_probability").cast(pl.String),
        pl.lit(',"signals":{') + signals + pl.lit("},") + entries,
        pl.lit(',"credit_policy":"') + pl.col("credit_policy") + pl.lit('","credit_weight":'),
        pl.col("credit_weight").cast(pl.Float64).round(4).cast(pl.String) + pl.lit("}"),
    )


def _counts(labels: pl.DataFrame) -> dict[str, Any]:
    total = max(labels.height, 1)
    abstained = labels["label"].null_count()
    return {
        "desirable": int(labels["label"].sum() or 0),
        "undesirable": int((~labels["label"]).sum() or 0),
        "abstained": abstained,
        "abstention_rate": round(abstained / total, 4),
    }
