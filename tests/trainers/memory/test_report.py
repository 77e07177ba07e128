from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from prefdata.errors import RecipeError
from prefdata.schema import MESSAGES, RecordType, conform
from trainers.dpo import DPOSettings
from trainers.grpo import GRPOSettings
from trainers.kto import KTOSettings
from trainers.memory import Longest, Memory, estimate_stage, guessed, memory_of
from trainers.memory.devices import GIB, smallest
from trainers.memory.shapes import shape_of
from trainers.memory.stages import step_of
from trainers.memory.suggest import together
from trainers.sft import SFTSettings

GPU = memory_of("h100")
CPU = Memory(name="here", bytes=8 * GIB, kind="cpu", bfloat16=False)


@pytest.mark.parametrize(
    ("name", "size", "bfloat16"),
    [
        ("24GiB", 24 * GIB, True),
        ("80GB", 80 * 10**9, True),
        ("24", 24 * GIB, True),
        ("H100", int(79.1 * GIB), True),
        ("t4", int(14.6 * GIB), False),
    ],
)
def test_a_gpu_is_named_or_sized(name: str, size: int, bfloat16: bool) -> None:
    found = memory_of(name)
    assert (found.bytes, found.bfloat16, found.kind) == (size, bfloat16, "cuda")


def test_this_machine_has_memory_and_computes_in_float32() -> None:
    found = memory_of("cpu")
    assert (found.kind, found.bfloat16) == ("cpu", False)
    assert found.bytes > 1 << 28


def test_an_unknown_gpu_is_refused_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"--gpu h10O.*did you mean 'h100'"):
        memory_of("h10O")


def test_the_smallest_gpu_is_one_that_leaves_the_driver_its_share() -> None:
    assert smallest(10 * GIB) == 16
    assert smallest(int(23.9 * GIB)) == 32
    assert smallest(500 * GIB) is None


def test_settings_become_the_step_that_the_device_makes_of_them() -> None:
    gpu, cpu = (step_of("sft", SFTSettings(), place) for place in (GPU, CPU))
    assert (gpu.compute_bytes, gpu.checkpointing, gpu.device) == (2, True, "cuda")
    assert (cpu.compute_bytes, cpu.checkpointing, cpu.device) == (4, False, "cpu")
    assert (gpu.length, gpu.scored) == (1024, 1024)  # nothing is known of the rows
    assert step_of("sft", SFTSettings(), memory_of("t4")).compute_bytes == 4
    assert step_of("sft", SFTSettings(args={"optim": "adamw_8bit"}), GPU).optimizer == "adamw_8bit"


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        (DPOSettings(), "adapter"),
        (DPOSettings(tuner="full"), "copy"),
        (DPOSettings(tuner="full", reference_store="always"), "store"),
        (DPOSettings(reference_store="folder"), "store"),
        (KTOSettings(reference_store="never"), "adapter"),
    ],
)
def test_the_reference_is_where_the_settings_put_it(settings: DPOSettings, reference: str) -> None:
    assert step_of("dpo", settings, GPU).reference == reference


def test_a_batch_of_grpo_is_generated_as_a_whole() -> None:
    step = step_of("grpo", GRPOSettings(per_device_batch=4, gradient_accumulation=8, max_length=512), GPU)
    assert (step.generations, step.length, step.scored) == (32, 512, 256)
    seen = Longest(id="r", tokens=40, scored=0, known="tokenised")
    step = step_of("grpo", GRPOSettings(max_length=512), GPU, longest=seen)
    assert (step.length, step.scored) == (40 + 256, 256)
    copied = step_of("grpo", GRPOSettings(tuner="full", beta=0.1), GPU)
    assert copied.reference == "copy"


def test_the_longest_row_sets_the_length_and_is_named() -> None:
    seen = Longest(id="r7", tokens=300, scored=120, known="tokenised")
    report = estimate_stage("sft", SFTSettings(), "qwen2.5-0.5b", memory=GPU, longest=seen)
    assert (report.estimate.step.length, report.estimate.step.scored) == (300, 120)
    assert report.record()["longest"] == {"id": "r7", "tokens": 300, "scored": 120, "known": "tokenised"}
    assert any("300 tokens, 120 of them scored (r7, tokenised)" in line for line in report.lines())
    cut = estimate_stage("sft", SFTSettings(max_length=64), "qwen2.5-0.5b", memory=GPU, longest=seen)
    assert (cut.estimate.step.length, cut.estimate.step.scored) == (64, 64)


def test_tokens_of_rows_are_estimated_from_their_letters() -> None:
    def turns(*contents: str) -> list[dict[str, str | None]]:
        return [{"role": "user", "content": text, "tool_calls": None} for text in contents]

    rows = [
        {"id": "short", "source": "s", "group": "s", "prompt": turns("abc"), "completion": turns("abcdef")},
        {"id": "wide", "source": "s", "group": "w", "prompt": turns("您好您好", "ab"), "completion": turns("ab\n")},
    ]
    frame = pl.DataFrame(rows, schema_overrides={"prompt": MESSAGES, "completion": MESSAGES})
    frame = conform(frame, RecordType.SFT)
    found = guessed(frame, ["completion"])
    # four wide letters and the turn; one token of two letters and the turn; one, a line break and the turn
    assert found == Longest(id="wide", tokens=(4 + 6) + (1 + 6) + (1 + 1 + 6), scored=8, known="estimated")
    # and a system turn of two tokens before prompts that have none
    assert guessed(frame, [], system="abcdef") == Longest(id="wide", tokens=17 + 8, scored=0, known="estimated")
    assert guessed(frame.clear(), ["completion"]) is None


def test_what_does_not_fit_comes_with_what_to_change_in_order() -> None:
    report = estimate_stage("dpo", DPOSettings(tuner="full"), "qwen2.5-7b", memory=memory_of("24GiB"))
    assert report.fits is False
    changes = [one.change for one in report.suggestions]
    assert changes == [
        "per_device_batch: 2 with gradient_accumulation: 8",
        "per_device_batch: 1 with gradient_accumulation: 16",
        "reference_store: always",
        "tuner: lora",
        *changes[4:],
    ]
    assert [one.fits for one in report.suggestions[:4]] == [False, False, False, True]
    text = "\n".join(report.lines())
    assert "does not fit 24GiB (24.00 GiB)" in text
    assert "tuner: lora" in text


def test_a_model_whose_weights_fit_no_one_device_is_not_said_to_fit_spread_over_several() -> None:
    report = estimate_stage("sft", SFTSettings(tuner="qlora"), "llama-3.1-70b", memory=memory_of("24GiB"))
    assert report.suggestions
    assert not any(one.fits for one in report.suggestions)
    assert "no change that is known here makes it fit" in "\n".join(report.lines())


def test_spread_weights_count_whole_at_the_start() -> None:
    spread: dict[str, Any] = {"devices": 8, "sharding": "fsdp2"}
    report = estimate_stage("sft", SFTSettings(tuner="full"), "qwen2.5-7b", **spread)
    assert report.estimate.phase == "start, weights still whole"
    assert report.estimate.live == 4 * shape_of("qwen2.5-7b").parameters


def test_reward_models_that_score_answers_are_counted_whole() -> None:
    settings = GRPOSettings(rewards={"reward_model": {"model": "reward"}})
    alone = estimate_stage("grpo", settings, "smollm2-135m")
    scored = estimate_stage("grpo", settings, "smollm2-135m", scored_by=["smollm2-135m"])
    shape = shape_of("smollm2-135m")
    assert scored.estimate.states["reward models"] == 4 * (shape.body + shape.embedding + shape.hidden)
    assert scored.estimate.live - alone.estimate.live == scored.estimate.states["reward models"]


def changes(method: str, settings: Any, model: str, memory: Memory, **spread: Any) -> list[str]:
    return [one.change for one in estimate_stage(method, settings, model, memory=memory, **spread).suggestions]


def test_devices_that_are_there_share_weights_out_before_less_is_trained() -> None:
    spread: dict[str, Any] = {"devices": 8, "sharding": "none"}
    found = changes("dpo", DPOSettings(tuner="full"), "llama-3.1-8b", memory_of("80GB"), **spread)
    assert found[2:] == [
        "reference_store: always",
        "fsdp2 over the 8 devices",
        "per_device_batch: 4 with gradient_accumulation: 4, which fits again",
    ]
    spread = {"devices": 2, "sharding": "zero2"}
    settings = SFTSettings(tuner="full", per_device_batch=1, gradient_accumulation=1)
    found = changes("sft", settings, "llama-3.1-8b", memory_of("70GiB"), **spread)
    assert found == ["fsdp2 over the 2 devices"]


def test_more_devices_accumulate_less_so_that_an_update_stays_the_same() -> None:
    settings = SFTSettings(tuner="qlora", per_device_batch=1, gradient_accumulation=16, lora_r=1024)
    report = estimate_stage("sft", settings, "llama-3.1-8b", memory=memory_of("16GiB"))
    assert [one.change for one in report.suggestions] == [
        "2 devices with fsdp2, gradient_accumulation: 8",
        "4 devices with fsdp2, gradient_accumulation: 4",
    ]
    assert together(report.suggestions) == "4 devices with fsdp2; per_device_batch: 1 with gradient_accumulation: 4"


def test_processes_on_one_cpu_are_not_said_to_help() -> None:
    found = changes("sft", SFTSettings(tuner="full"), "qwen2.5-7b", CPU)
    assert found
    assert not any("devices" in one for one in found)


def test_batches_that_are_no_power_of_two_get_smaller_too() -> None:
    tight = Memory(name="tight", bytes=1 << 28)
    sft = changes("sft", SFTSettings(per_device_batch=6, gradient_accumulation=1), "smollm2-135m", tight)
    assert sft[:2] == [
        "per_device_batch: 3 with gradient_accumulation: 2",
        "per_device_batch: 1 with gradient_accumulation: 6",
    ]
    kto = changes("kto", KTOSettings(per_device_batch=3, gradient_accumulation=4), "smollm2-135m", tight)
    assert kto[0] == "per_device_batch: 2 with gradient_accumulation: 6"
    assert not kto[1].startswith("per_device_batch")


def test_without_a_device_the_smallest_gpu_is_told() -> None:
    report = estimate_stage("sft", SFTSettings(), "qwen2.5-7b")
    assert (report.fits, report.suggestions) == (None, [])
    assert "a GPU of 24 GB is enough" in report.lines()[-1] or "is enough" in report.lines()[-1]
    assert report.record()["smallest_gpu_gb"] in (24, 32)
