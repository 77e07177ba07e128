"""Answers drawn from a policy with fixed seeds, what rewards say of them, and whether that can train anything."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from trainers.evaluate_rewards import estimate, resampled
from trainers.rendering import Message
from trainers.rewards import Rewarder, RewardError, Values, totals
from trainers.vision.processor import Picture, looks_of

BATCH_ANSWERS = 32
"""Answers that are written at once."""

FLAT = 1e-6
"""A standard deviation up to which rewards count as equal."""

TOTAL = "reward"
"""The weighted sum of all rewards, as TRL calls it."""


class Drawn(NamedTuple):
    """Answers to one prompt."""

    answers: list[list[Message]]
    ids: list[list[int]]
    """Their tokens, with the end token where there is one."""
    finished: list[bool]
    """Whether each came to its end within the limit."""


def end_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the tokenizer's end token and those that the model's own settings name."""
    named = model.generation_config.eos_token_id
    listed = [] if named is None else [named] if isinstance(named, int) else list(named)
    return listed if tokenizer.eos_token_id in listed else [tokenizer.eos_token_id, *listed]


def forbidden_ids(model: Any, tokenizer: Any) -> list[int]:
    """Special tokens that no answer may hold: all but those that end it."""
    ends = set(end_ids(model, tokenizer))
    return sorted(at for at, token in tokenizer.added_tokens_decoder.items() if token.special and at not in ends)


def draw(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    each: int,
    max_new_tokens: int,
    seed: int,
    options: Mapping[str, Any],
    bfloat16: bool = False,
    pictures: Sequence[Sequence[Picture]] = (),
    advance: Callable[[int], None] = lambda done: None,
) -> list[Drawn]:
    """`each` answers to every prompt, in order; the same ones for the same model and seed.

    `options` are of transformers' GenerationConfig: `temperature` and the like. Torch's own random numbers are left as
    they were. `pictures` are those of each prompt, where the model reads any. `advance` is told how many prompts are
    done.
    """
    import torch
    from transformers import GenerationConfig

    ends, pad = end_ids(model, tokenizer), tokenizer.pad_token_id
    looks = looks_of(tokenizer)
    config = GenerationConfig(
        do_sample=True,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends,
        disable_compile=True,
        **options,
    )
    device = next(model.parameters()).device
    found: list[Drawn | None] = [None] * len(prompts)
    at_once = max(BATCH_ANSWERS // each, 1)
    ranked = sorted(range(len(prompts)), key=lambda at: (len(prompts[at]), at))
    was_training = model.training
    model.eval()
    for start in range(0, len(ranked), at_once):
        batch = ranked[start : start + at_once]
        width = max(len(prompts[at]) for at in batch)
        ids = torch.tensor([[pad] * (width - len(prompts[at])) + list(prompts[at]) for at in batch], device=device)
        mask = torch.tensor([[0] * (width - len(prompts[at])) + [1] * len(prompts[at]) for at in batch], device=device)
        with (
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            torch.no_grad(),
            torch.autocast(device.type, torch.bfloat16, enabled=bfloat16),
        ):
            torch.manual_seed(_seed(seed, start))
            repeated = ids.repeat_interleave(each, 0)
            shown = [pictures[at] for at in batch for _ in range(each)] if pictures else []
            out = model.generate(
                input_ids=repeated,
                attention_mask=mask.repeat_interleave(each, 0),
                **(looks.shown(shown, repeated) if looks is not None and shown else {}),
                generation_config=config,
            )[:, width:]
        written = [_until_end(row, ends) for row in out.tolist()]
        texts = tokenizer.batch_decode([row for row, _ in written], skip_special_tokens=True)
        for line, at in enumerate(batch):
            own = range(line * each, (line + 1) * each)
            found[at] = Drawn(
                [[{"role": "assistant", "content": texts[one]}] for one in own],
                [written[one][0] for one in own],
                [written[one][1] for one in own],
            )
        advance(len(batch))
    model.train(was_training)
    return [one for one in found if one is not None]


def judged(
    rewarders: Sequence[Rewarder],
    prompts: Sequence[Sequence[Message]],
    drawn: Sequence[Drawn],
    columns: Mapping[str, Sequence[Any]],
) -> dict[str, list[Values]]:
    """Reward name -> for each prompt the rewards of its answers; the weighted sum as `reward`, at the end."""
    each = len(drawn[0].answers) if drawn else 0
    flat: dict[str, Values] = {
        one.__name__: one(
            prompts=[prompt for prompt in prompts for _ in range(each)],
            completions=[answer for row in drawn for answer in row.answers],
            completion_ids=[ids for row in drawn for ids in row.ids],
            **{name: [value for value in values for _ in range(each)] for name, values in columns.items()},
        )
        for one in rewarders
    }
    flat[TOTAL] = totals(flat, {one.__name__: one.weight for one in rewarders})
    return {name: [values[at * each : (at + 1) * each] for at in range(len(drawn))] for name, values in flat.items()}


def probed(found: Mapping[str, Sequence[Values]]) -> dict[str, Any]:
    """What rewards say of several answers to each prompt: mean, spread, prompts without spread, answers unjudged.

    `spread` is the mean standard deviation within a prompt, `zero_spread` the share of prompts whose answers all get
    the same reward, or none: from those nothing is learnt. Means are null where nothing was judged.
    """
    told = {name: _probed(rows) for name, rows in found.items()}
    total = told.pop(TOTAL)
    rows = found[TOTAL]
    return {"prompts": len(rows), "generations": len(rows[0]) if rows else 0, **total, "rewards": told}


def require_spread(probe: Mapping[str, Any]) -> None:
    """Raises RewardError where no prompt's answers differ in reward, or a reward can say nothing at all."""
    silent = sorted(name for name, one in probe["rewards"].items() if one["unjudged"] == 1.0)
    if silent:
        raise RewardError(
            f"rewards: {', '.join(silent)} judged none of {probe['prompts'] * probe['generations']} sampled answers, "
            "so there is nothing to learn from; exact_answer needs rows with an `answer`, a reward model answers that "
            "fit its max_length, a scorer texts long enough to judge"
        )
    if probe["zero_spread"] < 1.0:
        return
    means = ", ".join(f"{name} {one['mean']:.3f}" for name, one in probe["rewards"].items())
    raise RewardError(
        f"rewards: all {probe['generations']} sampled answers get the same reward at each of {probe['prompts']} "
        f"prompts ({means}), so every advantage is 0 and nothing would be trained. "
        "Take one that grades (length, format) beside one that only says right or wrong, more num_generations, a "
        "higher temperature, or easier prompts"
    )


def compared(
    before: Mapping[str, Sequence[float | None]],
    after: Mapping[str, Sequence[float | None]],
    groups: Sequence[str],
    *,
    n_bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """`before`, `after` and `change` of each measure, one value a prompt, with intervals over resamples of groups.

    The change is paired: the same prompts, the same resamples. Prompts that a measure said nothing of, before or
    after, are left out of it.
    """
    import numpy as np

    told: dict[str, dict[str, Any]] = {
        when: {"rows": len(groups), "groups": len(set(groups))} for when in ("before", "after")
    }
    told["change"] = {}
    for name in after:
        pairs = [(old, new) for old, new in zip(before[name], after[name], strict=True)]
        kept = [at for at, (old, new) in enumerate(pairs) if old is not None and new is not None]
        if not kept:
            continue
        weights = resampled([groups[at] for at in kept], n_bootstrap=n_bootstrap, seed=seed)
        old, new = (
            weights @ np.asarray([pairs[at][side] for at in kept], dtype=np.float64) / weights.sum(1) for side in (0, 1)
        )
        for when, values in (("before", old), ("after", new), ("change", new - old)):
            told[when][name] = {part: round(one, 4) for part, one in estimate(values)._asdict().items()}
    return told


def mean(values: Values) -> float | None:
    """Of what could be said; None where nothing could."""
    said = [one for one in values if one is not None]
    return statistics.fmean(said) if said else None


def _probed(rows: Sequence[Values]) -> dict[str, Any]:
    values = [one for row in rows for one in row]
    said = [[one for one in row if one is not None] for row in rows]
    spreads = [statistics.pstdev(row) if row else 0.0 for row in said]
    average = mean(values)
    return {
        "mean": None if average is None else round(average, 4),
        "spread": round(statistics.fmean(spreads), 4),
        "zero_spread": round(sum(one <= FLAT for one in spreads) / len(spreads), 4),
        "unjudged": round(sum(one is None for one in values) / len(values), 4),
    }


def _until_end(row: Sequence[int], ends: Sequence[int]) -> tuple[list[int], bool]:
    at = next((place for place, one in enumerate(row) if one in ends), None)
    return (list(row), False) if at is None else (list(row[: at + 1]), True)


def _seed(seed: int, batch: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}\x1f{batch}".encode(), digest_size=4).digest(), "big")
