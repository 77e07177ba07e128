"""Log-probabilities of answers under the reference model, computed once and kept on disk by their content.

The reference of a stage never changes, so what it finds of an answer is the same in every epoch, for every beta, loss
and learning rate, and in every run over the same rows. Kept are hashes of token ids and one figure each, no text.

A store is a folder a start model, precision and device. Its files are named by the hash of their bytes: a damaged one
is noticed and its rows are computed again; two processes can add to it at once without harming each other.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata.errors import InputError
from prefdata.io import write_atomic, write_json
from trainers.evaluate_rewards import completion_logps
from trainers.job import digest
from trainers.method import Plan
from trainers.models import home
from trainers.processes import barrier, count, rank, shared, writes
from trainers.rendering import Encoded
from trainers.vision.processor import looks_of

log = logging.getLogger(__name__)

VERSION = 1
"""Raised when the same model and tokens would give another figure."""

CHUNK = 256
"""Rows written at once, which are what a kill can cost."""

AUTO, ALWAYS, NEVER = "auto", "always", "never"
"""What a recipe may say instead of a folder."""

ABOUT = "about.json"


class Kept(NamedTuple):
    """What the reference finds of rows."""

    logps: list[float]
    """Summed log-probability of each answer, in the order of the rows."""
    record: dict[str, Any]
    """For stage.json: how many there are, and their hash."""


class ReferenceStore:
    """The figures of one reference model, in one folder."""

    def __init__(self, home: Path, about: dict[str, Any]) -> None:
        self.folder = home / digest(about)[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / ABOUT).is_file():
            write_json(self.folder / ABOUT, about)

    def read(self, keys: Sequence[str]) -> dict[str, float]:
        """Those of `keys` that are kept. A file that does not hash to its name is removed."""
        wanted = pl.LazyFrame({"key": keys}, schema={"key": pl.String}).unique()
        parts = [
            pl.LazyFrame(frame).join(wanted, on="key", how="semi").collect()
            for file in sorted(self.folder.glob("*.parquet"))
            if (frame := _whole(file)) is not None
        ]
        return {} if not parts else dict(pl.concat(parts).unique("key", keep="first", maintain_order=True).iter_rows())

    def add(self, logps: dict[str, float]) -> None:
        """Keeps more, in one file that is there whole or not at all."""
        frame = pl.DataFrame(
            {"key": list(logps), "logp": list(logps.values())}, schema={"key": pl.String, "logp": pl.Float64}
        )
        packed = io.BytesIO()
        frame.write_parquet(packed, compression="uncompressed")
        data = packed.getvalue()
        write_atomic(self.folder / f"{hashlib.sha256(data).hexdigest()}.parquet", data)


def row_key(row: Encoded) -> str:
    """Hash of the token ids of prompt and answer, apart, and of what is seen on the row's pictures."""
    found = hashlib.blake2b(digest_size=16)
    for ids in (row.prompt_ids, row.completion_ids):
        found.update(len(ids).to_bytes(8, "little") + array("q", ids).tobytes())
    for picture in row.pictures:
        found.update(picture.pixels.encode())
    return found.hexdigest()


def open_store(plan: Plan) -> ReferenceStore | None:
    """The store that the settings ask for; None for none.

    "auto" keeps figures where they are worth as much as fresh ones: in float32. In bfloat16 the same answer scores
    differently in another batch, and only a reference taken in the very batch of the policy cancels that.
    """
    wanted, place = plan.settings.reference_store, plan.machine
    if wanted == NEVER or (wanted == AUTO and (place.bfloat16 or place.spread not in {"alone", "ddp"})):
        return None
    if plan.settings.args.get("ld_alpha") is not None:  # weighs the tokens of an answer by their place
        return None
    folder = home(plan.root) / "reference" if wanted in (AUTO, ALWAYS) else Path(wanted).expanduser()
    try:
        return ReferenceStore(folder, _about(plan))
    except OSError as error:
        if wanted == AUTO:
            log.warning("reference log-probabilities are not kept: %s cannot be written", folder.name)
            return None
        raise InputError(f"reference_store: {folder.name} cannot be written; name a folder that can") from error


def kept_logps(plan: Plan, model: Any, rows: Sequence[Encoded], *, reads: float | None, what: str) -> Kept | None:
    """What the reference finds of `rows`; None where no store is to be used.

    It is `model`, the start model as loaded, where an adapter is going to be trained; for full fine-tuning it is
    loaded by itself for rows that will be trained on, so that the first step still proves that policy and reference are
    one model. `reads` is how many of these rows training will read: fewer than those not kept yet, and "auto" leaves
    them to be computed as they are read. None is for held-out rows, which are needed anyhow.
    """
    store = open_store(plan)
    if store is None:
        return None
    keys = [row_key(row) for row in rows]
    first = dict(zip(reversed(keys), reversed(rows), strict=True))
    found = shared(store.read(list(first)) if writes() else {})  # one answer: another process may be adding already
    missing = len(first) - len(found)
    if reads is not None and plan.settings.reference_store == AUTO and missing > reads:
        log.info("%s: %d of %d not kept, %d will be read; left to training", what, missing, len(first), reads)
        return None
    if missing:
        reference = model if reads is None else _reference(plan, model)
        _compute(plan, reference, store, first, found, what)
        if len(found) < len(first):  # written by other processes, on a disk of ours or not
            found = store.read(list(first))
            left = {key: row for key, row in first.items() if key not in found}
            found |= _scored(plan, reference, list(left), list(left.values()), what)
    log.info(
        "%s: %d log-probabilities of the reference, %d of them kept before", what, len(first), len(first) - missing
    )
    logps = [found[key] for key in keys]
    seal = hashlib.sha256(array("d", logps).tobytes()).hexdigest()
    return Kept(logps, {"rows": len(rows), "sha256": seal})


def _compute(
    plan: Plan, model: Any, store: ReferenceStore, first: dict[str, Encoded], found: dict[str, float], what: str
) -> None:
    """Fills the store, chunk by chunk; each process does its share.

    Which rows are scored together depends on the rows alone and on what is kept, never on where a run was killed.
    """
    order = sorted(first, key=lambda key: (-len(first[key].prompt_ids) - len(first[key].completion_ids), key))
    chunks = [[key for key in order[at : at + CHUNK] if key not in found] for at in range(0, len(order), CHUNK)]
    for chunk in [chunk for chunk in chunks if chunk][rank() :: count()]:
        new = _scored(plan, model, chunk, [first[key] for key in chunk], what)
        store.add(new)
        found |= new
    barrier()


def _reference(plan: Plan, model: Any) -> Any:
    return plan.start.load(dtype=model.dtype).to(plan.machine.device) if plan.settings.tuner == "full" else model


def _scored(plan: Plan, model: Any, keys: Sequence[str], rows: Sequence[Encoded], what: str) -> dict[str, float]:
    from trainers.callbacks import progress

    if not rows:
        return {}
    with progress(f"reference, {what}", len(rows), "row") as bar, as_trained(plan):
        logps = completion_logps(
            model, rows, pad_id=plan.tokenizer.pad_token_id, looks=looks_of(plan.tokenizer), advance=bar.update
        )
    return dict(zip(keys, logps, strict=True))


@contextlib.contextmanager
def as_trained(plan: Plan) -> Any:
    """The precision in which training multiplies."""
    import torch

    with torch.autocast(plan.machine.device, dtype=torch.bfloat16, enabled=plan.machine.bfloat16):
        yield


def _about(plan: Plan) -> dict[str, Any]:
    """All that decides a figure beside the tokens and pictures."""
    import transformers

    looks = looks_of(plan.tokenizer)
    return {
        **({"processor": looks.identity} if looks is not None else {}),
        "version": VERSION,
        "model": plan.start.name,
        "sha256": plan.start.identity(),
        "stages": [stage["method"] for stage in plan.start.lineage()],
        "precision": "bfloat16" if plan.machine.bfloat16 else "float32",
        "four_bits": plan.settings.tuner == "qlora",
        "trained_weights": plan.settings.tuner == "full",
        "device": plan.machine.device,
        "transformers": transformers.__version__,
    }


def _whole(file: Path) -> pl.DataFrame | None:
    """The frame in `file`; None, and the file removed, where its bytes are not those it is named by."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(data).hexdigest() != file.stem:
        log.warning("reference store: %s is damaged and was removed; its rows are computed again", file.name)
        file.unlink(missing_ok=True)
        return None
    return pl.read_parquet(io.BytesIO(data))


def read_about(folder: Path) -> dict[str, Any]:
    """What a store's folder says of itself."""
    found: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return found
