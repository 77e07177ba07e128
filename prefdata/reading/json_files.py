"""JSONL, line by line, and JSON documents, element by element: one broken record costs that record."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from prefdata.reading.account import MIB, Account, ReadAgain, ReadLimits, Unreadable
from prefdata.reading.json_records import Refused, checked, parse, scan
from prefdata.reading.lines import CODECS, Lines, TooLong, detect, known_encoding, settle
from prefdata.reading.sources import Source

_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},]|"', re.DOTALL)


Record = tuple[int, int, str | None, dict[str, Any]]
"""Line, byte offset, key, and the JSON object; a plain tuple, since there is one for every line."""


def jsonl(source: Source, account: Account, *, encoding: str, limits: ReadLimits, objects: bool) -> Iterator[Record]:
    """Every sound line of a JSONL file; the others go to the quarantine of `account`."""
    lines = Lines(source, encoding=encoding, limits=limits)
    for block in lines:
        account.encoding = lines.encoding
        if isinstance(block, TooLong):
            account.quarantine_hashed(
                "line_too_long", line=block.line, offset=block.offset, sha256=block.sha256, size=block.size
            )
            continue
        offsets, first = block.offsets(), block.line
        for index, text in enumerate(block.texts):
            if text is None:
                reason = "bad_encoding"
            elif not text or not text.strip(" \t\r\n"):
                account.blank += 1
                continue
            else:
                try:
                    # a mark inside the file: two exports joined by `cat`
                    value = parse(text if text[0] != "\ufeff" else text[1:])
                    yield first + index, offsets[index], None, checked(text, value, limits, objects=objects)
                    continue
                except Refused as refused:
                    reason = refused.reason
            account.quarantine(reason, block.raws[index], line=block.line + index, offset=offsets[index])


class Element(NamedTuple):
    """A sound record of a JSON document by its text."""

    line: int
    offset: int
    key: str | None
    text: str


class _Document:
    """A window on the text of a JSON document that moves forward; knows the byte offset of its start."""

    def __init__(self, source: Source, *, encoding: str, limits: ReadLimits) -> None:
        asked = known_encoding(encoding)
        self._chunks = source.chunks(limits)
        head = next(self._chunks, b"")
        self.encoding, mark = settle(head, asked)
        self._codec = CODECS[self.encoding]
        self._decoder = codecs.getincrementaldecoder(self._codec)("strict")
        self._source, self._limits, self._auto = source, limits, asked == "auto" and self.encoding == "utf-8"
        self.text, self.start, self.offset, self.ended = "", 0, mark, False
        self._feed(head[mark:])

    def _feed(self, chunk: bytes, final: bool = False) -> None:
        try:
            decoded = self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            if self._auto and (found := detect(self._source, self._limits)) != "utf-8":
                raise ReadAgain(found) from None
            raise Unreadable("bad_encoding", offset=self.offset) from error
        self.text = self.text[self.start :] + decoded
        self.start = 0

    def grow(self) -> bool:
        """Takes in at least as much text as it holds; False where the document has ended."""
        if self.ended:
            return False
        wanted = max(1, len(self.text) - self.start)
        parts, size = [], 0
        for chunk in self._chunks:
            parts.append(chunk)
            size += len(chunk)
            if size >= wanted:
                self._feed(b"".join(parts))
                return True
        self.ended = True
        self._feed(b"".join(parts), final=True)
        return True

    def held(self) -> int:
        """Bytes between the place that was reached and the end of the window, at least."""
        return len(self.text) - self.start

    def take(self, end: int) -> bytes:
        """Moves to `end`; the bytes passed over."""
        raw = self.text[self.start : end].encode(self._codec)
        self.start = end
        self.offset += len(raw)
        return raw

    def peek(self) -> str:
        """The next character that is not white space, after moving to it; "" at the end."""
        while True:
            match = _SPACE.match(self.text, self.start)
            self.take(match.end() if match else self.start)
            if self.start < len(self.text):
                return self.text[self.start]
            if not self.grow():
                return ""


def document(source: Source, account: Account, *, encoding: str, limits: ReadLimits, objects: bool) -> Iterator[Record]:
    """The records of a JSON document: the elements of an array; the values of an object whose values are all objects
    (their names as `key`); else the one object that the document is. `line` is the number of the record.

    After a broken element reading goes on at the next comma of its level. A document that ends too early, or holds an
    element over the limit, is read up to there, and the rest is one row of the quarantine.
    """
    for element, value in _elements(source, account, encoding=encoding, limits=limits, objects=objects):
        yield element.line, element.offset, element.key, value


def elements(source: Source, account: Account, *, encoding: str, limits: ReadLimits) -> Iterator[Element]:
    """The records of `document` by their texts, which are checked."""
    return (element for element, _ in _elements(source, account, encoding=encoding, limits=limits, objects=True))


def _elements(
    source: Source, account: Account, *, encoding: str, limits: ReadLimits, objects: bool
) -> Iterator[tuple[Element, dict[str, Any]]]:
    window = _Document(source, encoding=encoding, limits=limits)
    account.encoding = window.encoding
    first = window.peek()
    if first == "{":
        whole = _whole(window, limits, objects)
        if whole is not None:
            yield Element(1, window.offset, None, window.text[window.start :]), whole
            return
    elif first != "[":
        raise Unreadable("malformed_json" if first else "empty_file", offset=window.offset)
    close = "]" if first == "[" else "}"
    window.take(window.start + 1)
    number, seen = 0, set[str]()
    if window.peek() == close:
        window.take(window.start + 1)
    else:
        while True:
            number += 1
            at = window.offset
            key, value, text, raw, problem = _element(window, limits, keyed=first == "{", objects=objects)
            if problem is None and key is not None:
                problem = "duplicate_key" if key in seen else None
                seen.add(key)
            if problem is None:
                yield Element(number, at, key, text), value
            elif raw is not None:
                account.quarantine(problem, raw, line=number, offset=at)
            else:
                _rest(window, account, problem, number)
                return
            mark = window.peek()
            if mark == ",":
                window.take(window.start + 1)
                window.peek()
            elif mark == close:
                window.take(window.start + 1)
                break
            else:
                _rest(window, account, "malformed_json" if mark else "truncated_json", number + 1)
                return
    if window.peek():
        _rest(window, account, "malformed_json", number + 1)


def _whole(window: _Document, limits: ReadLimits, objects: bool) -> dict[str, Any] | None:
    """The document as one record, where it is small enough, sound, and not a mapping of names to objects."""
    while window.held() <= limits.max_line_bytes and window.grow():
        pass
    if not window.ended or window.held() > limits.max_line_bytes:
        return None
    text = window.text[window.start :]
    try:
        value = parse(text)
        if not value or all(type(item) is dict for item in value.values()):
            return None
        return checked(text, value, limits, objects=objects)
    except Refused:
        return None


def _element(
    window: _Document, limits: ReadLimits, *, keyed: bool, objects: bool
) -> tuple[str | None, Any, str, bytes | None, str | None]:
    """Key, value, its text, raw bytes and what is wrong. Bytes of None: the end of the element was not found."""
    while True:
        key: str | None = None
        problem: str | None
        try:
            at = window.start
            if keyed:
                key, at = scan(window.text, at)
                if not isinstance(key, str):
                    raise Refused("malformed_json")
                at = _skip(window.text, at)
                if window.text[at : at + 1] != ":":
                    raise ValueError
                at = _skip(window.text, at + 1)
            value, end = scan(window.text, at)
            after = _skip(window.text, end)
            if after == len(window.text) and not window.ended:
                problem = "incomplete"
            elif window.text[after : after + 1] in (",", "]", "}", ""):
                problem = None
            else:
                problem = "malformed_json"
        except Refused as refused:
            problem = refused.reason
        except RecursionError:
            problem = "nested_too_deep"
        except (json.JSONDecodeError, ValueError, StopIteration):
            problem = "malformed_json"
        if problem is None:
            too_long = end - window.start > limits.max_line_bytes
            text = window.text[at:end]
            raw = window.take(end)
            if too_long or len(raw) > limits.max_line_bytes:
                return None, None, "", raw, "line_too_long"
            try:
                return key, checked(text, value, limits, key=key, objects=objects), text, raw, None
            except Refused as refused:
                return None, None, "", raw, refused.reason
        broken = _end_of_element(window.text, window.start)
        if problem != "incomplete" and broken is not None:
            return None, None, "", window.take(broken), "nul_character" if _nul(window, broken) else problem
        if window.held() > limits.max_line_bytes:
            return None, None, "", None, "line_too_long"
        if not window.grow():
            return None, None, "", None, "truncated_json" if problem in ("incomplete", "malformed_json") else problem


def _nul(window: _Document, end: int) -> bool:
    return "\x00" in window.text[window.start : end]


def _skip(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start


def _end_of_element(text: str, start: int) -> int | None:
    """Where the element that begins at `start` ends, by brackets and quotes alone; None where the text ends first."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        mark = token.group()
        if mark in ("{", "["):
            depth += 1
        elif mark in ("}", "]"):
            depth -= 1
            if depth < 0:
                return token.start()
        elif mark == "," and depth == 0:
            return token.start()
        elif mark == '"':
            return None
    return None


def _rest(window: _Document, account: Account, reason: str, number: int) -> None:
    """Quarantines all that is left of the document as one record."""
    digest, size, offset = hashlib.sha256(), 0, window.offset
    while True:
        raw = window.take(len(window.text))
        digest.update(raw)
        size += len(raw)
        if not window.grow():
            break
    account.quarantine_hashed(reason, line=number, offset=offset, sha256=digest.hexdigest(), size=size)


def is_jsonl(head: bytes) -> bool:
    """Whether what is named .json is JSONL: its first line is a whole object, and another line follows."""
    encoding, mark = settle(head, "auto")
    text = head[mark : len(head) - len(head) % 2 if encoding.startswith("utf-16") else None]
    lines = text.decode(CODECS[encoding], "ignore").lstrip("\r\n \t").split("\n", 1)
    if len(lines) < 2 or not lines[1].strip():
        return False
    try:
        return type(parse(lines[0])) is dict
    except Refused:
        return False


HEAD = MIB
