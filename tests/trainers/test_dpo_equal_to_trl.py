"""With no option of ours on, DPO and KTO take the very steps of a plain script over TRL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trainers.dpo import DPOSettings, train_dpo
from trainers.kto import KTO, KTOSettings, train_kto
from trainers.rows import encode_rows

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

STEPS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 4,
    "gradient_accumulation": 2,
    "max_length": 128,
    "save_steps": 0,
    "samples": 0,
    "report_to": (),
    "reference_store": "never",
}


def plain(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": one["role"], "content": one["content"]} for one in messages]


def trl_losses(
    method: str, model: Path, rows: list[dict[str, Any]], folder: Path, tuner: str, **options: Any
) -> list[float]:
    """What somebody writes who trains with TRL alone."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

    from trainers.job import quiet

    config, kind = {"dpo": (DPOConfig, DPOTrainer), "kto": (KTOConfig, KTOTrainer)}[method]
    lora = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    with quiet():
        trainer = kind(
            model=str(model),
            args=config(
                output_dir=str(folder),
                learning_rate=1e-3,
                per_device_train_batch_size=4,
                gradient_accumulation_steps=2,
                num_train_epochs=2,
                max_length=128,
                logging_steps=1,
                seed=0,
                use_cpu=True,
                bf16=False,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                **options,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(model),
            peft_config=lora if tuner == "lora" else None,
        )
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def our_losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in json.loads((folder / "metrics.json").read_text())]


@pytest.mark.parametrize("tuner", ["lora", "full"])
def test_dpo_takes_the_steps_of_plain_trl(
    tiny_model: Path, tmp_path: Path, support_pairs: pl.DataFrame, tuner: Any
) -> None:
    settings = DPOSettings(**STEPS, epochs=2.0, beta=0.1, tuner=tuner)
    stage = train_dpo(support_pairs, None, model=tiny_model, output_dir=tmp_path / "ours", settings=settings)
    rows = [
        {side: plain(row[side]) for side in ("prompt", "chosen", "rejected")}
        for row in support_pairs.iter_rows(named=True)
    ]
    theirs = trl_losses("dpo", tiny_model, rows, tmp_path / "trl", tuner, beta=0.1)
    assert len(theirs) == 4
    assert our_losses(stage.folder) == pytest.approx(theirs, abs=1e-5)


def test_kto_takes_the_steps_of_plain_trl_on_rows_in_its_order(
    tiny_model: Path, tmp_path: Path, support_rows: pl.DataFrame
) -> None:
    from trainers.models import load_tokenizer
    from trainers.rendering import protect

    settings = KTOSettings(**STEPS, epochs=2.0)
    stage = train_kto(support_rows, None, model=tiny_model, output_dir=tmp_path / "ours", settings=settings)
    encoded = encode_rows(
        support_rows, protect(load_tokenizer(tiny_model)), KTO.type, max_length=128, system=None, name="rows"
    )
    given = support_rows.to_dicts()
    rows = [
        {
            "prompt": plain(given[at]["prompt"]),
            "completion": plain(given[at]["completion"]),
            "label": given[at]["label"],
        }
        for at in KTO().arrange(encoded, settings).rows
    ]
    theirs = trl_losses("kto", tiny_model, rows, tmp_path / "trl", "lora")
    assert len(theirs) == 6
    assert our_losses(stage.folder) == pytest.approx(theirs, abs=1e-5)
