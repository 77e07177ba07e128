"""Loads exports with LLaMA-Factory's `get_dataset`: what is accepted, its label, the trained-on text.

    python load_llamafactory.py JOBS.json RESULTS.json

The export is named in its own dataset_info.json; the stage is sft, rm (pairs) or kto. Arguments go through
`get_train_args`, as from a YAML file of its users.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("DISABLE_VERSION_CHECK", "1")

import datasets
import jobs
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

STAGES = {"sft": "sft", "preference": "rm", "unpaired": "kto"}


def load(job: dict[str, Any], path: Path) -> dict[str, Any]:
    """Rows as the trainer of the job's stage gets them."""
    if job["type"] not in STAGES:
        return {"unsupported": "no stage reads prompts alone"}
    folder = next(place for place in path.parents if (place / "dataset_info.json").is_file())
    (name,) = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    scratch = Path(job["scratch"])
    vision = (Path(job["model"]) / "processor_config.json").is_file()
    model_args, data_args, training_args, _, _ = get_train_args(
        {
            "model_name_or_path": job["model"],
            "stage": STAGES[job["type"]],
            "do_train": True,
            "finetuning_type": "lora",
            "dataset_dir": str(folder),
            "dataset": name,
            "template": "qwen2_vl" if vision else "qwen",
            "cutoff_len": 4096,
            "overwrite_cache": True,
            "output_dir": str(scratch / "out"),
            "cache_dir": str(scratch / "cache"),
            "report_to": "none",
            "use_cpu": True,
            **job.get("settings", {}),
        }
    )
    module = load_tokenizer(model_args)
    tokenizer = module["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    data = get_dataset(template, model_args, data_args, training_args, stage=STAGES[job["type"]], **module)
    rows = []
    for row in data["train_dataset"]:
        if job["type"] == "preference":
            sides = {
                side: jobs.labelled(tokenizer, row[f"{side}_input_ids"], row[f"{side}_labels"])
                for side in ("chosen", "rejected")
            }
        else:
            sides = {"completion": jobs.labelled(tokenizer, row["input_ids"], row["labels"])}
        rows.append({"label": row.get("kto_tags"), "sides": sides})
    return {"rows_in": _rows_in(path, scratch), "rows": rows}


def _rows_in(path: Path, scratch: Path) -> int:
    builder = {".parquet": "parquet"}.get(path.suffix, "json")
    return len(datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=str(scratch / "count")))


if __name__ == "__main__":
    jobs.run("llamafactory", load)
