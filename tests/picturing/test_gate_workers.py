"""Workers that end: killed, without end, without memory; and what they may not do. Each costs one picture at most."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_pictures import gradient, png, saved

from prefdata.errors import PrefdataError
from prefdata.pictures import Address, Gate, GateSettings
from prefdata.picturing import framing, syscalls
from prefdata.picturing.pool import Answer, checked

SICK = """
import os, socket, sys
from prefdata.picturing import decoding, worker
from prefdata.picturing.reasons import Refused

sound = decoding.look

def tried(what):
    try:
        what()
    except OSError:
        return False
    return True

def look(data, rules):
    if data == b"kill":
        os._exit(9)
    if data == b"spin":
        while True:
            pass
    if data == b"fill":
        held = []
        while True:
            held.append(bytearray(1 << 24))
    if data == b"stumble":
        raise ArithmeticError("beside the decoder")
    if data == b"lie":
        os.write(1, b"\\xff" * 64)
    if data == b"reach":
        reached = 0
        for at, what in enumerate((
            lambda: socket.socket(),
            lambda: open("/etc/passwd", "rb"),
            lambda: open(sys.argv[1] + "/written", "wb"),
            lambda: os.mkdir(sys.argv[1] + "/made"),
            lambda: os.unlink(sys.argv[1] + "/there"),
            lambda: os.fork(),
            lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),
            lambda: os.kill(os.getppid(), 0),
        )):
            reached |= tried(what) << at
        raise Refused("broken", width=reached)
    return sound(data, rules)

decoding.look = look
raise SystemExit(worker.main())
"""


BRIEF = """
import time
from prefdata.picturing.framing import receive, send

receive(0)
send(1, {"ready": 1}, ())
time.sleep(0.1)
while receive(0) is not None:
    send(1, {"reason": "broken"}, ())
"""

REACHED = ("socket", "read", "write", "folder", "delete", "child", "program", "signal")
"""What the word `reach` has a worker try, in that order."""


def numbered(count: int) -> list[bytes]:
    return [saved(gradient(20 + at, 20)) for at in range(count)]


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate whose workers fall ill at the word."""
    folder = tmp_path_factory.mktemp("sick")
    (folder / "there").touch()
    (folder / "sick.py").write_text(SICK)
    with Gate(GateSettings(workers=1, seconds=0.3, memory=128 << 20), store=None) as gate:
        gate.pool.command = (sys.executable, "-P", str(folder / "sick.py"), str(folder))
        yield gate


def test_a_worker_that_ends_costs_one_picture_and_the_others_go_on(sick: Gate) -> None:
    given = numbered(9)
    for at, word in ((1, b"kill"), (3, b"lie"), (5, b"spin"), (8, b"fill")):
        given.insert(at, word)
    found = sick.look([Address(Path(), data) for data in given])
    refused = {1: "crashed", 3: "crashed", 5: "timed_out", 8: "out_of_memory"}
    assert found["reason"].to_list() == [refused.get(at) for at in range(13)]
    assert found["width"].to_list() == [20, None, 21, None, 22, None, 23, 24, None, 25, 26, 27, 28]


def test_a_fault_beside_the_decoder_refuses_its_picture_and_ends_no_worker(sick: Gate) -> None:
    given = [Address(Path(), data) for data in (saved(gradient(31, 20)), b"stumble", saved(gradient(32, 20)))]
    sick.look(given[:1])
    processes = sick.pool.processes
    assert sick.look(given)["reason"].to_list() == [None, "broken", None]
    assert sick.pool.processes == processes


def test_a_confined_worker_reaches_nothing_outside_itself(sick: Gate) -> None:
    (found,) = sick.look([Address(Path(), b"reach")]).rows(named=True)
    assert found["reason"] == "broken"
    reached = {name for at, name in enumerate(REACHED) if found["width"] >> at & 1}
    assert reached & {"socket", "read", "write"} == set()
    if syscalls.known():
        assert reached == set()


def test_workers_that_are_killed_from_outside_cost_nothing(sick: Gate) -> None:
    given = [Address(Path(), data) for data in numbered(14)[9:]]
    sick.look(given[:2])
    for process in sick.pool.processes:
        os.kill(process, signal.SIGKILL)
    assert sick.look(given)["reason"].to_list() == [None] * 5


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (GateSettings(workers=1, seconds=0.05), "timed_out"),
        (GateSettings(workers=1, memory=64 << 20), "out_of_memory"),
    ],
)
def test_a_picture_that_takes_too_long_or_too_much_is_refused(settings: GateSettings, reason: str) -> None:
    with Gate(settings, store=None) as gate:
        found = gate.look([Address(Path(), data) for data in (saved(gradient()), png(6_000, 6_000))])
    assert found["reason"].to_list() == [None, reason]


def test_a_worker_that_waits_for_something_is_ended_by_the_wall_clock(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(SICK.replace("os._exit(9)", "os.read(0, 1)"))
    with Gate(GateSettings(workers=1), store=None) as gate:
        gate.pool.command = (sys.executable, "-P", str(tmp_path / "waiting.py"))
        gate.pool.patience = 3.0
        before = time.monotonic()
        found = gate.look([Address(tmp_path, data) for data in (saved(gradient()), b"kill")])
    assert found["reason"].to_list() == [None, "timed_out"]
    assert time.monotonic() - before >= 3


def test_a_worker_that_does_not_start_is_told_once_and_is_no_fault_of_a_picture(tmp_path: Path) -> None:
    with Gate(GateSettings(workers=1), store=None) as gate:
        gate.pool.command = (sys.executable, "-c", "raise SystemExit(3)")
        with pytest.raises(PrefdataError, match="does not start"):
            gate.look([Address(tmp_path, data) for data in numbered(3)])


def test_workers_answer_a_process_that_has_many_files_open(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft if soft in (resource.RLIM_INFINITY, hard) else max(soft, 2_048)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    (tmp_path / "brief.py").write_text(BRIEF)
    try:
        with contextlib.ExitStack() as stack, Gate(GateSettings(workers=1), store=None) as gate:
            for _ in range(1_024):
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            gate.pool.command = (sys.executable, "-P", str(tmp_path / "brief.py"))
            found = gate.look([Address(tmp_path, bytes(4 << 20))])  # more than a pipe holds
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found["reason"].to_list() == ["broken"]


def test_a_worker_ends_with_the_process_that_asked(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from prefdata.pictures import *;"
        "gate = Gate(GateSettings(workers=1), store=None);"
        "gate.look([Address(Path(sys.argv[1]), 'a.png')]);"
        "print(gate.pool.processes[0], flush=True); os.kill(os.getpid(), 9)"
    )
    (tmp_path / "a.png").write_bytes(saved(gradient()))
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    process = int(done.stdout)
    for _ in range(600):
        if not Path(f"/proc/{process}").exists() or "Z" in Path(f"/proc/{process}/stat").read_text().split()[2]:
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the worker lives on")


def test_messages_come_back_as_they_were_sent() -> None:
    source, sink = os.pipe()
    try:
        framing.send(sink, {"a": [1, None, "\u00e9"]}, [b"", b"\x00\xff" * 9])
        framing.send(sink, {}, [])
        assert framing.receive(source) == ({"a": [1, None, "\u00e9"]}, [b"", b"\x00\xff" * 9])
        assert framing.receive(source) == ({}, [])
        os.close(sink)
        assert framing.receive(source) is None
    finally:
        os.close(source)


SOUND = {
    "reason": None,
    "format": "PNG",
    "width": 4,
    "height": 4,
    "frames": 1,
    "pixels": "0" * 32,
    "blur": 1.0,
    "entropy": 1.0,
    "brightness": 0.5,
    "contrast": 0.1,
    "phash": 7,
    "stored": {"name": "0" * 32 + ".png", "what": "encoded"},
}
BLOBS = [bytes(768), b"thumbnail", b"body"]
NO_BODY = [*BLOBS[:2], b""]
KEY = "f" * 64

LYING = f"""
from prefdata.picturing.framing import receive, send

receive(0)
send(1, {{"ready": 1}}, ())
while receive(0) is not None:
    send(1, {SOUND | {"stored": {"name": "0" * 32 + ".png", "what": "there"}}}, {NO_BODY})
"""


@pytest.mark.parametrize(
    ("changed", "blobs", "reason"),
    [
        ({}, BLOBS, None),
        ({"stored": None}, NO_BODY, None),
        ({"stored": {"name": "0" * 32 + ".png", "what": "there"}}, NO_BODY, None),
        ({"stored": {"name": KEY + ".jpg", "what": "original"}}, NO_BODY, None),
        ({"stored": {"name": "1" * 32 + ".png", "what": "encoded"}}, BLOBS, "crashed"),
        ({"stored": {"name": "1" * 32 + ".png", "what": "there"}}, NO_BODY, "crashed"),
        ({"stored": {"name": "0" * 32 + ".png", "what": "original"}}, NO_BODY, "crashed"),
        ({"stored": {"name": KEY + ".png", "what": "encoded"}}, BLOBS, "crashed"),
        ({"stored": {"name": ["0"], "what": ["there"]}}, NO_BODY, "crashed"),
        ({}, NO_BODY, "crashed"),
        ({"stored": {"name": KEY + ".jpg", "what": "original"}}, BLOBS, "crashed"),
        ({"stored": {"name": "../../etc/cron.d/x.png", "what": "encoded"}}, BLOBS, "crashed"),
        ({"stored": {"name": "0" * 32 + ".png/../../x", "what": "encoded"}}, BLOBS, "crashed"),
        ({"stored": {"name": "0" * 32 + ".html", "what": "encoded"}}, BLOBS, "crashed"),
        ({"stored": {"name": "0" * 32 + ".png", "what": "elsewhere"}}, BLOBS, "crashed"),
        ({"stored": "0"}, BLOBS, "crashed"),
        ({"pixels": "x"}, BLOBS, "crashed"),
        ({"pixels": None}, BLOBS, "crashed"),
        ({"format": "<script>"}, BLOBS, "crashed"),
        ({"width": 2**31}, BLOBS, "crashed"),
        ({"width": True}, BLOBS, "crashed"),
        ({"phash": 2**64}, BLOBS, "crashed"),
        ({"phash": None}, BLOBS, "crashed"),
        ({"blur": float("nan")}, BLOBS, "crashed"),
        ({"blur": "much"}, BLOBS, "crashed"),
        ({}, BLOBS[:2], "crashed"),
        ({}, [b"", *BLOBS[1:]], "crashed"),
        ({"reason": "anything"}, [], "crashed"),
        ({"reason": ["broken"]}, [], "crashed"),
        ({"reason": "broken", "width": 2**40}, [], "crashed"),
        ({"reason": "broken"}, [], "broken"),
    ],
)
def test_what_a_worker_says_is_checked_before_it_is_believed(
    changed: dict[str, Any], blobs: list[bytes], reason: str | None
) -> None:
    assert checked(Answer(SOUND | changed, blobs), KEY).facts["reason"] == reason


def test_a_file_that_a_worker_only_says_is_there_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "lying.py").write_text(LYING)
    with Gate(GateSettings(workers=1), store=tmp_path) as gate:
        gate.pool.command = (sys.executable, "-P", str(tmp_path / "lying.py"))
        found = gate.look([Address(tmp_path, saved(gradient()))])
    assert found.select("reason", "uri", "pixels").rows() == [("crashed", None, None)]
