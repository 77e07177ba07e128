"""Agreement of annotators, where rows say how several of them voted.

Votes stand in the `evidence` or `meta` of a row as `votes`: how often each verdict was given ({"chosen": 2,
"rejected": 1, "tie": 0}; {"true": 2, "false": 1}), or who gave which ({"ann": "chosen", "bob": "rejected"}; of rows
that `from_verdicts` built as `annotators`: {"chosen": ["ann"], "rejected": ["bob"], "tie": []}). Labelled
rows may also be one vote each, with the `annotator` (or `annotator_id`, `worker_id`, `rater`) in `meta`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from prefdata.auditing.check import Check
from prefdata.auditing.dataset import Audited, place
from prefdata.auditing.finding import Found, Severity
from prefdata.schema import RecordType, stable_hash

MIN_ITEMS = 20
"""Items with several votes below which nothing is said; of an annotator, comparisons with others."""

RELIABLE, CHANCE = 0.667, 0.2
"""Krippendorff's alpha below which nothing but tentative conclusions hold (2004, page 241), and below which agreement
is slight (Landis and Koch, 1977, for kappa)."""

APART = 0.1
"""Agreement by which an annotator lies below all others together, with the whole interval, to be told."""

MOST_ANNOTATORS = 20
"""Annotators who are told one by one, the worst first."""

MOST_WEIGHED = 200
"""Annotators whose votes are looked at: a table of items by annotators must fit into memory."""

MOST_TOLD = 1_000
"""Verdicts that are told beside their rows."""

_PLACE = ("_file", "_line", "part")

_PLAIN = r"(?i)^(?:(?:annotator|worker|rater|judge|a|w|r)[ _-]?)?\d{1,4}$"
"""Annotators' names that mean no person."""

_APART = 1e-6
"""By which two verdicts differ at least."""

_NAMES = ("annotator", "annotator_id", "worker_id", "rater")
_VERDICTS = {
    RecordType.PREFERENCE: {"chosen": 0, "rejected": 1, "tie": 2},
    RecordType.UNPAIRED: {"true": 0, "false": 1},
}


class Votes(NamedTuple):
    """What annotators said of the rows of the sample; verdicts are numbers, see _VERDICTS."""

    counts: pl.DataFrame
    """`row`, `verdict`, `count`; an item that several rows stand for has the first of them."""
    named: pl.DataFrame
    """`row`, `annotator`, `verdict`."""


def votes(data: Audited) -> Votes:
    """All votes that the sample tells of. A batch reader of the JSON in `evidence` and `meta`."""
    verdicts = _VERDICTS[data.type]
    counts: list[tuple[int, int, int]] = []
    named: list[tuple[int, str, int]] = []
    own = [name for name in ("evidence", "meta") if name in data.sample.columns]
    label = ["label", "prompt_norm", "completion_norm"] if data.type is RecordType.UNPAIRED else []
    telling = pl.any_horizontal(pl.col(own).str.contains('"(?:votes|annotators?|annotator_id|worker_id|rater)"'))
    first: dict[tuple[int, int], int] = {}
    for one in data.sample.filter(telling).select("row", *own, *label).iter_rows(named=True):
        for text in (one[name] for name in own):
            told = _object(text)
            given, by = told.get("votes"), told.get("annotators")
            if isinstance(by, Mapping) and data.type is RecordType.PREFERENCE:
                named += [
                    (one["row"], str(name), verdicts[verdict])
                    for verdict, names in by.items()
                    if verdict in verdicts and isinstance(names, list)
                    for name in names
                ]
            elif isinstance(given, Mapping):
                for name, value in given.items():
                    if name in verdicts and isinstance(value, int) and not isinstance(value, bool):
                        counts.append((one["row"], verdicts[name], value))
                    elif (verdict := verdicts.get(str(value).lower())) is not None:
                        named.append((one["row"], name, verdict))
            elif label and one["label"] is not None:
                annotator = next((told[name] for name in _NAMES if told.get(name) is not None), None)
                if annotator is not None:
                    item = first.setdefault((one["prompt_norm"], one["completion_norm"]), one["row"])
                    named.append((item, str(annotator), verdicts[str(one["label"]).lower()]))
    who = pl.DataFrame(named, schema={"row": pl.UInt32, "annotator": pl.String, "verdict": pl.Int64}, orient="row")
    who = who.unique(["row", "annotator"], keep="last", maintain_order=True)
    often = pl.DataFrame(counts, schema={"row": pl.UInt32, "verdict": pl.Int64, "count": pl.Int64}, orient="row")
    both = pl.concat(
        [often, who.group_by("row", "verdict", maintain_order=True).agg(pl.len().cast(pl.Int64).alias("count"))]
    )
    return Votes(both.group_by("row", "verdict").agg(pl.col("count").sum()).sort("row", "verdict"), who)


def _object(text: str | None) -> dict[str, Any]:
    try:
        told = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _agreement(data: Audited) -> Found:
    """Krippendorff's alpha of the votes; the rows on which annotators differ.

    Pairs are coded by which answer was better, first or second by lot: that the sides are sorted says nothing. Verdicts
    that tied made no pair and are not counted, so that alpha is that of the rows there are, too good for the task.
    """
    import numpy as np

    from prefdata.auditing import crowds
    from prefdata.auditing.statistics import codes

    found = votes(data).counts
    table = found.pivot("verdict", index="row", values="count", maintain_order=True).fill_null(0).sort("row")
    width = len(_VERDICTS[data.type])
    if not table.height:
        return Found()
    given = np.zeros((table.height, width), dtype=np.int64)
    for name in table.columns[1:]:
        given[:, int(name)] = table[name].to_numpy()
    several = np.flatnonzero(given.sum(axis=1) > 1)
    if len(several) < MIN_ITEMS:
        return Found()
    rows, given = table["row"].gather(several), given[several]
    prompts = data.rows["prompt_norm"].gather(rows)
    alpha = crowds.alpha(given, codes(prompts), alike=(0, 1) if data.type is RecordType.PREFERENCE else ())
    size = given.sum(axis=1)
    same = (given * (given - 1)).sum() / (size * (size - 1)).sum()
    split = np.flatnonzero(given.max(axis=1) < size)
    told = {int(rows[int(at)]): "votes " + ":".join(str(number) for number in given[at]) for at in split}
    refused = {name: len(data.refused[name]) for name in ("tied_verdict", "split_votes") if name in data.refused}
    severity = Severity.MAJOR if alpha.value < CHANCE else Severity.MINOR if alpha.value < RELIABLE else Severity.NOTE
    return Found(
        rows=rows.gather(split).sort(),
        measures={
            **alpha.measures("krippendorff_alpha"),
            "agreement": round(float(same), 4),
            "items": len(several),
            "votes": int(size.sum()),
            **({"left_out": refused} if refused else {}),
        },
        severity=severity,
        beside=told,
    )


def _quality(data: Audited) -> Found:
    """Each annotator's quality by CROWDLAB, and those who agree less with the others than all do; their rows."""
    import numpy as np

    from prefdata.auditing import crowds
    from prefdata.auditing.statistics import wilson

    named = _busiest(votes(data).named)
    several = named.filter(pl.len().over("row") > 1)
    if several["row"].n_unique() < MIN_ITEMS:
        return Found()
    table = named.pivot("annotator", index="row", values="verdict", maintain_order=True).sort("row")
    names = table.columns[1:]
    verdicts = table.select(pl.col(names).fill_null(-1)).to_numpy().astype(np.int64)
    width = len(_VERDICTS[data.type])
    turned = table["row"].to_numpy() % 2 == 1
    if data.type is RecordType.PREFERENCE:  # which answer is the first one is drawn by lot: sorted sides say nothing
        verdicts[turned] = np.where(verdicts[turned] == 2, 2, np.where(verdicts[turned] < 0, -1, 1 - verdicts[turned]))
    agreement, compared = crowds.pairwise(verdicts)
    quality = crowds.crowdlab(verdicts, _predicted(data, table["row"], turned, width))
    enough = np.flatnonzero(compared >= MIN_ITEMS)
    if not len(enough):
        return Found()
    overall = float((agreement[enough] * compared[enough]).sum() / compared[enough].sum())
    intervals = {int(one): wilson(agreement[one] * compared[one], compared[one]) for one in enough}
    poor = [one for one, interval in intervals.items() if interval.high < overall - APART]
    worst = sorted(intervals, key=lambda one: (quality[one], names[one]))[:MOST_ANNOTATORS]
    called = dict(zip(names, pseudonyms(names), strict=True))
    theirs = named.filter(pl.col("annotator").is_in([names[one] for one in poor])).sort("row", "annotator")
    below = [one for one in poor if intervals[one].high < 1 / 2]
    first = named.group_by("annotator").agg(pl.col("row").min()).join(data.rows, on="row")
    where = {one["annotator"]: place(one) for one in first.select("annotator", *_PLACE).iter_rows(named=True)}
    words = {number: word for word, number in _VERDICTS[data.type].items()}
    beside: dict[int, str] = {}
    for row, annotator, verdict in theirs.head(MOST_TOLD).iter_rows():
        beside[row] = "; ".join([*filter(None, [beside.get(row)]), f"{called[annotator]}: {words[verdict]}"])
    return Found(
        rows=theirs["row"].unique().sort(),
        measures={
            "annotators": len(names),
            "agreement": round(overall, 4),
            "below": len(poor),
            "quality": {
                called[names[one]]: {
                    "crowdlab": round(float(quality[one]), 4),
                    **intervals[one].measures("agreement"),
                    "compared": int(compared[one]),
                    "first_row": where[names[one]],
                }
                for one in worst
            },
        },
        severity=Severity.MAJOR if below else Severity.MINOR if poor else Severity.NOTE,
        beside=beside,
    )


def _busiest(named: pl.DataFrame) -> pl.DataFrame:
    """The votes of the MOST_WEIGHED annotators who share most items with others."""
    others = named.with_columns((pl.len().over("row") - 1).alias("others"))
    shared = others.group_by("annotator").agg(pl.col("others").sum())
    kept = shared.sort("others", "annotator", descending=[True, False]).head(MOST_WEIGHED)
    return named.join(kept, on="annotator", how="semi", maintain_order="left")


def pseudonyms(names: Sequence[str]) -> list[str]:
    """What reports call annotators: plain short numbers as they are, with the word before them; else by a hash.

    Names may be people's, or addresses. The hash is the same in every audit, and keyed by PREFDATA_KEY where that is
    set; without it, who knows a name can tell whose it is.
    """
    given = pl.Series("name", names, dtype=pl.String)
    told = "annotator-" + stable_hash([given], purpose="annotator").str.head(8)
    plain = given.str.contains(_PLAIN)
    return told.zip_with(~plain, given).to_list()


def _predicted(data: Audited, rows: pl.Series, turned: Any, width: int) -> Any:
    """Held-out probabilities of the verdicts by the model of the family trainability; where it saw nothing nearly even,
    and never quite, so that nothing is left to lot."""
    import numpy as np

    from prefdata.auditing.probing import probe
    from prefdata.auditing.trainability import curve

    right = np.full(len(rows), 0.5)
    seen = probe(data)
    if seen is not None:
        scores = np.clip(curve(seen)[-1].scores, -500, 500)
        given = pl.DataFrame({"row": seen.rows["row"], "right": 1 / (1 + np.exp(-scores))})
        joined = pl.DataFrame({"row": rows}).join(given, on="row", how="left", maintain_order="left")
        right = joined["right"].fill_null(0.5).to_numpy()
    right = np.where(np.abs(right - 0.5) < _APART, 0.5 + _APART, right)
    if data.type is RecordType.PREFERENCE:
        right = np.where(turned, 1 - right, right)
    rest = [np.full(len(rows), 1e-3)] * (width - 2)
    table = np.column_stack([right, 1 - right, *rest])
    return table / table.sum(axis=1, keepdims=True)


ANNOTATOR_AGREEMENT = Check(
    name="annotator_agreement",
    family="labels",
    title="Annotators of the same item agree little",
    why="What people do not agree on a model cannot learn: alpha caps the accuracy that a reward model can reach.",
    cure="build.preference.from_verdicts(..., min_agreement=0.75), or clearer guidelines and more votes.",
    source="Krippendorff 2004, Content Analysis; Llama 2, table 1",
    types=frozenset(_VERDICTS),
    find=_agreement,
)

ANNOTATOR_QUALITY = Check(
    name="annotator_quality",
    family="labels",
    title="How good each annotator is; some agree with the others less than all do",
    why="One careless annotator costs more than the votes are worth: the rest of the crowd is outvoted by chance.",
    cure="Look at the rows of these annotators, told beside each; leave their votes out and decide by majority again.",
    source="Goh, Tkachenko and Mueller 2022, CROWDLAB",
    types=frozenset(_VERDICTS),
    find=_quality,
)
