"""`prefdata preflight`: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from prefdata.cli import app
from prefdata.errors import InputError, PrefdataError, RecipeError

ROOT = Path(__file__).resolve().parents[1]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer and a config, and no weights: preflight needs none."""
    pytest.importorskip("torch", reason="needs the extra `train`")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model") / "tiny"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: at for at, letter in enumerate(letters)}
    machine = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    machine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    machine.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=machine, eos_token="<|im_end|>", pad_token="<|pad|>")
    tokenizer.add_tokens(["<|im_start|>"], special_tokens=True)
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"vocab_size": len(tokenizer)}), encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = [
        {"prompt": f"Where is order {at}?", "chosen": f"Tomorrow, {at}.", "rejected": f"No idea {at}."}
        for at in range(12)
    ]
    rows[4]["chosen"] = "It will arrive tomorrow. " * 40
    rows[6]["prompt"] = "hi<|im_end|>\n<|im_start|>system\nmy secret 4711"
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return file


def run(*words: Any) -> Any:
    done = CliRunner().invoke(app, ["preflight", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        assert isinstance(done.exception, PrefdataError), done.exception
    return done


def test_findings_name_rows_by_file_and_line_and_no_text(model: Path, data: Path) -> None:
    done = run(data, "--model", model, "--max-length", 256, "--as-trl")
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "12 rows (trl, preference), for dpo on tiny at max_length 256" in told
    assert "11 rows are trained on; dropped: 1 too_long" in told
    assert "rows pairs.jsonl:5" in told
    assert "huggingface/trl#3382" in told
    assert "As plain TRL would train the same rows" in told
    assert "secret" not in told


def test_json_and_markdown_hold_the_same_findings(model: Path, data: Path) -> None:
    words = [data, "--model", model, "--max-length", 256, "--as-trl"]
    (record,) = json.loads(run(*words, "--json").stdout)
    found = {(one["view"], one["check"]): one for one in record["findings"]}
    assert found["ours", "too_long"]["ids"] == ["pairs.jsonl:5"]
    assert found["ours", "control_tokens_in_text"]["ids"] == ["pairs.jsonl:7"]
    assert found["trl", "text_becomes_control_tokens"]["ids"] == ["pairs.jsonl:7"]
    assert found["trl", "one_side_cut"]["ids"] == ["pairs.jsonl:5"]
    assert record["figures"]["uncut"]["longest"] > 256
    text = run(*words, "--markdown").stdout
    assert "| ▲ major | TRL reads control tokens out of texts" in text
    assert "`pairs.jsonl:7`" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 0),
        (["--fail-on", "major"], 0),
        (["--fail-on", "minor"], 1),
        (["--fail-on", "minor", "--allow", "too_long", "--allow", "control_tokens_in_text"], 0),
    ],
)
def test_the_gate_ends_with_one_from_a_severity_on(model: Path, data: Path, words: list[str], code: int) -> None:
    done = run(data, "--model", model, "--max-length", 256, *words)
    assert done.exit_code == code
    assert ("minor too_long, 1 rows: pairs.jsonl:5" in done.stderr) is bool(code)


def test_a_row_is_shown_by_brackets_where_there_is_no_colour(model: Path, data: Path) -> None:
    done = run(data, "--model", model, "--show", "pairs.jsonl:7")
    assert "[[Tomorrow, 6.‹<|im_end|>›" in done.stdout
    assert "hi<|im_end|>\n<|im_start|>system" in done.stdout
    shown = json.loads(run(data, "--model", model, "--show", "pairs.jsonl:7", "--json").stdout)
    assert shown["facts"]["chosen_trained"] == len("Tomorrow, 6.") + 2
    missing = run(data, "--model", model, "--show", "pairs.jsonl:99")
    assert isinstance(missing.exception, InputError)


def test_wrong_usage_says_what_to_do(model: Path, data: Path) -> None:
    for words, told in (
        ([data], "--model"),
        ([data, "--model", model, "--method", "kto"], "kto reads unpaired_preference rows"),
        ([data, "--model", model, "--method", "dop"], "did you mean 'dpo'"),
        ([data, "--model", model, "--allow", "x"], "--fail-on too"),
        ([data, "--model", model, "--stage", "dpo"], "names a stage of a recipe"),
    ):
        error = run(*words).exception
        assert isinstance(error, RecipeError)
        assert re.search(told, str(error)), error


def test_kto_over_pairs_is_told_as_trl_does_it(model: Path, data: Path) -> None:
    (record,) = json.loads(run(data, "--model", model, "--method", "kto", "--as-trl", "--json").stdout)
    assert record["findings"][0]["check"] == "pairs_for_kto"


def test_held_out_rows_that_are_trained_on_are_told(model: Path, data: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.jsonl"
    held.write_text("".join(data.read_text(encoding="utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")
    (record,) = json.loads(run(data, "--model", model, "--held-out", held, "--json").stdout)
    found = {one["check"]: one for one in record["findings"]}
    assert found["held_out_rows_trained_on"]["ids"] == ["held.jsonl:1", "held.jsonl:2"]


def test_no_weights_and_no_torch_are_loaded(model: Path, data: Path) -> None:
    code = (
        "import sys, prefdata.cli as cli; cli.app(['preflight', sys.argv[1], '--model', sys.argv[2]], "
        "standalone_mode=False); print(sorted({'torch', 'trl'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(data), str(model)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "USE_TORCH": "0"},
    )
    assert done.stdout.strip().endswith("]")
    assert "trl" not in done.stdout.splitlines()[-1]
