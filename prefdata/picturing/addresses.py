"""Where a picture is, and its bytes: a path below a root, a `data:` address, bytes that a table holds.

A path is walked folder by folder with file descriptors, so that what was checked is what is opened.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import re
import stat
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self
from urllib.parse import unquote_to_bytes

from prefdata.picturing.reasons import Refused

MAX_ADDRESS = 4096
"""Characters of a path or an address of the network."""

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")

CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff\\\\]")
"""Control characters, line ends, halves of a surrogate pair, and the backslash."""

DATA = re.compile(
    r"data:(?:[A-Za-z0-9!#$&^_.+\-]+/[A-Za-z0-9!#$&^_.+\-]+)?(?:;[A-Za-z0-9_.\-]+=[^;,]{0,100})*;base64,", re.I
)

BLANKS = " \t\r\n\f\v"
"""What may stand among the signs of base64: mail breaks it into lines."""

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

NOT_THERE = frozenset((errno.ENOENT, errno.ENOTDIR))


def is_data(address: str) -> bool:
    """Whether an address holds the picture itself."""
    return address[:5].lower() == "data:"


def is_remote(address: str) -> bool:
    """Whether an address is one of the network that may be asked for."""
    return address[:8].lower() == "https://"


def data_bytes(address: str, max_bytes: int) -> bytes:
    """The bytes of a `data:` address in base64, be it broken into lines or without its padding; raises Refused."""
    head = DATA.match(address)
    if head is None:
        raise Refused("bad_data_address")
    signs = len(address) - head.end() - sum(address.count(one, head.end()) for one in BLANKS)
    signs -= 2 * address.count("%", head.end())
    if signs // 4 * 3 > max_bytes + 3:
        raise Refused("too_large")
    body = address[head.end() :]
    try:
        raw = unquote_to_bytes(body) if "%" in body else body.encode("ascii")
        raw = raw.translate(None, BLANKS.encode())
        found = base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise Refused("bad_data_address") from None
    return sized(found, max_bytes)


def sized(data: bytes, max_bytes: int) -> bytes:
    """`data`, neither empty nor too large; raises Refused."""
    if not data:
        raise Refused("empty")
    if len(data) > max_bytes:
        raise Refused("too_large")
    return data


class Roots:
    """Reads files below roots; holds a descriptor for each root that was asked for."""

    def __init__(self) -> None:
        self._open: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """The roots are let go."""
        while self._open:
            os.close(self._open.popitem()[1])

    def open_root(self, root: Path) -> None:
        """Makes `root` known; to be done before several threads read below it. One that is not there is no error."""
        if root not in self._open:
            try:
                self._open[root] = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                return

    def read(self, root: Path, address: str, max_bytes: int) -> bytes:
        """The bytes of the regular file `address` below `root`; raises Refused with the reason."""
        parts = path_parts(address, root)
        if root not in self._open:
            raise Refused("not_there")
        try:
            try:
                return _read(self._open[root], parts, max_bytes)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                    raise
                # a link on the way: where it leads is walked again, without any
                inside = _linked(root, parts)
                if inside is None:
                    raise
                return _read(self._open[root], inside, max_bytes)
        except OSError as error:
            if error.errno in NOT_THERE:
                raise Refused("not_there") from None
            if error.errno in (errno.ELOOP, errno.EMLINK):
                raise Refused("outside_root") from None
            if error.errno in (errno.ENXIO, errno.EISDIR):
                raise Refused("not_a_file") from None
            if error.errno == errno.ENAMETOOLONG:
                raise Refused("bad_address") from None
            raise Refused("cannot_be_read") from None


def path_parts(address: str, root: Path) -> tuple[str, ...]:
    """The names of a path below `root`, seen from it or from `/`; raises Refused where it is none, or leads out."""
    if not address or address.isspace():
        raise Refused("no_address")
    if len(address) > MAX_ADDRESS or CONTROL.search(address):
        raise Refused("bad_address")
    if SCHEME.match(address):
        raise Refused("scheme_not_allowed")
    path = PurePosixPath(address)
    if ".." in path.parts:
        raise Refused("outside_root")
    if path.is_absolute():
        try:
            path = path.relative_to(os.path.abspath(root))
        except ValueError:
            raise Refused("outside_root") from None
    if not path.parts:
        raise Refused("not_a_file")
    return path.parts


def _read(root: int, parts: tuple[str, ...], max_bytes: int) -> bytes:
    folder = root
    try:
        for name in parts[:-1]:
            inner = os.open(name, FOLDER, dir_fd=folder)
            if folder != root:
                os.close(folder)
            folder = inner
        # looked at before it is opened: opening a device may do something
        _checked(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False), max_bytes)
        file = os.open(parts[-1], FILE, dir_fd=folder)
    finally:
        if folder != root:
            os.close(folder)
    try:
        size = _checked(os.fstat(file), max_bytes)
        data = os.read(file, size + 1)
        if len(data) != size:
            pieces = [data]
            while data and sum(map(len, pieces)) <= max_bytes:
                data = os.read(file, max_bytes + 1)
                pieces.append(data)
            data = b"".join(pieces)
    finally:
        os.close(file)
    return sized(data, max_bytes)


def _checked(status: os.stat_result, max_bytes: int) -> int:
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not stat.S_ISREG(status.st_mode):
        raise Refused("not_a_file")
    if status.st_size > max_bytes:
        raise Refused("too_large")
    return status.st_size


def _linked(root: Path, parts: tuple[str, ...]) -> tuple[str, ...] | None:
    """Where a path with links leads, below `root`; None where there is no link. Raises Refused where it leads out."""
    real = Path(os.path.realpath(root))
    target = Path(os.path.realpath(real.joinpath(*parts)))
    if target == real.joinpath(*parts):
        return None
    if not target.is_relative_to(real) or target == real:
        raise Refused("outside_root")
    return target.relative_to(real).parts
