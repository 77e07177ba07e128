"""One look at many pictures: which of them wait, which are decoded, what was found, and what is remembered of it."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prefdata.io import write_atomic
from prefdata.picturing import addresses
from prefdata.picturing.fetch import Fetcher
from prefdata.picturing.pool import Answer, Pool, Task
from prefdata.picturing.reasons import Refused

if TYPE_CHECKING:
    from prefdata.pictures import GateSettings

FOLDER = "pictures"
"""Where pictures are stored, below a run."""

KNOWN = 4096
"""Pictures of which a gate remembers what it found, by the hash of the file: some 3 KB each."""

BATCH = 16
BATCH_BYTES = 2 << 20

FETCHED_AHEAD = 16
"""Pictures that are fetched while others are decoded."""

ADDRESSES = 65_536
"""Addresses of the network of which a gate remembers what they led to: one is asked once."""

Key = tuple[Path, str | bytes]
"""A root, and an address below it."""


class Found(NamedTuple):
    """All that the table holds of a picture, beside where it was named."""

    uri: str | None = None
    reason: str | None = None
    sha256: str | None = None
    pixels: str | None = None
    format: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    blur: float | None = None
    entropy: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    phash: int | None = None
    fingerprint: bytes | None = None
    thumbnail: bytes | None = None


class Memory:
    """What was found before, so that a file is decoded once and an address of the network asked once."""

    def __init__(self, store: Path | None) -> None:
        self._store = store
        self._known: OrderedDict[str, Found] = OrderedDict()
        self._led_to: OrderedDict[str, str | Found] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, digest: str) -> Found | None:
        """What was found in a file of these bytes before; None where it is not known, or no longer in the store."""
        with self._lock:
            found = self._known.get(digest)
            if found is not None:
                self._known.move_to_end(digest)
        if found is None or found.uri is None or self._store is None or (self._store / found.uri).is_file():
            return found
        return None

    def remember(self, digest: str, found: Found) -> None:
        """For the next file of the same bytes."""
        with self._lock:
            self._known[digest] = found
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)

    def led_to(self, address: str) -> Found | None:
        """What an address of the network led to before, if that is still known."""
        with self._lock:
            found = self._led_to.get(address)
        return self.known(found) if isinstance(found, str) else found

    def remember_address(self, address: str, found: str | Found) -> None:
        """That an address of the network led to bytes of this hash, or to this refusal."""
        with self._lock:
            self._led_to[address] = found
            if len(self._led_to) > ADDRESSES:
                self._led_to.popitem(last=False)


class Look:
    """One call of `prefdata.pictures.Gate.look`: which pictures wait, which are decoded, what was found."""

    def __init__(
        self,
        wanted: Sequence[Key],
        settings: GateSettings,
        *,
        store: Path | None,
        pool: Pool,
        fetcher: Fetcher,
        memory: Memory,
    ) -> None:
        self.wanted = list(dict.fromkeys(wanted))
        self.settings = settings
        self.store = store
        self.pool = pool
        self.fetcher = fetcher
        self.memory = memory
        self.results: dict[Key, Found] = {}
        self.waiting: dict[str, list[Key]] = {}
        self.lock = threading.Lock()
        self.roots = addresses.Roots()
        self.size = max(1, min(BATCH, len(self.wanted) // (settings.workers * 2)))
        remote = any(is_remote(address) for _, address in self.wanted) and settings.hosts
        self.fetching = ThreadPoolExecutor(FETCHED_AHEAD) if remote else None
        self.following = self._ahead()

    def found(self) -> dict[Key, Found]:
        """(root, address) -> what was found."""
        with self.roots, self.fetching or contextlib.nullcontext():
            for root in {root for root, _ in self.wanted}:
                self.roots.open_root(root)
            if self.wanted:
                at_once = -(-len(self.wanted) // self.size)
                self.pool.run(self.batch, self.done, at_once=at_once)
        return self.results

    def batch(self) -> list[Task]:
        """The next pictures to be decoded; what is refused unread, or known, is settled on the way."""
        tasks: list[Task] = []
        size = 0
        while len(tasks) < self.size and size < BATCH_BYTES:
            with self.lock:
                following = next(self.following, None)
            if following is None:
                break
            key, found = following
            try:
                data = self._bytes(*key) if found is None else found()
            except Refused as refused:
                self._settle(key, Found(reason=refused.reason))
                continue
            if isinstance(data, Found):
                self.results[key] = data
                continue
            digest = hashlib.sha256(data).hexdigest()
            if is_remote(key[1]):
                self.memory.remember_address(str(key[1]), digest)
            known = self.memory.known(digest)
            if known is not None:
                self.results[key] = known
                continue
            with self.lock:
                first = digest not in self.waiting
                self.waiting.setdefault(digest, []).append(key)
            if first:
                tasks.append(Task(digest, data))
                size += len(data)
        return tasks

    def _settle(self, key: Key, found: Found) -> None:
        self.results[key] = found
        if is_remote(key[1]):
            self.memory.remember_address(str(key[1]), found)

    def _ahead(self) -> Iterator[tuple[Key, Callable[[], bytes | Found] | None]]:
        """What is wanted, in order; what has to be fetched with how to get at it, as it is on its way by then."""
        window: deque[tuple[Key, Callable[[], bytes | Found] | None]] = deque()
        for key in self.wanted:
            if self.fetching is not None and is_remote(key[1]):
                window.append((key, self.fetching.submit(self._fetched, str(key[1])).result))
            else:
                window.append((key, None))
            if len(window) > (FETCHED_AHEAD if self.fetching else 0):
                yield window.popleft()
        yield from window

    def _fetched(self, address: str) -> bytes | Found:
        return self.memory.led_to(address) or self.fetcher.fetch(address)

    def done(self, task: Task, answer: Answer) -> None:
        """A picture is decoded, or refused; all that named it know."""
        found = self._stored(task, answer)
        self.memory.remember(task.key, found)
        with self.lock:
            for key in self.waiting.pop(task.key):
                self.results[key] = found

    def _bytes(self, root: Path, address: str | bytes) -> bytes:
        most = self.settings.max_bytes
        if isinstance(address, bytes):
            return addresses.sized(address, most)
        if addresses.is_data(address):
            return addresses.data_bytes(address, most)
        if addresses.is_remote(address):
            return self.fetcher.fetch(address)
        return self.roots.read(root, address, most)

    def _stored(self, task: Task, answer: Answer) -> Found:
        facts: dict[str, Any] = dict(answer.facts)
        stored = facts.pop("stored", None)
        uri = None
        if stored is not None and self.store is not None:
            name = stored["name"]
            uri = f"{FOLDER}/{name[:2]}/{name}"
            path = self.store / uri
            body = {"encoded": answer.blobs[2], "original": task.data}.get(stored["what"])
            if body is None and not path.is_file():
                return Found(reason="crashed", sha256=task.key, size=len(task.data))
            if body is not None and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, body)
        fingerprint, thumbnail = answer.blobs[:2] if answer.blobs else (None, None)
        return Found(
            uri=uri,
            sha256=task.key,
            size=len(task.data),
            fingerprint=fingerprint,
            thumbnail=thumbnail,
            **{name: value for name, value in facts.items() if name in Found._fields},
        )


def is_remote(address: str | bytes) -> bool:
    """Whether a picture has to be fetched."""
    return isinstance(address, str) and addresses.is_remote(address)
