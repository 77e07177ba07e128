"""`prefdata ablate` as it is given: its table, its JSON, its page, its faults."""

from __future__ import annotations

import html
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from prefdata.cli import app
from prefdata.reporting.ablation.page import render
from prefdata.reporting.ablation.words import _table as words

_file = Path(__file__).parents[1] / "benchmarks" / "ablation.py"
_spec = importlib.util.spec_from_file_location("benchmark_ablation", _file)
assert _spec is not None
assert _spec.loader is not None
planted: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)

OPTIONS = ["--head", "words", "--draws", "12", "--quiet"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The recipe, and what the command printed."""
    folder = tmp_path_factory.mktemp("ablate")
    recipe = planted.write(folder, rows=500)
    done = CliRunner().invoke(app, ["ablate", str(recipe), "--out", str(folder / "run"), *OPTIONS])
    assert done.exit_code == 0, done.output
    return recipe, done.output


def test_the_table_names_what_pays_and_the_last_line_the_page(built: tuple[Path, str]) -> None:
    lines = built[1].splitlines()
    assert re.fullmatch(
        r"planted: each filter left out in turn, 12 draws of \d+ training rows, judged on \d+ rows held out", lines[0]
    )
    assert lines[1].startswith("logistic regression over the words of prompt and answer; The full recipe: AUC 0.")
    assert re.search(r"· prompt_too_long +\d+ +\+0\.\d{4} +0\.\d{4} +▲ pays", built[1])
    assert re.search(r"· prompt_too_short +\d+ +[+-]0\.\d{4} +0\.\d{4} +○ none shown", built[1])
    assert lines[-1] == f"report {built[0].parent / 'run' / 'ablation' / 'ablation.html'}"


def test_json_is_ablation_json(built: tuple[Path, str]) -> None:
    run = built[0].parent / "run"
    done = CliRunner().invoke(app, ["ablate", str(built[0]), "--run", str(run), *OPTIONS, "--json"])
    assert json.loads(done.stdout) == json.loads((run / "ablation" / "ablation.json").read_text())


def test_the_page_loads_and_runs_nothing_and_holds_every_set(built: tuple[Path, str]) -> None:
    page = (built[0].parent / "run" / "ablation" / "ablation.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "default-src 'none'; style-src 'sha256-" in html.unescape(page)
    result = json.loads((built[0].parent / "run" / "ablation" / "ablation.json").read_text())
    for one in result["arms"]:
        assert one["name"].partition(".")[2] in page
    assert 'style="' not in page
    assert '<svg class="chart" role="img"' in page


def test_the_page_speaks_chinese(built: tuple[Path, str]) -> None:
    result = json.loads((built[0].parent / "run" / "ablation" / "ablation.json").read_text())
    page = render(result, lang="zh")
    assert '<html lang="zh-CN">' in page
    assert "哪些过滤器值得用：planted" in page
    assert "此规模下未见差异" in page


def test_names_of_a_result_are_only_text(built: tuple[Path, str]) -> None:
    result = json.loads((built[0].parent / "run" / "ablation" / "ablation.json").read_text())
    result["name"] = "</title><script>alert(1)</script>\u202e"
    result["arms"][0]["name"] = "<img src=x onerror=alert(1)>"
    page = render(result)
    assert "<script>" not in page
    assert "<img" not in page
    assert "⟨U+202E⟩" in page


def test_both_languages_have_the_same_words() -> None:
    english, chinese = words("en"), words("zh")
    assert list(english) == list(chinese)
    for name, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[name])), name


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--lang", "fr"], "--lang fr: expected en or zh"),
        (["--head", "lora"], "head: lora; expected auto, words or model"),
        (["--run", "runs/a", "--out", "runs/b"], "--run takes a run as it stands, --out builds one"),
        (["--run", "nowhere"], "no run.json there"),
    ],
)
def test_faults_are_told(built: tuple[Path, str], options: list[str], fault: str) -> None:
    done = CliRunner().invoke(app, ["ablate", str(built[0]), *options])
    assert done.exit_code == 1  # main() gives each error its own exit code
    assert fault in str(done.exception)


def test_an_erased_customer_is_in_no_ablation(built: tuple[Path, str], tmp_path: Path) -> None:
    from prefdata.erase import _forget
    from prefdata.stages import State

    (tmp_path / "ablation" / "sets").mkdir(parents=True)
    (tmp_path / "ablation" / "sets" / "rows.parquet").write_bytes(b"")
    from prefdata.engine import LocalEngine
    from prefdata.recipe import load
    from prefdata.rundir import RunDir

    _forget(State(load(built[0]), RunDir(tmp_path), LocalEngine(), lambda step, done, total: None))
    assert not (tmp_path / "ablation").exists()
