"""Preference rows from ratings, rankings, verdicts and edits. A tie never becomes a pair, nor do two equal answers."""

from __future__ import annotations

import polars as pl

from prefdata.build import likeness
from prefdata.build.built import (
    Built,
    as_messages,
    content_keys,
    derived_ids,
    finish,
    is_empty,
    json_object,
    moved_images,
    need,
    optional,
    sameness,
    sift,
    with_json,
)
from prefdata.build.pairs import Policy, draw, preference_rows
from prefdata.build.pieces import CARRIED, answers, answers_with_ratings, sound
from prefdata.errors import InputError
from prefdata.schema import RecordType
from prefdata.text import joined_text


def from_ratings(rows: pl.DataFrame, *, policy: Policy = "all_pairs", min_margin: float = 0.0, seed: int = 0) -> Built:
    """Pairs of answers to one prompt with different ratings; `margin` is the difference.

    `rows`: one an answer, `rating` a number, higher is better; see `pieces.answers_with_ratings`. Candidates are the
    pairs that `policy` draws. Unmade: tied_rating, margin_below_min (closer than `min_margin`), equal_sides; answers
    alone: only_answer, not_drawn, and what `answers_with_ratings` refuses.
    """
    if min_margin < 0:
        raise InputError(f"min_margin: {min_margin}, expected at least 0")
    pieces = answers_with_ratings(rows)
    # 0.1 + 0.2 is a little more than 0.3 in floating point, and 0.3 - 0.2 a little less than 0.1
    drawn = draw(pieces.sound.with_columns(value=pl.col("rating").round(9)), policy=policy, seed=seed)
    candidates = _with_values(drawn.candidates, pieces.sound, "rating")
    candidates = candidates.with_columns(margin=(pl.col("rating") - pl.col("rating_worse")).round(9))
    candidates = candidates.with_columns(evidence=_compared("rating", "rating", policy))
    ready = candidates.with_columns(pl.col("margin").cast(pl.Float32), _margin="margin").drop("rating")
    rules = {"tied_rating": pl.col("tied"), "margin_below_min": ~pl.col("tied") & (pl.col("_margin") < min_margin)}
    return preference_rows(pieces.sound, ready, rules, also=[pieces.unmade, drawn.unmade])


def from_rankings(rows: pl.DataFrame, *, policy: Policy = "all_pairs", seed: int = 0) -> Built:
    """Pairs of answers to one prompt with different ranks; a rank is an order, no distance: `margin` stays null.

    `rows`: one an answer as in `pieces.answers`, `rank` an integer, 0 the best; equal ranks tie. Unmade: tied_rank,
    equal_sides; answers alone: no_rank, only_answer, not_drawn, empty_completion, no_prompt, prompts_differ.
    """
    need(rows, {"rank": None}, what="ranked answers")
    found = answers(rows, what="ranked answers").with_columns(pl.col("rank").cast(pl.Int64))
    pieces = sound(found, {"no_rank": pl.col("rank").is_null()})
    drawn = draw(pieces.sound.with_columns(value=-pl.col("rank")), policy=policy, seed=seed)
    candidates = _with_values(drawn.candidates, pieces.sound, "rank")
    candidates = candidates.with_columns(evidence=_compared("ranking", "rank", policy)).drop("rank")
    rules = {"tied_rank": pl.col("tied")}
    return preference_rows(pieces.sound, candidates, rules, also=[pieces.unmade, drawn.unmade])


def _with_values(candidates: pl.DataFrame, pieces: pl.DataFrame, column: str) -> pl.DataFrame:
    """`candidates` with `column` of both answers (`<column>_worse`) and the evidence that the better one brings."""
    values = pieces.select("id", column, _of="evidence")
    found = candidates.join(values, left_on="better", right_on="id", how="left", maintain_order="left")
    return found.join(values.drop("_of"), left_on="worse", right_on="id", how="left", suffix="_worse")


def _compared(by: str, column: str, policy: str) -> pl.Expr:
    evidence = json_object(
        by=pl.lit(by),
        policy=pl.lit(policy),
        chosen=pl.col("better"),
        rejected=pl.col("worse"),
        **{f"chosen_{column}": pl.col(column), f"rejected_{column}": pl.col(f"{column}_worse")},
    )
    return with_json(evidence, of=pl.col("_of"))


def from_verdicts(rows: pl.DataFrame, *, min_agreement: float = 0.5) -> Built:
    """One pair for every two answers that annotators compared, by the verdict of most.

    `rows`: one a verdict: `id`, `source`, `prompt`, `answer_a`, `answer_b` (messages or text), `verdict` ("a", "b",
    "tie"), maybe `annotator` and the columns of `pieces.CARRIED`. The same two answers in the other order are the same
    comparison; an annotator who contradicts himself on it counts as one tie. Candidates are the comparisons, named by
    their smallest id. Unmade: tied_verdict (most say tie), split_votes (no side has most), low_agreement (the share of
    the winning side is below `min_agreement`), equal_sides, empty_completion, no_prompt; single verdicts:
    unknown_verdict. `evidence` has the votes and the share, and
    where several voted who all have a name, who voted for what (`annotators`).
    """
    if not 0 <= min_agreement <= 1:
        raise InputError(f"min_agreement: {min_agreement}, expected a number in [0, 1]")
    what = "verdicts"
    need(rows, {"id": pl.String(), "source": pl.String(), "verdict": pl.String()}, what=what)
    rows = as_messages(rows, {"prompt": "user", "answer_a": "assistant", "answer_b": "assistant"}, what=what)
    rows = optional(rows, {**CARRIED, "annotator": pl.String()}).sort("id")
    said, unknown = sift(rows, {"unknown_verdict": ~pl.col("verdict").is_in(["a", "b", "tie"]).fill_null(False)})
    votes, items = _votes(said)
    counted = items.join(votes, on="item", how="left", maintain_order="left").with_columns(
        _total=pl.sum_horizontal("first", "second", "tie"), _most=pl.max_horizontal("first", "second", "tie")
    )
    most = pl.col("_most")
    winners = pl.sum_horizontal(pl.col(name) == most for name in ("first", "second", "tie"))
    counted = counted.with_columns(_agreement=most / pl.col("_total"), _winners=winners)
    a_wins = (pl.col("first") == most) != pl.col("swapped")
    won = (pl.col("_winners") == 1) & (pl.col("tie") < most)
    made, unmade = sift(
        counted.with_columns(_same_a=sameness("answer_a"), _same_b=sameness("answer_b")),
        {
            "tied_verdict": (pl.col("_winners") == 1) & (pl.col("tie") == most),
            "split_votes": pl.col("_winners") > 1,
            "low_agreement": won & (pl.col("_agreement") < min_agreement),
            "equal_sides": pl.col("_same_a") == pl.col("_same_b"),
            "empty_completion": is_empty("answer_a", images="images") | is_empty("answer_b", images="images"),
            "no_prompt": is_empty("prompt", images="images"),
        },
    )
    evidence = json_object(
        by=pl.lit("verdicts"),
        comparison=pl.col("id"),
        agreement=pl.col("_agreement").round(4),
        votes=pl.struct(chosen=most, rejected=pl.min_horizontal("first", "second"), tie="tie"),
        annotators=pl.when("named").then(
            pl.struct(
                chosen=pl.when(pl.col("first") == most).then("first_by").otherwise("second_by"),
                rejected=pl.when(pl.col("first") == most).then("second_by").otherwise("first_by"),
                tie="tie_by",
            )
        ),
    )
    sides = [moved_images("images", {"prompt": "prompt", f"answer_{one}": "chosen", f"answer_{other}": "rejected"})
             for one, other in ("ab", "ba")]  # fmt: skip
    made = made.with_columns(
        derived_ids(made, ["id"], purpose="verdict"),
        chosen=pl.when(a_wins).then("answer_a").otherwise("answer_b"),
        rejected=pl.when(a_wins).then("answer_b").otherwise("answer_a"),
        images=pl.when(a_wins).then(sides[0]).otherwise(sides[1]),
        evidence=with_json(evidence, of=pl.col("evidence")),
        group=pl.coalesce("group", content_keys(made, ["prompt"], purpose="prompt")),
    )
    return finish(made, RecordType.PREFERENCE, [unknown, unmade])


def _votes(said: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Votes of each comparison (`item`, `first`, `second`, `tie`; who gave them: `first_by`, ...; `named` where several
    voted and each has a name), and the row of the smallest id of each.

    The first answer is the one with the smaller hash; `swapped` where that is answer_b.
    """
    hashes = [content_keys(said.select(one=sameness(f"answer_{side}")), ["one"]) for side in ("a", "b")]
    prompt = said.select("prompt", pl.col("tools").fill_null(""), images=moved_images("images", {"prompt": "prompt"}))
    said = said.with_columns(hashes[0].alias("_a"), hashes[1].alias("_b")).with_columns(
        content_keys(prompt, ["prompt", "tools", "images"]).alias("_prompt"), swapped=pl.col("_a") > pl.col("_b")
    )
    said = said.with_columns(
        item=pl.concat_str("_prompt", pl.min_horizontal("_a", "_b"), pl.max_horizontal("_a", "_b")),
        vote=pl.when(pl.col("verdict") == "tie")
        .then(pl.lit("tie"))
        .when((pl.col("verdict") == "a") != pl.col("swapped"))
        .then(pl.lit("first"))
        .otherwise(pl.lit("second")),
        # without a name every verdict is another annotator's
        voter=pl.coalesce(pl.lit("named:") + pl.col("annotator").cast(pl.String), pl.lit("row:") + pl.col("id")),
    )
    single = said.group_by("item", "voter", maintain_order=True).agg(
        vote=pl.when(pl.col("vote").n_unique() == 1).then(pl.col("vote").first()).otherwise(pl.lit("tie"))
    )
    named = pl.col("voter").str.strip_prefix("named:")
    votes = single.group_by("item", maintain_order=True).agg(
        *((pl.col("vote") == name).sum().cast(pl.Int64).alias(name) for name in ("first", "second", "tie")),
        *(named.filter(pl.col("vote") == name).sort().alias(f"{name}_by") for name in ("first", "second", "tie")),
        ((pl.len() > 1) & pl.col("voter").str.starts_with("named:").all()).alias("named"),
    )
    return votes, said.unique("item", keep="first", maintain_order=True)


def from_edits(rows: pl.DataFrame, *, min_draft_words: int = 3, min_similarity: float = 0.0) -> Built:
    """Pairs of what was sent (chosen) against the draft before it was edited (rejected).

    `rows`: `id`, `source`, `prompt`, `draft`, `sent` (messages or text) and maybe the columns of `pieces.CARRIED`.
    Candidates are the rows. Unmade: unchanged, only_form_changed (white space, punctuation, case), near_empty_draft
    (fewer than `min_draft_words` words or CJK characters: it was never an answer), rewritten (similarity below
    `min_similarity`), empty_completion (nothing was sent), no_prompt. `evidence` has the `similarity`, Jaccard in
    [0, 1] over words and their neighbours.
    """
    what = "edits"
    need(rows, {"id": pl.String(), "source": pl.String()}, what=what)
    rows = as_messages(rows, {"prompt": "user", "draft": "assistant", "sent": "assistant"}, what=what)
    rows = optional(rows, CARRIED).sort("id").with_columns(_draft=joined_text("draft"), _sent=joined_text("sent"))
    draft, sent = pl.col("_draft"), pl.col("_sent")
    # step by step: an expression that stands twice is evaluated twice
    rows = rows.with_columns(_words=likeness.tokens(draft), _words_sent=likeness.tokens(sent))
    rows = rows.with_columns(
        _short=pl.col("_words").list.len() < min_draft_words,
        _marks=likeness.marks_of(pl.col("_words")),
        _marks_sent=likeness.marks_of(pl.col("_words_sent")),
        _unchanged=sameness("draft") == sameness("sent"),
        _empty=is_empty("sent", images="images"),
    ).with_columns(_similarity=likeness.jaccard(pl.col("_marks"), pl.col("_marks_sent")).round(4))
    acts = [pl.col(side).list.eval(pl.element().struct.field("tool_calls")) for side in ("draft", "sent")]
    form = (likeness.without_form(draft) == likeness.without_form(sent)) & (acts[0] == acts[1]).fill_null(True)
    made, unmade = sift(
        rows,
        {
            "unchanged": pl.col("_unchanged"),
            "only_form_changed": form & ~pl.col("_unchanged"),
            "near_empty_draft": pl.col("_short").fill_null(True),
            "rewritten": pl.col("_similarity") < min_similarity,
            "empty_completion": pl.col("_empty"),
            "no_prompt": is_empty("prompt", images="images"),
        },
    )
    evidence = json_object(by=pl.lit("edit"), edit=pl.col("id"), similarity=pl.col("_similarity"))
    made = made.with_columns(
        derived_ids(made, ["id"], purpose="edit"),
        chosen="sent",
        rejected="draft",
        images=moved_images("images", {"prompt": "prompt", "sent": "chosen", "draft": "rejected"}),
        evidence=with_json(evidence, of=pl.col("evidence")),
        group=pl.coalesce("group", content_keys(made, ["prompt"], purpose="prompt")),
    )
    return finish(made, RecordType.PREFERENCE, [unmade])
