"""Rules that are dear to evaluate and true of almost no row: a cheap look first, the rule only where it may hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl


def screened(rule: pl.Expr, columns: Sequence[str], screen: Callable[[pl.DataFrame], pl.Series | bool]) -> pl.Expr:
    """`rule` over `columns`, Boolean and never null, evaluated for the rows of which `screen` is true; false elsewhere.

    `screen` gets the columns and tells the rows for which the rule can be true (Boolean; null is false), or one bool
    that speaks for all of them.
    """

    def kernel(values: Sequence[pl.Series]) -> pl.Series:
        frame = pl.DataFrame([one.alias(name) for one, name in zip(values, columns, strict=True)])
        nowhere = pl.Series([False], dtype=pl.Boolean).new_from_index(0, frame.height)
        there = screen(frame)
        if isinstance(there, bool):
            return frame.select(rule.fill_null(False).alias("rule")).to_series() if there else nowhere
        at = there.arg_true()
        if not len(at):
            return nowhere
        return nowhere.scatter(at, frame[at].select(rule.fill_null(False).alias("rule")).to_series())

    return pl.map_batches([pl.col(name) for name in columns], kernel, return_dtype=pl.Boolean)


def calls_tools(frame: pl.DataFrame, *sides: str) -> bool:
    """Whether any turn on these sides calls tools."""
    return any(_turns(frame, side, "tool_calls").is_not_null().any() for side in sides)


def holds_text(frame: pl.DataFrame, text: str, *sides: str) -> bool:
    """Whether any content or tool call on these sides holds `text`."""
    return any(
        _turns(frame, side, name).str.contains(text, literal=True).any()
        for side in sides
        for name in ("content", "tool_calls")
    )


def has_pictures(frame: pl.DataFrame) -> bool:
    """Whether any row has pictures."""
    return frame["images"].null_count() < frame.height and bool((frame["images"].list.len() > 0).any())


def _turns(frame: pl.DataFrame, side: str, field: str) -> pl.Series:
    """One field of all turns of a column, without the places of the rows."""
    return frame[side].explode().struct.field(field)
