"""What filters would do, in report.json, page, terminal and Markdown: every figure, no text where none belongs."""

from __future__ import annotations

import io
import json
import re
import string
from html import unescape
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from prefdata.auditing.what_if.effects import Effect
from prefdata.auditor import Audit, audit
from prefdata.errors import InputError
from prefdata.reporting.audit import json as audit_json
from prefdata.reporting.audit.markdown import to_markdown
from prefdata.reporting.audit.page import render
from prefdata.reporting.audit.terminal import terminal
from prefdata.reporting.what_if import json as what_if_json
from prefdata.reporting.what_if import words as what_if_words
from prefdata.reporting.what_if.words import number, percent, say, steps

ROOT = Path(__file__).resolve().parents[2]
RUDE = "You are a stupid idiot and I hate you."
HOSTILE = "</script><script>window.ran=1</script>"


def row(prompt: str, completion: str, label: bool, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": prompt}], [{"role": "assistant", "content": completion}]
    return {"prompt": turns[0], "completion": turns[1], "label": label, **more}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    rows = [row(f"Where is parcel {n}?", f"Parcel {n} is on its way{' now' * (n % 5)}.", True) for n in range(60)]
    rows += [row(f"Why {HOSTILE} {n}?", f"{HOSTILE} {RUDE} {n}", True) for n in range(4)]
    rows += [row(f"No. {n}?", "…", True, source=HOSTILE) for n in range(40)]
    rows += [row("Where is parcel 1?", "Parcel 1 is on its way now.", False), row("Hm?", "Hm.", False)]
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return audit(path, source="huggingface", type="unpaired_preference", only=["class_balance"], what_if=True)


def effect(found: Audit, name: str) -> Effect:
    assert found.what_if is not None
    return next(one for one in found.what_if.effects if one.name == name)


def test_the_report_holds_every_figure_and_no_text(found: Audit) -> None:
    data = audit_json.to_json(found)
    jsonschema.validate(data, json.loads((ROOT / "docs" / "audit-report.schema.json").read_text(encoding="utf-8")))
    told = json.dumps(data["what_if"])
    assert RUDE not in told
    assert "is on its way" not in told
    assert data["what_if"]["rows"] == 106
    toxicity = next(one for one in data["what_if"]["effects"] if one["name"] == "toxicity")
    assert (toxicity["kept"], toxicity["share"]) == (102, round(102 / 106, 6))
    assert toxicity["curves"][0]["borderline"][-1].keys() == {"place", "score", "kept", "chars", "beside"}


def test_the_report_is_read_back(found: Audit) -> None:
    data = json.loads(json.dumps(audit_json.to_json(found)))
    again = audit_json.from_json(data)
    assert again.what_if is not None
    assert what_if_json.to_json(again.what_if) == data["what_if"]
    assert "what_if" not in audit_json.to_json(found._replace(what_if=None))
    with pytest.raises(InputError, match="what_if"):
        what_if_json.from_json({"rows": "many"})


def test_a_filter_by_which_a_source_loses_far_more_is_named(found: Audit) -> None:
    unfair = [(one.by, one.value) for one in effect(found, "chat_quality").slices if one.unfair]
    assert ("source", HOSTILE) in unfair


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_shows_everything_and_runs_nothing(found: Audit, lang: str) -> None:
    page = render(found, lang=lang)
    section = page[page.index('<section aria-labelledby="what-if"') :]
    assert HOSTILE not in section
    shown = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", section)))
    assert "filters: - toxicity: {max_toxicity: " in shown
    assert HOSTILE in unescape(re.sub(r"</?(?:bdi|span)[^>]*>", "", section))
    for name in ("chat_quality", "language", "toxicity", "exact_duplicates", "near_duplicates"):
        assert f">{name}</a>" in section
    assert say("title", lang) in shown
    assert "{" not in re.sub(r"\{\w+: [^}]*\}", "", shown.split("window", 1)[0])
    assert section.count("<svg") >= 5
    assert 'style="' not in section
    assert "what-if" not in render(found._replace(what_if=None), lang=lang)


def test_the_terminal_tells_counts_thresholds_and_losses(found: Audit) -> None:
    out = io.StringIO()
    terminal(found, Console(file=out, width=120))
    told = out.getvalue()
    assert "What would these filters do?" in told
    assert re.search(r"toxicity +96\.2 % +4 +4 +\d+", told)
    assert "max_toxicity, now 0.8: " in told
    assert "rows more" in told
    assert re.search(r"▲ source .*: 0\.0 % of its 40 rows are kept", told)


def test_the_markdown_is_a_table_without_markup_of_the_data(found: Audit) -> None:
    told = to_markdown(found)
    assert "### What would these filters do?" in told
    assert re.search(r"\| `toxicity` \| 96\.2 % \| 4 \| 4 \| \d+ \|", told)
    assert "<script>" not in told
    assert "这些过滤器会做什么" in to_markdown(found, lang="zh")


def test_sentences_of_steps_say_how_many_rows_more_or_fewer(found: Audit) -> None:
    (curve,) = effect(found, "toxicity").curves
    assert steps(curve).endswith("At 1: 4 rows more.")
    assert steps(curve, "zh").endswith("取 1 时：多 4 行。")
    assert say("step_more", threshold="2", rows=1, others="") == "At 2: 1 row more."
    assert say("step_more", threshold="2", rows=11, others="") == "At 2: 11 rows more."
    assert [number(one) for one in (2048.0, 0.25, 0.1234567, 1.0)] == ["2,048", "0.25", "0.1235", "1"]
    assert [percent(one) for one in (0, 0.0001, 0.5, 0.99999, 1)] == [
        "0.0 %",
        "< 0.1 %",
        "50.0 %",
        "> 99.9 %",
        "100.0 %",
    ]


def test_both_languages_have_the_same_sentences_with_the_same_values() -> None:
    english, chinese = (what_if_words._table(lang) for lang in ("en", "zh"))
    assert set(english) == set(chinese)

    def values(template: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name}

    assert {key for key in english if values(english[key]) != values(chinese[key])} == set()
    folder = ROOT / "prefdata" / "reporting"
    sources = [*folder.glob("what_if_*.py"), folder / "templates" / "what_if.html.jinja"]
    named = {
        key
        for file in sources
        for key in re.findall(r"""\b(?:wi|say)\(\s*"(\w+)"[,)]""", file.read_text(encoding="utf-8"))
    }
    assert named <= set(english)
