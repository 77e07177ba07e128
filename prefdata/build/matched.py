"""Preference rows out of labelled replies: the failed and the resolving answer of one session, and replies of opposite
label to near-identical customer turns of different sessions.

Such a pair claims that the same customer, at the same point, was answered well once and badly once. What could make
the claim false is a guard with its reason; how well it holds is in `evidence`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from prefdata.build import likeness
from prefdata.build.built import Built, is_empty, json_object, sift, with_json
from prefdata.build.pairs import preference_rows
from prefdata.build.pieces import answers
from prefdata.errors import InputError
from prefdata.judging import Grouping
from prefdata.schema import stable_hash
from prefdata.text import joined_text, last_user_text


@dataclass(frozen=True, kw_only=True)
class MatchSettings:
    """When two replies of opposite label become a pair."""

    min_similarity: float = 0.8
    """Lowest Jaccard similarity of the two customer turns, as the grouping verified it; not below the grouping's
    floor."""
    min_context_similarity: float = 0.5
    """Lowest similarity of what was said before the two turns; two first turns have 1."""
    min_turn_words: int = 4
    """A customer turn of fewer words ("yes please") means what was said before: the contexts must then reach
    `min_similarity`."""
    max_reply_similarity: float = 0.8
    """From here on two replies are nearly the same, and their labels speak of the customers."""
    min_confidence: float = 0.0
    """Lowest confidence of a label; an unknown one passes."""
    max_uses: int = 2
    """Pairs that one reply may be in."""
    max_per_prompt: int = 8
    """Pairs that one cluster of near-identical customer turns may give."""
    max_compared: int = 32
    """Replies of one label to the same customer turn that are compared: those of the surest labels."""
    mask_identifiers: bool = True
    """Whether order numbers and their like are left out when customer turns are compared."""

    def __post_init__(self) -> None:
        faults = [
            f"{name}: {getattr(self, name)}, expected a number in [0, 1]"
            for name in ("min_similarity", "min_context_similarity", "max_reply_similarity", "min_confidence")
            if not 0 <= getattr(self, name) <= 1
        ]
        faults += [
            f"{name}: {getattr(self, name)}, expected at least 1"
            for name in ("max_uses", "max_per_prompt", "max_compared")
            if getattr(self, name) < 1
        ]
        if faults:
            raise InputError("; ".join(faults))


def from_unpaired(rows: pl.DataFrame, *, grouping: Grouping, settings: MatchSettings | None = None) -> Built:
    """Pairs of a desirable and an undesirable reply to nearly the same customer turn of two sessions, best first.

    `rows`: UNPAIRED rows; `grouping` finds and verifies the near-identical turns (the near-duplicates of
    prefdata.dedup: candidates by MinHash, kept by exact Jaccard). The prompt is that of the desirable reply. Candidates
    are the pairs of replies to matching turns, and the rows that are in none of them.

    Unmade pairs: near_equal_replies ("same answer, different customer"), differ_only_in_facts, equal_sides,
    foreign_facts (the rejected reply names an order number of its own conversation: in the other prompt that alone
    would tell good from bad), same_session, other_context, short_turn and asks_for_more (where the contexts do not
    reach `min_similarity`), over_cap (a reply or the cluster is in as many better pairs as it may be). Unmade rows:
    abstained, low_confidence, no_customer_turn, empty_completion, crowded_prompt, no_opposite_reply. `evidence` has all
    that was measured, and `quality`, by which pairs are ranked: the product of the turns' and contexts' similarity, the
    geometric mean of the confidences, and (1 + length ratio) / 2.
    """
    settings = settings or MatchSettings()
    usable, unmade = _usable(rows, settings.min_confidence)
    usable = usable.with_columns(
        _turn=likeness.question(pl.col("_asked"), mask_identifiers=settings.mask_identifiers)
    ).with_columns(stable_hash([usable["id"]], purpose="match").alias("_draw"))
    near = _near_turns(usable, grouping, settings.min_similarity)
    matched, idle = _opposites(usable, near, settings)
    measured = _measured(matched, usable, settings)
    sound, refused = sift(measured, _guards(settings))
    best = _best_first(sound.sort(["_quality", "_draw", "other"], descending=[True, False, False]), settings)
    capped = best.filter(~pl.col("_taken")).select("id", "other", reasons=pl.lit(["over_cap"]))
    return _paired(usable, best.filter("_taken"), [unmade, idle, refused, capped], by="matched_turns")


def from_sessions(
    rows: pl.DataFrame,
    *,
    min_similarity: float = 0.8,
    max_reply_similarity: float = 0.8,
    min_confidence: float = 0.0,
    max_uses: int = 1,
) -> Built:
    """Pairs of the reply that resolved what a customer asked again (chosen) against the one that failed first.

    `rows`: UNPAIRED rows of logs, whose `meta` names session and turn. Each undesirable reply is compared with the
    later desirable replies of its session. The customer asks the same again where every turn from the one to the other
    repeats the one before it, in other words: what is compared is the share of the shorter turn's content words that
    both have (`min_similarity`). The same words after another topic mean another thing. The candidate is the first
    such reply, else the next desirable one. The prompt is the one that the failed reply was given to.

    Unmade pairs: asks_something_else, asks_for_more ("anything else?"), near_equal_replies, differ_only_in_facts,
    equal_sides, foreign_facts (the resolving reply uses a number or pseudonym that the customer gave only in between),
    over_cap (a reply resolves at most `max_uses` failed ones, the first of them). Unmade rows: abstained,
    low_confidence, no_session, no_customer_turn, empty_completion, no_later_desirable; desirable replies:
    no_failed_before.
    """
    settings = MatchSettings(
        min_similarity=min_similarity,
        max_reply_similarity=max_reply_similarity,
        min_confidence=min_confidence,
        max_uses=max_uses,
        max_per_prompt=1_000_000_000,
    )
    usable, unmade = _usable(rows, min_confidence)
    usable = usable.join(_askings(rows, min_similarity), on="id", how="left", maintain_order="left")
    usable, nowhere = sift(usable, {"no_session": pl.col("_session").is_null() | pl.col("_at").is_null()})
    usable = usable.with_columns(_draw=pl.col("id"))
    matched, idle = _resolving(usable)
    measured = _measured(matched, usable, settings)
    guards = _guards(settings)
    rules = {
        name: guards[name] for name in ("equal_sides", "near_equal_replies", "differ_only_in_facts", "foreign_facts")
    }
    rules["asks_something_else"] = ~pl.col("_again") | (pl.col("_turn_similarity") < min_similarity)
    rules["asks_for_more"] = pl.col("_more")
    sound, refused = sift(measured, rules)
    best = _best_first(sound.sort("_at_bad", "other"), settings)
    capped = best.filter(~pl.col("_taken")).select("id", "other", reasons=pl.lit(["over_cap"]))
    taken = best.filter("_taken")
    return _paired(usable, taken, [unmade, nowhere, idle, refused, capped], by="one_session", prompt_of="worse")


_SESSION = pl.col("meta").str.json_path_match("$.session")
_TURN = pl.col("meta").str.json_path_match("$.turn").cast(pl.Int64, strict=False)


def _askings(rows: pl.DataFrame, least: float) -> pl.DataFrame:
    """`id` and `_asking`, of all rows that stand in a session: a number that goes up where a turn asks something new.

    Counted over rows with and without a label; the content words of a turn are compared with those of the one before.
    """
    placed = (
        rows.select(
            "id", _session=_SESSION, _at=_TURN, words=likeness.content_words(last_user_text("prompt").fill_null(""))
        )
        .drop_nulls(["_session", "_at"])
        .sort("_session", "_at", "id")
    )
    before = pl.col("words").shift(1).over("_session").fill_null(pl.lit([], dtype=pl.List(pl.String)))
    again = likeness.overlap(pl.col("words"), before) >= least
    return placed.with_columns(_asking=(~again).cum_sum().over("_session")).select("id", "_asking")


def _usable(rows: pl.DataFrame, min_confidence: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Labelled rows with what is measured of them, and UNMADE of the others."""
    found = answers(rows.rename({"completion": "answer"}), what="labelled replies").with_columns(
        _asked=last_user_text("prompt"),
        _reply=joined_text("answer"),
        _all=joined_text("prompt"),
        _session=_SESSION,
        _at=_TURN,
        _confidence=pl.col("label_confidence").cast(pl.Float64).round(6),  # 0.7 in 32 bits is below 0.7
    )
    return sift(
        found,
        {
            "abstained": pl.col("label").is_null(),
            "low_confidence": pl.col("_confidence") < min_confidence,
            "no_customer_turn": pl.col("_asked").str.strip_chars() == "",
            "empty_completion": is_empty("answer", images="images"),
        },
    )


def _near_turns(usable: pl.DataFrame, grouping: Grouping, least: float) -> pl.DataFrame:
    """`turn`, `other_turn`, `similarity` of near-identical turns, both ways and each with itself, `cluster`."""
    turns = usable.select(turn="_turn").unique().sort("turn").with_row_index("at")
    turns = turns.select("turn", id=pl.col("at").cast(pl.String).str.zfill(10))
    keys = grouping.keys(turns.select("id", customer="turn", reply=pl.lit("")))
    edges = grouping.edges(keys.filter(pl.col("key").is_duplicated())).filter(pl.col("similarity") >= least)
    clusters = grouping.groups(edges).select("id", "cluster")
    found = edges.select("left", "right", pl.col("similarity").cast(pl.Float64))
    both = pl.concat(
        [
            found,
            found.select(left="right", right="left", similarity="similarity"),
            turns.select(left="id", right="id", similarity=pl.lit(1.0)),
        ]
    )
    return (
        both.join(turns.rename({"turn": "_turn"}), left_on="left", right_on="id", how="left")
        .join(turns.rename({"turn": "_turn_other"}), left_on="right", right_on="id", how="left")
        .join(clusters, left_on="left", right_on="id", how="left")
        .select("_turn", "_turn_other", _turn_similarity="similarity", _cluster=pl.coalesce("cluster", "left"))
    )


def _opposites(usable: pl.DataFrame, near: pl.DataFrame, settings: MatchSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Candidates (`id` desirable, `other` undesirable, `_turn_similarity`, `_cluster`), and UNMADE of rows in none."""
    order = ["_confidence", "_draw", "id"]
    ranked = usable.select("id", "label", "_turn", "_confidence", "_draw").sort(
        order, descending=[True, False, False], nulls_last=True
    )
    ranked = ranked.with_columns(_place=pl.int_range(pl.len()).over("_turn", "label"))
    compared = ranked.filter(pl.col("_place") < settings.max_compared)
    good = compared.filter("label").select("id", "_turn")
    bad = compared.filter(~pl.col("label")).select(other="id", _turn_other="_turn")
    found = (
        good.join(near, on="_turn").join(bad, on="_turn_other").select("id", "other", "_turn_similarity", "_cluster")
    )
    used = pl.concat([found["id"], found["other"]]).unique().to_list()
    crowded = pl.col("_place") >= settings.max_compared
    reason = pl.when(crowded).then(pl.lit(["crowded_prompt"])).otherwise(pl.lit(["no_opposite_reply"]))
    idle = ranked.filter(~pl.col("id").is_in(used)).select("id", reasons=reason)
    return found, idle


def _resolving(usable: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Candidates of one session: each undesirable reply (`other`) with the first later desirable one (`id`) to the same
    asking, else to whatever comes next; `_again` says which. And UNMADE of the rows in none."""
    marked = usable.select(
        "id",
        "label",
        "_session",
        "_at",
        "_asking",
        _more=likeness.asks_for_more(pl.col("_asked")),
        words=likeness.content_words(pl.col("_asked")),
    )
    bad = marked.filter(~pl.col("label")).rename({"id": "other"}).drop("label")
    later = (
        marked.filter("label")
        .join(bad, on="_session", suffix="_bad")
        .filter(pl.col("_at") > pl.col("_at_bad"))
        .with_columns(
            _again=pl.col("_asking") == pl.col("_asking_bad"),
            _turn_similarity=likeness.overlap(pl.col("words"), pl.col("words_bad")).round(4),
        )
        .sort(["other", "_again", "_at", "id"], descending=[False, True, False, False])
        .unique("other", keep="first", maintain_order=True)
        .select(
            "id",
            "other",
            "_turn_similarity",
            "_again",
            "_at_bad",
            _more=pl.col("_more") | pl.col("_more_bad"),
            _cluster="_session",
        )
    )
    used = pl.concat([later["id"], later["other"]]).unique().to_list()
    reason = pl.when("label").then(pl.lit(["no_failed_before"])).otherwise(pl.lit(["no_later_desirable"]))
    return later, marked.filter(~pl.col("id").is_in(used)).select("id", reasons=reason)


def _measured(candidates: pl.DataFrame, usable: pl.DataFrame, settings: MatchSettings) -> pl.DataFrame:
    """`candidates` with everything that guards and evidence need of both rows."""
    before = pl.col("prompt").list.head(_customer_at())
    used = pl.concat([candidates["id"], candidates["other"]]).unique().to_list()
    of_row = usable.filter(pl.col("id").is_in(used)).select(
        "id",
        "_draw",
        "_session",
        "_confidence",
        "_same",
        "_reply",
        _words=likeness.tokens(pl.col("_asked")).list.len(),
        _further=likeness.asks_for_more(pl.col("_asked")),
        _reply_marks=likeness.marks(pl.col("_reply")),
        _before_marks=likeness.marks(joined_text(before)),
        _bare=likeness.without_facts(pl.col("_reply")),
        _facts=likeness.facts(pl.col("_reply")),
        _held=likeness.facts(pl.col("_all")),
        _told=likeness.facts(joined_text("prompt", roles=["user"])),
    )
    both = candidates.join(of_row, on="id", how="left").join(
        of_row.rename({"id": "other"}), on="other", how="left", suffix="_bad"
    )
    quality = (
        pl.col("_turn_similarity")
        * pl.col("_context_similarity")
        * (pl.col("_confidence").fill_null(1.0) * pl.col("_confidence_bad").fill_null(1.0)).sqrt()
        * (1 + pl.col("_length_ratio"))
        / 2
    )
    return both.with_columns(
        _reply_similarity=likeness.jaccard(pl.col("_reply_marks"), pl.col("_reply_marks_bad")).round(4),
        _context_similarity=likeness.jaccard(pl.col("_before_marks"), pl.col("_before_marks_bad")).round(4),
        _length_ratio=likeness.length_ratio(pl.col("_reply"), pl.col("_reply_bad")).round(4),
    ).with_columns(_quality=quality.round(4))


def _customer_at() -> pl.Expr:
    """Position of the customer's last turn in the prompt."""
    roles = pl.col("prompt").list.eval(pl.element().struct.field("role") == "user")
    after = roles.list.reverse().list.eval(pl.element().arg_true()).list.first()
    return (pl.col("prompt").list.len().cast(pl.Int64) - 1 - after.cast(pl.Int64)).clip(0)


def _guards(settings: MatchSettings) -> dict[str, pl.Expr]:
    near = pl.col("_reply_similarity") >= settings.max_reply_similarity
    equal = pl.col("_same") == pl.col("_same_bad")
    short = pl.min_horizontal("_words", "_words_bad") < settings.min_turn_words
    # the reply that changes its prompt: the undesirable one where sessions differ, else the desirable one; what the
    # agent himself brought up within the session he could have said at once
    moved = likeness.foreign_facts(pl.col("_facts_bad"), pl.col("_held_bad"), pl.col("_held"))
    back = likeness.foreign_facts(pl.col("_facts"), pl.col("_told"), pl.col("_held_bad"))
    within = pl.col("_session").eq(pl.col("_session_bad"))
    return {
        "equal_sides": equal,
        "near_equal_replies": near,
        "differ_only_in_facts": ~equal & (pl.col("_bare") == pl.col("_bare_bad")),
        "foreign_facts": pl.when(within.fill_null(False)).then(back).otherwise(moved),
        "same_session": within,
        "other_context": pl.col("_context_similarity") < settings.min_context_similarity,
        "short_turn": short & (pl.col("_context_similarity") < settings.min_similarity),
        "asks_for_more": (pl.col("_further") | pl.col("_further_bad"))
        & (pl.col("_context_similarity") < settings.min_similarity),
    }


def _best_first(ordered: pl.DataFrame, settings: MatchSettings) -> pl.DataFrame:
    """`ordered` with `_taken`: whether both rows and the cluster had room when the pair's turn came.

    A batch kernel over the sound candidates: each decision hangs on those before it.
    """
    uses: dict[str, int] = {}
    clusters: dict[str, int] = {}
    taken = []
    for good, bad, cluster in ordered.select("id", "other", "_cluster").iter_rows():
        room = max(uses.get(good, 0), uses.get(bad, 0)) < settings.max_uses
        room = room and clusters.get(cluster, 0) < settings.max_per_prompt
        taken.append(room)
        if room:
            uses[good] = uses.get(good, 0) + 1
            uses[bad] = uses.get(bad, 0) + 1
            clusters[cluster] = clusters.get(cluster, 0) + 1
    return ordered.with_columns(pl.Series("_taken", taken, dtype=pl.Boolean))


def _paired(
    usable: pl.DataFrame,
    matched: pl.DataFrame,
    unmade: Iterable[pl.DataFrame],
    *,
    by: str,
    prompt_of: Literal["better", "worse"] = "better",
) -> Built:
    """PREFERENCE rows of the matches."""
    columns = {
        "turn_similarity": "_turn_similarity",
        "context_similarity": "_context_similarity",
        "reply_similarity": "_reply_similarity",
        "length_ratio": "_length_ratio",
        "chosen_confidence": "_confidence",
        "rejected_confidence": "_confidence_bad",
        "quality": "_quality",
    }
    evidence = json_object(
        by=pl.lit(by),
        chosen=pl.col("id"),
        rejected=pl.col("other"),
        **{name: pl.col(column).round(4) for name, column in columns.items()},
    )
    labels = usable.select("id", "evidence")
    named = matched.join(labels.rename({"evidence": "_good"}), on="id", how="left").join(
        labels.rename({"id": "other", "evidence": "_bad"}), on="other", how="left"
    )
    candidates = named.select(
        better="id",
        worse="other",
        evidence=with_json(evidence, chosen_label=pl.col("_good"), rejected_label=pl.col("_bad")),
    )
    return preference_rows(usable, candidates, {}, also=list(unmade), prompt_of=prompt_of)
