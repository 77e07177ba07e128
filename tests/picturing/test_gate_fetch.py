"""Pictures of the network: which hosts are asked, at which address, and what a host can make of that."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_pictures import gradient, saved

from prefdata.pictures import Address, Gate, GateSettings
from prefdata.picturing.fetch import Fetcher, is_public
from prefdata.picturing.reasons import Refused

PUBLIC = "93.184.215.14"


class Site(http.server.BaseHTTPRequestHandler):
    """A host on the loopback: what it answers depends on the path."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append((self.headers["Host"], self.path))
        body = saved(gradient())
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        if self.path == "/gone":
            self.send_error(404)
            return
        if self.path == "/down" or (self.path == "/down/once" and self.asked.count(self.asked[-1]) == 1):
            self.send_error(503)
            return
        if self.path.startswith("/drip"):
            self.drip()
            return
        self.send_response(200)
        if self.path == "/huge":
            self.send_header("Content-Length", str(1 << 30))
        elif self.path == "/short":
            self.send_header("Content-Length", str(len(body) + 10))
        elif self.path not in ("/endless", "/slow"):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            if self.path == "/endless":
                while True:
                    self.wfile.write(bytes(1 << 16))
            if self.path == "/slow":
                for _ in range(100):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(0.1)
            self.wfile.write(b"" if self.path == "/empty" else body)
        except OSError:
            return

    def drip(self) -> None:
        """Head or body without end, a byte at a time."""
        head = b"HTTP/1.1 200 OK\r\n" + (b"" if self.path == "/drip/head" else b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            self.wfile.write(head)
            for _ in range(60):
                self.wfile.write(b"0")
                time.sleep(0.05)
        except OSError:
            return

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class Plain:
    """Instead of TLS, which needs a certificate: keeps the name for which one would be asked."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def wrap_socket(self, raw: socket.socket, *, server_hostname: str) -> socket.socket:
        self.names.append(server_hostname)
        return raw


class Net:
    """A resolver that answers in turn, and connections that all lead to the loopback host."""

    def __init__(self, port: int, *answers: Collection[str]) -> None:
        self.port = port
        self.answers = list(answers) or [[PUBLIC]]
        self.resolved: list[str] = []
        self.dialled: list[str] = []
        self.names = Plain()

    def resolve(self, host: str, port: int) -> Collection[str]:
        self.resolved.append(host)
        return self.answers[min(len(self.resolved), len(self.answers)) - 1]

    def dial(self, ip: str, port: int, seconds: float) -> socket.socket:
        assert port == 443
        self.dialled.append(ip)
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def fetcher(self, *, seconds: float = 30.0) -> Fetcher:
        return Fetcher(
            ["pics.example", "cdn.example"],
            max_bytes=1 << 20,
            seconds=seconds,
            resolve=self.resolve,
            dial=self.dial,
            context=self.names,  # type: ignore[arg-type]
        )


def refusal(fetcher: Fetcher, address: str) -> str:
    with pytest.raises(Refused) as caught:
        fetcher.fetch(address)
    return caught.value.reason


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(port: int) -> None:
    # a name that is public when it is checked and local when it is asked for again
    net = Net(port, [PUBLIC], ["127.0.0.1"])
    Site.asked.clear()
    assert net.fetcher().fetch("https://Pics.Example/a.png?size=1") == saved(gradient())
    assert (net.resolved, net.dialled, net.names.names) == (["pics.example"], [PUBLIC], ["pics.example"])
    assert Site.asked == [("pics.example", "/a.png?size=1")]


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("https://127.0.0.1/x.png", "host_not_allowed"),
        ("https://169.254.169.254/latest/meta-data", "host_not_allowed"),
        ("http://pics.example/x.png", "scheme_not_allowed"),
        ("file:///etc/passwd", "scheme_not_allowed"),
        ("https://pics.example:8443/x.png", "host_not_allowed"),
        ("https://pics.example/to//to//to//to/x", "too_many_redirects"),
    ],
)
def test_a_redirect_is_held_to_the_same_rules(port: int, to: str, reason: str) -> None:
    net = Net(port)
    assert refusal(net.fetcher(), f"https://pics.example/to/{to}") == reason
    assert set(net.dialled) == {PUBLIC}


def test_a_redirect_to_a_name_that_has_become_local_is_not_followed(port: int) -> None:
    net = Net(port, [PUBLIC], ["10.0.0.7"])
    assert refusal(net.fetcher(), "https://pics.example/to/https://cdn.example/a.png") == "host_not_public"
    assert net.dialled == [PUBLIC]


def test_a_redirect_among_the_hosts_is_followed(port: int) -> None:
    net = Net(port)
    assert net.fetcher().fetch("https://pics.example/to/https://cdn.example/b.png") == saved(gradient())
    assert (net.resolved, net.names.names) == (["pics.example", "cdn.example"],) * 2


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["127.0.0.1"], "host_not_public"),
        ([PUBLIC, "192.168.1.1"], "host_not_public"),
        (["169.254.169.254"], "host_not_public"),
        (["::ffff:7f00:1"], "host_not_public"),
        ([], "fetch_failed"),
    ],
)
def test_a_name_with_an_address_that_is_not_public_is_not_asked(port: int, answers: list[str], reason: str) -> None:
    net = Net(port, answers)
    assert (refusal(net.fetcher(), "https://pics.example/a.png"), net.dialled) == (reason, [])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone", "not_there"),
        ("down", "fetch_failed"),
        ("huge", "too_large"),
        ("endless", "too_large"),
        ("short", "fetch_failed"),
        ("empty", "fetch_failed"),
    ],
)
def test_what_a_host_sends_is_bounded(port: int, path: str, reason: str) -> None:
    assert refusal(Net(port).fetcher(), f"https://pics.example/{path}") == reason


def test_a_host_that_sends_drop_by_drop_is_given_up(port: int) -> None:
    assert refusal(Net(port).fetcher(seconds=0.5), "https://pics.example/slow") == "fetch_timed_out"


def test_a_host_that_gives_no_picture_is_asked_once_more_and_one_that_says_there_is_none_is_not(port: int) -> None:
    net = Net(port)
    Site.asked.clear()
    assert net.fetcher().fetch("https://pics.example/down/once") == saved(gradient())
    assert refusal(net.fetcher(), "https://pics.example/down") == "fetch_failed"
    assert refusal(net.fetcher(), "https://pics.example/gone") == "not_there"
    assert [path for _, path in Site.asked] == ["/down/once"] * 2 + ["/down"] * 2 + ["/gone"]


@pytest.mark.parametrize("path", ["drip/head", "drip/chunk"])
def test_a_host_that_never_ends_its_head_is_given_up_in_time(port: int, path: str) -> None:
    before = time.monotonic()
    assert refusal(Net(port).fetcher(seconds=0.3), f"https://pics.example/{path}") == "fetch_timed_out"
    assert time.monotonic() - before < 2


def test_a_handshake_that_never_ends_is_given_up_in_time() -> None:
    ours, theirs = socket.socketpair()

    def drip() -> None:
        with contextlib.suppress(OSError):
            theirs.sendall(b"\x16\x03\x03\x20\x00")  # a record of 8 KiB
            for _ in range(60):
                theirs.sendall(b"\x02")
                time.sleep(0.05)

    thread = threading.Thread(target=drip)
    before = time.monotonic()
    with theirs:
        thread.start()
        fetcher = Fetcher(["pics.example"], max_bytes=9, seconds=0.3, resolve=lambda *_: [PUBLIC], dial=lambda *_: ours)
        assert refusal(fetcher, "https://pics.example/a.png") == "fetch_timed_out"
        assert time.monotonic() - before < 2
        thread.join()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://pics.example.evil.example/a.png", "host_not_allowed"),
        ("https://pics.example@evil.example/a.png", "bad_address"),
        ("https://me:secret@pics.example/a.png", "bad_address"),
        ("https://127.0.0.1/a.png", "host_not_allowed"),
        ("https://[::ffff:7f00:1]/a.png", "host_not_allowed"),
        ("https://0x7f.1/a.png", "host_not_allowed"),
        ("https://2130706433/a.png", "host_not_allowed"),
        ("https://pics.example:22/a.png", "host_not_allowed"),
        ("https://pics.example/a b.png", "bad_address"),
        ("https://pics.example/a\r\nX: y", "bad_address"),
        ("https://pics.example\\@evil.example/", "bad_address"),
        ("https://[bad/a.png", "bad_address"),
        ("https://", "bad_address"),
    ],
)
def test_an_address_that_is_not_of_a_named_host_is_not_resolved(port: int, address: str, reason: str) -> None:
    net = Net(port)
    assert (refusal(net.fetcher(), address), net.resolved) == (reason, [])


@pytest.mark.parametrize(
    ("address", "public"),
    [
        (PUBLIC, True),
        ("2606:4700::6810:84e5", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::7f00:1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::", False),
        ("ff02::1", False),
        ("not an address", False),
    ],
)
def test_only_addresses_of_the_public_network_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.fixture(scope="module")
def fetching() -> Iterator[Gate]:
    with Gate(GateSettings(workers=1, hosts=("pics.example", "cdn.example")), store=None) as gate:
        yield gate


def test_fetched_pictures_go_through_the_gate_like_any_other(fetching: Gate, port: int, tmp_path: Path) -> None:
    names = ["https://pics.example/1.png", "https://cdn.example/same.png", "https://other.example/a.png", "local.png"]
    (tmp_path / "local.png").write_bytes(saved(gradient()))
    fetching.fetcher = Net(port).fetcher()
    found = fetching.look([Address(tmp_path, name) for name in names])
    assert found["reason"].to_list() == [None, None, "host_not_allowed", None]
    assert found["sha256"].n_unique() == 2
    assert found["address"].to_list() == names


def test_an_address_is_asked_once_by_a_gate(fetching: Gate, port: int, tmp_path: Path) -> None:
    names = ["https://pics.example/2.png", "https://pics.example/gone", "https://pics.example/2.png"]
    given = [Address(tmp_path, name) for name in names]
    net = Net(port)
    fetching.fetcher = net.fetcher()
    first = fetching.look(given)
    assert fetching.look(given).equals(first)
    assert first["reason"].to_list() == [None, "not_there", None]
    assert sorted(net.dialled) == [PUBLIC] * 2
