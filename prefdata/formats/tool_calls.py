"""Tool calls of any of the usual shapes as canonical JSON text, and the results that answer them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

FUNCTION_CALL = "function_call"
"""Key of the one call of a turn, before there were several."""

MADE_ID = "prefdata_call_"
"""How the ids begin that calls without one get where a target wants them; read again, such a call has none."""


def calls_of(turns: pl.DataFrame, names: Sequence[str]) -> tuple[pl.Series, pl.Series]:
    """Tool calls of every turn as canonical text, from whichever of the columns `names` has some, and whether there are
    some that cannot be read."""
    texts = pl.Series([None] * turns.height, dtype=pl.String)
    unreadable = pl.Series([False] * turns.height, dtype=pl.Boolean)
    for name in names:
        if name in turns.columns and turns.schema[name] != pl.Null:
            found = tool_calls_text(turns[name])
            unreadable = unreadable | (_holds_some(turns[name]) & found.is_null())
            texts = pl.select(pl.coalesce(texts, found)).to_series()
    return texts, unreadable


def _holds_some(values: pl.Series) -> pl.Series:
    if isinstance(values.dtype, pl.List):
        found = values.list.len() > 0
    elif values.dtype == pl.String:
        found = ~values.str.strip_chars().is_in(["", "[]", "{}", "null"])
    elif isinstance(values.dtype, pl.Struct):
        frame = values.to_frame("one").unnest("one")
        found = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    else:
        found = values.is_not_null()
    return found.fill_null(False)


def disordered(turns: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """Rows (`_row`, `fault`) in which a result names another call than the one whose turn it is: canonical results have
    no ids, they stand in the order of their calls. A batch kernel over the rows whose results name calls."""
    bad: dict[int, None] = {}
    if turns.schema.get("tool_call_id") == pl.String and turns["tool_call_id"].null_count() < turns.height:
        told = named.with_columns(turns["tool_call_id"].alias("answered"))
        told = told.filter(pl.col("answered").is_not_null().any().over("_row"))
        open_ids: list[str | None] = []
        last = -1
        for row, role, calls, answered in told.select("_row", "role", "tool_calls", "answered").iter_rows():
            if row != last or role != "tool":
                open_ids = [one.get("id") for one in json.loads(calls)] if calls else []
            elif open_ids and open_ids.pop(0) not in (None, answered) and answered is not None:
                bad[row] = None
            last = row
    return pl.DataFrame({"_row": list(bad)}, schema={"_row": pl.UInt32}).with_columns(
        fault=pl.lit(["tool_results_order"])
    )


def tool_calls_text(values: pl.Series) -> pl.Series:
    """Tool calls of any of the usual shapes as canonical JSON text; null stays null, and so does an empty list.

    A batch kernel: only messages that have tool calls are looped over.
    """
    if values.dtype == pl.Null:
        return pl.Series([None] * len(values), dtype=pl.String)
    return pl.Series([_calls(value) for value in values.to_list()], dtype=pl.String)


def _calls(value: Any) -> str | None:
    as_told = isinstance(value, str)
    if as_told:
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if isinstance(value, dict):
        value = [value]
    if not value or not isinstance(value, list):
        return None
    calls = []
    for one in value:
        inner = (one.get("function") or one) if isinstance(one, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            return None
        arguments = inner.get("arguments")
        text = arguments if isinstance(arguments, str) else _arguments(arguments or {}, as_told)
        own = isinstance(one.get("id"), str) and not one["id"].startswith(MADE_ID)
        call: dict[str, Any] = {"id": one["id"]} if own else {}
        calls.append({**call, "type": "function", "function": {"name": inner.get("name"), "arguments": text}})
    return json.dumps(calls, ensure_ascii=False, separators=(",", ":"))


def _arguments(value: Any, as_told: bool) -> str:
    return json.dumps(value if as_told else plain(value), ensure_ascii=False)


def plain(value: Any) -> Any:
    """Without what Arrow adds: nulls where a key is missing, and fractions where other rows have some (42.0 for 42)."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
