"""With pictures and no option of ours on, SFT, DPO and KTO take the very steps of a plain script over TRL."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from trainers.dpo import DPOSettings, train_dpo
from trainers.kto import KTO, KTOSettings, train_kto
from trainers.sft import SFTSettings, train_sft

pytestmark = [pytest.mark.train, pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

STEPS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 2,
    "gradient_accumulation": 2,
    "max_length": 128,
    "save_steps": 0,
    "samples": 0,
    "report_to": (),
    "epochs": 2.0,
}

LANGUAGE = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def given(frame: pl.DataFrame, folder: Path, mark: str) -> list[dict[str, Any]]:
    """The rows as a script for TRL has them: pictures opened, which TRL puts before the text of the first turn."""
    from PIL import Image

    found = []
    for row in frame.iter_rows(named=True):
        sides = {
            side: [{"role": turn["role"], "content": turn["content"].replace(mark, "")} for turn in row[side]]
            for side in ("prompt", "completion", "chosen", "rejected")
            if side in row
        }
        images = [Image.open(folder / image["uri"]).convert("RGB") for image in row["images"]]
        found.append({"images": images, **sides, **({"label": row["label"]} if "label" in row else {})})
    return found


def plain_losses(method: str, model: Path, rows: list[dict[str, Any]], folder: Path, **options: Any) -> list[float]:
    """What somebody writes who trains with TRL alone."""
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoProcessor

    from trainers.job import quiet

    with quiet():
        trainer = getattr(trl, f"{method}Trainer")(
            model=str(model),
            args=getattr(trl, f"{method}Config")(
                output_dir=str(folder),
                learning_rate=1e-3,
                per_device_train_batch_size=2,
                gradient_accumulation_steps=2,
                num_train_epochs=2,
                max_length=None,
                logging_steps=1,
                seed=0,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                **options,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoProcessor.from_pretrained(model),
            peft_config=LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=LANGUAGE, task_type="CAUSAL_LM"),
        )
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def our_losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in json.loads((folder / "metrics.json").read_text())]


@pytest.fixture
def start(tiny_vlm: Path, coloured: Path, tmp_path: Path) -> dict[str, Any]:
    return {"model": tiny_vlm, "pictures": coloured, "output_dir": tmp_path / "ours"}


def test_sft_takes_the_steps_of_plain_trl(start: dict[str, Any], made: SimpleNamespace, tmp_path: Path) -> None:
    rows = made.answered(range(4))
    stage = train_sft(rows, None, **start, settings=SFTSettings(**STEPS))
    theirs = plain_losses("SFT", start["model"], given(rows, start["pictures"], made.MARK), tmp_path / "trl")
    assert len(theirs) == 4
    assert our_losses(stage.folder) == pytest.approx(theirs, abs=1e-5)


def test_dpo_takes_the_steps_of_plain_trl(start: dict[str, Any], made: SimpleNamespace, tmp_path: Path) -> None:
    rows = made.compared(range(4))
    theirs = plain_losses("DPO", start["model"], given(rows, start["pictures"], made.MARK), tmp_path / "trl", beta=0.1)
    for store in ("never", "always"):
        settings = DPOSettings(**STEPS, beta=0.1, reference_store=store)
        stage = train_dpo(rows, None, **{**start, "output_dir": tmp_path / store}, settings=settings)
        assert our_losses(stage.folder) == pytest.approx(theirs, abs=1e-5)


def test_kto_takes_the_steps_of_plain_trl_on_rows_in_its_order(
    start: dict[str, Any], made: SimpleNamespace, tmp_path: Path
) -> None:
    from trainers.start import open_start

    rows, settings = made.labelled(range(4)), KTOSettings(**STEPS)
    encoded = KTO().encode(rows, open_start(start["model"]).tokenizer(start["pictures"]), settings, name="rows")
    ordered = rows[KTO().arrange(encoded, settings).rows]
    theirs = plain_losses("KTO", start["model"], given(ordered, start["pictures"], made.MARK), tmp_path / "trl")
    for store in ("never", "always"):
        settings = KTOSettings(**STEPS, reference_store=store)
        stage = train_kto(rows, None, **{**start, "output_dir": tmp_path / store}, settings=settings)
        assert our_losses(stage.folder) == pytest.approx(theirs, abs=1e-5)
