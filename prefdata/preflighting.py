"""Rows of a file or of a recipe's run as a trainer will read them, and what is to be known before it does.

The checks are trainers'; here the rows are read, encoded with the model's tokenizer and handed to them.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from prefdata import catalogue
from prefdata.errors import InputError, RecipeError, UnknownNameError
from prefdata.formats.core import PLACES, identify, pieces
from prefdata.opening import open_dataset, root_of
from prefdata.rows import kept_rows
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.recipe import Recipe
    from prefdata.recipe_parts import TrainingStage
    from prefdata.training_rows import Side
    from trainers.preflight import Preflight
    from trainers.preflight.plain_trl import Plain
    from trainers.preflight.seen import Seen

METHOD_OF = {
    RecordType.SFT: "sft",
    RecordType.PREFERENCE: "dpo",
    RecordType.UNPAIRED: "kto",
    RecordType.PROMPT: "grpo",
}
"""The method that is meant where none is named."""

ONLINE = ("grpo", "rloo")
"""Methods that write the answers themselves and are told of them by rewards."""

RECIPES = (".yaml", ".yml")

MOST_IDS = 1_000
"""Row ids of a finding in JSON."""


class Checked(NamedTuple):
    """What the preflight of one stage came to."""

    name: str
    """Of the file, or of the recipe's stage."""
    method: str
    model: str
    read_as: str
    """Format and type of the rows."""
    refused: Mapping[str, int]
    """Reason -> records of the file that are no rows."""
    preflight: Preflight
    seen: Seen
    plain: Plain | None
    """The rows as TRL makes them, where that was asked for."""

    def record(self) -> dict[str, Any]:
        """As plain JSON data."""
        told = self.preflight.record(ids=MOST_IDS)
        return {
            "name": self.name,
            "method": self.method,
            "model": self.model,
            "read_as": self.read_as,
            "refused": dict(self.refused),
            "view": "trl" if self.plain is not None else "ours",
            **told,
        }


class Data(NamedTuple):
    """Rows that were read."""

    name: str
    type: RecordType
    read_as: str
    rows: pl.DataFrame
    raw: pl.DataFrame | None
    refused: Mapping[str, int]
    pictures: Path | None = None
    """The folder that addresses of pictures are seen from."""


def preflight(
    path: str | Path,
    *,
    model: str | Path | None = None,
    method: str | None = None,
    max_length: int | None = None,
    as_trl: bool = False,
    held_out: str | Path | None = None,
    pictures: str | Path | None = None,
    source: str = "auto",
    type: RecordType | str | None = None,
    labels: Mapping[str, bool] | None = None,
    columns: Mapping[str, str] | None = None,
    run: str | Path | None = None,
    stage: str | None = None,
    root: Path | None = None,
    **settings: Any,
) -> list[Checked]:
    """Examines the rows of a dataset, or those of every stage of a recipe, as they will be trained.

    `model` names the tokenizer, template and vocabulary (a name, a folder or a hub id); a recipe has its own. `as_trl`
    tells what plain TRL would do with the same rows beside what prefdata does. `pictures` is the folder below which
    addresses of pictures are looked up, by default that of each data file. `settings` are those of the method
    (`per_device_batch=8`). Example: `prefdata.preflight("pairs.jsonl", model="smollm2-135m")[0].preflight.findings`.
    Raises InputError where no row can be read, RecipeError for settings that contradict the rows.
    """
    given = {"max_length": max_length, **settings}
    wanted = {name: value for name, value in given.items() if value is not None}
    if Path(path).suffix in RECIPES:
        if model is not None or method is not None:
            raise RecipeError("a recipe names its model and methods itself; leave --model and --method out")
        if held_out is not None or pictures is not None or type is not None or labels or columns or source != "auto":
            raise RecipeError(
                "a recipe's run says what its rows are and which are held out; leave out --held-out, --pictures, "
                "--from, --type, --label and --columns"
            )
        return _of_recipe(Path(path), run, stage, wanted, as_trl=as_trl, root=root)
    if stage is not None or run is not None:
        raise RecipeError("--stage and --run belong to a recipe; this is a dataset")
    if model is None:
        raise RecipeError("name the model whose tokenizer and template are used: --model smollm2-135m, or its folder")
    options: dict[str, Any] = {"source": source, "type": type, "labels": labels, "columns": columns}
    options["pictures"] = pictures
    data = read(path, **options)
    held = read(held_out, **options).rows if held_out is not None else None
    name = method or METHOD_OF[data.type]
    settings = _settings(name, wanted)
    if data.pictures is not None:  # a run
        return [examined(data, name, str(model), settings, held_out=held, as_trl=as_trl, root=root)]
    from prefdata.pictures_of_data import let_in

    named = [(data.rows, path)] if held is None or held_out is None else [(data.rows, path), (held, held_out)]
    with let_in([(rows, Path(pictures or root_of(one))) for rows, one in named]) as taken:
        data = data._replace(rows=taken.frames[0], pictures=taken.folder)
        held = taken.frames[1] if held is not None else None
        return [examined(data, name, str(model), settings, held_out=held, as_trl=as_trl, root=root)]


def read(
    path: str | Path,
    *,
    source: str = "auto",
    type: RecordType | str | None = None,
    labels: Mapping[str, bool] | None = None,
    columns: Mapping[str, str] | None = None,
    pictures: str | Path | None = None,
) -> Data:
    """Canonical rows of a dataset of any format, each called by its file and line, or the kept rows of a run.

    Addresses of a dataset's pictures are seen from `pictures`, or from its own folder where that is null.
    """
    if (Path(path) / "run.json").is_file():
        import json

        recipe = json.loads((Path(path) / "run.json").read_text(encoding="utf-8"))["recipe"]
        kind = RecordType(recipe.get("type", RecordType.UNPAIRED))
        rows = kept_rows(path, "train").drop("split")
        return Data(Path(path).name, kind, f"a run, {kind.value}", rows, None, {}, Path(path))
    opened = open_dataset(path, source=source, type=type, labels=labels, columns=columns, pictures=pictures)
    form, kind = opened.reading.format, opened.reading.type
    refused: Counter[str] = Counter()
    parts, raw = [], []
    for chunk in opened.chunks:
        refused.update(chunk.quarantine["reason"].to_list())
        if not chunk.frame.height:
            continue
        raw.append(chunk.frame)
        outcome = opened.decoded(chunk.frame)
        refused.update(outcome.refused["reasons"].explode().drop_nulls().to_list())
        if outcome.rows.height:
            kept = [name for name in ("source", "group") if name in outcome.rows.columns]
            parts.append(pieces(outcome.rows, kind).hstack(outcome.rows.select(kept).get_columns()))
    if not parts:
        reasons = ", ".join(f"{count} {reason}" for reason, count in refused.most_common(3))
        raise InputError(f"{opened.name}: no row could be read as {form.name}, {kind.value} ({reasons})")
    rows = pl.concat(parts, how="diagonal_relaxed")
    number = pl.int_range(pl.len(), dtype=pl.UInt32).over(*PLACES[:2])
    place = pl.format("{}:{}", *PLACES[:2])
    rows = rows.with_columns(id=pl.when(number > 0).then(pl.format("{}#{}", place, number + 1)).otherwise(place))
    return Data(
        opened.name,
        kind,
        f"{form.name}, {kind.value}",
        identify(rows, kind, source=opened.name),
        pl.concat(raw, how="diagonal_relaxed"),
        dict(refused.most_common()),
    )


def examined(
    data: Data,
    method: str,
    model: str,
    settings: Any,
    *,
    held_out: pl.DataFrame | None = None,
    as_trl: bool = False,
    base: bool | None = None,
    root: Path | None = None,
) -> Checked:
    """The preflight of rows that were read. Nothing stops it: what would stop training is a critical finding.

    `base` says whether SFT is what gives a model without a chat template one: before this stage, or as this one.
    """
    from trainers.models import load_tokenizer
    from trainers.preflight import columns, plain_trl
    from trainers.preflight import findings as looked
    from trainers.preflight.model import vocabulary
    from trainers.preflight.seen import Seen
    from trainers.vision.processor import load_looks, reads_pictures

    folder, weights = _folders(model, root)
    seeing = reads_pictures(weights)
    tokenizer = load_looks(folder, data.pictures).tokenizer if seeing else load_tokenizer(folder)
    called = Path(model).name if Path(model).is_dir() else model
    template = getattr(settings, "chat_template", None)
    if template is not None or not tokenizer.chat_template:
        from trainers.chat_templates import given

        given(tokenizer, template, default=method == "sft" if base is None else base, model=called)
    rows = _encoded(data.rows, data.type, method, tokenizer, settings)
    seen = Seen(
        method=method,
        rows=rows,
        tokenizer=tokenizer,
        settings=settings,
        vocabulary=vocabulary(weights),
        frame=data.rows,
        held_out=None if held_out is None else _encoded(held_out, data.type, method, tokenizer, settings),
    )
    found = list(looked(seen))
    wanted = catalogue.method(method).type
    if wanted is not data.type and not (as_trl and method == "kto"):
        raise RecipeError(
            f"{method} reads {wanted.value} rows, {data.name} holds {data.type.value}; "
            f"prefdata convert DATA --to trl --type {wanted.value} makes them, or name another --method"
        )
    made = plain_trl.plain(seen)
    found += plain_trl.differing(made)
    if as_trl:
        found += plain_trl.look(seen, made)
        if data.raw is not None:
            found += columns.look(data.raw)
    else:
        found = [one for one in found if one.view == "ours"]
    return Checked(
        name=data.name,
        method=method,
        model=called,
        read_as=data.read_as,
        refused=data.refused,
        preflight=_preflight(seen, found, made, as_trl=as_trl),
        seen=seen,
        plain=made if as_trl else None,
    )


def _folders(model: str, root: Path | None) -> tuple[Path, Path]:
    """Where the tokenizer is, and the config of the model; of a finished stage, or of a folder without weights too."""
    from trainers.models import resolve
    from trainers.start import open_start

    place = Path(model).expanduser()
    if (place / "stage.json").is_file():
        start = open_start(place, root=root)
        return (start.stage.trained if start.stage is not None else start.folder), start.folder
    if (place / "tokenizer_config.json").is_file():
        return place, place
    folder = resolve(model, root=root)
    return folder, folder


def _preflight(seen: Seen, found: Sequence[Any], made: Plain, *, as_trl: bool) -> Preflight:
    from trainers.preflight import Preflight, figures, ranked
    from trainers.preflight.plain_trl import figures as trl_figures

    whole = trl_figures(seen, made)
    told = {**figures(seen), "uncut": whole.pop("lengths")}
    if as_trl:
        told["trl"] = whole
    return Preflight(method=seen.method, rows=len(seen.rows), total=seen.total, findings=ranked(found), figures=told)


def _encoded(frame: pl.DataFrame, kind: RecordType, method: str, tokenizer: Any, settings: Any) -> Any:
    """Rows as the method encodes them; what training refuses to begin with is told by findings instead.

    Empty answers are one more reason to be dropped. A text model reads the texts of rows with pictures.
    """
    from trainers.rows import ANSWERS, empty, encode_rows
    from trainers.vision.processor import looks_of

    if looks_of(tokenizer) is None:
        frame = frame.with_columns(images=pl.lit(None, frame.schema["images"]))
    gone = frame.filter(empty(kind)) if ANSWERS[kind] else frame.clear()
    kept = frame.filter(~empty(kind)) if gone.height else frame
    how = catalogue.method(method)
    if how.type is kind:
        rows = how.encode(kept, tokenizer, settings, name="rows")
    else:
        rows = encode_rows(kept, tokenizer, kind, max_length=settings.max_length, system=settings.system, name="rows")
    if not gone.height:
        return rows
    return dataclasses.replace(
        rows,
        dropped={**rows.dropped, "empty_answer": gone.height},
        lost={**rows.lost, "empty_answer": gone["id"].to_list()},
    )


def _settings(method: str, given: Mapping[str, Any]) -> Any:
    from prefdata.recipe import settings_of

    if method not in catalogue.METHODS:
        raise UnknownNameError("method", method, catalogue.METHODS)
    named = dict(given)
    if method in ONLINE:
        named.setdefault("rewards", {"length": {"max": 200}})  # a method must have one; none is looked at here
    return settings_of("trainer", method, named)


def _of_recipe(
    path: Path, run: str | Path | None, only: str | None, given: Mapping[str, Any], *, as_trl: bool, root: Path | None
) -> list[Checked]:
    from prefdata.recipe import load

    recipe = load(path)
    if not recipe.stages:
        raise RecipeError(f"{path.name}: no `train` or `stages`; name a dataset and --model instead")
    names = [stage.name for stage in recipe.stages]
    if only is not None and only not in names:
        raise UnknownNameError("stage", only, names)
    folder = Path(run) if run is not None else Path("runs") / recipe.name
    if not (folder / "run.json").is_file():
        raise InputError(
            f"{folder}: no finished run there; prefdata build {path} makes its rows, or name it with --run"
        )
    rows = _Rows(folder, recipe)
    return [
        _stage(recipe, stage, rows, given, as_trl=as_trl, root=root)
        for stage in recipe.stages
        if only is None or stage.name == only
    ]


class _Rows:
    """The rows of stages as training gives them to them; each side is made once."""

    def __init__(self, run: Path, recipe: Recipe) -> None:
        self.run = run
        self.recipe = recipe
        self.models = {one.name: _named(recipe, one.model) for one in recipe.stages if one.model is not None}
        self._made: dict[tuple[str, str], pl.DataFrame] = {}

    def of(self, stage: TrainingStage) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What a stage is trained on, and the held-out rows whose prompts none before it was trained on."""
        from prefdata.build.retype import prompt_keys
        from prefdata.training_seen import unseen
        from prefdata.training_stages import Given, ancestors, seen_outside

        given = Given(self._side(stage, "train"), self._side(stage, "evaluation"), self.run, {})
        if not given.evaluation.height:
            return given.train, given.evaluation
        outside = seen_outside(self.recipe, stage, self.models)
        before = [prompt_keys(self._side(one, "train")) for one in ancestors(self.recipe, stage.name)[:-1]]
        given = unseen(given, [*before, *outside.prompts], outside.unknown, stage=stage.name)
        return given.train, given.evaluation

    def _side(self, stage: TrainingStage, side: Side) -> pl.DataFrame:
        from prefdata.training_rows import made_for

        if (stage.name, side) not in self._made:
            self._made[stage.name, side] = made_for(self.run, self.recipe, stage, side).rows
        return self._made[stage.name, side]


def _named(recipe: Recipe, model: str) -> str:
    """A model of a recipe: a folder is seen from there."""
    local = recipe.root / model
    return str(local) if local.is_dir() else model


def _stage(
    recipe: Recipe, stage: TrainingStage, rows: _Rows, given: Mapping[str, Any], *, as_trl: bool, root: Path | None
) -> Checked:
    """The rows of one stage with the model that its line begins with."""
    from prefdata.training_rows import other_run
    from prefdata.training_stages import line

    train, held_out = rows.of(stage)
    stages = line(recipe, stage.name)
    template = next((one.settings.chat_template for one in reversed(stages) if one.settings.chat_template), None)
    wanted = catalogue.method(stage.method).type
    place = rows.run if stage.data.recipe is None else other_run(rows.run, stage.data.recipe)
    data = Data(stage.name, wanted, f"stage of {recipe.name}, {wanted.value}", train, None, {}, place)
    return examined(
        data,
        stage.method,
        rows.models[stages[0].name],
        dataclasses.replace(stage.settings, chat_template=template, **given),
        held_out=held_out if held_out.height else None,
        as_trl=as_trl,
        base=stages[0].method == "sft",
        root=root,
    )
