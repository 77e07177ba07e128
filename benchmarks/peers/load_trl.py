"""Loads exports with TRL's own trainers, up to the collated batch: what is accepted, its label, the trained-on text.

    python load_trl.py JOBS.json RESULTS.json

`datasets.load_dataset` reads the file, the trainer's constructor prepares it, and its collator makes the batch that
the model would see. Nothing is trained.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import datasets
import jobs
from transformers import AutoProcessor

COMMON = {"use_cpu": True, "bf16": False, "report_to": [], "disable_tqdm": True, "max_length": None}


def load(job: dict[str, Any], path: Path) -> dict[str, Any]:
    """Rows as the trainer of the job's type gets them."""
    builder = "parquet" if path.suffix == ".parquet" else "json"
    data = datasets.load_dataset(
        builder, data_files=str(path), split="train", cache_dir=str(Path(job["scratch"]) / "cache")
    )
    processor = AutoProcessor.from_pretrained(job["model"])
    tokenizer = getattr(processor, "tokenizer", processor)
    make = {"sft": sft, "preference": preference, "unpaired": unpaired, "prompt": prompt}[job["type"]]
    return {"rows_in": len(data), "rows": make(job, data, processor, tokenizer)}


def sft(job: dict[str, Any], data: datasets.Dataset, processor: Any, tokenizer: Any) -> list[jobs.Row]:
    """SFTTrainer with its defaults: completion only where there is a prompt column."""
    from trl import SFTConfig, SFTTrainer

    args = SFTConfig(output_dir=job["scratch"], **COMMON)
    trainer = SFTTrainer(model=job["model"], args=args, train_dataset=data, processing_class=processor)
    rows = []
    for row in trainer.train_dataset:
        batch = trainer.data_collator([row])
        text = jobs.labelled(tokenizer, batch["input_ids"][0].tolist(), batch["labels"][0].tolist())
        rows.append({"label": None, "sides": {"completion": text}})
    return rows


def preference(job: dict[str, Any], data: datasets.Dataset, processor: Any, tokenizer: Any) -> list[jobs.Row]:
    """DPOTrainer; the first half of its batch is chosen, the second rejected."""
    from trl import DPOConfig, DPOTrainer

    args = DPOConfig(output_dir=job["scratch"], **COMMON)
    trainer = DPOTrainer(model=job["model"], args=args, train_dataset=data, processing_class=processor)
    rows = []
    for row in trainer.train_dataset:
        batch = trainer.data_collator([row])
        sides = {name: _masked(tokenizer, batch, at) for at, name in enumerate(("chosen", "rejected"))}
        rows.append({"label": None, "sides": sides})
    return rows


def unpaired(job: dict[str, Any], data: datasets.Dataset, processor: Any, tokenizer: Any) -> list[jobs.Row]:
    """KTOTrainer; two copies of a row make the batch, since it takes no batch of one."""
    from trl import KTOConfig, KTOTrainer

    args = KTOConfig(output_dir=job["scratch"], per_device_train_batch_size=2, **COMMON)
    trainer = KTOTrainer(model=job["model"], args=args, train_dataset=data, processing_class=processor)
    rows = []
    for row in trainer.train_dataset:
        batch = trainer.data_collator([row, dict(row)])
        text = _masked(tokenizer, batch, 0)
        rows.append({"label": bool(batch["label"][0]), "sides": {"completion": text}})
    return rows


def prompt(job: dict[str, Any], data: datasets.Dataset, processor: Any, tokenizer: Any) -> list[jobs.Row]:
    """GRPOTrainer: the prompts that it would generate from."""
    from trl import GRPOConfig, GRPOTrainer
    from trl.data_utils import prepare_multimodal_messages

    settings = {name: value for name, value in COMMON.items() if name != "max_length"}
    args = GRPOConfig(output_dir=job["scratch"], num_generations=2, per_device_train_batch_size=2, **settings)
    trainer = GRPOTrainer(
        model=job["model"], args=args, train_dataset=data, processing_class=processor, reward_funcs=_no_reward
    )
    rows = []
    for row in trainer.train_dataset:
        asked = row["prompt"]
        if row.get("images"):
            asked = prepare_multimodal_messages(asked, images=row["images"])
        tokens = trainer._tokenize_prompts([asked])[0][0]
        text = {"context": jobs.decode(tokenizer, tokens), "trained": ""}
        rows.append({"label": None, "sides": {"prompt": text}})
    return rows


def _masked(tokenizer: Any, batch: Any, at: int) -> dict[str, str]:
    """Row `at` of the batch without its padding, parted by the completion mask."""
    kept = batch["attention_mask"][at].bool()
    ids = batch["input_ids"][at][kept].tolist()
    return jobs.side(tokenizer, ids, batch["completion_mask"][at][kept].bool().tolist())


def _no_reward(completions: list[Any], **_: Any) -> list[float]:
    return [0.0] * len(completions)


if __name__ == "__main__":
    jobs.run("trl", load)
