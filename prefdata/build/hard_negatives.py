"""Answers that are nearly right of a picture and wrong: a near picture's caption, and captions with one thing changed.

Each is made of one true caption and labelled as made: `meta` has `hard_negative` (the kind), `evidence` has what was
changed, the version of the word lists and what was drawn from, or whose caption it is and how near. A text that is said
of the picture elsewhere, or of a duplicate of it, is never made; nor is one that states what another of its captions
states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import polars as pl

from prefdata.build import attribute_swaps, attribute_words, likeness
from prefdata.build.built import (
    Built,
    account,
    derived_ids,
    finish,
    is_empty,
    json_object,
    moved_images,
    need,
    one_message,
    optional,
    sift,
    with_json,
)
from prefdata.build.image_text import Bands
from prefdata.build.picture_keys import asked, has_picture, picture_groups, picture_keys, picture_lists
from prefdata.build.pieces import CARRIED
from prefdata.errors import InputError
from prefdata.judging import SCORE_DECIMALS
from prefdata.schema import MESSAGES, RecordType, stable_hash
from prefdata.text import joined_text

Kind = Literal["other_picture", "colour", "number", "position", "object"]

KINDS: tuple[Kind, ...] = get_args(Kind)

Relevance = Callable[[pl.DataFrame], pl.Series]
"""Of rows with `prompt`, `completion` and `images`: how well each text fits its pictures, higher is better, null where
it is unjudged."""

NEIGHBOURS = 8
"""Captions on each side, in an order drawn by a hash, with which one that shares a rare word is compared."""

RARE = 4
"""Words and pairs of words of a caption, the rarest first, by which near ones are looked for."""

_FRAME = (
    "a an the one is are was were there of in on at with and or to it this that these those picture image photo "
    "photograph shows show showing see can 一 个 有 的 在 是 了 这 张 图 片 里 和"
)
"""Tokens that say nothing of what is in a picture."""


class Negatives(NamedTuple):
    """`id` (of the caption), `kind`, `text`, `other` (row whose caption it is, else null), `told` (JSON: what was
    changed, or how near); sorted; and UNMADE, whose `part` is the kind: together every caption with every kind."""

    made: pl.DataFrame
    unmade: pl.DataFrame


def negatives(
    rows: pl.DataFrame,
    *,
    said: pl.DataFrame | None = None,
    kinds: Sequence[Kind] = KINDS,
    each: int = 1,
    clusters: pl.DataFrame | None = None,
    relevance: Relevance | None = None,
    min_margin: float = 0.05,
    compared: int = 4,
    bands: Bands | None = None,
    seed: int = 0,
) -> Negatives:
    """At most `each` negatives of every caption, each of another kind, and why there are no others.

    `rows`: SFT rows, maybe with `relevance`, and with `question` (from `with_questions`: a caption answers no question
    of its own). `said`: the `sayings` of all other rows that speak of the pictures, of any label or of none, named by
    `clusters`, too; what they and `rows` say is never made. `clusters` (uri, cluster) names pictures that are
    duplicates: they share their captions, and no caption of one is a negative of another.

    other_picture: the caption of another picture that answers the same question and shares the most words. Where
    `relevance` is given, of the `compared` nearest ones the one that fits this picture best while its own caption fits
    better by `min_margin`; without it, the nearest that says something else. The others change one word: colour,
    number, position, object; where both are judged by `relevance`, only into what fits less by `min_margin`.

    Unmade captions: no_picture, empty_completion, not_one_text, low_relevance (a caption that does not fit its own
    picture is not true of it); unmade kinds of a caption: no_certain_word, swap_is_true, no_near_picture, may_be_true,
    near_is_relevant, unjudged_relevance, kind_not_drawn (there are `each` of other kinds).
    """
    unknown = [one for one in kinds if one not in KINDS]
    if unknown or each < 1 or compared < 1 or min_margin < 0:
        raise InputError(
            f"kinds {list(kinds)}, each {each}, compared {compared}, min_margin {min_margin}: expected kinds of "
            f"{', '.join(KINDS)}, at least 1, at least 1, at least 0"
        )
    need(rows, {"id": pl.String(), "source": pl.String(), "prompt": MESSAGES, "completion": MESSAGES}, what="captions")
    rows = optional(rows, {**CARRIED, "relevance": pl.Float64(), "question": pl.String()}).sort("id")
    rows = rows.with_columns(
        picture_keys(rows, clusters),
        picture_lists(rows, clusters),
        text=joined_text("completion"),
        asked=pl.when(pl.col("question").is_null()).then(asked()),
        relevance=pl.col("relevance").cast(pl.Float64).fill_nan(None).round(SCORE_DECIMALS),
    )
    least = (bands or Bands()).relevant_min
    captions, refused = sift(
        rows,
        {
            "no_picture": ~has_picture(),
            "empty_completion": is_empty("completion", images="images"),
            "not_one_text": (pl.col("completion").list.len() != 1)
            | pl.col("completion").list.eval(pl.element().struct.field("tool_calls").is_not_null()).list.any()
            | moved_images("images", {"completion": "completion"}).is_not_null(),
            "low_relevance": pl.lit(False) if least is None else pl.col("relevance") < least,
        },
    )
    heard = [rows.select("text", "pictures")]
    if said is not None:
        heard.append(said.select("text", "pictures"))
    spoken = _spoken(captions, pl.concat(heard))
    made, unmade = [_NOTHING.to_frame()], [refused]
    swapped = [one for one in KINDS if one in kinds and one != "other_picture"]
    for found in ([_swapped(captions, spoken, swapped, relevance, min_margin, seed)] if swapped else []) + (
        [_others(captions, spoken, relevance, min_margin, compared, seed)] if "other_picture" in kinds else []
    ):
        made.append(found.made.select(_NOTHING.names()).cast(_NOTHING))
        unmade.append(found.unmade)
    every = pl.concat(made)
    every = every.with_columns(
        stable_hash([_seeds(seed, every.height), every["id"], every["kind"]], purpose="kind").alias("_draw")
    ).sort("id", "_draw")
    every = every.with_columns(_place=pl.int_range(pl.len()).over("id"))
    idle = every.filter(pl.col("_place") >= each).select("id", part="kind", reasons=pl.lit(["kind_not_drawn"]))
    taken = every.filter(pl.col("_place") < each).select(_NOTHING.names()).sort("id", "kind")
    return Negatives(taken, account(*unmade, idle))


_NOTHING = pl.Schema({"id": pl.String, "kind": pl.String, "text": pl.String, "other": pl.String, "told": pl.String})


def _spoken(captions: pl.DataFrame, said: pl.DataFrame) -> pl.DataFrame:
    """`picture` (the key of a caption's pictures) and `text`: what `said` says of any of them, sorted.

    What a wrong caption says is among it, too: nothing tells that it is wrong of everything.
    """
    shown = captions.select("picture", one="pictures").unique("picture", keep="first", maintain_order=True)
    texts = said.select("text", one="pictures").explode("one").drop_nulls("one").unique()
    met = shown.explode("one").join(texts, on="one", how="inner")
    return met.select("picture", "text").unique().sort("picture", "text")


def negative_pairs(rows: pl.DataFrame, found: Negatives) -> Built:
    """PREFERENCE rows: a caption chosen, the negative made of it rejected. `rows`: those that `found` was made of."""
    both = _joined(rows, found)
    made = both.with_columns(
        derived_ids(both, ["id", "kind"], purpose="hard_negative"),
        picture_groups(both),
        chosen="completion",
        rejected=one_message("text", "assistant"),
        images=moved_images("images", {"prompt": "prompt", "completion": "chosen"}),
    )
    return finish(made.drop("margin", strict=False), RecordType.PREFERENCE, [found.unmade])


def negative_rows(rows: pl.DataFrame, found: Negatives) -> Built:
    """UNPAIRED rows with a false label: the negatives alone. `rows` are those that `found` was made of."""
    both = _joined(rows, found)
    made = both.with_columns(
        derived_ids(both, ["id", "kind"], purpose="negative_row"),
        picture_groups(both),
        completion=one_message("text", "assistant"),
        label=pl.lit(False),
        label_confidence=pl.lit(None, pl.Float32),
        label_sources=pl.lit(["hard_negative"], dtype=pl.List(pl.String)),
        images=moved_images("images", {"prompt": "prompt"}),
    )
    return finish(made, RecordType.UNPAIRED, [found.unmade])


def _joined(rows: pl.DataFrame, found: Negatives) -> pl.DataFrame:
    """Each negative beside its caption, with `evidence` and `meta` that say how it was made."""
    carried = optional(rows, CARRIED)
    both = found.made.join(carried.drop("text", "kind", "other", "told", strict=False), on="id", how="left")
    evidence = json_object(by=pl.lit("hard_negative"), kind=pl.col("kind"), caption=pl.col("id"), other=pl.col("other"))
    evidence = with_json(evidence, how=pl.col("told"), of=pl.col("evidence"))
    kind = pl.lit('"') + pl.col("kind") + pl.lit('"')
    meta = with_json(pl.coalesce("meta", pl.lit("{}")), hard_negative=kind)
    return both.sort("id", "kind").with_columns(evidence=evidence, meta=meta)


# ---------------------------------------------------------------------------------------------------- one word changed


def _swapped(
    captions: pl.DataFrame,
    spoken: pl.DataFrame,
    kinds: Sequence[attribute_words.Kind],
    relevance: Relevance | None,
    min_margin: float,
    seed: int,
) -> Negatives:
    """One change of each kind for every caption, drawn by a hash among those that are surely false: what stands in the
    captions as often as it stands there, so that no word tells by itself that a text was made."""
    options, possible = _options(captions, spoken, kinds)
    drawn = stable_hash(
        [_seeds(seed, options.height), *(options[name].cast(pl.String) for name in ("id", "kind", "at", "to"))],
        purpose="swap",
    )
    # the smallest of exponential draws falls on each in proportion to its weight
    even = (drawn.str.head(12).str.to_integer(base=16).cast(pl.Float64) + 1) / (1 << 48)
    ranked = options.with_columns(_draw=-even.log() / options["weight"], _name=drawn)
    ranked = ranked.sort("id", "kind", "_draw", "_name")
    best = ranked.unique(["id", "kind"], keep="first", maintain_order=True)
    best = best.with_columns(relevance=pl.lit(None, pl.Float64), swap_relevance=pl.lit(None, pl.Float64))
    if relevance is not None and best.height:
        scored = _scored(best, captions, relevance)
        best = best.with_columns(scored["relevance"], swap_relevance=scored["other_relevance"])
    # a caption that is wrong itself may be put right; what nothing is known of is as certain as without a relevance
    false = _fits_less("swap_relevance", min_margin).fill_null(True)
    fitting = best.filter(~false)
    best = best.filter(false)
    told = json_object(
        **{"from": pl.col("from"), "to": pl.col("to"), "at": pl.col("at")},
        language=pl.col("language"),
        lists=pl.lit(attribute_words.VERSION),
        drawn=pl.col("drawn"),
        relevance=pl.col("relevance"),
        swap_relevance=pl.col("swap_relevance"),
    )
    made = best.with_columns(told=told, other=pl.lit(None, pl.String)).sort("id", "kind")
    every = captions.select("id").join(pl.DataFrame({"kind": list(kinds)}, schema={"kind": pl.String}), how="cross")
    left = every.join(made, on=["id", "kind"], how="anti")
    left = left.join(possible, on=["id", "kind"], how="left", maintain_order="left")
    fitting = fitting.select("id", "kind", fits=pl.lit(True))
    left = left.join(fitting, on=["id", "kind"], how="left", maintain_order="left")
    reason = (
        pl.when(pl.col("fits").fill_null(False))
        .then(pl.lit(["near_is_relevant"]))
        .when(pl.col("there").fill_null(False))
        .then(pl.lit(["swap_is_true"]))
    )
    unmade = left.select("id", part="kind", reasons=reason.otherwise(pl.lit(["no_certain_word"])))
    return Negatives(made, unmade)


_OPTION = pl.Schema(
    {
        "id": pl.String, "kind": pl.String, "language": pl.String, "at": pl.Int64, "from": pl.String, "to": pl.String,
        "text": pl.String, "weight": pl.Int64, "drawn": pl.String,
    }
)  # fmt: skip


def _options(
    captions: pl.DataFrame, spoken: pl.DataFrame, kinds: Sequence[attribute_words.Kind]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every change of every caption that is surely false of it; and `id`, `kind`, `there` where a word is certain.

    `weight`: how many captions state what is put in; `drawn` is "texts" then. Where they state nothing that could be
    put in, all of the list may be, each alike, and `drawn` is "list". A position has one other, and no choice.
    A batch kernel: each distinct text is looked at once for each kind.
    """
    often = {kind: Counter[str]() for kind in kinds}
    for text, times in captions.group_by("text").len().iter_rows():
        for kind in kinds:
            often[kind].update(dict.fromkeys(attribute_swaps.stated(text, kind), times))
    said: dict[str, list[str]] = {}
    for picture, text in spoken.iter_rows():
        said.setdefault(picture, []).append(text)
    forms = {picture: {_form(text) for text in texts} for picture, texts in said.items()}
    stated: dict[tuple[str, str], set[str]] = {}
    changes: dict[tuple[str, str], list[attribute_swaps.Change]] = {}
    found: list[tuple[str, str, str, int, str, str, str, int, str | None]] = []
    there: list[tuple[str, str]] = []
    for row, picture, text in captions.select("id", "picture", "text").iter_rows():
        for kind in kinds:
            if (picture, kind) not in stated:
                stated[picture, kind] = set().union(*(attribute_swaps.stated(one, kind) for one in said[picture]))
            if (text, kind) not in changes:
                changes[text, kind] = attribute_swaps.changes(text, kind)
            if changes[text, kind]:
                there.append((row, kind))
            known = any(often[kind][means] for change in changes[text, kind] for means in change.means)
            drawn = None if kind == "position" else "texts" if known else "list"
            for change in changes[text, kind]:
                for new, means in zip(change.new, change.means, strict=True):
                    weight = often[kind][means] if known else 1
                    if not weight or means in stated[picture, kind]:
                        continue
                    made = attribute_swaps.applied(text, change, new)
                    if _form(made) not in forms[picture]:
                        found.append((row, kind, change.language, change.start, change.old, new, made, weight, drawn))
    places = pl.DataFrame(there, schema={"id": pl.String, "kind": pl.String}, orient="row")
    return pl.DataFrame(found, schema=_OPTION, orient="row"), places.with_columns(there=pl.lit(True))


def _form(text: str) -> str:
    """A text as it is compared with what is true: without case, white space and punctuation."""
    return "".join(one for one in text.casefold() if one.isalnum())


# ---------------------------------------------------------------------------------------------- another picture's words


def _others(
    captions: pl.DataFrame,
    spoken: pl.DataFrame,
    relevance: Relevance | None,
    min_margin: float,
    compared: int,
    seed: int,
) -> Negatives:
    """The caption of a near picture for every caption."""
    near = _near(captions, seed)
    forms = stable_hash([spoken.select(form=likeness.without_form(pl.col("text")))["form"]], purpose="form")
    true = spoken.select("picture", forms.alias("form"))
    near = near.with_columns(
        stable_hash([near.select(form=likeness.without_form(pl.col("text")))["form"]], purpose="form").alias("form")
    )
    near = near.join(true, on=["picture", "form"], how="anti")
    told = spoken.select("picture", words=likeness.tokens(pl.col("text"))).explode("words")
    told = told.group_by("picture", maintain_order=True).agg(pl.col("words").unique())
    frame = pl.lit(_FRAME.split(), dtype=pl.List(pl.String))
    near = near.join(told, on="picture", how="left", maintain_order="left").with_columns(
        _says=likeness.tokens(pl.col("text")).list.set_difference(frame),
        _own=likeness.tokens(pl.col("own")).list.set_difference(frame),
    )
    says, lacks = pl.col("_says").list.set_difference("words"), pl.col("_own").list.set_difference("_says")
    near = near.with_columns(_else=(says.list.len() > 0) & (lacks.list.len() > 0))
    near = near.sort(["id", "similarity", "_draw"], descending=[False, True, False])
    if relevance is None:
        near = near.with_columns(_why=pl.when(~pl.col("_else")).then(pl.lit("may_be_true")))
        near = near.with_columns(relevance=pl.lit(None, pl.Float64), other_relevance=pl.lit(None, pl.Float64))
        order = ["id", "similarity", "_draw"]
    else:
        near = near.filter(pl.int_range(pl.len()).over("id") < compared)
        near = near.with_columns(_scored(near, captions, relevance))
        less = _fits_less("other_relevance", min_margin)
        near = near.with_columns(
            _why=pl.when(less.is_null()).then(pl.lit("unjudged_relevance")).when(~less).then(pl.lit("near_is_relevant"))
        )
        order = ["id", "other_relevance", "_draw"]
    passed = near.filter(pl.col("_why").is_null()).sort(order, descending=[False, True, False])
    best = passed.unique("id", keep="first", maintain_order=True)
    how = json_object(
        similarity=pl.col("similarity").round(4),
        relevance=pl.col("relevance"),
        other_relevance=pl.col("other_relevance"),
    )
    made = best.select("id", pl.lit("other_picture").alias("kind"), "text", "other", told=how)
    why = near.group_by("id", maintain_order=True).agg(reasons=pl.col("_why").drop_nulls().unique().sort())
    left = captions.select("id").join(made, on="id", how="anti").join(why, on="id", how="left", maintain_order="left")
    reasons = pl.when(pl.col("reasons").list.len() > 0).then("reasons").otherwise(pl.lit(["no_near_picture"]))
    return Negatives(made, left.select("id", part=pl.lit("other_picture"), reasons=reasons))


def _scored(texts: pl.DataFrame, captions: pl.DataFrame, relevance: Relevance) -> pl.DataFrame:
    """Of each `text` of a caption `id`: `relevance` of the caption, and `other_relevance`, its own to that picture."""
    own = captions.select("id", "prompt", "images", "relevance")
    asked_of = texts.select("id", completion=one_message("text", "assistant"))
    asked_of = asked_of.join(own, on="id", how="left", maintain_order="left")
    scores = relevance(asked_of).cast(pl.Float64).fill_nan(None).round(SCORE_DECIMALS)
    return asked_of.select("relevance").with_columns(scores.alias("other_relevance"))


def _fits_less(other: str, min_margin: float) -> pl.Expr:
    """Whether a text fits the picture less than the caption by `min_margin`; null where either is unjudged."""
    gap = (pl.col("relevance") - pl.col(other)).round(SCORE_DECIMALS)
    return (gap >= min_margin) & (gap > 0)


def _near(captions: pl.DataFrame, seed: int) -> pl.DataFrame:
    """`id`, `picture`, `own`, and of near captions of other pictures `other`, `text`, `similarity`, `_draw`.

    Captions that share a rare word or pair of words are compared, each with its neighbours in a drawn order: as many
    comparisons as captions, however common a word is. The similarity is the Jaccard one of words and their pairs.
    """
    keys = ["picture", "asked", "text"]
    texts = captions.select("id", *keys, "pictures").unique(keys, keep="first", maintain_order=True)
    texts = texts.with_columns(
        marks=likeness.marks(pl.col("text")),
        _draw=stable_hash([_seeds(seed, texts.height), texts["picture"], texts["text"]], purpose="near"),
    )
    words = texts.select("id", "asked", "_draw", "marks").explode("marks").drop_nulls("marks")
    words = words.with_columns(_count=pl.len().over("asked", "marks")).filter(pl.col("_count") > 1)
    words = words.sort("id", "_count", "marks").filter(pl.int_range(pl.len()).over("id") < RARE)
    words = words.sort("asked", "marks", "_draw", "id")
    group = ["asked", "marks"]
    parts = []
    for step in range(1, NEIGHBOURS + 1):
        # round the end to the beginning, so that the last has as many neighbours as the others
        place = (pl.int_range(pl.len()) + step) % pl.len()
        parts.append(words.select("id", other=pl.col("id").gather(place).over(group)))
    met = pl.concat(parts)
    met = pl.concat([met, met.select(id="other", other="id")]).unique().sort("id", "other")
    of_text = texts.select("id", "pictures", "text", "marks", "_draw")
    met = met.join(of_text.rename({"text": "own"}).drop("_draw"), on="id", how="left", maintain_order="left").join(
        of_text.rename({"id": "other"}), on="other", how="left", suffix="_other", maintain_order="left"
    )
    shared = pl.col("pictures").list.set_intersection("pictures_other").list.len() > 0
    met = met.filter(~shared).with_columns(similarity=likeness.jaccard(pl.col("marks"), pl.col("marks_other")))
    met = met.select(first="id", other="other", text="text", similarity="similarity", _draw="_draw")
    # captions that stand several times of one picture share their neighbours
    numbered = captions.select("id", *keys).join(
        texts.select(*keys, first="id"), on=keys, how="left", nulls_equal=True, maintain_order="left"
    )
    return numbered.select("id", "picture", "first", own="text").join(met, on="first", how="inner").drop("first")


def _seeds(seed: int, height: int) -> pl.Series:
    return pl.repeat(str(seed), height, eager=True, dtype=pl.String)
