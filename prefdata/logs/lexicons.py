"""Word lists that are looked for in turns: loading them, matching them whole-column, naming what matched.

The lists are the data files beside this module (`lexicons/<name>.txt`), English and Chinese together. What a match
means is decided in signals.py.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Mapping, Sequence

import polars as pl

from prefdata.errors import RecipeError

NAMES = (
    "acceptance",
    "closing",
    "complaint",
    "correction",
    "escalation",
    "negation",
    "praise",
    "refusal",
    "reply_asks",
    "reply_closes",
    "reply_confirms",
    "reply_failure",
    "reply_finds",
    "reply_more",
    "reply_proposes",
    "reply_result",
    "request_other",
    "thanks",
)

_HAN = re.compile(r"[\u3400-\u9fff]")
_A_NOT_A = "有没有|是不是|对不对|行不行|可不可以|能不能|好不好|要不要|会不会|用不用|需不需要|想不想|不好意思"
"""Chinese yes-no questions ("is there or is there not"), whose negation denies nothing."""


@functools.cache
def entries(name: str) -> tuple[str, ...]:
    """The entries of list `name`, in file order, without comments."""
    text = importlib.resources.files("prefdata.logs").joinpath("lexicons", f"{name}.txt").read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def bounded(entry: str) -> str:
    """`entry` as a pattern: between word boundaries, unless it holds Chinese, which has none."""
    return f"(?:{entry})" if _HAN.search(entry) else rf"\b(?:{entry})\b"


def pattern(items: Sequence[str]) -> str:
    """One pattern that finds any of `items`, without case."""
    latin = [item for item in items if not _HAN.search(item)]
    han = [item for item in items if _HAN.search(item)]
    parts = ([rf"\b(?:{'|'.join(latin)})\b"] if latin else []) + han
    return f"(?i)(?:{'|'.join(parts)})"


def negated(items: Sequence[str]) -> str:
    """A pattern that finds one of `items` at most two words after a negation, or right after a Chinese one."""
    latin = [item for item in items if not _HAN.search(item)]
    han = [item for item in items if _HAN.search(item)]
    denials = [item for item in entries("negation") if not _HAN.search(item)]
    spoken = rf"\b(?:{'|'.join(denials)})(?:\s+[\w']+){{0,2}}\s+(?:{'|'.join(latin)})\b"
    written = rf"(?:不|没|没有|并不|不太|不够|不是很|不怎么|毫不)(?:{'|'.join(han)})"
    return f"(?i)(?:{'|'.join([spoken] * bool(latin) + [written] * bool(han))})"


def plain(text: pl.Expr) -> pl.Expr:
    """`text` ready for matching: lower case, straight apostrophes, no Chinese A-not-A questions."""
    return text.str.to_lowercase().str.replace_all("[’‘`´]", "'").str.replace_all(_A_NOT_A, " ")


def matched(text: pl.Expr, name: str, items: Sequence[str]) -> pl.Expr:
    """List(String) of `name:entry` for each of `items` found in `text`: names of entries, never words of the row."""
    found = [
        pl.when(text.str.contains(f"(?i){bounded(item)}")).then(pl.lit(f"{name}:{item}")).otherwise(None)
        for item in items
    ]
    return pl.concat_list(found).list.drop_nulls()


def merged(extra: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Every list with the entries of `extra` added; raises RecipeError on an unknown list or a broken pattern."""
    faults = [f"phrases: no list named {name!r}, known: {', '.join(NAMES)}" for name in extra if name not in NAMES]
    for name, items in extra.items():
        for item in items:
            try:
                pl.Series([""]).str.contains(bounded(item))
            except pl.exceptions.ComputeError:
                faults.append(f"phrases.{name}: {item!r} is no pattern of the Rust regex engine")
    if faults:
        raise RecipeError(faults)
    return {name: entries(name) + tuple(extra.get(name, ())) for name in NAMES}
