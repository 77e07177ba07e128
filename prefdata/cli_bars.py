"""Progress of the commands that run steps."""

from __future__ import annotations

import sys
from typing import Any


class Bars:
    """Progress on stderr: a bar a step, shown once a step has lasted over a second."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.bars: Any = None
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self.bars = Progress(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bars is not None:
            self.bars.stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        if self.quiet:
            return
        if self.bars is None:
            if done == total:
                print(f"{step}: done", file=sys.stderr, flush=True)
            elif done == 0 and step.startswith(("train", "model")):
                print(f"{step}: takes minutes", file=sys.stderr, flush=True)
            return
        if step not in self.tasks:
            self.tasks[step] = self.bars.add_task(step, total=total)
        self.bars.update(self.tasks[step], completed=done, total=total)
