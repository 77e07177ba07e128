"""The kinds of rewards that a recipe can name: their settings, and what each says of texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from prefdata.errors import InputError, RecipeError


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What every reward has."""

    weight: float = 1.0
    """What the reward is multiplied by before the rewards are added; below 0 turns it into a penalty."""

    def __post_init__(self) -> None:
        faults = [f"weight: {self.weight}; expected other than 0"] if self.weight == 0 else []
        faults += self.faults()
        if faults:
            raise RecipeError(faults)

    def faults(self) -> list[str]:
        """What is wrong with the settings, each beginning with the name of one."""
        return []

    def measure(self, answers: pl.DataFrame) -> pl.Series:
        """Float64, one an answer, null where it cannot be said. `answers`: `text`, `tokens`, and the rows' columns."""
        raise InputError(f"{type(self).__name__} reads no texts")


@dataclass(frozen=True, kw_only=True)
class Length(Measured):
    """1 inside a range of lengths, 1/2 where an answer is `slack` outside it, towards 0 beyond."""

    min: int = 1
    """Shortest answer that gets the full reward."""
    max: int | None = None
    """Longest answer that gets the full reward; null sets no bound."""
    unit: Literal["chars", "words", "tokens"] = "chars"
    """What is counted: characters, words between spaces, or tokens of the model."""
    slack: float | None = None
    """How far outside the range the reward is halved; null takes the nearer bound itself, so twice `max` gets 1/2."""

    def faults(self) -> list[str]:
        found = [f"min: {self.min}; expected at least 0"] if self.min < 0 else []
        if self.max is not None and self.max < max(self.min, 1):
            found.append(f"max: {self.max}; expected at least min and 1")
        if self.slack is not None and self.slack <= 0:
            found.append(f"slack: {self.slack}; expected more than 0")
        return found

    def measure(self, answers: pl.DataFrame) -> pl.Series:
        count = {
            "chars": pl.col("text").str.strip_chars().str.len_chars(),
            "words": pl.col("text").str.extract_all(r"\S+").list.len(),
            "tokens": pl.col("tokens"),
        }[self.unit].cast(pl.Float64)
        short = (self.min - count).clip(lower_bound=0) / (self.slack or max(self.min, 1))
        long = pl.lit(0.0)
        if self.max is not None:
            long = (count - self.max).clip(lower_bound=0) / (self.slack or self.max)
        return answers.select(reward=1 / (1 + short + long)).to_series()


@dataclass(frozen=True, kw_only=True)
class Format(Measured):
    """The share, in [0, 1], of what is asked for that an answer keeps."""

    starts_with: str | None = None
    """Text that the answer begins with, outer spaces aside."""
    ends_with: tuple[str, ...] = ()
    """Texts of which the answer ends in one, outer spaces aside: [".", "!", "?"]."""
    in_order: tuple[str, ...] = ()
    """Texts that all stand in the answer, each after the one before; the share of them counts."""
    max_lines: int | None = None
    """Most lines that are not blank."""
    is_json: bool = False
    """The whole answer is one JSON value."""
    keys: tuple[str, ...] = ()
    """Keys that the answer, a JSON object, has; the share of them counts."""

    def faults(self) -> list[str]:
        if not self.parts():
            return [
                "starts_with: nothing is asked for; set starts_with, ends_with, in_order, max_lines, is_json or keys"
            ]
        return [f"max_lines: {self.max_lines}; expected at least 1"] if (self.max_lines or 1) < 1 else []

    def parts(self) -> list[pl.Expr]:
        """One share in [0, 1] for each thing that is asked for; JSON aside is `_json`, the keys are `_keys`."""
        text = pl.col("text").str.strip_chars()
        found = []
        if self.starts_with is not None:
            found.append(text.str.starts_with(self.starts_with).cast(pl.Float64))
        if self.ends_with:
            found.append(pl.any_horizontal([text.str.ends_with(end) for end in self.ends_with]).cast(pl.Float64))
        if self.in_order:
            found.append(_in_order(text, self.in_order))
        if self.max_lines is not None:
            lines = text.str.split("\n").list.eval(pl.element().str.strip_chars() != "").list.sum()
            found.append((lines <= self.max_lines).cast(pl.Float64))
        if self.is_json:
            found.append(pl.col("_json"))
        if self.keys:
            found.append(pl.col("_keys"))
        return found

    def measure(self, answers: pl.DataFrame) -> pl.Series:
        if self.is_json or self.keys:
            read = [_read_json(text, self.keys) for text in answers["text"]]
            answers = answers.with_columns(
                pl.Series("_json", [whole for whole, _ in read], dtype=pl.Float64),
                pl.Series("_keys", [share for _, share in read], dtype=pl.Float64),
            )
        return answers.select(reward=pl.mean_horizontal(self.parts())).to_series()


@dataclass(frozen=True, kw_only=True)
class Regex(Measured):
    """1 where a pattern is found in the answer, else 0. The engine is polars', whose time is linear in the text."""

    pattern: str = ""
    """Regular expression in the syntax of Rust's regex crate: no look-around, no back-references."""
    forbid: bool = False
    """Reward answers in which the pattern is not found."""

    def faults(self) -> list[str]:
        if not self.pattern:
            return ["pattern: missing; give the regular expression to look for"]
        try:
            pl.Series([""]).str.contains(self.pattern, strict=True)
        except pl.exceptions.ComputeError as error:
            return [f"pattern: not a regular expression of Rust's regex crate: {_told(error)}"]
        return []

    def measure(self, answers: pl.DataFrame) -> pl.Series:
        found = answers["text"].str.contains(self.pattern, strict=True)
        return (~found if self.forbid else found).cast(pl.Float64)


@dataclass(frozen=True, kw_only=True)
class ExactAnswer(Measured):
    """1 where the answer is the row's `answer`, else 0, null for rows without one.

    Both are compared after NFKC, lower case, single spaces, thousands separators taken out of numbers (1,000 is 1000),
    and without punctuation or markup at their ends.
    """

    extract: str | None = None
    """Pattern (Rust's regex crate) whose first group, where it is last found, is taken for the answer given."""
    within: bool = False
    """Enough that the right answer stands somewhere in the answer given, as whole words."""

    def faults(self) -> list[str]:
        if self.extract is None:
            return []
        try:
            pl.Series([""]).str.extract(self.extract, 1)
        except pl.exceptions.ComputeError as error:
            return [f"extract: not a pattern with one group: {_told(error)}"]
        return []

    def measure(self, answers: pl.DataFrame) -> pl.Series:
        if "answer" not in answers.columns:
            return pl.Series("reward", [None] * answers.height, dtype=pl.Float64)
        text = pl.col("text")
        if self.extract is not None:
            text = text.str.extract_all(self.extract).list.last().str.extract(self.extract, 1)
        given, right = _plain(text.fill_null("")), _plain(pl.col("answer").cast(pl.String))
        same = given == right
        if self.within:
            same = given.str.contains(r"(^|\W)" + right.str.escape_regex() + r"(\W|$)")
        return answers.select(reward=pl.when(right.is_not_null()).then(same.cast(pl.Float64))).to_series()


@dataclass(frozen=True, kw_only=True)
class RewardModel(Measured):
    """What a trained reward model says of the answer to its prompt; see trainers.reward."""

    model: str = ""
    """Folder of a finished reward stage, or of a sequence-classification model with one label."""
    max_length: int | None = None
    """Tokens of prompt and answer that it reads; null is what it was trained with, else 1024."""

    def faults(self) -> list[str]:
        return [] if self.model else ["model: missing; name the folder of a reward stage"]


@dataclass(frozen=True, kw_only=True)
class Scored(Measured):
    """A scorer's main score, turned so that more is better; null where the scorer says nothing."""

    column: str | None = None
    """Another of the scorer's columns, taken as it is: more is better."""
    values: tuple[str, ...] = ()
    """For columns of text: 1 where the column holds one of these, else 0."""


REWARDS: dict[str, type[Measured]] = {
    "length": Length,
    "format": Format,
    "regex": Regex,
    "exact_answer": ExactAnswer,
    "reward_model": RewardModel,
}
"""Names that `rewards:` of a recipe takes beside those of scorers."""


def _plain(text: pl.Expr) -> pl.Expr:
    found = text.str.normalize("NFKC").str.to_lowercase()
    for _ in range(2):  # neighbours share a digit, so one pass leaves every other separator
        found = found.str.replace_all(r"(\d),(\d{3})\b", "$1$2")
    return found.str.replace_all(r"\s+", " ").str.strip_chars(" \t\n.,;:!?\"'`*_()[]{}<>。，；：！？、“”‘’「」")


def _in_order(text: pl.Expr, marks: Sequence[str]) -> pl.Expr:
    """Share of the marks that are found, each in what is left after the one before it."""
    rest, found = text, []
    for mark in marks:
        at = rest.str.find(mark, literal=True)
        found.append(at.is_not_null().cast(pl.Float64))
        tail = rest.str.splitn(mark, 2).struct.field("field_1").fill_null("")
        rest = pl.when(at.is_not_null()).then(tail).otherwise(rest)
    return pl.mean_horizontal(found)


def _read_json(text: str, keys: Sequence[str]) -> tuple[float, float]:
    """Whether the text is one JSON value, and the share of `keys` that it has."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return 0.0, 0.0
    held = [key for key in keys if isinstance(value, dict) and key in value]
    return 1.0, len(held) / max(len(keys), 1)


def _told(error: Exception) -> str:
    """The line of an engine's message that says what is wrong."""
    lines = str(error).strip().splitlines()
    return next((line.strip() for line in lines if line.strip().startswith("error:")), lines[0])
