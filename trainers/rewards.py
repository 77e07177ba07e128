"""Rewards of sampled answers by name: length, format, a pattern, the right answer, a trained model, any scorer.

A reward is a number for an answer, more is better; None is "cannot be said". What the policy is trained on is the
weighted sum of those that could be said. Names that this table lacks are those of scorers, which the caller builds.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pydantic

from prefdata.errors import InputError, RecipeError, nearest
from prefdata.judging import RowFilter, TextScorer, judge
from prefdata.schema import MESSAGES
from trainers.rendering import Message

Values = list[float | None]
Scorers = Mapping[str, TextScorer | Callable[..., Sequence[float | None]]]
"""What the caller gives beside the table: scorers of texts, and functions in the form of TRL's reward functions."""


class RewardError(InputError):
    """Rewards that cannot train a policy: the same for every answer, or none at all."""


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


class Rewarder:
    """One reward, ready to be asked; in the form of TRL's reward functions."""

    def __init__(
        self,
        name: str,
        settings: Measured,
        ask: Callable[[Sequence[Sequence[Message]], Sequence[Sequence[Message]], pl.DataFrame], Values],
        identity: Any,
    ) -> None:
        self.__name__ = name
        self.settings = settings
        self.ask = ask
        self.identity = identity
        """What its numbers depend on, as JSON data."""

    @property
    def weight(self) -> float:
        return self.settings.weight

    def __call__(
        self,
        prompts: Sequence[Sequence[Message]],
        completions: Sequence[Sequence[Message]],
        completion_ids: Sequence[Sequence[int]],
        **columns: Any,
    ) -> Values:
        """A number for each answer, None where nothing can be said; NaN and infinity count as that."""
        listed = {name: values for name, values in columns.items() if isinstance(values, list)}
        frame = pl.DataFrame(
            {
                "text": pl.Series([text_of(answer) for answer in completions], dtype=pl.String),
                "tokens": pl.Series([len(ids) for ids in completion_ids], dtype=pl.Int32),
                **({"answer": pl.Series(listed["answer"], dtype=pl.String)} if "answer" in listed else {}),
            }
        )
        found = [None if one is None else float(one) for one in self.ask(prompts, completions, frame)]
        if len(found) != len(completions):
            raise InputError(f"reward {self.__name__}: {len(found)} numbers for {len(completions)} answers")
        return [one if one is not None and abs(one) < float("inf") else None for one in found]


def read_rewards(rewards: Mapping[str, Mapping[str, Any] | None]) -> tuple[dict[str, Measured], list[str]]:
    """The settings of each reward by name, and every fault in them, each with its place.

    A name outside the table is taken for a scorer's; `check_rewards` tells whether there is one.
    """
    made: dict[str, Measured] = {}
    faults: list[str] = []
    for name, values in rewards.items():
        values = dict(values or {})
        kind = str(values.pop("kind", name))
        settings_type = REWARDS.get(kind, Scored)
        own = [entry.name for entry in dataclasses.fields(settings_type)]
        unknown = [] if settings_type is Scored else [key for key in values if key not in own]
        faults += [f"rewards.{name}.{key}: unknown setting; {nearest(str(key), [*own, 'kind'])}" for key in unknown]
        if unknown:
            continue
        try:
            known = _model(settings_type).model_validate_json(
                json.dumps({key: value for key, value in values.items() if key in own}, default=str), strict=True
            )
            made[name] = settings_type(**{key: getattr(known, key) for key in known.model_fields_set})
        except pydantic.ValidationError as error:
            for one in error.errors(include_url=False, include_input=False):
                faults.append(f"rewards.{name}.{'.'.join(map(str, one['loc']))}: {one['msg']}")
        except RecipeError as error:
            faults += [f"rewards.{name}.{fault}" for fault in error.faults]
    return made, faults


def wanted_scorers(rewards: Mapping[str, Mapping[str, Any] | None]) -> dict[str, dict[str, Any]]:
    """Name of a reward -> the scorer it asks for, as `scorer`, and that scorer's own settings."""
    kept = {"weight", "kind", "column", "values"}
    found = {}
    for name, values in rewards.items():
        values = dict(values or {})
        kind = str(values.get("kind", name))
        if kind not in REWARDS:
            found[name] = {"scorer": kind, **{key: value for key, value in values.items() if key not in kept}}
    return found


def check_rewards(rewards: Mapping[str, Mapping[str, Any] | None], *, scorers: Collection[str]) -> list[str]:
    """Every fault of `rewards:`, names that are neither in the table nor among `scorers` too, with the nearest."""
    known = [*REWARDS, *scorers]
    faults = [
        f"rewards.{name}: unknown reward {wanted['scorer']!r}; {nearest(wanted['scorer'], known)}"
        for name, wanted in wanted_scorers(rewards).items()
        if name not in scorers and wanted["scorer"] not in scorers
    ]
    return faults + read_rewards(rewards)[1]


def build_rewards(
    rewards: Mapping[str, Mapping[str, Any] | None],
    scorers: Scorers,
    *,
    folders: Mapping[str, str | Path] | None = None,
    root: Path | None = None,
) -> list[Rewarder]:
    """The rewards in the order of the recipe. `scorers` are by name of the reward, or of the scorer.

    `folders` hold the places of reward models that settings call by a name: a place is no part of what a reward is.
    Raises RecipeError for wrong settings and for a name that nothing stands behind.
    """
    faults = check_rewards(rewards, scorers=list(scorers))
    if faults:
        raise RecipeError(faults)
    wanted = wanted_scorers(rewards)
    made = []
    for name, settings in read_rewards(rewards)[0].items():
        if isinstance(settings, RewardModel):
            made.append(_by_model(name, settings, (folders or {}).get(settings.model, settings.model), root))
        elif isinstance(settings, Scored):
            given = scorers[name] if name in scorers else scorers[wanted[name]["scorer"]]
            made.append(_by_function(name, settings, given) if callable(given) else _by_scorer(name, settings, given))
        else:
            made.append(_by_text(name, settings))
    return made


def totals(found: Mapping[str, Values], weights: Mapping[str, float]) -> Values:
    """The weighted sum of what could be said of each answer; None where nothing could."""
    return [
        sum(weights[name] * one for name, one in zip(found, row, strict=True) if one is not None)
        if any(one is not None for one in row)
        else None
        for row in zip(*found.values(), strict=True)
    ]


def text_of(messages: Sequence[Message]) -> str:
    """The contents of an answer as one text."""
    return "\n".join(message["content"] or "" for message in messages)


def _by_text(name: str, settings: Measured) -> Rewarder:
    def ask(prompts: Any, completions: Any, answers: pl.DataFrame) -> Values:
        return settings.measure(answers).to_list()

    return Rewarder(name, settings, ask, {"reward": type(settings).__name__, **dataclasses.asdict(settings)})


def _by_model(name: str, settings: RewardModel, folder: str | Path, root: Path | None) -> Rewarder:
    from trainers.scoring import load_reward

    scorer = load_reward(folder, root=root, max_length=settings.max_length)

    def ask(prompts: Any, completions: Any, answers: pl.DataFrame) -> Values:
        return scorer.score(prompts, completions)

    return Rewarder(name, settings, ask, {"reward": "RewardModel", **scorer.identity()})


def _by_scorer(name: str, settings: Scored, scorer: TextScorer) -> Rewarder:
    if "images" in scorer.reads:
        raise RecipeError(f"rewards.{name}: the scorer {scorer.name} reads pictures, which no sampled answer has")
    sign = 1.0 if settings.column is not None or scorer.better == "higher" else -1.0
    row_filter = RowFilter(name=scorer.name, scorer=scorer, sides=("completion",), rules={})

    def ask(prompts: Any, completions: Any, answers: pl.DataFrame) -> Values:
        frame = pl.DataFrame(
            {"prompt": _messages(prompts), "completion": _messages(completions)},
            schema={"prompt": MESSAGES, "completion": MESSAGES},
        )
        scores = judge(frame, row_filter, "completion")
        column = scores.columns[0] if settings.column is None else f"{scorer.name}_completion_{settings.column}"
        if column not in scores.columns:
            known = [one.removeprefix(f"{scorer.name}_completion_") for one in scores.columns[1:]]
            raise RecipeError(f"rewards.{name}.column: {settings.column!r}; {nearest(str(settings.column), known)}")
        found = scores[column]
        if settings.values:
            return found.cast(pl.String).is_in(list(settings.values)).cast(pl.Float64).to_list()
        if not found.dtype.is_numeric():
            raise RecipeError(f"rewards.{name}: column {column} holds text; set `values` to those that are rewarded")
        return (found.cast(pl.Float64) * sign).to_list()

    identity = {"scorer": scorer.name, "version": scorer.version, "parameters": dict(scorer.parameters())}
    return Rewarder(name, settings, ask, {**identity, "settings": dataclasses.asdict(settings)})


def _by_function(name: str, settings: Scored, function: Callable[..., Sequence[float | None]]) -> Rewarder:
    def ask(prompts: Any, completions: Any, answers: pl.DataFrame) -> Values:
        columns = {column: answers[column].to_list() for column in answers.columns if column == "answer"}
        return list(function(prompts=prompts, completions=completions, **columns))

    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        source = ""
    told = hashlib.sha256(source.encode()).hexdigest()
    identity = {"function": getattr(function, "__qualname__", type(function).__name__), "sha256": told}
    return Rewarder(name, settings, ask, {**identity, "weight": settings.weight})


def _told(error: Exception) -> str:
    """The line of an engine's message that says what is wrong."""
    lines = str(error).strip().splitlines()
    return next((line.strip() for line in lines if line.strip().startswith("error:")), lines[0])


def _messages(chats: Sequence[Sequence[Message]]) -> list[list[dict[str, Any]]]:
    return [
        [{"role": one["role"], "content": one["content"] or "", "tool_calls": None} for one in chat] for chat in chats
    ]


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


@functools.cache
def _model(settings_type: type[Measured]) -> type[pydantic.BaseModel]:
    """A strict model with the fields of a reward's settings."""
    hints = typing.get_type_hints(settings_type)
    fields: dict[str, Any] = {
        entry.name: (hints[entry.name], entry.default) for entry in dataclasses.fields(settings_type)
    }
    config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())
    return pydantic.create_model(settings_type.__name__, __config__=config, **fields)
