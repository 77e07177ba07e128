"""The proof that rows packed into one sequence do not see each other.

TRL packs for FlashAttention, and leaves it to the model to keep rows apart by their positions. Models that transformers
builds masks for do so with any attention; one that makes its own mask, or carries a state from token to token, may not,
and would learn each answer from the row before it without a word.
"""

from __future__ import annotations

from typing import Any

from prefdata.errors import RecipeError
from trainers.method import Plan

TOLERANCE = {True: 0.25, False: 0.01}
"""bfloat16 or not -> largest change of a logit that rounding explains."""


def require_blind(plan: Plan, model: Any) -> float:
    """How far the logits of the second of two packed rows are from those of the row alone; RecipeError if too far."""
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    rows = plan.rows.sides["completion"]
    shortest = sorted(range(len(rows)), key=lambda at: (len(rows[at].prompt_ids) + len(rows[at].completion_ids), at))
    pair = [{"input_ids": rows[at].prompt_ids + rows[at].completion_ids} for at in (shortest * 2)[:2]]
    collate = DataCollatorForLanguageModeling(pad_token_id=plan.tokenizer.pad_token_id, padding_free=True)
    device = next(model.parameters()).device

    def logits(examples: list[dict[str, list[int]]]) -> Any:
        inputs = {name: one.to(device) if torch.is_tensor(one) else one for name, one in collate(examples).items()}
        inputs.pop("labels")
        with torch.no_grad():
            return model(**inputs, use_cache=False).logits[0]

    model.eval()
    alone = logits(pair[1:])
    change = float((logits(pair)[-len(alone) :] - alone).abs().max())
    if not change <= TOLERANCE[plan.machine.bfloat16]:
        raise RecipeError(
            f"train: packing: rows packed into one sequence see each other in {plan.start.name} (a logit changes by "
            f"{change:.2f}), so answers would be learnt from the rows before them; set packing: false, and order: "
            "by_length to save padding"
        )
    return change
