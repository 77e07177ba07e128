"""What reporters get beside TRL's own values: held-out estimates and settings; a failing one costs a warning only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl", reason="needs the extra `train`")
from trainers import reporters

pytestmark = pytest.mark.train

METRICS = {
    "steps": 3,
    "after": {"rows": 4, "auc": {"value": 0.7, "low": 0.6, "high": 0.8}},
    "change": {"auc": {"value": 0.2, "low": 0.1, "high": 0.3}},
}


class WandbCallback:
    """Stands in for transformers' own, which needs the service's client."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.logged: list[dict[str, float]] = []
        self.config: dict[str, Any] = {}
        self._wandb = SimpleNamespace(config=self.config)

    def on_log(self, args: Any, state: Any, control: Any, model: Any = None, logs: Any = None) -> None:
        if self.fails:
            raise ConnectionError("no network")
        self.logged.append(logs)


def told(monkeypatch: pytest.MonkeyPatch, callback: WandbCallback, *, main: bool = True) -> None:
    monkeypatch.setattr(reporters, "settled", lambda plan: {"beta": 0.1})
    trainer = SimpleNamespace(
        is_world_process_zero=lambda: main,
        callback_handler=SimpleNamespace(callbacks=[callback, object()]),
        args=None,
        state=SimpleNamespace(global_step=3),
        control=None,
        model=None,
    )
    plan: Any = SimpleNamespace(settings=SimpleNamespace(report_to=("wandb",)))
    reporters.tell(plan, trainer, METRICS)


def test_a_reporter_gets_every_held_out_estimate_with_its_bounds_and_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    callback = WandbCallback()
    told(monkeypatch, callback)
    assert callback.logged == [
        {
            "eval_after_auc": 0.7,
            "eval_after_auc_low": 0.6,
            "eval_after_auc_high": 0.8,
            "eval_change_auc": 0.2,
            "eval_change_auc_low": 0.1,
            "eval_change_auc_high": 0.3,
        }
    ]
    assert callback.config == {"prefdata": {"beta": 0.1}}


def test_a_reporter_that_fails_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told(monkeypatch, WandbCallback(fails=True))
    assert [record.message for record in caplog.records] == ["Wandb took no held-out metrics: ConnectionError"]


def test_only_one_process_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    callback = WandbCallback()
    told(monkeypatch, callback, main=False)
    assert callback.logged == []
