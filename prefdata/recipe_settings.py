"""Settings of a recipe from plain data: each checked by its own dataclass, every fault kept with its place."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import itertools
import json
import re
import textwrap
import typing
from typing import Any

import pydantic

from prefdata import catalogue
from prefdata.errors import InputError, RecipeError, UnknownNameError, nearest
from prefdata.recipe_parts import LARGEST, Entry
from prefdata.strict_yaml import placed


class SettingsReader:
    """Turns plain data into settings and keeps every fault on the way."""

    def __init__(self, lines: dict[tuple[Any, ...], int]) -> None:
        self.lines = lines
        self.faults: list[str] = []

    def fault(self, path: tuple[Any, ...], message: str) -> None:
        known = next((path[:size] for size in range(len(path), -1, -1) if path[:size] in self.lines), ())
        line = self.lines.get(known)
        self.faults.append((f"line {line}: " if line else "") + placed(path) + message)

    def integer(
        self, data: dict[str, Any], key: str, default: int | None, *, least: int, most: int = 2**31 - 1
    ) -> int | None:
        value = data.get(key, default)
        if value is None and default is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.fault((key,), f"expected a whole number of at least {least}")
            return default
        if value > most:
            self.fault((key,), f"expected a whole number of at most {most}")
            return default
        return value

    def entries(self, kind: str, data: Any, path: tuple[Any, ...]) -> tuple[Entry, ...]:
        if not isinstance(data, list):
            self.fault(path, f"expected a list of {kind}s: `- name` or `- name: {{setting: value}}`")
            return ()
        found = [self.entry(kind, item, (*path, position)) for position, item in enumerate(data)]
        names = [entry.name for entry in found if entry is not None]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.fault(path, f"{name} stands there more than once")
        return tuple(entry for entry in found if entry is not None)

    def entry(self, kind: str, item: Any, path: tuple[Any, ...]) -> Entry | None:
        if isinstance(item, str):
            name, values = item, None
        elif isinstance(item, dict) and len(item) == 1:
            name, values = next(iter(item.items()))
        else:
            self.fault(path, f"expected the name of a {kind}, or one name with its settings below it")
            return None
        try:
            settings_type = catalogue.load(kind, str(name))
        except UnknownNameError as error:
            self.fault(path, str(error))
            return None
        settings = self.settings(settings_type, values, (*path, name))
        return None if settings is None else Entry(name=str(name), settings=settings)

    def settings(self, settings_type: Any, values: Any, path: tuple[Any, ...]) -> Any:
        """An instance of a settings dataclass from plain data; None after a fault."""
        values = {} if values is None else values
        if not isinstance(values, dict):
            self.fault(path, "expected settings, a mapping")
            return None
        names = [entry.name for entry in dataclasses.fields(settings_type) if entry.init]
        sound = True
        for key in values:
            if key not in names:
                self.fault((*path, key), f"unknown setting; {nearest(str(key), names)}")
                sound = False
        known = {key: value for key, value in values.items() if key in names}
        for key in [key for key, value in known.items() if isinstance(value, int) and abs(value) > LARGEST]:
            self.fault((*path, key), f"expected a whole number of at most {LARGEST}")
            del known[key]
            sound = False
        try:
            made = _made(settings_type, known)
            return made if sound else None
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            for one in found:
                self.fault((*path, *one["loc"]), one["msg"].removeprefix("Value error, "))
            wrong = {one["loc"][0] for one in found if one["loc"]}
            self.values(settings_type, {key: value for key, value in known.items() if key not in wrong}, path)
        except RecipeError as error:
            for fault in error.faults:
                self.told(fault, names, path)
        except InputError as error:
            for fault in str(error).split("; "):
                self.told(fault, names, path)
        except ValueError as error:
            self.fault(path, str(error))
        return None

    def values(self, settings_type: Any, known: dict[str, Any], path: tuple[Any, ...]) -> None:
        """Keeps the faults of those values whose type is right, where others of the settings are of a wrong one."""
        try:
            _made(settings_type, known)
        except RecipeError as error:
            for fault in error.faults:
                if re.split(r"[.:]", fault, maxsplit=1)[0] in known:
                    self.told(fault, list(known), path)
        except (InputError, ValueError):  # pydantic's too: told already
            return

    def told(self, fault: str, names: list[str], path: tuple[Any, ...]) -> None:
        """Keeps a fault that settings found in themselves, at the place of the setting that it begins with."""
        head, colon, message = fault.partition(": ")
        parts = head.split(".", 1)
        if colon and parts[0] in names:
            self.fault((*path, *parts), message)
        else:
            self.fault(path, fault)


def _made(settings_type: Any, known: dict[str, Any]) -> Any:
    """Settings from plain data. Raises pydantic's ValidationError for wrong types, RecipeError for wrong values."""
    validated = settings_model(settings_type).model_validate_json(json.dumps(known, default=str), strict=True)
    return settings_type(**{name: getattr(validated, name) for name in validated.model_fields_set})


@functools.cache
def settings_model(settings_type: Any, *, described: bool = False) -> type[pydantic.BaseModel]:
    """A strict pydantic model with the fields of a settings dataclass; with their docstrings only where `described`.

    Docstrings are read out of the source, which takes longer than all else that a recipe's check does.
    """
    hints = typing.get_type_hints(settings_type)
    notes = field_notes(settings_type) if described else {}
    fields: dict[str, Any] = {}
    for entry in dataclasses.fields(settings_type):
        if not entry.init:
            continue
        default: Any = ...
        if entry.default is not dataclasses.MISSING:
            default = entry.default
        elif entry.default_factory is not dataclasses.MISSING:
            default = entry.default_factory()
        fields[entry.name] = (hints[entry.name], pydantic.Field(default, description=notes.get(entry.name)))
    config = pydantic.ConfigDict(
        extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False, protected_namespaces=()
    )
    return pydantic.create_model(settings_type.__name__, __config__=config, **fields)


@functools.cache
def field_notes(settings_type: Any) -> dict[str, str]:
    """Field name -> the docstring under it, as written in the source of a settings dataclass and its bases."""
    notes: dict[str, str] = {}
    for one in reversed(settings_type.__mro__):
        if "__dataclass_fields__" not in vars(one):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        except (OSError, TypeError):
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for before, after in itertools.pairwise(body):
            if (
                isinstance(before, ast.AnnAssign)
                and isinstance(before.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                notes[before.target.id] = " ".join(after.value.value.split())
    return {entry.name: notes[entry.name] for entry in dataclasses.fields(settings_type) if entry.name in notes}


def imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
