"""Trained stages on a page: lineage, findings, curves with what is healthy, held-out evidence; no text is markup."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import InputError
from prefdata.reporting.training import charts, notes, stages
from prefdata.reporting.training.page import number, render, write_page
from prefdata.reporting.training.page import told as shown_by
from prefdata.reporting.training.stages import Trained

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)> ev\u202eil'

FINDING = {
    "name": "shortcut",
    "severity": "major",
    "value": "mean accuracy of 10 steps",
    "healthy": "at most 0.999",
    "first_step": 11,
    "last_step": 40,
    "steps": 30,
    "first": 1.0,
    "worst": 1.0,
    "what": "every pair is told apart within 50 steps",
    "meaning": "Something else gives it away.",
    "advice": "See what alone tells the sides apart.",
    "source": "a thread",
    "at_the_end": True,
}


def estimate(value: float, reach: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": round(value - reach, 4), "high": round(value + reach, 4)}


def record(method: str, *, key: str, parent: str | None = None, metrics: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "method": method,
        "key": key,
        "base": {"name": "tiny", "sha256": "ab" * 32},
        "parent": {"key": parent, "path": f"../{parent}"} if parent else None,
        "lineage": [{"method": "sft"}] if parent else [],
        "settings": {
            "tuner": "lora",
            "lora_r": 8,
            "lora_alpha": 16,
            "lora_layers": None,
            "learning_rate": 1e-4,
            "per_device_batch": 4,
            "gradient_accumulation": 2,
            "seed": 0,
        },
        "learning_rate_source": "recipe",
        "precision": "float32",
        "device": "cpu",
        "data": {"used": 80, "dropped": {}, "longest": 120, "shortened": 0, "sha256": "cd" * 32},
        "canary": None,
        "reference": {},
        "metrics": {"steps": 40, **metrics},
        "monitor": {"bands": {"grad_norm": [0.01, 10.0]}, "findings": []},
        **more,
    }


def history(**values: Any) -> list[dict[str, Any]]:
    """Forty steps; a value may be a function of the step."""
    return [
        {"step": step, **{name: one(step) if callable(one) else one for name, one in values.items()}}
        for step in range(1, 41)
    ]


SFT = Trained(
    "sft",
    record(
        "sft",
        key="k-sft",
        metrics={
            "before": {"rows": 20, "groups": 10, "loss": estimate(2.0), "perplexity": estimate(7.4)},
            "after": {"rows": 20, "groups": 10, "loss": estimate(1.5), "perplexity": estimate(4.5)},
            "change": {"loss": estimate(-0.5)},
        },
        preflight={
            "findings": [
                {"title": HOSTILE, "severity": "minor", "count": 2, "total": 80, "why": HOSTILE, "cure": "Read them."}
            ]
        },
    ),
    history(loss=lambda step: 2 - step / 100, grad_norm=lambda step: step / 2, entropy=1.5),
    [{"id": HOSTILE, "prompt": [{"role": "user", "content": HOSTILE}], "before": "", "after": HOSTILE}],
    None,
)

DPO = Trained(
    "dpo",
    record(
        "dpo",
        key="k-dpo",
        parent="k-sft",
        canary={"expected": 0.693147, "found": 0.693147},
        metrics={
            "before": {"rows": 20, "groups": 10, "accuracy": estimate(0.5, 0), "margin": estimate(0.0, 0)},
            "after": {"rows": 20, "groups": 10, "accuracy": estimate(0.7), "margin": estimate(0.3)},
            "change": {"accuracy": estimate(0.2), "margin": estimate(0.3)},
            "longer_is_better_accuracy": estimate(0.2),
        },
        monitor={"bands": {"rewards/accuracies": [0.45, None]}, "findings": [FINDING]},
    ),
    history(
        loss=0.6,
        **{
            "rewards/accuracies": 1.0,
            "rewards/chosen": lambda step: -0.001 * step,
            "rewards/rejected": lambda step: -0.01 * step,
        },
    ),
    [],
    pl.DataFrame({"id": ["a", "b"], "chosen_reward": [0.4, -0.1], "rejected_reward": [-0.2, 0.3]}),
)

GRPO = Trained(
    "grpo",
    record(
        "grpo",
        key="k-grpo",
        parent="k-sft",
        metrics={
            "before": {
                "rows": 9,
                "groups": 9,
                "reward": estimate(0.4),
                "rewards/length": estimate(0.4),
                "tokens": estimate(30),
            },
            "after": {
                "rows": 9,
                "groups": 9,
                "reward": estimate(0.38),
                "rewards/length": estimate(0.38),
                "tokens": estimate(20),
            },
            "change": {"reward": estimate(-0.02), "rewards/length": estimate(-0.02), "tokens": estimate(-10)},
            "stopped": "no prompt had two answers of different reward",
        },
    ),
    history(
        reward=0.4,
        **{
            "rewards/length/mean": 0.4,
            "rewards/regex/mean": 0.1,
            "completions/mean_length": 20.0,
            "completions/min_length": 10.0,
            "completions/max_length": lambda step: 20.0 + step,
        },
    ),
    [],
    None,
)


@pytest.fixture(scope="module")
def page() -> str:
    return render([SFT, DPO, GRPO])


def test_row_text_becomes_no_markup_and_hides_no_character(page: str, parse: Any) -> None:
    parsed = parse(page)
    assert not {"script", "img", "iframe", "link", "form"} & set(parsed.tags)
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on") or name == "style"]
    assert "http" not in page.replace("http-equiv", "")
    assert "\u202e" not in page
    assert any(one.startswith("default-src 'none'; style-src 'sha256-") for one in parsed.values("content"))
    assert parsed.text.count("<script>alert(1)</script>") == 4


def test_each_stage_stands_where_its_lineage_links_to(page: str, parse: Any) -> None:
    parsed = parse(page)
    assert stages.chains([SFT, DPO, GRPO]) == [["tiny", "sft", "dpo"], ["tiny", "sft", "grpo"]]
    assert {"stage-sft", "stage-dpo", "stage-grpo"} <= set(parsed.values("id"))
    assert {link.removeprefix("#") for link in parsed.values("href")} <= set(parsed.values("id"))


def test_a_stage_whose_parent_is_elsewhere_is_led_up_to_by_its_lineage() -> None:
    assert stages.chains([DPO]) == [["tiny", "sft", "dpo"]]
    assert stages.chains([SFT]) == [["tiny", "sft"]]


def test_stages_of_one_name_and_records_in_a_ring_end() -> None:
    again = DPO._replace(name="sft")
    assert stages.chains([SFT, again]) == [["tiny", "sft", "sft"]]
    head, tail = (
        DPO._replace(name=key, record={**DPO.record, "key": key, "parent": {"key": parent}, "lineage": []})
        for key, parent in (("a", "b"), ("b", "a"))
    )
    last = DPO._replace(name="c", record={**DPO.record, "key": "c", "parent": {"key": "a"}, "lineage": []})
    assert stages.chains([head, tail, last]) == [["tiny", "b", "a", "c"]]


def test_what_is_told_of_the_stages(page: str, parse: Any) -> None:
    text = parse(page).text
    for told in (
        "No watched value left its healthy range.",
        "every pair is told apart within 50 steps",
        "What to do: See what alone tells the sides apart.",
        "from step 11 to the end",
        "Training ended early",
        "no prompt had two answers of different reward",
        "0.700 (0.650 to 0.750)",
        "by length",
        "-0.500 (-0.550 to -0.450)",
        "perplexity 7.4 before and 4.5 after",
        "mean length of answers, in tokens, 30 before and 20 after",
        "healthy: 0.01 to 10",
        "expected 0.6931 while policy and reference are one",
        "nothing",
        "2 of 80 rows",
    ):
        assert told in text, told


def test_a_running_mean_of_a_constant_is_that_constant() -> None:
    steps = [{"step": at, "loss": 0.4} for at in range(1, 41)]
    (drawn,) = charts.curves(SFT._replace(history=steps))
    heights = re.findall(r"M-?[\d.]+,(-?[\d.]+)((?:L-?[\d.]+,-?[\d.]+)+)", str(drawn.chart))
    assert heights
    for first, rest in heights:
        assert set(re.findall(r",(-?[\d.]+)", rest)) == {first}


def test_curves_are_those_of_the_method_and_of_what_was_logged() -> None:
    assert [one.title for one in charts.curves(SFT)] == ["loss", "entropy", "gradient"]
    assert [one.title for one in charts.curves(DPO)] == ["loss", "accuracy", "rewards"]
    assert [one.title for one in charts.curves(GRPO)] == [
        "reward",
        "reward: length",
        "reward: regex",
        "length of answers",
    ]


def test_the_healthy_ground_ends_at_its_range() -> None:
    gradient = next(one for one in charts.curves(SFT) if one.title == "gradient")
    assert str(gradient.chart).count("var(--sound)") == 1
    assert str(gradient.chart).count("var(--good)") == 2
    (loss, *_) = charts.curves(SFT)
    assert "var(--sound)" not in str(loss.chart)


def test_kto_gets_the_share_of_steps_that_ranked_right() -> None:
    kto = Trained(
        "kto",
        record("kto", key="k", metrics={}),
        history(loss=0.5, **{"rewards/margins": lambda s: s - 10.5}),
        [],
        None,
    )
    (found,) = [one for one in charts.curves(kto) if one.title == "steps ranked right"]
    assert (found.first, found.last) == (0.5, 1.0)


def test_notes_say_what_held_out_rows_show_and_what_was_watched() -> None:
    found = notes.notes([SFT, DPO, GRPO])
    assert [(level, anchor) for level, _, anchor in found] == [
        ("fine", "stage-sft"),
        ("fine", "stage-dpo"),
        ("warn", "stage-dpo"),
        ("warn", "stage-dpo"),
        ("warn", "stage-grpo"),
    ]
    assert [text for _, text, _ in found] == [
        "sft: Held-out answers became better: change of held-out loss -0.500 (-0.550 to -0.450).",
        "dpo: The trained model prefers the better answers: held-out accuracy 0.700 (0.650 to 0.750).",
        "dpo: Length alone ranks held-out rows as well (shorter is better: 0.800).",
        "dpo: In training, from step 11: every pair is told apart within 50 steps.",
        "grpo: Training cannot be told from no change: change of held-out reward -0.020 (-0.070 to 0.030).",
    ]


def test_stages_of_a_run_are_those_trained_on_its_rows(tmp_path: Path) -> None:
    for stage, rows in ((SFT, "these"), (DPO, "others")):
        folder = tmp_path / "model" / stage.name
        folder.mkdir(parents=True)
        (folder / "stage.json").write_text(json.dumps(dict(stage.record)), encoding="utf-8")
        (folder / "rows.json").write_text(json.dumps({"training_rows": rows}), encoding="utf-8")
    listed = [{"stage": name, "path": f"model/{name}"} for name in ("sft", "dpo", "gone")]
    found = stages.of_run(tmp_path, {"recipe": {"train": None}, "training": listed, "training_rows": "these"})
    assert [one.name for one in found] == ["sft"]
    assert stages.of_run(tmp_path, {"recipe": {"train": None}}) == []


def test_prompts_with_pictures_are_told_in_words_and_shown_where_the_run_has_them(tmp_path: Path) -> None:
    content = [{"type": "image", "image": "pictures/ab/ab.png"}, {"type": "text", "text": "What colour?"}]
    sample = {"id": "one", "prompt": [{"role": "user", "content": content}], "before": "no", "after": "red"}
    seen = {"rows_with": 9, "rows_without": 1, "different": 3, "tokens_each": {"least": 4, "most": 4, "mean": 4.0}}
    stage = SFT._replace(samples=[sample], record={**SFT.record, "pictures": seen})
    assert "[picture] What colour?" in render([stage])
    assert "LoRA, rank 8, alpha 16, all layers of the language side" in render([stage])
    assert "3 different in 9 of 10 rows; 4 tokens each" in render([stage])
    table = {
        "uri": ["pictures/ab/ab.png", None],
        "thumbnail": [b"jpeg", None],
        "width": [40, 1],
        "height": [30, 1],
        "format": ["PNG", "PNG"],
    }
    pl.DataFrame(table).write_parquet(tmp_path / "pictures.parquet")
    (shown,) = shown_by([stage], tmp_path)["stages"][0]["samples"]
    assert shown["pictures"] == [{"src": "data:image/jpeg;base64,anBlZw==", "width": 40, "height": 30, "format": "PNG"}]


def test_a_page_is_written_for_stages_without_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    folder.mkdir()
    with pytest.raises(InputError, match=r"sft: no stage\.json"):
        write_page(folder)
    (folder / "stage.json").write_text(json.dumps(dict(SFT.record)), encoding="utf-8")
    page = write_page(folder)
    assert page == folder / "report.html"
    assert page.stat().st_mode & 0o777 == 0o600
    assert re.search(r"<h1>sft</h1>", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("value", "told"), [(-0.0, "0"), (1234567, "1,234,567"), (None, "–"), (0.69314, "0.6931")])
def test_numbers_are_short(value: Any, told: str) -> None:
    assert number(value) == told
