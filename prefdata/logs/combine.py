"""Signals joined to a label: satisfied, not, or abstained, with confidence, sources and evidence.

A rating of the customer decides where it is clear. Else a combiner does: by rules, or fitted to the rated part of the
log (satisfaction.py). Neutral is not negative, and what disagrees abstains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import polars as pl

from prefdata.errors import InputError, RecipeError
from prefdata.judging import threshold
from prefdata.logs import lexicons
from prefdata.logs.signals import BY_NAME, SIGNALS, TELLING, Signal

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

REASONS = {
    "no_signal": "nothing spoke",
    "weak_evidence": "only hints spoke, which never decide alone",
    "conflict": "signals or ratings disagree",
    "split_votes": "raters fall on both sides",
    "neutral_rating": "rated neither good nor bad",
    "low_confidence": "the probability is below min_confidence",
}
"""Why a row abstains: what `abstained` in its evidence and `abstained_because` of the card say."""

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

    def __post_init__(self) -> None:
        faults = []
        if self.method not in get_args(Method):
            faults.append(f"method: {self.method!r}, expected one of {', '.join(get_args(Method))}")
        if not 0.5 <= self.min_confidence <= 1.0:
            faults.append(f"min_confidence: {self.min_confidence}, expected a number in [0.5, 1]")
        if self.min_rated < 1:
            faults.append(f"min_rated: {self.min_rated}, expected at least 1")
        if not 0.0 <= self.rude_from <= 1.0:
            faults.append(f"rude_from: {self.rude_from}, expected a number in [0, 1]")
        if self.folds < 2:
            faults.append(f"folds: {self.folds}, expected at least 2")
        if not 0 <= self.seed < 2**32:
            faults.append(f"seed: {self.seed}, expected 0 to 2**32 - 1")
        if faults:
            raise RecipeError(faults)


class Labels(NamedTuple):
    """What `combine` found."""

    labels: pl.DataFrame
    """Columns of LABELS, sorted by session and turn; `label` null = abstained."""
    card: dict[str, Any]
    """How labels were made, as plain data for a report: `method`, counts of rows, ratings and labels, of the abstained
    by reason (`abstained_because`, keys of REASONS), and where both
    classes are rated how well the combiner foretells the ratings: `auc`, `ece`, `reliability`, for the fitted one from
    folds that had not seen the session, with its heaviest `coefficients`."""


def combine(frame: pl.DataFrame, *, settings: LabelSettings) -> Labels:
    """A label for every row of `frame`, the result of `credit`; the order of its rows has no influence.

    `frame` may carry `toxicity_completion` (Float32 in [0, 1], 1 most toxic). Raises InputError where `fitted` is
    asked for and the log has too few rated turns of one class.
    """
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
    return Labels(labels.drop("_abstained"), card)


CERTAINLY_RUDE = 0.9
"""Toxicity from which on a reply without a word of courtesy is rude beyond doubt: classifiers go by single words."""
_RUDE, _RUDE_BUT = 0.4, 0.15


def _with_rudeness(frame: pl.DataFrame, rude_from: float) -> pl.DataFrame:
    """`rude_agent`: -1 beyond doubt, -0.4 where one thing speaks against it, -0.15 (a hint) where two do.

    Against it speak a toxicity below CERTAINLY_RUDE, and courtesy: an apology or a request in the reply, or a customer
    who is pleased.
    """
    toxicity = pl.col(TOXICITY) if TOXICITY in frame.columns else pl.lit(None, dtype=pl.Float32)
    pleased = pl.max_horizontal(pl.col("thanks"), pl.col("praise"), pl.col("csat"), pl.col("thumb")) > 0.0
    polite = lexicons.plain(pl.col("reply")).str.contains(lexicons.pattern(lexicons.entries("reply_polite")))
    courtesy = pleased.fill_null(False) | polite.fill_null(False)
    certain = toxicity >= CERTAINLY_RUDE
    spoken = pl.when(certain & ~courtesy).then(-1.0).when(certain | ~courtesy).then(-_RUDE).otherwise(-_RUDE_BUT)
    value = pl.when(toxicity >= rude_from).then(spoken).when(toxicity.is_not_null()).then(0.0)
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


def _disagree() -> pl.Expr:
    """Whether ratings that the row has speak for both sides."""
    values = [pl.col(signal.name) for signal in SIGNALS if signal.rating]
    return (pl.max_horizontal(values) > 0.0) & (pl.min_horizontal(values) < 0.0)


def _value(name: str) -> pl.Expr:
    """The signal's value, as far as the turn carries it."""
    value = pl.col(name).cast(pl.Float64)
    return value * pl.col("credit_weight").cast(pl.Float64) if BY_NAME[name].scope == "session" else value


_STATUS = ("resolved", "session_resolved")
_TROUBLE = ("escalation", "complaint", "correction", "refusal", "restatement", "abandoned")
"""What a status of "resolved" does not outweigh: a ticket is closed on unhappy customers, too."""


def _weighed(signal: Signal, columns: list[str]) -> pl.Expr:
    """Log-odds that the signal adds; ratings have no part in it.

    A status that stands on the turn and on the session is one piece of evidence: it counts once. A good one counts
    for nothing where the customer is in trouble in that very turn.
    """
    weighed = _value(signal.name).fill_null(0.0) * signal.weight
    if signal.name not in _STATUS:
        return weighed
    trouble = pl.min_horizontal(_value(name).fill_null(0.0) for name in _TROUBLE if name in columns) <= -TELLING
    weighed = pl.when((weighed > 0.0) & trouble).then(0.0).otherwise(weighed)
    if signal.name == "session_resolved" and "resolved" in columns:
        again = _value("resolved").fill_null(0.0) * _value("session_resolved").fill_null(0.0) > 0.0
        weighed = pl.when(again).then(0.0).otherwise(weighed)
    return weighed


def _spoken(columns: list[str]) -> list[tuple[Signal, pl.Expr]]:
    """The signals of the rules with what they add."""
    return [(one, _weighed(one, columns)) for one in SIGNALS if one.name in columns and not one.rating]


def _score(columns: list[str]) -> pl.Expr:
    """Log-odds that the customer was satisfied, by the weights of SIGNALS."""
    return pl.sum_horizontal(weighed for _, weighed in _spoken(columns))


def _is_hint(signal: Signal) -> pl.Expr:
    """Whether what the signal says is too little to decide alone."""
    if signal.hint:
        return pl.lit(True)
    least = _RUDE if signal.name == "rude_agent" else TELLING
    return _value(signal.name).abs().round(4) < least if signal.scope == "turn" else pl.lit(False)


def _telling(columns: list[str], sign: pl.Expr) -> pl.Expr:
    """Whether a signal speaks for the side `sign` that may decide alone."""
    return pl.any_horizontal((weighed * sign > 0.0) & ~_is_hint(one) for one, weighed in _spoken(columns))


def _decide(rows: pl.DataFrame, method: str, settings: LabelSettings) -> pl.DataFrame:
    rated = pl.col("_rating").is_not_null()
    rude = pl.col("rude_agent").fill_null(0.0).cast(pl.Float64)
    combined = _shifted(pl.col("_fitted"), rude) if method == "fitted" else pl.col("_rules")
    # a good rating of a rude turn is a disagreement: it abstains
    spoken = pl.when((rude.round(4) <= -_RUDE) & (pl.col("_rating") > 0.0)).then(0.0).otherwise(pl.col("_rating"))
    probability = pl.when(rated).then(0.5 + spoken / 2.0).otherwise(combined).round(4)
    by = pl.when(rated).then(pl.lit("rating")).otherwise(pl.lit(method))
    rows = rows.with_columns(probability.alias("_probability"), by.alias("_by"))
    confidence = pl.max_horizontal(pl.col("_probability"), 1.0 - pl.col("_probability"))
    sign = (pl.col("_probability") - 0.5).sign()
    rows = rows.with_columns(
        confidence.cast(pl.Float32).alias("label_confidence"),
        ((confidence >= settings.min_confidence) & (sign != 0.0)).alias("_sure"),
        ((pl.col("_by") != "rules") | _telling(rows.columns, sign)).alias("_told"),
    )
    label = pl.when(pl.col("_sure") & pl.col("_told")).then(pl.col("_probability") > 0.5)
    rows = rows.with_columns(label.alias("label")).with_columns(_abstained(rows.columns).alias("_abstained"))
    return rows.select(
        "session",
        pl.col("turn").cast(pl.Int32),
        "label",
        "label_confidence",
        _sources(rows.columns).alias("label_sources"),
        _evidence(rows.columns).alias("evidence"),
        "_abstained",
    )


def _abstained(columns: list[str]) -> pl.Expr:
    """The reason of REASONS for which a row has no label; null where it has one."""
    weighed = [value for _, value in _spoken(columns)]
    silent = pl.all_horizontal(value == 0.0 for value in weighed)
    torn = pl.any_horizontal(value > 0.0 for value in weighed) & pl.any_horizontal(value < 0.0 for value in weighed)
    split = pl.col("split").fill_null(False) if "split" in columns else pl.lit(False)
    rated = pl.col("_by") == "rating"
    by_rules = pl.col("_by") == "rules"
    turn = [pl.col(one.name) for one in SIGNALS if one.rating and one.scope == "turn"]
    neutral = pl.max_horizontal(turn) == 0.0
    return (
        pl.when(pl.col("label").is_not_null())
        .then(None)
        .when(rated & (pl.col("_probability") != 0.5))
        .then(pl.lit("low_confidence"))
        .when(rated & neutral & split)
        .then(pl.lit("split_votes"))
        .when(rated & ((pl.col("_rating") > 0.0) | _disagree()))
        .then(pl.lit("conflict"))
        .when(rated)
        .then(pl.lit("neutral_rating"))
        .when(by_rules & silent)
        .then(pl.lit("no_signal"))
        .when(by_rules & torn)
        .then(pl.lit("conflict"))
        .when(by_rules & ~_telling(columns, pl.lit(1.0)) & ~_telling(columns, pl.lit(-1.0)))
        .then(pl.lit("weak_evidence"))
        .otherwise(pl.lit("low_confidence"))
    )


def _shifted(probability: pl.Expr, rude: pl.Expr) -> pl.Expr:
    """`probability` with the log-odds of a rude agent (0 to -1) taken off."""
    p = probability.clip(1e-6, 1.0 - 1e-6)
    odds = (p / (1.0 - p)).log() + rude * BY_NAME["rude_agent"].weight
    return 1.0 / (1.0 + (-odds).exp())


def _sources(columns: list[str]) -> pl.Expr:
    """Names of the signals that spoke for the label, in the order of SIGNALS, after `fitted` where that decided."""
    sign = pl.when(pl.col("label")).then(1.0).otherwise(-1.0)
    said = {signal.name: weighed for signal, weighed in _spoken(columns)}
    # a status that stands on turn and session is named for both, though it counted once
    both = pl.when(_value("session_resolved").fill_null(0.0) != 0.0).then(said["session_resolved"] + said["resolved"])
    said["session_resolved"] = both
    spoke = [
        pl.when(said.get(signal.name, _value(signal.name)) * sign > 0.0).then(pl.lit(signal.name))
        for signal in SIGNALS
        if signal.name in columns
    ]
    by_model = pl.when(pl.col("_by") == "fitted").then(pl.lit("fitted"))
    named = pl.concat_list([by_model, *spoke]).list.drop_nulls()
    return pl.when(pl.col("label").is_not_null()).then(named).otherwise(pl.lit([], dtype=pl.List(pl.String)))


def _evidence(columns: list[str]) -> pl.Expr:
    """A JSON object: what decided, the probability, the reason where it abstained, every signal that spoke, the entries
    of word lists, the credit.
    """
    pairs = [
        pl.when(pl.col(signal.name).cast(pl.Float64).round(2) != 0.0).then(
            pl.lit(f'"{signal.name}":') + pl.col(signal.name).cast(pl.Float64).round(2).cast(pl.String)
        )
        for signal in SIGNALS
        if signal.name in columns
    ]
    signals = pl.concat_list(pairs).list.drop_nulls().list.join(",")
    spoken = pl.col("entries").fill_null(pl.lit([], dtype=pl.List(pl.String))).alias("entries")
    entries = pl.struct(spoken).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")
    return pl.concat_str(
        pl.lit('{"by":"') + pl.col("_by") + pl.lit('","probability":') + pl.col("_probability").cast(pl.String),
        (pl.lit(',"abstained":"') + pl.col("_abstained") + pl.lit('"')).fill_null(""),
        pl.lit(',"signals":{') + signals + pl.lit("},") + entries,
        pl.lit(',"credit_policy":"') + pl.col("credit_policy") + pl.lit('","credit_weight":'),
        pl.col("credit_weight").cast(pl.Float64).round(2).cast(pl.String) + pl.lit("}"),
    )


def _counts(labels: pl.DataFrame) -> dict[str, Any]:
    total = max(labels.height, 1)
    abstained = labels["label"].null_count()
    return {
        "desirable": int(labels["label"].sum() or 0),
        "undesirable": int((~labels["label"]).sum() or 0),
        "abstained": abstained,
        "abstention_rate": round(abstained / total, 4),
        "abstained_because": {reason: count for reason in REASONS if (count := (labels["_abstained"] == reason).sum())},
    }
