"""report.html of a run."""

from __future__ import annotations

from pathlib import Path

from prefdata.io import write_atomic


def write_page(path: Path) -> Path:
    """Writes report.html and returns its path."""
    write_atomic(path / "report.html", b"<!doctype html><title>report</title>")
    return path / "report.html"
