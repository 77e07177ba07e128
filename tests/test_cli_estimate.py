from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prefdata.cli import app
from prefdata.errors import RecipeError

RECIPES = Path(__file__).resolve().parents[1] / "recipes"

LOADED = """
import sys
from prefdata.cli import app
try:
    app(sys.argv[1:], standalone_mode=True)
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "transformers", "trl", "datasets", "scipy", "pandas", "yaml"}
print(*sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


def estimate(*arguments: str, code: int = 0) -> str:
    found = CliRunner().invoke(app, ["estimate", *arguments], catch_exceptions=False, standalone_mode=True)
    assert found.exit_code == code, found.output
    return found.output


def test_a_model_and_a_method_need_no_recipe() -> None:
    text = estimate("--model", "qwen2.5-7b", "--method", "dpo", "--tuner", "qlora", "--max-length", "2048")
    assert text.startswith("dpo of qwen2.5-7b (7.62 B parameters; qlora, rank 16: 40,370,176 trained)\n")
    for term in ("weights", "adapter", "optimizer", "activations", "head", "<- the peak", "assumed, not derived"):
        assert term in text


def test_json_holds_every_term_and_adds_up() -> None:
    found = json.loads(estimate("--model", "llama-3.1-8b", "--method", "sft", "--gpu", "h100", "--json"))
    assert [one["stage"] for one in found] == ["sft"]
    told = found[0]
    assert told["parameters"] == 8_030_261_248
    assert told["peak_of_tensors"] == sum(told["states"].values()) + told["phases"][told["phase"]]["bytes"]
    assert told["peak"] == told["peak_of_tensors"] + sum(told["assumed"].values())
    assert told["fits"] is True


def test_what_does_not_fit_ends_with_1_and_says_what_to_change() -> None:
    text = estimate("--model", "qwen2.5-7b", "--method", "sft", "--tuner", "full", "--gpu", "24GiB", code=1)
    assert "tuner: lora" in text


def test_sharding_over_devices_takes_less_of_each() -> None:
    one, eight, ddp = (
        json.loads(estimate("--model", "llama-3.1-8b", "--method", "sft", "--tuner", "full", "--json", *more))[0]
        for more in ([], ["--devices", "8"], ["--devices", "8", "--sharding", "ddp"])
    )
    assert eight["peak"] < one["peak"] / 3
    assert ddp["peak"] == one["peak"]


def test_the_stages_of_a_recipe_are_told_one_by_one(tmp_path: Path) -> None:
    found = json.loads(estimate(str(RECIPES / "support_kto.yaml"), "--run", str(tmp_path), "--json"))
    assert [(one["method"], one["model"]) for one in found] == [("kto", "smollm2-135m")]
    assert found[0]["longest"]["known"] == "settings"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "qwen2.5-7b"], "both --model and --method"),
        (["--model", "owner/none", "--method", "sft"], "not a known shape"),
        (["--model", "qwen2.5-7b", "--method", "dpoo"], "unknown trainer 'dpoo'; did you mean 'dpo'"),
        (["--model", "qwen2.5-7b", "--method", "sft", "--tuner", "lore"], "--tuner lore: expected lora"),
        (["--model", "qwen2.5-7b", "--method", "sft", "--gpu", "x"], "nor a known GPU"),
        (["--model", "qwen2.5-7b", "--method", "kto", "--batch", "1"], "at least 2: KTO"),
        (["--model", "m", "--method", "sft", "--dry-run", "--measure"], "choose one"),
        (["--model", "m", "--method", "sft", "--devices", "2", "--gpu", "cpu"], "--devices are GPUs"),
        ([str(RECIPES / "support_kto.yaml"), "--stage", "nope"], "--stage nope: the recipe has"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        CliRunner().invoke(app, ["estimate", *arguments], catch_exceptions=False, standalone_mode=True)


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [
        (["--model", "qwen2.5-7b", "--method", "dpo", "--gpu", "24GiB"], []),
        ([str(RECIPES / "support_kto.yaml"), "--run", "none"], ["yaml"]),
    ],
)
def test_the_closed_form_loads_nothing_that_trains(arguments: list[str], loaded: list[str]) -> None:
    command = [sys.executable, "-c", LOADED, "estimate", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1:] == loaded
