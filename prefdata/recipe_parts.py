"""What a recipe is made of: its typed parts, each checked by itself. Reading them from a file is prefdata.recipe's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from prefdata.balance import Balance
from prefdata.errors import RecipeError
from prefdata.schema import RecordType

LARGEST = 2**53 - 1
"""Largest whole number in a recipe: what every reader of JSON can hold."""

CONNECT: tuple[Literal["session", "customer", "prompt", "duplicates"], ...] = (
    "session",
    "customer",
    "prompt",
    "duplicates",
)
"""What ties rows into one split unit, unless a recipe says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A name of the catalogue with its settings."""

    name: str
    settings: Any


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """How the ratings of one source are to be read."""

    scale: tuple[float, float] = (1.0, 5.0)
    """Worst and best rating that can be given; (5, 1) where 1 is best."""
    satisfied: float | None = None
    """Ratings at least this good are satisfied, in units of the scale; null takes the default share of the scale."""
    dissatisfied: float | None = None
    """Ratings at most this good are dissatisfied; between the two is neutral and labels nothing."""

    def __post_init__(self) -> None:
        from prefdata.logs.faults import scale_faults

        faults = scale_faults(self.scale, self.satisfied, self.dissatisfied, name="scale")
        if faults:
            raise RecipeError(faults)

    def applied(self, signals: Any) -> Any:
        """SignalSettings for the source of these ratings. Raises RecipeError where the two do not go together."""
        own = {name: getattr(self, name) for name in ("satisfied", "dissatisfied") if getattr(self, name) is not None}
        return dataclasses.replace(signals, rating_scale=self.scale, **own)


@dataclass(frozen=True, kw_only=True)
class Split:
    """What is held out of training."""

    by: Literal["hash", "time"] = "hash"
    """`hash`: each unit where a hash puts it, now and after rows were appended. `time`: the newest units."""
    evaluation: float = 0.2
    """Fraction that is held out: of the customers (else sessions) under `hash`, of the rows under `time`."""
    test: float = 0.0
    """Fraction that is held out of training and of evaluation."""
    salt: int | None = None
    """Another whole number draws other units under `hash`; null takes the recipe's seed. Choose it once."""
    evaluation_from: str | None = None
    """Under `time`: evaluation begins here (2024-05-01, or with a time of day, UTC); null follows from the share."""
    test_from: str | None = None
    """Under `time`: test begins here; null follows from the share."""
    connect: tuple[Literal["session", "customer", "prompt", "duplicates"], ...] = CONNECT
    """What two rows share that must stand on one side; a prompt ties by each of its pictures, too."""
    min_duplicate_chars: int = 80
    """Characters of customer turn and reply from which on duplicates tie their rows; shorter ones are courtesies."""

    def __post_init__(self) -> None:
        faults = [
            f"{name}: {getattr(self, name)}, expected a fraction in [0, 1)"
            for name in ("evaluation", "test")
            if not 0 <= getattr(self, name) < 1
        ]
        if not faults and self.evaluation + self.test >= 1:
            faults.append(f"test: {self.test} and evaluation {self.evaluation} leave nothing to train on")
        if self.min_duplicate_chars < 0:
            faults.append(f"min_duplicate_chars: {self.min_duplicate_chars}, expected a whole number of at least 0")
        if self.salt is not None and not 0 <= self.salt <= LARGEST:
            faults.append(f"salt: {self.salt}, expected a whole number from 0 to {LARGEST}")
        cuts = {}
        for name in ("evaluation_from", "test_from"):
            given = getattr(self, name)
            if given is None:
                continue
            if self.by != "time":
                faults.append(f"{name}: set, but the split is by {self.by}")
            try:
                cuts[name] = _utc(given)
            except ValueError:
                faults.append(f"{name}: {given!r}, expected a date such as 2024-05-01 or 2024-05-01T08:00:00")
        if len(cuts) == 2 and cuts["test_from"] < cuts["evaluation_from"]:
            faults.append("test_from: before evaluation_from; test is newer than evaluation")
        if faults:
            raise RecipeError(faults)

    def shares(self) -> dict[str, float]:
        """The held-out sides and their fractions."""
        return {"evaluation": self.evaluation, "test": self.test}

    def cuts(self) -> dict[str, datetime]:
        """The held-out sides whose beginning is given."""
        given = {"evaluation": self.evaluation_from, "test": self.test_from}
        return {side: _utc(text) for side, text in given.items() if text is not None}

    def sides(self) -> tuple[str, ...]:
        """The sides of a run: train and evaluation, and test where it is asked for."""
        wanted = self.test > 0 or self.test_from is not None
        return ("train", "evaluation", "test") if wanted else ("train", "evaluation")


def _utc(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a run is stopped rather than finished with a hole in it."""

    max_quarantined: float = 0.05
    """Largest fraction of the units read that may be unreadable; more ends with exit code 5."""
    max_unreadable_files: int = 0
    """Files that may be unreadable as a whole; more end with exit code 3."""
    max_line_bytes: int = 4 << 20
    """A longer line is quarantined, in bytes."""
    max_bytes: int = 8 << 30
    """A file that decompresses to more is quarantined, in bytes."""
    max_ratio: float = 100.0
    """A file that decompresses to more than this many times its size is quarantined."""

    def __post_init__(self) -> None:
        faults = []
        if not 0 <= self.max_quarantined <= 1:
            faults.append(f"max_quarantined: {self.max_quarantined}, expected a fraction in [0, 1]")
        for name, least, most in (
            ("max_unreadable_files", 0, 2**31 - 1),
            ("max_line_bytes", 1, 2**31 - 1),
            ("max_bytes", 1, LARGEST),
        ):
            if not least <= getattr(self, name) <= most:
                faults.append(f"{name}: {getattr(self, name)}, expected a whole number from {least} to {most}")
        if not 1 <= self.max_ratio < math.inf:
            faults.append(f"max_ratio: {self.max_ratio}, expected a number of at least 1")
        if faults:
            raise RecipeError(faults)


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Which of the kept rows make up the set: caps and lengths first, then every source in its share.

    Rows that are left out are dropped, each with its reason. Which ones, a hash of the seed and the id decides.
    """

    weights: dict[str, float] | None = None
    """Source -> its weight, for every source; null takes every row. A source that falls short gives all it has."""
    size: int | None = None
    """Rows altogether; null is the largest size at which no source falls short of its share."""
    per_prompt: int | None = None
    """Rows of one prompt, at most."""
    per_customer: int | None = None
    """Rows of one customer, at most."""
    per_source: int | None = None
    """Rows of one source, at most."""
    max_chars: int | None = None
    """Characters of prompt and answer together, at most; of a pair, with its longer answer."""

    def __post_init__(self) -> None:
        faults = [
            f"{name}: {getattr(self, name)}, expected a whole number of at least 1"
            for name in ("size", "per_prompt", "per_customer", "per_source", "max_chars")
            if getattr(self, name) is not None and not 1 <= getattr(self, name) < 2**31
        ]
        faults += [
            f"weights.{name}: {weight}, expected a number above 0"
            for name, weight in (self.weights or {}).items()
            if not 0 < weight < math.inf
        ]
        if faults:
            raise RecipeError(faults)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a run reads: the export of a support system (`layout`), or a dataset (`format`)."""

    name: str
    path: tuple[str, ...]
    layout: Entry | None = None
    """How a log is laid out; null is a dataset."""
    ratings: Ratings = dataclasses.field(default_factory=Ratings)
    format: Entry | None = None
    """The format of a dataset, or `auto`, whose settings are null; null is a log."""
    type: RecordType | None = None
    """What the rows of a dataset are, where that is stated."""
    labels: Mapping[str, bool] | None = None
    """What labels of a dataset other than true and false mean."""
    transforms: tuple[Entry, ...] = ()
    """What edits the texts of a dataset; those of the recipe are for logs."""
    licence: str | None = None
    """SPDX identifier, or words; null is not stated."""
    permits: tuple[str, ...] | None = None
    """Uses that the source allows; null is not stated."""

    def resolved(self) -> dict[str, Any]:
        """The source as plain JSON data."""
        data: dict[str, Any] = {"name": self.name, "path": list(self.path)}
        if self.layout is not None:
            data |= {"layout": _entry_data(self.layout), "ratings": plain(self.ratings)}
        if self.format is not None:
            data["format"] = _entry_data(self.format)
            data["type"] = None if self.type is None else str(self.type)
            data["labels"] = None if self.labels is None else dict(self.labels)
            data["transforms"] = [_entry_data(entry) for entry in self.transforms]
        return {**data, "licence": self.licence, "permits": None if self.permits is None else list(self.permits)}


@dataclass(frozen=True, kw_only=True)
class StageData:
    """What a training stage is given: the kept rows of the run, or of another recipe's run."""

    sources: tuple[str, ...] | None = None
    """Rows of these sources only; null takes all."""
    path: str | None = None
    """Another recipe, whose rows are taken instead; null is this one."""
    recipe: Recipe | None = dataclasses.field(default=None, compare=False, repr=False)
    """That recipe, read; null where it was not looked for."""

    def resolved(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {"sources": None if self.sources is None else list(self.sources), "recipe": self.path}


@dataclass(frozen=True, kw_only=True)
class TrainingStage:
    """One stage of training."""

    name: str
    """Of its folder, and by which later stages call it."""
    method: str
    """Of the catalogue."""
    settings: Any
    model: str | None = None
    """The model that it starts from; null starts from a stage."""
    start: str | None = None
    """The earlier stage that it starts from; null starts from a model."""
    data: StageData = StageData()
    scored_by: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Reward -> the earlier stage whose model gives it."""
    lines: Mapping[tuple[Any, ...], int] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    """Setting -> line of the recipe, for faults that are found once TRL is loaded; () is the stage's own."""
    place: tuple[Any, ...] = dataclasses.field(default=(), compare=False, repr=False)
    """Where it stands in the recipe."""

    def given(self, record_type: RecordType | None) -> RecordType | None:
        """The type of the rows it is given, in a run of `record_type`; null where files have to tell."""
        if self.data.path is None:
            return record_type
        return None if self.data.recipe is None else self.data.recipe.type

    def resolved(self) -> dict[str, Any]:
        """As plain JSON data."""
        settings = plain(self.settings)
        for name, stage in self.scored_by.items():
            settings["rewards"][name]["from"] = stage
            del settings["rewards"][name]["model"]
        return {
            "name": self.name,
            "method": self.method,
            "model": self.model,
            "from": self.start,
            "data": self.data.resolved(),
            "settings": settings,
        }


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe, every default filled in."""

    name: str
    seed: int
    root: Path
    sources: tuple[Source, ...]
    type: RecordType | None
    """What the run makes; null is known once the sources are read."""
    sessions: Any
    max_context_turns: int | None
    transforms: tuple[Entry, ...]
    signals: Any
    credit: Any
    labels: Any
    filters: tuple[Entry, ...]
    groupings: tuple[Entry, ...]
    unjudged: Literal["keep", "drop"]
    match: Any
    mix: Mix | None
    split: Split
    balance: Balance
    export: tuple[Entry, ...]
    use: Mapping[str, tuple[str, ...]]
    stages: tuple[TrainingStage, ...]
    """What is trained, in order."""
    alone: bool
    """Whether the one stage is written as `train:`."""
    limits: Limits
    shard_rows: int
    pictures: Any = None
    """How pictures are read; null where the recipe does not say."""
    image_text: Any = None
    """What is made of texts about pictures; null where the recipe does not say."""

    @property
    def train(self) -> Entry | None:
        """Method and settings of the first stage."""
        return Entry(name=self.stages[0].method, settings=self.stages[0].settings) if self.stages else None

    @property
    def model(self) -> str | None:
        """The model that training begins with."""
        return self.stages[0].model if self.stages else None

    def resolved_match(self) -> dict[str, Any]:
        """How replies of logs become pairs, as plain JSON data."""
        found: dict[str, Any] = plain(self.match)
        return found

    def of_logs(self) -> bool:
        """Whether it makes labelled replies of logs and nothing else."""
        logs = all(source.layout is not None for source in self.sources)
        return logs and self.type is RecordType.UNPAIRED

    def resolved(self) -> dict[str, Any]:
        """The recipe as plain JSON data, defaults included; `root` is left out, it is a place on one machine.

        Type, match and mix stand there where they say more than that replies of logs are labelled, pictures where the
        recipe speaks of them.
        """
        data = {
            "name": self.name,
            "seed": self.seed,
            "sources": [source.resolved() for source in self.sources],
            "sessions": plain(self.sessions),
            "max_context_turns": self.max_context_turns,
            "transforms": [_entry_data(entry) for entry in self.transforms],
            "signals": plain(self.signals),
            "credit": plain(self.credit),
            "labels": plain(self.labels),
            "filters": [_entry_data(entry) for entry in self.filters],
            "groupings": [_entry_data(entry) for entry in self.groupings],
            "unjudged": self.unjudged,
            "split": plain(self.split),
            "balance": plain(self.balance),
            "use": {name: list(uses) for name, uses in self.use.items()},
            "export": [_entry_data(entry) for entry in self.export],
            "train": {**_entry_data(self.train), "model": self.model} if self.train and self.alone else None,
            "limits": plain(self.limits),
            "shard_rows": self.shard_rows,
        }
        if not self.of_logs():
            data |= {"type": None if self.type is None else str(self.type), "match": plain(self.match)}
        if self.stages and not self.alone:
            data |= {"stages": [stage.resolved() for stage in self.stages], "match": plain(self.match)}
        if self.mix is not None:
            data["mix"] = plain(self.mix)
        for name in ("pictures", "image_text"):
            if getattr(self, name) is not None:
                data[name] = plain(getattr(self, name))
        return data


def plain(value: Any) -> Any:
    """A settings object as JSON data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in dataclasses.fields(value) if entry.init}
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [plain(inner) for inner in value]
        return sorted(items, key=str) if isinstance(value, (set, frozenset)) else items
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _entry_data(entry: Entry) -> dict[str, Any]:
    return {"name": entry.name, "settings": {} if entry.settings is None else plain(entry.settings)}
