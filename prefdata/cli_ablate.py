"""`prefdata ablate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from prefdata.cli_options import Json, Lang, Quiet, checked_language


def ablate_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)],
    run: Annotated[
        Path | None,
        typer.Option(
            help="A finished run of the same sources; its rows and scores are taken as they are. "
            "[default: the recipe is built]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Where the recipe is built. [default: runs/<name of the recipe>]", show_default=False
        ),
    ] = None,
    head: Annotated[
        str, typer.Option(help="What the reward head reads: words, model (hidden states), or auto.")
    ] = "auto",
    model: Annotated[
        str | None,
        typer.Option(
            help="Model whose states are read. [default: the recipe's, else smollm2-135m]", show_default=False
        ),
    ] = None,
    draws: Annotated[int, typer.Option(help="Times that the training units are cut in two halves to train on.")] = 12,
    held_out: Annotated[
        float, typer.Option("--held-out", help="Fraction of the customers, sessions or prompts held out.")
    ] = 0.3,
    rows: Annotated[
        int | None,
        typer.Option(
            help="Most rows looked at, whole units of them. [default: 20000 for words, 2000 for a model]",
            show_default=False,
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            help="Tokens that a model reads, older turns cut. [default: as the recipe trains, else 512]",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(help="Most training rows in a draw. [default: those of the smallest set]", show_default=False),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave out this only: a filter, filter.reason, a grouping; may be given again.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of draws and resamples.")] = 0,
    lang: Lang = "en",
    threads: Annotated[int, typer.Option(min=1, help="Shards worked on at a time while the recipe is built.")] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell which filters pay: the same reward head trained with and without each, on the same rows held out.

    Each filter, each of its rules and each grouping is left out in turn, at equal budget, with an interval for the
    difference. Pairs and labelled answers only. Goes on where it was when it is interrupted.

    Examples:

      prefdata ablate recipes/support_kto.yaml

      prefdata ablate recipe.yaml --run runs/demo --head words --only near_duplicates
    """
    from prefdata.ablation import Settings, ablate
    from prefdata.cli_bars import Bars
    from prefdata.errors import RecipeError

    checked_language(lang)
    if run is not None and out is not None:
        raise RecipeError("--run takes a run as it stands, --out builds one; give one of them")
    settings = Settings(
        head=head,  # type: ignore[arg-type]
        model=model,
        draws=draws,
        held_out=held_out,
        rows=rows,
        budget=budget,
        max_length=max_length,
        only=tuple(only or ()),
        seed=seed,
    )
    with Bars(quiet=quiet) as bars:
        done = ablate(recipe, run=run, out=out, settings=settings, threads=threads, lang=lang, progress=bars)
    if as_json:
        typer.echo(json.dumps(done.result, ensure_ascii=False, indent=2, sort_keys=True))
        return
    from rich.console import Console

    from prefdata.reporting.ablation.terminal import terminal

    terminal(done.result, Console(), lang=lang)
    typer.echo(f"report {done.page}")
