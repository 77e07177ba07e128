"""Forged control tokens in text, escaped so that no tokenizer can take them for real ones.

`<|im_end|>` typed by a customer closes the customer's turn when the chat template is tokenised, and what follows it
speaks as another role. A space breaks it: `<| im_end |>`. The strings of the known families stand in
control_tokens.txt; anything of the shape `<|word|>` counts, known or not. A match is looked for in the text as NFKC
and the removal of invisible characters would leave it, since something later in the pipeline may do either: so
`＜|im_end|＞` and DeepSeek's `<｜User｜>` are found too. Run it after `unicode`.

Ordinary HTML such as `<b>` or `<table>` stays; `<s>` and `<img>`, control tokens of Llama and InternVL, do not.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import polars as pl

from prefdata.errors import RecipeError, UnknownNameError, nearest
from prefdata.transforms.touched import add_touched, present

_DELIMITERS = r"[<\x{FF1C}\x{FE64}\[\x{FF3B}\x{FE47}\]\x{FF3D}\x{FE48}]"
"""The gate: every token holds one of < [ ], or a character that NFKC folds into one (a test enumerates them)."""

_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
_SELECTORS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_CONTROLS = r"\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F"
_INVISIBLE = rf"[\p{{Cf}}{_CONTROLS}{_FILLERS}{_SELECTORS}]"
_WORD = r"[A-Za-z0-9_\u2581.:/+@#\"'-]{1,64}"
_DROPPED = re.compile(f"[{_CONTROLS}{_FILLERS}{_SELECTORS}]")
_OPENING = re.compile(r"<<?/?\|?|\[/?|.", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ControlTokens:
    """Settings of the `control_tokens` transform."""

    columns: tuple[str, ...] = ("text", "survey")
    """String columns to edit; those that the frame lacks are passed over."""

    families: tuple[str, ...] | None = None
    """Names of the families in control_tokens.txt to look for; None = all."""

    def __post_init__(self) -> None:
        known = control_tokens()
        faults = [
            f"families: unknown family of control tokens {name!r}; {nearest(name, known)}"
            for name in self.families or ()
            if name not in known
        ]
        if faults:
            raise RecipeError(faults)

    def build(self) -> EscapeControlTokens:
        """The transform."""
        return EscapeControlTokens(self)


@dataclass(frozen=True)
class EscapeControlTokens:
    """Adds `control_tokens` to `touched`: how many tokens of the row were escaped."""

    settings: ControlTokens
    name: str = "control_tokens"

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        counts = pl.zeros(frame.height, dtype=pl.Int64, eager=True)
        edited = []
        for column in present(frame, self.settings.columns):
            hits = _hits(frame[column], self.settings.families)
            if not hits.len():
                continue
            texts, found = zip(*(_escape(text, self.settings.families) for text in frame[column].gather(hits)))
            edited.append(frame[column].scatter(hits, pl.Series(texts, dtype=pl.String)))
            counts = counts.scatter(hits, counts.gather(hits) + pl.Series(found, dtype=pl.Int64))
        return add_touched(frame.with_columns(edited), {self.name: counts})


def contains_control_token(text: pl.Expr | str, *, families: tuple[str, ...] | None = None) -> pl.Expr:
    """Whether a text holds a string that some family of models would take for a control token; null for null."""
    column = pl.col(text) if isinstance(text, str) else text
    return column.str.contains(_DELIMITERS) & _folded(column).str.contains(token_pattern(families))


def escape(text: str, *, families: tuple[str, ...] | None = None) -> str:
    """`text` without any control token: a space after the opening of each, and before `|>`."""
    return _escape(text, families)[0]


@lru_cache(maxsize=1)
def control_tokens() -> dict[str, tuple[str, ...]]:
    """The families of control_tokens.txt and their strings, {n} and {w} still in them."""
    families: dict[str, list[str]] = {}
    lines = files("prefdata.transforms").joinpath("control_tokens.txt").read_text("utf-8").splitlines()
    current: list[str] = []
    for line in lines:
        if line.startswith("family: "):
            current = families.setdefault(line.removeprefix("family: "), [])
        elif line and not line.startswith("#"):
            current.append(line)
    return {name: tuple(tokens) for name, tokens in families.items()}


@lru_cache(maxsize=8)
def token_pattern(families: tuple[str, ...] | None = None) -> str:
    """One regular expression, for polars and `re` alike, over the tokens of `families` in NFKC form."""
    known = control_tokens()
    for name in families or ():
        if name not in known:
            raise UnknownNameError("family of control tokens", name, known)
    tokens = [token for name in (known if families is None else families) for token in known[name]]
    exact = sorted({_pattern(token) for token in tokens})
    return "|".join(exact)


def _pattern(token: str) -> str:
    special = set(r"\.+*?()|[]{}^$")
    quoted = "".join("\\" + letter if letter in special else letter for letter in token)
    return quoted.replace(r"\{n\}", "[0-9]{1,6}").replace(r"\{w\}", _WORD.replace(r"\u2581", "▁"))


def _folded(text: pl.Expr) -> pl.Expr:
    return text.str.normalize("NFKC").str.replace_all(_INVISIBLE, "")


def _hits(texts: pl.Series, families: tuple[str, ...] | None) -> pl.Series:
    """Row numbers whose text holds a token; the costly tests see only what the cheap one lets through."""
    near = texts.str.contains(_DELIMITERS).fill_null(False).arg_true()
    folded = texts.gather(near).alias("text").to_frame().select(_folded(pl.col("text"))).to_series()
    return near.filter(folded.str.contains(token_pattern(families)))


@lru_cache(maxsize=8)
def _compiled(families: tuple[str, ...] | None) -> re.Pattern[str]:
    return re.compile(token_pattern(families))


@lru_cache(maxsize=4096)
def _fold(letter: str) -> str:
    invisible = unicodedata.category(letter) == "Cf" or _DROPPED.fullmatch(letter)
    return "" if invisible else unicodedata.normalize("NFKC", letter)


def _escape(text: str, families: tuple[str, ...] | None) -> tuple[str, int]:
    pattern = _compiled(families)
    found = 0
    while True:
        folded, origin = [], []
        for place, letter in enumerate(text):
            for part in _fold(letter):
                folded.append(part)
                origin.append(place)
        breaks: list[int] = []
        for match in pattern.finditer("".join(folded)):
            found += 1
            opening = _OPENING.match(match[0])
            breaks.append(origin[match.start() + (opening.end() if opening else 1)])
            if match[0].endswith("|>"):
                breaks.append(origin[match.end() - 2])
        if not breaks:
            return text, found
        for place in sorted(set(breaks), reverse=True):
            text = text[:place] + " " + text[place:]
