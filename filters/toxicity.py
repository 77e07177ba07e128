"""Toxicity of what the agent wrote: a signal that a reply was bad, and a rule on the desirable rows alone.

An angry customer is context and is not judged. A rude agent stays as a negative example: the rule drops only rows
that would teach rudeness as desirable. The models stand in toxicity_lexical.py and toxicity_detoxify.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from prefdata.errors import RecipeError
from prefdata.judging import RowFilter, Rule, TextScorer, file_path, threshold


@dataclass(frozen=True, kw_only=True)
class Toxicity:
    """Settings of the filter `toxicity`."""

    model: Literal["lexical", "detoxify"] = "lexical"
    """`lexical`: embedded, for English and Chinese. `detoxify`: the Detoxify classifier, of the extra `detoxify`."""
    max_toxicity: float = threshold(0.8)
    """A desirable reply scores at most this, in [0, 1]. At 0.8 one of SGD's 10,831 agent turns is above."""
    sides: tuple[Literal["completion", "chosen"], ...] = ("completion",)
    """The sides of a row that are judged: what is to be learnt. A prompt is context, a rejected reply an example."""
    min_script_ratio: float = 0.1
    """lexical: the English or Chinese model is asked where this share of a text's letters is Latin or Han."""
    weights: Literal["original", "unbiased", "multilingual", "original-small", "unbiased-small"] = "unbiased"
    """detoxify: which official release is fetched where no `checkpoint` is given. None of them has learnt Chinese."""
    checkpoint: str | None = file_path()
    """detoxify: a local checkpoint file. It is a pickle: give its `sha256`, it is refused unread where that differs."""
    sha256: str | None = None
    """detoxify: SHA-256 of `checkpoint`, 64 hexadecimal digits."""
    config: str | None = file_path()
    """detoxify: the local folder with config.json and the tokenizer's files that belong to `checkpoint`."""
    batch_rows: int = 32
    """detoxify: texts a forward pass."""
    device: str = "cpu"
    """detoxify: torch's name of the device."""

    def __post_init__(self) -> None:
        faults = []
        if not 0 <= self.max_toxicity <= 1:
            faults.append(f"max_toxicity: {self.max_toxicity}, expected a number in [0, 1]")
        if not 0 <= self.min_script_ratio <= 1:
            faults.append(f"min_script_ratio: {self.min_script_ratio}, expected a fraction in [0, 1]")
        if self.batch_rows < 1:
            faults.append(f"batch_rows: {self.batch_rows}, expected at least 1")
        if self.checkpoint is not None and (self.sha256 is None or self.config is None):
            faults.append("checkpoint: needs `sha256` (of that file) and `config` (its local folder) beside it")
        if self.sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", self.sha256):
            faults.append("sha256: expected 64 hexadecimal digits")
        if self.checkpoint is None and (self.sha256 is not None or self.config is not None):
            faults.append("sha256, config: belong to a `checkpoint`, none is given")
        if self.model == "lexical" and self.checkpoint is not None:
            faults.append("checkpoint: is for `model: detoxify`")
        if not self.sides:
            faults.append("sides: is empty, expected at least one")
        if faults:
            raise RecipeError(faults)

    def build(self) -> RowFilter:
        """The scorer of `model` and the rule `reply_toxic`."""
        rule = Rule(max=self.max_toxicity, only="desirable")
        return RowFilter(name="toxicity", scorer=self._scorer(), sides=self.sides, rules={"reply_toxic": rule})

    def _scorer(self) -> TextScorer:
        if self.model == "lexical":
            from filters.toxicity_lexical import LexicalToxicity

            return LexicalToxicity(min_script_ratio=self.min_script_ratio)
        from filters.toxicity_detoxify import DetoxifyToxicity

        return DetoxifyToxicity(
            weights=self.weights,
            checkpoint=self.checkpoint,
            sha256=self.sha256,
            config=self.config,
            batch_rows=self.batch_rows,
            device=self.device,
        )
