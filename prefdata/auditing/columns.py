"""Columns of the files: those that say nothing, and those that say the same as another."""

from __future__ import annotations

from prefdata.auditing.check import Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Severity

MEDIA = frozenset({"image", "images", "video", "videos", "audio", "audios"})
NAMED = 50
"""Columns that are named."""


def _empty(data: Audited) -> Found:
    """Names of columns without a value."""
    names = sorted(name for name, filled in data.columns.items() if not filled)
    media = [name for name in names if name in MEDIA]
    if not names:
        return Found()
    return Found(measures={"columns": names[:NAMED]}, severity=Severity.MINOR if media else Severity.NOTE)


def _identical(data: Audited) -> Found:
    """Names of columns that hold the same in every record."""
    if not data.twins:
        return Found()
    return Found(measures={"columns": [" = ".join(names) for names in data.twins[:NAMED]]}, severity=Severity.MINOR)


EMPTY_COLUMNS = Check(
    name="empty_columns",
    family="form",
    title="Columns of the file are null in every row",
    why="Arrow gives such a column no type: files cannot be loaded together, and TRL takes a set with a column of "
    "pictures for one of pictures.",
    cure="prefdata convert DATA --to FORMAT writes only the columns that hold something",
    source="TRL data collators: `images` in the columns makes a vision set",
    find=_empty,
)

IDENTICAL_COLUMNS = Check(
    name="identical_columns",
    family="form",
    title="Columns of the file hold the same in every row",
    why="Often one of them was filled from the wrong source: a prompt that is the answer, two scores that are one, a "
    "second annotator who is the first.",
    cure="Look where the second column comes from; drop it where the copy is meant.",
    find=_identical,
)
