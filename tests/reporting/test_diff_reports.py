"""Reports of a diff: the schema holds, hostile data stay text, no row text outside the page, all in two languages."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from prefdata.cli import main
from prefdata.comparison import Comparison, compare
from prefdata.reporting.diff.json import to_json
from prefdata.reporting.diff.markdown import to_markdown
from prefdata.reporting.diff.page import render, write_page
from prefdata.reporting.diff.terminal import terminal

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "diff-report.schema.json").read_text(encoding="utf-8"))
ONLY = ("equal_sides", "reversed_pair", "exact_duplicates", "length_bias", "contradictory_labels")

_spec = importlib.util.spec_from_file_location("small_log", ROOT / "tests" / "small_log.py")
assert _spec is not None
assert _spec.loader is not None
small_log: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_log)

HOSTILE = (
    "<script>window.ran=1</script>",
    "</script></style></title><img src=x onerror='window.ran=2'>",
    '"><svg onload=window.ran=3><a href="javascript:window.ran=4">x</a>',
    "{{ 7 * 7 }}{% include 'x' %}<!-- <base href=//evil.example>",
    "\u202egnp.exe\u2066 and \x1b[31m red \x07 \ufeff [bold]markup[/bold] | `code` @someone",
)


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    turns = {"prompt": ("user", prompt), "chosen": ("assistant", chosen), "rejected": ("assistant", rejected)}
    return {side: [{"role": role, "content": text}] for side, (role, text) in turns.items()}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sets(folder: Path) -> tuple[Path, Path]:
    a = [pair(f"Secret question {at}?", f"A fine answer {at}, as asked.", f"bad {at}") for at in range(40)]
    b = [dict(row) for row in a[2:]]
    b[0] = pair("Secret question 2?", "A changed answer 2, as asked.", "bad 2")
    b[1]["chosen"], b[1]["rejected"] = b[1]["rejected"], b[1]["chosen"]
    b += [pair("Another?", "equal", "equal")]
    return write(folder / "a.jsonl", a), write(folder / "b.jsonl", b)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(*sets(tmp_path_factory.mktemp("diff")), only=ONLY)


def printed(found: Comparison, lang: str = "en") -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    terminal(found, console, lang=lang)
    return console.export_text()


def test_the_json_has_every_figure_and_keeps_to_the_schema(found: Comparison) -> None:
    told = json.loads(json.dumps(to_json(found)))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(told, SCHEMA)
    rows = told["rows"]
    assert [rows[name] for name in ("same", "relabelled", "changed", "only_a", "only_b")] == [36, 1, 1, 2, 1]
    assert rows["edited"] == {"chosen": 1}
    assert rows["places"] == {
        "relabelled": [{"a": "a.jsonl:4", "b": "b.jsonl:2"}],
        "changed": [{"a": "a.jsonl:3", "b": "b.jsonl:1", "edited": ["chosen"]}],
        "only_a": ["a.jsonl:1", "a.jsonl:2"],
        "only_b": ["b.jsonl:39"],
    }
    (new,) = [one for one in told["findings"] if one["check"] == "equal_sides"]
    assert (new["status"], new["rows_new"], new["places"]) == ("new", 1, ["b.jsonl:39"])


def test_texts_of_rows_stand_in_the_page_alone(found: Comparison) -> None:
    for told in (json.dumps(to_json(found)), to_markdown(found), printed(found)):
        assert "Secret" not in told
        assert "answer 2" not in told
    page = render(found)
    assert "Secret question 2?" in page
    assert re.search(r"<del>[^/]*/span>fine<.*?</del><ins>[^/]*/span>changed<.*?</ins>", page)


def test_both_languages_say_the_same_figures(found: Comparison) -> None:
    english, chinese = (
        json.loads((ROOT / f"prefdata/reporting/diff/words_{lang}.json").read_text()) for lang in ("en", "zh")
    )
    assert english.keys() == chinese.keys()
    for name, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[name])), name
    assert 'lang="zh-CN"' in render(found, lang="zh")
    assert "仅在 A 中" in to_markdown(found, lang="zh")
    assert "仅在 A 中" in printed(found, "zh")


def test_hostile_rows_stay_text(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [pair(text, text, "no") for text in HOSTILE] + [pair("gone", "x", HOSTILE[0])])
    b = write(tmp_path / "b<script>.jsonl", [pair(text, f"{text} more", "no") for text in HOSTILE])
    page = render(compare(a, b, audit=False))
    assert "<script" not in page
    assert not re.search(r"<(img|iframe|base|a)[ >](?!.{0,3}href=\"#|class=\"skip\")", page)
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert '<span class="code-point">U+202E</span>' in page
    assert "&lt;script&gt;window.ran=1&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert " style=" not in page
    assert "default-src &#39;none&#39;" in page
    assert "http" not in re.sub(r"http-equiv|referrer", "", page)


def test_the_page_is_whole_for_its_owner_and_equal_for_equal_sets(found: Comparison, tmp_path: Path) -> None:
    path = write_page(found, tmp_path / "diff.html")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text(encoding="utf-8") == render(found)
    ids = re.findall(r' id="([^"]+)"', render(found))
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', render(found))) <= set(ids)


def command(*words: str, monkeypatch: Any) -> int:
    monkeypatch.setattr("sys.argv", ["prefdata", "diff", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command_writes_three_files_and_fails_on_what_is_new(
    tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = sets(tmp_path)
    words = [str(a), str(b), "--only", "equal_sides", "--quiet"]
    assert command(*words, "--out", str(tmp_path / "out"), monkeypatch=monkeypatch) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["diff.html", "diff.json", "diff.md"]
    assert capsys.readouterr().out.rstrip().endswith("diff.html")
    assert command(*words, "--fail-on", "major", monkeypatch=monkeypatch) == 1
    assert "major equal_sides is new, 1 rows: b.jsonl:39" in capsys.readouterr().err
    assert command(str(b), str(a), *words[2:], "--fail-on", "note", monkeypatch=monkeypatch) == 0
    capsys.readouterr()
    assert command(*words, "--json", monkeypatch=monkeypatch) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "out" / "diff.json").read_text())
    assert command(*words, "--no-audit", "--fail-on", "note", monkeypatch=monkeypatch) == 2
    assert command(*words, "--lang", "fr", monkeypatch=monkeypatch) == 2
    assert command(str(a), str(tmp_path / "nothing.jsonl"), monkeypatch=monkeypatch) == 3


def test_runs_and_a_run_with_a_dataset_are_compared(tmp_path: Path) -> None:
    import prefdata

    small_log.write_log(tmp_path)
    recipe = Path(small_log.write_recipe(tmp_path))
    prefdata.run(recipe, out=tmp_path / "one", train=False)
    recipe.write_text(recipe.read_text().replace("max_toxicity: 0.8", "max_toxicity: 0.0001"))
    prefdata.run(recipe, out=tmp_path / "two", train=False)
    found = compare(tmp_path / "one", tmp_path / "two", audit=False)
    assert found.rows is not None
    assert found.runs is not None
    assert len(found.rows.only_a) == len(found.runs["went"])
    assert found.rows.same.height == found.runs["kept_in_both"]
    told = json.loads(json.dumps(to_json(found)))
    jsonschema.validate(told, SCHEMA)
    assert told["steps"]["went"][0]["reason"] == "reply_toxic"
    page = render(found)
    assert "reply_toxic" in page
    assert found.runs["went"][0]["id"] in page or len(found.rows.only_a) > 5
    kept = prefdata.kept_rows(tmp_path / "one").select("prompt", "completion", "label")
    kept.write_parquet(tmp_path / "kept.parquet")
    mixed = compare(tmp_path / "one", tmp_path / "kept.parquet", audit=False)
    assert mixed.rows is not None
    assert mixed.rows.same.height == kept.height
    assert mixed.runs is None


PAGE = (ROOT / "docs" / "diff.md").read_text(encoding="utf-8")


def test_the_commands_and_the_code_of_the_docs_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes" / "datasets", tmp_path / "recipes" / "datasets")
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            words = [sys.executable, "-m", "prefdata.cli", *shlex.split(line)[1:]]
            done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
            assert done.returncode == 0, done.stderr
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "diff" / "diff.html").is_file()
