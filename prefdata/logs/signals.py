"""What in a log tells whether an agent's turn satisfied: one row an agent turn, one column a signal.

Every signal is Float32 in [-1, 1]: above 0 speaks for a satisfied customer, below 0 against, 0 was looked for and
says nothing, null was not observed. Spreading a session's outcome over its turns belongs to credit.py, joining
signals to a label to combine.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import polars as pl

from prefdata.errors import RecipeError
from prefdata.logs import lexicons
from prefdata.logs.overlap import shared_words


class Signal(NamedTuple):
    """One signal: where it comes from, what it is about, how much it weighs."""

    name: str
    family: Literal["explicit", "behavioural", "lexical", "judged"]
    scope: Literal["turn", "session"]
    """`turn`: it follows this agent's turn. `session`: it is about the whole conversation."""
    sees: str
    weight: float
    """Log-odds of a satisfied customer that a value of 1 adds in the rule-based combiner; ratings decide outside it."""
    rating: bool = False
    """Given by the customer to judge: where it is clear it decides the label alone."""


SIGNALS: tuple[Signal, ...] = (
    Signal("csat", "explicit", "turn", "ratings of the turn", 0.0, rating=True),
    Signal("thumb", "explicit", "turn", "thumb up or down of the turn", 0.0, rating=True),
    Signal("survey", "explicit", "turn", "words of a survey about the turn", 2.5),
    Signal("resolved", "explicit", "turn", "status set after the turn", 1.5),
    Signal("session_csat", "explicit", "session", "ratings of the session", 0.0, rating=True),
    Signal("session_thumb", "explicit", "session", "thumb up or down of the session", 0.0, rating=True),
    Signal("session_survey", "explicit", "session", "words of a survey about the session", 2.0),
    Signal("session_resolved", "explicit", "session", "final status of the session", 1.2),
    Signal("restatement", "behavioural", "turn", "the customer asks the same again", 1.5),
    Signal("escalation", "behavioural", "turn", "the customer asks for somebody else", 3.0),
    Signal("correction", "behavioural", "turn", "the customer sets the agent right", 1.5),
    Signal("request_other", "behavioural", "turn", "the customer asks for something other", 1.0),
    Signal("reopened", "behavioural", "session", "the session was reopened", 1.5),
    Signal("came_back", "behavioural", "session", "the customer was back within days", 0.6),
    Signal("abandoned", "behavioural", "session", "the agent's last question stayed unanswered", 0.5),
    Signal("thanks", "lexical", "turn", "words of thanks", 1.5),
    Signal("praise", "lexical", "turn", "words of praise", 1.8),
    Signal("acceptance", "lexical", "turn", "the customer takes up what was said", 0.8),
    Signal("refusal", "lexical", "turn", "the customer turns it down", 1.5),
    Signal("complaint", "lexical", "turn", "words of displeasure", 2.0),
    Signal("reply_failure", "lexical", "turn", "the agent could not help", 0.8),
    Signal("reply_result", "lexical", "turn", "the agent got it done", 0.3),
    Signal("rude_agent", "judged", "turn", "toxicity of the agent's turn", 4.0),
)
"""All signals. `rude_agent` is added by the combiner, where a scorer has judged the reply."""

BY_NAME: Mapping[str, Signal] = {signal.name: signal for signal in SIGNALS}

TEXTS = ("customer_before", "reply", "customer_after")


@dataclass(frozen=True, kw_only=True)
class SignalSettings:
    """How a log's feedback is read."""

    rating_scale: tuple[float, float] = (1.0, 5.0)
    """Worst and best rating, in this order; ratings outside of it were not given (99 for "no answer")."""

    satisfied: float | None = None
    """From this mean rating on the customer was satisfied, in the log's own units; None: 3/4 up (4 of 1-5)."""

    dissatisfied: float | None = None
    """Up to this mean rating the customer was not; None: 1/4 up (2 of 1-5). Between the two is neutral."""

    split_votes: Literal["abstain", "mean"] = "abstain"
    """What several annotators say who fall on both sides: nothing, or their mean."""

    resolved: tuple[str, ...] = (
        "resolved",
        "solved",
        "closed",
        "done",
        "completed",
        "fixed",
        "success",
        "已解决",
        "已完成",
        "已关闭",
        "解决",
        "完成",
    )
    """Status values of a session that ended well, without case."""

    unresolved: tuple[str, ...] = (
        "unresolved",
        "not resolved",
        "open",
        "escalated",
        "failed",
        "abandoned",
        "refused",
        "未解决",
        "升级",
        "已升级",
        "投诉",
        "失败",
        "转人工",
    )
    """Status values of a session that did not."""

    reopened: tuple[str, ...] = ("reopened", "re-opened", "reopen", "重新打开", "重开", "再次打开")
    """Status values of a session that was taken up again; they count as unresolved, too."""

    comeback_days: float = 7.0
    """A customer's next session within so many days counts against the one before."""

    min_restated: float = 0.6
    """Share of the words in common from which on a customer's turn repeats the one before."""

    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further entries of the word lists: list name -> patterns of the Rust regex engine."""


def mine(turns: pl.DataFrame, sessions: pl.DataFrame, *, settings: SignalSettings) -> pl.DataFrame:
    """One row an agent turn that answers a customer's, sorted by session and turn.

    Columns: session, turn, the texts `customer_before`, `reply`, `customer_after` (null where there is none), `rating`
    (mean rating of the turn on the scale 0 worst to 1 best), one a signal of SIGNALS but the judged ones, and
    `entries`, List(String): the entries of word lists that spoke, as `list:entry`.
    """
    _check(settings)
    lists = lexicons.merged(settings.phrases)
    rows = _answers(turns)
    rows = rows.with_columns(
        _normalised(pl.col("_ratings"), settings).alias("rating"),
        *_explicit("", settings, lists),
        *_lexical(lists),
        _restatement(settings),
    )
    about = _sessions(turns, sessions, settings, lists)
    rows = rows.join(about, on="session", how="left", maintain_order="left")
    names = [signal.name for signal in SIGNALS if signal.family != "judged"]
    rows = rows.with_columns(_entries(rows, lists))
    return rows.select(
        "session",
        "turn",
        *TEXTS,
        pl.col("rating").cast(pl.Float32),
        *(pl.col(name).cast(pl.Float32) for name in names),
        "entries",
    )


def _check(settings: SignalSettings) -> None:
    worst, best = settings.rating_scale
    if worst == best:
        raise RecipeError(f"rating_scale: worst and best are both {worst}, expected two different ratings")
    low, high = _cuts(settings)
    if not 0.0 <= low < high <= 1.0:
        raise RecipeError(
            f"satisfied {settings.satisfied} and dissatisfied {settings.dissatisfied}: expected both on the scale "
            f"{worst} (worst) to {best} (best), dissatisfied on the worse side"
        )


def _cuts(settings: SignalSettings) -> tuple[float, float]:
    """The upper end of dissatisfied and the lower end of satisfied, between 0 worst and 1 best."""
    worst, best = settings.rating_scale
    low = 0.25 if settings.dissatisfied is None else (settings.dissatisfied - worst) / (best - worst)
    high = 0.75 if settings.satisfied is None else (settings.satisfied - worst) / (best - worst)
    return low, high


def _answers(turns: pl.DataFrame) -> pl.DataFrame:
    """Agent turns with the customer's turn before and after them, and the feedback that stands on them or follows."""
    ordered = turns.sort("session", "turn").with_columns(
        pl.col("role").shift(1).over("session").alias("_role_before"),
        pl.col("role").shift(-1).over("session").alias("_role_after"),
    )
    follows = pl.col("_role_after") == "customer"

    def after(name: str) -> pl.Expr:
        return pl.when(follows).then(pl.col(name).shift(-1).over("session"))

    empty = pl.lit([], dtype=pl.List(pl.Float64))
    ratings = pl.concat_list(pl.col("ratings").fill_null(empty), after("ratings").fill_null(empty))
    rows = ordered.with_columns(
        pl.col("text").shift(1).over("session").alias("customer_before"),
        pl.col("text").alias("reply"),
        after("text").alias("customer_after"),
        ratings.alias("_ratings"),
        pl.sum_horizontal(pl.col("thumb"), after("thumb")).sign().alias("_thumb_sum"),
        pl.coalesce(pl.col("thumb"), after("thumb")).is_not_null().alias("_thumbed"),
        pl.concat_str(pl.col("survey"), after("survey"), separator=" ", ignore_nulls=True).alias("_survey"),
        pl.coalesce(after("status"), pl.col("status")).alias("_status"),
    ).filter((pl.col("role") == "agent") & (pl.col("_role_before") == "customer"))
    return rows.with_columns(pl.when(pl.col("_thumbed")).then(pl.col("_thumb_sum")).alias("_thumb"))


def _on_scale(ratings: pl.Expr, settings: SignalSettings) -> pl.Expr:
    worst, best = settings.rating_scale
    value = (pl.element() - worst) / (best - worst)
    return ratings.list.eval(value.filter((value >= 0.0) & (value <= 1.0)))


def _normalised(ratings: pl.Expr, settings: SignalSettings) -> pl.Expr:
    return _on_scale(ratings, settings).list.mean()


def _rated(ratings: pl.Expr, settings: SignalSettings) -> pl.Expr:
    """0 in the neutral band, 0.5 to 1 from the satisfied cut-off up to the best rating, the same downwards."""
    low, high = _cuts(settings)
    votes = _on_scale(ratings, settings)
    # rounded, so that a mean of 3.4 on 1-5 meets a cut-off of 3.4
    mean = votes.list.mean().round(9)
    up = 0.5 + 0.5 * (mean - high) / (1.0 - high) if high < 1.0 else pl.lit(1.0)
    down = -(0.5 + 0.5 * (low - mean) / low) if low > 0.0 else pl.lit(-1.0)
    value = pl.when(mean >= round(high, 9)).then(up).when(mean <= round(low, 9)).then(down).otherwise(0.0)
    if settings.split_votes == "abstain":
        value = pl.when((votes.list.max() >= high) & (votes.list.min() <= low)).then(0.0).otherwise(value)
    return pl.when(mean.is_not_null()).then(value)


def _is_one_of(status: pl.Expr, values: tuple[str, ...]) -> pl.Expr:
    return status.str.strip_chars().str.to_lowercase().is_in([value.lower() for value in values])


def _explicit(scope: str, settings: SignalSettings, lists: Mapping[str, tuple[str, ...]]) -> list[pl.Expr]:
    """csat, thumb, survey and resolved from the columns `_ratings`, `_thumb`, `_survey`, `_status`."""
    words = lexicons.plain(pl.col("_survey"))
    bad = ("complaint", "escalation", "correction")
    good = _count(words, lists["praise"]) + _count(words, lists["thanks"]) - 2 * _denied(words, lists["praise"])
    against = pl.sum_horizontal(*(_count(words, lists[name]) for name in bad)).cast(pl.Int32)
    said = good.cast(pl.Int32) - against
    bad_status = settings.unresolved + settings.reopened
    status = pl.col("_status")
    return [
        _rated(pl.col("_ratings"), settings).alias(f"{scope}csat"),
        pl.col("_thumb").cast(pl.Float32).alias(f"{scope}thumb"),
        pl.when(said > 0).then(_strength(said)).when(said < 0).then(-_strength(-said)).alias(f"{scope}survey"),
        pl.when(_is_one_of(status, settings.resolved))
        .then(1.0)
        .when(_is_one_of(status, bad_status))
        .then(-1.0)
        .when(status.is_not_null())
        .then(0.0)
        .alias(f"{scope}resolved"),
    ]


def _count(text: pl.Expr, items: tuple[str, ...]) -> pl.Expr:
    return text.str.count_matches(lexicons.pattern(items)).cast(pl.Int32)


def _denied(text: pl.Expr, items: tuple[str, ...]) -> pl.Expr:
    return text.str.count_matches(lexicons.negated(items)).cast(pl.Int32)


def _strength(count: pl.Expr) -> pl.Expr:
    """0 for none, 0.6 for one, 0.84 for two, towards 1."""
    return 1.0 - pl.lit(0.4).pow(count.clip(lower_bound=0))


def _lexical(lists: Mapping[str, tuple[str, ...]]) -> list[pl.Expr]:
    after = lexicons.plain(pl.col("customer_after"))
    reply = lexicons.plain(pl.col("reply"))
    open_text = after.str.replace_all(lexicons.pattern(lists["closing"]), " ")
    denied = _denied(open_text, lists["praise"])
    return [
        _strength(_count(after, lists["thanks"])).alias("thanks"),
        _strength(_count(after, lists["praise"]) - denied).alias("praise"),
        _strength(_count(after, lists["acceptance"])).alias("acceptance"),
        (-_strength(_count(open_text, lists["refusal"]))).alias("refusal"),
        (-_strength(_count(open_text, lists["complaint"]) + denied)).alias("complaint"),
        (-_strength(_count(open_text, lists["correction"]))).alias("correction"),
        (-_strength(_count(open_text, lists["request_other"]))).alias("request_other"),
        (-_strength(_count(after, lists["escalation"]))).alias("escalation"),
        (-_strength(_count(reply, lists["reply_failure"]))).alias("reply_failure"),
        _strength(_count(reply, lists["reply_result"])).alias("reply_result"),
    ]


def _restatement(settings: SignalSettings) -> pl.Expr:
    share = shared_words(pl.col("customer_before"), pl.col("customer_after"))
    return pl.when(share >= settings.min_restated).then(-share).when(share.is_not_null()).then(0.0).alias("restatement")


def _sessions(
    turns: pl.DataFrame, sessions: pl.DataFrame, settings: SignalSettings, lists: Mapping[str, tuple[str, ...]]
) -> pl.DataFrame:
    """Signals of scope session, one row a session."""
    last = (
        turns.sort("session", "turn")
        .group_by("session", maintain_order=True)
        .agg(pl.col("role").last().alias("_last_role"), pl.col("text").last().alias("_last_text"))
    )
    asks = pl.col("_last_text").str.strip_chars_end().str.contains(r"[?？]$")
    days = (pl.col("started").shift(-1) - pl.col("ended")).over("customer", order_by=["started", "session"])
    known = pl.col("customer").is_not_null() & pl.col("ended").is_not_null()
    back = days.dt.total_seconds() / 86_400.0
    return (
        sessions.with_columns(
            pl.col("ratings").alias("_ratings"),
            pl.col("thumb").alias("_thumb"),
            pl.col("survey").alias("_survey"),
            pl.col("status").alias("_status"),
            back.alias("_back"),
        )
        .join(last, on="session", how="left", maintain_order="left")
        .select(
            "session",
            *_explicit("session_", settings, lists),
            pl.when(_is_one_of(pl.col("status"), settings.reopened))
            .then(-1.0)
            .when(pl.col("status").is_not_null())
            .then(0.0)
            .alias("reopened"),
            pl.when(known)
            .then(
                pl.when((pl.col("_back") >= 0.0) & (pl.col("_back") <= settings.comeback_days))
                .then(-1.0)
                .otherwise(0.0)
            )
            .alias("came_back"),
            pl.when((pl.col("_last_role") == "agent") & asks).then(-1.0).otherwise(0.0).alias("abandoned"),
        )
    )


def _entries(rows: pl.DataFrame, lists: Mapping[str, tuple[str, ...]]) -> pl.Series:
    """The names of the list entries that were found, row by row; looked up only in rows where the list spoke."""
    found: list[pl.DataFrame] = []
    numbered = rows.with_row_index("_row")
    for name in (name for name in lists if name in BY_NAME):
        side = "reply" if name.startswith("reply_") else "customer_after"
        hits = numbered.filter(pl.col(name) != 0.0)
        if hits.height:
            text = lexicons.plain(pl.col(side))
            found.append(hits.select("_row", lexicons.matched(text, name, lists[name]).alias("entries")))
    if not found:
        return pl.Series("entries", [[]] * rows.height, dtype=pl.List(pl.String))
    spoken = pl.concat(found).group_by("_row").agg(pl.col("entries").explode(empty_as_null=False).sort())
    joined = numbered.select("_row").join(spoken, on="_row", how="left", maintain_order="left")
    return joined["entries"].fill_null(pl.Series([[]], dtype=pl.List(pl.String)))
