"""Batches of TRL's trainers for rows with pictures, made of ids that were encoded before and of pictures opened now.

TRL's own collators write chats, open pictures and cut ids anew for every batch, in which a text that spells a token
becomes that token, and kept log-probabilities of a reference have no place. These give the same tensors without that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from trainers.vision.likelihood import batched
from trainers.vision.processor import Looks, looks_of

if TYPE_CHECKING:
    from trainers.method import Plan, Reads
    from trainers.rendering import Encoded

UNTRAINED = -100

Kind = Literal["answered", "pairs", "labelled"]

COLUMN = "images"
"""By which TRL tells that rows have pictures, and then leaves them to the collator; here the number of a row."""

PICKED = ("ref_logps", "ref_KL_logps", "ref_chosen_logps", "ref_rejected_logps")
"""Figures of the reference that a row may hold."""


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Rows of the dataset, which are numbers, to what TRL's `compute_loss` reads."""

    kind: Kind
    looks: Looks
    sides: tuple[Sequence[Encoded], ...]
    """Of all rows in the order of the dataset: the answered rows, or those of the better and of the worse answer."""
    rows: Sequence[Mapping[str, Any]]
    """What TRL would have been given of them: label, figures of the reference."""
    max_length: int
    kl: bool = False
    """Whether each prompt comes with the answer of the row before it too, from which KTO estimates its KL term."""

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        places = [int(one[COLUMN]) for one in examples]
        rows = [side[at] for side in self.sides for at in places]
        found = batched(rows, self.looks)
        answers = answered(rows, found["input_ids"].shape)
        if self.kind == "answered":
            found["labels"] = found["input_ids"].masked_fill(answers == 0, UNTRAINED)
            return found
        found["completion_mask"] = answers
        if self.kind == "labelled":
            found["label"] = torch.tensor([bool(self.rows[at]["label"]) for at in places])
            if self.kl:
                found |= self._estimated(rows)
        for name in PICKED:
            if name in self.rows[places[0]]:
                found[name] = torch.tensor([self.rows[at][name] for at in places], dtype=torch.float32)
        return found

    def _estimated(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """The prompts with the answers turned by one; their pictures are those of the batch."""
        turned = []
        for row, other in zip(rows, [rows[-1], *rows[:-1]], strict=True):
            turned.append(row._replace(completion_ids=other.completion_ids[: self.max_length - len(row.prompt_ids)]))
        found = batched([row._replace(pictures=()) for row in turned], self.looks)
        if any(row.pictures for row in rows):
            found |= self.looks.kinds(found["input_ids"])
        found["completion_mask"] = answered(turned, found["input_ids"].shape)
        return {f"KL_{name}": value for name, value in found.items()}


def answered(rows: Sequence[Encoded], shape: Any) -> Any:
    """1 where a trained token of an answer stands, in ids padded on the right."""
    import torch

    found = torch.zeros(shape, dtype=torch.long)
    for line, row in enumerate(rows):
        begin = len(row.prompt_ids)
        found[line, begin : begin + len(row.completion_ids)] = 1
        for start, end in row.untrained:
            found[line, begin + start : begin + end] = 0
    return found


def seeing(plan: Plan, reads: Reads, sides: Sequence[Sequence[Encoded]], *, kind: Kind, kl: bool = False) -> Reads:
    """What TRL is given where the start model reads pictures; `reads` itself where it reads text alone.

    `sides` are the rows of `reads.dataset`, in its order. TRL must neither cut nor pack what stands for pictures.
    """
    looks = looks_of(plan.tokenizer)
    if looks is None:
        return reads
    collator = Collator(
        kind=kind,
        looks=looks,
        sides=tuple(sides),
        rows=reads.dataset,
        max_length=plan.settings.max_length,
        kl=kl,
    )
    return dataclasses.replace(
        reads,
        dataset=[{COLUMN: at} for at in range(len(reads.dataset))],
        arguments={**{name: one for name, one in reads.arguments.items() if name != "packing"}, "max_length": None},
        options={**reads.options, "data_collator": collator},
    )
