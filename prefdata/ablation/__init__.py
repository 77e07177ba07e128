"""Which filters pay: the same small reward head trained with and without each, on the same rows held out.

Sets come from `ablation.sets`, heads from `ablation.heads`, intervals from `ablation.statistics`; `ablation.work` puts
them together. `ablation/` in the run holds ablation.json, the page, the held-out rewards of every
set and the hidden states; what is there already is not computed again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefdata import importing, rundir, runner, stages
from prefdata.ablation.settings import Settings
from prefdata.engine import LocalEngine
from prefdata.errors import InputError
from prefdata.io import write_json
from prefdata.recipe import Recipe
from prefdata.recipe import load as load_recipe
from prefdata.rundir import RunDir
from prefdata.stages import Progress, State

__all__ = ["Ablation", "Settings", "ablate"]


@dataclass(frozen=True)
class Ablation:
    """What an ablation came to: `result` is ablation.json, `page` the report beside it."""

    path: Path
    result: dict[str, Any]
    page: Path


def ablate(
    recipe: Recipe | str | Path,
    *,
    run: str | Path | None = None,
    out: str | Path | None = None,
    settings: Settings | None = None,
    threads: int = 1,
    lang: str = "en",
    progress: Progress | None = None,
) -> Ablation:
    """Train with and without each filter of `recipe`, compare on held-out rows, and write what it came to.

    The recipe's data is built first, as `prefdata build` does (into `out`); or `run` is taken as it stands, which must
    be a run of the same sources. Thresholds may differ from the run's: sets are decided anew. Raises RecipeError for
    rows without a preference, InputError where too few rows are left to compare.
    """
    from prefdata.ablation.work import FOLDER, Work
    from prefdata.reporting.ablation.page import write_page

    settings = settings or Settings()
    told: Progress = progress or (lambda step, done, total: None)
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    if run is None:
        directory = RunDir(runner.run(loaded, out=out, threads=threads, train=False, progress=told).path)
    else:
        directory = rundir.existing(run)
    state = _state(loaded, directory, threads, told)
    with directory.locked():
        directory.log("ablation_started")
        found = Work(state, settings).done()
        write_json(directory.path / FOLDER / "ablation.json", found)
        page = write_page(found, directory.path / FOLDER / "ablation.html", lang=lang)
        directory.log("ablation_finished")
    return Ablation(directory.path / FOLDER, found, page)


def _state(recipe: Recipe, directory: RunDir, threads: int, progress: Progress) -> State:
    """The state of the finished run, decided by `recipe`. Raises InputError where its rows are not of this recipe."""
    facts = json.loads((directory.path / "run.json").read_text(encoding="utf-8"))
    state = stages.state_of(importing.typed(recipe), directory, LocalEngine(threads=threads), progress)
    marker = json.loads(directory.marker("ingest").read_text(encoding="utf-8"))
    if marker["key"] != stages.ingest_key(state, facts["inputs"]):
        raise InputError(
            f"{directory.path}: its rows are not this recipe's (other sources, transforms, version or PREFDATA_KEY); "
            "leave --run out and they are built, or give the recipe that made the run"
        )
    return state
