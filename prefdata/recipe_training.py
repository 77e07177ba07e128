"""What a recipe says of training: one method under `train:`, or a chain of stages, each from an earlier one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefdata import catalogue
from prefdata.errors import RecipeError, UnknownNameError, nearest
from prefdata.recipe_parts import Recipe, StageData, TrainingStage
from prefdata.recipe_settings import SettingsReader
from prefdata.schema import RecordType

OF_STAGES = ("name", "model", "from", "data")
"""What a stage says beside its method's settings."""

OF_DATA = ("sources", "recipe")

SCORES = "reward"
"""The method whose model scores answers: a later stage takes it as a reward, never as its start."""


class TrainingReader(SettingsReader):
    """Reads `train` and `stages`. `load` reads the recipes that stages take data from; null looks for none."""

    def __init__(self, lines: dict[tuple[Any, ...], int], *, load: Callable[[Path], Recipe] | None = None) -> None:
        super().__init__(lines)
        self.load = load
        self.loaded: dict[str, str] = {}

    def training(
        self, data: dict[str, Any], sources: Sequence[str], record_type: RecordType | None, root: Path
    ) -> tuple[TrainingStage, ...]:
        """The stages of a recipe, in order; those with a fault are left out."""
        if data.get("train") is not None and data.get("stages") is not None:
            self.fault(("stages",), "`train` is there too; write its method as one of the stages")
            return ()
        if data.get("stages") is None:
            return self._alone(data.get("train"))
        given = data["stages"]
        if not isinstance(given, list) or not given:
            self.fault(("stages",), "expected a list of stages: `- sft: {model: smollm2-135m}`, then `- dpo`")
            return ()
        known: dict[str, str] = {}
        found = [self._stage(item, ("stages", at), known, sources, root) for at, item in enumerate(given)]
        return tuple(stage for stage in found if stage is not None)

    def _alone(self, data: Any) -> tuple[TrainingStage, ...]:
        if data is None:
            return ()
        if not isinstance(data, dict):
            self.fault(("train",), "expected a mapping with method and model")
            return ()
        rest = {key: value for key, value in data.items() if key not in ("method", "model")}
        method, model = data.get("method", "kto"), data.get("model")
        if not isinstance(model, str) or not model:
            self.fault(("train", "model"), "expected the name of a model, or its folder")
        try:
            kind = catalogue.load("trainer", str(method))
        except UnknownNameError as error:
            self.fault(("train", "method"), str(error))
            return ()
        settings = self.settings(kind, rest, ("train",))
        if settings is None:
            return ()
        return (self._made(("train",), name=str(method), method=str(method), settings=settings, model=model),)

    def _stage(
        self, item: Any, at: tuple[Any, ...], known: dict[str, str], sources: Sequence[str], root: Path
    ) -> TrainingStage | None:
        """One stage; `known` (name -> method of those before it) is added to, with or without a fault."""
        if isinstance(item, str):
            item = {item: None}
        if not isinstance(item, dict) or len(item) != 1:
            self.fault(at, "expected the name of a method, or one name with its settings below it")
            return None
        method, values = next(iter(item.items()))
        path = (*at, method)
        values = {} if values is None else values
        if not isinstance(values, dict):
            self.fault(path, "expected settings, a mapping")
            return None
        name = self._name(values.get("name", method), path, known)
        try:
            kind = catalogue.load("trainer", str(method))
        except UnknownNameError as error:
            self.fault(at, str(error))
            return None
        model, start = self._start(values, path, known)
        rest = {key: value for key, value in values.items() if key not in OF_STAGES}
        rest, scored_by = self._reward_stages(rest, path, known)
        settings = self.settings(kind, rest, path)
        data = self._data(values.get("data"), (*path, "data"), sources, root)
        known.setdefault(name, str(method))
        if settings is None or data is None:
            return None
        facts: dict[str, Any] = {"name": name, "method": str(method), "settings": settings, "scored_by": scored_by}
        return self._made(path, **facts, model=model, start=start, data=data)

    def _made(self, path: tuple[Any, ...], **facts: Any) -> TrainingStage:
        lines = {key[len(path) :]: line for key, line in self.lines.items() if key[: len(path)] == path}
        return TrainingStage(**facts, lines=lines, place=path)

    def _name(self, name: Any, path: tuple[Any, ...], known: dict[str, str]) -> str:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            self.fault((*path, "name"), "expected 1-64 letters, digits, '.', '_', '-'")
        elif name in known:
            self.fault(path, f"{name!r} is the name of an earlier stage; give this one a `name:` of its own")
        return str(name)

    def _start(
        self, values: dict[str, Any], path: tuple[Any, ...], known: dict[str, str]
    ) -> tuple[str | None, str | None]:
        """Model and stage that a stage starts from, one of them null; without either the newest that can be one."""
        model, start = values.get("model"), values.get("from")
        if model is not None and start is not None:
            self.fault((*path, "from"), "`model` is there too; a stage starts from one of them")
        for key, value in (("model", model), ("from", start)):
            if value is not None and (not isinstance(value, str) or not value):
                what = "the name of a model, or its folder" if key == "model" else "the name of an earlier stage"
                self.fault((*path, key), f"expected {what}")
                return None, None
        if model is not None:
            return model, None
        able = [name for name, method in known.items() if method != SCORES]
        if start is None:
            if not able:
                self.fault(path, "expected `model`: the name of a model, or its folder; no stage stands before it")
            return None, able[-1] if able else None
        if start in known and start not in able:
            self.fault((*path, "from"), f"{start} is a reward model; it scores answers and cannot be trained on")
        elif start not in known:
            told = nearest(start, able) if able else "none stands before it"
            self.fault((*path, "from"), f"no earlier stage {start!r}; {told}. A model is named with `model`")
        return None, start

    def _reward_stages(
        self, values: dict[str, Any], path: tuple[Any, ...], known: dict[str, str]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """`values`, where reward models that are stages (`from: reward`) are named by `model`; and reward -> stage."""
        rewards = values.get("rewards")
        if not isinstance(rewards, dict):
            return values, {}
        made, found = dict(rewards), {}
        for name, reward in rewards.items():
            if not isinstance(reward, dict) or "from" not in reward:
                continue
            stage, rest = reward["from"], {key: value for key, value in reward.items() if key not in ("from", "model")}
            if "model" in reward:
                self.fault((*path, "rewards", name, "from"), "`model` is there too; a reward is given by one of them")
            if not isinstance(stage, str) or known.get(stage) != SCORES:
                able = [one for one, method in known.items() if method == SCORES]
                told = nearest(str(stage), able) if able else "none stands before it"
                self.fault((*path, "rewards", name, "from"), f"no earlier reward stage {stage!r}; {told}")
            made[name] = {**rest, "model": str(stage)}
            found[name] = str(stage)
        return {**values, "rewards": made}, found

    def _data(self, data: Any, path: tuple[Any, ...], sources: Sequence[str], root: Path) -> StageData | None:
        """What a stage is given; null after a fault."""
        if data is None:
            return StageData()
        if not isinstance(data, dict):
            self.fault(path, "expected a mapping of sources, or of a recipe whose rows are taken")
            return None
        faults = len(self.faults)
        for key in data:
            if key not in OF_DATA:
                self.fault((*path, key), f"unknown key; {nearest(str(key), OF_DATA)}")
        other, recipe = data.get("recipe"), None
        if other is not None and (not isinstance(other, str) or not other):
            self.fault((*path, "recipe"), "expected the file of a recipe")
        elif other is not None and self.load is not None:
            recipe = self._recipe(other, (*path, "recipe"), root)
            sources = [source.name for source in recipe.sources] if recipe is not None else sources
        wanted = data.get("sources")
        if wanted is not None:
            if not isinstance(wanted, list) or not wanted or not all(isinstance(one, str) for one in wanted):
                self.fault((*path, "sources"), "expected a list of names of sources")
            elif recipe is not None or other is None:
                for name in sorted({*wanted} - {*sources}):
                    self.fault((*path, "sources"), f"no such source {name!r}; {nearest(name, sources)}")
        if len(self.faults) > faults:
            return None
        return StageData(sources=None if wanted is None else tuple(wanted), path=other, recipe=recipe)

    def _recipe(self, path: str, at: tuple[Any, ...], root: Path) -> Recipe | None:
        assert self.load is not None
        if not (root / path).is_file():
            self.fault(at, f"{path}: no such file")
            return None
        try:
            found = self.load(root / path)
        except RecipeError as error:
            for fault in error.faults:
                self.fault(at, f"{path}: {fault}")
            return None
        if self.loaded.setdefault(found.name, path) != path:
            self.fault(at, f"{path}: its name, {found.name!r}, is that of {self.loaded[found.name]} too")
        return found


def stage_data(resolved: dict[str, Any]) -> dict[str, Any]:
    """An item of `stages:` that reads as the stage which `TrainingStage.resolved` gave this account of."""
    own = {name: resolved[name] for name in ("name", "model", "from") if resolved[name] is not None}
    data = {name: value for name, value in resolved["data"].items() if value is not None}
    return {resolved["method"]: {**own, **({"data": data} if data else {}), **resolved["settings"]}}
