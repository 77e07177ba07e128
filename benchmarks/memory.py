"""Estimated against measured peak memory of a training step, on the cases of memory_cases.json.

    python benchmarks/memory.py                      # estimates alone, at once
    python benchmarks/memory.py --measure            # runs every case: minutes, up to 3 GB; prints the ratios
    python benchmarks/memory.py --measure --only NAME --out results.json

How each case is measured is written in memory_cases.json and benchmarks/memory.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from trainers.memory.estimate import Estimate, estimate_step
from trainers.memory.shapes import from_config
from trainers.memory.terms import Step

CASES = json.loads((Path(__file__).parent / "memory_cases.json").read_text(encoding="utf-8"))
MIB = 1 << 20


def estimated(case: dict[str, Any], device: str = "cpu", *, padded: bool = False) -> Estimate:
    """The closed form's answer to a case."""
    method = case["method"]
    sampled = case["batch"] * case["accumulation"] if method == "grpo" else 0
    step = Step(
        method=method,
        tuner=case["tuner"],
        batch=case["batch"],
        length=case["prompt_tokens"] + case["completion_tokens"],
        scored=case["completion_tokens"],
        compute_bytes=2 if case["dtype"] == "bfloat16" else 4,
        lora_r=case.get("lora_r", 16),
        accumulation=case["accumulation"],
        checkpointing=case["checkpointing"],
        reference=case.get("reference") or ("adapter" if method in ("dpo", "kto") else "none"),
        generations=sampled,
        padded=padded,
        device=device,  # type: ignore[arg-type]
    )
    return estimate_step(from_config(CASES["models"][case["model"]], name=case["model"]), step)


def measured(case: dict[str, Any], *, fake: bool, padded: bool = False, as_on_gpu: bool = False) -> int:
    """The peak of live bytes of the second update of the real trainer."""
    from prefdata.catalogue import load, method
    from trainers.memory.rehearsal import MadeStart, rehearse

    options: dict[str, Any] = {}
    if "generations" in case:
        options |= {"num_generations": case["generations"], "beta": case["beta"], "rewards": {"length": {"max": 9}}}
        options["max_completion_length"] = case["completion_tokens"]
    if case["method"] in ("dpo", "kto"):
        options["reference_store"] = "always" if case.get("reference") == "store" else "never"
    settings = load("trainer", case["method"])(
        tuner=case["tuner"],
        lora_r=case.get("lora_r", 16),
        per_device_batch=case["batch"],
        gradient_accumulation=case["accumulation"],
        gradient_checkpointing=case["checkpointing"],
        **options,
    )
    name = case["model"]
    found = rehearse(
        method(case["method"]),
        settings,
        MadeStart(model=name, name=name, folder=Path(name), config=CASES["models"][name]),
        prompt=case["prompt_tokens"],
        completion=case["completion_tokens"],
        bfloat16=case["dtype"] == "bfloat16",
        fake=fake,
        padded=padded,
        as_on_gpu=as_on_gpu,
    )
    return found.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="run the cases")
    parser.add_argument("--fake", action="store_true", help="measure all cases on shapes alone")
    parser.add_argument("--gpu", action="store_true", help="on shapes alone, the head as a GPU's kernels work on it")
    parser.add_argument("--padded", action="store_true", help="every other row is shorter, so that a mask is needed")
    parser.add_argument("--only", action="append", help="names of cases")
    parser.add_argument("--held-out", action="store_true", help="the held-out cases in place of the others")
    parser.add_argument("--out", type=Path, help="JSON file that results are added to")
    given = parser.parse_args()
    print(f"{'case':26} {'how':5} {'estimated':>12} {'measured':>12} {'ratio':>6} {'seconds':>8}  phase")
    for case in CASES["held_out" if given.held_out else "cases"]:
        if given.only and case["id"] not in given.only:
            continue
        guess = estimated(case, "cuda" if given.gpu else "cpu", padded=given.padded)
        line = f"{case['id']:26} {{how:5}} {guess.live / MIB:8.1f} MiB {{rest}}  {guess.phase}"
        if not given.measure:
            print(line.format(how="", rest=" " * 29))
            continue
        fake = given.fake or given.gpu or case["measured"] == "fake"
        how = ("gpu" if given.gpu else "fake" if fake else "real") + ("+" if given.padded else "")
        begun = time.monotonic()
        peak = measured(case, fake=fake, padded=given.padded, as_on_gpu=given.gpu)
        took = time.monotonic() - begun
        print(line.format(how=how, rest=f"{peak / MIB:8.1f} MiB {guess.live / peak:6.3f} {took:8.1f}"), flush=True)
        if given.out:
            known = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
            known[f"{case['id']} {how}"] = {"measured": peak, "estimated": guess.live, "phase": guess.phase}
            given.out.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
