"""A trained reward model, loaded again: a number for each answer to its prompt, in batches, encoded as in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefdata.errors import InputError
from trainers.heads import with_score_head
from trainers.identity import identity
from trainers.job import ADAPTER, RECORD, machine, quiet, read_stage, require_training, trained_hash
from trainers.models import load_tokenizer, quiet_progress, refuse_code
from trainers.rendering import Message, encode_sides, protect
from trainers.start import open_below

BATCH_TOKENS = 2048
"""Padded tokens in one forward pass."""


@dataclass(frozen=True, kw_only=True)
class RewardScorer:
    """A loaded reward model."""

    model: Any
    tokenizer: Any
    max_length: int
    """Tokens of prompt and answer; older turns are cut to fit, answers never."""
    system: str | None
    told: Mapping[str, Any]
    """Which weights these are."""

    def score(
        self, prompts: Sequence[Sequence[Message] | str], completions: Sequence[Sequence[Message] | str]
    ) -> list[float | None]:
        """A reward for each answer, more is better; None for an answer that does not fit into `max_length` tokens.

        A text stands for one turn: the customer's of a prompt, the assistant's of an answer.
        """
        rows: list[list[int]] = []
        places: list[int] = []
        for at, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            sides = encode_sides(
                self.tokenizer,
                _turns(prompt, "user"),
                [_turns(completion, "assistant")],
                max_length=self.max_length,
                system=self.system,
            )
            if sides is not None:
                rows.append(sides[0].prompt_ids + sides[0].completion_ids)
                places.append(at)
        found: list[float | None] = [None] * len(prompts)
        read = scores(self.model, rows, pad_id=self.tokenizer.pad_token_id)
        for at, one in zip(places, read, strict=True):
            found[at] = one
        return found

    def identity(self) -> dict[str, Any]:
        """What the numbers depend on, as JSON data."""
        return {**self.told, "max_length": self.max_length, "system": self.system}


def load_reward(model: str | Path, *, root: Path | None = None, max_length: int | None = None) -> RewardScorer:
    """The reward model in a folder: a finished reward stage, or any sequence-classification model with one label.

    A stage's start model is proven by its hash and its parents are merged. One trained with qlora is put on its start
    model as it is, not rounded to 4 bits again, so its rewards differ a little from those in its stage.json.
    Raises InputError for a folder that holds neither.
    """
    torch = require_training()
    folder = Path(model).expanduser()
    with quiet():
        if (folder / RECORD).is_file():
            scorer = _of_stage(folder, root, max_length)
        elif folder.is_dir():
            scorer = _of_folder(folder, max_length)
        else:
            raise InputError(f"{folder}: no folder of a reward stage or of a reward model")
        scorer.model.to(machine().device if torch.cuda.is_available() else "cpu").eval()
    return scorer


def scores(
    model: Any,
    rows: Sequence[Sequence[int]],
    *,
    pad_id: int,
    bfloat16: bool = False,
    advance: Callable[[int], None] = lambda done: None,
) -> list[float]:
    """The reward of each row of token ids, in order; rows of like length share a pass, padded on the right.

    `advance` is told how many rows are done.
    """
    import torch

    device = next(model.parameters()).device
    found = [0.0] * len(rows)
    model.eval()
    for batch in _batches(rows):
        width = max(len(rows[at]) for at in batch)
        ids = torch.full((len(batch), width), pad_id)
        mask = torch.zeros((len(batch), width), dtype=torch.long)
        for line, at in enumerate(batch):
            ids[line, : len(rows[at])] = torch.tensor(rows[at])
            mask[line, : len(rows[at])] = 1
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False).logits[:, 0]
        for at, one in zip(batch, logits.float().tolist(), strict=True):
            found[at] = one
        advance(len(batch))
    return found


def _of_stage(folder: Path, root: Path | None, max_length: int | None) -> RewardScorer:
    stage = read_stage(folder)
    if stage.record["method"] != "reward":
        raise InputError(
            f"{folder.name}: a stage of {stage.record['method']}; its model writes answers and scores none"
        )
    tokenizer = protect(load_tokenizer(stage.trained))
    if stage.trained.name == ADAPTER:
        from peft import PeftModel

        bare = with_score_head(open_below(stage, root=root).load(), pad_id=tokenizer.pad_token_id)
        model = PeftModel.from_pretrained(bare, str(stage.trained)).merge_and_unload()
    else:
        model = _classifier(stage.trained)
    settings = stage.record["settings"]
    return RewardScorer(
        model=model,
        tokenizer=tokenizer,
        max_length=max_length or settings["max_length"],
        system=settings["system"],
        told={"key": stage.record["key"], "files": trained_hash(stage.record)},
    )


def _of_folder(folder: Path, max_length: int | None) -> RewardScorer:
    refuse_code(folder)
    tokenizer = protect(load_tokenizer(folder))
    model = _classifier(folder)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return RewardScorer(
        model=model, tokenizer=tokenizer, max_length=max_length or 1024, system=None, told={"model": identity(folder)}
    )


def _classifier(folder: Path) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    kinds = config.architectures or []
    if config.num_labels != 1 or not any(kind.endswith("SequenceClassification") for kind in kinds):
        raise InputError(
            f"{folder.name}: {', '.join(kinds) or 'a model of no stated kind'} with {config.num_labels} labels; "
            "expected a sequence-classification model with one"
        )
    with quiet_progress():
        return AutoModelForSequenceClassification.from_pretrained(
            str(folder), dtype=torch.float32, use_safetensors=True, local_files_only=True
        )


def _turns(value: Sequence[Message] | str, role: str) -> list[Message]:
    return [{"role": role, "content": value}] if isinstance(value, str) else list(value)


def _batches(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Positions of rows, longest first, cut so that a padded batch stays within BATCH_TOKENS."""
    batches: list[list[int]] = []
    for at in sorted(range(len(rows)), key=lambda at: (-len(rows[at]), at)):
        if batches and len(rows[batches[-1][0]]) * (len(batches[-1]) + 1) <= BATCH_TOKENS:
            batches[-1].append(at)
        else:
            batches.append([at])
    return batches
