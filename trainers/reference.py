"""The proof that the reference model did not move: the start model still scores as it did before training."""

from __future__ import annotations

import json
from typing import Any

import torch

from trainers.callbacks import CanaryError
from trainers.evaluate_rewards import completion_logps
from trainers.method import Plan

PROBES = 4
"""Held-out rows whose reference log-probability is taken again after training."""


def proof(plan: Plan, model: Any) -> dict[str, Any]:
    """How far the reference's log-probabilities of the shortest held-out rows moved; CanaryError beyond rounding.

    Under an adapter the reference is the model without it; after full fine-tuning it is loaded anew.
    """
    assert plan.held_out is not None
    before = json.loads((plan.output_dir / "before.json").read_text(encoding="utf-8"))["measured"]
    side, rows = next(iter(plan.held_out.sides.items()))
    logps = before[side]
    probes = sorted(range(len(rows)), key=lambda at: (len(rows[at].prompt_ids) + len(rows[at].completion_ids), at))
    probes = probes[:PROBES]
    encoded = [rows[at] for at in probes]
    pad_id = plan.tokenizer.pad_token_id
    if plan.settings.tuner == "full":
        fresh = plan.method.load(plan, torch.bfloat16 if plan.machine.bfloat16 else torch.float32)
        again = completion_logps(fresh.to(plan.machine.device), encoded, pad_id=pad_id)
    else:
        with model.disable_adapter():
            again = completion_logps(model, encoded, pad_id=pad_id)
    change = max(abs(new - logps[at]) for new, at in zip(again, probes, strict=True))
    if not change <= (0.5 if plan.machine.bfloat16 else 0.01):
        raise CanaryError(
            f"the reference model moved during training: log-probabilities of {len(probes)} held-out rows changed by "
            f"up to {change:.3f}; the stage was not finished"
        )
    return {"probes": len(probes), "largest_change": round(change, 4)}
