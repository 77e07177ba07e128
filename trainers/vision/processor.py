"""The processor of a vision-language model: what it makes of pictures, and by how many tokens it stands for each.

The tokenizer that a start gives carries its processor (`looks_of`), so whatever encodes chats knows whether they may
hold pictures. A picture is opened only below the folder that the rows come with, by the name that a row gives, and is
held to what the gate takes: rows may come with a folder that no run has made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata.errors import InputError, MissingExtraError
from prefdata.pictures import GateSettings, read

FILES = ("processor_config.json", "preprocessor_config.json")
"""Of which a folder with a processor has at least one."""

MISSING, BROKEN, CHANGED = "picture_missing", "picture_broken", "picture_changed"
"""Why a row is left out: a picture that is not below the folder, and one that cannot be decoded whole, that the gate
would not take, or that is of a shape that the model's processor refuses. Why a training stops: a picture shows another
thing than when the rows were read, so that what is known of its row, its reference above all, is of another picture."""

SAID = {
    MISSING: "is not there, below the folder of pictures",
    BROKEN: "cannot be decoded, is of a format or size that is not taken, or of a shape that the processor refuses",
    CHANGED: "shows another thing than when the rows were read: something wrote to the folder of pictures meanwhile; "
    "put back what was there, or start anew",
}

WHITE = (255, 255, 255)
"""Under what is transparent, as the gate has it unless told otherwise; pictures that a run stored have nothing such."""

WORKERS = 4
"""Pictures decoded at a time."""

TEXT = frozenset(
    ["input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "text_replacement_offsets"],
)
"""What a processor gives of texts; all else is of pictures."""

KINDS = ("mm_token_type_ids", "token_type_ids")
"""Names under which a model is told which tokens stand for pictures."""


class PictureError(InputError):
    """A picture of a row cannot be shown; `reason` is one of MISSING, BROKEN and CHANGED."""

    def __init__(self, reason: str, uri: str) -> None:
        super().__init__(f"picture {uri}: {SAID[reason]}")
        self.reason = reason


class Picture(NamedTuple):
    """A picture of a row, known by what is seen on it."""

    uri: str
    """Seen from the folder of pictures."""
    pixels: str
    """Hash of the upright pixels: equal pictures have equal ones, wherever they are and however they were stored."""
    width: int
    height: int
    tokens: int
    """That stand for it in a prompt."""


class Looks:
    """How a model looks at pictures: its processor, and the folder that pictures are in."""

    def __init__(self, processor: Any, root: Path | None = None) -> None:
        self.processor = processor
        self.root = None if root is None else Path(root)
        self._known: dict[str, Picture | PictureError] = {}
        self._widened: dict[tuple[int, int], str] = {}
        self._counts: dict[str, int] = {}

    @property
    def tokenizer(self) -> Any:
        """The processor's own."""
        return self.processor.tokenizer

    @property
    def token(self) -> str:
        """What a chat template writes for a picture. Raises InputError for a processor that has no such token."""
        found = getattr(self.processor, "image_token", None)
        if not isinstance(found, str):
            raise InputError(f"{type(self.processor).__name__} has no image token; such processors are not trained")
        return found

    @cached_property
    def identity(self) -> dict[str, str]:
        """Class of the processor, and hash of all that decides what it makes of a picture."""
        said = _telling(self.processor.to_dict())
        text = json.dumps(said, sort_keys=True, ensure_ascii=True, default=str)
        return {"class": type(self.processor).__name__, "sha256": hashlib.sha256(text.encode()).hexdigest()}

    def look_at(self, uris: Iterable[str]) -> None:
        """Opens every picture that is not known yet, several at a time."""
        new = [uri for uri in dict.fromkeys(uris) if uri not in self._known]
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            for uri, seen in zip(new, pool.map(self._seen, new), strict=True):
                self._known[uri] = seen if isinstance(seen, PictureError) else self._known_as(uri, *seen)

    def picture(self, uri: str) -> Picture:
        """The picture, opened once and wholly. Raises PictureError where that fails."""
        if uri not in self._known:
            self.look_at([uri])
        found = self._known[uri]
        if isinstance(found, PictureError):
            raise found
        return found

    def open(self, uri: str) -> Any:
        """The picture as Pillow's RGB image, upright, of the same pixels as the gate makes. Raises PictureError."""
        try:
            from PIL import Image

            from prefdata.picturing.colours import to_rgb
            from prefdata.picturing.decoding import ORIENTATION, TURNS
        except ImportError as error:
            raise MissingExtraError("training on pictures", "images") from error
        file = self._file(uri)
        try:
            with Image.open(file, formats=GateSettings().formats) as opened:
                if opened.width * opened.height > self.max_pixels:
                    raise PictureError(BROKEN, uri)
                opened.load()
                turn = None
                with contextlib.suppress(Exception):  # EXIF of cameras is often broken, and the picture is fine
                    turn = TURNS.get(int(opened.getexif().get(ORIENTATION, 1)))
                shown = to_rgb(opened, WHITE)
                return shown.copy() if turn is None else shown.transpose(turn)
        except (PictureError, MemoryError):
            raise
        except FileNotFoundError:
            raise PictureError(MISSING, uri) from None
        except Exception:  # whatever a parser of foreign bytes stumbles over, the picture is what is wrong
            raise PictureError(BROKEN, uri) from None

    @cached_property
    def max_pixels(self) -> int:
        """Of one picture: the gate's default, or of a run whose own gate took larger ones the largest of its store."""
        found = None if self.root is None else read(self.root)
        if found is None:
            return GateSettings().max_pixels
        stored = found.table.filter(pl.col("uri").is_not_null()).select(pl.col("width", "height").cast(pl.Int64))
        largest: Any = stored.select(pl.col("width") * pl.col("height")).to_series().max()
        return max(GateSettings().max_pixels, largest or 0)

    def widened(self, uri: str) -> str:
        """What the processor puts in place of the picture's token: as a rule that token, many times."""
        known = self.picture(uri)
        return self._widened[known.width, known.height]

    def tensors(self, rows: Sequence[Sequence[Picture]]) -> dict[str, Any]:
        """What the model is handed of the pictures of a batch, one list a row; nothing where there are none.

        Raises PictureError for a picture that is not the one that was looked at.
        """
        images = [[self._again(one) for one in row] for row in rows if row]
        if not images:
            return {}
        text = [self.token * len(row) for row in images]
        found = self.processor(images=images, text=text, padding=True, return_tensors="pt")
        return {name: value for name, value in found.items() if name not in TEXT}

    def shown(self, rows: Sequence[Sequence[Picture]], ids: Any) -> dict[str, Any]:
        """`tensors` and `kinds` of a batch, where `ids` are; nothing for one without pictures."""
        found = self.tensors(rows)
        return {name: value.to(ids.device) for name, value in {**found, **(self.kinds(ids) if found else {})}.items()}

    def kinds(self, ids: Any) -> dict[str, Any]:
        """Which tokens stand for pictures, under the name by which this model is told; nothing for most models."""
        import torch

        if self._told is None:
            return {}
        return {self._told: torch.tensor(self.processor.create_mm_token_type_ids(ids.tolist()))}

    @cached_property
    def _told(self) -> str | None:
        from PIL import Image

        given = self.processor(images=[[Image.new("RGB", (64, 64))]], text=[self.token], return_tensors="pt")
        return next((name for name in KINDS if name in given), None)

    def _file(self, uri: str) -> Path:
        if self.root is None:
            raise InputError("rows have pictures; name the folder that they are in: pictures=...")
        root = self.root.resolve()
        file = (root / uri).resolve() if uri and "\x00" not in uri else root
        if not file.is_relative_to(root) or not file.is_file():
            raise PictureError(MISSING, uri)
        return file

    def _seen(self, uri: str) -> tuple[str, int, int] | PictureError:
        """Hash of the pixels, width and height."""
        try:
            image = self.open(uri)
        except PictureError as error:
            return error
        return _pixels(image), image.width, image.height

    def _again(self, known: Picture) -> Any:
        image = self.open(known.uri)
        if _pixels(image) != known.pixels:
            raise PictureError(CHANGED, known.uri)
        return image

    def _known_as(self, uri: str, pixels: str, width: int, height: int) -> Picture | PictureError:
        if (width, height) not in self._widened:
            try:
                self._widened[width, height] = self._replacement(self.open(uri))
            except (ValueError, ZeroDivisionError):  # of a shape that the processor refuses: a line of pixels, 200:1
                return PictureError(BROKEN, uri)
            except PictureError as error:
                return error
        return Picture(uri, pixels, width, height, self._count(self._widened[width, height]))

    def _replacement(self, image: Any) -> str:
        given = self.processor(images=[[image]], text=[self.token], return_text_replacement_offsets=True)
        offsets = given.get("text_replacement_offsets")
        if not offsets or len(offsets[0]) != 1:
            raise InputError(
                f"{type(self.processor).__name__} does not tell what stands for a picture; take a newer transformers"
            )
        found: str = offsets[0][0]["replacement"]
        return found

    def _count(self, text: str) -> int:
        if text not in self._counts:
            self._counts[text] = len(self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)
        return self._counts[text]


def _pixels(image: Any) -> str:
    """Hash of what is seen on an RGB image."""
    found = hashlib.sha256(f"{image.width}x{image.height}\n".encode())
    found.update(image.tobytes())
    return found.hexdigest()


def looks_of(tokenizer: Any) -> Looks | None:
    """How the model of this tokenizer looks at pictures; None for a model that reads text alone."""
    return getattr(tokenizer, "__dict__", {}).get("_prefdata_looks")


def reads_pictures(folder: Path) -> bool:
    """Whether the model in `folder` is a vision-language one, by its config."""
    file = Path(folder) / "config.json"
    return file.is_file() and "vision_config" in json.loads(file.read_text(encoding="utf-8"))


def load_looks(folder: Path, root: Path | None) -> Looks:
    """The processor in `folder`, network off, its tokenizer carrying it.

    Raises InputError for a folder without one, and for a processor without a chat template: where pictures stand in a
    chat is the model's own to say.
    """
    try:
        import PIL  # noqa: F401
        import transformers
    except ImportError as error:
        raise MissingExtraError("training on pictures", "images") from error
    if not any((folder / name).is_file() for name in FILES):
        raise InputError(f"model {folder.name}: its config reads pictures, and it has no processor ({FILES[0]})")
    processor = transformers.AutoProcessor.from_pretrained(str(folder), local_files_only=True)
    tokenizer = processor.tokenizer
    if processor.chat_template:
        tokenizer.chat_template = processor.chat_template
    if not tokenizer.chat_template:
        raise InputError(
            f"model {folder.name}: no chat template, so nothing tells how it reads pictures among turns; start from "
            "the instruction-tuned model"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    looks = Looks(processor, root)
    tokenizer.__dict__["_prefdata_looks"] = looks
    return looks


def _telling(value: Any) -> Any:
    """A processor's settings without its tokenizer, whose work shows in the ids, and without places and versions."""
    if isinstance(value, Mapping):
        left_out = ("tokenizer", "chat_template", "transformers_version", "_name_or_path", "name_or_path")
        return {str(key): _telling(inner) for key, inner in value.items() if key not in left_out}
    return [_telling(inner) for inner in value] if isinstance(value, (list, tuple)) else value
