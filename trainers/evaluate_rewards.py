"""How well a trained model's implicit reward tells good answers from bad ones, on rows it never saw.

The implicit reward of a row is beta * (log p_policy(completion | prompt) - log p_reference(completion | prompt)), the
reference being the start model. Before training the two are the same model, so every reward is 0 and the AUC 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from trainers.rendering import Encoded
from trainers.vision.likelihood import seen_logps
from trainers.vision.processor import Looks

BATCH_TOKENS = 1024
"""Padded tokens in one forward pass; larger ones are no faster on a CPU and cost memory."""

MIN_SPARED = 0.15
"""Share of all tokens that shared prompts must spare before they are read apart from their answers."""


class Estimate(NamedTuple):
    """A number and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Rewards(NamedTuple):
    """Held-out metrics of one model."""

    rows: int
    groups: int
    mean_good: Estimate
    mean_bad: Estimate
    margin: Estimate
    """Mean reward of the good rows minus that of the bad ones."""
    auc: Estimate
    """Share of (good, bad) pairs whose good row has the higher reward; a tie counts half."""
    accuracy: Estimate
    """Mean of the two below, so that the commoner label does not decide it."""
    accuracy_good: Estimate
    """Share of good rows whose reward is above 0, which is what they had before training; 0 itself counts half."""
    accuracy_bad: Estimate
    """Share of bad rows whose reward is below 0; 0 itself counts half."""

    def record(self) -> dict[str, Any]:
        """As plain JSON data, rounded to 1e-4."""
        return {
            name: {key: round(one, 4) for key, one in value._asdict().items()} if isinstance(value, Estimate) else value
            for name, value in self._asdict().items()
        }


def completion_logps(
    model: Any,
    rows: Sequence[Encoded],
    *,
    pad_id: int,
    looks: Looks | None = None,
    advance: Callable[[int], object] = lambda done: None,
) -> list[float]:
    """Summed log-probability of each row's completion under `model`, in the order of `rows`.

    Rows with one and the same prompt, such as the sides of a pair, are read together and their prompt once, where that
    spares enough. What is not trained on does not count. `looks` is what a vision-language model sees pictures by.
    `advance` is told how many rows are done.
    """
    if looks is not None:
        return seen_logps(model, rows, looks, advance=advance)
    model.eval()
    found = [0.0] * len(rows)
    groups = _with_one_prompt(rows)
    if not _pays(rows, groups) or not _splits(model):
        groups = []
    for batch in _packed(rows, groups):
        _score_answers(model, rows, batch, found, pad_id)
        advance(sum(map(len, batch)))
    done = {at for group in groups for at in group}
    for alone in _batches(rows, [at for at in range(len(rows)) if at not in done]):
        _score_whole(model, rows, alone, found, pad_id)
        advance(len(alone))
    return found


def _score_whole(model: Any, rows: Sequence[Encoded], batch: Sequence[int], found: list[float], pad_id: int) -> None:
    """Prompt and answer in one pass, padded on the left, so that all answers end at the last position and only their
    logits are computed."""
    import torch

    device = next(model.parameters()).device
    width = max(_length(rows[at]) for at in batch)
    answer = max(len(rows[at].completion_ids) for at in batch)
    ids = torch.full((len(batch), width), pad_id)
    mask = torch.zeros((len(batch), width), dtype=torch.long)
    scored = torch.zeros((len(batch), answer), dtype=torch.bool)
    for line, at in enumerate(batch):
        row = rows[at]
        ids[line, width - _length(row) :] = torch.tensor(row.prompt_ids + row.completion_ids)
        mask[line, width - _length(row) :] = 1
        begin = answer - len(row.completion_ids)
        scored[line, begin:] = True
        for start, end in row.untrained:
            scored[line, begin + start : begin + end] = False
    ids, mask, scored = ids.to(device), mask.to(device), scored.to(device)
    with torch.no_grad():
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            logits_to_keep=answer + 1,
            use_cache=False,
        ).logits[:, :-1]
        _sum(logits, ids[:, -answer:], scored, batch, found)


def _score_answers(
    model: Any, rows: Sequence[Encoded], batch: Sequence[Sequence[int]], found: list[float], pad_id: int
) -> None:
    """Each prompt of the batch once, padded on the left; then all answers after it, padded on the right."""
    import torch

    device = next(model.parameters()).device
    prompts = [rows[group[0]].prompt_ids for group in batch]
    members = [at for group in batch for at in group]
    owner = torch.tensor([line for line, group in enumerate(batch) for _ in group], device=device)
    width, answer = max(map(len, prompts)), max(len(rows[at].completion_ids) for at in members)
    heads = torch.tensor([[pad_id] * (width - len(ids)) + ids for ids in prompts], device=device)
    seen = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts], device=device)
    tails = torch.full((len(members), answer), pad_id)
    real = torch.zeros((len(members), answer), dtype=torch.long)
    for line, at in enumerate(members):
        own = rows[at].completion_ids
        tails[line, : len(own)] = torch.tensor(own)
        real[line, : len(own)] = 1
    scored = real.bool()
    for line, at in enumerate(members):
        for start, end in rows[at].untrained:
            scored[line, start:end] = False
    tails, real, scored = tails.to(device), real.to(device), scored.to(device)
    with torch.no_grad():
        first = model(
            input_ids=heads,
            attention_mask=seen,
            position_ids=(seen.cumsum(-1) - 1).clamp(min=0),
            logits_to_keep=1,
            use_cache=True,
        )
        logits = first.logits[owner]
        if answer > 1:
            states = first.past_key_values
            states.batch_select_indices(owner)
            seen = seen[owner]
            second = model(
                input_ids=tails[:, :-1],
                attention_mask=torch.cat([seen, real[:, :-1]], 1),
                position_ids=seen.sum(1, keepdim=True) + torch.arange(answer - 1, device=device)[None],
                past_key_values=states,
                use_cache=True,
            )
            logits = torch.cat([logits, second.logits], 1)
        _sum(logits, tails, scored, members, found)


def _sum(logits: Any, targets: Any, scored: Any, rows: Sequence[int], found: list[float]) -> None:
    import torch

    logps = torch.zeros_like(scored, dtype=torch.float32)
    logps[scored] = -torch.nn.functional.cross_entropy(logits[scored].float(), targets[scored], reduction="none")
    for at, total in zip(rows, logps.sum(-1).tolist(), strict=True):
        found[at] = total


def summarise(
    labels: Sequence[bool], rewards: Sequence[float], groups: Sequence[str], *, n_bootstrap: int, seed: int
) -> Rewards:
    """The metrics with percentile intervals over `n_bootstrap` resamples of whole groups.

    Rows of one group (session, customer or cluster) are not independent, so groups are drawn, not rows. Resamples
    without both labels are left out of the interval. Raises ValueError unless both labels are there.
    """
    import numpy as np

    good = np.asarray(labels, dtype=bool)
    reward = np.asarray(rewards, dtype=np.float64)
    if good.all() or not good.any():
        raise ValueError("both labels are needed to compare rewards")
    weights = resampled(groups, n_bootstrap=n_bootstrap, seed=seed)
    weight_good, weight_bad = weights * good, weights * ~good
    both = (weight_good.sum(1) > 0) & (weight_bad.sum(1) > 0)
    weight_good, weight_bad = weight_good[both], weight_bad[both]
    mean_good = weight_good @ reward / weight_good.sum(1)
    mean_bad = weight_bad @ reward / weight_bad.sum(1)
    order = np.argsort(reward, kind="stable")
    _, tie = np.unique(reward[order], return_inverse=True)
    bad_at = _sum_by(weight_bad[:, order], tie)
    good_at = _sum_by(weight_good[:, order], tie)
    below = np.cumsum(bad_at, axis=1) - 0.5 * bad_at
    auc = (good_at * below).sum(1) / (weight_good.sum(1) * weight_bad.sum(1))
    above = np.where(reward > 0, 1.0, np.where(reward == 0, 0.5, 0.0))
    right_good = weight_good @ above / weight_good.sum(1)
    right_bad = weight_bad @ (1 - above) / weight_bad.sum(1)
    found = (mean_good, mean_bad, mean_good - mean_bad, auc, (right_good + right_bad) / 2, right_good, right_bad)
    return Rewards(len(good), len(set(groups)), *(estimate(one) for one in found))


def resampled(groups: Sequence[str], *, n_bootstrap: int, seed: int) -> Any:
    """How often each row counts, shape (1 + n_bootstrap, rows): once in the first line, as often as its group is drawn
    in the others."""
    import numpy as np

    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_bootstrap)
    return np.vstack([np.ones(len(names), dtype=np.int64), draws])[:, group].astype(np.float64)


def estimate(values: Any) -> Estimate:
    """The first value, which is that of all rows, with the 95 % interval of the others, which are resamples."""
    import numpy as np

    low, high = np.quantile(values[1:], [0.025, 0.975]) if len(values) > 1 else (values[0], values[0])
    return Estimate(float(values[0]), float(low), float(high))


def _sum_by(weights: Any, label: Any) -> Any:
    """Columns of `weights` (resamples, rows) summed within equal, ascending `label`."""
    import numpy as np

    starts = np.flatnonzero(np.diff(label, prepend=-1))
    return np.add.reduceat(weights, starts, axis=1)


def _length(row: Encoded) -> int:
    return len(row.prompt_ids) + len(row.completion_ids)


def _with_one_prompt(rows: Sequence[Encoded]) -> list[list[int]]:
    """Positions of rows whose prompts are equal, for prompts that come more than once; longest first."""
    found: dict[tuple[int, ...], list[int]] = {}
    for at, row in enumerate(rows):
        found.setdefault(tuple(row.prompt_ids), []).append(at)
    groups = [group for prompt, group in found.items() if len(group) > 1 and prompt]
    return sorted(groups, key=lambda group: (-max(_length(rows[at]) for at in group), group[0]))


def _pays(rows: Sequence[Encoded], groups: Sequence[Sequence[int]]) -> bool:
    """Whether reading shared prompts once spares enough: two smaller passes cost more than one large one."""
    spared = sum((len(group) - 1) * len(rows[group[0]].prompt_ids) for group in groups)
    return spared >= MIN_SPARED * sum(map(_length, rows))


def _splits(model: Any) -> bool:
    """Whether the model keeps plain keys and values of every token; some keep a window or a running state. Frozen
    layers that run once a batch (`trunk`) spare more than shared prompts do."""
    if getattr(model, "_is_stateful", False) or getattr(model, "shares_trunk", False):
        return False
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    return set(kinds) == {"full_attention"} and not getattr(config, "sliding_window", None)


def _packed(rows: Sequence[Encoded], groups: Sequence[Sequence[int]]) -> list[list[list[int]]]:
    """Groups, in their order, cut so that what is read stays within BATCH_TOKENS as it will be padded."""
    batches: list[list[list[int]]] = []
    width = answer = count = 0
    for group in groups:
        wider = max(width, len(rows[group[0]].prompt_ids))
        longer = max(answer, *(len(rows[at].completion_ids) for at in group))
        more = count + len(group)
        if batches and (len(batches[-1]) + 1) * wider + more * longer <= BATCH_TOKENS:
            batches[-1].append(list(group))
            width, answer, count = wider, longer, more
        else:
            batches.append([list(group)])
            width, answer = len(rows[group[0]].prompt_ids), max(len(rows[at].completion_ids) for at in group)
            count = len(group)
    return batches


def _batches(rows: Sequence[Encoded], positions: Sequence[int]) -> list[list[int]]:
    """Positions of rows, longest first, cut so that a padded batch stays within BATCH_TOKENS."""
    batches: list[list[int]] = []
    for at in sorted(positions, key=lambda at: (-_length(rows[at]), at)):
        if batches and _length(rows[batches[-1][0]]) * (len(batches[-1]) + 1) <= BATCH_TOKENS:
            batches[-1].append(at)
        else:
            batches.append([at])
    return batches
