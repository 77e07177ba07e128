"""One picture, decoded once: from the bytes of a file to what is known of it and to the bytes that are stored.

Runs in a worker only: a fault of a decoder ends there.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageColor, UnidentifiedImageError

from prefdata.picturing.colours import to_rgb
from prefdata.picturing.encoding import encoded, plain
from prefdata.picturing.fingerprint import fingerprint, phash
from prefdata.picturing.measures import measured, scaled
from prefdata.picturing.reasons import Refused

THUMBNAIL_SIDE = 96
THUMBNAIL_QUALITY = 80

ORIENTATION = 0x0112

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


class Rules(NamedTuple):
    """What of the gate's settings decoding depends on."""

    max_pixels: int
    formats: tuple[str, ...]
    background: tuple[int, int, int]
    max_side: int | None
    store: str
    folder: str | None
    """Where stored pictures are: one that is there is not encoded again."""

    @classmethod
    def told(cls, config: dict[str, Any]) -> Rules:
        """From the gate's message."""
        return cls(
            max_pixels=config["max_pixels"],
            formats=tuple(config["formats"]),
            background=ImageColor.getrgb(config["background"])[:3],
            max_side=config["max_side"],
            store=config["store"],
            folder=config["folder"],
        )


class Seen(NamedTuple):
    """What is known of a picture, and its bytes: fingerprint, thumbnail, and what is to be written ("" if nothing)."""

    facts: dict[str, Any]
    blobs: tuple[bytes, bytes, bytes]


def look(data: bytes, rules: Rules) -> Seen:
    """The picture in `data`; raises Refused with the reason, and MemoryError."""
    picture, upright = _decoded(data, rules)
    with picture:
        frames = _frames(picture)
        told = _format(picture)
        as_is = rules.store == "original" and plain(picture, data, frames)
    width, height = upright.size
    if rules.max_side is not None and max(upright.size) > rules.max_side:
        upright = _fitted(upright, rules.max_side, Image.Resampling.LANCZOS)
        as_is = False
    raw = upright.tobytes()
    pixels = pixels_hash(upright.size, raw)
    del raw
    small = scaled(upright)
    grey = small.convert("L")
    facts: dict[str, Any] = {
        "format": told,
        "width": width,
        "height": height,
        "frames": frames,
        "pixels": pixels,
        **measured(upright, small, grey)._asdict(),
        "phash": phash(grey),
    }
    body = b""
    if rules.store == "none" or rules.folder is None:
        facts["stored"] = None
    elif as_is:
        name = f"{hashlib.sha256(data).hexdigest()}.{'png' if told == 'PNG' else 'jpg'}"
        facts["stored"] = {"name": name, "what": "original"}
    else:
        there = next((name for name in (f"{pixels}.png", f"{pixels}.jpg") if _is_there(rules.folder, name)), None)
        if there is None:
            suffix, body = encoded(upright)
            facts["stored"] = {"name": f"{pixels}.{suffix}", "what": "encoded"}
        else:
            facts["stored"] = {"name": there, "what": "there"}
    return Seen(facts, (fingerprint(upright), _thumbnail(upright), body))


def pixels_hash(size: tuple[int, int], raw: bytes) -> str:
    """Hex hash (32 characters) of a picture's size and its RGB bytes, row by row."""
    digest = hashlib.sha256(struct.pack(">II", *size))
    digest.update(raw)
    return digest.hexdigest()[:32]


def _decoded(data: bytes, rules: Rules) -> tuple[Image.Image, Image.Image]:
    """The opened file, and its first frame: loaded, upright, RGB, without anything that the file says beside."""
    known: dict[str, Any] = {"format": sniffed(data)}
    Image.MAX_IMAGE_PIXELS = None  # the head tells the size, which is looked at here
    try:
        with warnings.catch_warnings():
            # what a decoder warns of is not shown; a picture over the limit is an error for us, not for Pillow
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=rules.formats)
            known |= {"format": _format(picture)}
            if max(picture.size) < 2**31:  # more is no size of anything, and no number of the table's
                known |= {"width": picture.width, "height": picture.height}
            if picture.width * picture.height > rules.max_pixels:
                raise Refused("too_many_pixels", **known)
            Image.MAX_IMAGE_PIXELS = rules.max_pixels  # a frame may be larger than the head says
            picture.load()
            turn = TURNS.get(_orientation(picture))
            upright = to_rgb(picture, rules.background)
            if turn is not None:
                upright = upright.transpose(turn)
    except Refused as refused:
        raise Refused(refused.reason, **(known | refused.known)) from None
    except MemoryError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Refused("too_many_pixels", **known) from None
    except UnidentifiedImageError:
        raise Refused(_unidentified(data, known["format"], rules), **known) from None
    except Exception as error:  # whatever a parser of foreign bytes stumbles over, the picture is what is wrong
        raise Refused("truncated" if _is_short(data) else _reason(error), **known) from None
    if upright is picture:
        upright = picture.copy()
    upright.info = {}
    return picture, upright


def _reason(error: Exception) -> str:
    text = str(error).lower()
    if "too large" in text or "memory limit" in text:
        return "metadata_too_large"
    if "truncated" in text or "end of file" in text or isinstance(error, EOFError):
        return "truncated"
    if "out of memory" in text:
        return "out_of_memory"
    return "broken"


def _unidentified(data: bytes, told: str | None, rules: Rules) -> str:
    """Why Pillow recognised nothing: not known, known and not allowed, or allowed with a head that is broken."""
    if told in (None, "HTML", "XML"):
        return "unknown_format"
    if told not in rules.formats:
        return "format_not_allowed"
    return "truncated" if _is_short(data) else "broken"


def _is_short(data: bytes) -> bool:
    """Whether this is a WebP that ends too early: its decoder, alone among them, does not say so."""
    return sniffed(data) == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)


SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%PDF", "PDF"),
    (b"8BPS", "PSD"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG2000"),
    (b"\xff\x0a", "JPEGXL"),
)

BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIF", b"heix": "HEIF", b"mif1": "HEIF", b"msf1": "HEIF"}


def sniffed(data: bytes) -> str | None:
    """The format that the first bytes tell, whatever the file is called; None where they tell none."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return BRANDS.get(data[8:12])
    for signature, name in SIGNATURES:
        if data.startswith(signature):
            return name
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml")):
        return "SVG" if b"<svg" in data[:4096].lower() else "XML"
    return "HTML" if start.startswith((b"<!doctype html", b"<html")) else None


def _format(picture: Image.Image) -> str | None:
    # a JPEG with further pictures behind it (MPO, of phones) is one for us
    return "JPEG" if picture.format == "MPO" else picture.format


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none that can be read."""
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # EXIF of cameras is often broken, and the picture is fine
        return 1


def _frames(picture: Image.Image) -> int | None:
    """How many frames there are; None where those behind the first are broken."""
    try:
        return int(getattr(picture, "n_frames", 1))
    except MemoryError:
        raise
    except Exception:  # only the first is taken
        return None


def _fitted(picture: Image.Image, side: int, filter: Image.Resampling, *, gap: float = 3.0) -> Image.Image:
    longest = max(picture.size)
    width, height = (max(1, round(length * side / longest)) for length in picture.size)
    return picture.resize((width, height), filter, reducing_gap=gap)


def _thumbnail(upright: Image.Image) -> bytes:
    small = upright
    if max(upright.size) > THUMBNAIL_SIDE:
        small = _fitted(upright, THUMBNAIL_SIDE, Image.Resampling.BICUBIC, gap=1.5)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _is_there(folder: str, name: str) -> bool:
    return (Path(folder) / name[:2] / name).is_file()


def warm_up(rules: Rules) -> None:
    """Loads every decoder and encoder that may be needed: a confined worker can open no file."""
    from PIL import ImageCms  # noqa: F401  # of which Pillow thinks when it meets the mode LAB

    Image.init()
    for name in (name for name in FORMATS if name in Image.SAVE):
        buffer = io.BytesIO()
        picture = Image.new("RGB", (8, 8))
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        picture.save(buffer, name, **({} if name in ("GIF", "BMP") else {"exif": exif}))
        look(buffer.getvalue(), rules._replace(formats=(name,), max_side=4, store="none"))
    noise = Image.effect_noise((80, 80), 60).resize((70, 70))
    for picture in (noise, Image.new("L", (8, 8))):
        encoded(picture.convert("RGB"))
    look(_saved(Image.new("I;16", (4, 4), 40000), "PNG"), rules._replace(formats=("PNG",), store="none"))
    look(_saved(Image.new("RGBA", (4, 4)), "PNG"), rules._replace(formats=("PNG",), store="none"))


def _saved(picture: Image.Image, name: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, name)
    return buffer.getvalue()
