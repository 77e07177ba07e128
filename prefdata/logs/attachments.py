"""Pictures that messages of a log carry: addresses out of the cells of an attachments column, and their places.

In a text one MARK stands for each picture, in the order of the addresses: where the message itself has it, or, where
nothing tells its place, at the end. What else is attached (a PDF, a recording) is no picture and is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

MARK = "\ufffc"
"""The object replacement character: a picture's place in a text, as prefdata.formats.messages has it."""

SUFFIXES = frozenset(
    (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "dib", "tif", "tiff"),
        *("heic", "heif", "avif", "jxl", "jp2", "svg", "ico", "psd"),
    )
)
"""Of files that are pictures, be they of a format that the gate takes or not; what has no suffix is looked at, too."""

ADDRESSES = ("path", "url", "uri", "image_url", "image", "content_url", "src", "file", "filename", "name")
"""Keys of an attachment that is an object, the first of which that is there says where it is."""

KINDS = ("content_type", "mime_type", "mimetype", "mime", "media_type")
"""Keys that say what it is; of a picture `image/...`."""

NAMES = ("filename", "file_name", "name", "file")
"""Keys whose suffix says what it is where its address has none."""

NOTHING = frozenset(
    ("", "-", "--", "\u2013", "\u2014", "0", "0.0", "n/a", "na", "nan", "nil", "no", "none", "null", "false", "f", "n")
)
"""What exports write, in any case, where nothing is attached."""


_NEXT = re.compile(r"[;|,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)|\n")
"""What stands between two addresses of the network."""

_BEFORE_DATA = re.compile(
    r"(?:^\s*|[;|,\s]+)(?=data:(?:[^;,\s/]+/[^;,\s]+)?[;,])|[;|,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)", re.IGNORECASE
)
"""What stands before an address that holds a picture itself, which may be broken into lines, and behind it."""


class Pictured(NamedTuple):
    """Texts with marks, the addresses of their pictures (List(String), null where none), and what was counted."""

    text: pl.Series
    pictures: pl.Series
    report: dict[str, int]


def pictured(text: pl.Series, attached: pl.Series, *, stand_ins: Sequence[str] = ()) -> Pictured:
    """The messages `text` with the pictures that the cells of `attached` name.

    A place is known where the text has as many marks as pictures, or as many of `stand_ins` ("[image]"). Where a log
    has pictures, other marks in its texts are taken out: each would be taken for one. The report counts `pictures`,
    `pictures_at_the_end` (of an unknown place), `attachments_left_out` (no pictures) and `marks_taken_out`.
    """
    frame = pl.DataFrame({"text": text, "cell": attached.cast(pl.String)})
    cells = frame["cell"].unique().drop_nulls()
    read = {cell: _addresses(cell) for cell in cells.to_list()}
    table = pl.DataFrame(
        [(cell, *found) for cell, found in read.items()],
        schema={"cell": pl.String, "pictures": pl.List(pl.String), "others": pl.Int64},
        orient="row",
    )
    frame = frame.join(table, on="cell", how="left", maintain_order="left")
    number = pl.col("pictures").list.len().fill_null(0)
    frame = frame.with_columns(_n=number, pictures=pl.when(number > 0).then("pictures"))
    others = int(frame["others"].sum() or 0)
    report = {"attachments_left_out": others} if others else {}
    if not int(frame["_n"].sum() or 0):
        return Pictured(text, frame["pictures"], report)
    said = pl.col("text").fill_null("")
    marks = said.str.count_matches(MARK, literal=True)
    swapped, found = said, pl.lit(0, pl.UInt32)
    for stand_in in stand_ins:
        found = found + said.str.count_matches(stand_in, literal=True)
        swapped = swapped.str.replace_all(stand_in, MARK, literal=True)
    known = (pl.col("_n") > 0) & (marks == pl.col("_n"))
    told = (pl.col("_n") > 0) & (marks == 0) & (found == pl.col("_n"))
    at_end = (pl.col("_n") > 0) & ~known & ~told
    bare = said.str.replace_all(MARK, "", literal=True)
    grown = (
        pl.when(known | ((pl.col("_n") == 0) & (marks == 0)))
        .then("text")
        .when(told)
        .then(swapped)
        .otherwise(bare + pl.lit(MARK).repeat_by("_n").list.join(""))
    )
    frame = frame.with_columns(grown.alias("said"), gone=pl.when(~known).then(marks).otherwise(0), end=at_end)
    report["pictures"] = int(frame["_n"].sum())
    for name, count in (
        ("pictures_at_the_end", frame.filter("end")["_n"].sum()),
        ("marks_taken_out", frame["gone"].sum()),
    ):
        report |= {name: int(count)} if count else {}
    return Pictured(frame["said"].alias("text"), frame["pictures"], report)


def text_of_parts(content: Sequence[Mapping[str, Any]]) -> str | None:
    """The text of a message whose content is a list of parts, with a mark where each of its pictures stands.

    Texts that follow each other stand a line each. None where there is neither text nor picture.
    """
    pieces: list[str] = []
    for part in content:
        if isinstance(part.get("text"), str):
            pieces += ["\n", part["text"]] if pieces and pieces[-1] != MARK else [part["text"]]
        elif (address := _address(part)) is not None and _is_picture(address, part):
            pieces.append(MARK)
    return "".join(pieces) if pieces else None


def _addresses(cell: str) -> tuple[list[str], int]:
    """The addresses of pictures in a cell, and how many other attachments it has. A batch kernel, once a cell."""
    found: list[Any] = _json(cell) if cell.lstrip()[:1] in ("[", "{", '"') else _split(cell)
    addresses, others = [], 0
    for one in found:
        if isinstance(one, Mapping) and isinstance(one.get("text"), str):
            continue  # a part of the text
        if _is_nothing(one):
            continue
        address = one.strip() if isinstance(one, str) else _address(one)
        if address and _is_picture(address, one):
            addresses.append(address)
        else:
            others += 1
    return addresses, others


def _is_nothing(one: Any) -> bool:
    if not isinstance(one, str | bool | int | float):
        return one is None
    word = str(one).strip()
    return len(word) <= 5 and word.lower() in NOTHING


def _json(cell: str) -> list[Any]:
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return _split(cell)
    if isinstance(value, str):
        return _split(value)
    return value if isinstance(value, list) else [value]


def _split(cell: str) -> list[str]:
    """Addresses that stand in one cell a line each, or behind `;`, `|`, or a comma after a suffix or before `data:`.

    Addresses of the network hold such signs themselves: they are parted where the next one begins.
    """
    if _is_data(cell.lstrip()) or _BEFORE_DATA.search(cell):
        parts = [part for part in _BEFORE_DATA.split(cell) if part.strip()]
        return [one for part in parts for one in ([part] if _is_data(part.lstrip()) else _split(part))]
    if "://" in cell:
        return [part for part in _NEXT.split(cell) if part.strip()]
    parts = []
    for line in cell.replace("|", "\n").replace(";", "\n").splitlines():
        begun = ""
        for piece in line.split(","):
            begun = f"{begun},{piece}" if begun else piece
            if _suffix(begun):
                parts.append(begun)
                begun = ""
        parts.append(begun)
    return [part for part in parts if part.strip()]


def _address(attachment: Any) -> str | None:
    """Where an attachment that is an object is."""
    if not isinstance(attachment, Mapping):
        return None
    for name in ADDRESSES:
        value = attachment.get(name)
        if isinstance(value, Mapping):  # {"image_url": {"url": ...}}
            value = value.get("url")
        if isinstance(value, str) and not _is_nothing(value):
            return value.strip()
    return None


def _is_picture(address: str, attachment: Any) -> bool:
    kinds = [attachment.get(name) for name in KINDS] if isinstance(attachment, Mapping) else []
    kind = next((one for one in kinds if isinstance(one, str) and one), None)
    if kind is not None:
        return kind.lower().startswith("image")
    if _is_data(address):
        return address[:11].lower() == "data:image/"
    if suffix := _suffix(address):
        return suffix in SUFFIXES
    if isinstance(attachment, Mapping):
        named = [one for name in NAMES if isinstance(one := attachment.get(name), str)]
        return next(filter(None, map(_suffix, named)), "png") in SUFFIXES
    return "/" in address or "\\" in address  # a word alone, a yes or a number, is no place


def _is_data(address: str) -> bool:
    return address[:5].lower() == "data:"


def _suffix(address: str) -> str:
    """The suffix of the file that an address names, in lower case; empty where it has none."""
    name = address.split("?")[0].split("#")[0].rstrip().replace("\\", "/").rsplit("/", 1)[-1]
    stem, dot, suffix = name.rpartition(".")
    return suffix.lower() if dot and stem and suffix.isalnum() and 1 < len(suffix) <= 5 else ""
