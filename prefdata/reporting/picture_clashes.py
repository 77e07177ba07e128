"""Rows about one picture that contradict each other: what a run found of them, and how its page shows it.

One picture is meant as `picture_duplicates` found it, so its copies count as it does; one question is the whole prompt,
as it is compared. A pair of rows is said to clash in one of three ways, and shown as a doubt in a fourth:

- `opposite`: the same answer is right in one row and wrong in another, by label or as the two sides of pairs.
- `attribute`: two right answers are equal but for one word, a colour, a number or a side, and both cannot be so.
- `yes_no`: one right answer begins with yes, another with no.
- `apart`: two right answers have hardly a word in common. That is no contradiction: most pictures can be described in
  two ways. It is where a caption that was mixed up with another is found by looking.

A second caption that says the same in other words is none of these, nor are two answers of which one is labelled wrong:
that is what preference data are for. Answers without a label count as right in rows to be learnt as they stand (SFT).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata.build.attribute_words import COLOURS, NEAR_COLOURS, NUMBERS
from prefdata.dedup.heads import around_heads
from prefdata.dedup.shingles import normalised
from prefdata.judging import Grouping
from prefdata.schema import RecordType
from prefdata.sides import sides_of
from prefdata.text import joined_text

KINDS = {
    "opposite": "the same answer is right in one row and wrong in another",
    "attribute": "both are right, and equal but for a colour, a number or a side",
    "yes_no": "both are right, and one says yes, the other no",
    "apart": "both are right, with hardly a word in common: two captions, or one of another picture",
}
"""What clashes, and how it is told, the surest first."""

SURE = ("opposite", "attribute", "yes_no")
SHOWN = 6
"""Pairs of each kind on the page."""
MOST_ANSWERS = 40
"""Different right answers to one question about one picture that are compared with each other, the first by text."""
LITTLE = 0.1
"""Words in common, as a part of all words of both, at which two answers are apart."""

SIDES = (frozenset({"left", "right"}), frozenset({"top", "bottom"}), frozenset({"above", "below"}))
YES = frozenset({"yes", "yeah", "yep", "是的", "是", "有", "对"})
NO = frozenset({"no", "nope", "不是", "不", "没有", "没", "不对"})
READS = {"picture_similarity"}


class _Said(NamedTuple):
    """An answer to one question about one picture."""

    id: str
    text: str
    right: bool | None


class _Clash(NamedTuple):
    """Two answers, by the rows that say them."""

    kind: str
    one: list[str]
    other: list[str]


def found(
    run: Path, record_type: RecordType, groupings: Sequence[tuple[Grouping, pl.DataFrame]]
) -> dict[str, Any] | None:
    """Number of clashes by kind, of rows in them, and ids of some pairs; None where no grouping looked at pictures.

    `groupings` come with their edges. Each two answers are one pair, named by the first row of either.
    """
    seeing = [(one, edges) for one, edges in groupings if set(edges.columns) >= READS]
    if not seeing or record_type not in (RecordType.UNPAIRED, RecordType.SFT, RecordType.PREFERENCE):
        return None
    clusters = pl.concat(
        around_heads(
            edges.filter(pl.col("picture_similarity") >= one.min_similarity).select(
                "left", "right", similarity="picture_similarity"
            )
        ).select("id", cluster=pl.lit(f"{at}:") + pl.col("cluster"))
        for at, (one, edges) in enumerate(seeing)
    )
    pairs: dict[str, set[tuple[str, str]]] = {kind: set() for kind in KINDS}
    rows: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for group in _groups(run, record_type, clusters):
        for clash in _clashes(group):
            pairs[clash.kind].add((min(clash.one[0], clash.other[0]), max(clash.one[0], clash.other[0])))
            rows[clash.kind].update(clash.one, clash.other)
    return {
        "kinds": {kind: {"pairs": len(pairs[kind]), "rows": len(rows[kind])} for kind in KINDS},
        "examples": {kind: [list(pair) for pair in sorted(pairs[kind])[:SHOWN]] for kind in KINDS},
    }


def named(report: dict[str, Any]) -> set[str]:
    """Ids of the rows that the page shows."""
    told = report.get("picture_clashes") or {"examples": {}}
    return {name for pairs in told["examples"].values() for pair in pairs for name in pair}


def section(report: dict[str, Any], rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """For each kind of which there are any: what it is, how many, and pairs of rows as the page draws them."""
    told = report.get("picture_clashes")
    if told is None:
        return []
    return [
        {
            "kind": kind,
            "says": says,
            "sure": kind in SURE,
            **told["kinds"][kind],
            "examples": [[rows[name] for name in pair] for pair in told["examples"][kind]],
        }
        for kind, says in KINDS.items()
        if told["kinds"][kind]["pairs"]
    ]


def _groups(run: Path, record_type: RecordType, clusters: pl.DataFrame) -> Iterator[list[_Said]]:
    """What is said in answer to each question about each picture; rows of one cluster with one prompt."""
    sides = sides_of(record_type)[1:]
    files = [path for folder in ("kept", "dropped") for path in sorted((run / folder).glob("*.parquet"))]
    wanted = clusters["id"].unique().implode()
    columns = [
        joined_text("prompt", separator="\x1e").alias("prompt"),
        *(joined_text(side).alias(side) for side in sides),
    ]
    if record_type is RecordType.UNPAIRED:
        columns.append(pl.col("label"))
    frames = []
    for path in files:
        rows = pl.scan_parquet(path, glob=False).filter(pl.col("id").is_in(wanted))
        label = [pl.col("label")] if record_type is RecordType.UNPAIRED else []
        frames.append(
            rows.select(
                "id",
                *label,
                prompt=joined_text("prompt", separator="\x1e"),
                **{side: joined_text(side) for side in sides},
            ).collect()
        )
    if not frames:
        return
    rows_said = pl.concat(frames)
    good = {"chosen": True, "rejected": False}
    said = pl.concat(
        rows_said.select(
            "id",
            question=normalised(rows_said["prompt"]),
            text=normalised(rows_said[side]),
            right=pl.col("label") if record_type is RecordType.UNPAIRED else pl.lit(good.get(side, True)),
        )
        for side in sides
    )
    grouped = clusters.unique().join(said.filter(pl.col("text") != ""), on="id")
    for group in grouped.sort("cluster", "question", "text", "id").partition_by("cluster", "question"):
        if group["id"].n_unique() > 1:
            yield [_Said(*row) for row in group.select("id", "text", "right").iter_rows()]


def _clashes(said: list[_Said]) -> Iterator[_Clash]:
    """Each two answers that clash, once."""
    rows: dict[tuple[str, bool], list[str]] = {}
    for one in said:
        if one.right is not None:
            rows.setdefault((one.text, one.right), []).append(one.id)
    for (text, right), ids in rows.items():
        others = [name for name in rows.get((text, False), ()) if name not in ids]
        if right and others:
            yield _Clash("opposite", ids, others)
    texts = [text for text, right in rows if right][:MOST_ANSWERS]
    for first, second in combinations(texts, 2):
        kind, ids, others = _between(first, second), rows[first, True], rows[second, True]
        if kind is not None and ids[0] != others[0]:
            yield _Clash(kind, ids, others)


def _between(one: str, other: str) -> str | None:
    """How two right answers clash, None where they do not."""
    first, second = _words(one), _words(other)
    if not first or not second:
        return None
    for yes, no in ((first, second), (second, first)):
        if yes[0] in YES and no[0] in NO:
            return "yes_no"
    differing = [pair for pair in zip(first, second) if pair[0] != pair[1]]
    if len(first) == len(second) and len(differing) == 1 and _exclude(*differing[0]):
        return "attribute"
    shared, every = set(first) & set(second), set(first) | set(second)
    return "apart" if len(shared) <= LITTLE * len(every) else None


def _words(text: str) -> list[str]:
    """Words without the marks around them; text without spaces, such as Chinese, in characters."""
    parts = [part.strip(".,;:!?\"'()。，！？；：、") for part in text.replace("，", " ").replace("。", " ").split()]
    return [word for part in parts if part for word in ([part] if part.isascii() or part in YES | NO else part)]


def _exclude(one: str, other: str) -> bool:
    """Whether two words cannot both be true of one thing."""
    if one in NUMBERS and other in NUMBERS:
        return True
    if one in COLOURS and other in COLOURS:
        return other not in NEAR_COLOURS.get(one, ())
    if one.isdigit() and other.isdigit():
        return int(one) != int(other)
    return frozenset({one, other}) in SIDES
