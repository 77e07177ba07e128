"""Speed and memory of training beside plain TRL: SFT, DPO and KTO with LoRA on real rows, on a CPU.

    python benchmarks/training.py [--rounds 5] [--steps 4] [--batch 4] [--max-length 192] [--threads 2]

Needs the model smollm2-135m (prefdata model pull smollm2-135m) and real rows in ../shared/data. In each round every
contender trains the same rows in the same order, each in a process of its own, every other round backwards; a hash of
the token ids of every batch shows that they are the same. The first step is not counted. Samples a second are counted
rows by the time from the end of the first step to the end of the last, loading and padding of batches among it; peak
memory is that of the whole process. "Start" is the time from loading the model to the end of the first step, without
imports: encoding, building the trainer, and what is computed of the reference beforehand. Ratios are medians over the
rounds of a contender's value by that of plain TRL in the same round. It prints Markdown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent

STORE = "PREFDATA_BENCHMARK_STORE"
"""Environment variable with the folder of the warm reference store."""


class Contender(NamedTuple):
    """One way to train."""

    method: str
    name: str
    against: str
    """Name of the contender that ratios are taken to."""
    ours: bool
    options: dict[str, Any]


PLAIN = "TRL"

CONTENDERS = (
    Contender("sft", PLAIN, PLAIN, False, {}),
    Contender("sft", "prefdata", PLAIN, True, {}),
    Contender("dpo", PLAIN, PLAIN, False, {}),
    Contender("dpo", "prefdata, no store", PLAIN, True, {"reference_store": "never", "beta": 0.1}),
    Contender("dpo", "TRL, its own precompute", PLAIN, False, {"precompute_ref_log_probs": True}),
    Contender("dpo", "prefdata, warm store", PLAIN, True, {"beta": 0.1}),
    Contender("kto", PLAIN, PLAIN, False, {}),
    Contender(
        "kto", "prefdata", PLAIN, True, {"reference_store": "never", "desirable_weight": 1.0, "undesirable_weight": 1.0}
    ),
)

WARM = "prefdata, warm store"

FILES = {
    "sft": ("llamafactory/alpaca_zh_demo.json", "prompt_completion"),
    "dpo": ("hh_rlhf/test.jsonl.gz", "preference"),
    "kto": ("llamafactory/kto_en_demo.json", "unpaired_preference"),
}


MEASURED = ("samples_a_second", "peak_mib", "start_s")


class Run(NamedTuple):
    """One contender in one round."""

    samples_a_second: float
    start_s: float
    peak_mib: float
    batches: list[str]
    last_loss: float


def one(contender: Contender, *, steps: int, batch: int, max_length: int, threads: int, seed: int, model: str) -> Run:
    """Trains in this process and measures it."""
    import torch
    import trl  # noqa: F401
    from transformers import Trainer, TrainerCallback

    sys.path.insert(0, str(HERE))
    import training_equal as equal

    from trainers.models import resolve

    torch.set_num_threads(threads)
    folder = resolve(model)
    shape = equal.Shape(steps=steps + 1, batch=batch, max_length=max_length, seed=seed)
    case = equal.Case(contender.method, *FILES[contender.method])
    rows = equal.chosen_rows(case, folder, shape)
    plain_rows = equal.plain_rows(rows, case.method)
    ends: list[float] = []
    batches: list[str] = []
    build, step = Trainer.__init__, Trainer.training_step

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    def built(self: Any, *args: Any, **options: Any) -> None:
        build(self, *args, **options)
        self.add_callback(Clock())

    def stepped(self: Any, model: Any, inputs: Any, *rest: Any, **options: Any) -> Any:
        found = hashlib.sha256()
        for name in ("input_ids", "KL_input_ids", "label"):
            if name in inputs:
                found.update(inputs[name].numpy().tobytes())
        batches.append(found.hexdigest()[:16])
        return step(self, model, inputs, *rest, **options)

    Trainer.__init__, Trainer.training_step = built, stepped
    begun = time.perf_counter()
    if contender.ours:
        options = dict(contender.options)
        if contender.name == WARM:
            options["reference_store"] = os.environ[STORE]
        history = equal.ours(case.method, rows, folder, shape, **options)
    else:
        history = equal.plain(case.method, plain_rows, folder, shape, **contender.options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Run(steps * batch / (ends[-1] - ends[0]), ends[0] - begun, peak, batches, float(history[-1]["loss"]))


def spawned(at: int, options: argparse.Namespace, *, seed: int, store: str) -> Run:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", str(at), "--seed", str(seed)]
    for name in ("steps", "batch", "max_length", "threads", "model"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, STORE: store})
    if done.returncode:
        sys.exit(f"{CONTENDERS[at].method}, {CONTENDERS[at].name}: {done.stderr.strip()[-2000:]}")
    return Run(**json.loads(done.stdout.strip().splitlines()[-1]))


def table(found: dict[int, list[Run]]) -> str:
    """A Markdown table, a line a contender: medians, and medians of the ratios in the same round."""
    lines = [
        "| method | | samples/s | ratio | peak MiB | ratio | start s |",
        "|---|---|---|---|---|---|---|",
    ]
    for at, runs in found.items():
        contender = CONTENDERS[at]
        base = found[_base(contender)]
        median = statistics.median
        speed = median(run.samples_a_second / other.samples_a_second for run, other in zip(runs, base, strict=True))
        memory = median(run.peak_mib / other.peak_mib for run, other in zip(runs, base, strict=True))
        rate, peak, start = (median(getattr(run, name) for run in runs) for name in MEASURED)
        lines.append(
            f"| {contender.method} | {contender.name} | {rate:.3f} | {speed:.2f} "
            f"| {peak:,.0f} | {memory:.2f} | {start:.1f} |"
        )
    return "\n".join(lines)


def verdicts(found: dict[int, list[Run]]) -> Iterable[str]:
    """What must hold: never below 0.98 of plain TRL, and 1.2 over a warm store of the reference."""
    for at, runs in found.items():
        contender, base = CONTENDERS[at], found[_base(CONTENDERS[at])]
        if not contender.ours:
            continue
        wanted = 1.2 if contender.name == WARM else 0.98
        pairs = zip(runs, base, strict=True)
        speed = statistics.median(run.samples_a_second / other.samples_a_second for run, other in pairs)
        verdict = "PASS" if speed >= wanted else "FAIL"
        yield f"{verdict} {contender.method}, {contender.name}: {speed:.2f}, at least {wanted}"


def _base(contender: Contender) -> int:
    return next(
        at for at, one in enumerate(CONTENDERS) if (one.method, one.name) == (contender.method, contender.against)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="counted steps of a contender in a round")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=192)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="smollm2-135m", help="another one shows that it works, and proves nothing")
    parser.add_argument("--methods", nargs="+", choices=list(FILES), default=list(FILES))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if options.one is not None:
        shape = {name: getattr(options, name) for name in ("steps", "batch", "max_length", "threads", "seed", "model")}
        print(json.dumps(one(CONTENDERS[options.one], **shape)._asdict()))
        return
    wanted = [at for at, contender in enumerate(CONTENDERS) if contender.method in options.methods]
    found: dict[int, list[Run]] = {at: [] for at in wanted}
    begun, load = time.perf_counter(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as store:
        for at in wanted:
            if CONTENDERS[at].name == WARM:
                spawned(at, options, seed=0, store=store)  # fills the store
        for round_ in range(options.rounds):
            batches: dict[str, dict[str, list[str]]] = {}
            for at in wanted[:: 1 if round_ % 2 == 0 else -1]:
                run = spawned(at, options, seed=round_, store=store)
                found[at].append(run)
                batches.setdefault(CONTENDERS[at].method, {})[CONTENDERS[at].name] = run.batches
                print(
                    f"round {round_ + 1} of {options.rounds}: {CONTENDERS[at].method}, {CONTENDERS[at].name}: "
                    f"{run.samples_a_second:.3f} samples/s, {run.peak_mib:,.0f} MiB, start {run.start_s:.1f} s, last "
                    f"loss {run.last_loss:.5f}",
                    file=sys.stderr,
                    flush=True,
                )
            for method, each in batches.items():
                if len({tuple(one) for one in each.values()}) != 1:
                    sys.exit(f"round {round_ + 1}: {method} was not trained on the same batches; nothing is compared")
    print(
        f"{Path(options.model).name}, LoRA of rank 8 on all linear layers, float32, {options.threads} threads; "
        f"{options.rounds} rounds of {options.steps} counted steps of {options.batch} rows, up to "
        f"{options.max_length} tokens; load {load:.1f} before, {os.getloadavg()[0]:.1f} after; "
        f"{(time.perf_counter() - begun) / 60:.0f} minutes"
    )
    print()
    print(table(found))
    print()
    print("\n".join(verdicts(found)))


if __name__ == "__main__":
    main()
