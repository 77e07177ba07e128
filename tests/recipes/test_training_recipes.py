"""The recipes of recipes/train: each reads, plans and fits where its first lines say; no model is fetched."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from prefdata.plan import plan
from prefdata.recipe import from_resolved, load
from trainers.memory import estimate_stage

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
FILES = sorted((RECIPES / "train").glob("*.yaml"))
METHODS = {
    "sft": ["sft"],
    "dpo": ["dpo"],
    "kto": ["kto"],
    "chain": ["sft", "dpo"],
    "chain_kto": ["sft", "kto"],
}
SEEING = {"sft", "dpo", "kto"}
"""Methods of which there is a recipe for a vision-language model."""
GIB = 1 << 30


def test_every_chain_has_a_small_size_and_a_large_one() -> None:
    names = {file.stem for file in FILES}
    kinds = [*METHODS, "reward_grpo"]
    sizes = {f"{kind}_{size}" for kind in kinds for size in ("smollm2", "qwen7b")}
    assert names == sizes | {f"{method}_qwen_vl_7b" for method in SEEING}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_reads_and_plans(file: Path) -> None:
    recipe = load(file)
    assert recipe.name == file.stem
    assert from_resolved(recipe.resolved(), root=recipe.root) == recipe
    kind = file.stem.removesuffix("_qwen_vl_7b") if "_vl_" in file.stem else file.stem.rpartition("_")[0]
    methods = [stage.method for stage in recipe.stages]
    assert methods == METHODS.get(kind, methods)
    assert methods[-2:] == ["reward", "grpo"] or kind in METHODS
    steps = plan(recipe, train=True)
    name = recipe.sources[0].name
    assert steps[0] in (f"read {name}: {name}.csv as events", f"read {name}: {name}.jsonl as captions")
    assert ("_vl_" in file.stem) == ("pictures: checked, written again" in steps)
    assert sum(step.startswith("train: ") for step in steps) == len(methods)
    assert f"recipes/train/{file.name}" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "gpu_gib", "devices"),
    [
        ("sft_qwen7b", 80, 8),
        ("dpo_qwen7b", 80, 1),
        ("kto_qwen7b", 24, 1),
        ("chain_qwen7b", 80, 8),
        ("chain_kto_qwen7b", 80, 1),
        ("reward_grpo_qwen7b", 80, 1),
        ("sft_qwen_vl_7b", 32, 1),
        ("dpo_qwen_vl_7b", 32, 1),
        ("kto_qwen_vl_7b", 16, 1),
    ],
)
def test_a_large_recipe_fits_the_gpus_that_it_names(name: str, gpu_gib: int, devices: int) -> None:
    recipe = load(RECIPES / "train" / f"{name}.yaml")
    head = recipe.root.joinpath(f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert f"GPU{'s' if devices > 1 else ''} of {gpu_gib} GB" in head
    named = {stage.name: stage for stage in recipe.stages}
    for stage in recipe.stages:
        first = stage
        while first.start is not None:
            first = named[first.start]
        sharding = "fsdp2" if devices > 1 else "none"
        report = estimate_stage(
            stage.method, stage.settings, str(first.model), devices=devices, sharding=sharding
        ).record()
        assert report["peak"] < gpu_gib * GIB


def test_the_questions_are_asked_by_many_and_answered_both_ways() -> None:
    asked: dict[str, set[str]] = defaultdict(set)
    with open(RECIPES / "data" / "questions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    tickets = {row["ticket_id"] for row in rows}
    assert (len(rows), len(tickets)) == (1_800, 600)
    first = [row for row in rows if row["author_type"] == "end_user" and not row["csat"] and not row["status"]]
    for row in first:
        asked[row["body"].partition("new ")[2]].add(row["customer_id"])
    assert len(asked) == 50
    assert {len(customers) for customers in asked.values()} == {12}


@pytest.mark.slow
def test_pairs_are_made_of_the_questions_and_none_stands_on_two_sides(tmp_path: Path) -> None:
    from prefdata import runner
    from prefdata.rundir import RunDir
    from prefdata.text import last_user_text
    from prefdata.training_stages import rows_for

    recipe = load(RECIPES / "train" / "chain_smollm2.yaml")
    runner.run(recipe, out=tmp_path / "run", train=False)
    sft, dpo = (rows_for(RunDir(tmp_path / "run"), recipe, stage) for stage in recipe.stages)
    assert (sft.train.height, sft.evaluation.height) == (258, 39)
    assert (dpo.train.height, dpo.evaluation.height) == (318, 56)

    def things(given: Any, side: str) -> set[str]:
        asked = getattr(given, side).select(asked=last_user_text("prompt"))["asked"]
        return {text.partition("new ")[2] for text in asked}

    assert things(dpo, "train") | things(sft, "train") == things(sft, "train")
    assert not things(dpo, "evaluation") & things(sft, "train")
