"""HTML entities that nobody decoded: texts that came out of a page or an API still in its writing."""

from __future__ import annotations

import polars as pl

from prefdata.auditing.check import Check
from prefdata.auditing.finding import Levels
from prefdata.formats.core import sides_of
from prefdata.schema import RecordType

ENTITY = r"&(?:amp|lt|gt|quot|apos|nbsp|hellip|mdash|ndash|rsquo|lsquo|rdquo|ldquo|#\d{2,7}|#[xX][0-9A-Fa-f]{2,6});"
MARKUP = r"```|</[a-zA-Z]+>|<[a-zA-Z]+[^<>\n]*/?>"
"""In a text with code or tags an entity stands for itself."""


def _undecoded(record_type: RecordType) -> pl.Expr:
    return pl.any_horizontal(
        pl.col(f"{side}_text").str.contains(ENTITY) & ~pl.col(f"{side}_text").str.contains(MARKUP)
        for side in sides_of(record_type)
    )


HTML_ENTITIES = Check(
    name="html_entities",
    family="form",
    title="A text holds HTML entities, as &amp; or &#8217;, outside code and markup",
    why="The model learns to write them to people who read no HTML; words with them are not found by filters.",
    cure="Decode them where the data is read (Python: html.unescape), once: twice would spoil texts about HTML.",
    levels=Levels(major=0.2, minor=0.005),
    flag=_undecoded,
)
