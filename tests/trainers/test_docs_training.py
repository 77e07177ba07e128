"""The code of docs/training.md runs top to bottom, on a tiny model, in two steps a stage; its table is the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def blocks() -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.timeout(1200)
def test_the_code_of_the_page_runs(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PREFDATA_HOME", str(tmp_path / "home"))
    code = blocks().replace('"smollm2-135m"', repr(str(tiny_model))).replace('"max_steps": 60', '"max_steps": 2')
    exec(compile(code, "docs/training.md", "exec"), {"out": tmp_path})
    assert {path.name for path in tmp_path.iterdir()} >= {"sft", "dpo", "kto", "reward", "grpo", "report.html"}
    assert "{'expected': 0.693147, 'found': 0.693147}" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count('<section class="stage"') == 5


def test_the_page_tells_of_every_range() -> None:
    pytest.importorskip("polars")
    from trainers.healthy import RANGES

    told = PAGE.lower()
    for one in RANGES:
        words = [word for word in re.findall(r"[a-z]{4,}", one.what) if word not in ("have", "become", "becomes")]
        assert sum(word in told for word in words) >= len(words) / 2, one.what


def test_the_recipe_of_the_page_names_methods_that_there_are() -> None:
    from prefdata.catalogue import METHODS

    (recipe,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"^  - (\w+):", recipe, re.MULTILINE)) <= set(METHODS)
