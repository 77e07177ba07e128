"""What a stage starts from: a base model, with the adapters of finished parent stages merged into it, in order.

The reference of a stage is exactly this. Merging happens in memory, so a chain of adapters costs no copies of the
model on disk, and no trainer can reload the wrong one from a path.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefdata.errors import InputError
from trainers.identity import config_hash, identity, weights_hash
from trainers.job import ADAPTER, RECORD, Stage, digest, read_stage, trained_hash
from trainers.models import MODELS, load_model, load_tokenizer, resolve, rounding
from trainers.places import is_seen, seen_from
from trainers.rendering import protect
from trainers.vision.processor import load_looks, reads_pictures


@dataclass(frozen=True, kw_only=True)
class Start:
    """A start model, whole in itself: everything that decides its weights."""

    model: str
    """As it was asked for: a name of the table, a hub id, or a folder."""
    name: str
    """What a model card may say: the hub id where there is one, else the folder's own name without its place."""
    folder: Path
    """The weights that adapters go on."""
    parents: tuple[Stage, ...] = ()
    """Finished stages whose adapters are merged into these weights, oldest first."""
    stage: Stage | None = None
    """The parent stage: the one that was named, or None for a model that is none."""

    def base(self) -> dict[str, Any]:
        """Name, hashes of all weights and of the config, what the weights had been rounded to; as plain JSON data."""
        return {
            "name": self.name,
            "sha256": weights_hash(self.folder),
            "config": config_hash(self.folder),
            "rounded_to": rounding(self.folder),
        }

    def lineage(self) -> list[dict[str, Any]]:
        """Method, key and hash of every stage that led here, oldest first."""
        if self.stage is None:
            return []
        return [*self.stage.record.get("lineage", []), _told(self.stage)]

    def identity(self) -> str:
        """SHA-256 of everything that decides the weights: the base's weights and config, and the merged adapters."""
        return digest([identity(self.folder), [_told(stage)["sha256"] for stage in self.parents]])

    @property
    def vision(self) -> bool:
        """Whether the model reads pictures beside text."""
        return reads_pictures(self.folder)

    def tokenizer(self, pictures: Path | None = None) -> Any:
        """The tokenizer, which never reads a control token out of text.

        That of a vision-language model carries its processor (`looks_of`), which finds pictures in `pictures`.
        """
        folder = self.stage.trained if self.stage is not None else self.folder
        return protect(load_looks(folder, pictures).tokenizer if self.vision else load_tokenizer(folder))

    def load(self, *, dtype: Any = None, quantization_config: Any = None) -> Any:
        """The model, parents merged; with `quantization_config` rounded after that, never before.

        Merging into rounded weights would round them twice, and the stage would start from another model than its
        parent; so a merged model is written out for as long as it takes to read it rounded.
        """
        if quantization_config is None or not self.parents:
            model = load_model(self.folder, dtype=dtype, quantization_config=quantization_config)
            for stage in self.parents:
                from peft import PeftModel

                model = PeftModel.from_pretrained(model, str(stage.trained)).merge_and_unload().requires_grad_(True)
            return model
        with tempfile.TemporaryDirectory(prefix="prefdata-merged-") as place:
            self.load(dtype=dtype).save_pretrained(place)
            return load_model(Path(place), dtype=dtype, quantization_config=quantization_config)


def open_start(model: str | Path, *, root: Path | None = None) -> Start:
    """What `model` names: a name of the table, a folder, a hub id, or the folder of a finished stage.

    Raises InputError for a stage that is unfinished, changed, or whose own start is not what it was trained on.
    """
    folder = Path(model).expanduser()
    if not (folder / RECORD).is_file():
        place = resolve(model, root=root)
        named = MODELS[str(model)].huggingface if str(model) in MODELS else str(model)
        return Start(model=str(model), name=place.name if folder.is_dir() else named, folder=place)
    stage = read_stage(folder)
    if stage.record["method"] == "reward":
        raise InputError(f"{folder.name}: a reward model; it scores answers and cannot be trained on as a policy")
    if stage.trained.name != ADAPTER:
        return Start(model=str(model), name=stage.record["base"]["name"], folder=stage.trained, stage=stage)
    below = open_below(stage, root=root)
    return dataclasses.replace(below, parents=(*below.parents, stage), stage=stage)


def open_below(stage: Stage, *, root: Path | None = None) -> Start:
    """What a finished stage was trained from. Raises InputError where that is gone or has changed since."""
    parent = stage.record.get("parent")
    named = stage.folder / parent["path"] if parent else _located(stage)
    if parent and not (Path(named) / RECORD).is_file():
        raise InputError(f"{stage.folder.name}: the stage it was trained from, {parent['path']}, is not there")
    below = open_start(named, root=root)
    base = stage.record["base"]
    if weights_hash(below.folder) != base["sha256"]:
        raise InputError(f"model {below.name}: its weights are not those that the stage started from")
    if "config" in base and config_hash(below.folder) != base["config"]:  # stages of older versions tell of none
        raise InputError(
            f"model {below.name}: its config.json is not that which the stage started from, and may compute something "
            "else with the same weights"
        )
    if (
        parent
        and below.stage is not None
        # records of older versions hold the hash of all files
        and parent["sha256"] not in (_told(below.stage)["sha256"], digest(below.stage.record["files"]))
    ):
        raise InputError(f"{stage.folder.name}: its parent stage {parent['path']} was trained anew since")
    return below


def parent_record(start: Start, folder: Path) -> Mapping[str, Any] | None:
    """The parent stage as stage.json tells it, its path seen from `folder`; None for a model that is no stage."""
    if start.stage is None:
        return None
    return {**_told(start.stage), "path": seen_from(folder, start.stage.folder)}


def model_record(start: Start, folder: Path) -> str | None:
    """The model as stage.json in `folder` tells it: a folder seen from there, a name or id as it is.

    None where the start is a stage, which `parent_record` tells.
    """
    if start.stage is not None:
        return None
    local = start.model not in MODELS and Path(start.model).expanduser().is_dir()
    return seen_from(folder, start.folder) if local else start.model


def _located(stage: Stage) -> str | Path:
    """What `model_record` told. Raises InputError for a folder that is not there."""
    model: str = stage.record["model"]
    if not is_seen(model):
        return model
    # records of older versions are seen from where training was started
    for place in (stage.folder / model, Path(model)):
        if place.is_dir():
            return place
    raise InputError(
        f"{stage.folder.name}: its start model is not there, at {model} seen from that folder. Put it there, or run "
        "the recipe once more, which notes where it is now and trains nothing anew"
    )


def _told(stage: Stage) -> dict[str, Any]:
    return {
        "method": stage.record["method"],
        "key": stage.record["key"],
        "sha256": trained_hash(stage.record),
        "data": stage.record["data"]["sha256"],
    }
