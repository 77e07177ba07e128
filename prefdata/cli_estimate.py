"""`prefdata estimate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefdata.cli_options import Json

if TYPE_CHECKING:
    from prefdata.estimating import Estimated
    from trainers.memory import Memory


def estimate_command(
    recipe: Annotated[
        Path | None,
        typer.Argument(help="A recipe that trains; without one name --model and --method.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Without a recipe: a known name (qwen2.5-7b, llama-3.1-8b ...) or a folder with config.json.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Without a recipe: sft, dpo, kto, reward, grpo or rloo.", show_default=False)
    ] = None,
    tuner: Annotated[
        str | None,
        typer.Option(help="lora, dora, qlora or full. [default: the recipe's, else lora]", show_default=False),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            help="Tokens of a row, prompt and answer. [default: the recipe's, else 1024]",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", help="Rows in one forward pass. [default: the recipe's, else the method's]", show_default=False
        ),
    ] = None,
    accumulation: Annotated[
        int | None,
        typer.Option(
            "--accumulation",
            help="Forward passes before one update. [default: the recipe's, else the method's]",
            show_default=False,
        ),
    ] = None,
    lora_r: Annotated[
        int | None,
        typer.Option("--lora-r", help="Rank of the adapter. [default: the recipe's, else 16]", show_default=False),
    ] = None,
    checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--checkpointing/--no-checkpointing", help="Trade time for memory. [default: on a GPU]", show_default=False
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto, float32 or bfloat16. [default: the recipe's]", show_default=False)
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="What it is to fit: h100, a100-80, rtx4090 ..., a size such as 24GiB, or cpu for this machine. "
            "[default: tells the smallest GPU]",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="GPUs that weights or their states are spread over.")] = 1,
    sharding: Annotated[
        str | None,
        typer.Option(help="With --devices: ddp, zero2, zero3 or fsdp2. [default: fsdp2]", show_default=False),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="This stage of the recipe only. [default: all]", show_default=False)
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run of the recipe, whose longest row sets the length. [default: runs/<name of the recipe>]",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Run two updates of the real trainer on shapes alone; print what they take."),
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run two real updates on this machine, and print what they took.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Estimate the memory of training: every term, the peak and its moment, what fits, what to change.

    The closed form loads no weights and no torch; docs/memory.md tells its formulas and how they compare
    with measured peaks. What is printed as assumed is just that. Exit code 1 where a stage does not fit --gpu.

    Examples:

      prefdata estimate recipes/support_kto.yaml --gpu 24GiB

      prefdata estimate --model qwen2.5-7b --method dpo --tuner qlora --max-length 2048 --gpu rtx4090

      prefdata estimate --model llama-3.1-8b --method sft --tuner full --devices 8 --gpu h100

      prefdata estimate --model smollm2-135m --method kto --gpu cpu --dry-run
    """
    from prefdata.errors import RecipeError
    from prefdata.estimating import rehearsed
    from trainers.memory import memory_of

    if dry_run and measure:
        raise RecipeError("--dry-run and --measure: choose one")
    if measure and gpu:
        raise RecipeError("--measure runs on this machine; leave --gpu out, or take --dry-run")
    if devices > 1 and (dry_run or measure):
        raise RecipeError("--dry-run and --measure run one process; leave --devices out")
    if devices > 1 and (gpu or "").strip().lower() == "cpu":
        raise RecipeError("--devices are GPUs; processes on one CPU share its memory, so leave one of them out")
    changes = {
        "tuner": _one_of("--tuner", tuner, ("lora", "dora", "qlora", "full")),
        "max_length": max_length,
        "per_device_batch": batch,
        "gradient_accumulation": accumulation,
        "lora_r": lora_r,
        "gradient_checkpointing": checkpointing,
        "precision": _one_of("--precision", precision, ("auto", "float32", "bfloat16")),
    }
    memory = memory_of(gpu) if gpu else _this_machine() if measure else None
    found = _estimates(
        recipe,
        model,
        method,
        stage,
        run,
        changes={name: value for name, value in changes.items() if value is not None},
        memory=memory,
        devices=devices,
        sharding=_sharding(devices, sharding),
    )
    took = [rehearsed(one, fake=dry_run) if dry_run or measure else None for one in found]
    if as_json:
        record = [one.record() | ({"rehearsed": real} if real else {}) for one, real in zip(found, took, strict=True)]
        typer.echo(json.dumps(record, ensure_ascii=False, indent=2, sort_keys=True))
    else:
        for one, real in zip(found, took, strict=True):
            typer.echo("\n".join(one.report.lines()))
            if real:
                typer.echo(_compared(real))
    if any(one.report.fits is False for one in found):
        raise typer.Exit(1)


def _estimates(
    recipe: Path | None, model: str | None, method: str | None, stage: str | None, run: Path | None, **options: Any
) -> list[Estimated]:
    from prefdata.errors import RecipeError
    from prefdata.estimating import of_method, of_recipe

    if recipe is not None:
        from prefdata.recipe import load

        if model is not None or method is not None:
            raise RecipeError("a recipe names its model and methods itself; leave --model and --method out")
        return of_recipe(load(recipe), run=run, stage=stage, **options)
    if model is None or method is None:
        raise RecipeError("name a recipe, or both --model and --method: --model qwen2.5-7b --method dpo")
    if stage is not None or run is not None:
        raise RecipeError("--stage and --run belong to a recipe")
    return [of_method(method, model, options.pop("changes"), **options)]


def _sharding(devices: int, sharding: str | None) -> str:
    named = _one_of("--sharding", sharding, ("ddp", "zero2", "zero3", "fsdp2"))
    if devices == 1 or named == "ddp":
        return "none"
    return named or "fsdp2"


def _one_of(option: str, given: str | None, known: tuple[str, ...]) -> str | None:
    from prefdata.errors import RecipeError

    if given is not None and given not in known:
        raise RecipeError(f"{option} {given}: expected {', '.join(known)}")
    return given


def _compared(real: dict[str, Any]) -> str:
    mebibytes = {name: f"{real[name] / (1 << 20):,.1f} MiB" for name in ("measured", "estimated")}
    return (
        f"  measured {mebibytes['measured']} ({real['how']}, second of two updates), estimated of the same "
        f"{mebibytes['estimated']}: ratio {real['ratio']:.3f}"
    )


def _this_machine() -> Memory:
    from trainers.memory.devices import found_gpu, this_machine

    return found_gpu() or this_machine()
