"""Vectors of pictures and texts under a CLIP model: each content embedded once, in batches, kept in bounded memory."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from filters.clip_model import Loaded, load, state_of
from prefdata.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]
Part = TypeVar("Part")
Items = TypeVar("Items", list[str], Array)

CACHE_BYTES = 256 * 2**20
"""Vectors kept of pictures, and as many of texts: 256 MiB are 260,000 of 512 numbers. The oldest go first."""
BATCH = 32
"""Pictures or texts in one forward pass."""
FILLED = 4
"""A smaller pass is filled up to a multiple of it. Torch takes other kernels for fewer, with other last bits; from 4 on
a vector depends on its content alone, and not on what stood beside it (measured: ViT-B-32's shape, CPU)."""
PADDED = 8
"""Texts are read at the next multiple of so many ids, instead of at the model's context: captions of 12 words take a
fifth of the time that 77 ids take, and have the same vectors."""
MAX_WINDOWS = 32
"""Windows of one text that are read; with 77 tokens a window, the first 1,240 tokens or so."""
SPARE = 2
"""A picture is decoded and averaged down to this many times the model's own size at least, before the model's bicubic
resize: 2 to 4 times as fast on photos of a megapixel, for cosines that differ by .002 at most, .0003 at 224 pixels."""
_READERS = min(4, os.cpu_count() or 1)


class Vectors:
    """Unit vectors, float16, of what one model is shown; safe for several threads."""

    def __init__(self, loaded: Loaded, *, limit: int = CACHE_BYTES) -> None:
        self.loaded = loaded
        self._lock = threading.RLock()
        self._pictures = _Kept(limit)
        self._texts = _Kept(limit)

    def pictures(self, keys: Sequence[str], paths: Sequence[str]) -> Array:
        """Vectors (pictures, numbers); equal keys are one content. Raises InputError for a file that does not open."""
        with self._lock:
            return self._pictures.of(list(keys), list(paths), self._embed_pictures)

    def texts(self, texts: Sequence[str]) -> Array:
        """Vectors (texts, numbers); beyond the context length a text is cut: see `windows`."""
        with self._lock:
            keys = [hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest() for text in texts]
            return self._texts.of(keys, list(texts), self._embed_texts)

    def windows(self, texts: Sequence[str]) -> list[list[str]]:
        """Each text as pieces that fit the model: itself where it does, else overlapping windows, half a window on."""
        room = self.loaded.context_length - self._specials()
        # a token is a byte at least
        doubtful = [text for text in texts if len(text.encode("utf-8", "replace")) > room]
        with self._lock:
            longer = {text for text, size in zip(doubtful, self._sizes(doubtful), strict=True) if size > room}
            return [_windows(text, room, self._sizes) if text in longer else [text] for text in texts]

    def logit_scale(self) -> float:
        """What the model multiplies its cosines by before a softmax."""
        return float(self.loaded.model.logit_scale.exp())

    def _sizes(self, texts: list[str]) -> list[int]:
        """Tokens of each text without the special ones."""
        encode = _encoder(self.loaded.tokenizer)
        return [len(ids) for ids in encode(texts)] if texts else []

    def _specials(self) -> int:
        return 3 if getattr(self.loaded.tokenizer, "tokenizer_mode", "") == "clips" else 2

    def _embed_pictures(self, paths: list[str]) -> Array:
        import torch

        least = SPARE * self.loaded.size

        def embed(batch: list[str]) -> Array:
            pictures = [self.loaded.preprocess(_opened(path, least=least)) for path in batch]
            return self._forward(self.loaded.model.encode_image, torch.stack(pictures))

        return np.concatenate(self._in_lanes(_batches(paths, self._a_lane(len(paths))), embed))

    def _embed_texts(self, texts: list[str]) -> Array:
        import torch

        ids = torch.cat([self._ids(batch) for batch in _batches(texts, BATCH)])
        sizes = self._read_of(ids)
        order = np.argsort(sizes, kind="stable")  # texts of one length together: none is read at another's
        readers = {int(size): self._reader(int(size)) for size in np.unique(sizes)}
        most = self._a_lane(len(texts))
        parts = [(size, rows) for size in readers for rows in _batches(order[sizes[order] == size], most)]

        def embed(part: tuple[int, Array]) -> Array:
            size, rows = part
            return self._forward(readers[size], ids[torch.from_numpy(rows)][:, :size])

        vectors: Array = np.concatenate(self._in_lanes(parts, embed))[np.argsort(order, kind="stable")]
        return vectors

    def _lanes(self) -> int:
        """Batches that are worked on at a time."""
        import torch

        return torch.get_num_threads() if self.loaded.device == "cpu" else _READERS

    def _a_lane(self, count: int) -> int:
        """How many of `count` go into a batch: so many that every lane has work, a multiple of FILLED."""
        share = -(-count // self._lanes())
        return min(BATCH, max(FILLED, -(-share // FILLED) * FILLED))

    def _in_lanes(self, parts: Iterable[Part], embed: Callable[[Part], Array]) -> list[Array]:
        """`embed` of every part, in their order. On the CPU a part is worked on by one thread of torch, and as many
        at a time as torch has threads: a sixth faster than all threads on one part, and a vector then does not hang
        on how many threads there are. On a GPU the next parts are read while it is at work."""
        import torch

        threads = torch.get_num_threads()
        alone = self.loaded.device == "cpu"

        def one(part: Part) -> Array:
            if alone:
                torch.set_num_threads(1)  # of this thread; and of those begun from now on, hence set again below
            return embed(part)

        try:
            with ThreadPoolExecutor(self._lanes()) as lanes:
                return list(lanes.map(one, parts))
        finally:
            torch.set_num_threads(threads)

    def _read_of(self, ids: Any) -> Array:
        """How many of its ids each text needs, a multiple of PADDED: the rest is padding that no vector hangs on.

        All of them where the model is not open_clip's own, which looks back only and takes what stands at the end.
        """
        import open_clip

        model, whole = self.loaded.model, ids.shape[1]
        if type(model) is not open_clip.CLIP or model.text_pool_type != "argmax" or model.attn_mask is None:
            return np.full(len(ids), whole)
        ends = ids.argmax(dim=1).numpy() + 1
        sizes: Array = np.minimum(-(-ends // PADDED) * PADDED, whole)
        return sizes

    def _reader(self, size: int) -> Callable[..., Any]:
        """`encode_text` of the model, for texts of `size` ids."""
        from torch import nn

        model = self.loaded.model
        if size == self.loaded.context_length:
            return lambda ids, normalize: model.encode_text(ids, normalize=normalize)
        weights = [*model.parameters(), *model.buffers()]
        shorter = copy.deepcopy(model, {id(weight): weight for weight in weights})  # its weights are the model's own
        shorter.positional_embedding = nn.Parameter(model.positional_embedding[:size], requires_grad=False)
        shorter.attn_mask = model.attn_mask[:size, :size]
        return lambda ids, normalize: shorter.encode_text(ids, normalize=normalize)

    def _ids(self, texts: list[str]) -> Any:
        """What the model reads, (texts, context_length). A text that spells the end of a text does not end there.

        open_clip's own tokenizer reads one where `<end_of_text>` is spelt, also in capitals, as HTML, in wide letters.
        """
        import torch

        tokenizer = self.loaded.tokenizer
        ids = tokenizer(texts)
        special = getattr(tokenizer, "all_special_ids", None)
        if special is not None:
            own = torch.isin(ids, torch.tensor(special)).sum(dim=1)
            for row in (own > 2).nonzero().flatten().tolist():
                ids[row] = tokenizer([_unspelt(texts[row], tokenizer)])[0]
        return ids

    def _forward(self, encode: Callable[..., Any], batch: Any) -> Array:
        import torch

        missing = -len(batch) % FILLED
        with torch.inference_mode():
            full = torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])]) if missing else batch
            vectors = encode(full.to(self.loaded.device), normalize=True)[: len(batch)]
            return np.asarray(vectors.float().cpu().numpy(), dtype=np.float16)


_LOADING = threading.Lock()


@lru_cache(maxsize=2)
def _vectors(model: str, pretrained: str | None, device: str, state: str) -> Vectors:
    return Vectors(load(model, pretrained, device))


def vectors_of(model: str, pretrained: str | None, device: str) -> Vectors:
    """The vectors under a model, shared by all that ask in this process; anew where a folder's files have changed."""
    with _LOADING:
        return _vectors(model, pretrained, device, state_of(model, pretrained))


def cosines(left: Array, right: Array, pairs: tuple[Array, Array]) -> Array:
    """The cosine of each pair of row numbers, Float32."""
    found = np.empty(len(pairs[0]), dtype=np.float32)
    for start in range(0, len(found), 4096):  # bounds the memory of the rows gathered
        at = slice(start, start + 4096)
        one, other = left[pairs[0][at]].astype(np.float32), right[pairs[1][at]].astype(np.float32)
        found[at] = np.einsum("ij,ij->i", one, other)
    return np.clip(found, -1, 1)


class _Kept:
    """Vectors by content, the last used ones, at most `limit` bytes of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.vectors: OrderedDict[Any, Array] = OrderedDict()

    def of(self, keys: list[Any], items: list[str], embed: Callable[[list[str]], Array]) -> Array:
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in self.vectors}
        held = {key: self.vectors[key] for key in keys if key in self.vectors}
        if missing:
            held |= dict(zip(missing, embed(list(missing.values())), strict=True))
        for key in dict.fromkeys(keys):
            self.vectors[key] = held[key]
            self.vectors.move_to_end(key)
        while self.vectors and len(self.vectors) * next(iter(self.vectors.values())).nbytes > self.limit:
            self.vectors.popitem(last=False)
        return np.stack([held[key] for key in keys]) if keys else np.empty((0, 1), dtype=np.float16)


def _batches(items: Items, most: int) -> list[Items]:
    return [items[start : start + most] for start in range(0, len(items), most)]


def _opened(path: str, *, least: int) -> Any:
    """A stored picture, RGB, upright, both sides of at least `least` pixels where it has them.

    It was decoded by the gate: what does not open now was changed since.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP", "GIF", "BMP")) as picture:
            picture.draft("RGB", (least, least))  # a JPEG comes at a half, a quarter or an eighth at no cost
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(
            f"picture {Path(path).name}: taken at the gate, and does not open now ({type(error).__name__}); "
            "was the run directory changed?"
        ) from None
    factor = min(upright.size) // least
    return upright.reduce(factor) if factor > 1 else upright


_UNIT = re.compile(
    "[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
    "|[^\\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]{1,20}"
)
"""Where a text may be cut: at white space, around a character of a script without spaces, in an endless word."""


def _windows(text: str, room: int, sizes: Callable[[list[str]], list[int]]) -> list[str]:
    """Pieces of a long text of at most `room` tokens, each begun half a window after the last; MAX_WINDOWS at most."""
    places = [found.span() for found in _UNIT.finditer(text)]
    tokens = sizes([text[start:end] for start, end in places])
    found: list[str] = []
    first = 0
    while first < len(places) and len(found) < MAX_WINDOWS:
        held, last, half = tokens[first], first + 1, first + 1
        while last < len(places) and held + tokens[last] <= room:
            held += tokens[last]
            last += 1
            half = last if held <= room / 2 else half
        found.append(text[places[first][0] : places[last - 1][1]])
        if last == len(places):
            break
        first = half
    return found


def _unspelt(text: str, tokenizer: Any) -> str:
    """`text` without what the tokenizer takes for its own marks, also those that are left when others are gone."""
    while True:
        ids = tokenizer.encode(text)
        kept = [one for one in ids if one not in tokenizer.all_special_ids]
        if len(kept) == len(ids):
            return text
        text = tokenizer.decode(kept)


def _encoder(tokenizer: Any) -> Callable[[list[str]], list[Any]]:
    """Texts -> their ids without the special ones and without a limit: open_clip's own tokenizer, or one it wraps."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        return lambda texts: [tokenizer.encode(text) for text in texts]
    return lambda texts: list(inner(texts, add_special_tokens=False, verbose=False)["input_ids"])
