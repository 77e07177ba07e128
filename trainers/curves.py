"""TensorBoard curves, one value a step however often the run was killed.

What a killed run leaves behind is cut to the step that training goes on from; without this the steps between the
checkpoint and the kill stand in the curves twice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from transformers.integrations import TensorBoardCallback

KEPT = "events.out.tfevents.0000000000.kept"
"""Sorts before the files that writers begin, whose names hold the time."""


class Curves(TensorBoardCallback):
    """Writes what is logged, but not the summary at the end: after a kill its mean loss is that of the rest only."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **options: Any) -> None:
        if logs and "train_runtime" not in logs:
            super().on_log(args, state, control, logs=logs, **options)


def keep_curves(folder: Path, step: int) -> None:
    """Leaves of the curves in `folder` what was logged up to `step`, once each; nothing where that is 0.

    The values keep their times. A last record that the kill tore is left out. What is logged outside the steps (the
    arguments, held-out metrics) is written anew by the run that goes on.
    """
    files = sorted(folder.glob("events.out.tfevents.*")) if folder.is_dir() else []
    if not files:
        return
    if step:
        _write(folder, [file for file in files if file.is_file()], step)
    for file in files:
        if not step or file.name != KEPT:
            file.unlink()


def _write(folder: Path, files: list[Path], step: int) -> None:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    found: dict[tuple[int, str], Event] = {}
    for file in files:
        for event in LegacyEventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if event.step <= step and value.tag.startswith("train/") and value.HasField("simple_value"):
                    one = Event(wall_time=event.wall_time, step=event.step)
                    one.summary.value.add(tag=value.tag, simple_value=value.simple_value)
                    found[event.step, value.tag] = one
    new = folder / f".{KEPT}.tmp"
    with new.open("wb") as out:
        writer = RecordWriter(out)
        first = min((event.wall_time for event in found.values()), default=0.0)
        writer.write(Event(wall_time=first, file_version="brain.Event:2").SerializeToString())
        for key in sorted(found):
            writer.write(found[key].SerializeToString())
        writer.flush()
        os.fsync(out.fileno())
    new.replace(folder / KEPT)
