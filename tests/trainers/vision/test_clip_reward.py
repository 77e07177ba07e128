"""The filter `clip` as a reward: an answer that is true of its picture is worth more than one that is not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from filters.clip import ClipRelevance
from trainers.rewards import build_rewards, look
from trainers.vision.processor import Looks

pytestmark = pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="needs the extra `clip`")

SAMPLE = Path(__file__).resolve().parents[3] / "recipes" / "data" / "shapes"
SCENES = ("pictures/s0000.png", "pictures/s0001.png", "pictures/s0002.png")


def question(address: str | None) -> list[dict[str, Any]]:
    picture = [] if address is None else [{"type": "image", "image": address}]
    return [{"role": "user", "content": [*picture, {"type": "text", "text": "What is in this picture?"}]}]


def test_true_answers_are_rewarded_above_false_ones_beside_other_rewards_and_without_a_picture_nothing_is_said() -> (
    None
):
    import json

    truth = {}
    for line in (SAMPLE / "truth.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] == "picture" and row["image"] in SCENES:
            truth[row["image"]] = f"a picture of {row['number']} {row['colour']} {row['shape']}s"
    scorer = ClipRelevance(model=str(SAMPLE / "clip")).build().scorer
    clip, length = build_rewards({"clip": {"weight": 2.0}, "length": {"max": 60}}, {"clip": scorer})
    addresses = sorted(truth)
    look([clip, length], Looks(SimpleNamespace(tokenizer=None), SAMPLE), addresses)
    false = [truth[one] for one in [*addresses[1:], addresses[0]]]
    texts = [*(truth[one] for one in addresses), *false, "a picture of one red star"]
    prompts = [question(one) for one in [*addresses, *addresses, None]]
    answers = [[{"role": "assistant", "content": text}] for text in texts]
    found = clip(prompts=prompts, completions=answers, completion_ids=[[1]] * len(texts))
    assert found[-1] is None
    for right, wrong in zip(found[:3], found[3:6], strict=True):
        assert right is not None
        assert wrong is not None
        assert right > wrong + 0.2
    assert clip.weight == 2.0
