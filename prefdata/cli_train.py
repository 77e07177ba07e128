"""`prefdata train`: the stages of training of a recipe, on a run whose data part is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefdata.cli_bars import Bars
from prefdata.cli_options import Json, Quiet


def train_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file with `train` or `stages`.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Run directory. [default: runs/<name of the recipe>]", show_default=False),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(help="This stage only, with those that it is built on. [default: all]", show_default=False),
    ] = None,
    launch: Annotated[bool, typer.Option("--launch", help="In several processes, started by accelerate.")] = False,
    config: Annotated[
        str | None,
        typer.Option(
            help="With --launch: ddp, fsdp2, zero2, zero3, ddp_cpu, fsdp2_cpu ..., or a config file of accelerate. "
            "[default: ddp, or ddp_cpu without a GPU]",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="With --launch: how many. [default: one a GPU]", show_default=False),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the stages of a recipe on the rows of its run, and rebuild the report.

    The data part must be done: `prefdata build RECIPE`, or `prefdata run`, which trains too. A stage that is finished
    from the same rows, settings and start is taken as it is; one that was interrupted goes on at its last checkpoint.
    A stage whose start was trained anew is trained anew.

    Example: prefdata train recipes/train/chain_smollm2.yaml --stage sft
    """
    from prefdata import runner
    from prefdata.errors import RecipeError
    from prefdata.recipe import load

    if not launch and (config is not None or processes is not None):
        raise RecipeError("--config and --processes belong to --launch")
    loaded = load(recipe)
    trainer = None
    if launch:
        from prefdata.training_worker import MODULE, launched
        from trainers.launching import command

        command(MODULE, [], config=config, processes=processes)  # whatever is wrong with them is told first
        run = out if out is not None else Path("runs") / loaded.name
        trainer = launched(run, loaded, config=config, processes=processes)
    with Bars(quiet=quiet) as bars:
        result = runner.train(loaded, out=out, stage=stage, trainer=trainer, progress=bars)
    runner_line(result.path, result.model, result.report, as_json=as_json)


def runner_line(run: Path, model: Path | None, report: Path, *, as_json: bool) -> None:
    """What was trained, in one line or as JSON: every stage of run.json, and where the last one is."""
    import json

    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))["training"]
    if as_json:
        typer.echo(json.dumps({"path": str(run), "training": facts}, ensure_ascii=False, indent=2, sort_keys=True))
        return
    stages = ", ".join(f"{one['stage']} on {one['data']['train']['rows']:,} rows" for one in facts)
    typer.echo(f"trained {stages}; {weights(model)}; report {report}")


def weights(model: Path | None) -> str:
    """Where the trained weights of a stage are."""
    if model is None:
        return "no model"
    kind = "adapter" if (model / "adapter").is_dir() else "model"
    return f"{kind} {model / kind}"
