"""A stage of training in several processes: what it needs is left in a folder, which each of them reads.

Places in it are seen from that folder, which another machine may know by another path.

`python -m prefdata.training_worker FOLDER` is one process; accelerate starts as many as it is told, see
trainers.launching.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata.io import write_json, write_parquet
from prefdata.recipe import Recipe, plain, settings_of
from prefdata.recipe_parts import TrainingStage
from prefdata.training_stages import Given, Trainer, folder_of, method_for, reward_folders, scorers_of

if TYPE_CHECKING:
    from trainers.job import Stage

MODULE = "prefdata.training_worker"

JOB = "job.json"


def launched(run: Path, recipe: Recipe, *, config: str | None, processes: int | None) -> Trainer:
    """Trains in the processes that accelerate starts by `config`: a file, or the name of a shipped one."""

    def trained(stage: TrainingStage, start: str, given: Given) -> Stage:
        from trainers.job import read_stage
        from trainers.launching import launch
        from trainers.models import MODELS
        from trainers.places import seen_from

        out = folder_of(run, stage.name)
        local = start not in MODELS and Path(start).is_dir()
        write_parquet(given.folder / "held_out.parquet", given.evaluation)
        job = {
            "method": stage.method,
            "settings": plain(stage.settings),
            "start": seen_from(given.folder, start) if local else start,
            "out": seen_from(given.folder, out),
            "folders": {
                name: seen_from(given.folder, folder) for name, folder in reward_folders(run, recipe, stage).items()
            },
            "root": seen_from(given.folder, recipe.root),
            "pictures": None if given.pictures is None else seen_from(given.folder, given.pictures),
        }
        write_json(given.folder / JOB, job)
        launch(MODULE, [str(given.folder)], config=config, processes=processes)
        return read_stage(out)

    return trained


def work(folder: Path) -> Stage:
    """Trains the stage whose job and rows are in `folder`: one process of those that do so together."""
    from trainers import training
    from trainers.places import is_seen

    job: dict[str, Any] = json.loads((folder / JOB).read_text(encoding="utf-8"))
    settings = settings_of("trainer", job["method"], job["settings"])
    scorers = scorers_of(getattr(settings, "rewards", None), (folder / job["root"]).resolve())
    evaluation = pl.read_parquet(folder / "held_out.parquet", glob=False)
    return training.train(
        method_for(job["method"], scorers, {name: str(folder / place) for name, place in job["folders"].items()}),
        pl.read_parquet(folder / "train.parquet", glob=False),
        evaluation if evaluation.height else None,
        model=folder / job["start"] if is_seen(job["start"]) else job["start"],
        output_dir=folder / job["out"],
        settings=settings,
        pictures=None if job["pictures"] is None else folder / job["pictures"],
    )


def main() -> None:
    """One process."""
    from trainers.launching import telling

    with telling():
        work(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
