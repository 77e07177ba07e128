"""How many tokens texts have under a tokenizer. Encoding chats for training is left to `rendering`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefdata.errors import InputError, MissingExtraError
from trainers.models import load_tokenizer, resolve

BATCH = 1_000
"""Texts that are encoded at once: their tokens are in memory only so long."""

FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
"""One of these makes a folder one with a tokenizer."""

Count = Callable[[Sequence[str]], list[int]]
"""Texts -> how many tokens each has, without those that a template or the tokenizer adds around it."""


def counter(tokenizer: str | Path) -> Count:
    """Counts by the tokenizer called `tokenizer`: a name of the table of models, a folder or file, or a hub id.

    A folder needs no weights. Raises InputError for a folder without a tokenizer, UnknownNameError for no known name,
    MissingExtraError without the extra `train`.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise MissingExtraError("counting tokens", "train") from error
    place = Path(tokenizer).expanduser()
    if place.name == "tokenizer.json" and place.is_file():
        place = place.parent
    folder = place if place.is_dir() else resolve(tokenizer)
    if not any((folder / name).is_file() for name in FILES):
        raise InputError(f"{folder.name}: no tokenizer in this folder; expected {', '.join(FILES[:2])}")
    fast = folder / "tokenizer.json"
    if not fast.is_file():
        return _by_transformers(load_tokenizer(folder))
    try:
        machine = tokenizers.Tokenizer.from_file(str(fast))
    except Exception as error:  # the library raises plain Exception for a file that is no tokenizer
        raise InputError(f"{folder.name}: its tokenizer.json is no tokenizer") from error
    machine.no_truncation()
    machine.no_padding()

    def count(texts: Sequence[str]) -> list[int]:
        batches = (list(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH))
        return [len(one) for batch in batches for one in machine.encode_batch_fast(batch, add_special_tokens=False)]

    return count


def _by_transformers(tokenizer: Any) -> Count:
    def count(texts: Sequence[str]) -> list[int]:
        batches = (list(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH))
        found = (tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"] for batch in batches)
        return [len(ids) for batch in found for ids in batch]

    return count
