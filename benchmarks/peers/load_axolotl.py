"""Loads exports with Axolotl's prompt strategies and trainers: what is accepted, its label, the trained-on text.

    python load_axolotl.py JOBS.json RESULTS.json

A configuration goes through Axolotl's own validation, with the entry of the dataset as `axolotl_datasets.yaml` beside
the data says; its dataset code applies the strategy; for pairs and unary rows its trainers then tokenise, and rows with
pictures go through its collator.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"

import axolotl.utils.data.rl
import axolotl.utils.data.sft
import datasets
import jobs
import yaml
from axolotl.cli.config import load_cfg
from axolotl.common.datasets import load_datasets, load_preference_datasets
from axolotl.utils.dict import DictDefault

# the copy that it keeps for the next run is written by a process that imports all of Axolotl once more: a minute a job
axolotl.utils.data.rl.save_preprocessed_dataset = lambda *_: None
axolotl.utils.data.sft.save_preprocessed_dataset = lambda *_: None

ENTRIES: dict[str, dict[str, Any]] = {
    "sft": {"type": "chat_template"},
    "preference": {"type": "chat_template.default"},
    "unpaired": {"type": {"field_prompt": "prompt", "field_completion": "completion", "field_label": "label"}},
}
RL = {"sft": None, "preference": "dpo", "unpaired": "kto"}


def load(job: dict[str, Any], path: Path) -> dict[str, Any]:
    """Rows as the trainer of the job's type gets them."""
    if job["type"] not in ENTRIES:
        return {"unsupported": "prompts need a transform of one's own"}
    scratch = Path(job["scratch"])
    cfg = _config(job, path, scratch)
    given = _rows_in(path, scratch)
    if job["type"] == "sft":
        return {"rows_in": given, "rows": _pictures(cfg) if _sees(job) else _sft(cfg)}
    data = load_preference_datasets(cfg=cfg).train_dataset
    rows = _preference(cfg, data, scratch) if job["type"] == "preference" else _unpaired(cfg, data, scratch)
    return {"rows_in": given, "rows": rows}


def _config(job: dict[str, Any], path: Path, scratch: Path) -> DictDefault:
    kind = {".parquet": "parquet"}.get(path.suffix, "json")
    given = path.parent / "axolotl_datasets.yaml"
    told = yaml.safe_load(given.read_text(encoding="utf-8")) if given.is_file() else {}
    rl = told.get("rl", RL[job["type"]])
    (entry,) = told.get("datasets") or [{"ds_type": kind, "split": "train", **ENTRIES[job["type"]]}]
    entry["path"] = str(path)
    values = {
        "base_model": job["model"],
        "chat_template": "tokenizer_default",
        "datasets": [entry],
        "dataset_prepared_path": str(scratch / "prepared"),
        "output_dir": str(scratch / "out"),
        "sequence_len": 4096,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "num_epochs": 1,
        "learning_rate": 1e-5,
        "optimizer": "adamw_torch",
        "lr_scheduler": "constant",
        "sample_packing": False,
        "shuffle_merged_datasets": False,
        "val_set_size": 0,
        "bf16": False,
        "fp16": False,
        "tf32": False,
        "dataset_num_proc": 1,
        "is_preprocess": True,
        "skip_prepare_dataset": False,
    }
    if rl:
        values |= {"rl": rl, "remove_unused_columns": False}
    if _sees(job):
        values |= {
            "processor_type": "AutoProcessor",
            "chat_template": "qwen2_vl",
            "skip_prepare_dataset": True,
            "remove_unused_columns": False,
        }
    cfg = load_cfg(DictDefault(values))
    cfg.dataset_num_proc = None  # each worker process would import all of Axolotl again
    return cfg


def _sees(job: dict[str, Any]) -> bool:
    return (Path(job["model"]) / "processor_config.json").is_file()


def _pictures(cfg: DictDefault) -> list[jobs.Row]:
    """Rows that Axolotl leaves as they are until its collator for pictures makes a batch."""
    from axolotl.loaders import load_processor, load_tokenizer
    from axolotl.processing_strategies import get_processing_strategy
    from axolotl.utils.chat_templates import get_chat_template_from_config
    from axolotl.utils.collators.mm_chat import MultiModalChatDataCollator

    tokenizer = load_tokenizer(cfg)
    processor = load_processor(cfg, tokenizer=tokenizer)
    data = load_datasets(cfg=cfg).train_dataset
    strategy = get_processing_strategy(
        processor,
        get_chat_template_from_config(cfg, tokenizer=tokenizer),
        cfg.chat_template,
        roles_to_train=cfg.datasets[0].get("roles_to_train"),
        train_on_eos=cfg.datasets[0].get("train_on_eos"),
    )
    collator = MultiModalChatDataCollator(tokenizer, processing_strategy=strategy)
    rows = []
    for row in data:
        batch = collator([row])
        text = jobs.labelled(tokenizer, batch["input_ids"][0].tolist(), batch["labels"][0].tolist())
        rows.append({"label": None, "sides": {"completion": text}})
    return rows


def _sft(cfg: DictDefault) -> list[jobs.Row]:
    from axolotl.loaders import load_tokenizer

    tokenizer = load_tokenizer(cfg)
    data = load_datasets(cfg=cfg).train_dataset
    return [
        {"label": None, "sides": {"completion": jobs.labelled(tokenizer, row["input_ids"], row["labels"])}}
        for row in data
    ]


def _preference(cfg: DictDefault, data: datasets.Dataset, scratch: Path) -> list[jobs.Row]:
    from axolotl.core.trainers.dpo.args import AxolotlDPOConfig
    from axolotl.core.trainers.dpo.trainer import AxolotlDPOTrainer
    from axolotl.loaders import load_tokenizer

    tokenizer = load_tokenizer(cfg)
    args = AxolotlDPOConfig(output_dir=str(scratch / "out"), max_length=None, **_trainer_settings())
    trainer = AxolotlDPOTrainer(_model(cfg), args=args, train_dataset=data, processing_class=tokenizer)
    rows = []
    for row in trainer.train_dataset:
        batch = trainer.data_collator([row])
        sides = {name: _masked(tokenizer, batch, at) for at, name in enumerate(("chosen", "rejected"))}
        rows.append({"label": None, "sides": sides})
    return rows


def _unpaired(cfg: DictDefault, data: datasets.Dataset, scratch: Path) -> list[jobs.Row]:
    from axolotl.core.trainers import AxolotlKTOTrainer
    from axolotl.core.training_args import AxolotlKTOConfig
    from axolotl.loaders import load_tokenizer

    tokenizer = load_tokenizer(cfg)
    args = AxolotlKTOConfig(
        output_dir=str(scratch / "out"), max_length=None, per_device_train_batch_size=2, **_trainer_settings()
    )
    trainer = AxolotlKTOTrainer(_model(cfg), args=args, train_dataset=data, processing_class=tokenizer)
    rows = []
    for row in trainer.train_dataset:
        batch = trainer.data_collator([row, dict(row)])
        label = bool(batch["label"][0])
        rows.append({"label": label, "sides": {"completion": _masked(tokenizer, batch, 0, "completion_")}})
    return rows


def _trainer_settings() -> dict[str, Any]:
    return {"use_cpu": True, "bf16": False, "report_to": [], "disable_tqdm": True, "remove_unused_columns": False}


def _model(cfg: DictDefault) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(cfg.base_model)


def _masked(tokenizer: Any, batch: Any, at: int, prefix: str = "") -> dict[str, str]:
    """Row `at` of the batch without its padding, parted by the completion mask."""
    if f"{prefix}input_ids" not in batch:
        prefix = ""
    kept = batch[f"{prefix}attention_mask"][at].bool()
    ids = batch[f"{prefix}input_ids"][at][kept].tolist()
    if f"{prefix}labels" in batch:
        return jobs.labelled(tokenizer, ids, batch[f"{prefix}labels"][at][kept].tolist())
    return jobs.side(tokenizer, ids, batch["completion_mask"][at][kept].bool().tolist())


def _rows_in(path: Path, scratch: Path) -> int:
    builder = {".parquet": "parquet"}.get(path.suffix, "json")
    return len(datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=str(scratch / "count")))


if __name__ == "__main__":
    jobs.run("axolotl", load)
