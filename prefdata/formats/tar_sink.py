"""WebDataset: a tar in which the files of one key are one row, `<key>.json`, `<key>.txt` and the pictures.

A single picture is `<key>.png`, several are `<key>.0.png`, `<key>.1.png`; `images` of the JSON names them in order by
what stands after the key, or gives an address. The same rows give the same bytes.
https://github.com/webdataset/webdataset
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import polars as pl

from prefdata.formats.core import json_texts
from prefdata.formats.picture_bytes import bytes_of, suffix_of

TEXT = "txt"
"""Column that becomes a file of its own."""

_BLOCK = 512


class TarSink:
    """The file behind a `FrameWriter` of the container tar; keys are `prefix` and a number."""

    def __init__(self, path: Path, prefix: str) -> None:
        self._prefix = prefix
        self._hash = hashlib.sha256()
        self._rows = self.size = 0
        self._stream: IO[bytes] = path.open("xb")

    def add(self, frame: pl.DataFrame) -> None:
        """A batch kernel: every row becomes files of its own."""
        texts = json_texts(frame.drop("images", TEXT, strict=False)).to_list()
        pictures = frame["images"].to_list() if "images" in frame.columns else [None] * frame.height
        words = frame[TEXT].to_list() if TEXT in frame.columns else [None] * frame.height
        for text, some, word in zip(texts, pictures, words, strict=True):
            self._row(text, some or [], word)

    def _row(self, text: str, pictures: Sequence[Any], word: str | None) -> None:
        key = f"{self._prefix}-{self._rows:08d}"
        self._rows += 1
        given = [_picture(one) for one in pictures]
        addresses = {address for data, address in given if data is None}
        named: list[str | None] = []
        for at, (data, address) in enumerate(given):
            if data is None:
                named.append(address)
                continue
            name = suffix_of(data) if len(given) == 1 else f"{at}.{suffix_of(data)}"
            while name in addresses:
                name = f"x{name}"
            named.append(name)
            self._file(f"{key}.{name}", data)
        if named:
            listed = json.dumps(named, ensure_ascii=False, separators=(",", ":"))
            text = f'{text[:-1]}{"," if text != "{}" else ""}"images":{listed}}}'
        if word is not None:
            self._file(f"{key}.{TEXT}", word.encode())
        self._file(f"{key}.json", text.encode())

    def _file(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(data), 0, 0o644
        self._put(info.tobuf(tarfile.USTAR_FORMAT))
        self._put(data)
        self._put(bytes(-len(data) % _BLOCK))

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        self._stream.write(data)
        self.size += len(data)

    def finish(self) -> str:
        self._put(bytes(2 * _BLOCK))
        self._stream.close()
        return self._hash.hexdigest()

    def abandon(self) -> None:
        self._stream.close()


def _picture(one: Any) -> tuple[bytes | None, str | None]:
    """Bytes of a picture, or its address."""
    if isinstance(one, dict):
        return one["bytes"], one["path"]
    return (bytes_of(one), one) if one is not None else (None, None)
