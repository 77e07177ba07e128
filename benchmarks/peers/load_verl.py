"""Loads exports with verl's dataset classes: what is accepted, and the trained-on text.

    python load_verl.py JOBS.json RESULTS.json

MultiTurnSFTDataset for SFT, RMDataset for pairs (plain text, no template), RLHFDataset for prompts, whose chat template
verl applies when it generates: here with the same call.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import datasets
import jobs
from omegaconf import OmegaConf
from transformers import AutoTokenizer
from verl.utils import hf_processor
from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.utils.dataset.rm_dataset import RMDataset

MAX_LENGTH = 4096


def load(job: dict[str, Any], path: Path) -> dict[str, Any]:
    """Rows as the trainer of the job's type gets them."""
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    vision = (Path(job["model"]) / "processor_config.json").is_file()
    processor = hf_processor(job["model"]) if vision else None
    scratch = Path(job["scratch"])
    settings = {"max_length": MAX_LENGTH, "pad_mode": "no_padding", **job.get("settings", {})}
    if job["type"] == "sft":
        data: Any = MultiTurnSFTDataset(str(path), tokenizer, OmegaConf.create(settings), processor)
        rows = [_sft(tokenizer, data[at]) for at in range(len(data))]
    elif job["type"] == "preference":
        data = RMDataset(str(path), tokenizer, max_length=MAX_LENGTH, cache_dir=str(scratch / "cache"))
        rows = [_pair(tokenizer, data, at) for at in range(len(data))]
    elif job["type"] == "prompt":
        config = {"cache_dir": str(scratch / "cache"), "max_prompt_length": MAX_LENGTH}
        config |= {"filter_overlong_prompts_workers": None}
        data = RLHFDataset(str(path), tokenizer, OmegaConf.create(config), processor)
        rows = [_prompt(tokenizer, processor, data[at]) for at in range(len(data))]
    else:
        return {"unsupported": "no trainer takes unary rows"}
    return {"rows_in": _rows_in(path, scratch), "rows": rows}


def _sft(tokenizer: Any, row: dict[str, Any]) -> jobs.Row:
    text = jobs.side(tokenizer, row["input_ids"].tolist(), row["loss_mask"].bool().tolist())
    return {"label": None, "sides": {"completion": text}}


def _pair(tokenizer: Any, data: RMDataset, at: int) -> jobs.Row:
    """verl marks no answer inside a side: what is not the prompt's tokens is the answer."""
    row = data[at]
    size = len(tokenizer(data.prompts[at])["input_ids"])
    sides = {}
    for number, name in enumerate(("chosen", "rejected")):
        ids = row["input_ids"][number][row["attention_mask"][number].bool()].tolist()
        sides[name] = jobs.side(tokenizer, ids, [place >= size for place in range(len(ids))])
    return {"label": None, "sides": sides}


def _prompt(tokenizer: Any, processor: Any, row: dict[str, Any]) -> jobs.Row:
    text = (processor or tokenizer).apply_chat_template(row["raw_prompt"], add_generation_prompt=True, tokenize=False)
    return {"label": None, "sides": {"prompt": {"context": text, "trained": ""}}}


def _rows_in(path: Path, scratch: Path) -> int:
    builder = {".parquet": "parquet"}.get(path.suffix, "json")
    return len(datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=str(scratch / "count")))


if __name__ == "__main__":
    jobs.run("verl", load)
