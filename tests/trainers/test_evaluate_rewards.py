from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.schema import RecordType
from tests.trainers.conftest import pairs
from trainers import evaluate_rewards
from trainers.evaluate_rewards import completion_logps, summarise
from trainers.models import load_model, load_tokenizer
from trainers.rows import encode_rows
from trainers.trunk import SharedTrunk


@pytest.mark.parametrize(
    ("labels", "rewards", "auc"),
    [
        ([True, True, False, False], [2.0, 1.0, 0.0, -1.0], 1.0),
        ([True, True, False, False], [0.0, 0.0, 0.0, 0.0], 0.5),  # all ties
        ([True, False, True, False], [1.0, 2.0, 3.0, 2.0], 0.5),  # pairs: 2 of 4
        ([False, True], [1.0, 0.0], 0.0),
        ([True, True, False], [1.0, 0.0, 0.0], 0.75),  # one pair right, one tie
    ],
)
def test_auc_is_the_share_of_pairs_ranked_right(labels: list[bool], rewards: list[float], auc: float) -> None:
    found = summarise(labels, rewards, [str(at) for at in range(len(labels))], n_bootstrap=50, seed=0)
    assert found.auc.value == auc
    assert found.auc.low <= auc <= found.auc.high


def test_margin_is_the_difference_of_the_means_and_groups_are_drawn_whole() -> None:
    labels, rewards = [True, True, False, False] * 5, [1.0, 3.0, 0.0, -2.0] * 5
    one_group = summarise(labels, rewards, ["a"] * 20, n_bootstrap=100, seed=0)
    many = summarise(labels, rewards, [str(at) for at in range(20)], n_bootstrap=100, seed=0)
    assert (one_group.mean_good.value, one_group.mean_bad.value, one_group.margin.value) == (2.0, -1.0, 3.0)
    assert (one_group.margin.low, one_group.margin.high) == (3.0, 3.0)
    assert many.margin.low < 3.0 < many.margin.high
    assert (one_group.groups, many.groups) == (1, 20)


def test_the_interval_is_the_same_for_one_seed() -> None:
    labels, rewards, groups = (
        [True, False] * 10,
        [float(at % 5) for at in range(20)],
        [str(at // 2) for at in range(20)],
    )
    assert summarise(labels, rewards, groups, n_bootstrap=200, seed=3) == summarise(
        labels, rewards, groups, n_bootstrap=200, seed=3
    )


def test_one_label_cannot_be_summarised() -> None:
    with pytest.raises(ValueError, match="both labels"):
        summarise([True, True], [1.0, 2.0], ["a", "b"], n_bootstrap=10, seed=0)


def reference_logps(model: Any, rows: Any) -> list[float]:
    """One row at a time, whole logits, no padding."""
    import torch

    found = []
    for row in rows:
        ids = torch.tensor([row.prompt_ids + row.completion_ids])
        with torch.no_grad():
            logps = model(input_ids=ids).logits.log_softmax(-1)
        start = len(row.prompt_ids)
        found.append(sum(float(logps[0, at - 1, ids[0, at]]) for at in range(start, ids.shape[1])))
    return found


def test_batched_log_probabilities_equal_those_of_single_rows(tiny_model: Path, support_rows: pl.DataFrame) -> None:
    model = load_model(tiny_model)
    rows = encode_rows(
        support_rows, load_tokenizer(tiny_model), RecordType.UNPAIRED, max_length=128, system=None, name="rows"
    ).sides["completion"]
    done: list[int] = []
    found = completion_logps(model, rows, pad_id=0, advance=done.append)
    assert found == pytest.approx(reference_logps(model, rows), abs=1e-3)
    assert sum(done) == 24


def test_a_prompt_that_answers_share_is_read_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = load_model(tiny_model), load_tokenizer(tiny_model)
    frame = pairs(
        [
            ("Where is my order? " * 3, "It will arrive tomorrow, thank you.", "No."),
            ("Where?", "A", "Stop asking. " * 4),
            ("Where is my order? " * 3, "Thank you for your patience.", "Read the page."),
            ("How long does it take?", "Tomorrow.", "Not my problem."),
        ]
    )
    sides = encode_rows(frame, tokenizer, RecordType.PREFERENCE, max_length=128, system=None, name="rows").sides
    rows = [*sides["chosen"], *sides["rejected"]]
    read: list[int] = []
    model.register_forward_pre_hook(
        lambda _, args, options: read.append(options["input_ids"].numel()), with_kwargs=True
    )
    done: list[int] = []
    found = completion_logps(model, rows, pad_id=0, advance=done.append)
    assert (len(read), done) == (2, [8])  # the prompts, three of them, then all answers
    spared = sum(read)
    monkeypatch.setattr(evaluate_rewards, "MIN_SPARED", 1.0)
    read.clear()
    assert completion_logps(model, rows, pad_id=0) == pytest.approx(found, abs=1e-4)
    assert spared < sum(read)
    assert found == pytest.approx(reference_logps(model, rows), abs=1e-3)
    parts = [row._replace(untrained=((0, 2),)) for row in rows]
    whole = completion_logps(model, parts, pad_id=0)
    monkeypatch.setattr(evaluate_rewards, "MIN_SPARED", 0.0)
    assert completion_logps(model, parts, pad_id=0) == pytest.approx(whole, abs=1e-4)
    assert whole[1] > found[1]
    alone = [sides["chosen"][1], sides["rejected"][1]._replace(completion_ids=[5])]
    assert completion_logps(model, alone, pad_id=0) == pytest.approx(reference_logps(model, alone), abs=1e-3)


def test_a_shared_trunk_changes_no_number_and_is_used(tiny_model: Path, support_rows: pl.DataFrame) -> None:
    model = load_model(tiny_model)
    rows = encode_rows(
        support_rows, load_tokenizer(tiny_model), RecordType.UNPAIRED, max_length=128, system=None, name="rows"
    ).sides["completion"]
    plain = completion_logps(model, rows, pad_id=0)
    trunk = SharedTrunk(model, 1)
    first, second = completion_logps(model, rows, pad_id=0), completion_logps(model, rows, pad_id=0)
    assert first == pytest.approx(plain, abs=1e-4)  # which read the prompts that rows share once
    assert second == first
    assert trunk.hits == len(trunk.kept) > 0
