"""KTO on a run's own rows: TRL as it comes beside trainers.kto, on the very same batches, CPU.

    python benchmarks/kto.py runs/demo [--rounds 2] [--steps 2] [--batch 8] [--max-length 160] [--threads 2]

In each round every contender trains from the start model on the same batches in the same order, which is checked by a
hash of the token ids; every other round goes through the contenders backwards. The first step of each is not counted,
each other one is timed from its batch to its changed weights: model, tokenising and answers before and after are left
out. Both sides run the policy and the reference over the batch and over its KL pairs, in float32, LoRA of rank 8 on
all linear modules. The ratio is the median over steps of TRL's time by the contender's on the same batch. In CPU
seconds it says what the work costs where others use the machine too.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

LAYERS = 8
"""Last layers that carry the adapter where it is not on all."""

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""What all-linear comes to in the model used, by name, since PEFT takes layers with names only."""

FIRST = "TRL, all layers"


class Step(NamedTuple):
    """One training step."""

    batch: str
    """Hash of the token ids."""
    tokens: int
    """Tokens of the rows and of their KL pairs, without padding."""
    places: int
    """The same with padding."""
    wall: float
    cpu: float


class Shape(NamedTuple):
    """What both sides are told alike."""

    steps: int
    batch: int
    max_length: int


def cpu_seconds() -> float:
    """CPU seconds of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def watched() -> Iterator[list[Step]]:
    """The list that fills with every step that any KTOTrainer takes inside."""
    from transformers import TrainerCallback
    from trl import KTOTrainer

    steps: list[Step] = []
    begun: list[tuple[str, int, int, float, float]] = []
    build, step = KTOTrainer.__init__, KTOTrainer.training_step

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            batch, tokens, places, wall, cpu = begun.pop()
            steps.append(Step(batch, tokens, places, time.perf_counter() - wall, cpu_seconds() - cpu))

    def built(self: Any, *args: Any, **options: Any) -> None:
        build(self, *args, **options)
        self.add_callback(Clock())

    def stepped(self: Any, model: Any, inputs: Any, *rest: Any, **options: Any) -> Any:
        found = hashlib.sha256()
        for name in ("input_ids", "KL_input_ids", "completion_mask", "KL_completion_mask", "label"):
            found.update(inputs[name].numpy().tobytes())
        masks = [inputs[name] for name in ("attention_mask", "KL_attention_mask")]
        tokens, places = sum(int(one.sum()) for one in masks), sum(one.numel() for one in masks)
        begun.append((found.hexdigest(), tokens, places, time.perf_counter(), cpu_seconds()))
        return step(self, model, inputs, *rest, **options)

    KTOTrainer.__init__, KTOTrainer.training_step = built, stepped
    try:
        yield steps
    finally:
        KTOTrainer.__init__, KTOTrainer.training_step = build, step


def plain_trl(rows: pl.DataFrame, model: Path, *, shape: Shape, seed: int, layers: int | None) -> None:
    """KTOTrainer with its defaults, but float32, since a CPU has no bfloat16, and no gradient checkpointing."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoConfig
    from transformers.trainer_callback import PrinterCallback
    from trl import KTOConfig, KTOTrainer

    from prefdata.schema import RecordType
    from trainers.job import quiet
    from trainers.models import load_tokenizer
    from trainers.ordering import interleave
    from trainers.rows import encode_rows

    encoded = encode_rows(
        rows, load_tokenizer(model), RecordType.UNPAIRED, max_length=shape.max_length, system=None, name="rows"
    )
    order = interleave(
        encoded.labels,
        [len(row.prompt_ids) + len(row.completion_ids) for row in encoded.sides["completion"]],
        [str(row.completion_ids) for row in encoded.sides["completion"]],
        encoded.ids,
        batch=shape.batch,
        seed=seed,
    )
    data = [
        {
            "prompt": encoded.sides["completion"][at].prompt,
            "completion": encoded.sides["completion"][at].completion,
            "label": encoded.labels[at],
        }
        for at in order.rows[: shape.steps * shape.batch]
    ]
    depth = AutoConfig.from_pretrained(str(model), local_files_only=True).num_hidden_layers
    with tempfile.TemporaryDirectory() as scratch, quiet():
        trainer = KTOTrainer(
            model=str(model),
            args=KTOConfig(
                output_dir=scratch,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                max_steps=shape.steps,
                per_device_train_batch_size=shape.batch,
                max_length=shape.max_length,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                logging_steps=1,
                dataloader_pin_memory=False,
            ),
            train_dataset=Dataset.from_list(data),
            peft_config=LoraConfig(
                r=8,
                lora_alpha=16,
                target_modules=LINEAR if layers else "all-linear",
                layers_to_transform=list(range(depth - layers, depth)) if layers else None,
                task_type="CAUSAL_LM",
            ),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def ours(rows: pl.DataFrame, model: Path, *, shape: Shape, seed: int, layers: int | None) -> None:
    """The same through trainers.kto."""
    from trainers.kto import KTOSettings, train_kto

    settings = KTOSettings(
        per_device_batch=shape.batch,
        gradient_accumulation=1,
        max_steps=shape.steps,
        max_length=shape.max_length,
        lora_r=8,
        lora_alpha=16,
        lora_layers=layers,
        save_steps=0,
        seed=seed,
        report_to=(),
    )
    with tempfile.TemporaryDirectory() as scratch:
        train_kto(rows, None, model=model, output_dir=Path(scratch) / "stage", settings=settings)


CONTENDERS: dict[str, Callable[..., None]] = {
    FIRST: partial(plain_trl, layers=None),
    "prefdata, all layers": partial(ours, layers=None),
    f"TRL, last {LAYERS} layers": partial(plain_trl, layers=LAYERS),
    f"prefdata, last {LAYERS} layers": partial(ours, layers=LAYERS),
}


def measure(rows: pl.DataFrame, model: Path, *, shape: Shape, rounds: int) -> dict[str, list[Step]]:
    """Counted steps of each contender, the same batches at the same places in all lists."""
    found: dict[str, list[Step]] = {name: [] for name in CONTENDERS}
    for at in range(rounds):
        batches: dict[str, list[str]] = {}
        for name in list(CONTENDERS)[:: 1 if at % 2 == 0 else -1]:
            with watched() as steps:
                CONTENDERS[name](rows, model, shape=shape, seed=at)
            batches[name] = [step.batch for step in steps]
            found[name] += steps[1:]
            times = ", ".join(f"{step.wall:.2f} s ({step.cpu:.2f} CPU)" for step in steps[1:])
            print(f"round {at + 1} of {rounds}: {name}: {times}", file=sys.stderr, flush=True)
        other = [name for name in CONTENDERS if batches[name] != batches[FIRST] or len(batches[name]) != shape.steps]
        if other:
            sys.exit(f"round {at + 1}: {', '.join(other)} trained on other batches than {FIRST}; nothing is compared")
    return found


def table(found: dict[str, list[Step]]) -> str:
    """A line a contender, medians over the counted steps."""
    lines = [f"{'':26}{'s/step':>8}{'tokens/s':>10}{'ratio':>8}{'CPU s/step':>12}{'CPU ratio':>11}"]
    first = found[FIRST]
    for name, steps in found.items():
        ratio = statistics.median(one.wall / two.wall for one, two in zip(first, steps, strict=True))
        cpu_ratio = statistics.median(one.cpu / two.cpu for one, two in zip(first, steps, strict=True))
        lines.append(
            f"{name:26}{statistics.median(step.wall for step in steps):8.2f}"
            f"{statistics.median(step.tokens / step.wall for step in steps):10.0f}{ratio:8.2f}"
            f"{statistics.median(step.cpu for step in steps):12.2f}{cpu_ratio:11.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run directory with kept/")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2, help="counted steps of a contender in a round")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    files = sorted((options.run / "kept").glob("*.parquet"))
    if not files:
        sys.exit(f"{options.run}: no kept/*.parquet in it; make demo makes runs/demo")
    if options.rounds * options.steps < 4:
        sys.exit("--rounds times --steps: at least 4, a median of fewer says nothing")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    from trainers.models import pull

    torch.set_num_threads(options.threads)
    rows = pl.concat([pl.read_parquet(file) for file in files])
    rows = rows.filter(pl.col("label").is_not_null() & (pl.col("split") == "train")).drop("split")
    shape = Shape(steps=options.steps + 1, batch=options.batch, max_length=options.max_length)
    load = [os.getloadavg()[0]]
    found = measure(rows, pull("smollm2-135m"), shape=shape, rounds=options.rounds)
    load.append(os.getloadavg()[0])
    first = found[FIRST]
    tokens, places = sum(step.tokens for step in first), sum(step.places for step in first)
    print(
        f"{len(first)} counted steps each on the same batches of {options.batch} rows and their KL pairs; tokens a "
        f"step {min(step.tokens for step in first)} to {max(step.tokens for step in first)}, median "
        f"{statistics.median(step.tokens for step in first):.0f}, {1 - tokens / places:.2f} of all places padding; "
        f"{options.threads} threads, load {load[0]:.1f} before, {load[1]:.1f} after"
    )
    print(table(found))


if __name__ == "__main__":
    main()
