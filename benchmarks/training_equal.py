"""Step losses of prefdata beside those of plain TRL: same rows, same seed, no option of ours on. CPU.

    python benchmarks/training_equal.py [--steps 4] [--batch 4] [--max-length 256] [--threads 2] [--methods sft dpo ...]

Needs the model smollm2-135m (prefdata model pull smollm2-135m) and real rows in ../shared/data. `plain` is what a user
writes with TRL alone: the model and tokenizer from their folder, rows as messages, TRL's trainer and a LoRA on all
linear layers. prefdata trains the same rows in the same order. Rows are those that fit whole, and whose token ids are
the same by TRL's way (`apply_chat_template`) and by ours (text can never become a control token); how many differ is
printed. It ends with 1 if a step's loss differs by more than 1e-5.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"

TOLERANCE = 1e-5

LEARNING_RATE = 1e-4

ANSWERS = {"sft": ("completion",), "dpo": ("chosen", "rejected"), "kto": ("completion",), "grpo": ()}


class Case(NamedTuple):
    """One method on one set of rows."""

    method: str
    file: str
    type: str


CASES = (
    Case("sft", "llamafactory/alpaca_zh_demo.json", "prompt_completion"),
    Case("dpo", "llamafactory/dpo_en_demo.json", "preference"),
    Case("dpo", "hh_rlhf/test.jsonl.gz", "preference"),
    Case("kto", "llamafactory/kto_en_demo.json", "unpaired_preference"),
    Case("grpo", "hh_rlhf/test.jsonl.gz", "preference"),
)


class Shape(NamedTuple):
    """What both sides are told alike."""

    steps: int
    batch: int
    max_length: int
    seed: int = 0


class Compared(NamedTuple):
    """One case, both sides trained."""

    case: Case
    rows: int
    fit: int
    same_ids: int
    ours: list[dict[str, Any]]
    theirs: list[dict[str, Any]]

    def largest(self, name: str, *, relative: bool = False) -> float:
        """Largest difference of a logged value over the steps."""
        pairs = [(float(one[name]), float(other[name])) for one, other in zip(self.ours, self.theirs, strict=True)]
        return max(abs(one - other) / (abs(other) if relative and other else 1.0) for one, other in pairs)

    @property
    def equal(self) -> bool:
        lengths = len(self.ours) == len(self.theirs) > 0
        return lengths and self.largest("loss") <= TOLERANCE


def brevity(completions: Sequence[Any], **_: Any) -> list[float]:
    """A reward that both sides compute alike: 1 for an empty answer, towards 0 for a long one."""
    return [math.exp(-len(one[0]["content"]) / 200) for one in completions]


def plain(method: str, rows: list[dict[str, Any]], folder: Path, shape: Shape, **changed: Any) -> list[dict[str, Any]]:
    """What each step logs in TRL's trainer as it comes, but float32 on a CPU and every step logged."""
    import torch
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from transformers.trainer_callback import PrinterCallback

    name = {"sft": "SFT", "dpo": "DPO", "kto": "KTO", "grpo": "GRPO"}[method]
    own: dict[str, Any] = {"max_length": shape.max_length}
    options: dict[str, Any] = {}
    if method == "kto":
        own["train_sampling_strategy"] = "sequential"
    if method == "grpo":
        own = {"num_generations": shape.batch, "max_completion_length": 24, "shuffle_dataset": False}
        options["reward_funcs"] = [brevity]
    with tempfile.TemporaryDirectory() as scratch:
        config = getattr(trl, f"{name}Config")(
            output_dir=scratch,
            learning_rate=LEARNING_RATE,
            per_device_train_batch_size=shape.batch,
            max_steps=shape.steps,
            seed=shape.seed,
            data_seed=shape.seed,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **own,
            **changed,
        )
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        set_seed(shape.seed)
        trainer = getattr(trl, f"{name}Trainer")(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(folder),
            peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
            **options,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def ours(method: str, frame: pl.DataFrame, folder: Path, shape: Shape, **changed: Any) -> list[dict[str, Any]]:
    """The same through prefdata, with every option of its own off."""
    import importlib

    train = getattr(importlib.import_module(f"trainers.{method}"), f"train_{method}")
    own: dict[str, Any] = {"max_length": shape.max_length}
    if method == "dpo":
        own |= {"reference_store": "never", "beta": 0.1}
    if method == "kto":
        own |= {"reference_store": "never", "desirable_weight": 1.0, "undesirable_weight": 1.0}
    if method == "grpo":
        own = {
            "num_generations": shape.batch,
            "max_completion_length": 24,
            "max_length": shape.max_length + 24,
            "probe_prompts": 0,
            "suppress_special_tokens": False,
            "rewards": {"brevity": brevity},
        }
    with tempfile.TemporaryDirectory() as scratch:
        stage = train(
            frame,
            None,
            model=folder,
            output_dir=Path(scratch) / "stage",
            learning_rate=LEARNING_RATE,
            lora_r=8,
            lora_alpha=16,
            per_device_batch=shape.batch,
            gradient_accumulation=1,
            max_steps=shape.steps,
            save_steps=0,
            seed=shape.seed,
            report_to=(),
            **{**own, **changed},
        )
        found: list[dict[str, Any]] = json.loads((stage.folder / "metrics.json").read_text(encoding="utf-8"))
    return found


def read(case: Case) -> pl.DataFrame:
    """The rows of a case, canonical; prompts of GRPO are those of the pairs."""
    from prefdata.preflighting import read as read_any
    from prefdata.schema import RecordType, conform

    rows = read_any(DATA / case.file, type=case.type).rows
    if case.method == "grpo":
        rows = conform(
            rows.select("id", "source", "group", "prompt").unique("group", maintain_order=True), RecordType.PROMPT
        )
    return rows


def same_ids(rows: pl.DataFrame, method: str, tokenizer: Any, shape: Shape) -> tuple[int, list[int]]:
    """How many rows fit whole, and the places of those whose ids are the same by TRL's way and by ours."""
    from trainers.rendering import encode_chat, messages_of, protect

    guarded = protect(copy.deepcopy(tokenizer))
    fit, found = 0, []
    for at, row in enumerate(rows.iter_rows(named=True)):
        prompt = messages_of(row["prompt"])
        if not prompt or prompt[-1]["role"] != "user":
            continue
        chats = [(prompt, True), *((prompt + messages_of(row[side]), False) for side in ANSWERS[method])]
        theirs = [
            tokenizer.apply_chat_template(chat, add_generation_prompt=begin, return_dict=False) for chat, begin in chats
        ]
        if max(map(len, theirs)) > shape.max_length:
            continue
        fit += 1
        if theirs == [encode_chat(guarded, chat, add_generation_prompt=begin) for chat, begin in chats]:
            found.append(at)
    return fit, found


def in_order(rows: pl.DataFrame, case: Case, tokenizer: Any, shape: Shape) -> pl.DataFrame:
    """The rows that will be read, in the order in which prefdata reads them, which plain TRL is given too."""
    from prefdata.catalogue import method as method_of
    from trainers.rendering import protect

    method = method_of(case.method)
    settings: dict[str, Any] = {"per_device_batch": shape.batch, "gradient_accumulation": 1, "seed": shape.seed}
    if case.method == "grpo":
        from trainers.grpo import GRPO

        method = GRPO({"brevity": brevity})
        settings |= {"num_generations": shape.batch, "max_completion_length": 24, "rewards": {"brevity": None}}
    made = method.settings(**settings)
    encoded = method.encode(rows, protect(copy.deepcopy(tokenizer)), made, name="rows")
    return rows[method.arrange(encoded, made).rows]


def plain_rows(rows: pl.DataFrame, method: str) -> list[dict[str, Any]]:
    """Rows as TRL reads them."""
    from trainers.rendering import messages_of

    found = []
    for row in rows.iter_rows(named=True):
        one: dict[str, Any] = {side: messages_of(row[side]) for side in ("prompt", *ANSWERS[method])}
        found.append({**one, "label": row["label"]} if method == "kto" else one)
    return found


def chosen_rows(case: Case, folder: Path, shape: Shape) -> pl.DataFrame:
    """As many rows with the same ids on both sides as the steps read, in the order in which they are read."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = read(case)
    return _taken(rows[same_ids(rows, case.method, tokenizer, shape)[1]], case, tokenizer, shape)


def compare(case: Case, folder: Path, shape: Shape) -> Compared:
    """One case, trained by both sides."""
    from transformers import AutoTokenizer

    from trainers.job import quiet

    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = read(case)
    fit, same = same_ids(rows, case.method, tokenizer, shape)
    chosen = _taken(rows[same], case, tokenizer, shape)
    with quiet():
        theirs = plain(case.method, plain_rows(chosen, case.method), folder, shape)
    return Compared(case, rows.height, fit, len(same), ours(case.method, chosen, folder, shape), theirs)


def _taken(rows: pl.DataFrame, case: Case, tokenizer: Any, shape: Shape) -> pl.DataFrame:
    wanted = shape.steps * (1 if case.method == "grpo" else shape.batch)
    if case.method == "kto":
        good, bad = rows.filter(pl.col("label")), rows.filter(~pl.col("label"))
        rows = pl.concat([good.head(wanted // 2), bad.head(wanted - wanted // 2)])
    return in_order(rows.head(wanted), case, tokenizer, shape)


def table(found: Sequence[Compared]) -> str:
    """A Markdown table, a line a case."""
    lines = [
        "| method | rows | fit | same ids | steps | last loss | largest difference of loss | of grad_norm | equal |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        cells = [
            one.case.method,
            f"{one.case.file} ({one.rows:,})",
            f"{one.fit:,}",
            f"{one.same_ids:,}",
            str(len(one.ours)),
            f"{one.ours[-1]['loss']:.6f}",
            f"{one.largest('loss'):.1e}",
            f"{one.largest('grad_norm', relative=True):.1e}",
            "yes" if one.equal else "NO",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="smollm2-135m", help="another one shows that it works, and proves nothing")
    parser.add_argument("--methods", nargs="+", choices=list(ANSWERS), default=list(ANSWERS))
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA.parent.name}/{DATA.name}: not there; real rows are needed")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    from trainers.models import resolve

    torch.set_num_threads(options.threads)
    folder = resolve(options.model)
    shape = Shape(steps=options.steps, batch=options.batch, max_length=options.max_length)
    found = []
    for case in CASES:
        if case.method not in options.methods:
            continue
        found.append(compare(case, folder, shape))
        one = found[-1]
        losses: Mapping[str, list[float]] = {
            "prefdata": [entry["loss"] for entry in one.ours],
            "TRL": [entry["loss"] for entry in one.theirs],
        }
        for name, values in losses.items():
            print(f"{case.method} {case.file} {name}: {' '.join(f'{value:.7f}' for value in values)}", file=sys.stderr)
    print(table(found))
    if not all(one.equal for one in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
