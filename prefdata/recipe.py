"""A recipe: the YAML file as typed, checked data. All faults of a file are found at once, each with its line."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from prefdata import catalogue
from prefdata.balance import Balance
from prefdata.errors import RecipeError, UnknownNameError, nearest
from prefdata.licences import DEFAULT_USE, USES, broken
from prefdata.recipe_parts import LARGEST, Entry, Limits, Ratings, Recipe, Source, Split, plain
from prefdata.strict_yaml import placed, read_yaml

__all__ = [
    "LISTS",
    "SECTIONS",
    "Balance",
    "Entry",
    "Limits",
    "Ratings",
    "Recipe",
    "Source",
    "Split",
    "field_notes",
    "from_data",
    "from_resolved",
    "imported",
    "load",
    "parse",
    "plain",
    "settings_model",
    "settings_of",
]

MAX_BYTES = 1 << 20
"""A recipe larger than this is refused unread."""

SECTIONS: dict[str, str] = {
    "sessions": "prefdata.logs.sessions:SessionSettings",
    "signals": "prefdata.logs.signals:SignalSettings",
    "credit": "prefdata.logs.credit:CreditSettings",
    "labels": "prefdata.logs.combine:LabelSettings",
}
"""Parts of a recipe that are one settings object each."""

LISTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "transforms": ("transform", ("unicode", "personal_data", "control_tokens")),
    "filters": ("filter", ("chat_quality", "language", "toxicity")),
    "groupings": ("grouping", ("exact_duplicates", "near_duplicates")),
    "export": ("format", ("trl",)),
}
"""Parts of a recipe that are lists of catalogue names, and what a recipe gets that does not mention them."""

SOURCE = ("name", "path", "layout", "ratings", "licence", "permits")

TOP = (
    "name",
    "seed",
    "sources",
    *SECTIONS,
    *LISTS,
    "max_context_turns",
    "unjudged",
    "split",
    "balance",
    "use",
    "train",
    "limits",
    "shard_rows",
)


def load(path: str | Path) -> Recipe:
    """The recipe in a YAML file. Raises RecipeError with every fault found, each with its line."""
    file = Path(path)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise RecipeError(f"{path}: {len(raw)} bytes, a recipe has at most {MAX_BYTES}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 at byte {error.start}") from None
    return parse(text, root=file.resolve().parent, where=str(path))


def parse(text: str, *, root: Path, where: str = "recipe") -> Recipe:
    """The recipe in a YAML text; relative paths in it are meant from `root`."""
    data, lines = read_yaml(text, where)
    return from_data(data, root=root, where=where, lines=lines)


def from_data(
    data: Any, *, root: Path, where: str = "recipe", lines: dict[tuple[Any, ...], int] | None = None
) -> Recipe:
    """The recipe in plain data (what YAML or JSON gave); `lines` tells where each key stands."""
    reader = _Reader(lines or {})
    recipe = reader.recipe(data, root)
    if reader.faults or recipe is None:
        raise RecipeError(reader.faults, where=where)
    return recipe


def from_resolved(resolved: dict[str, Any], *, root: Path) -> Recipe:
    """The recipe that `Recipe.resolved` gave this account of; paths in it are meant from `root`."""
    data = dict(resolved)
    for name in LISTS:
        data[name] = [{entry["name"]: entry["settings"]} for entry in resolved[name]]
    data["sources"] = [
        {**source, "layout": {source["layout"]["name"]: source["layout"]["settings"]}} for source in resolved["sources"]
    ]
    if resolved["train"] is not None:
        train = resolved["train"]
        data["train"] = {**train["settings"], "method": train["name"], "model": train["model"]}
    return from_data(data, root=root, where="run.json")


def settings_of(kind: str, name: str, values: dict[str, Any]) -> Any:
    """The settings of a catalogue entry from plain values, checked as a recipe's are; RecipeError with every fault."""
    reader = _Reader({})
    made = reader.settings(catalogue.load(kind, name), plain(values), (name,))
    if reader.faults:
        raise RecipeError(reader.faults)
    return made


class _Reader:
    """Turns plain data into a Recipe and keeps every fault on the way."""

    def __init__(self, lines: dict[tuple[Any, ...], int]) -> None:
        self.lines = lines
        self.faults: list[str] = []

    def fault(self, path: tuple[Any, ...], message: str) -> None:
        known = next((path[:size] for size in range(len(path), -1, -1) if path[:size] in self.lines), ())
        line = self.lines.get(known)
        self.faults.append((f"line {line}: " if line else "") + placed(path) + message)

    def recipe(self, data: Any, root: Path) -> Recipe | None:
        if not isinstance(data, dict):
            self.fault((), f"a recipe is a mapping of {', '.join(TOP)}; found {type(data).__name__}")
            return None
        for key in data:
            if key not in TOP:
                self.fault((key,), f"unknown key; {nearest(str(key), TOP)}")
        sections = {name: self.settings(imported(target), data.get(name), (name,)) for name, target in SECTIONS.items()}
        lists = {
            name: self.entries(kind, data.get(name, list(default)), (name,)) for name, (kind, default) in LISTS.items()
        }
        train, model = self.train(data.get("train"))
        numbers = _Numbers(
            seed=self.integer(data, "seed", 0, least=0, most=LARGEST),
            shard_rows=self.integer(data, "shard_rows", 10_000, least=1),
            max_context_turns=self.integer(data, "max_context_turns", None, least=1),
        )
        unjudged = data.get("unjudged", "keep")
        if unjudged not in ("keep", "drop"):
            self.fault(("unjudged",), f"{unjudged!r}; expected keep or drop")
        name = data.get("name", "run")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            self.fault(("name",), "expected 1-64 letters, digits, '.', '_', '-', beginning with a letter or digit")
        split = self.settings(Split, data.get("split"), ("split",))
        limits = self.settings(Limits, data.get("limits"), ("limits",))
        balance = self.settings(Balance, data.get("balance"), ("balance",))
        sources = self.sources(data.get("sources"), sections["signals"])
        use = self.use(data.get("use"), [entry.name for entry in lists["export"]])
        for export, uses in use.items():
            for fault in broken(sources, uses):
                self.fault(("use",), f"export {export}: {fault}")
        if self.faults:
            return None
        return Recipe(
            name=name,
            seed=numbers.seed or 0,
            root=root,
            sources=sources,
            transforms=lists["transforms"],
            filters=lists["filters"],
            groupings=lists["groupings"],
            balance=balance,
            export=lists["export"],
            use=use,
            unjudged=unjudged,
            split=split,
            train=train,
            model=model,
            limits=limits,
            shard_rows=numbers.shard_rows or 1,
            max_context_turns=numbers.max_context_turns,
            **sections,
        )

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

    def sources(self, data: Any, signals: Any) -> tuple[Source, ...]:
        if not isinstance(data, list) or not data:
            self.fault(("sources",), "expected a list of at least one source: {name, path, layout, ratings}")
            return ()
        found = []
        names: set[str] = set()
        for position, item in enumerate(data):
            at: tuple[Any, ...] = ("sources", position)
            if not isinstance(item, dict):
                self.fault(at, "expected a mapping of name, path, layout, ratings")
                continue
            for key in item:
                if key not in SOURCE:
                    self.fault((*at, key), f"unknown key; {nearest(str(key), SOURCE)}")
            name, path = item.get("name"), item.get("path")
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
                self.fault((*at, "name"), "expected 1-64 letters, digits, '.', '_', '-'")
            elif name in names:
                self.fault((*at, "name"), f"{name!r} is the name of another source")
            else:
                names.add(name)
            paths = path if isinstance(path, list) else [path]
            if not paths or not all(isinstance(one, str) and one for one in paths):
                self.fault((*at, "path"), "expected a file, a folder, or a list of them")
            elif any(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", str(one)) for one in paths):
                self.fault((*at, "path"), "an address, not a file; download it first")
            layout = self.entry("layout", item.get("layout"), (*at, "layout"))
            ratings = self.settings(Ratings, item.get("ratings"), (*at, "ratings"))
            if ratings is not None and signals is not None:
                try:
                    ratings.applied(signals)
                except RecipeError as error:
                    for fault in error.faults:
                        self.fault((*at, "ratings"), f"with what `signals` says of ratings: {fault}")
            licence = item.get("licence")
            if licence is not None and not (isinstance(licence, str) and 0 < len(licence.strip()) <= 200):
                self.fault((*at, "licence"), "expected an SPDX identifier, or up to 200 characters")
                licence = None
            permits = None if item.get("permits") is None else self.uses(item["permits"], (*at, "permits"))
            if layout is not None and ratings is not None:
                given = tuple(map(str, paths))
                found.append(
                    Source(name=str(name), path=given, layout=layout, ratings=ratings, licence=licence, permits=permits)
                )
        return tuple(found)

    def use(self, data: Any, exports: list[str]) -> dict[str, tuple[str, ...]]:
        """Export -> what it is for; a list speaks for every export, a mapping for those it names."""
        if not isinstance(data, dict):
            uses = DEFAULT_USE if data is None else self.uses(data, ("use",))
            return dict.fromkeys(exports, uses)
        for name in data:
            if name not in exports:
                self.fault(("use", name), f"no such export; {nearest(str(name), exports)}")
        return {name: self.uses(data[name], ("use", name)) if name in data else DEFAULT_USE for name in exports}

    def uses(self, data: Any, path: tuple[Any, ...]) -> tuple[str, ...]:
        if not isinstance(data, list) or not all(isinstance(one, str) for one in data):
            self.fault(path, f"expected a list of uses: {', '.join(USES)}")
            return ()
        for one in data:
            if one not in USES:
                self.fault(path, f"unknown use {one!r}; {nearest(one, USES)}")
        return tuple(dict.fromkeys(data))

    def train(self, data: Any) -> tuple[Entry | None, str | None]:
        if data is None:
            return None, None
        if not isinstance(data, dict):
            self.fault(("train",), "expected a mapping with method and model")
            return None, None
        rest = {key: value for key, value in data.items() if key not in ("method", "model")}
        method, model = data.get("method", "kto"), data.get("model")
        if not isinstance(model, str) or not model:
            self.fault(("train", "model"), "expected the name of a model, or its folder")
        try:
            kind = catalogue.load("trainer", str(method))
        except UnknownNameError as error:
            self.fault(("train", "method"), str(error))
            return None, None
        settings = self.settings(kind, rest, ("train",))
        return (None if settings is None else Entry(name=str(method), settings=settings)), model

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
        except ValueError:  # pydantic's too: told already
            return

    def told(self, fault: str, names: list[str], path: tuple[Any, ...]) -> None:
        """Keeps a fault that settings found in themselves, at the place of the setting that it begins with."""
        head, colon, message = fault.partition(": ")
        parts = head.split(".", 1)
        if colon and parts[0] in names:
            self.fault((*path, *parts), message)
        else:
            self.fault(path, fault)


@dataclass(frozen=True)
class _Numbers:
    seed: int | None
    shard_rows: int | None
    max_context_turns: int | None


def _made(settings_type: Any, known: dict[str, Any]) -> Any:
    """Settings from plain data. Raises pydantic's ValidationError for wrong types, RecipeError for wrong values."""
    validated = settings_model(settings_type).model_validate_json(json.dumps(known, default=str), strict=True)
    return settings_type(**{name: getattr(validated, name) for name in validated.model_fields_set})


@functools.cache
def settings_model(settings_type: Any) -> type[pydantic.BaseModel]:
    """A strict pydantic model with the fields of a settings dataclass."""
    hints = typing.get_type_hints(settings_type)
    notes = field_notes(settings_type)
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
