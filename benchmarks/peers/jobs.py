"""What every loader script of this folder does around the peer's own code: read the jobs, keep going, write one JSON.

Standard library only: it is imported by scripts that run in the peers' environments, where prefdata is not installed.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""`{"label": bool or null, "sides": {side: {"context": text, "trained": text}}}`."""

IGNORED = -100


def side(tokenizer: Any, input_ids: Iterable[int], trained: Iterable[bool]) -> dict[str, str]:
    """The text of one token sequence, parted into what the loss sees and what it does not."""
    pairs = list(zip(input_ids, trained, strict=True))
    return {
        "context": decode(tokenizer, [token for token, on in pairs if not on]),
        "trained": decode(tokenizer, [token for token, on in pairs if on]),
    }


def labelled(tokenizer: Any, input_ids: Iterable[int], labels: Iterable[int]) -> dict[str, str]:
    """`side` for the usual mask: a label of -100 is not trained on."""
    return side(tokenizer, input_ids, [label != IGNORED for label in labels])


def decode(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """Text of `token_ids`, special tokens and spaces as they are."""
    return tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def data_file(folder: Path) -> Path:
    """The file of the split `train` in the folder of an export."""
    found = [path for path in sorted(folder.rglob("train*")) if path.suffix in (".jsonl", ".json", ".parquet")]
    if len(found) != 1:
        raise FileNotFoundError(f"{folder.name}: {len(found)} files of a split train, expected one")
    return found[0]


def run(distribution: str, load: Callable[[dict[str, Any], Path], dict[str, Any]]) -> None:
    """Runs `load` over every job of the file named first, and writes the results to the file named second.

    A job is `{"name", "type", "data", "model", "scratch"}`; `load` returns `{"rows_in", "rows"}` and whatever else it
    wants told. A job that raises is written with its error, and the next one runs.
    """
    given, target = Path(sys.argv[1]), Path(sys.argv[2])
    results = []
    for job in json.loads(given.read_text(encoding="utf-8")):
        result: dict[str, Any] = {"name": job["name"], "rows_in": None, "rows": [], "error": None}
        try:
            path = data_file(Path(job["data"]))
            os.chdir(path.parent)  # what the addresses of pictures are relative to
            os.environ["ROOT_IMAGE_DIR"] = str(path.parent)
            result |= load(job, path)
        except Exception as error:  # the peer's own failure is a result
            frames = traceback.extract_tb(error.__traceback__)
            where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
            result["error"] = f"{type(error).__name__} ({where}): {str(error)[:300]}"
            if "--traceback" in sys.argv:
                traceback.print_exc()
        results.append(result)
    report = {"version": importlib.metadata.version(distribution), "results": results}
    target.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
