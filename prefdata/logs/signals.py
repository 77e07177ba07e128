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
from prefdata.logs.faults import cuts, scale_faults
from prefdata.logs.overlap import repeated

Lists = Mapping[str, lexicons.WordList]


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
    hint: bool = False
    """Never decides a label without another signal, by the rules."""


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
    Signal("came_back", "behavioural", "session", "the customer was back within days", 0.6, hint=True),
    Signal("abandoned", "behavioural", "session", "the agent's last question stayed unanswered", 0.5, hint=True),
    Signal("thanks", "lexical", "turn", "words of thanks", 1.5),
    Signal("praise", "lexical", "turn", "words of praise", 1.8),
    Signal("acceptance", "lexical", "turn", "the customer takes up what was said", 0.8),
    Signal("refusal", "lexical", "turn", "the customer turns it down", 1.5),
    Signal("complaint", "lexical", "turn", "words of displeasure", 2.0),
    Signal("reply_failure", "lexical", "turn", "the agent could not help", 0.8, hint=True),
    Signal("reply_result", "lexical", "turn", "the agent got it done", 0.3, hint=True),
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

    def __post_init__(self) -> None:
        faults = scale_faults(self.rating_scale, self.satisfied, self.dissatisfied, name="rating_scale")
        if not 0.0 <= self.comeback_days <= 1e6:
            faults.append(f"comeback_days: {self.comeback_days}, expected a number from 0 to 1e6")
        if not 0.0 < self.min_restated <= 1.0:
            faults.append(f"min_restated: {self.min_restated}, expected above 0 and at most 1")
        faults += [
            f"phrases.{name}: {item!r} is empty"
            for name, items in self.phrases.items()
            for item in items
            if not item.strip("~!^ ")
        ]
        try:
            lexicons.merged(self.phrases)
        except RecipeError as error:
            faults += error.faults
        if faults:
            raise RecipeError(faults)


def mine(turns: pl.DataFrame, sessions: pl.DataFrame, *, settings: SignalSettings) -> pl.DataFrame:
    """One row an agent turn that answers a customer's, sorted by session and turn.

    Columns: session, turn, the texts `customer_before`, `reply`, `customer_after` (null where there is none), `rating`
    (mean rating of the turn on the scale 0 worst to 1 best), `split` (its ratings fall on both sides), one a signal of
    SIGNALS but the judged ones, and `entries`, List(String): the entries of word lists that spoke, as `list:entry`.
    """
    lists = lexicons.merged(settings.phrases)
    rows = _answers(turns)
    rows = rows.with_columns(
        _normalised(pl.col("_ratings"), settings).alias("rating"),
        _split(pl.col("_ratings"), settings).alias("split"),
        *_explicit("", settings, lists),
    )
    rows = _heard(rows, lists)
    rows = rows.with_columns(*_lexical(lists), _restatement(settings, lists))
    about = _sessions(turns, sessions, settings, lists)
    rows = rows.join(about, on="session", how="left", maintain_order="left")
    names = [signal.name for signal in SIGNALS if signal.family != "judged"]
    rows = rows.with_columns(_entries(rows, lists))
    return rows.select(
        "session",
        "turn",
        *TEXTS,
        pl.col("rating").cast(pl.Float32),
        "split",
        # adding zero makes 0 of -0
        *((pl.col(name) + 0.0).cast(pl.Float32) for name in names),
        "entries",
    )


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


def _split(ratings: pl.Expr, settings: SignalSettings) -> pl.Expr:
    """Whether ratings fall on both sides: satisfied and dissatisfied; null where there are none."""
    low, high = cuts(settings.rating_scale, settings.satisfied, settings.dissatisfied)
    votes = _on_scale(ratings, settings)
    return (votes.list.max() >= high) & (votes.list.min() <= low)


def _rated(ratings: pl.Expr, settings: SignalSettings) -> pl.Expr:
    """0 in the neutral band, 0.5 to 1 from the satisfied cut-off up to the best rating, the same downwards."""
    low, high = cuts(settings.rating_scale, settings.satisfied, settings.dissatisfied)
    votes = _on_scale(ratings, settings)
    # rounded, so that a mean of 3.4 on 1-5 meets a cut-off of 3.4
    mean = votes.list.mean().round(9)
    up = 0.5 + 0.5 * (mean - high) / (1.0 - high) if high < 1.0 else pl.lit(1.0)
    down = -(0.5 + 0.5 * (low - mean) / low) if low > 0.0 else pl.lit(-1.0)
    value = pl.when(mean >= round(high, 9)).then(up).when(mean <= round(low, 9)).then(down).otherwise(0.0)
    if settings.split_votes == "abstain":
        value = pl.when(_split(ratings, settings)).then(0.0).otherwise(value)
    return pl.when(mean.is_not_null()).then(value)


def _is_one_of(status: pl.Expr, values: tuple[str, ...]) -> pl.Expr:
    return status.str.strip_chars().str.to_lowercase().is_in([value.lower() for value in values])


def _explicit(scope: str, settings: SignalSettings, lists: Lists) -> list[pl.Expr]:
    """csat, thumb, survey and resolved from the columns `_ratings`, `_thumb`, `_survey`, `_status`."""
    words = lexicons.plain(pl.col("_survey"))
    fair = lexicons.without(words, lexicons.exceptions_of(lists, "complaint", "correction"))
    bad = ("complaint", "escalation", "correction")
    denied = _denied(fair, lists["praise"].entries)
    kind = lexicons.without(words, lexicons.exceptions_of(lists, "praise", "thanks"))
    good = _count(kind, lists["praise"]) + _count(kind, lists["thanks"]) - 2 * denied
    against = pl.sum_horizontal(*(_count(fair, lists[name]) for name in bad))
    said = good - against
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


HINT = 0.6
"""What hints of a list count together, as a share of an entry."""
TELLING = 0.5
"""Strength from which on a turn's signal is more than a hint: an entry has 0.6, hints alone have 0.42."""


def _count(text: pl.Expr, items: lexicons.WordList) -> pl.Expr:
    """How often entries of `items` stand in `text`, hints for a part of one."""
    found = text.str.count_matches(lexicons.pattern(items.entries)).cast(pl.Float64)
    if not items.hints:
        return found
    rest = lexicons.without(text, items.entries)
    return found + HINT * rest.str.contains(lexicons.pattern(items.hints)).cast(pl.Float64)


def _denied(text: pl.Expr, items: tuple[str, ...]) -> pl.Expr:
    return text.str.count_matches(lexicons.negated(items)).cast(pl.Float64)


def _strength(count: pl.Expr) -> pl.Expr:
    """0 for none, 0.6 for one, 0.84 for two, towards 1."""
    return 1.0 - pl.lit(0.4).pow(count.clip(lower_bound=0))


HEARD = ("escalation", "praise", "complaint", "correction", "refusal", "request_other", "acceptance")
"""Lists that share the words of a customer's turn, in this order: what one has found, the next do not find again."""


def _heard(rows: pl.DataFrame, lists: Lists) -> pl.DataFrame:
    """A column `_for:<list>` for each list: the text that is left for it; `_denied`: praise turned around."""
    rows = rows.with_columns(
        lexicons.plain(pl.col("customer_after")).alias("_rest"),
        lexicons.plain(pl.col("reply")).alias("_for:reply"),
        _asks(pl.col("reply"), lists).alias("_asks"),
    )
    rows = rows.with_columns(lexicons.without(pl.col("_rest"), lists["thanks"].exceptions).alias("_for:thanks"))
    for name in HEARD:
        if name == "praise":
            # "afraid that they are not satisfied" is no displeasure: before "not satisfied" is taken for one
            rows = rows.with_columns(lexicons.without(pl.col("_rest"), lists["complaint"].exceptions))
            rows = rows.with_columns(
                _denied(pl.col("_rest"), lists["praise"].entries).alias("_denied"),
                pl.col("_rest").str.replace_all(lexicons.negated(lists["praise"].entries), lexicons.TAKEN),
            )
        if name == "complaint":
            # a "no" in what ends a conversation turns nothing down
            rows = rows.with_columns(lexicons.without(pl.col("_rest"), lists["closing"].entries))
        if name == "correction":
            answered = pl.col("_rest").str.replace(_ANSWER, lexicons.TAKEN)
            rows = rows.with_columns(pl.when(pl.col("_asks")).then(answered).otherwise(pl.col("_rest")).alias("_rest"))
        heard = lexicons.without(pl.col("_rest"), lists[name].exceptions)
        rows = rows.with_columns(heard.alias(f"_for:{name}"))
        left = lexicons.without(pl.col(f"_for:{name}"), lists[name].entries)
        rows = rows.with_columns(lexicons.without(left, lists[name].hints).alias("_rest"))
    return rows


def _lexical(lists: Lists) -> list[pl.Expr]:
    def heard(name: str) -> pl.Expr:
        return _strength(_count(pl.col(f"_for:{name}"), lists[name]))

    def said(name: str) -> pl.Expr:
        return _strength(_count(pl.col("_for:reply"), lists[name]))

    complaints = _count(pl.col("_for:complaint"), lists["complaint"]) + pl.col("_denied")
    return [
        heard("thanks").alias("thanks"),
        heard("praise").alias("praise"),
        heard("acceptance").alias("acceptance"),
        (-heard("refusal")).alias("refusal"),
        (-_strength(complaints)).alias("complaint"),
        (-heard("correction")).alias("correction"),
        (-heard("request_other")).alias("request_other"),
        (-heard("escalation")).alias("escalation"),
        (-said("reply_failure")).alias("reply_failure"),
        said("reply_result").alias("reply_result"),
    ]


_ANSWER = (
    r"^\s*(?:@\w+\s+)*(?:(?:no|nope|nah|yes|yeah|yea|yep|yup)\b[ ,.!]*|"
    r"(?:不是|不用|不需要|没有|没|不|是|有|对)(?:的|啊|呀|呢|哦|了)?(?:[,，。!！\s]+|$))"
)
"""A yes or a no that opens a turn."""


def _asks(reply: pl.Expr, lists: Lists) -> pl.Expr:
    """Whether the reply ends with a question about something that the customer knows: yes and no only answer it."""
    plain = reply.str.to_lowercase()
    question = plain.str.contains(r"[?？][^?？]{0,40}$")
    offers = plain.str.contains(lexicons.pattern(lists["reply_proposes"].entries + lists["reply_more"].entries))
    checks = plain.str.contains(lexicons.pattern(lists["reply_confirms"].entries))
    return question & ~offers & ~checks


def _restatement(settings: SignalSettings, lists: Lists) -> pl.Expr:
    share = repeated(pl.col("customer_before"), pl.col("customer_after"), least=settings.min_restated)
    answers = _answered(pl.col("reply"), pl.col("customer_before"), lists)
    return pl.when(answers).then(-share * ANSWERED).otherwise(-share).alias("restatement")


ANSWERED = 0.5
"""What a repetition counts where the reply looks like an answer: it names a number or a list."""


def _answered(reply: pl.Expr, before: pl.Expr, lists: Lists) -> pl.Expr:
    numbers = reply.str.extract_all(r"\d+").list.set_difference(before.fill_null("").str.extract_all(r"\d+"))
    lists_things = reply.str.contains(r"、|[^,]+,[^,]+,[^,]+,? and |\p{Han}, \p{Han}")
    failed = lexicons.plain(reply).str.contains(lexicons.pattern(lists["reply_failure"].entries))
    return ((numbers.list.len() > 0) | lists_things) & ~failed


def _sessions(turns: pl.DataFrame, sessions: pl.DataFrame, settings: SignalSettings, lists: Lists) -> pl.DataFrame:
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


def _entries(rows: pl.DataFrame, lists: Lists) -> pl.Series:
    """The names of the list entries that were found, row by row; looked up only in rows where the list spoke."""
    found: list[pl.DataFrame] = []
    numbered = rows.with_row_index("_row")
    for name in (name for name in lists if name in BY_NAME):
        text = "_for:reply" if name.startswith("reply_") else f"_for:{name}"
        hits = numbered.filter(pl.col(name) != 0.0)
        if hits.height:
            items = lists[name].entries + lists[name].hints
            found.append(hits.select("_row", lexicons.matched(pl.col(text), name, items).alias("entries")))
    if not found:
        return pl.Series("entries", [[]] * rows.height, dtype=pl.List(pl.String))
    spoken = pl.concat(found).group_by("_row").agg(pl.col("entries").explode(empty_as_null=False).sort())
    joined = numbered.select("_row").join(spoken, on="_row", how="left", maintain_order="left")
    return joined["entries"].fill_null(pl.Series([[]], dtype=pl.List(pl.String)))
