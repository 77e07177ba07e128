"""What a model is tuned by: which weights move, what they are rounded to, and what is said where that cannot be."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from prefdata.errors import MissingExtraError, RecipeError, ResourceError
from prefdata.schema import MESSAGES, RecordType, conform
from trainers.adapters import adapter_config, four_bits, require_tuner
from trainers.job import quiet
from trainers.kto import KTOSettings
from trainers.sft import SFTSettings, train_sft

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

LINEAR = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "gradient_accumulation": 1,
    "max_steps": 4,
    "max_length": 128,
    "save_steps": 0,
    "samples": 0,
    "n_bootstrap": 50,
}


def orders(numbers: range) -> pl.DataFrame:
    """A canonical frame of answered questions about orders."""

    def turn(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": text, "tool_calls": None}

    rows = [
        {
            "id": f"a{n}",
            "source": "test",
            "group": f"a{n}",
            "prompt": [turn("user", f"Where is order {n}?")],
            "completion": [turn("assistant", f"It will arrive tomorrow, thank you. {n}")],
        }
        for n in numbers
    ]
    return conform(pl.DataFrame(rows, schema_overrides={"prompt": MESSAGES, "completion": MESSAGES}), RecordType.SFT)


def plan(**settings: Any) -> Any:
    """As much of a plan as an adapter is decided by."""
    return SimpleNamespace(
        settings=SFTSettings(**settings),
        method=SimpleNamespace(task="CAUSAL_LM"),
        start=SimpleNamespace(name="tiny"),
        tokenizer=None,
    )


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    from trainers.models import load_model

    return load_model(tiny_model)


def adapted(model: Any, settings: dict[str, Any]) -> dict[str, int]:
    """Modules with an adapter: last part of the name -> how many of them."""
    import copy

    from peft import get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    with quiet():
        whole = get_peft_model(copy.deepcopy(model), adapter_config(plan(**settings), model))
    names = [name.rpartition(".")[2] for name, part in whole.named_modules() if isinstance(part, BaseTunerLayer)]
    return {name: names.count(name) for name in sorted(set(names))}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, dict.fromkeys(LINEAR, 2)),
        ({"lora_layers": 1}, dict.fromkeys(LINEAR, 1)),
        ({"lora_targets": ("q_proj", "v_proj")}, {"q_proj": 2, "v_proj": 2}),
        ({"lora_targets": ("q_proj",), "lora_layers": 1}, {"q_proj": 1}),
    ],
)
def test_the_adapter_sits_on_linear_layers_and_never_on_the_head(
    model: Any, settings: dict[str, Any], expected: dict[str, int]
) -> None:
    assert adapted(model, settings) == expected


def test_every_setting_of_the_adapter_reaches_peft(model: Any) -> None:
    settings = {"tuner": "dora", "lora_r": 8, "lora_alpha": 24, "lora_dropout": 0.1, "rslora": True}
    found = adapter_config(plan(**settings), model)
    assert (found.r, found.lora_alpha, found.lora_dropout, found.use_rslora, found.use_dora) == (8, 24, 0.1, True, True)
    plain = adapter_config(plan(), model)
    assert (plain.r, plain.lora_alpha, plain.lora_dropout, plain.use_rslora, plain.use_dora) == (
        16,
        32,
        0,
        False,
        False,
    )
    assert adapter_config(plan(tuner="full"), model) is None


def test_an_unknown_module_is_named_with_the_nearest(model: Any) -> None:
    message = r"lora_targets: the layers of tiny have no linear module 'q_prj'; did you mean 'q_proj'\?"
    with pytest.raises(RecipeError, match=message):
        adapter_config(plan(lora_targets=("q_prj", "v_proj")), model)


@pytest.mark.parametrize("head", ["lm_head", "model.lm_head", "embed_out"])
def test_an_adapter_on_the_head_is_refused(head: str) -> None:
    with pytest.raises(RecipeError, match="no head of the model: TRL multiplies by the head's own weight"):
        SFTSettings(lora_targets=(head,))


def test_dropout_is_refused_where_it_would_part_policy_and_reference() -> None:
    with pytest.raises(RecipeError, match=r"lora_dropout: 0\.1; expected 0: this method trains with all dropout"):
        KTOSettings(lora_dropout=0.1)
    assert SFTSettings(lora_dropout=0.1).lora_dropout == 0.1


def test_four_bits_are_nf4_with_doubly_quantised_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from trainers import adapters

    found = four_bits(torch.bfloat16)
    assert (found.load_in_4bit, found.bnb_4bit_quant_type, found.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert (found.bnb_4bit_compute_dtype, found.bnb_4bit_quant_storage) == (torch.bfloat16, torch.uint8)
    monkeypatch.setattr(adapters, "sharded", lambda: True)
    assert four_bits(torch.bfloat16).bnb_4bit_quant_storage == torch.bfloat16


def test_without_bitsandbytes_the_extra_is_named_and_nothing_is_written(
    tiny_model: Path, tmp_path: Path, answered: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r'pip install "prefdata\[qlora\]"'):
        train_sft(answered, None, model=tiny_model, output_dir=tmp_path / "s", tuner="qlora")
    assert not (tmp_path / "s").exists()
    require_tuner(SFTSettings(tuner="lora"))


def test_without_a_device_for_it_the_other_tuner_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(supported_torch_devices={"cuda"}))
    monkeypatch.setattr("transformers.utils.get_available_devices", lambda: frozenset(["cpu"]))
    with pytest.raises(ResourceError, match=r"needs a CUDA GPU.*`tuner: lora` trains on any machine"):
        require_tuner(SFTSettings(tuner="qlora"))


@pytest.fixture(scope="module")
def answered() -> pl.DataFrame:
    return orders(range(16))


def test_qlora_trains_over_rounded_weights_from_a_merged_parent(
    tiny_model: Path, tmp_path: Path, answered: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the extra `qlora`")
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    from bitsandbytes.nn import Linear4bit

    from trainers import sft
    from trainers.answering import reload
    from trainers.start import open_start

    held_out = orders(range(50, 58))
    first = train_sft(
        answered, held_out, model=tiny_model, output_dir=tmp_path / "first", settings=SFTSettings(**QUICK)
    )
    loaded: list[Any] = []
    real = sft.start_model

    def keep(plan: Any, dtype: Any) -> Any:
        loaded.append(real(plan, dtype))
        return loaded[-1]

    monkeypatch.setattr(sft, "start_model", keep)
    settings = SFTSettings(**{**QUICK, "tuner": "qlora"})
    second = train_sft(answered, held_out, model=first.folder, output_dir=tmp_path / "second", settings=settings)
    rounded = {name: part for name, part in loaded[0].named_modules() if isinstance(part, Linear4bit)}
    assert {name.rpartition(".")[2] for name in rounded if "base_layer" not in name and "lora" not in name} <= {*LINEAR}
    with quiet():
        merged = open_start(first.folder).load()
    weight = merged.model.layers[0].self_attn.q_proj.weight.data
    packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    layer = next(part for name, part in rounded.items() if "layers.0.self_attn.q_proj" in name)
    found = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    assert torch.equal(found, dequantize_4bit(packed, state))
    assert not torch.equal(found, weight)
    before, after = second.metrics["before"]["loss"]["value"], second.metrics["after"]["loss"]["value"]
    assert before == pytest.approx(first.metrics["after"]["loss"]["value"], abs=0.05)
    assert after < before - 0.01
    assert second.trained.name == "adapter"
    assert "trained over weights rounded to 4 bits (NF4)" in (second.folder / "README.md").read_text()
    assert reload(second.folder).answer([{"role": "user", "content": "Hi"}], max_new_tokens=2) is not None


def test_a_qlora_run_that_was_cut_off_ends_in_the_weights_of_an_unbroken_one(
    tiny_model: Path, tmp_path: Path, answered: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the extra `qlora`")
    import torch
    from safetensors.torch import load_file

    from trainers import callbacks

    settings = SFTSettings(**{**QUICK, "tuner": "qlora", "save_steps": 2})
    real = callbacks.Bar.on_step_end

    def cut(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        real(self, args, state, control, **rest)
        if state.global_step == 3:
            raise KeyboardInterrupt

    whole = train_sft(answered, None, model=tiny_model, output_dir=tmp_path / "whole", settings=settings)
    monkeypatch.setattr(callbacks.Bar, "on_step_end", cut)
    with pytest.raises(KeyboardInterrupt):
        train_sft(answered, None, model=tiny_model, output_dir=tmp_path / "cut", settings=settings)
    monkeypatch.setattr(callbacks.Bar, "on_step_end", real)
    again = train_sft(answered, None, model=tiny_model, output_dir=tmp_path / "cut", settings=settings)
    one, other = (load_file(stage.trained / "adapter_model.safetensors") for stage in (whole, again))
    assert {weight.dtype for weight in one.values()} == {torch.float32}
    assert {name: torch.equal(weight, other[name]) for name, weight in one.items()} == dict.fromkeys(one, True)
