"""The card of an export: front matter as the hub reads it, the counts and hashes of the files, and no row text."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import prefdata
from prefdata.card import recipe_hash, write_card
from prefdata.cli import main
from prefdata.io import sha256_file

_spec = importlib.util.spec_from_file_location("small_log", Path(__file__).with_name("small_log.py"))
assert _spec is not None
assert _spec.loader is not None
small_log: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_log)


@pytest.fixture
def recipe(small_run: Path, tmp_path: Path) -> Path:
    """A recipe beside its log, and what it makes of it in `run`."""
    shutil.copytree(small_run, tmp_path, dirs_exist_ok=True)
    return tmp_path / "recipe.yaml"


def ran(recipe: Path, name: str = "own", *, licence: str = "", more: str = "") -> Path:
    text = recipe.read_text()
    ratings = "    ratings: {scale: [1, 5]}\n"
    assert ratings in text
    recipe.write_text(text.replace(ratings, ratings + licence) + more)
    prefdata.run(recipe, out=recipe.parent / name, train=False)
    recipe.write_text(text)
    return recipe.parent / name


def card(run: Path) -> str:
    return (run / "exports/trl/README.md").read_text(encoding="utf-8")


def front(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card(run).split("---\n")[1])
    return found


def test_the_front_matter_is_what_the_hub_reads(recipe: Path) -> None:
    found = front(ran(recipe, licence="    licence: CC-BY-4.0\n"))
    assert found == {
        "pretty_name": "small",
        "license": "cc-by-4.0",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "tags": ["preference", "kto", "prefdata"],
        "size_categories": ["n<1K"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": "train.parquet"},
                    {"split": "evaluation", "path": "evaluation.parquet"},
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    ("licence", "expected"),
    [("", "unknown"), ("    licence: own | <b>terms</b>\n", "other"), ("    licence: Apache-2.0\n", "apache-2.0")],
)
def test_the_licence_is_named_as_the_hub_does_or_as_other(recipe: Path, licence: str, expected: str) -> None:
    run = ran(recipe, licence=licence)
    assert front(run)["license"] == expected
    assert "<b>" not in card(run)
    if expected == "other":
        assert "| chats | events | own \\| &lt;b>terms&lt;/b> | not stated |" in card(run)


def test_counts_hashes_and_thresholds_are_those_of_the_run(recipe: Path) -> None:
    run = recipe.parent / "run"
    text, report = card(run), json.loads((run / "report.json").read_text())
    for name, facts in report["exports"]["trl"].items():
        sha = sha256_file(run / "exports/trl" / name)
        assert f"| `{name}` | {facts['rows']} | {facts['desirable']} | {facts['undesirable']} | `{sha}` |" in text
    kept = prefdata.kept_rows(run)
    for (label, language), rows in kept.group_by("label", "language"):
        held = rows.filter(pl.col("split") == "evaluation").height
        name = "desirable" if label else "undesirable"
        line = f"| {name} | {language or 'unknown'} | {rows.height - held} | {held} | {rows.height} |"
        assert line in text
    assert "| reply_toxic | toxicity | `toxicity_completion` | – | 0.8 | – | desirable |" in text
    assert f"`{sha256_file(recipe.parent / 'chats.csv')}`" in text
    assert f"`{recipe_hash(report['recipe'])}`" in text


def test_the_card_holds_no_row_text(recipe: Path) -> None:
    text = card(recipe.parent / "run")
    for part in ("refund", "parcel", "password", "idiot", "Maria"):
        assert part not in text


def test_the_card_is_the_same_however_it_was_run(recipe: Path) -> None:
    one = card(recipe.parent / "run")
    prefdata.run(recipe, out=recipe.parent / "b", train=False, threads=2)
    assert card(recipe.parent / "b") == one


def test_known_limits_tell_what_was_not_stated_or_done(recipe: Path) -> None:
    bare = card(recipe.parent / "run")
    assert "- What may be done with chats was not stated (training, research, commercial, redistribution)." in bare
    assert "- Personal data was replaced by patterns" in bare
    other = card(ran(recipe, "b", licence="    permits: [training]\n", more="transforms: [unicode]\n"))
    assert "was not stated (" not in other
    assert "- Personal data was not replaced." in other


def test_the_columns_of_the_formats_own_card_are_kept(recipe: Path) -> None:
    run = recipe.parent / "run"
    folder = run / "exports/trl"
    (folder / "README.md").write_text(
        "---\nx: 1\n---\n\n# t\n\n| column | holds |\n|---|---|\n| `prompt` | messages |\n"
    )
    files = json.loads((run / "report.json").read_text())["exports"]["trl"]
    write_card(run, folder, target="trl", files=files)
    assert "## Columns\n\n| column | holds |\n|---|---|\n| `prompt` | messages |\n\n## Sources" in card(run)


def test_the_features_that_the_format_told_are_kept(recipe: Path) -> None:
    run = recipe.parent / "run"
    export = [sys.executable, "-m", "prefdata.cli", "export", str(run), "--to", "huggingface"]
    subprocess.run(export, check=True, capture_output=True)
    text = (run / "exports/huggingface/README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    features = {one["name"]: one.get("dtype") for one in head["dataset_info"]["features"]}
    assert features["label"] == "bool"
    assert list(features)[:2] == ["id", "prompt"]
    assert head["configs"][0]["data_files"]


def test_the_command_writes_a_card_and_refuses_a_use_before_anything_is_written(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ran(recipe, licence="    licence: CC-BY-NC-4.0\n")

    def command(*arguments: str) -> object:
        monkeypatch.setattr("sys.argv", ["prefdata", "export", str(run), "--to", "trl", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    out = recipe.parent / "out"
    assert command("--out", str(out), "--use", "research", "--use", "commercial") == 2
    assert "commercial use, which source chats (CC-BY-NC-4.0) does not permit" in capsys.readouterr().err
    assert not out.exists()
    assert command("--out", str(out), "--use", "research") == 0
    assert "Use: research." in (out / "README.md").read_text()
    assert command("--out", str(out), "--use", "resaerch") == 2
    assert "did you mean 'research'" in capsys.readouterr().err
