"""Does each method learn from real rows? SmolLM2-135M-Instruct, held-out rows of other prompts, CPU.

    python benchmarks/learning.py sft|dpo|kto|reward|grpo [--threads 2] [--trial STEPS]

Needs the model smollm2-135m (prefdata model pull smollm2-135m) and real rows in ../shared/data. What is trained, on how
many rows, with which seed, and what must come out is fixed in PROOFS and written in benchmarks/learning.md before a
run. A prompt falls on one side, by a hash of its messages; a row is not trained on if its first or its last question is
that of a held-out row; within a side rows are taken in the order of a hash. The bounds are those of 95 % bootstrap
intervals over groups, which are rows with one first question. It ends with 1 unless each bound is on the right side.
`--trial` cuts the run short to see that it works; what it prints proves nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"

SEED = 0

LORA: Mapping[str, Any] = {"lora_r": 8, "lora_alpha": 16, "lora_layers": 8}
"""On the last 8 of 30 layers: the frozen ones below run once a batch, which a CPU needs."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An estimate of the held-out rows, and the side on which its whole interval must be."""

    path: str
    """Into the stage's metrics: change/loss."""
    side: Literal["below", "above"]
    bound: float

    def holds(self, estimate: Mapping[str, float]) -> bool:
        return estimate["high"] < self.bound if self.side == "below" else estimate["low"] > self.bound


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What is trained on what, and what must come out."""

    method: str
    file: str
    type: str
    held_out: float
    """Share of prompts held out."""
    train: int
    """Most rows trained on."""
    evaluation: int
    """Most rows held out."""
    settings: Mapping[str, Any]
    claims: tuple[Claim, ...]


PROOFS = {
    "sft": Proof(
        method="sft",
        file="llamafactory/alpaca_zh_demo.json",
        type="prompt_completion",
        held_out=0.25,
        train=200,
        evaluation=70,
        settings={**LORA, "learning_rate": 1e-3, "max_steps": 24, "max_length": 160, "order": "by_length"},
        claims=(Claim(path="change/loss", side="below", bound=0.0),),
    ),
    "dpo": Proof(
        method="dpo",
        file="hh_rlhf/test.jsonl.gz",
        type="preference",
        held_out=0.45,
        train=504,
        evaluation=400,
        settings={**LORA, "learning_rate": 2e-4, "max_steps": 63, "max_length": 128, "order": "by_length", "beta": 0.1},
        claims=(
            Claim(path="after/accuracy", side="above", bound=0.5),
            Claim(path="after/margin", side="above", bound=0.0),
        ),
    ),
    "kto": Proof(
        method="kto",
        file="llamafactory/kto_en_demo.json",
        type="unpaired_preference",
        held_out=0.5,
        train=100,
        evaluation=100,
        settings={**LORA, "learning_rate": 2e-4, "epochs": 2.0, "max_length": 512},
        claims=(Claim(path="after/auc", side="above", bound=0.5),),
    ),
    "reward": Proof(
        method="reward",
        file="hh_rlhf/test.jsonl.gz",
        type="preference",
        held_out=0.45,
        train=800,
        evaluation=500,
        settings={**LORA, "learning_rate": 3e-4, "max_steps": 100, "max_length": 128, "order": "by_length"},
        claims=(Claim(path="after/accuracy", side="above", bound=0.5),),
    ),
    "grpo": Proof(
        method="grpo",
        file="hh_rlhf/test.jsonl.gz",
        type="preference",
        held_out=0.3,
        train=80,
        evaluation=60,
        settings={
            **LORA,
            "learning_rate": 1e-3,
            "args": {"lr_scheduler_type": "constant"},
            "per_device_batch": 16,
            "max_steps": 24,
            "max_length": 96,
            "max_completion_length": 32,
            "num_generations": 8,
            "evaluation_generations": 2,
            "rewards": {"length": {"max": 60}, "format": {"ends_with": (".", "!", "?"), "weight": 0.5}},
        },
        claims=(Claim(path="change/reward", side="above", bound=0.0),),
    ),
}

COMMON: Mapping[str, Any] = {
    "per_device_batch": 8,
    "gradient_accumulation": 1,
    "save_steps": 0,
    "samples": 0,
    "max_evaluation_rows": None,
    "report_to": (),
    "seed": SEED,
}


def rank(value: str) -> bytes:
    return hashlib.sha256(f"{SEED}\x1f{value}".encode()).digest()


def read(proof: Proof) -> pl.DataFrame:
    """The rows of a proof, with `side` in [0, 1) by the hash of the prompt; `group` is the first question."""
    from prefdata.preflighting import read as read_any
    from prefdata.schema import RecordType, conform

    rows = read_any(DATA / proof.file, type=proof.type).rows
    if proof.method == "grpo":
        rows = conform(rows.select("id", "source", "group", "prompt"), RecordType.PROMPT)
    prompts = rows["prompt"].to_list()
    whole = [json.dumps(one, sort_keys=True, ensure_ascii=False) for one in prompts]
    asked = [[turn["content"] for turn in one if turn["role"] == "user"] for one in prompts]
    rows = rows.with_columns(
        side=pl.Series([int(rank(key).hex()[:16], 16) / 16**16 for key in whole]),
        group=pl.Series([rank(turns[0]).hex()[:16] for turns in asked]),
        last=pl.Series([rank(turns[-1]).hex()[:16] for turns in asked]),
    )
    return rows.unique("group", maintain_order=True) if proof.method == "grpo" else rows


def split(rows: pl.DataFrame, proof: Proof, fits: set[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows to train on and rows held out; no first or last question is on both sides."""
    rows = rows.filter(pl.col("id").is_in(list(fits)))
    order = pl.Series([rank(one) for one in rows["id"]], dtype=pl.Binary)
    rows = rows.with_columns(order=order).sort("order")
    evaluation = rows.filter(pl.col("side") < proof.held_out).head(proof.evaluation)
    train = rows.filter(pl.col("side") >= proof.held_out)
    for key in ("group", "last"):
        train = train.join(evaluation, on=key, how="anti", maintain_order="left")
    return tuple(side.drop("side", "last", "order") for side in (train.head(proof.train), evaluation))


def fitting(rows: pl.DataFrame, method: Any, settings: Any, folder: Path) -> set[str]:
    """Ids of the rows that fit into max_length; older turns are cut, answers never."""
    from trainers.models import load_tokenizer
    from trainers.rendering import protect

    return set(method.encode(rows.drop("side", "last"), protect(load_tokenizer(folder)), settings, name="rows").ids)


def prove(proof: Proof, folder: Path, *, trial: int | None, scratch: Path) -> tuple[dict[str, Any], list[str]]:
    """The stage's record, and a line for each claim."""
    from prefdata.catalogue import method as method_of
    from trainers.training import train

    method = method_of(proof.method)
    options = {**COMMON, **proof.settings}
    if trial is not None:
        options["max_steps"] = trial
        proof = dataclasses.replace(proof, train=16 * trial, evaluation=24)
    settings = method.settings(**options)
    rows = read(proof)
    training, evaluation = split(rows, proof, fitting(rows, method, settings, folder))
    stage = train(method, training, evaluation, model=folder, output_dir=scratch / proof.method, settings=settings)
    record = dict(stage.record)
    lines = []
    for claim in proof.claims:
        part, _, name = claim.path.partition("/")
        found = record["metrics"][part][name]
        verdict = "PASS" if claim.holds(found) else "FAIL"
        told = f"{found['value']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"
        lines.append(f"{verdict} {proof.method} {claim.path}: {told}, wanted {claim.side} {claim.bound:g}")
    return record, lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=list(PROOFS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="smollm2-135m", help="another one shows that it works, and proves nothing")
    parser.add_argument("--trial", type=int, metavar="STEPS", help="only so many steps, on few rows; proves nothing")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA.parent.name}/{DATA.name}: not there; real rows are needed")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    from trainers.models import resolve

    torch.set_num_threads(options.threads)
    start, load = time.perf_counter(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        proof = PROOFS[options.method]
        record, lines = prove(proof, resolve(options.model), trial=options.trial, scratch=Path(scratch))
    evaluation, metrics = record["evaluation"], record["metrics"]
    print(
        f"{options.method}: {proof.file}, trained on {record['data']['rows']} rows ({record['data']['sha256'][:12]}), "
        f"{metrics['steps']} steps; held out {evaluation['rows']} rows in {metrics['after']['groups']} prompts "
        f"({evaluation['sha256'][:12]}), seed {SEED}, {options.threads} threads, "
        f"{(time.perf_counter() - start) / 60:.1f} minutes, load {load:.1f} before"
    )
    for finding in record["monitor"]["findings"]:
        print(f"monitor: {finding['name']} from step {finding['first_step']} ({finding['severity']})")
    print("\n".join(lines))
    if options.trial is not None:
        print("a trial: this proves nothing")
    elif not all(line.startswith("PASS") for line in lines):
        sys.exit(1)


if __name__ == "__main__":
    main()
