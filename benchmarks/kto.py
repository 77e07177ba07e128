"""KTO on a run's own rows: TRL as it comes against trainers.kto, the same rows, steps, rank and length, CPU.

    python benchmarks/kto.py runs/support_kto [--steps 4] [--batch 8] [--threads 2]

Timed are training steps alone, after the model is loaded and the rows are tokenised; the first step of each is not
counted. Prints seconds a step and the ratio. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl


def clocked() -> tuple[Any, list[float]]:
    """A callback, and the list that it fills with the time of each step's end."""
    from transformers import TrainerCallback

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    return Clock(), ends


def plain_trl(rows: pl.DataFrame, model: Path, *, steps: int, batch: int, max_length: int) -> float:
    """Seconds a step of KTOTrainer with its defaults for LoRA, in float32 since a CPU has no bfloat16."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import KTOConfig, KTOTrainer

    clock, ends = clocked()
    half = steps * batch // 2
    mixed = pl.concat([rows.filter("label").head(half), rows.filter(~pl.col("label")).head(half)])
    mixed = mixed.with_columns(pl.int_range(pl.len()).over("label").alias("at")).sort("at", "label")
    data = [
        {
            "prompt": [{"role": turn["role"], "content": turn["content"]} for turn in prompt],
            "completion": [{"role": turn["role"], "content": turn["content"]} for turn in completion],
            "label": label,
        }
        for prompt, completion, label in mixed.select("prompt", "completion", "label").iter_rows()
    ]
    with tempfile.TemporaryDirectory() as scratch:
        config = KTOConfig(
            output_dir=scratch,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            max_steps=steps,
            per_device_train_batch_size=batch,
            max_length=max_length,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
        )
        KTOTrainer(
            model=str(model),
            args=config,
            train_dataset=Dataset.from_list(data),
            peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[clock],
        ).train()
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def ours(rows: pl.DataFrame, model: Path, *, steps: int, batch: int, max_length: int, layers: int | None) -> float:
    """Seconds a step of trainers.kto."""
    from trainers import kto_run
    from trainers.kto import KTOSettings, train_kto

    clock, ends = clocked()
    real = kto_run.Bar
    kto_run.Bar = lambda: clock  # type: ignore[assignment, misc]
    settings = KTOSettings(
        per_device_batch=batch,
        gradient_accumulation=1,
        max_steps=steps,
        max_length=max_length,
        lora_r=8,
        lora_alpha=16,
        lora_layers=layers,
        save_steps=0,
        report_to=(),
    )
    try:
        with tempfile.TemporaryDirectory() as scratch:
            train_kto(rows, None, model=model, output_dir=Path(scratch) / "stage", settings=settings)
    finally:
        kto_run.Bar = real  # type: ignore[misc]
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a finished run directory with kept/")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.steps < 2:
        sys.exit("--steps: at least 2, the first is not counted")
    import torch

    from trainers.models import pull

    torch.set_num_threads(options.threads)
    rows = pl.concat([pl.read_parquet(file) for file in sorted((options.run / "kept").glob("*.parquet"))])
    rows = rows.filter(pl.col("label").is_not_null() & (pl.col("split") == "train")).drop("split")
    model = pull("smollm2-135m")
    common = {"steps": options.steps, "batch": options.batch, "max_length": options.max_length}
    times = {
        "TRL, all layers": plain_trl(rows, model, **common),
        "prefdata, all layers": ours(rows, model, **common, layers=None),
        "prefdata, last 8 layers": ours(rows, model, **common, layers=8),
    }
    first = next(iter(times.values()))
    print(f"{'':26}{'s/step':>8}{'ratio':>8}")
    for name, seconds in times.items():
        print(f"{name:26}{seconds:8.2f}{first / seconds:8.2f}")


if __name__ == "__main__":
    main()
