"""report.html: escaped, unable to run or fetch anything, complete, and whole with parts of a run missing."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import stat
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.judging import Rule
from prefdata.reporting.page import render, write_page
from prefdata.reporting.texts import MAX_CHARS, shown, snippet

TRAIN = {"name": "kto", "settings": {}}

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "javascript:alert(1)",
    "</style></title><iframe srcdoc=x>",
    "{{ 7 * 7 }}{% include 'x' %}",
    "<!-- -->]]>",
)


def hostile_rows(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with HOSTILE texts for their customers' turns and replies."""
    changed = []
    for at, row in enumerate(rows):
        text = HOSTILE[at % len(HOSTILE)]
        changed.append((*row[:4], f"{text} asked {at}", f"{text} replied {at}"))
    return changed


def stage(path: Path, *, held_out: bool = True, labels: tuple[bool, ...] = (True, False)) -> None:
    """A trained stage as trainers/kto.py leaves it, its training made up."""
    folder = path / "model" / "kto"
    folder.mkdir(parents=True)
    history = [
        {
            "step": step,
            "loss": 0.5 - 0.002 * step,
            "rewards/margins": 0.01 * step if step != 5 else math.nan,
            "kl": 0.1 * step,
            "grad_norm": 1.0,
        }
        for step in range(1, 41)
    ]

    def estimate(value: float, reach: float) -> dict[str, float]:
        return {"value": value, "low": value - reach, "high": value + reach}

    still = {name: estimate(0.0, 0.0) for name in ("margin", "mean_good", "mean_bad")}
    after = {
        "rows": 374,
        "groups": 172,
        "auc": estimate(0.71, 0.05),
        "margin": estimate(0.31, 0.1),
        "mean_good": estimate(0.2, 0.1),
        "mean_bad": estimate(-0.1125, 0.1),
    }
    metrics: dict[str, Any] = {"steps": 40, "first": history[0], "last": history[-1]}
    if held_out and len(set(labels)) == 2:
        metrics |= {
            "before": {"rows": 374, "groups": 172, "auc": estimate(0.5, 0.0), **still},
            "after": after,
            "shorter_is_better_auc": estimate(0.44, 0.06),
        }
    record = {
        "method": "kto",
        "base": {"name": "HuggingFaceTB/SmolLM2-135M-Instruct", "sha256": "fbfc93441cb417614052ef77"},
        "canary": {"expected": 0.5, "found": 0.498},
        "data": {
            "rows": 1348,
            "used": 640,
            "good": 700,
            "bad": 648,
            "dropped": {"too_long": 3},
            "longest": 173,
            "shortened": 12,
        },
        "device": "cpu",
        "evaluation": {"rows": 374} if held_out else None,
        "learning_rate_source": "recipe",
        "metrics": metrics,
        "precision": "float32",
        "reference": {"largest_change": 0.0, "probes": 4} if held_out else {"store": {"rows": 4}},
        "settings": {
            "beta": 0.1,
            "gradient_accumulation": 4,
            "learning_rate": 5e-06,
            "lora_alpha": 32,
            "lora_layers": None,
            "lora_r": 16,
            "loss_type": "kto",
            "per_device_batch": 4,
            "seed": 0,
            "tuner": "lora",
        },
        "weights": {"desirable": 1.0, "ratio": 1.0802, "undesirable": 1.0},
    }
    (folder / "stage.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "rows.json").write_text(json.dumps({"training_rows": "these"}), encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(history), encoding="utf-8")
    if held_out:
        prompt = [{"role": "user", "content": "first"}, {"role": "user", "content": "where is my <b>parcel</b>?"}]
        samples = [{"id": "i", "prompt": prompt, "before": "I do not know.", "after": "It comes <i>today</i>."}]
        (folder / "samples.json").write_text(json.dumps(samples), encoding="utf-8")
        rewards = pl.Series([0.5, -0.25], dtype=pl.Float32)
        pl.DataFrame({"id": ["i", "k"], "label": labels, "reward": rewards}).write_parquet(
            folder / "eval_rewards.parquet"
        )


@pytest.fixture
def page(run: Any, tmp_path: Path, fitted_card: dict[str, Any]) -> str:
    """The page of the small run with a fitted combiner and a trained stage, every text hostile."""
    small = run(card=fitted_card, train=TRAIN)
    small.rows = hostile_rows(small.rows)
    path = small.write(tmp_path / "run")
    stage(path)
    return render(path)


def test_row_text_becomes_no_markup(page: str, parse: Any) -> None:
    parsed = parse(page)
    assert not {"script", "img", "iframe", "link", "object", "embed", "base", "form", "input"} & set(parsed.tags)
    assert not [attribute for attribute in parsed.attributes if attribute[1].startswith("on")]
    assert parsed.tags.count("style") == 1
    assert parsed.tags.count("title") == 1 + page.count("<title>", page.index("<body>"))
    assert "<script" not in page.lower()
    assert "49 asked" not in parsed.text
    for text in HOSTILE:
        assert f"{text} replied" in parsed.text


def test_every_tag_is_closed_in_order(page: str) -> None:
    opened: list[str] = []

    class Nesting(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag != "meta":
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Nesting().feed(page)
    assert opened == []


def test_the_page_can_neither_run_nor_fetch(page: str, parse: Any) -> None:
    parsed = parse(page)
    contents = [value for tag, name, value in parsed.attributes if tag == "meta" and name == "content"]
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'" in contents
    assert not [value for _, name, value in parsed.attributes if name == "style"]
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert not [value for _, name, value in parsed.attributes if name in ("src", "srcset", "action", "data")]
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page


def test_links_lead_to_places_in_the_page(page: str, parse: Any) -> None:
    parsed = parse(page)
    places = {value for _, name, value in parsed.attributes if name == "id"}
    links = {value for _, name, value in parsed.attributes if name == "href"}
    assert {"#funnel", "#dropped", "#training", "#reason-reply_too_short"} <= links
    assert {link.removeprefix("#") for link in links} <= places


def test_every_reason_has_its_samples_and_every_stopping_rule_its_borderline(run: Any, tmp_path: Path) -> None:
    path = run().write(tmp_path / "run")
    page = render(path)
    sections = dict(re.findall(r'<section class="card" id="reason-(\w+)">(.*?)</section>', page, re.DOTALL))
    report = run().report()
    assert list(sections) == [reason["reason"] for reason in report["reasons"]]
    for reason in report["reasons"]:
        for name in reason["examples"]:
            assert f"<code>{name}</code>" in sections[reason["reason"]]
    assert "score 4, passes" in sections["reply_too_short"]
    assert "score 0, stopped" in sections["reply_too_short"]
    assert "wo ist es?" in sections["language_not_allowed"]
    assert "1 rule that stopped nothing" in page


def test_clusters_show_their_rows_with_similarity(run: Any, tmp_path: Path, parse: Any) -> None:
    text = parse(render(run().write(tmp_path / "run"))).text
    assert "2 rows, least similarity 0.85, opposite labels" in text
    assert "kept, similarity 0.9" in text


def test_the_combiner_shows_its_curve_and_coefficients(page: str, parse: Any) -> None:
    text = parse(page).text
    assert "predicted 0.20, observed 0.25" in text
    assert "before: complaint + agent: says" in text
    assert "-0.25" in text


def test_a_trained_stage_shows_curves_intervals_and_answers(page: str, parse: Any) -> None:
    text = parse(page).text
    for told in (
        "0.710 (0.660 to 0.760)",
        "0.310 (0.210 to 0.410)",
        "by shortness",
        "from 0.498 to 0.42",
        "where is my <b>parcel</b>?",
        "It comes <i>today</i>.",
        "LoRA, rank 16, alpha 32, all layers",
        "3 too long",
    ):
        assert told in text
    curves = re.findall(r"<svg[^>]*><title>([a-z ]+) over the steps</title>", page)
    assert curves == ["loss", "reward margin", "steps ranked right", "kl", "gradient"]
    assert not re.findall(r'="[^"]*(?:nan|NaN)', page)


@pytest.mark.parametrize("held_out", [False, True])
def test_a_stage_without_comparable_held_out_rows_renders(run: Any, tmp_path: Path, held_out: bool) -> None:
    path = run(train=TRAIN).write(tmp_path / "run")
    stage(path, held_out=held_out, labels=(True, True))
    page = render(path)
    assert "first loss" in page
    assert "held-out AUC" not in page
    assert ("Answers before and after" in page) is held_out


def test_a_stage_trained_on_other_rows_is_left_out(run: Any, tmp_path: Path) -> None:
    path = run(train=TRAIN).write(tmp_path / "run")
    stage(path)
    (path / "model" / "kto" / "rows.json").write_text(json.dumps({"training_rows": "others"}), encoding="utf-8")
    assert "Nothing was trained in this run." in render(path)


def test_a_run_to_be_trained_later_says_so(run: Any, tmp_path: Path) -> None:
    assert "Nothing was trained in this run." in render(run(train=TRAIN).write(tmp_path / "run"))


def test_control_and_bidi_characters_are_written_out() -> None:
    assert shown("a\u202eb\x00c\u200bd\ud800") == "a⟨U+202E⟩b⟨U+0000⟩c⟨U+200B⟩d⟨U+D800⟩"
    assert shown("one\r\ntwo\tthree\u2028中文") == "one\ntwo\tthree⟨U+2028⟩中文"
    assert shown(None) == ""


def test_bidi_characters_in_rows_names_and_settings_do_not_reach_the_page(run: Any, tmp_path: Path) -> None:
    small = run()
    small.rows[1] = (*small.rows[1][:4], "gnp.\u202eexe", "\x1b[31mred\u2066")
    path = small.write(tmp_path / "run")
    report = json.loads((path / "report.json").read_text(encoding="utf-8"))
    report["name"] = report["recipe"]["name"] = "ev\u202eil"
    report["fates"][0]["file"] = "a\u202eb.csv"
    (path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    page = render(path)
    assert not [found for found in page if found in "\u202e\u2066\x1b"]
    assert page.count("⟨U+202E⟩") >= 4
    assert "⟨U+001B⟩[31mred⟨U+2066⟩" in page


def test_long_texts_are_cut() -> None:
    assert shown("x" * (MAX_CHARS + 5)) == "x" * MAX_CHARS + " … (5 more characters)"
    assert snippet("a\nb" * 40) == ("a b" * 40)[:70] + "…"


def test_a_run_that_drops_nothing_renders(run: Any, tmp_path: Path) -> None:
    page = render(run(rows=[run().rows[0], run().rows[8]], grouped=False).write(tmp_path / "run"))
    assert "No row was dropped." in page
    assert "No two rows are duplicates." in page
    assert "3 rules that stopped nothing" in page


def test_a_run_that_keeps_nothing_renders(run: Any, tmp_path: Path) -> None:
    page = render(run(rows=[run().rows[4], run().rows[9]], grouped=False, evaluation=()).write(tmp_path / "run"))
    assert "KTO has no weights to give" in page


def test_a_run_without_rules_renders(run: Any, tmp_path: Path) -> None:
    page = render(run(rules={}).write(tmp_path / "run"))
    assert "stopped nothing" not in page
    assert 'id="reason-label_abstained"' in page


def test_a_run_without_a_fitted_combiner_shows_no_curve(run: Any, tmp_path: Path) -> None:
    page = render(run().write(tmp_path / "run"))
    assert "calibration error" not in page
    assert "Strongest coefficients" not in page


def test_a_run_that_holds_nothing_out_says_so(run: Any, tmp_path: Path) -> None:
    assert "No row is held out" in render(run(evaluation=()).write(tmp_path / "run"))


def test_scores_that_all_rows_lack_render(run: Any, tmp_path: Path) -> None:
    small = run(grouped=False, rules={"reply_too_long": Rule(max=9)})
    small.rows = [(*row[:2], None, *row[3:]) for row in small.rows]
    assert "No row was scored." in render(small.write(tmp_path / "run"))


def test_the_same_run_gives_the_same_page(run: Any, tmp_path: Path) -> None:
    assert render(run().write(tmp_path / "one")) == render(run().write(tmp_path / "two"))


def test_only_its_owner_reads_the_page(run: Any, tmp_path: Path) -> None:
    page = write_page(run().write(tmp_path / "run"))
    assert page == tmp_path / "run" / "report.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
