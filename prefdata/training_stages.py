"""The stages of training of a run: checked before the data is touched, each given its rows, trained, accounted for.

What a method does is trainers'. Here is what joins it to a run: rows of the type that it reads, each side of the split
built by itself; the start of each stage; the scorers that are rewards; and the lineage back to the input files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from prefdata import building, catalogue, judging
from prefdata.build.retype import prompt_keys
from prefdata.errors import InputError, MissingExtraError, PrefdataError, RecipeError, UnknownNameError
from prefdata.io import sha256_file, write_json, write_parquet
from prefdata.recipe import Recipe, settings_of
from prefdata.recipe_parts import TrainingStage
from prefdata.recipe_settings import SettingsReader
from prefdata.recipe_types import told, unreachable
from prefdata.rundir import RunDir, key_of
from prefdata.schema import RecordType
from prefdata.stages import FORMAT, Progress, version
from prefdata.training_rows import SIDES, made_for, source_of
from prefdata.training_seen import ROWS as ROWS
from prefdata.training_seen import Seen, seen_by, unseen

if TYPE_CHECKING:
    from trainers.job import Stage

TRAINED_ON = "rows.json"
"""Beside a trained stage: which rows it was trained on, so that the report never shows it beside others."""

Trainer = Callable[[TrainingStage, str, "Given"], "Stage"]
"""Trains one stage from a start (a model, or the folder of a stage) on what it is given."""


class Given(NamedTuple):
    """What a stage is given, in its method's type, and the account of it."""

    train: pl.DataFrame
    evaluation: pl.DataFrame
    folder: Path
    account: dict[str, Any]
    pictures: Path | None = None
    """The run that its pictures' addresses are seen from; null where no row has one."""


def folder_of(run: Path, stage: str) -> Path:
    """Where a stage is trained."""
    return run / "model" / stage


def checked(recipe: Recipe, progress: Progress) -> dict[str, str]:
    """Stage -> the model that it starts from, of those that start from one, everything checked that can be.

    Arguments of TRL, tuners, types, models, their templates and lineage, rewards and their scorers. Raises RecipeError
    with every fault, each with its line.
    """
    from trainers.adapters import require_tuner
    from trainers.arguments import check_arguments, check_generation, check_reporters
    from trainers.job import require_training

    require_training()
    faults = _Faults()
    models: dict[str, str] = {}
    progress("model", 0, 1)
    for stage in recipe.stages:
        method = catalogue.method(stage.method)
        with faults.of(stage):
            check_arguments(method.config, stage.settings.args, method.reserved)
        with faults.of(stage):
            check_generation(stage.settings)
        with faults.of(stage):
            check_reporters(stage.settings.report_to)
        with faults.of(stage):
            require_tuner(stage.settings)
        with faults.of(stage):
            _check_rewards(stage, recipe)
        if stage.data.recipe is not None:
            with faults.of(stage, "data"):
                _other_type(stage.data.recipe, method.type)
        if stage.model is not None:
            with faults.of(stage, "model"):
                models[stage.name] = _model(recipe, stage.model)
    for stage in recipe.stages:
        with faults.of(stage):
            _require_start(recipe, stage, models)
    progress("model", 1, 1)
    faults.end()
    return models


def scorers_of(rewards: Mapping[str, Any] | None, root: Path) -> dict[str, Any]:
    """The scorers among rewards, built: reward -> TextScorer; their files are looked up from `root`.

    Raises RecipeError where one cannot be built, or where nothing stands behind the name of a reward.
    """
    if not rewards:
        return {}
    from trainers.rewards import check_rewards, wanted_scorers

    found = check_rewards(rewards, scorers=list(catalogue.FILTERS))
    built = {}
    for name, facts in wanted_scorers(rewards).items():
        values = {key: value for key, value in facts.items() if key != "scorer"}
        if facts["scorer"] not in catalogue.FILTERS:
            continue  # told by check_rewards, with the names of all rewards
        try:
            settings = settings_of("filter", facts["scorer"], values)
            built[name] = judging.rooted(settings, root).build().scorer
        except RecipeError as error:
            found += [f"rewards.{name}: {fault}" for fault in error.faults]
    if found:
        raise RecipeError(found)
    return built


def rows_for(run: RunDir, recipe: Recipe, stage: TrainingStage) -> Given:
    """The rows of a stage, kept in training/<stage>/ under what they depend on.

    Each side of the split is built by itself, so that what is held out stays held out.
    """
    source, place, record_type, wanted = source_of(run.path, recipe, stage)
    facts = json.loads((place / "run.json").read_text(encoding="utf-8"))
    kept = {file.name: sha256_file(file) for file in sorted((place / "kept").glob("*.parquet"))}
    key = key_of(FORMAT, version("prefdata"), kept, stage.data.resolved(), record_type, wanted, source.resolved_match())
    folder = run.path / ROWS / stage.name
    files = {side: folder / f"{side}.parquet" for side in SIDES}
    account = run.finished(f"rows-{stage.name}", key)
    if account is None:
        run.fresh(f"{ROWS}/{stage.name}")
        account = {
            "run": "." if stage.data.recipe is None else str(place.relative_to(run.path)),
            "sources": None if stage.data.sources is None else list(stage.data.sources),
            "type": told(record_type),
            "as": told(wanted),
        }
        for side in SIDES:
            made = made_for(run.path, recipe, stage, side)
            write_parquet(files[side], made.rows)
            account[side] = {
                "rows": made.rows.height,
                "sha256": sha256_file(files[side]),
                "unmade": building.counts(made.unmade),
            }
        account = run.finish(f"rows-{stage.name}", key, files.values(), account)
    # not kept: other files may have come to the same rows
    named = {name: one for name, one in facts["inputs"].items() if name in (stage.data.sources or facts["inputs"])}
    account = {**account, "inputs": named}
    train, evaluation = (pl.read_parquet(files[side], glob=False) for side in SIDES)
    shown = any(side["images"].list.len().sum() for side in (train, evaluation))
    return Given(train, evaluation, folder, account, place if shown else None)


def train(
    run: RunDir,
    recipe: Recipe,
    models: Mapping[str, str],
    *,
    training_rows: str,
    only: str | None = None,
    trainer: Trainer | None = None,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Trains the stages in order and gives their account, which run.json and report.json hold after each.

    A stage that is finished from the same rows, start and settings is taken as it is. With `only` the stages that it is
    built on and itself. `trainer` is where the work is done: in this process, unless another one is given.
    """
    stages = recipe.stages if only is None else ancestors(recipe, only)
    all_given = {stage.name: rows_for(run, recipe, stage) for stage in stages}
    _require_rows(all_given)
    accounts: list[dict[str, Any]] = []
    prompts: dict[str, pl.Series] = {}
    done: dict[str, dict[str, Any]] = {}
    for stage in stages:
        needed, outside = ancestors(recipe, stage.name), seen_outside(recipe, stage, models)
        before = [prompts[one.name] for one in needed[:-1]] + outside.prompts
        given = unseen(all_given[stage.name], before, outside.unknown, stage=stage.name)
        prompts[stage.name] = prompt_keys(given.train)
        start = models[stage.name] if stage.start is None else str(folder_of(run.path, stage.start))
        progress(f"train {stage.name}", 0, 1)
        run.log("training_started", stage=stage.name, rows=given.train.height)
        trained = (trainer or in_process(run.path, recipe))(stage, start, given)
        write_json(folder_of(run.path, stage.name) / TRAINED_ON, {"training_rows": training_rows})
        names = [one.name for one in line(recipe, stage.name)]
        accounts.append(_account(stage, trained, given, names, done))
        done[stage.name] = accounts[-1]
        _record(run, accounts, [one.name for one in recipe.stages])
        run.log("training_finished", stage=stage.name, key=trained.record["key"])
        progress(f"train {stage.name}", 1, 1)
    return accounts


def _require_rows(given: Mapping[str, Given]) -> None:
    """Raises InputError with every stage that was given nothing to train on, and why."""
    faults = []
    for name, one in given.items():
        if one.train.height:
            continue
        account = one.account
        why = ", ".join(f"{count} {reason}" for reason, count in account["train"]["unmade"].items()) or "none kept"
        of = "" if account["type"] == account["as"] else f" made of {account['type']} rows"
        faults.append(f"stage {name}: no {account['as']} rows{of} to train on ({why})")
    if faults:
        raise InputError(
            "; ".join(faults) + ". `prefdata explain` tells of a row; `match:` and `labels:` decide what is made"
        )


def in_process(run: Path, recipe: Recipe) -> Trainer:
    """Trains in this process."""

    def trained(stage: TrainingStage, start: str, given: Given) -> Stage:
        from trainers import training

        rewards = getattr(stage.settings, "rewards", None)
        return training.train(
            method_for(stage.method, scorers_of(rewards, recipe.root), reward_folders(run, recipe, stage)),
            given.train,
            given.evaluation if given.evaluation.height else None,
            model=start,
            output_dir=folder_of(run, stage.name),
            settings=stage.settings,
            pictures=given.pictures,
        )

    return trained


def reward_folders(run: Path, recipe: Recipe, stage: TrainingStage) -> dict[str, str]:
    """`model` of a reward -> the folder of that reward model: a stage of this run, or a folder seen from the recipe."""
    named = {name: str(recipe.root / Path(name).expanduser()) for name in _named_models(stage)}
    return {**named, **{name: str(folder_of(run, name)) for name in stage.scored_by.values()}}


def _named_models(stage: TrainingStage) -> list[str]:
    """What the reward models of a stage are called that are no stages themselves."""
    rewards = getattr(stage.settings, "rewards", None) or {}
    kinds = {name: (values or {}).get("kind", name) for name, values in rewards.items()}
    return [
        values["model"]
        for name, values in rewards.items()
        if kinds[name] == "reward_model"
        and name not in stage.scored_by
        and isinstance((values or {}).get("model"), str)
    ]


def method_for(method: str, scorers: Mapping[str, Any], folders: Mapping[str, str]) -> Any:
    """The method, with the scorers that are its rewards and the folders of its reward models."""
    made = catalogue.method(method)
    return type(made)(scorers=scorers, folders=folders) if scorers or folders else made


def ancestors(recipe: Recipe, name: str) -> list[TrainingStage]:
    """The stages that the stage `name` needs, in order: its starts, its reward models and theirs, itself last."""
    known = {stage.name: stage for stage in recipe.stages}
    if name not in known:
        raise UnknownNameError("stage", name, known)
    wanted, waiting = set(), [name]
    while waiting:
        stage = known[waiting.pop()]
        wanted.add(stage.name)
        waiting += [one for one in (stage.start, *stage.scored_by.values()) if one is not None and one not in wanted]
    return [stage for stage in recipe.stages if stage.name in wanted]


def line(recipe: Recipe, name: str) -> list[TrainingStage]:
    """The stages whose weights are in the stage `name`, oldest first, itself last."""
    known = {stage.name: stage for stage in recipe.stages}
    found = [known[name]]
    while found[0].start is not None:
        found.insert(0, known[found[0].start])
    return found


def seen_outside(recipe: Recipe, stage: TrainingStage, models: Mapping[str, str]) -> Seen:
    """What the models that a stage goes back to, and its reward models, were trained on in other runs."""
    found = Seen([], [])
    for one in ancestors(recipe, stage.name):
        named = [str(recipe.root / Path(name).expanduser()) for name in _named_models(one)]
        for model in (*([] if one.start is not None else [models[one.name]]), *named):
            prompts, unknown = seen_by(model)
            found.prompts.extend(prompts)
            found.unknown.extend(unknown)
    return found


def _account(
    stage: TrainingStage, trained: Stage, given: Given, names: list[str], done: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """What run.json says of a trained stage: how it came about, back to the hashes of the input files."""
    from trainers.job import digest

    record = trained.record
    parent = None if stage.start is None else {"stage": stage.start, "key": done[stage.start]["key"]}
    rewards = {name: {"stage": one, "key": done[one]["key"]} for name, one in stage.scored_by.items()}
    return {
        "stage": stage.name,
        "method": stage.method,
        "path": f"model/{stage.name}",
        "key": record["key"],
        "sha256": digest(record["files"]),
        "model": stage.model,
        "base": dict(record["base"]),
        "parent": parent,
        **({"rewards": rewards} if rewards else {}),
        "lineage": names,
        "data": {"shared_prompts": 0, **given.account, "tokens_sha256": record["data"]["sha256"]},
    }


def _record(run: RunDir, accounts: Iterable[dict[str, Any]], order: Sequence[str]) -> None:
    """run.json and report.json with the stages trained so far, beside those of an earlier call that still stand."""
    new = {account["stage"]: account for account in accounts}
    for name in ("run.json", "report.json"):
        file = run.path / name
        whole = json.loads(file.read_text(encoding="utf-8"))
        known = {account["stage"]: account for account in whole.get("training", [])} | new
        standing: dict[str, dict[str, Any]] = {}
        for one in order:
            if one in known and all(
                link["stage"] in standing and standing[link["stage"]]["key"] == link["key"]
                for link in (known[one]["parent"], *known[one].get("rewards", {}).values())
                if link is not None
            ):
                standing[one] = known[one]
        write_json(file, {**whole, "training": list(standing.values())})


def _model(recipe: Recipe, model: str) -> str:
    """A start model, found: a folder seen from the recipe, or whatever the table or a hub calls so."""
    from trainers.job import RECORD, read_stage
    from trainers.models import resolve

    local = recipe.root / model
    model = str(local) if local.is_dir() else model
    if (Path(model) / RECORD).is_file():
        read_stage(Path(model))
    else:
        resolve(model)
    return model


def _check_rewards(stage: TrainingStage, recipe: Recipe) -> None:
    """Raises RecipeError unless each reward can be built and a batch holds whole groups of answers."""
    rewards = getattr(stage.settings, "rewards", None)
    if rewards is None:
        return
    from trainers.online import require_whole_groups

    if not rewards:
        raise RecipeError("rewards: none; name at least one, as in `rewards: {length: {max: 200}}`")
    scorers_of(rewards, recipe.root)
    missing = [name for name in _named_models(stage) if not (recipe.root / Path(name).expanduser()).is_dir()]
    if missing:
        raise RecipeError([f"rewards: no folder of a reward model {name!r}, seen from the recipe" for name in missing])
    require_whole_groups(stage.settings)


def _require_start(recipe: Recipe, stage: TrainingStage, models: Mapping[str, str]) -> None:
    """Raises RecipeError for a preference stage on a model without SFT, InputError where no template is to be had."""
    from trainers.chat_templates import given
    from trainers.lineage import INSIST, NEEDS_SFT, evidence, refusal
    from trainers.start import open_start

    stages = line(recipe, stage.name)
    first = stages[0]
    model = models.get(first.name)
    if model is None:
        return
    start = open_start(model)
    tokenizer = start.tokenizer()
    found = evidence(start, tokenizer)
    before = [one.method for one in stages[:-1]]
    needs = stage.method in NEEDS_SFT and "sft" not in before and INSIST not in stage.settings.insist
    if needs and found.tuned is False:
        raise RecipeError(refusal(stage.method, start.name, found.because))
    if stage is first:
        given(tokenizer, stage.settings.chat_template, default=stage.method == "sft", model=start.name)


def _other_type(recipe: Recipe, wanted: RecordType) -> None:
    from prefdata.importing import typed

    record_type = typed(recipe).type
    assert record_type is not None
    fault = unreachable(record_type, wanted)
    if fault is not None:
        raise RecipeError(f"its run makes {told(record_type)} rows; {fault}")


class _Faults(SettingsReader):
    """Faults of stages, each told with the line of the recipe that it is about."""

    def __init__(self) -> None:
        super().__init__({})
        self.stage: TrainingStage | None = None
        self.within: tuple[str, ...] = ()

    def of(self, stage: TrainingStage, *within: str) -> _Faults:
        self.stage, self.within = stage, within
        self.lines = {(*stage.place, *path): number for path, number in stage.lines.items()}
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, PrefdataError) or isinstance(error, MissingExtraError):
            return False
        assert self.stage is not None
        for fault in error.faults if isinstance(error, RecipeError) else [str(error)]:
            head, colon, message = fault.partition(": ")
            parts = tuple(head.split(".")) if colon and re.fullmatch(r"[\w.]+", head) else ()
            if not parts or not hasattr(self.stage.settings, parts[0]):
                self.fault((*self.stage.place, *self.within), fault)
                continue
            key = re.match(r"unknown key '([^']+)'|(\w+) is not passed through", message)
            if key and parts == ("args",):
                parts = ("args", key.group(1) or key.group(2))
            self.fault((*self.stage.place, *parts), message)
        return True

    def end(self) -> None:
        if self.faults:
            raise RecipeError(list(dict.fromkeys(self.faults)))
