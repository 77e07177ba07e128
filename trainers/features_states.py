"""Frozen features of answers: what a small language model makes of them, for heads that are trained in a second.

A feature is the mean of the last layer's states (after its final norm) over the answer's own tokens, read after its
prompt in the model's chat format, in which no text can become a control token. Each answer is read once: states are
kept on disk by the content of their row, so a killed reading goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.errors import InputError
from prefdata.io import sha256_file, write_atomic, write_parquet
from trainers.identity import identity
from trainers.job import Precision, machine
from trainers.models import MODELS, load_model, load_tokenizer, resolve, rounding
from trainers.rendering import Encoded, encode_row, messages_of

VERSION = 1
"""Raised when the same row would get other states."""

BATCH_TOKENS = 1024
"""Padded tokens in one forward pass on a CPU; 32 times as many on an accelerator."""

PART_ROWS = 128
"""Rows of a file of kept states: what a kill can cost."""

DECIMALS = 3
"""States are rounded before they are kept: they are of size 1, and batches differ in the last bits."""

Progress = Callable[[str, int, int], None]


class HiddenStates:
    """A frozen model that reads answers."""

    def __init__(
        self, model: str | Path, *, max_length: int = 1024, precision: Precision = "auto", root: Path | None = None
    ) -> None:
        """`model` as trainers.models.resolve takes it; raises MissingExtraError without the extra `train`."""
        place = machine(precision)
        self.folder = resolve(model, root=root)
        self.name = MODELS[str(model)].huggingface if str(model) in MODELS else self.folder.name
        self.max_length = max_length
        self.place = place
        self.sha256 = identity(self.folder)
        self.unread = 0

    def record(self) -> dict[str, Any]:
        """What the states depend on, as plain JSON data, and how many answers were too long to be read."""
        return {
            "model": self.name,
            "sha256": self.sha256,
            "rounded_to": rounding(self.folder),
            "precision": "bfloat16" if self.place.bfloat16 else "float32",
            "max_length": self.max_length,
            "version": VERSION,
            "unread": self.unread,
        }

    def read(self, records: pl.DataFrame, sides: Sequence[str], folder: Path, *, progress: Progress) -> Any:
        """Float32 array (records, sides, width): the states of each answer, NaN where prompt and answer do not fit.

        `records` has `rev`, a hash of the row's content, `prompt` and the MESSAGES columns `sides`. States are kept in
        `folder`, and those that it has are not read again.
        """
        import numpy as np

        key = [self.sha256, VERSION, self.max_length, self.place.bfloat16, list(sides)]
        kept = folder / hashlib.blake2b(repr(key).encode(), digest_size=12).hexdigest()
        kept.mkdir(parents=True, exist_ok=True, mode=0o700)
        wanted = records.unique("rev", keep="first", maintain_order=True).sort("rev")
        parts = [pl.read_parquet(path, glob=False) for path in sorted(kept.glob("*.parquet")) if _sound(path)]
        known = pl.concat([part.select("rev") for part in parts]) if parts else pl.DataFrame(schema={"rev": pl.String})
        missing = wanted.join(known, on="rev", how="anti", maintain_order="left")
        done, total = wanted.height - missing.height, wanted.height
        progress("hidden states", done, total)
        if missing.height:
            model, tokenizer = load_model(self.folder, dtype=self._dtype()), load_tokenizer(self.folder)
            model = model.to(self.place.device).eval()
            for part in missing.iter_slices(PART_ROWS):
                parts.append(_kept(kept, part["rev"], self._states(model, tokenizer, part, sides), sides))
                done += part.height
                progress("hidden states", done, total)
        found = records.select("rev").join(pl.concat(parts).unique("rev"), on="rev", how="left", maintain_order="left")
        states = np.stack([found[side].to_numpy() for side in sides], axis=1)
        self.unread = int(np.isnan(states[:, :, 0]).sum())
        if self.unread == states.shape[0] * states.shape[1]:
            raise InputError(f"no prompt and answer fit into {self.max_length} tokens; raise the limit")
        return states

    def _dtype(self) -> Any:
        import torch

        return torch.bfloat16 if self.place.bfloat16 else torch.float32

    def _states(self, model: Any, tokenizer: Any, part: pl.DataFrame, sides: Sequence[str]) -> dict[str, Any]:
        import numpy as np

        found: dict[str, Any] = {}
        for side in sides:
            rows = [
                encode_row(tokenizer, messages_of(prompt), messages_of(answer), max_length=self.max_length)
                for prompt, answer in part.select("prompt", side).iter_rows()
            ]
            there = [at for at, row in enumerate(rows) if row is not None and row.completion_ids]
            states = np.full((part.height, model.config.hidden_size), np.nan, dtype=np.float32)
            for batch in _batches([len(rows[at].prompt_ids) + len(rows[at].completion_ids) for at in there], model):
                places = [there[at] for at in batch]
                states[places] = _means(model, [rows[at] for at in places], tokenizer.pad_token_id)
            found[side] = states.round(DECIMALS)
        return found


def _means(model: Any, rows: Sequence[Encoded], pad_id: int) -> Any:
    """(rows, width): each row's mean state over its completion; rows are padded on the left."""
    import torch

    device = next(model.parameters()).device
    width = max(len(row.prompt_ids) + len(row.completion_ids) for row in rows)
    ids = torch.full((len(rows), width), pad_id)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    answer = torch.zeros((len(rows), width, 1))
    for line, row in enumerate(rows):
        size = len(row.prompt_ids) + len(row.completion_ids)
        ids[line, width - size :] = torch.tensor(row.prompt_ids + row.completion_ids)
        mask[line, width - size :] = 1
        answer[line, width - len(row.completion_ids) :] = 1
    ids, mask, answer = ids.to(device), mask.to(device), answer.to(device)
    with torch.no_grad():
        states = model.base_model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state.float()
        return ((states * answer).sum(1) / answer.sum(1)).cpu().numpy()


def _batches(lengths: Sequence[int], model: Any) -> list[list[int]]:
    """Positions, longest first, cut so that a padded batch stays within its tokens."""
    most = BATCH_TOKENS * (1 if next(model.parameters()).device.type == "cpu" else 32)
    batches: list[list[int]] = []
    for at in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= most:
            batches[-1].append(at)
        else:
            batches.append([at])
    return batches


def _kept(folder: Path, revs: pl.Series, states: dict[str, Any], sides: Sequence[str]) -> pl.DataFrame:
    """The states as a frame, written whole: `rev` and an array a side."""
    width = states[sides[0]].shape[1]
    frame = pl.DataFrame(
        {"rev": revs, **{side: pl.Series(states[side], dtype=pl.Array(pl.Float32, width)) for side in sides}}
    )
    path = folder / f"{hashlib.blake2b(''.join(revs.to_list()).encode(), digest_size=12).hexdigest()}.parquet"
    write_parquet(path, frame)
    write_atomic(path.with_suffix(".sha256"), (sha256_file(path) + "\n").encode())
    return frame


def _sound(path: Path) -> bool:
    try:
        return path.with_suffix(".sha256").read_text().strip() == sha256_file(path)
    except OSError:
        return False
