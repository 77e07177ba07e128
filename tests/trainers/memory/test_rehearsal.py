"""The closed form beside two updates of the real trainer, on a model of a few hundred thousand weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainers.memory.estimate import estimate_step
from trainers.memory.shapes import from_config
from trainers.memory.terms import Step

pytest.importorskip("trl", reason="needs the extra `train`")

CONFIG = {
    "model_type": "qwen2",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
PROMPT, COMPLETION = 64, 96


def rehearsed(name: str, options: dict[str, Any], *, bfloat16: bool, **how: bool) -> int:
    from prefdata import catalogue
    from trainers.memory.rehearsal import MadeStart, rehearse

    settings = catalogue.load("trainer", name)(per_device_batch=2, **options)
    start = MadeStart(model="made", name="made", folder=Path("made"), config=CONFIG)
    method = catalogue.method(name)
    return rehearse(method, settings, start, prompt=PROMPT, completion=COMPLETION, bfloat16=bfloat16, **how).peak


def estimated(name: str, options: dict[str, Any], *, bfloat16: bool, padded: bool = False, gpu: bool = False) -> int:
    step = Step(
        method=name,
        tuner=options["tuner"],
        batch=2,
        length=PROMPT + COMPLETION,
        scored=COMPLETION,
        padded=padded,
        compute_bytes=2 if bfloat16 else 4,
        accumulation=options["gradient_accumulation"],
        checkpointing=options["gradient_checkpointing"],
        reference={"dpo": "copy" if options["tuner"] == "full" else "adapter"}.get(name, "none"),  # type: ignore[arg-type]
        device="cuda" if gpu else "cpu",
    )
    return estimate_step(from_config(CONFIG, name="made"), step).live


CASES = [
    # method, options, bfloat16, how
    ("sft", {"tuner": "full", "gradient_accumulation": 1, "gradient_checkpointing": False}, False, {"fake": False}),
    ("sft", {"tuner": "full", "gradient_accumulation": 1, "gradient_checkpointing": False}, False, {"fake": True}),
    (
        "dpo",
        {"tuner": "lora", "gradient_accumulation": 2, "gradient_checkpointing": True, "reference_store": "never"},
        True,
        {"fake": True, "padded": True, "as_on_gpu": True},
    ),
    pytest.param(
        "reward",
        {"tuner": "full", "gradient_accumulation": 1, "gradient_checkpointing": True},
        True,
        {"fake": True},
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("name", "options", "bfloat16", "how"), CASES)
def test_the_estimate_is_within_five_below_and_twenty_above_what_is_measured(
    name: str,
    options: dict[str, Any],
    bfloat16: bool,
    how: dict[str, bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    peak = rehearsed(name, options, bfloat16=bfloat16, **how)
    guess = estimated(
        name, options, bfloat16=bfloat16, padded=how.get("padded", False), gpu=how.get("as_on_gpu", False)
    )
    assert 0.95 <= guess / peak <= 1.2
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_live_bytes_rise_and_fall_with_tensors() -> None:
    import torch

    from trainers.memory.live import LiveBytes

    live = LiveBytes()
    with live:
        one = torch.ones(1000)
        view = one[10:]
        assert live.live == 4000
        two = one + 1
        del two
        assert (live.live, live.peak) == (4000, 8000)
        live.begin()
        assert live.peak == 4000
        del one
        assert live.live == 4000  # the view keeps the storage
        del view
    assert live.live == 0


def test_the_estimate_of_a_model_with_a_vision_tower_is_near_what_is_measured(tmp_path: Path, build_vlm: Any) -> None:
    import dataclasses

    from prefdata import catalogue
    from trainers.memory.devices import Memory
    from trainers.memory.rehearsal import measure
    from trainers.memory.report import estimate_stage

    folder = build_vlm(tmp_path / "llava", ["a few words"] * 9, pixels=140, hidden=128)
    settings = catalogue.load("trainer", "sft")(
        tuner="lora", max_length=160, per_device_batch=4, gradient_accumulation=1, gradient_checkpointing=True
    )
    estimate = estimate_stage(
        "sft", settings, folder, memory=Memory(name="cpu", bytes=0, kind="cpu", bfloat16=False)
    ).estimate
    found = measure(catalogue.method("sft"), settings, folder, dataclasses.replace(estimate.step, scored=16))
    assert (found.length, found.scored, found.pictured) == (160, 16, 100)
    step = dataclasses.replace(estimate.step, scored=16, pictured=100)
    assert 0.95 <= estimate_step(estimate.shape, step).live / found.peak <= 1.2


def test_shapes_alone_cannot_be_looked_at() -> None:
    from prefdata import catalogue
    from prefdata.errors import RecipeError
    from trainers.memory.rehearsal import dry_run

    settings = catalogue.load("trainer", "sft")()
    with pytest.raises(RecipeError, match="--measure can, with the model that reads pictures"):
        dry_run(
            catalogue.method("sft"),
            settings,
            "qwen2.5-vl-7b",
            Step(method="sft", tuner="lora", batch=1, length=8, scored=4),
        )
