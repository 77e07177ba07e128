from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefdata.errors import InputError, RecipeError
from trainers.memory.shapes import KNOWN, config_of, from_config, shape_of

PUBLISHED = {
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "mistral-7b-v0.3": 7_248_023_552,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen2.5-vl-3b": 3_754_622_976,
    "qwen2.5-vl-7b": 8_292_166_656,
    "llava-1.5-7b": 7_063_427_072,
}
"""Parameters as the models' own pages and safetensors say."""


def test_every_known_shape_has_the_parameters_that_are_published() -> None:
    assert {name: shape_of(name).parameters for name in KNOWN} == PUBLISHED


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("HuggingFaceTB/SmolLM2-135M", "smollm2-135m"),
        ("Qwen/Qwen2.5-7B@a09a354", "qwen2.5-7b"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5-vl-7b"),
        ("llava-hf/llava-1.5-7b-hf", "llava-1.5-7b"),
    ],
)
def test_a_hub_id_of_a_known_model_needs_nothing_on_disk(asked: str, known: str, tmp_path: Path) -> None:
    assert config_of(asked, root=tmp_path)[0] == known


def test_an_unknown_hub_id_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"owner/qwen2.5-8b: not a folder, not pulled.*did you mean 'qwen2.5-7b'"):
        shape_of("owner/qwen2.5-8b", root=tmp_path)


def test_a_pulled_model_is_read_from_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "hf" / "owner--little"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(KNOWN["smollm2-135m"]))
    assert shape_of("owner/little", root=tmp_path).parameters == PUBLISHED["smollm2-135m"]


def test_a_finished_stage_has_the_shape_of_what_it_was_trained_from(tmp_path: Path) -> None:
    base, sft, dpo = tmp_path / "base", tmp_path / "sft", tmp_path / "dpo"
    for folder in (base, sft, dpo):
        folder.mkdir()
    (base / "config.json").write_text(json.dumps(KNOWN["qwen2.5-0.5b"]))
    (sft / "stage.json").write_text(json.dumps({"model": str(base), "parent": None}))
    (dpo / "stage.json").write_text(json.dumps({"model": None, "parent": {"path": "../sft"}}))
    assert shape_of(dpo).parameters == PUBLISHED["qwen2.5-0.5b"]


def test_a_family_that_the_formulas_do_not_describe_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"model_type mixtral; the closed form knows llama.*qwen2"):
        from_config({"model_type": "mixtral"}, name="m")


def test_a_config_without_sizes_is_refused() -> None:
    with pytest.raises(InputError, match="lacks a size that every decoder has"):
        from_config({"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2}, name="m")
