"""Order: whether where a row stands, or where and when it comes from, tells its label or its content.

Rows that are independent and of one distribution can be shuffled without loss; where order tells something, batches,
heads of a file and splits by position are no fair samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata.auditing.check import PAIRS, UNARY, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Severity
from prefdata.schema import RecordType

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
ALIKE, SOMEWHAT_ALIKE = 0.1, 0.05
"""Kolmogorov-Smirnov's distance from which on neighbours in content are said to be neighbours in the file: in Auto-J,
which is sorted by scenario, it is 0.21, in hh-rlhf and in any shuffled file of 300 rows 0.02 or less."""
SURE = 0.01
UNSORTED = 0.1
"""Share of rows that stand before an earlier one, from which on order in time is another one than that of the file."""
CONTENT_ROWS = 2_000
CONTENT_CHARS = 500
"""What is read of each text for that."""


def preference(rows: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """Rows of `Audited.rows` or of the sample with `label` Boolean, never null: their own; of pairs, which all have the
    same, whether the longer answer is the chosen one, where one is longer."""
    if record_type is not RecordType.PREFERENCE:
        return rows.filter(pl.col("label").is_not_null())
    longer = pl.col("chosen_chars") > pl.col("rejected_chars")
    return rows.filter(pl.col("chosen_chars") != pl.col("rejected_chars")).with_columns(longer.alias("label"))


def told_of(record_type: RecordType) -> str:
    """What `label` of `preference` means, for measures."""
    return "longer_is_chosen" if record_type is RecordType.PREFERENCE else "desirable_share"


def _by_position(data: Audited) -> Found:
    """The area under the ROC curve of the row's number for the label."""
    from prefdata.auditing import statistics

    rows = preference(data.rows, data.type)
    good = rows["label"].to_numpy()
    if rows.height < MIN_ROWS or not 10 <= int(good.sum()) <= rows.height - 10:
        return Found()
    found = statistics.auc(rows["row"].to_numpy(), good, statistics.codes(rows["prompt_norm"]))
    distance = abs(found.value - 0.5)
    if found.holds(0.5) or distance < MINOR_AUC:
        return Found()
    names = ("longer chosen", "shorter chosen") if data.type is RecordType.PREFERENCE else ("desirable", "undesirable")
    return Found(
        measures=found.measures("auc") | {"later_rows_are": names[found.value < 0.5]},
        severity=Severity.MAJOR if distance >= MAJOR_AUC else Severity.MINOR,
    )


def _by_source(data: Audited) -> Found:
    """How much the source tells of the label."""
    return _associated(data.rows, "source", data.type, told=True)


def _by_agent(data: Audited) -> Found:
    """How much the agent, as `meta` names one, tells of the label; agents are counted, not named."""
    if "meta" not in data.sample.columns:
        return Found()
    agent = pl.col("meta").str.json_path_match("$.agent").alias("agent")
    return _associated(data.sample.with_columns(agent), "agent", data.type, told=False)


def _associated(rows: pl.DataFrame, by: str, record_type: RecordType, *, told: bool) -> Found:
    from prefdata.auditing.association import association

    if by not in rows.columns:
        return Found()
    rows = preference(rows.filter(pl.col(by).is_not_null()), record_type)
    often = rows.filter(pl.len().over(by) >= MIN_VALUE)
    found = association(often, by=by)
    if found is None or not found.holds or found.cramers_v < MINOR_V:
        return Found()
    measures: dict[str, Any] = found.measures()
    if told:
        measures[told_of(record_type)] = shares(found, MOST_VALUES)
    return Found(measures=measures, severity=Severity.MAJOR if found.cramers_v >= MAJOR_V else Severity.MINOR)


def shares(found: Association, most: int) -> dict[str, float]:
    """Value -> share of desirable rows, of the values with most rows."""
    some = found.table.sort("rows", "value", descending=[True, False]).head(most)
    return {str(value): round(share, 4) for value, share in some.select("value", "share").iter_rows()}


def _content(data: Audited) -> Found:
    """How well a linear model of words tells the later half of the rows from the earlier one, on unseen prompts."""
    rows = _some(data.sample)
    return _halves(rows, {"sample_rows": rows.height, "files": data.rows["_file"].n_unique()})


def _content_by_time(data: Audited) -> Found:
    """The same of the rows by their time, where that is another order than the file's."""
    if "time" not in data.sample.columns:
        return Found()
    rows = _some(data.sample.filter(pl.col("time").is_not_null()))
    if rows.height < MIN_ROWS or rows["time"].n_unique() < 2:
        return Found()
    if rows.select((pl.col("time") < pl.col("time").cum_max()).mean()).item() < UNSORTED:
        return Found()
    rows = rows.sort("time", "row")
    middle = rows["time"][rows.height // 2]
    return _halves(rows, {"sample_rows": rows.height, "later_from": middle.strftime("%Y-%m-%d")})


def _some(rows: pl.DataFrame) -> pl.DataFrame:
    from prefdata.auditing import probing

    return probing.fewer(rows, CONTENT_ROWS)


def _told(rows: pl.DataFrame) -> pl.Series:
    """The beginnings of a row's last user turn and answers, as one text."""
    sides = [f"{side}_text" for side in ("turn", "completion", "chosen", "rejected") if f"{side}_text" in rows.columns]
    return rows.select(pl.concat_str([pl.col(side).str.slice(0, CONTENT_CHARS) for side in sides], separator="\n"))[
        sides[0]
    ]


def _halves(rows: pl.DataFrame, more: dict[str, Any]) -> Found:
    from prefdata.auditing import probing

    if rows.height < MIN_ROWS:
        return Found()
    later = pl.int_range(pl.len()) >= pl.len() // 2
    halves = rows.select("turn_text", later.alias("label")).with_columns(_told(rows).alias("completion_text"))
    probe = probing.of_rows(halves, probing.group_of(rows), paired=False)
    if probe is None:
        return Found()
    words = probe.contrast(probe.often.counts.log1p()).tocsr()
    found = probe.judge(words).auc
    if found.value < CONTENT_AUC or found.low <= 0.5:
        return Found()
    return Found(measures=found.measures("auc") | more, severity=Severity.MINOR)


def _neighbours(data: Audited) -> Found:
    """Whether rows that are alike stand near each other; of the rows of one prompt or conversation the first alone."""
    from prefdata.auditing import neighbours, probing

    if data.sample.height < MIN_ROWS:
        return Found()
    groups = pl.Series("group_of", probing.group_of(data.sample))
    rows = _some(data.sample.filter(groups.is_first_distinct()))
    if rows.height < MIN_ROWS:
        return Found()
    found = neighbours.order(_told(rows))
    if found.p_value > SURE or found.statistic < SOMEWHAT_ALIKE:
        return Found()
    return Found(
        measures={
            "kolmogorov_smirnov": round(found.statistic, 4),
            "p_value": round(found.p_value, 4),
            "near_share": round(found.near, 4),
            "near_share_expected": round(found.near_expected, 4),
            "sample_rows": rows.height,
        },
        severity=Severity.MINOR if found.statistic >= ALIKE else Severity.NOTE,
    )


LABEL_BY_POSITION = Check(
    name="label_by_position",
    family="order",
    title="The place of a row in the file tells what is preferred",
    why="Its label, or of pairs whether the longer answer is chosen: batches in file order are of one kind, and the "
    "first or last rows are no fair sample of the set.",
    cure="Shuffle once with a fixed seed; any export of prefdata interleaves the labels.",
    source="Area under the ROC curve, interval by DeLong over prompts",
    types=PAIRS | UNARY,
    find=_by_position,
)

LABEL_BY_SOURCE = Check(
    name="label_by_source",
    family="order",
    title="The source of a row tells what is preferred",
    why="Its label, or of pairs whether the longer answer is chosen: the model learns to tell the sources apart (their "
    "style, their topics) and not what makes an answer good.",
    cure="mix: {per_source: 1000}  # or balance the classes inside each source",
    source="Cramér's V with Bergsma's correction (2013)",
    types=PAIRS | UNARY,
    find=_by_source,
)

LABEL_BY_AGENT = Check(
    name="label_by_agent",
    family="order",
    title="The agent of a row tells what is preferred",
    why="Its label, or of pairs whether the longer answer is chosen: the model learns how an agent writes and not what "
    "makes an answer good; a split must keep agents apart.",
    cure="Balance the classes inside each agent, or hold out whole agents and look at the figures there.",
    source="Cramér's V with Bergsma's correction (2013)",
    types=PAIRS | UNARY,
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

CONTENT_BY_TIME = Check(
    name="content_by_time",
    family="order",
    title="The later rows, by their time, are about other things than the earlier ones",
    why="What is asked drifts: held-out rows drawn by lot promise more than the rows of next month will show.",
    cure="split: {by: time}  # held-out rows are the last ones, as those to come will be",
    source="Lopez-Paz and Oquab 2017, Revisiting Classifier Two-Sample Tests",
    find=_content_by_time,
)

SIMILAR_ROWS_TOGETHER = Check(
    name="similar_rows_together",
    family="order",
    title="Rows that are alike stand near each other in the file",
    why="Rows are sorted, or came in runs of one topic: batches in file order are of one kind, and the head or any "
    "part of the file is no fair sample.",
    cure="Shuffle once with a fixed seed; split by a hash of the prompt.",
    source="Cummings, Snorrason and Mueller 2023, non-IID sampling by nearest neighbours; as in cleanlab",
    find=_neighbours,
)
