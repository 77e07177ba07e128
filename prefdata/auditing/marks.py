"""Marks: what may stand in an answer, counted by side: do the preferred answers carry it more than the others?

A mark is an expression over a text. Of every row that has it on a side, `collect` keeps a narrow frame; `carried` sets
the sides against each other: chosen against rejected of the same pairs, desirable against undesirable rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata.auditing.check import Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found
from prefdata.formats.core import answers_of
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.auditing.statistics import Estimate

Mark = Callable[[str], pl.Expr]
"""Side -> Boolean expression over the column of its texts."""

Drawing = Callable[[pl.DataFrame, RecordType, "Drawn"], pl.DataFrame]
"""A `collect` that looks closely at drawn rows alone."""

MIN_ONESIDED = 10
"""Pairs of which one side alone carries a mark, from which on the sides are set against each other."""


def collector(mark: Mark, *, gate: Sequence[str] = ()) -> Callable[[pl.DataFrame, RecordType], pl.DataFrame]:
    """A `collect` of the rows that have `mark` on a side: `row` and a Boolean column a side of the answers.

    `gate`: short patterns of which every text with the mark matches one; only such texts are looked at closely. It
    spares most of the time where they begin with a few literals: those are searched for ten times as fast as anything
    else. Several are faster than one with alternatives.
    """

    def collect(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
        sides = answers_of(record_type)
        found = pl.DataFrame([chunk["row"], *(_marked(chunk, side) for side in sides)])
        return found.filter(pl.any_horizontal(sides))

    def _marked(chunk: pl.DataFrame, side: str) -> pl.Series:
        texts = chunk.select(f"{side}_text")
        if not gate:
            return texts.select(mark(side).fill_null(False).alias(side)).to_series()
        near = texts.select(pl.any_horizontal(pl.col(f"{side}_text").str.contains(one) for one in gate))
        rows = near.to_series().arg_true()
        hits = rows.filter(texts[rows].select(mark(side).fill_null(False)).to_series()) if len(rows) else rows
        return pl.repeat(False, texts.height, eager=True).alias(side).scatter(hits, True)

    return collect


def pattern(words: str) -> str:
    r"""A pattern whose \b are of ASCII: those of Unicode cost ten times as much in texts with one curly quote."""
    return words.replace(r"\b", r"(?-u:\b)")


def preferred(data: Audited, marked: pl.DataFrame) -> pl.Series:
    """Numbers of the marked rows whose mark would be learnt: chosen; a completion that is not undesirable."""
    if data.type is RecordType.PREFERENCE:
        return marked.filter("chosen")["row"]
    if data.type is RecordType.UNPAIRED:
        return marked.filter(pl.Series(data.rows["label"][marked["row"]]).fill_null(True))["row"]
    return marked["row"]


def carried(data: Audited, marked: pl.DataFrame, *, partly: bool = False) -> dict[str, Any]:
    """How many answers of each side carry a mark, and whether the preferred ones carry it more.

    Pairs: `chosen`, `rejected`, `chosen_only`, `rejected_only`; `chosen_share_of_onesided` with its interval (0.5 where
    neither side carries more, as in McNemar's test). Labelled rows: `desirable`, `undesirable`, the share of each
    class, `difference` of the shares with the interval of Newcombe (1998, method 10). Intervals are at 95 %, and take
    the rows of a prompt for one group: see `statistics.share`. `partly`: not all rows were looked at.
    """
    if data.type is RecordType.PREFERENCE:
        return _pairs(data, marked)
    if data.type is not RecordType.UNPAIRED:
        return {"completions": marked.height}
    told = _labels(data, marked)
    if partly:  # shares of all rows would be too small
        return {name: told[name] for name in ("desirable", "undesirable", "without_label") if name in told}
    return told


def _pairs(data: Audited, marked: pl.DataFrame) -> dict[str, Any]:
    from prefdata.auditing import statistics

    chosen, rejected = int(marked["chosen"].sum()), int(marked["rejected"].sum())
    alone = marked.filter(pl.col("chosen") != pl.col("rejected"))
    first = int(alone["chosen"].sum())
    told: dict[str, Any] = {
        "chosen": chosen,
        "rejected": rejected,
        "chosen_only": first,
        "rejected_only": alone.height - first,
    }
    if alone.height >= MIN_ONESIDED:
        groups = statistics.codes(data.rows["prompt_norm"][alone["row"]])
        estimate = statistics.share(alone["chosen"].cast(pl.Float64).to_numpy(), groups)
        told |= estimate.measures("chosen_share_of_onesided")
    return told


def _labels(data: Audited, marked: pl.DataFrame) -> dict[str, Any]:
    from prefdata.auditing import statistics

    rows = data.rows.select("row", "label", "prompt_norm").with_columns(
        has=pl.col("row").is_in(marked["row"].implode())
    )
    told: dict[str, Any] = {}
    shares = []
    for name, label in (("desirable", True), ("undesirable", False)):
        of_class = rows.filter(pl.col("label") == label)
        told[name] = int(of_class["has"].sum())
        if of_class.height:
            groups = statistics.codes(of_class["prompt_norm"])
            shares.append(statistics.share(of_class["has"].cast(pl.Float64).to_numpy(), groups))
            told[f"{name}_share"] = statistics.rounded(shares[-1].value)
    if len(shares) == 2:
        told["difference"] = statistics.rounded(shares[0].value - shares[1].value)
        told["interval"] = difference(shares[0], shares[1])
    if rows["label"].null_count():
        told["without_label"] = int(rows.filter(pl.col("label").is_null())["has"].sum())
    return told


def found(data: Audited, name: str, **more: Any) -> Found:
    """The rows whose mark `name` would be learnt, and the counts of all sides; nothing where only others carry it.

    `more`: measures beside those of `carried`.
    """
    marked = data.collected.get(name)
    if marked is None or not marked.height:
        return Found()
    rows = preferred(data, marked)
    return Found(rows=rows, measures={**carried(data, marked), **more}) if len(rows) else Found()


def difference(one: Estimate, other: Estimate) -> list[float]:
    """Interval of the difference of two shares out of their own (Newcombe, 1998, method 10)."""
    middle = one.value - other.value
    below = math.sqrt((one.value - one.low) ** 2 + (other.high - other.value) ** 2)
    above = math.sqrt((one.high - one.value) ** 2 + (other.value - other.low) ** 2)
    return [round(middle - below, 4), round(middle + above, 4)]


def onesided(measures: Mapping[str, Any]) -> str | None:
    """The class that carries a mark more than by chance, by the interval of `carried`: its name, or None."""
    if "interval" not in measures:
        return None
    low, high = measures["interval"]
    middle = 0.0 if "difference" in measures else 0.5
    more, less = ("desirable", "undesirable") if "difference" in measures else ("chosen", "rejected")
    return more if low > middle else less if high < middle else None


def thinned(found: pl.DataFrame, most: int) -> pl.DataFrame:
    """All pieces of the rows with the smallest keys, of so many rows that they have `most` pieces together.

    Keys are hashes of the content: it is chance which rows they are, but they are the same rows in every format, in any
    order and however the set is cut into chunks; of parts that were thinned by `most` the result is that of the whole.
    """
    if found.height <= most:
        return found
    rows = found.group_by("key", "row").len().sort("key", "row")
    kept = rows.filter(pl.col("len").cum_sum() - pl.col("len") < most)
    return found.join(kept, on="row", how="semi", maintain_order="left")


class Drawn:
    """The rows with the smallest keys among those that were shown so far, `most` of them, in whatever pieces."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys = pl.Series("key", [], dtype=pl.UInt64)
        self._lock = Lock()

    def of(self, keys: pl.Series) -> pl.Series:
        """Boolean: whether the rows of these keys may be among the smallest when all are known."""
        with self._lock:
            self._keys = pl.concat([self._keys, keys.alias("key")]).unique().sort().head(self._most)
            last = self._keys[-1] if len(self._keys) == self._most else None
        return keys <= last if last is not None else pl.repeat(True, len(keys), eager=True)


def drawing(collect: Drawing, most: int) -> Callable[[Check, Mapping[str, Any]], Check]:
    """A `prepare` by which every audit has a `Drawn` of its own for its `collect`."""

    def prepared(check: Check, options: Mapping[str, Any]) -> Check:
        drawn = Drawn(most)
        return replace(check, collect=lambda chunk, record_type: collect(chunk, record_type, drawn))

    return prepared


def pieces(near: pl.DataFrame, drawn: Drawn, cut: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """`near` (`row`, `key`, `text`, ...) without texts, and beside it the pieces into which `cut` cuts those of drawn
    rows: for `looked_at`."""
    kept = cut(near.filter(drawn.of(near["key"])))
    return pl.concat([near.with_columns(text=pl.lit(None, pl.String)), kept.with_columns(own(kept["text"]))])


def looked_at(every: pl.DataFrame, *, rows: int, most: int) -> tuple[pl.DataFrame, float]:
    """Of all that `pieces` gave: the pieces of the `rows` rows with the smallest keys, of fewer where these have more
    than `most`; and which part of all rows these are, 1 for all."""
    known = every.select("key", "row").unique().sort("key", "row")
    some = every.drop_nulls("text").join(known.head(rows), on="row", how="semi", maintain_order="left")
    few = thinned(some, most)
    number = rows if few.height == some.height else known.filter(pl.col("key") <= few["key"].max()).height
    return few, min(number, known.height) / max(1, known.height)


def own(texts: pl.Series) -> pl.Series:
    """The same texts, of a few thousand, in memory of their own: what polars cuts out of texts holds on to them all."""
    return pl.Series(texts.name, texts.to_list(), dtype=pl.String)
