"""A recipe: the YAML file as typed, checked data. All faults of a file are found at once, each with its line."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefdata import catalogue
from prefdata import recipe_types as types
from prefdata.balance import Balance
from prefdata.errors import RecipeError, nearest
from prefdata.licences import DEFAULT_USE, USES, broken
from prefdata.recipe_parts import LARGEST, Entry, Limits, Mix, Ratings, Recipe, Source, Split, plain
from prefdata.recipe_settings import SettingsReader, field_notes, imported, settings_model
from prefdata.recipe_training import TrainingReader, stage_data
from prefdata.schema import RecordType
from prefdata.strict_yaml import read_yaml

__all__ = [
    "LISTS",
    "SECTIONS",
    "UNSAID",
    "Balance",
    "Entry",
    "Limits",
    "Mix",
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
    "match": "prefdata.build.matched:MatchSettings",
}
"""Parts of a recipe that are one settings object each."""

UNSAID: dict[str, str] = {
    "pictures": "prefdata.pictures:GateSettings",
    "image_text": "prefdata.build.image_text_settings:ImageTextSettings",
}
"""Such parts that a recipe without pictures need not have: null where it does not speak of them."""

LISTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "transforms": ("transform", ("unicode", "personal_data", "control_tokens")),
    "filters": ("filter", ("chat_quality", "language", "toxicity")),
    "groupings": ("grouping", ("exact_duplicates", "near_duplicates")),
    "export": ("format", ("trl",)),
}
"""Parts of a recipe that are lists of catalogue names, and what a recipe gets that does not mention them."""

SOURCE = ("name", "path", "layout", "ratings", "format", "type", "labels", "transforms", "licence", "permits")

OF_LOGS, OF_DATASETS = ("layout", "ratings"), ("format", "type", "labels", "transforms")
"""What only one kind of source has."""

AUTO = "auto"
"""The format that is recognised."""

TOP = (
    "name",
    "seed",
    "sources",
    "type",
    *SECTIONS,
    *UNSAID,
    *LISTS,
    "max_context_turns",
    "unjudged",
    "mix",
    "split",
    "balance",
    "use",
    "train",
    "stages",
    "limits",
    "shard_rows",
)


def load(path: str | Path, *, training: bool = True) -> Recipe:
    """The recipe in a YAML file. Raises RecipeError with every fault found, each with its line.

    Without `training` what it says of training is passed over.
    """
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
    return parse(text, root=file.resolve().parent, where=str(path), training=training)


def parse(text: str, *, root: Path, where: str = "recipe", training: bool = True) -> Recipe:
    """The recipe in a YAML text; relative paths in it are meant from `root`."""
    data, lines = read_yaml(text, where)
    if not training and isinstance(data, dict):
        data = {key: value for key, value in data.items() if key not in ("train", "stages")}
    return from_data(data, root=root, where=where, lines=lines)


def from_data(
    data: Any,
    *,
    root: Path,
    where: str = "recipe",
    lines: dict[tuple[Any, ...], int] | None = None,
    others: bool = True,
) -> Recipe:
    """The recipe in plain data (what YAML or JSON gave); `lines` tells where each key stands.

    Without `others` recipes that its stages take data from are not looked for.
    """
    reader = _Reader(lines or {}, load=functools.partial(load, training=False) if others else None)
    recipe = reader.recipe(data, root)
    if reader.faults or recipe is None:
        raise RecipeError(reader.faults, where=where)
    return recipe


def from_resolved(resolved: dict[str, Any], *, root: Path) -> Recipe:
    """The recipe that `Recipe.resolved` gave this account of; paths in it are meant from `root`."""
    data = dict(resolved)
    for name in LISTS:
        data[name] = [{entry["name"]: entry["settings"]} for entry in resolved[name]]
    data["sources"] = [_source_data(source) for source in resolved["sources"]]
    if resolved["train"] is not None:
        train = resolved["train"]
        data["train"] = {**train["settings"], "method": train["name"], "model": train["model"]}
    if "stages" in resolved:
        data["stages"] = [stage_data(stage) for stage in resolved["stages"]]
    return from_data(data, root=root, where="run.json", others=False)


def _source_data(resolved: dict[str, Any]) -> dict[str, Any]:
    source = dict(resolved)
    for name in ("layout", "format"):
        if name in resolved:
            source[name] = {resolved[name]["name"]: resolved[name]["settings"]}
    if "transforms" in resolved:
        source["transforms"] = [{entry["name"]: entry["settings"]} for entry in resolved["transforms"]]
    return source


def settings_of(kind: str, name: str, values: dict[str, Any]) -> Any:
    """The settings of a catalogue entry from plain values, checked as a recipe's are; RecipeError with every fault."""
    reader = SettingsReader({})
    made = reader.settings(catalogue.load(kind, name), plain(values), (name,))
    if reader.faults:
        raise RecipeError(reader.faults)
    return made


class _Reader(TrainingReader):
    """Turns plain data into a Recipe and keeps every fault on the way."""

    def recipe(self, data: Any, root: Path) -> Recipe | None:
        if not isinstance(data, dict):
            self.fault((), f"a recipe is a mapping of {', '.join(TOP)}; found {type(data).__name__}")
            return None
        for key in data:
            if key not in TOP:
                self.fault((key,), f"unknown key; {nearest(str(key), TOP)}")
        sections = {name: self.settings(imported(target), data.get(name), (name,)) for name, target in SECTIONS.items()}
        unsaid = {name: self.settings(imported(UNSAID[name]), data[name], (name,)) for name in UNSAID if name in data}
        sources = self.sources(data.get("sources"), sections["signals"])
        record_type = self.type_of_run(data.get("type"), sources, unsaid.get("image_text"))
        defaults = {name: default for name, (_, default) in LISTS.items()}
        if record_type is RecordType.PROMPT:
            defaults["filters"] = types.PROMPT_FILTERS
        lists = {
            name: self.entries(kind, data.get(name, list(defaults[name])), (name,)) for name, (kind, _) in LISTS.items()
        }
        stages = self.training(data, [source.name for source in sources], record_type, root)
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
        mix = self.mix(data["mix"], [source.name for source in sources]) if data.get("mix") is not None else None
        if record_type is not None:
            chosen = {name: lists[name] for name in ("filters", "export")}
            for place, fault in types.faults(record_type, **chosen, balance=balance, stages=stages):
                self.fault(place, fault)
        pictured = types.image_text_faults(unsaid.get("image_text"), lists["filters"])
        for place, fault in [*pictured, *types.unstored_faults(unsaid.get("pictures"), lists["filters"])]:
            self.fault(place, fault)
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
            type=record_type,
            mix=mix,
            transforms=lists["transforms"],
            filters=lists["filters"],
            groupings=lists["groupings"],
            balance=balance,
            export=lists["export"],
            use=use,
            unjudged=unjudged,
            split=split,
            stages=stages,
            alone=data.get("stages") is None,
            limits=limits,
            shard_rows=numbers.shard_rows or 1,
            max_context_turns=numbers.max_context_turns,
            **sections,
            **unsaid,
        )

    def sources(self, data: Any, signals: Any) -> tuple[Source, ...]:
        if not isinstance(data, list) or not data:
            self.fault(("sources",), "expected a list of at least one source: {name, path, layout or format}")
            return ()
        found = []
        names: set[str] = set()
        for position, item in enumerate(data):
            at: tuple[Any, ...] = ("sources", position)
            if not isinstance(item, dict):
                self.fault(at, "expected a mapping of name, path, and layout or format")
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
            kind = self.kind_of_source(item, at, signals)
            licence = item.get("licence")
            if licence is not None and not (isinstance(licence, str) and 0 < len(licence.strip()) <= 200):
                self.fault((*at, "licence"), "expected an SPDX identifier, or up to 200 characters")
                licence = None
            permits = None if item.get("permits") is None else self.uses(item["permits"], (*at, "permits"))
            if kind is not None:
                given = tuple(map(str, paths))
                found.append(Source(name=str(name), path=given, licence=licence, permits=permits, **kind))
        return tuple(found)

    def kind_of_source(self, item: dict[str, Any], at: tuple[Any, ...], signals: Any) -> dict[str, Any] | None:
        """What a source says of itself as a log, or as a dataset; None after a fault."""
        named = [name for name in ("layout", "format") if item.get(name) is not None]
        if len(named) != 1:
            what = "expected `layout` (a log) or `format` (a dataset: a name of the catalogue, or auto)"
            self.fault((*at, "format") if named else at, f"{what}, not both" if named else what)
            return None
        foreign = [name for name in (OF_DATASETS if named == ["layout"] else OF_LOGS) if item.get(name) is not None]
        for name in foreign:
            self.fault((*at, name), f"belongs to a source with `{'format' if named == ['layout'] else 'layout'}`")
        if foreign:
            return None
        return self.log(item, at, signals) if named == ["layout"] else self.dataset(item, at)

    def log(self, item: dict[str, Any], at: tuple[Any, ...], signals: Any) -> dict[str, Any] | None:
        layout = self.entry("layout", item["layout"], (*at, "layout"))
        ratings = self.settings(Ratings, item.get("ratings"), (*at, "ratings"))
        if ratings is not None and signals is not None:
            try:
                ratings.applied(signals)
            except RecipeError as error:
                for fault in error.faults:
                    self.fault((*at, "ratings"), f"with what `signals` says of ratings: {fault}")
        return None if layout is None or ratings is None else {"layout": layout, "ratings": ratings}

    def dataset(self, item: dict[str, Any], at: tuple[Any, ...]) -> dict[str, Any] | None:
        given = item["format"]
        if given == AUTO or (isinstance(given, dict) and list(given) == [AUTO] and not given[AUTO]):
            form: Entry | None = Entry(name=AUTO, settings=None)
        else:
            form = self.entry("format", given, (*at, "format"))
        record_type = None if item.get("type") is None else self.record_type(item["type"], (*at, "type"))
        reads = form.settings.reads if form is not None and form.settings is not None else frozenset(RecordType)
        if record_type is not None and record_type not in reads:
            held = ", ".join(sorted(types.told(one) for one in reads))
            self.fault((*at, "type"), f"the format does not hold {types.told(record_type)} rows; it holds {held}")
        labels = item.get("labels")
        if labels is not None and not (
            isinstance(labels, dict)
            and all(isinstance(name, str) and isinstance(one, bool) for name, one in labels.items())
        ):
            self.fault((*at, "labels"), "expected a mapping of labels as the file has them, each to true or false")
            labels = None
        elif labels and form is not None and form.settings is not None and not hasattr(form.settings, "labels"):
            self.fault((*at, "labels"), f"{form.name} has no labels that could mean something else")
        transforms = self.entries("transform", item.get("transforms") or [], (*at, "transforms"))
        if form is None:
            return None
        return {"format": form, "type": record_type, "labels": labels, "transforms": transforms}

    def record_type(self, name: Any, path: tuple[Any, ...]) -> RecordType | None:
        if not isinstance(name, str) or name not in types.NAMES:
            self.fault(path, f"unknown type {name!r}; known: {', '.join(types.NAMES)}")
            return None
        return types.NAMES[name]

    def type_of_run(self, given: Any, sources: tuple[Source, ...], image_text: Any) -> RecordType | None:
        """What the run makes, and the faults of sources that cannot become it; None where the files have to tell."""
        known = {source.name: types.known_type(source) for source in sources}
        if given is None:
            told = {name: one for name, one in known.items() if one is not None}
            logs = any(source.layout is not None for source in sources)
            if not sources or (len(told) < len(known) and not logs):
                return None
            try:
                wanted: RecordType | None = types.common_type(told, logs=logs)
            except RecipeError as error:
                self.fault((), f"type: {error.faults[0]}")
                return None
        else:
            wanted = self.record_type(given, ("type",))
        for at, source in enumerate(sources):
            has = known[source.name]
            if has is None or wanted is None:
                continue
            fault = types.unreachable(has, wanted, image_text)
            if fault is not None:
                self.fault(("sources", at), fault)
        return wanted

    def mix(self, data: Any, names: list[str]) -> Mix | None:
        made: Mix | None = self.settings(Mix, data, ("mix",))
        if made is not None and made.weights is not None:
            for name in sorted({*made.weights} - {*names}):
                self.fault(("mix", "weights", name), f"no such source; {nearest(name, names)}")
            for name in sorted({*names} - {*made.weights}):
                self.fault(("mix", "weights"), f"source {name} has no weight")
        return made

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


@dataclass(frozen=True)
class _Numbers:
    seed: int | None
    shard_rows: int | None
    max_context_turns: int | None
