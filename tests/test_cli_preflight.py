"""`prefdata preflight`: what it prints, and how it ends."""

from __future__ import annotations

import json
import re
import shlex
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
        ([data, "--fail-on", "major", "--allow", "to_long"], "no such finding; did you mean 'too_long'"),
        ([data, "--model", model, "--stage", "dpo"], "belong to a recipe"),
        ([data, "--model", model, "--run", "runs/demo"], "belong to a recipe"),
        ([ROOT / "recipes" / "support_kto.yaml", "--held-out", data], "leave out --held-out"),
    ):
        error = run(*words).exception
        assert isinstance(error, RecipeError)
        assert re.search(told, str(error)), error


def test_prompts_are_examined_without_rewards(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": [{"role": "user", "content": "Write a poem"}]}\n' * 2, encoding="utf-8")
    (record,) = json.loads(run(file, "--model", model, "--as-trl", "--json").stdout)
    assert (record["method"], record["rows"]) == ("grpo", 2)
    assert [one["check"] for one in record["findings"]] == ["duplicate_rows"]
    assert "Write a poem" in run(file, "--model", model, "--show", "prompts.jsonl:2").stdout


def test_nothing_left_is_told_and_not_a_crash(model: Path, data: Path) -> None:
    done = run(data, "--model", model, "--max-length", 16, "--as-trl", "--fail-on", "critical")
    assert done.exit_code == 1
    assert "critical no_rows_left" in done.stderr


def test_kto_over_pairs_is_told_as_trl_does_it(model: Path, data: Path) -> None:
    (record,) = json.loads(run(data, "--model", model, "--method", "kto", "--as-trl", "--json").stdout)
    assert record["findings"][0]["check"] == "pairs_for_kto"


def test_held_out_rows_that_are_trained_on_are_told(model: Path, data: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.jsonl"
    held.write_text("".join(data.read_text(encoding="utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")
    (record,) = json.loads(run(data, "--model", model, "--held-out", held, "--json").stdout)
    found = {one["check"]: one for one in record["findings"]}
    assert found["held_out_rows_trained_on"]["ids"] == ["held.jsonl:1", "held.jsonl:2"]


PAIRS = ROOT / "recipes" / "datasets" / "pairs.jsonl"
PAGE = (ROOT / "docs" / "preflight.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_commands_and_the_code_of_the_page_run(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert len(blocks("sh")) >= 4
    for command in blocks("sh"):
        words = shlex.split(command.replace("smollm2-135m", str(model)))
        assert words[:2] == ["prefdata", "preflight"]
        done = run(*words[2:])
        assert done.exit_code == 0, done.output
        assert done.stdout
    for code in blocks("python"):
        exec(compile(code.replace("smollm2-135m", str(model)), "docs/preflight.md", "exec"), {})


def test_every_family_of_the_checks_is_on_the_page() -> None:
    from trainers.preflight import FAMILIES, Check, columns, plain_trl

    modules = [*FAMILIES, columns, plain_trl]
    checks = [one for module in modules for one in vars(module).values() if isinstance(one, Check)]
    assert len(checks) > 40
    assert {check.family for check in checks} == set(re.findall(r"(?m)^\| ([a-z]+) \| [^|]*\|$", PAGE)) - {"family"} - {
        "critical", "major", "minor", "note", "severity", "columns"
    } | {"columns"}  # fmt: skip
    for check in checks:
        assert not check.threads or all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", one) for one in check.threads)


def test_a_recipe_is_examined_by_its_stages_once_its_run_is_built(model: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "pairs.yaml"
    recipe.write_text(
        f"name: pairs\nsources:\n  - {{name: pairs, format: auto, path: {PAIRS}}}\n"
        f"type: pairs\nfilters: []\ngroupings: []\ntrain: {{method: dpo, model: {model}, max_length: 256}}\n",
        encoding="utf-8",
    )
    missing = run(recipe, "--run", tmp_path / "run").exception
    assert isinstance(missing, InputError)
    assert "prefdata build" in str(missing)
    built = CliRunner().invoke(app, ["build", str(recipe), "--out", str(tmp_path / "run"), "--quiet"])
    assert built.exit_code == 0, built.output
    (record,) = json.loads(run(recipe, "--run", tmp_path / "run", "--json").stdout)
    assert (record["name"], record["method"], record["figures"]["max_length"]) == ("dpo", "dpo", 256)
    assert record["rows"] > 0
    (shorter,) = json.loads(run(recipe, "--run", tmp_path / "run", "--max-length", 128, "--json").stdout)
    assert shorter["rows"] < record["rows"]
    error = run(recipe, "--model", model).exception
    assert isinstance(error, RecipeError)


def test_a_chain_on_a_base_model_is_examined_with_the_template_that_its_sft_stage_gives(
    model: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for file in model.iterdir():
        if file.name != "chat_template.jinja":
            (base / file.name).write_bytes(file.read_bytes())
    settings = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings.pop("chat_template", None)
    (base / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    recipe = tmp_path / "chain.yaml"
    recipe.write_text(
        f"name: chain\nsources:\n  - {{name: pairs, format: auto, path: {PAIRS}}}\ntype: pairs\nfilters: []\n"
        "groupings: []\nstages:\n  - sft: {model: base, max_length: 256}\n  - dpo: {max_length: 256}\n",
        encoding="utf-8",
    )
    built = CliRunner().invoke(app, ["build", str(recipe), "--out", str(tmp_path / "run"), "--quiet"])
    assert built.exit_code == 0, built.output
    sft, dpo = json.loads(run(recipe, "--run", tmp_path / "run", "--json").stdout)
    assert (sft["method"], dpo["method"]) == ("sft", "dpo")
    assert min(sft["rows"], dpo["rows"]) > 0
    assert dpo["model"] == "base"


def test_held_out_prompts_that_an_earlier_stage_trained_on_are_left_out(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefdata import preflighting, training_rows

    recipe = tmp_path / "chain.yaml"
    recipe.write_text(
        f"name: chain\nsources:\n  - {{name: pairs, format: auto, path: {PAIRS}}}\ntype: pairs\nfilters: []\n"
        f"groupings: []\nstages:\n  - sft: {{model: {model}, max_length: 256}}\n  - dpo: {{max_length: 256}}\n",
        encoding="utf-8",
    )
    built = CliRunner().invoke(app, ["build", str(recipe), "--out", str(tmp_path / "run"), "--quiet"])
    assert built.exit_code == 0, built.output
    apart, made = preflighting.preflight(recipe, run=tmp_path / "run"), training_rows.made_for
    assert all(one.seen.held_out is not None for one in apart)

    def leaking(*given: Any) -> Any:
        """The rows that SFT is held out from are among those that it is trained on."""
        *place, stage, side = given
        return made(*place, stage, "evaluation" if stage.name == "sft" else side)

    monkeypatch.setattr(training_rows, "made_for", leaking)
    sft, dpo = preflighting.preflight(recipe, run=tmp_path / "run")
    assert sft.seen.held_out is not None
    assert dpo.seen.held_out is None
    assert dpo.seen.rows.ids == apart[1].seen.rows.ids
