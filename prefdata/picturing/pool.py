"""The workers that decode: kept warm, fed in batches, replaced when one ends; a crash costs one picture.

A worker that ends while it has a picture is started again and gets that picture once more, so that a kill from
outside costs nothing; the picture on which a second one ends is refused.
"""

from __future__ import annotations

import collections
import json
import math
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import prefdata
from prefdata.errors import PrefdataError
from prefdata.picturing.framing import BLOCK, HEAD, MAX_HEAD, packed
from prefdata.picturing.reasons import REASONS

COMMAND = (sys.executable, "-P", "-m", "prefdata.picturing.worker")

START_SECONDS = 120.0
"""Wall time in which a worker must have started."""

PICTURES_PER_WORKER = 20_000
"""After so many a worker is replaced: what a decoder's allocator does not give back is given back then."""

PIPE_BYTES = 1 << 20

FINGERPRINT = 768
"""Bytes of a fingerprint: 16 x 16 RGB."""

PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "VIRTUAL_ENV")

BY_CLOCK = frozenset((signal.SIGPROF, signal.SIGXCPU, signal.SIGALRM))


class Answer(NamedTuple):
    """What a worker said of a picture: its facts with `reason` (None if taken), and the bytes beside them."""

    facts: dict[str, Any]
    blobs: list[bytes]


@dataclass(slots=True)
class Task:
    """A picture on its way: its bytes, and what its answer is for."""

    key: str
    data: bytes
    tried: bool = False


class Lost(Exception):
    """A worker ended, or was ended, before it answered; the reason for the picture that it had."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        """Whether the picture may be tried once more: it need not have been what ended the worker."""


class Worker:
    """One process that decodes."""

    def __init__(self, command: Sequence[str], config: dict[str, Any], *, patience: float) -> None:
        self.patience = patience
        # a stored picture is hardly larger than its pixels: what says more is no answer
        self._most = 4 * config["max_pixels"] + MAX_HEAD
        self.answered = 0
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=_environment(),
            cwd="/",
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._in, False)
        for fd in (self._in, self._out):
            _widen(fd)
        try:
            self.send(config, ())
            self.receive(START_SECONDS)
        except Lost:
            self.close()
            raise PrefdataError(
                "a process that decodes pictures does not start; see what it says: "
                f"{Path(sys.executable).name} -m prefdata.picturing.worker < /dev/null"
            ) from None

    def send(self, head: dict[str, Any], blobs: Sequence[bytes]) -> None:
        """Writes a message; that the worker has ended is told by `receive`."""
        until = time.monotonic() + self.patience
        for piece in packed(head, blobs):
            view = memoryview(piece)
            while view:
                try:
                    view = view[os.write(self._in, view[:BLOCK]) :]
                except BlockingIOError:
                    if not _comes(self._in, select.POLLOUT, until):
                        return
                except BrokenPipeError:
                    return

    def receive(self, patience: float | None = None) -> Answer:
        """The next answer; raises Lost where there will be none."""
        until = time.monotonic() + (self.patience if patience is None else patience)
        (length,) = HEAD.unpack(self._read(HEAD.size, until))
        if length > MAX_HEAD:
            raise self._lost("crashed")
        try:
            head = json.loads(self._read(length, until))
            sizes = head.pop("sizes")
            if len(sizes) > 3 or not all(isinstance(size, int) and 0 <= size <= self._most for size in sizes):
                raise self._lost("crashed")
            blobs = [bytes(self._read(size, until)) for size in sizes]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._lost("crashed") from None
        self.answered += 1
        return Answer(head, blobs)

    def _read(self, size: int, until: float) -> bytearray:
        found = bytearray()
        while len(found) < size:
            if not _comes(self._out, select.POLLIN, until):
                raise self._lost("timed_out")
            block = os.read(self._out, min(BLOCK, size - len(found)))
            if not block:
                raise self._lost("crashed", ended=True)
            found += block
        return found

    def _lost(self, reason: str, *, ended: bool = False) -> Lost:
        """Ends the process; of one that `ended` by itself, the signal tells whether it had used its time."""
        if not ended:
            self.process.kill()
        try:
            code = self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if ended and -code in BY_CLOCK:
            return Lost("timed_out")
        return Lost(reason, again=ended)

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Pool:
    """Up to `workers` processes, started when there is something to do."""

    def __init__(
        self,
        config: dict[str, Any],
        *,
        workers: int,
        patience: float,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._config = config
        self.command = command
        self.patience = patience
        self._workers: list[Worker | None] = [None] * workers
        self._stopped = False

    @property
    def processes(self) -> list[int]:
        """The ids of the workers that run."""
        return [worker.process.pid for worker in self._workers if worker is not None]

    def close(self) -> None:
        """Ends all workers."""
        self._stopped = True
        for slot, worker in enumerate(self._workers):
            if worker is not None:
                worker.close()
                self._workers[slot] = None

    def run(self, batches: Callable[[], list[Task]], done: Callable[[Task, Answer], None], *, at_once: int) -> None:
        """Hands batches out until one is empty; `done` is called for every task, from several threads.

        `at_once` bounds the workers that are used. A batch is asked for when a worker has taken the one before, so
        what is in memory is two batches a worker.
        """
        self._stopped = False
        faults: list[BaseException] = []

        def drive(slot: int) -> None:
            try:
                self._drive(slot, batches, done)
            except BaseException as error:
                faults.append(error)
                self._stopped = True

        count = max(1, min(at_once, len(self._workers)))
        threads = [threading.Thread(target=drive, args=(slot,), daemon=True) for slot in range(1, count)]
        for thread in threads:
            thread.start()
        drive(0)
        if faults:
            self.close()  # the others wait for workers: they see theirs end
        for thread in threads:
            thread.join()
        if faults:
            self.close()
            raise faults[0]

    def _drive(self, slot: int, batches: Callable[[], list[Task]], done: Callable[[Task, Answer], None]) -> None:
        ahead = batches()
        while ahead and not self._stopped:
            waiting = collections.deque(ahead)
            worker = self._ready(slot)
            worker.send({}, [task.data for task in waiting])
            ahead = batches()  # read while the worker decodes
            while waiting and not self._stopped:
                try:
                    answer = checked(worker.receive(), waiting[0].key)
                except Lost as lost:
                    task = waiting[0]
                    if lost.again and not task.tried:
                        task.tried = True
                    else:
                        done(waiting.popleft(), Answer({"reason": lost.reason}, []))
                    self._end(slot)
                    if waiting and not self._stopped:
                        worker = self._ready(slot)
                        worker.send({}, [task.data for task in waiting])
                    continue
                done(waiting.popleft(), answer)
                if answer.facts["reason"] == "out_of_memory":
                    self._end(slot)
                    if waiting and not self._stopped:
                        worker = self._ready(slot)
                        worker.send({}, [task.data for task in waiting])

    def _ready(self, slot: int) -> Worker:
        worker = self._workers[slot]
        if worker is not None and worker.answered > PICTURES_PER_WORKER:
            self._end(slot)
            worker = None
        if worker is None:
            worker = self._workers[slot] = Worker(self.command, self._config, patience=self.patience)
        return worker

    def _end(self, slot: int) -> None:
        worker = self._workers[slot]
        if worker is not None:
            self._workers[slot] = None
            worker.close()


def _environment() -> dict[str, str]:
    """Of a worker: where code is found, one thread, and nothing of ours beside."""
    found = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    own = str(Path(prefdata.__file__).resolve().parents[1])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    found["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*paths, own]))
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**found, **dict.fromkeys(threads, "1"), "PYTHONDONTWRITEBYTECODE": "1"}


def _comes(fd: int, event: int, until: float) -> bool:
    """Whether a pipe is ready, or closed, by then. With `poll`: `select` knows no descriptor above 1,023."""
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(max(0.0, until - time.monotonic()) * 1000))


def _widen(fd: int) -> None:
    """A wider pipe, where the system can."""
    if sys.platform == "linux":
        import fcntl

        try:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            return


WHOLE = {"width": 2**31, "height": 2**31, "frames": 2**31, "phash": 2**64}
MEASURED = ("blur", "entropy", "brightness", "contrast")
PIXELS = re.compile(r"[0-9a-f]{32}")
FORMAT = re.compile(r"[A-Z0-9]{2,12}")


def checked(answer: Answer, key: str) -> Answer:
    """The answer, if it is one: a worker has had foreign bytes in its hands, and what it says is not trusted.

    `key` is the SHA-256 of the file that was asked about.
    """
    facts, reason = answer.facts, answer.facts.get("reason")
    sound = all(_is_whole(facts.get(name), most) for name, most in WHOLE.items())
    sound = sound and _matches(FORMAT, facts.get("format"))
    if reason is None:
        sizes = [len(blob) for blob in answer.blobs]
        sound = sound and all(isinstance(one := facts.get(name), float) and math.isfinite(one) for name in MEASURED)
        sound = sound and _matches(PIXELS, facts.get("pixels") or "")
        sound = sound and _is_stored(facts.get("stored"), key=key, pixels=facts["pixels"])
        sound = sound and len(sizes) == 3 and sizes[0] == FINGERPRINT and sizes[1] > 0
        sound = sound and (sizes[2] > 0) == ((facts.get("stored") or {}).get("what") == "encoded")
        sound = sound and facts.get("phash") is not None
    else:
        sound = sound and isinstance(reason, str) and reason in REASONS and not answer.blobs
    return answer if sound else Answer({"reason": "crashed"}, [])


def _is_whole(value: Any, most: int) -> bool:
    return value is None or (type(value) is int and 0 <= value < most)


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return value is None or (isinstance(value, str) and pattern.fullmatch(value) is not None)


def _is_stored(stored: Any, *, key: str, pixels: str) -> bool:
    """Whether a file is called as what it holds, so that no picture is written or taken for another one."""
    if stored is None:
        return True
    if not isinstance(stored, dict):
        return False
    stem = {"encoded": pixels, "there": pixels, "original": key}.get(str(stored.get("what")))
    return stem is not None and stored.get("name") in (f"{stem}.png", f"{stem}.jpg")
