"""The reference model of DPO and KTO: which one it is, what it finds of rows, and the proof that it did not move."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from trainers.evaluate_rewards import completion_logps
from trainers.method import Plan
from trainers.reference_store import Kept, kept_logps
from trainers.vision.processor import looks_of

PROBES = 4
"""Held-out rows whose reference log-probability is taken again after training."""

NATS = 0.05
"""How far the mean log-ratio of the first step may be from 0: rounding in float32 stays far below it."""

NATS_BFLOAT16 = 1.0
"""The same in bfloat16, for figures taken in another batch."""


def reference_options(plan: Plan, model: Any, kept: Kept | None) -> dict[str, Any]:
    """What `Reads` says of the reference: its kept figures, else the start model itself, never one that TRL finds.

    Without either TRL would load the model that the config's path names, which is not the start model where parent
    stages are merged into it. Under an adapter it turns the adapter off.
    """
    full = plan.settings.tuner == "full"
    nats = NATS_BFLOAT16 if plan.machine.bfloat16 else NATS
    found: dict[str, Any] = {"reward_tolerance": nats * plan.value("beta")}
    if kept is None:
        return {**found, "options": {"ref_model": plan.start.load(dtype=model.dtype)} if full else {}}

    def use_kept(trainer: Any) -> None:
        trainer.precompute_ref_logps = True  # read the columns; the argument of this name would compute them anew
        trainer.ref_model = None

    options = {"ref_model": _stand_in()} if full else {}
    return {**found, "options": options, "after_build": use_kept, "reference": {"store": kept.record}}


def unproven_for(plan: Plan, model: Any, kept: Kept | None) -> str | None:
    """Why the loss of the first step cannot be known although policy and reference are one model; None where it can."""
    args, config = plan.settings.args, model.config.get_text_config()
    router = args.get("router_aux_loss_coef", getattr(config, "router_aux_loss_coef", 0.0))
    if args.get("use_weighting"):
        return "use_weighting multiplies the loss by what the policy finds of each pair"
    if hasattr(config, "output_router_logits") and router:
        return "router_aux_loss_coef adds the balance of a mixture of experts to the loss"
    if kept is not None and plan.machine.bfloat16:
        return "log-probabilities kept in bfloat16 are rounded as in another batch; the first rewards are checked alone"
    return None


def held_logps(plan: Plan, model: Any, *, reference: bool) -> dict[str, list[float]]:
    """Summed log-probability of every held-out answer, by side; those of the reference out of its store where it is
    exact."""
    from trainers.callbacks import progress

    assert plan.held_out is not None
    sides = plan.held_out.sides
    rows = [row for side in sides.values() for row in side]
    kept = None
    if reference and not plan.machine.bfloat16:
        kept = kept_logps(plan, model, rows, reads=None, what="held-out rows")
    if kept is not None:
        logps = kept.logps
    else:
        what = "start model" if reference else "trained model"
        with progress(f"held-out rows, {what}", len(rows), "row") as bar:
            logps = completion_logps(
                model,
                rows,
                pad_id=plan.tokenizer.pad_token_id,
                looks=looks_of(plan.tokenizer),
                advance=lambda done: bar.update(done),
            )
    size = len(plan.held_out)
    return {side: logps[at * size : (at + 1) * size] for at, side in enumerate(sides)}


def chosen_nll(plan: Plan, trainer: Any, kept: Sequence[float] | None) -> float | None:
    """Mean negative log-likelihood a token of the chosen answers of the first update, under the reference.

    None where it would take weights that are spread over several processes.
    """
    import torch

    if kept is None and plan.machine.spread not in {"alone", "ddp"}:
        return None
    side = [plan.rows.sides["chosen"][at] for at in plan.order.rows]
    means = []
    for batch in first_batches(trainer, plan.settings.gradient_accumulation):
        rows = [side[at] for at in batch]
        logps = [kept[at] for at in batch] if kept is not None else _by_reference(plan, trainer, rows)
        means.append(-sum(logps) / sum(len(row.completion_ids) for row in rows))
    mean = torch.tensor([sum(means) / len(means)], dtype=torch.float64).float().to(trainer.accelerator.device)
    return float(trainer.accelerator.gather(mean).mean())


def first_batches(trainer: Any, count: int) -> list[list[int]]:
    """Positions of the rows in the first batches that this process will train on; nothing is drawn by asking."""
    import torch

    with torch.random.fork_rng():
        return list(itertools.islice(iter(trainer.get_train_dataloader().batch_sampler), count))


def _by_reference(plan: Plan, trainer: Any, rows: Sequence[Any]) -> list[float]:
    pad_id, looks = plan.tokenizer.pad_token_id, looks_of(plan.tokenizer)
    if plan.settings.tuner == "full":
        return completion_logps(trainer.accelerator.unwrap_model(trainer.ref_model), rows, pad_id=pad_id, looks=looks)
    with trainer.model.disable_adapter():
        return completion_logps(trainer.model, rows, pad_id=pad_id, looks=looks)


def _stand_in() -> Any:
    """A model of no size that TRL takes for the reference, and so loads none; it is dropped before it is asked."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=1, n_positions=1, n_embd=1, n_layer=1, n_head=1))


def proof(plan: Plan, trainer: Any) -> dict[str, Any]:
    """How far log-probabilities of the shortest held-out rows, taken after training, are from those of before.

    Asked is what the policy was held to: under an adapter the model without it, in full fine-tuning the reference that
    TRL held. Where it held none, since figures were kept, or where weights are shared out over processes, the start
    model is loaded anew: that shows that its files still are what the figures of before are from, and nothing of TRL.
    `of` in what is given back tells which. Raises CanaryError beyond rounding.
    """
    import torch

    from trainers.callbacks import CanaryError

    assert plan.held_out is not None
    before = json.loads((plan.output_dir / "before.json").read_text(encoding="utf-8"))["measured"]
    side, rows = next(iter(plan.held_out.sides.items()))
    logps = before[side]
    probes = sorted(range(len(rows)), key=lambda at: (len(rows[at].prompt_ids) + len(rows[at].completion_ids), at))
    probes = probes[:PROBES]
    encoded = [rows[at] for at in probes]
    held = plan.settings.tuner != "full" or (trainer.ref_model is not None and plan.machine.spread in {"alone", "ddp"})
    if held:
        again = _by_reference(plan, trainer, encoded)
    else:
        fresh = plan.method.load(plan, torch.bfloat16 if plan.machine.bfloat16 else torch.float32)
        again = completion_logps(
            fresh.to(plan.machine.device),
            encoded,
            pad_id=plan.tokenizer.pad_token_id,
            looks=looks_of(plan.tokenizer),
        )
    change = max(abs(new - logps[at]) for new, at in zip(again, probes, strict=True))
    if not change <= (0.5 if plan.machine.bfloat16 else 0.01):
        what = "the reference model moved" if held else "the files of the start model were changed"
        raise CanaryError(
            f"{what} during training: log-probabilities of {len(probes)} held-out rows changed by up to {change:.3f}; "
            "the stage was not finished"
        )
    return {
        "probes": len(probes),
        "largest_change": round(change, 4),
        "of": "reference" if held else "start_model",
    }
