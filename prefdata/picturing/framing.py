"""How a gate and its workers talk: a head of JSON and the bytes that it counts, over a pipe. Nothing is unpickled."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from typing import Any

HEAD = struct.Struct(">I")
MAX_HEAD = 1 << 20

BLOCK = 1 << 20


def packed(head: dict[str, Any], blobs: Sequence[bytes] = ()) -> list[bytes]:
    """A message as the pieces to be written: length of the head, the head, its blobs."""
    text = json.dumps({**head, "sizes": [len(blob) for blob in blobs]}, separators=(",", ":")).encode()
    return [HEAD.pack(len(text)) + text, *blobs]


def send(fd: int, head: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Writes one message whole; raises BrokenPipeError where nobody reads."""
    for piece in packed(head, blobs):
        view = memoryview(piece)
        while view:
            view = view[os.write(fd, view[:BLOCK]) :]


def receive(fd: int) -> tuple[dict[str, Any], list[bytes]] | None:
    """The next message; None where the other side has closed."""
    length = _exactly(fd, HEAD.size)
    if length is None:
        return None
    text = _exactly(fd, HEAD.unpack(length)[0])
    if text is None:
        return None
    head = json.loads(text)
    blobs = []
    for size in head.pop("sizes"):
        blob = _exactly(fd, size)
        if blob is None:
            return None
        blobs.append(blob)
    return head, blobs


def _exactly(fd: int, size: int) -> bytes | None:
    if size == 0:
        return b""
    first = os.read(fd, size)
    if len(first) == size:
        return first
    found = bytearray(first)
    while len(found) < size:
        block = os.read(fd, min(BLOCK, size - len(found)))
        if not block:
            return None
        found += block
    return bytes(found)
