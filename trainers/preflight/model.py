"""How many tokens a model has embeddings for, without loading its weights."""

from __future__ import annotations

import json
from pathlib import Path

EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "tok_embeddings.weight")
"""How the names of input embeddings end."""


def vocabulary(folder: Path) -> int | None:
    """Rows of the embedding: from the header of the safetensors, else from config.json, else None."""
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size)) if size < 100_000_000 else {}
        for name, facts in header.items():
            if name.endswith(EMBEDDINGS):
                return int(facts["shape"][0])
    config = folder / "config.json"
    if not config.is_file():
        return None
    read = json.loads(config.read_text(encoding="utf-8"))
    size = read.get("vocab_size") or read.get("text_config", {}).get("vocab_size")
    return int(size) if size else None
