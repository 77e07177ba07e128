"""Word lists that are looked for in turns: loading them, matching them whole-column, naming what matched.

The lists are the data files beside this module (`lexicons/<name>.txt`), English and Chinese together, one entry a
line; `^` before an entry binds it to the beginning of a clause, `~` makes it a hint, `!` an exception. What a match
means is decided in signals.py.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
    "reply_polite",
    "reply_proposes",
    "reply_result",
    "request_other",
    "thanks",
)

_HAN = re.compile(r"[\u3400-\u9fff]")
_A_NOT_A = "有没有|是不是|对不对|行不行|可不可以|能不能|好不好|要不要|会不会|用不用|需不需要|想不想|不好意思"
"""Chinese yes-no questions ("is there or is there not"), whose negation denies nothing."""
_START = (
    r"(?:^|[\s.,;:!?，。！？；、：~～…()（）])"
    r"(?:(?:那就|那|哦|噢|喔|啊|嗯|呃|额|唉|哎|诶|呀|这|我|就|还是|都|也|先|但是|但|可是|可)*[,，]?)"
)
_LATIN_START = r"(?:^|[.,;:!?\n])\s*(?:(?:@\w+|oh|well|um|uh|hm+|ok|okay|so|but|and|sorry|hi|hello)[,.!]?\s+)*"
"""What stands before the first word of a clause: nothing or a mark, and words that only open it."""
TAKEN = "_"
"""Stands where a phrase was taken out of a text, so that its words are not found a second time."""


class WordList(NamedTuple):
    """One list: what its lines say."""

    entries: tuple[str, ...]
    hints: tuple[str, ...] = ()
    """Entries that say little alone (`~` before them)."""
    exceptions: tuple[str, ...] = ()
    """Phrases in which no entry means anything (`!` before them); they are taken out first."""


def _sorted_out(lines: Sequence[str]) -> WordList:
    return WordList(
        tuple(line for line in lines if line[:1] not in ("~", "!")),
        tuple(line[1:] for line in lines if line.startswith("~")),
        tuple(line[1:] for line in lines if line.startswith("!")),
    )


@functools.cache
def word_list(name: str) -> WordList:
    """The list `name`, in file order, without comments."""
    text = importlib.resources.files("prefdata.logs").joinpath("lexicons", f"{name}.txt").read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return _sorted_out([line for line in lines if line and not line.startswith("#")])


def entries(name: str) -> tuple[str, ...]:
    """The entries of list `name`, hints after the others, without exceptions."""
    found = word_list(name)
    return found.entries + found.hints


def bounded(entry: str) -> str:
    """`entry` as a pattern: between word boundaries, unless it holds Chinese, which has none.

    `^` at its beginning means the beginning of a clause.
    """
    if entry.startswith("^"):
        start, entry = (_START, entry[1:]) if _HAN.search(entry) else (_LATIN_START, entry[1:])
    else:
        start = ""
    return f"{start}(?:{entry})" if _HAN.search(entry) else rf"{start}\b(?:{entry})\b"


def pattern(items: Sequence[str]) -> str:
    """One pattern that finds any of `items`, without case; nothing where there are none."""
    latin = [item for item in items if not _HAN.search(item) and not item.startswith("^")]
    rest = [bounded(item) for item in items if _HAN.search(item) or item.startswith("^")]
    parts = ([rf"\b(?:{'|'.join(latin)})\b"] if latin else []) + rest
    return f"(?i)(?:{'|'.join(parts)})" if parts else NOTHING


NOTHING = r"[^\s\S]"
"""A pattern that finds nothing."""


def negated(items: Sequence[str]) -> str:
    """A pattern that finds one of `items` at most two words after a negation, or right after a Chinese one."""
    latin = [item for item in items if not _HAN.search(item)]
    han = [item for item in items if _HAN.search(item)]
    denials = [item for item in entries("negation") if not _HAN.search(item)]
    spoken = rf"\b(?:{'|'.join(denials)})(?:\s+[\w']+){{0,2}}\s+(?:{'|'.join(latin)})\b"
    written = rf"(?:不|没|没有|并不|不太|不够|不是很|不怎么|毫不)(?:{'|'.join(han)})"
    return f"(?i)(?:{'|'.join([spoken] * bool(latin) + [written] * bool(han))})"


def without(text: pl.Expr, items: Sequence[str]) -> pl.Expr:
    """`text` with every match of `items` taken out."""
    return text.str.replace_all(pattern(items), TAKEN) if items else text


def exceptions_of(lists: Mapping[str, WordList], *names: str) -> tuple[str, ...]:
    """The exceptions of several lists."""
    return tuple(item for name in names for item in lists[name].exceptions)


def plain(text: pl.Expr) -> pl.Expr:
    """`text` ready for matching: lower case, straight apostrophes, no Chinese A-not-A questions."""
    return text.str.to_lowercase().str.replace_all("[’‘`´]", "'").str.replace_all(_A_NOT_A, TAKEN)


def matched(text: pl.Expr, name: str, items: Sequence[str]) -> pl.Expr:
    """List(String) of `name:entry` for each of `items` found in `text`: names of entries, never words of the row."""
    found = [
        pl.when(text.str.contains(f"(?i){bounded(item)}")).then(pl.lit(f"{name}:{item}")).otherwise(None)
        for item in items
    ]
    return pl.concat_list(found).list.drop_nulls()


def merged(extra: Mapping[str, Sequence[str]]) -> dict[str, WordList]:
    """Every list with the entries of `extra` added, `~` and `!` before them as in the files.

    Raises RecipeError on an unknown list or a broken pattern.
    """
    faults = [f"phrases: no list named {name!r}, known: {', '.join(NAMES)}" for name in extra if name not in NAMES]
    for name, items in extra.items():
        for item in items:
            try:
                pl.Series([""]).str.contains(bounded(item.lstrip("~!")))
            except pl.exceptions.ComputeError:
                faults.append(f"phrases.{name}: {item!r} is no pattern of the Rust regex engine")
    if faults:
        raise RecipeError(faults)
    lists = {}
    for name in NAMES:
        own = _sorted_out(list(extra.get(name, ())))
        lists[name] = WordList(*(given + added for given, added in zip(word_list(name), own, strict=True)))
    return lists
