"""Rows of every type about pictures: examples from captions, pairs and labels from ratings, feedback and relevance.

How well a text fits its pictures is a column `relevance` (higher is better, null = unjudged): the builders take it as
given and know no model. What is unjudged is never taken for irrelevant. Rows without a picture in the prompt are unmade
as `no_picture`. Rows that share a picture end in one group. Negatives that are made, and not found, are
prefdata.build.hard_negatives'.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import polars as pl

from prefdata.build import preference
from prefdata.build.built import (
    Built,
    finish,
    is_empty,
    json_object,
    moved_images,
    need,
    optional,
    sift,
    with_json,
)
from prefdata.build.pairs import Policy, draw, preference_rows
from prefdata.build.picture_keys import MARK, asked, has_picture, picture_groups, picture_keys
from prefdata.build.pieces import CARRIED, answers, sound
from prefdata.errors import InputError
from prefdata.judging import SCORE_DECIMALS
from prefdata.schema import IMAGE, MESSAGES, RecordType, stable_hash

QUESTIONS = (
    "What is in this picture?",
    "Describe the picture.",
    "What does this picture show?",
    "Write a caption for this picture.",
    "这张图片里有什么？",
    "请描述这张图片。",
    "这张图片展示了什么？",
    "请为这张图片写一句说明。",
)
"""Questions to which a caption is the answer."""

_CJK = r"[\u{4E00}-\u{9FFF}]"


class Bands(NamedTuple):
    """From which relevance on a text is relevant, and up to which it is irrelevant; null is no such band.

    Both bounds are inclusive. What lies between, or in both, abstains.
    """

    relevant_min: float | None = None
    irrelevant_max: float | None = None

    def relevant(self) -> pl.Expr:
        """Whether a row's relevance is in the upper band alone; null where it is unjudged."""
        score = _score()
        high = pl.lit(False) if self.relevant_min is None else score >= self.relevant_min
        return high if self.irrelevant_max is None else high & (score > self.irrelevant_max)

    def irrelevant(self) -> pl.Expr:
        """Whether a row's relevance is in the lower band alone; null where it is unjudged."""
        score = _score()
        low = pl.lit(False) if self.irrelevant_max is None else score <= self.irrelevant_max
        return low if self.relevant_min is None else low & (score < self.relevant_min)


def bands_of(
    scores: pl.Series,
    *,
    relevant_min: float | None = None,
    relevant_min_percentile: float | None = None,
    irrelevant_max: float | None = None,
    irrelevant_max_percentile: float | None = None,
) -> Bands:
    """The numbers that bounds come to over `scores`, percentiles (in [0, 100]) by the nearest rank of the judged ones.

    Where a bound is given both ways the stricter one holds: the higher `relevant_min`, the lower `irrelevant_max`.
    """
    judged = scores.cast(pl.Float64).drop_nulls().drop_nans().sort()

    def rank(percentile: float | None) -> list[float]:
        if percentile is None or not judged.len():
            return []
        return [round(float(judged.quantile(percentile / 100, "nearest") or 0.0), SCORE_DECIMALS)]

    high = ([] if relevant_min is None else [relevant_min]) + rank(relevant_min_percentile)
    low = ([] if irrelevant_max is None else [irrelevant_max]) + rank(irrelevant_max_percentile)
    return Bands(max(high, default=None), min(low, default=None))


def with_questions(
    rows: pl.DataFrame,
    *,
    questions: Sequence[str] = QUESTIONS,
    defaults: Collection[str] = (),
    clusters: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """`rows` with a question in every prompt that has a picture and no words, or that asks one of `defaults` alone.

    Which question a hash of the picture decides, so that all captions of one picture, and of its duplicates by
    `clusters` (uri, cluster), answer the same one; a Chinese caption gets a Chinese question where there is one. The
    question comes after the picture. Column `question`: its text where one was put, else null. `rows`: `prompt`,
    `images`, and `completion` where they have answers.
    """
    bare = has_picture() & (pl.col("prompt").list.len() == 1) & asked().is_in(["", *sorted(defaults)])
    if not questions:
        return rows.with_columns(question=pl.lit(None, pl.String))
    drawn = stable_hash([picture_keys(rows, clusters)], purpose="question").str.head(12).str.to_integer(base=16)
    answer = pl.col("completion").list.eval(pl.element().struct.field("content")).list.join("\n")
    chinese = answer.str.contains(_CJK).fill_null(False) if "completion" in rows.columns else pl.lit(False)
    found = rows.with_columns(_bare=bare, _chinese=chinese)
    for name, wanted in (("_zh", True), ("_other", False)):
        ours = [one for one in questions if _chinese(one) == wanted] or list(questions)
        found = found.with_columns(pl.Series(ours, dtype=pl.String).gather(drawn % len(ours)).alias(name))
    found = found.with_columns(question=pl.when("_bare").then(pl.when("_chinese").then("_zh").otherwise("_other")))
    turn = pl.col("prompt").list.first().struct
    marks = turn.field("content").str.extract_all(MARK).list.join("")
    put = pl.struct(role=turn.field("role"), content=marks + pl.col("question"), tool_calls=turn.field("tool_calls"))
    prompt = (
        pl.when(pl.col("question").is_not_null()).then(pl.concat_list(put).cast(MESSAGES)).otherwise(pl.col("prompt"))
    )
    moved = pl.when(pl.col("question").is_not_null()).then(_numbered_parts()).otherwise(_pictures())
    return found.with_columns(prompt=prompt, images=moved).drop("_bare", "_chinese", "_zh", "_other")


def examples(rows: pl.DataFrame, *, bands: Bands | None = None) -> Built:
    """SFT rows of captions and of answers to questions about pictures (SFT rows, maybe with `relevance`).

    Unmade: no_picture, empty_completion, and, where `bands` say from when on a text is relevant, low_relevance. Rows
    keep their ids; `evidence` has the relevance, the bound and the question that was put.
    """
    bands = bands or Bands()
    rows = _checked(rows, what="captions")
    made, unmade = sift(
        rows,
        {
            "no_picture": ~has_picture(),
            "empty_completion": is_empty("completion", images="images"),
            "low_relevance": _below(bands),
        },
    )
    evidence = json_object(by=pl.lit("caption"), question=pl.col("question"), **_told(bands, irrelevant=False))
    made = made.with_columns(picture_groups(made), evidence=with_json(evidence, of=pl.col("evidence")))
    return finish(made, RecordType.SFT, [unmade])


def labelled(
    rows: pl.DataFrame,
    *,
    bands: Bands | None = None,
    check_feedback: bool = False,
    rated_alone: bool = False,
    trusted: bool = False,
) -> Built:
    """UNPAIRED rows of answers about pictures: by what users said of them, else by their relevance.

    `rows`: UNPAIRED or SFT rows, maybe with `relevance`. A row with a label keeps it; with `check_feedback` a desirable
    one in the lower band is unmade (contradicts_relevance): users thank for answers that they did not check. A row
    without is desirable in the upper band, undesirable in the lower one, and else unmade: relevance_between_bands,
    unjudged_relevance, or abstained where there are no bands or `rated_alone` is set; `trusted` rows are desirable
    where there are no bands. Further unmade: no_picture, empty_completion. Rows keep their ids; a label by relevance
    has no confidence.
    """
    known = bands or Bands()
    given = {"label": pl.Boolean(), "label_confidence": pl.Float32(), "label_sources": pl.List(pl.String)}
    rows = optional(_checked(rows, what="answers about pictures"), given)
    rows = rows.with_columns(_open=pl.col("label").is_null(), _good=known.relevant(), _bad=known.irrelevant())
    banded = bands is not None and bands != Bands()
    given_true = trusted and not banded
    banded = banded and not rated_alone
    told, judged = pl.lit(banded), pl.col("relevance").is_not_null()
    rules = {
        "no_picture": ~has_picture(),
        "empty_completion": is_empty("completion", images="images"),
        "abstained": pl.col("_open") & ~told & pl.lit(not given_true),
        "unjudged_relevance": pl.col("_open") & told & ~judged,
        "relevance_between_bands": pl.col("_open") & told & judged & ~pl.col("_good") & ~pl.col("_bad"),
    }
    if check_feedback:
        rules["contradicts_relevance"] = pl.col("label") & pl.col("_bad")
    made, unmade = sift(rows, rules)
    source = "caption" if given_true else "relevance"
    by = pl.when("_open").then(pl.lit(source)).otherwise(pl.lit("feedback"))
    evidence = json_object(by=by, question=pl.col("question"), **_told(known))
    sources = pl.when("_open").then(pl.lit([source], dtype=pl.List(pl.String)))
    made = made.with_columns(
        picture_groups(made),
        label=pl.coalesce("label", pl.lit(True) if given_true else pl.col("_good")),
        label_sources=sources.otherwise(pl.coalesce("label_sources", pl.lit(["feedback"], dtype=pl.List(pl.String)))),
        evidence=with_json(evidence, of=pl.col("evidence")),
    )
    return finish(made, RecordType.UNPAIRED, [unmade])


def pairs_by_rating(
    rows: pl.DataFrame, *, policy: Policy = "all_pairs", min_margin: float = 0.0, seed: int = 0
) -> Built:
    """Pairs of rated answers to one question about the same picture, as `preference.from_ratings` makes them."""
    need(rows, {"rating": None}, what="rated answers about pictures")
    seen, blind = _seen(rows, what="rated answers about pictures")
    built = preference.from_ratings(seen, policy=policy, min_margin=min_margin, seed=seed)
    return _grouped(built, blind)


def pairs_by_feedback(rows: pl.DataFrame, *, max_uses: int = 2, seed: int = 0) -> Built:
    """Pairs of a helpful and an unhelpful answer to the same question about the same picture (UNPAIRED rows).

    Each helpful answer is paired with every unhelpful one, and no answer is in more than `max_uses` pairs (over_cap);
    which pairs stay a hash decides. Unmade: abstained, tied_rating (two answers of one label), only_answer,
    equal_sides, no_picture, empty_completion, no_prompt.
    """
    if max_uses < 1:
        raise InputError(f"max_uses: {max_uses}, expected at least 1")
    seen, blind = _seen(rows, what="feedback on answers about pictures")
    spoken, silent = sift(seen, {"abstained": pl.col("label").is_null()})
    found = answers(spoken, what="feedback on answers about pictures")
    pieces = sound(found.with_columns(value=pl.col("label").cast(pl.Int64)), {})
    drawn = draw(pieces.sound, policy="all_pairs", seed=seed)
    candidates = drawn.candidates.with_columns(
        stable_hash([drawn.candidates["better"], drawn.candidates["worse"]], purpose=f"draw {seed}"[:16]).alias("_draw")
    )
    candidates = _capped(candidates, max_uses)
    of = pieces.sound.select("id", _of="evidence")
    candidates = candidates.join(of, left_on="better", right_on="id", how="left", maintain_order="left")
    evidence = json_object(by=pl.lit("feedback"), chosen=pl.col("better"), rejected=pl.col("worse"))
    candidates = candidates.with_columns(evidence=with_json(evidence, of=pl.col("_of")))
    rules = {"tied_rating": pl.col("tied"), "over_cap": ~pl.col("tied") & pl.col("_over")}
    built = preference_rows(pieces.sound, candidates, rules, also=[silent, pieces.unmade, drawn.unmade])
    return _grouped(built, blind)


def pairs_by_relevance(
    rows: pl.DataFrame,
    *,
    min_margin: float = 0.05,
    policy: Policy = "best_worst",
    bands: Bands | None = None,
    scorer: str | None = None,
    seed: int = 0,
) -> Built:
    """Pairs of two answers to one question about a picture of which one fits it better; `margin` says by how much.

    `rows`: one an answer as `pieces.answers` takes them (or `completion` for `answer`), with `relevance`. Unmade
    pairs: tied_relevance, margin_below_min, equal_sides, and low_relevance (where `bands` say from when on a text is
    relevant and the better one is not); answers alone: unjudged_relevance, only_answer, not_drawn, no_picture,
    empty_completion, no_prompt.
    `evidence` has both scores and the name of the `scorer`.
    """
    if min_margin < 0:
        raise InputError(f"min_margin: {min_margin}, expected at least 0")
    bands = bands or Bands()
    need(rows, {"relevance": None}, what="answers with relevance")
    seen, blind = _seen(rows, what="answers with relevance")
    found = answers(seen, what="answers with relevance").with_columns(relevance=_score())
    pieces = sound(found, {"unjudged_relevance": pl.col("relevance").is_null()})
    drawn = draw(pieces.sound.with_columns(value=pl.col("relevance")), policy=policy, seed=seed)
    scores = pieces.sound.select("id", "relevance", _of="evidence")
    candidates = drawn.candidates.join(scores, left_on="better", right_on="id", how="left", maintain_order="left")
    candidates = candidates.join(
        scores.drop("_of"), left_on="worse", right_on="id", how="left", suffix="_worse", maintain_order="left"
    )
    candidates = candidates.with_columns(
        _margin=(pl.col("relevance") - pl.col("relevance_worse")).round(SCORE_DECIMALS)
    )
    evidence = json_object(
        by=pl.lit("relevance"),
        scorer=pl.lit(scorer, pl.String),
        policy=pl.lit(policy),
        chosen=pl.col("better"),
        rejected=pl.col("worse"),
        chosen_relevance=pl.col("relevance"),
        rejected_relevance=pl.col("relevance_worse"),
        relevant_min=pl.lit(bands.relevant_min, pl.Float64),
    )
    candidates = candidates.with_columns(
        evidence=with_json(evidence, of=pl.col("_of")), margin=pl.col("_margin").cast(pl.Float32)
    )
    rules = {
        "tied_relevance": pl.col("tied"),
        "margin_below_min": ~pl.col("tied") & (pl.col("_margin") < min_margin),
    }
    ready = candidates.rename({"relevance": "_relevance"}).drop("_of", "relevance_worse")
    rules["low_relevance"] = _below(bands, "_relevance")
    built = preference_rows(pieces.sound.drop("relevance"), ready, rules, also=[pieces.unmade, drawn.unmade])
    return _grouped(built, blind)


def _score(column: str = "relevance") -> pl.Expr:
    """The relevance as it is compared: 0.3 in 32 bits is above 0.3; what is not a number is unjudged."""
    return pl.col(column).cast(pl.Float64).fill_nan(None).round(SCORE_DECIMALS)


def _below(bands: Bands, column: str = "relevance") -> pl.Expr:
    """Whether a judged text is not as relevant as it must be."""
    return pl.lit(False) if bands.relevant_min is None else _score(column) < bands.relevant_min


def _told(bands: Bands, *, irrelevant: bool = True) -> dict[str, pl.Expr]:
    """The relevance and the bounds that it was held against, for the evidence."""
    judged = pl.col("relevance").is_not_null()
    told = {
        "relevance": pl.col("relevance"),
        "scorer": pl.when(judged).then(pl.col("scorer")),
        "relevant_min": pl.when(judged).then(pl.lit(bands.relevant_min, pl.Float64)),
    }
    if irrelevant:
        told["irrelevant_max"] = pl.when(judged).then(pl.lit(bands.irrelevant_max, pl.Float64))
    return told


def _checked(rows: pl.DataFrame, *, what: str) -> pl.DataFrame:
    need(
        rows,
        {"id": pl.String(), "source": pl.String(), "prompt": MESSAGES, "completion": MESSAGES},
        what=what,
    )
    more = {"relevance": pl.Float64(), "question": pl.String(), "scorer": pl.String()}
    return optional(rows, {**CARRIED, **more}).with_columns(relevance=_score()).sort("id")


def _seen(rows: pl.DataFrame, *, what: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Answers whose prompt has a picture, each in its picture's group, and UNMADE of the others.

    Rows that call the answer `completion` are taken, too.
    """
    need(rows, {"id": pl.String(), "source": pl.String()}, what=what)
    if "answer" not in rows.columns and "completion" in rows.columns:
        rows = rows.rename({"completion": "answer"})
        if "images" in rows.columns:
            rows = rows.with_columns(images=moved_images("images", {"prompt": "prompt", "completion": "answer"}))
    seen, blind = sift(optional(rows, CARRIED), {"no_picture": ~has_picture()})
    return seen.with_columns(picture_groups(seen)), blind


def _grouped(built: Built, blind: pl.DataFrame) -> Built:
    """The result with what had no picture, each row in the group of all that its pictures connect."""
    rows = built.rows.with_columns(picture_groups(built.rows)) if built.rows.height else built.rows
    return finish(rows, RecordType.PREFERENCE, [built.unmade, blind])


def _capped(candidates: pl.DataFrame, max_uses: int) -> pl.DataFrame:
    """`candidates` and `_over`: in the order of their draws, whether an answer of theirs is in enough pairs already.

    A batch kernel: whether a pair is taken hangs on all pairs before it.
    """
    ordered = candidates.sort("_draw", "better", "worse")
    used: dict[str, int] = {}
    over = []
    for better, worse, tied in ordered.select("better", "worse", "tied").iter_rows():
        full = max(used.get(better, 0), used.get(worse, 0)) >= max_uses
        over.append(full)
        if not full and not tied:
            used[better] = used.get(better, 0) + 1
            used[worse] = used.get(worse, 0) + 1
    return ordered.with_columns(_over=pl.Series(over, dtype=pl.Boolean)).drop("_draw")


def _chinese(text: str) -> bool:
    return any("一" <= one <= "鿿" for one in text)


def _pictures() -> pl.Expr:
    return pl.col("images").cast(pl.List(IMAGE))


def _numbered_parts() -> pl.Expr:
    """The pictures of a prompt of one message in which they come first: their parts are 0, 1, ..."""
    picture = pl.element().struct
    numbered = pl.when(picture.field("side") == "prompt").then(pl.int_range(pl.len())).otherwise(picture.field("part"))
    return _pictures().list.eval(
        pl.struct(
            uri=picture.field("uri"),
            side=picture.field("side"),
            message=picture.field("message"),
            part=numbered.cast(pl.Int32),
        )
    )
