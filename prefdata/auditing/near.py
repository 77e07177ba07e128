"""Near-duplicates: rows, prompts and sides that are almost the same, and what goes wrong between them.

Two texts are nearly the same at a Jaccard similarity of their sets of three words in a row of at least 0.8 (see
`sketches`); a row is told only together with one that it was compared with and that reached it on every side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata.auditing.check import ANSWERED, PAIRS, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.duplicates import LEAKED, LONG_ANSWER, splits
from prefdata.auditing.features import SHOWN
from prefdata.auditing.finding import Found, Levels
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.auditing.sketches import Near


def _near(data: Audited) -> tuple[Near, Near]:
    """Of the prompts, and of all answers together."""
    sketches = data.sketches
    assert sketches is not None
    return sketches.near(data.rows, ("prompt",)), sketches.near(data.rows, data.answers)


def _grouped(data: Audited) -> pl.DataFrame:
    """The compared rows with `row`, `<side>_norm`, `<side>_near` (the group of the text), and `label`.

    "What is this?" asks something else of another picture: prompts of rows with other pictures are of other groups.
    """
    assert data.sketches is not None
    prompts, answers = _near(data)
    groups = [*prompts.groups, *answers.groups]
    own = [f"{side}_norm" for side in data.sides] + [f"{side}_chars" for side in data.sides]
    rows = data.rows.head(data.sketches.compared)
    label = ["label"] if "label" in rows.columns else []
    found = rows.select("row", *own, *label, *({SHOWN} & set(rows.columns))).with_columns(
        pl.Series(f"{side}_near", group) for side, group in zip(data.sides, groups, strict=True)
    )
    if SHOWN not in found.columns:
        return found
    apart = pl.col(SHOWN).rank("dense").fill_null(0).cast(pl.Int64) * (pl.col("prompt_near").max() + 1)
    return found.with_columns(prompt_near=pl.col("prompt_near") + apart).drop(SHOWN)


def _verified(data: Audited, pairs: pl.DataFrame, sides: dict[str, str]) -> pl.DataFrame:
    """`pairs` (`row`, `other`) with `similarity`, the lowest of the sides compared; those that reach the minimum.

    `sides`: side of `row` -> side of `other`.
    """
    import numpy as np

    from prefdata.auditing.sketches import MIN_SIMILARITY

    prompts, answers = _near(data)
    left, right = (pairs[name].to_numpy().astype(np.int64) for name in ("row", "other"))
    lowest = np.ones(len(left))
    for here, there in sides.items():
        if here == "prompt":
            found = prompts.similarity((0, left), (0, right))
        else:
            numbers = [data.answers.index(side) for side in (here, there)]
            found = answers.similarity((numbers[0], left), (numbers[1], right))
        lowest = np.minimum(lowest, found)
    told = pairs.with_columns(similarity=pl.Series(lowest))
    return told.filter(pl.col("similarity") >= MIN_SIMILARITY)


def _told(data: Audited, pairs: pl.DataFrame, **measures: Any) -> Found:
    """What pairs of `row` and `other` come to, the first of each row."""
    assert data.sketches is not None
    pairs = pairs.unique("row", keep="first", maintain_order=True).sort("row")
    if not pairs.height:
        return Found()
    if data.sketches.compared < data.total:
        measures["compared_rows"] = data.sketches.compared
    measures["mean_similarity"] = round(float(pairs["similarity"].to_numpy().mean()), 4)
    return Found(rows=pairs["row"], measures=measures, beside=dict(pairs.select("row", "other").iter_rows()))


def _earlier(data: Audited, rows: pl.DataFrame, keys: list[str], sides: dict[str, str]) -> pl.DataFrame:
    """Verified pairs of rows and an earlier one with the same `keys`: the first of them, else the one just before."""
    later = rows.select("row", *keys).with_columns(
        pl.col("row").first().over(keys).alias("first"), pl.col("row").shift(1).over(keys).alias("before")
    )
    later = later.filter(pl.col("row") != pl.col("first"))
    found = _verified(data, later.select("row", other="first"), sides)
    left = later.join(found, on="row", how="anti", maintain_order="left").filter(pl.col("before") != pl.col("first"))
    return pl.concat([found, _verified(data, left.select("row", other="before"), sides)]).sort("row")


def _duplicates(data: Audited) -> Found:
    """Rows nearly the same on every side, and of the same label, as an earlier one; exact duplicates apart."""
    rows = _grouped(data)
    label = ["label"] if "label" in rows.columns else []
    rows = rows.unique([*(f"{side}_norm" for side in data.sides), *label], keep="first", maintain_order=True)
    if data.type is RecordType.PREFERENCE:
        # where both sides are of one group, the other row may prefer the contrary just as well
        rows = rows.filter(pl.col("chosen_near") != pl.col("rejected_near"))
    keys = [*(f"{side}_near" for side in data.sides), *label]
    pairs = _earlier(data, rows, keys, {side: side for side in data.sides})
    members = pl.concat([pairs["row"], pairs["other"]]).unique()
    sizes = rows.filter(pl.col("row").is_in(members.implode())).group_by(keys).len()["len"].sort()
    return _told(data, pairs, groups=len(sizes), largest_group=sizes.to_list()[-1] if len(sizes) else 0)


def _prompts(data: Audited) -> Found:
    """Rows whose prompt is nearly, but not quite, that of an earlier row."""
    rows = _grouped(data).unique("prompt_norm", keep="first", maintain_order=True)
    return _told(data, _earlier(data, rows, ["prompt_near"], {"prompt": "prompt"}), prompts=rows.height)


def _alike(data: Audited) -> Found:
    """Pairs whose sides are nearly the same."""
    assert data.sketches is not None
    found = data.sketches.alike
    if not found:
        return Found()
    rows = pl.Series("row", [row for row, _ in found], dtype=pl.UInt32)
    told = {row: f"Jaccard similarity {similarity:.2f}" for row, similarity in found}
    mean = sum(similarity for _, similarity in found) / len(found)
    return Found(rows=rows, measures={"mean_similarity": round(mean, 4)}, beside=told)


def _contradictions(data: Audited) -> Found:
    """Rows that nearly the same row contradicts: the other label, or the sides the other way round."""
    rows = _grouped(data)
    if data.type is RecordType.PREFERENCE:
        keys = ["prompt_near", "chosen_near", "rejected_near"]
        apart = rows.filter(pl.col("chosen_near") != pl.col("rejected_near"))
        turned = apart.select(
            "prompt_near", chosen_near="rejected_near", rejected_near="chosen_near", other="row",
            _exact=pl.struct(prompt="prompt_norm", better="rejected_norm", worse="chosen_norm"),
        )  # fmt: skip
        apart = apart.with_columns(_own=pl.struct(prompt="prompt_norm", better="chosen_norm", worse="rejected_norm"))
        sides = {"prompt": "prompt", "chosen": "rejected", "rejected": "chosen"}
    else:
        keys = ["prompt_near", "completion_near", "label"]
        exact = pl.struct(prompt="prompt_norm", answer="completion_norm")
        apart = rows.filter(pl.col("label").is_not_null()).with_columns(_own=exact)
        turned = apart.select("prompt_near", "completion_near", ~pl.col("label"), other="row", _exact=exact)
        sides = {"prompt": "prompt", "completion": "completion"}
    # one row for each different text of a group: copies of a row meet the same others
    apart = apart.select("row", *keys, "_own")
    turned = turned.unique([*keys, "_exact"], keep="first", maintain_order=True).with_columns(
        _number=pl.int_range(pl.len()).over(keys)
    )
    met = apart.join(turned.filter(pl.col("_number") < _MET), on=keys, maintain_order="left")
    pairs = met.filter(pl.col("_own") != pl.col("_exact")).select("row", "other")
    return _told(data, _verified(data, pairs, sides))


_MET = 4
"""Different rows of the other side of a contradiction with which each row is compared."""


def _leaks(data: Audited) -> Found:
    """Held-out rows whose prompt, or whose long answer, nearly stands in a training file; exact ones apart."""
    named = splits(data.rows)
    if named["split"].n_unique() < 2:
        return Found()
    rows = _grouped(data).join(named, on="row", maintain_order="left")
    training, held = (rows.filter(pl.col("split") == name) for name in ("train", "held_out"))
    found, counts = [], {}
    for here in data.sides:
        met = []
        for there in data.answers if here != "prompt" else ("prompt",):
            seen = training.select(pl.col(f"{there}_norm").alias(f"{here}_norm"))
            new = held.join(seen, on=f"{here}_norm", how="anti", maintain_order="left")
            if here != "prompt":
                new = new.filter(pl.col(f"{here}_chars") >= LONG_ANSWER)
            first = training.select(pl.col(f"{there}_near").alias(f"{here}_near"), other="row")
            first = first.unique(f"{here}_near", keep="first", maintain_order=True)
            pairs = new.join(first, on=f"{here}_near", maintain_order="left").select("row", "other")
            met.append(_verified(data, pairs, {here: there}))
        found += met
        counts[here] = pl.concat(met)["row"].n_unique()
    pairs = pl.concat(found)
    if not pairs.height:
        return Found()
    told = _told(data, pairs, held_out_rows=held.height, **{f"{side}_nearly_seen": n for side, n in counts.items()})
    return Found(
        rows=told.rows, measures=told.measures, beside=told.beside, severity=LEAKED.of(len(told.rows), held.height)
    )


_SOURCE = "Lee et al. 2022, Deduplicating Training Data Makes Language Models Better; Jaccard over 3 words in a row"

NEAR_DUPLICATES = Check(
    name="near_duplicates",
    family="duplicates",
    title="The row is nearly the same as an earlier one, on every side",
    why="Rows that say the same weigh more than once, and land on both sides of a split by row.",
    cure="groupings: [near_duplicates: {min_similarity: 0.8}]",
    source=_SOURCE,
    types=ANSWERED,
    levels=Levels(major=0.1, minor=0.01),
    near=True,
    find=_duplicates,
)

NEAR_PROMPTS = Check(
    name="near_prompts",
    family="duplicates",
    title="The prompt is nearly the same as that of an earlier row",
    why="A split by row, or by the exact prompt, puts almost the same question on both sides.",
    cure="split: {evaluation: 0.1, connect: [prompt, duplicates]}",
    source=_SOURCE,
    levels=Levels(major=0.5, minor=0.1),
    near=True,
    find=_prompts,
)

NEAR_EQUAL_SIDES = Check(
    name="near_equal_sides",
    family="duplicates",
    title="Chosen and rejected are nearly the same text",
    why="The two log-probabilities are almost equal: DPO learns little from the pair, and may lower both.",
    cure="Leave the rows out, or keep them knowingly where one word decides.",
    source="Pal et al. 2024, Smaug (DPO-Positive): pairs at small edit distances lower the likelihood of chosen",
    types=PAIRS,
    levels=Levels(major=0.1, minor=0.005),
    near=True,
    find=_alike,
)

NEAR_CONTRADICTION = Check(
    name="near_contradiction",
    family="duplicates",
    title="A row that is nearly the same says the contrary: the other label, or the sides the other way round",
    why="Nearly the same texts pull the model both ways; unless they differ in what they say, one label is wrong.",
    cure="groupings: [near_duplicates: {min_similarity: 0.8}]  # clusters of both labels are told",
    types=frozenset({RecordType.PREFERENCE, RecordType.UNPAIRED}),
    levels=Levels(major=0.05, minor=0),
    near=True,
    find=_contradictions,
)

NEAR_SPLIT_LEAK = Check(
    name="near_split_leak",
    family="duplicates",
    title="A row of a test or validation file nearly stands in a training file: the prompt, or a long answer",
    why="The evaluation measures memory: every figure of it is too good.",
    cure="split: {evaluation: 0.1, connect: [prompt, duplicates]}",
    source="Lee et al. 2022, section 4.2",
    types=ANSWERED,
    near=True,
    find=_leaks,
)
