"""What a vision tower adds to a step's memory, counted by hand; its parameters against those of a real model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import polars as pl
import pytest

from prefdata.errors import InputError
from prefdata.schema import IMAGE, MESSAGES
from trainers.memory import guessed, vision
from trainers.memory.estimate import estimate_step
from trainers.memory.report import estimate_stage
from trainers.memory.shapes import from_config, shape_of
from trainers.memory.terms import NF4_BYTES, Step, trained, weights
from trainers.sft import SFTSettings

TEXT = {
    "model_type": "llama",
    "vocab_size": 100,
    "hidden_size": 8,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
LLAVA = from_config(
    {
        "model_type": "llava",
        "text_config": TEXT,
        "vision_config": {
            "hidden_size": 6,
            "intermediate_size": 12,
            "num_hidden_layers": 3,
            "image_size": 28,
            "patch_size": 14,
        },
    },
    name="llava",
)
QWEN = from_config(
    {
        **{name: size for name, size in TEXT.items() if name != "model_type"},
        "model_type": "qwen2_5_vl",
        "vision_config": {
            "depth": 3,
            "hidden_size": 6,
            "intermediate_size": 10,
            "patch_size": 14,
            "spatial_merge_size": 2,
        },
    },
    name="qwen",
)
LORA = Step(method="dpo", tuner="lora", lora_r=2, batch=2, length=10, scored=4, pictured=4, compute_bytes=2)


def test_the_parameters_of_a_tower_are_counted_by_part() -> None:
    assert LLAVA.vision is not None
    assert QWEN.vision is not None
    clip = 4 * 36 + 4 * 6 + 2 * 6 * 12 + 12 + 6 + 4 * 6
    assert LLAVA.vision.layer == clip
    assert LLAVA.vision.tower == 3 * clip + 3 * 196 * 6 + 6 + 5 * 6 + 4 * 6
    assert LLAVA.vision.projector == 6 * 8 + 8 + 8 * 8 + 8
    gated = 4 * 36 + 4 * 6 + 3 * 6 * 10 + 2 * 10 + 6 + 2 * 6
    assert QWEN.vision.layer == gated
    assert QWEN.vision.tower == 3 * gated + 3 * 2 * 196 * 6
    assert QWEN.vision.projector == 6 + 24 * 24 + 24 + 24 * 8 + 8
    assert (LLAVA.vision.most, QWEN.vision.most) == (4, 16384)


def test_the_parameters_are_those_of_a_real_model(tiny_vlm: Path) -> None:
    with (tiny_vlm / "model.safetensors").open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    count = 0
    for name, facts in header.items():
        if name != "__metadata__":
            size = 1
            for one in facts["shape"]:
                size *= one
            count += size
    shape = shape_of(tiny_vlm)
    assert shape.parameters == count
    assert shape.vision is not None
    assert shape.vision.most == 4


def test_pictures_count_for_both_sides_of_a_pair_and_for_every_patch_of_a_token() -> None:
    assert LLAVA.vision is not None
    assert QWEN.vision is not None
    assert vision.patches(LLAVA.vision, LORA) == 4 * 4
    assert vision.patches(QWEN.vision, LORA) == 4 * 4 * 4
    assert vision.pixel_values(LLAVA.vision, LORA) == 16 * 3 * 196 * 4
    assert vision.pixel_values(QWEN.vision, LORA) == 64 * 3 * 2 * 196 * 4


def test_a_frozen_tower_keeps_nothing_but_its_inputs_under_checkpointing() -> None:
    assert LLAVA.vision is not None
    tower = LLAVA.vision
    checkpointed = dataclasses.replace(LORA, checkpointing=True)
    adapted = dataclasses.replace(LORA, lora_vision=True)
    stream = 16 * 6 * 2
    assert vision.saved(tower, LORA) == 0
    assert vision.saved(tower, checkpointed) == 3 * stream
    assert vision.saved(tower, adapted) == 3 * vision.layer_saved(tower, LORA) + stream
    assert trained(LLAVA, adapted) - trained(LLAVA, LORA) == 2 * (3 * (8 * 6 + 2 * 18) + (6 + 8) + (8 + 8))
    rounded = dataclasses.replace(LORA, tuner="qlora")
    linear = 2 * LLAVA.linear + 3 * tower.linear
    assert weights(LLAVA, rounded) == int(linear * NF4_BYTES) + (LLAVA.parameters - linear) * 2


def test_the_estimate_tells_of_the_tower_only_where_there_are_pictures() -> None:
    with_pictures = estimate_step(LLAVA, LORA)
    assert with_pictures.states["pictures"] == 16 * 3 * 196 * 4
    assert "forward pass of the vision tower" in with_pictures.phases
    without = estimate_step(LLAVA, dataclasses.replace(LORA, pictured=0))
    assert "pictures" not in without.states
    assert not any("tower" in phase for phase in without.phases)


def test_a_row_nobody_has_seen_may_be_all_pictures_and_one_that_is_known_counts_its_own() -> None:
    settings = SFTSettings(max_length=2048)
    unseen = estimate_stage("sft", settings, "qwen2.5-vl-7b")
    assert unseen.estimate.step.pictured == 2048
    assert "2048 of them of pictures" in "\n".join(unseen.lines())
    turn = {"role": "user", "content": "What is it?", "tool_calls": None}
    place = {"uri": "a.png", "side": "prompt", "message": 0, "part": 0}
    frame = pl.DataFrame(
        {"id": ["one", "two"], "prompt": [[turn], [turn]], "images": [[place, place], None]},
        schema_overrides={"prompt": MESSAGES, "images": pl.List(IMAGE)},
    )
    longest = guessed(frame, [], each=576)
    assert longest is not None
    assert (longest.id, longest.pictured, longest.tokens) == ("one", 1152, 1152 + 10)
    known = estimate_stage("sft", settings, "llava-1.5-7b", longest=longest).record()
    assert (known["longest"]["tokens"], known["longest"]["pictured"]) == (1162, 1152)


def test_a_config_without_a_size_of_its_tower_is_refused() -> None:
    with pytest.raises(InputError, match=r"lacks a size of its vision tower \('depth'\)"):
        from_config(
            {**TEXT, "model_type": "qwen2_5_vl", "vision_config": {"hidden_size": 6, "intermediate_size": 1}}, name="m"
        )
