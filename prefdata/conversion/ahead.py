"""Reading one chunk ahead of the one that is converted."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from prefdata.formats.files import Chunk

_WAIT_S = 0.1


class Ahead:
    """An iterator that is one item ahead in a thread of its own: reading goes on while the chunk before is written."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._items: queue.Queue[Chunk | BaseException | None] = queue.Queue(1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(chunks,), daemon=True)
        self._thread.start()

    def _run(self, chunks: Iterator[Chunk]) -> None:
        end: BaseException | None = None
        try:
            for chunk in chunks:
                if not self._put(chunk):
                    return
        except BaseException as error:  # a panic of polars is no Exception; raised again where the chunks are taken
            end = error
        self._put(end)

    def _put(self, item: Chunk | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._items.put(item, timeout=_WAIT_S)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[Chunk]:
        while (item := self._items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
