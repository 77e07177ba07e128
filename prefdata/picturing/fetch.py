"""The bytes behind an https address of a named host, and of no other: what was checked is what is connected to.

A name is resolved once, every answer must be a public address, the connection goes to that address with the name
kept in the handshake and in the request, and a redirect is an address like any other. Proxies are not used.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from prefdata.picturing.addresses import CONTROL, MAX_ADDRESS
from prefdata.picturing.reasons import Refused

MAX_REDIRECTS = 3
BLOCK = 1 << 16
PORT = 443
REDIRECTS = frozenset((301, 302, 303, 307, 308))
GONE = frozenset((404, 410))

INSIDE = tuple(
    ipaddress.ip_network(network)
    for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fec0::/10", "::/96")
)
"""IPv6 ranges that carry an IPv4 address of anywhere, or that are local by an older rule."""

Resolver = Callable[[str, int], Collection[str]]
Dialler = Callable[[str, int, float], socket.socket]


class Target(NamedTuple):
    """Where an address leads, before anything is resolved."""

    host: str
    path: str


class Fetcher:
    """Fetches pictures from `hosts`. Raises Refused with the reason."""

    def __init__(
        self,
        hosts: Collection[str],
        *,
        max_bytes: int,
        seconds: float,
        resolve: Resolver | None = None,
        dial: Dialler | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self.max_bytes = max_bytes
        self.seconds = seconds
        self._resolve = resolve or resolved
        self._dial = dial or dialled
        self._context = context

    def fetch(self, address: str) -> bytes:
        """The bytes behind `address`; asked once more, in the time that is left, where no picture came."""
        until = time.monotonic() + self.seconds
        try:
            return self._followed(address, until)
        except Refused as refused:
            if refused.reason != "fetch_failed":
                raise
        return self._followed(address, until)

    def _followed(self, address: str, until: float) -> bytes:
        """The bytes behind `address`, redirects followed by the same rules."""
        for _ in range(MAX_REDIRECTS + 1):
            found = self._once(self.target(address), until)
            if isinstance(found, bytes):
                return found
            address = urljoin(address, found.location)
        raise Refused("too_many_redirects")

    def target(self, address: str) -> Target:
        """Host and path of an address that may be asked for."""
        if not self.hosts:
            raise Refused("network_off")
        if len(address) > MAX_ADDRESS or CONTROL.search(address) or " " in address:
            raise Refused("bad_address")
        try:
            parts = urlsplit(address)
            port = parts.port
            host = (parts.hostname or "").rstrip(".").encode("idna").decode("ascii").lower()
        except ValueError:
            raise Refused("bad_address") from None
        if parts.scheme.lower() != "https":
            raise Refused("scheme_not_allowed")
        if not host or parts.username is not None or parts.password is not None:
            raise Refused("bad_address")
        if host not in self.hosts or port not in (None, PORT):
            raise Refused("host_not_allowed")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            path.encode("ascii")
        except UnicodeEncodeError:
            from urllib.parse import quote

            path = quote(path, safe="/?&=%+,;:@!$'()*~-._")
        return Target(host, path)

    def _once(self, target: Target, until: float) -> bytes | _Redirect:
        try:
            addresses = self._resolve(target.host, PORT)
        except OSError:
            raise Refused("fetch_failed") from None
        if not addresses:
            raise Refused("fetch_failed")
        if not all(is_public(address) for address in addresses):
            raise Refused("host_not_public")
        try:
            return self._asked(target, next(iter(addresses)), until)
        except TimeoutError:
            raise Refused("fetch_timed_out") from None
        except (OSError, http.client.HTTPException, ValueError):
            raise Refused("fetch_failed") from None

    def _asked(self, target: Target, ip: str, until: float) -> bytes | _Redirect:
        if self._context is None:
            self._context = ssl.create_default_context()
        raw = self._dial(ip, PORT, _left(until))
        connection = http.client.HTTPConnection(target.host, timeout=self.seconds)
        with raw, _ended_at(raw, until), contextlib.closing(connection):
            raw.settimeout(_left(until))
            sock = connection.sock = self._context.wrap_socket(raw, server_hostname=target.host)
            connection.request(
                "GET",
                target.path,
                headers={
                    "Host": target.host,
                    "Accept": "image/*",
                    "Accept-Encoding": "identity",
                    "Connection": "close",
                },
            )
            sock.settimeout(_left(until))
            with connection.getresponse() as answer:
                location = answer.getheader("Location")
                if answer.status in REDIRECTS and location:
                    return _Redirect(location)
                if answer.status in GONE:
                    raise Refused("not_there")
                if answer.status != 200:
                    raise Refused("fetch_failed")
                return self._body(answer, sock, until)

    def _body(self, answer: http.client.HTTPResponse, sock: socket.socket, until: float) -> bytes:
        told = answer.getheader("Content-Length") or "0"
        if told.isdecimal() and int(told) > self.max_bytes:
            raise Refused("too_large")
        found = bytearray()
        while True:
            sock.settimeout(_left(until))
            block = answer.read1(BLOCK)
            if not block:
                break
            found += block
            if len(found) > self.max_bytes:
                raise Refused("too_large")
        if told.isdecimal() and len(found) < int(told):
            raise Refused("fetch_failed")
        if not found:
            raise Refused("empty")
        return bytes(found)


class _Redirect(NamedTuple):
    location: str


@contextlib.contextmanager
def _ended_at(raw: socket.socket, until: float) -> Iterator[None]:
    """Ends a connection at a time, whatever is waited for by then: handshake, head or body. Raises TimeoutError then.

    The time that a socket has is one for each block that comes: a host that sends drop by drop never uses it up.
    """
    over = threading.Event()
    held = raw.dup()  # the same connection, also when TLS has taken the other one over

    def end() -> None:
        over.set()
        with contextlib.suppress(OSError):
            held.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(until - time.monotonic(), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        held.close()
        if over.is_set():
            raise TimeoutError


def _left(until: float) -> float:
    """Seconds until then; raises TimeoutError where there are none."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also where another address is wrapped in it."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in network for network in INSIDE):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host, in the system's order."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def dialled(ip: str, port: int, seconds: float) -> socket.socket:
    """A connection to an address: never to a name."""
    return socket.create_connection((ip, port), timeout=seconds)
