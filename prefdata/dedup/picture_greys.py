"""Stored pictures in grey, opened in a few threads and kept while there is room.

Every picture is opened once for its square, 64 x 64 pixels, which is kept for all. The larger views, which few pairs
need, are opened again, and the oldest of them are forgotten when they take more than KEPT bytes.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]

SQUARE = 64
LONGEST = 2048
"""Pixels of the longer side above which a picture is reduced."""
KEPT = 128 << 20
"""Bytes of views that are kept."""
THREADS = 4


class Squares(NamedTuple):
    """Of each file: its picture as a square, and width and height; 0 and 0 where it cannot be opened."""

    greys: Grey
    sizes: NDArray[np.int64]


class Greys:
    """Views of stored pictures by path."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._views: OrderedDict[tuple[str, Any], Grey | None] = OrderedDict()
        self.held = 0
        """Bytes of the views that are kept."""
        self._threads = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1), thread_name_prefix="pictures")
        self.opened = 0
        """How often a file was opened."""

    def __enter__(self) -> Greys:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def squares(self, paths: Sequence[str]) -> Squares:
        """All pictures as squares, whatever their shape: 4 KB each."""
        greys = np.zeros((len(paths), SQUARE, SQUARE), dtype=np.uint8)
        sizes = np.zeros((len(paths), 2), dtype=np.int64)
        self.opened += len(paths)
        for at, found in enumerate(self._threads.map(_square, paths)):
            if found is not None:
                greys[at], sizes[at] = found
        return Squares(greys, sizes)

    def load(self, paths: Iterable[str]) -> None:
        """Opens several at a time those of `paths` whose whole view is not there."""
        missing = [path for path in dict.fromkeys(paths) if (path, None) not in self._views]
        self.opened += len(missing)
        for path, grey in zip(missing, self._threads.map(_whole, missing)):
            self._keep((path, None), grey)

    def whole(self, path: str) -> Grey | None:
        """The picture in its own size, at most LONGEST pixels a side; None where it cannot be opened."""
        key = (path, None)
        if key not in self._views:
            self.opened += 1
            self._keep(key, _whole(path))
        self._views.move_to_end(key)
        return self._views[key]

    def sized(self, path: str, height: int, width: int) -> Grey | None:
        """The whole view, brought to another size."""
        from PIL import Image

        key = (path, (height, width))
        if key in self._views:
            self._views.move_to_end(key)
            return self._views[key]
        grey = self.whole(path)
        if grey is None or grey.shape == (height, width):
            return grey
        less = height < grey.shape[0] or width < grey.shape[1]
        how = Image.Resampling.BOX if less and max(height, width) == 256 else Image.Resampling.BICUBIC
        found = np.asarray(Image.fromarray(grey).resize((width, height), how))
        self._keep(key, found)
        return found

    def _keep(self, key: tuple[str, Any], grey: Grey | None) -> None:
        self._views[key] = grey
        self.held += 0 if grey is None else grey.nbytes
        while self.held > self._kept and len(self._views) > 1:
            _, gone = self._views.popitem(last=False)
            self.held -= 0 if gone is None else gone.nbytes


def _square(path: str) -> tuple[Grey, tuple[int, int]] | None:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            size = picture.size
            picture.draft("L", (2 * SQUARE, 2 * SQUARE))
            small = picture.convert("L").resize((SQUARE, SQUARE), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return np.asarray(small), size


def _whole(path: str) -> Grey | None:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            factor = min(1.0, LONGEST / max(picture.size))
            size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
            grey = picture.convert("L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return np.asarray(grey if grey.size == size else grey.resize(size, Image.Resampling.BICUBIC))
