"""Order: whether where a row stands, or where and when it comes from, tells its label or its content.

Rows that are independent and of one distribution can be shuffled without loss; where order tells something, batches,
heads of a file and splits by position are no fair samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata.auditing.check import UNARY, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Severity

if TYPE_CHECKING:
    from prefdata.auditing.association import Association

MIN_ROWS = 100
MIN_VALUE = 20
"""Rows from which on a source or an agent is looked at by itself."""
MOST_VALUES = 20
"""Sources that are named."""

MAJOR_AUC, MINOR_AUC = 0.2, 0.1
"""Distance from 0.5 of the area by position, where its interval holds it off 0.5 too: 0.7 and 0.6, or 0.3 and 0.4."""
MAJOR_V, MINOR_V = 0.5, 0.3
"""Cramér's V: large and medium for two classes (Cohen, 1988)."""
CONTENT_AUC = 0.75
"""Area from which on the halves of a file are said to differ in content."""
CONTENT_ROWS = 2_000
CONTENT_CHARS = 500
"""What is read of each text for that."""


def _by_position(data: Audited) -> Found:
    """The area under the ROC curve of the row's number for the label."""
    from prefdata.auditing import statistics

    rows = data.rows.filter(pl.col("label").is_not_null())
    good = rows["label"].to_numpy()
    if rows.height < MIN_ROWS or not 10 <= int(good.sum()) <= rows.height - 10:
        return Found()
    found = statistics.auc(rows["row"].to_numpy(), good, statistics.codes(rows["prompt_norm"]))
    distance = abs(found.value - 0.5)
    if found.holds(0.5) or distance < MINOR_AUC:
        return Found()
    return Found(
        measures=found.measures("auc") | {"later_rows_are": "desirable" if found.value > 0.5 else "undesirable"},
        severity=Severity.MAJOR if distance >= MAJOR_AUC else Severity.MINOR,
    )


def _by_source(data: Audited) -> Found:
    """How much the source tells of the label."""
    return _associated(data.rows, "source", told=True)


def _by_agent(data: Audited) -> Found:
    """How much the agent, as `meta` names one, tells of the label; agents are counted, not named."""
    if "meta" not in data.sample.columns:
        return Found()
    agent = pl.col("meta").str.json_path_match("$.agent").alias("agent")
    return _associated(data.sample.select("label", "prompt_norm", agent), "agent", told=False)


def _associated(rows: pl.DataFrame, by: str, *, told: bool) -> Found:
    from prefdata.auditing.association import association

    if by not in rows.columns:
        return Found()
    rows = rows.filter(pl.col("label").is_not_null() & pl.col(by).is_not_null())
    often = rows.filter(pl.len().over(by) >= MIN_VALUE)
    found = association(often, by=by)
    if found is None or not found.holds or found.cramers_v < MINOR_V:
        return Found()
    measures: dict[str, Any] = found.measures()
    if told:
        measures["desirable_share"] = shares(found, MOST_VALUES)
    return Found(measures=measures, severity=Severity.MAJOR if found.cramers_v >= MAJOR_V else Severity.MINOR)


def shares(found: Association, most: int) -> dict[str, float]:
    """Value -> share of desirable rows, of the values with most rows."""
    some = found.table.sort("rows", "value", descending=[True, False]).head(most)
    return {str(value): round(share, 4) for value, share in some.select("value", "share").iter_rows()}


def _content(data: Audited) -> Found:
    """How well a linear model of words tells the later half of the rows from the earlier one, on unseen prompts."""
    from prefdata.auditing import probing

    rows = probing.fewer(data.sample, CONTENT_ROWS)
    if rows.height < MIN_ROWS:
        return Found()
    sides = [f"{side}_text" for side in ("turn", *data.answers)]
    text = pl.concat_str([pl.col(side).str.slice(0, CONTENT_CHARS) for side in sides], separator="\n")
    later = pl.int_range(pl.len()) >= pl.len() // 2
    groups = probing.group_of(rows)
    halves = rows.select(text.alias("completion_text"), "turn_text", later.alias("label"))
    probe = probing.of_rows(halves, groups, paired=False)
    if probe is None:
        return Found()
    words = probe.contrast(probe.often.counts.log1p()).tocsr()
    found = probe.judge(words).auc
    if found.value < CONTENT_AUC or found.low <= 0.5:
        return Found()
    return Found(
        measures=found.measures("auc") | {"sample_rows": rows.height, "files": data.rows["_file"].n_unique()},
        severity=Severity.MINOR,
    )


LABEL_BY_POSITION = Check(
    name="label_by_position",
    family="order",
    title="The place of a row in the file tells its label",
    why="Batches in file order are of one class, and the first or last rows are no fair sample of the set.",
    cure="Shuffle once with a fixed seed; any export of prefdata interleaves the labels.",
    source="Area under the ROC curve, interval by DeLong over prompts",
    types=UNARY,
    find=_by_position,
)

LABEL_BY_SOURCE = Check(
    name="label_by_source",
    family="order",
    title="The source of a row tells its label",
    why="The model learns to tell the sources apart (their style, their topics) and not what makes an answer good.",
    cure="mix: {per_source: 1000}  # or balance the classes inside each source",
    source="Cramér's V with Bergsma's correction (2013)",
    types=UNARY,
    find=_by_source,
)

LABEL_BY_AGENT = Check(
    name="label_by_agent",
    family="order",
    title="The agent who wrote the answer tells its label",
    why="The model learns how an agent writes and not what makes an answer good; a split must keep agents apart.",
    cure="Balance the classes inside each agent, or hold out whole agents and look at the figures there.",
    source="Cramér's V with Bergsma's correction (2013)",
    types=UNARY,
    find=_by_agent,
)

CONTENT_BY_POSITION = Check(
    name="content_by_position",
    family="order",
    title="The later half of the rows is about other things than the earlier one",
    why="The head of the file is no fair sample: quick trials on it, and splits by position, measure something else.",
    cure="Shuffle once with a fixed seed; split by a hash of the prompt.",
    source="Lopez-Paz and Oquab 2017, Revisiting Classifier Two-Sample Tests",
    find=_content,
)
