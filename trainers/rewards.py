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
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pydantic

from prefdata.errors import InputError, RecipeError, nearest
from prefdata.judging import RowFilter, TextScorer, judge
from prefdata.schema import MESSAGES
from trainers.rendering import Message
from trainers.reward_kinds import REWARDS, Measured, RewardModel, Scored
from trainers.vision import blocks
from trainers.vision.processor import Looks
from trainers.vision.sampling import known_pictures, plain, shown_in

if typing.TYPE_CHECKING:
    from prefdata.pictures import Pictures

__all__ = ["REWARDS", "RewardError", "Rewarder", "build_rewards", "check_rewards", "read_rewards", "wanted_scorers"]

Values = list[float | None]
Scorers = Mapping[str, TextScorer | Callable[..., Sequence[float | None]]]
"""What the caller gives beside the table: scorers of texts, and functions in the form of TRL's reward functions."""


class RewardError(InputError):
    """Rewards that cannot train a policy: the same for every answer, or none at all."""


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
        self.seeing: Seeing | None = None
        """Of a scorer that reads pictures: what is known of those of the prompts; null for all others."""

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


class Seeing:
    """What a scorer that reads pictures is told of those of the prompts; filled by `look` before it is asked."""

    def __init__(self) -> None:
        self.pictures: Pictures | None = None


def look(rewarders: Sequence[Rewarder], looks: Looks | None, addresses: Sequence[str]) -> None:
    """Tells the rewards that read pictures of those at `addresses`, and of any before.

    Raises RecipeError for such a reward of a model that reads text alone.
    """
    seeing = [(one.__name__, one.seeing) for one in rewarders if one.seeing is not None]
    if seeing and looks is None:
        raise RecipeError(
            [f"rewards.{name}: its scorer reads pictures, and the model that answers reads none" for name, _ in seeing]
        )
    if not seeing or looks is None:
        return
    found = known_pictures(looks, addresses)
    for _, one in seeing:
        before = [] if one.pictures is None else [one.pictures.table]
        table = pl.concat([*before, found.table]).unique("uri", keep="first", maintain_order=True)
        one.pictures = dataclasses.replace(found, table=table)


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
    return "\n".join(blocks.text_of(message["content"]) for message in messages)


def _by_text(name: str, settings: Measured) -> Rewarder:
    def ask(prompts: Any, completions: Any, answers: pl.DataFrame) -> Values:
        return settings.measure(answers).to_list()

    return Rewarder(name, settings, ask, {"reward": type(settings).__name__, **dataclasses.asdict(settings)})


def _by_model(name: str, settings: RewardModel, folder: str | Path, root: Path | None) -> Rewarder:
    from trainers.scoring import load_reward

    scorer = load_reward(folder, root=root, max_length=settings.max_length)

    def ask(prompts: Any, completions: Any, answers: pl.DataFrame) -> Values:
        return scorer.score([plain(one) for one in prompts], [plain(one) for one in completions])

    return Rewarder(name, settings, ask, {"reward": "RewardModel", **scorer.identity()})


def _by_scorer(name: str, settings: Scored, scorer: TextScorer) -> Rewarder:
    seeing = Seeing() if "images" in scorer.reads else None
    sign = 1.0 if settings.column is not None or scorer.better == "higher" else -1.0
    row_filter = RowFilter(name=scorer.name, scorer=scorer, sides=("completion",), rules={})

    def ask(prompts: Any, completions: Any, answers: pl.DataFrame) -> Values:
        frame = pl.DataFrame(
            {"prompt": _messages(prompts), "completion": _messages(completions)},
            schema={"prompt": MESSAGES, "completion": MESSAGES},
        )
        if seeing is not None:
            frame = frame.with_columns(shown_in(prompts))
        scores = judge(frame, row_filter, "completion", pictures=None if seeing is None else seeing.pictures)
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
    made = Rewarder(name, settings, ask, {**identity, "settings": dataclasses.asdict(settings)})
    made.seeing = seeing
    return made


def _by_function(name: str, settings: Scored, function: Callable[..., Sequence[float | None]]) -> Rewarder:
    def ask(prompts: Any, completions: Any, answers: pl.DataFrame) -> Values:
        columns = {column: answers[column].to_list() for column in answers.columns if column == "answer"}
        return list(function(prompts=prompts, completions=completions, **columns))

    told = hashlib.sha256(repr(_written(function)).encode()).hexdigest()
    identity = {"function": getattr(function, "__qualname__", type(function).__name__), "sha256": told}
    return Rewarder(name, settings, ask, {**identity, "weight": settings.weight})


def _written(function: Any) -> list[Any]:
    """What a function does, as far as it can be read: its source or its code, and the plain values that it holds.

    Two that one line of source makes (a closure, a partial), or that have none (typed into a shell), differ by these.
    """
    if isinstance(function, functools.partial):
        return [*_written(function.func), _plain([function.args, function.keywords])]
    if inspect.ismethod(function):
        return [*_written(function.__func__), _plain(getattr(function.__self__, "__dict__", {}))]
    if not inspect.isfunction(function):
        called = type(function).__call__
        held = _plain(getattr(function, "__dict__", {}))
        return [type(function).__qualname__, *(_written(called) if inspect.isfunction(called) else []), held]
    try:
        body: Any = inspect.getsource(function)
    except (OSError, TypeError):
        body = _code(function.__code__)
    held = inspect.getclosurevars(function).nonlocals
    return [body, _plain([function.__defaults__, function.__kwdefaults__, held])]


def _plain(value: Any) -> Any:
    """Plain values as they are; of functions their code, of anything else the name of its type."""
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return [(_plain(key), _plain(one)) for key, one in value.items()]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, map(_plain, value)))
    return _code(value.__code__) if inspect.isfunction(value) else type(value).__qualname__


def _code(code: types.CodeType) -> list[Any]:
    constants = [_code(one) if isinstance(one, types.CodeType) else _plain(one) for one in code.co_consts]
    return [code.co_code, code.co_names, constants]


def _messages(chats: Sequence[Sequence[Message]]) -> list[list[dict[str, Any]]]:
    return [
        [{"role": one["role"], "content": blocks.text_of(one["content"]), "tool_calls": None} for one in chat]
        for chat in chats
    ]


@functools.cache
def _model(settings_type: type[Measured]) -> type[pydantic.BaseModel]:
    """A strict model with the fields of a reward's settings."""
    hints = typing.get_type_hints(settings_type)
    fields: dict[str, Any] = {
        entry.name: (hints[entry.name], entry.default) for entry in dataclasses.fields(settings_type)
    }
    config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())
    return pydantic.create_model(settings_type.__name__, __config__=config, **fields)
