"""Texts of JSON objects to frames with native, nested dtypes: as strict as `json_records`, at the speed of polars.

polars decodes fast and coerces in silence: numbers become text, a scalar becomes a list, of a key that stands twice it
takes the first, a lone surrogate becomes NUL, unknown keys vanish. So every text is first reduced to its skeleton: all
of it but what stands in its strings, `{<role>","<content>"}` for `{"role":"user","content":"Hi"}`. Texts of one
skeleton have the same keys, nesting and types. There are few skeletons in a file; each is parsed once by the strict
parser, which gives the dtype that decodes its texts with nothing to coerce. What a skeleton cannot show goes through
the strict parser itself, text by text: keys with escapes, numbers out of range, surrogates, whatever polars refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import polars as pl

from prefdata.reading.account import RESERVED, ReadLimits
from prefdata.reading.json_frames_plain import has_dtype, plainer
from prefdata.reading.json_frames_types import NoDtype, final, fitted, merged_types, types_of
from prefdata.reading.json_records import Refused, checked, parse

KEY = "_key"
"""Column for the names in a document that is an object of objects."""

SLOW = -1
"""In place of a group: the strict parser must read these texts one by one."""

_MAX_KEYS = 512
_MAX_GROUPS = 64
_MAX_SKELETONS = 20_000
_LEARN_FROM = 100
_ROUNDS = 20
_PARTS = 8

_UNKNOWN_KEY = re.compile(r'"[ \t\r\n]*:')
_PLAIN_KEY = re.compile(r'[^"\\\x00-\x1f]*')
_TOKEN = re.compile("\x01([a-p]+)\x02")
_SURROGATE_OR_NUL = r"\\u(?:[dD][89a-fA-F]|0000)"
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_NUMBERS = (
    (r"-?[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)", "0.0"),
    (r"-?[0-9]{19,}", "9" * 30),
    (r"-?(?-u:\b)[0-9]{16,18}(?-u:\b)", "8" * 16),
    (r"-[0-9]{1,15}(?-u:\b)|(?-u:\b)[0-9]{2,15}(?-u:\b)|[1-9](?-u:\b)", "0"),
)
"""Number literals, and one of the same kind that stands for all: fractions, whole numbers that no Int64 is sure to
hold, those that a float is not sure to hold, and the others. Each leaves the stand-ins of those before it alone."""


class Decoded(NamedTuple):
    """`frames`: one for every set of dtypes, in the order of their first rows; `refused`: (position, reason)."""

    frames: list[pl.DataFrame]
    refused: list[tuple[int, str]]


class Decoder:
    """Decodes the texts of one file, chunk by chunk. A column, once seen, stays in the frames of its group."""

    def __init__(self, limits: ReadLimits) -> None:
        self._limits = limits
        self._keys: dict[str, str] = {}  # `"key":` -> its token
        self._names: dict[str, str] = {}  # token -> `"key":`
        self._groups: list[dict[str, pl.DataType]] = []
        self._known: dict[str, int] = {}  # skeleton -> group
        self._guess: int | None = None  # the group of all texts of the chunk before
        self._pool = ThreadPoolExecutor(1)
        self.strict = 0
        """How many texts went through the strict parser."""

    def decode(self, texts: pl.Series, places: pl.DataFrame) -> Decoded:
        """`texts` (String; none null or blank) as frames behind their `places`, which have as many rows."""
        refused: list[tuple[int, str]] = []
        if len(self._groups) > _MAX_GROUPS or len(self._known) > _MAX_SKELETONS:
            self._groups, self._known, self._guess = [], {}, None
        guess, ahead = self._guess, self._ahead(texts)
        groups = self._group(texts)
        slow: dict[int, dict[str, Any]] = {}
        for position in (groups == SLOW).arg_true().to_list():
            self._strictly(position, texts[position], slow, refused)
        parts: dict[int, list[tuple[pl.Series, pl.Series]]] = {}
        for group in groups.unique(maintain_order=True).to_list():
            if group == SLOW:
                continue
            at = (groups == group).arg_true()
            mine = texts if len(at) == len(texts) else texts.gather(at)
            dtype = self._dtype(group)
            if ahead is not None and group == guess and mine is texts and dtype == ahead[0]:
                good, bad = ahead[1].result()
            else:
                good, bad = _decoded(mine, dtype)
            for index in bad:
                self._strictly(int(at[index]), mine[index], slow, refused)
            if bad:
                at = at.filter(~pl.int_range(len(at), eager=True).is_in(bad))
            if len(at):
                parts.setdefault(group, []).append((at, good))
        self._guess = next(iter(parts)) if len(parts) == 1 and not slow else None
        self._add_slow(slow, parts, refused)
        joined = [_joined(found) for found in parts.values()]
        frames = [_frame(at, records, places) for at, records in sorted(joined, key=lambda one: int(one[0][0]))]
        return Decoded(frames, sorted(refused))

    # ------------------------------------------------------------ skeletons

    def _group(self, texts: pl.Series) -> pl.Series:
        """The group of every text, or SLOW."""
        if not self._keys:
            self._learn(texts.head(_LEARN_FROM).to_list())
        skeletons = self._skeletons(texts)
        new: list[tuple[str, int]] = []
        for _ in range(_ROUNDS):
            kinds = skeletons.to_frame("skeleton").with_row_index("at").group_by("skeleton").agg(pl.col("at").min())
            new = [(skeleton, at) for skeleton, at in kinds.sort("at").iter_rows() if skeleton not in self._known]
            unknown = [texts[at] for skeleton, at in new if _UNKNOWN_KEY.search(skeleton)]
            if not unknown or not self._learn(unknown):
                break
            again = skeletons.str.contains(_UNKNOWN_KEY.pattern).arg_true()
            skeletons = skeletons.scatter(again, self._skeletons(texts.gather(again)))
        for skeleton, _ in new:
            self._known[skeleton] = self._group_of(skeleton)
        found = skeletons.replace_strict(self._known, return_dtype=pl.Int32)
        suspect = texts.str.contains(_SURROGATE_OR_NUL)
        if suspect.any():
            at = suspect.arg_true()
            left = texts.gather(at).str.replace_all(r"\\\\", "").str.replace_all(_PAIR, "")
            found = found.scatter(at.filter(left.str.contains(_SURROGATE_OR_NUL)), SLOW)
        return found

    def _skeletons(self, texts: pl.Series) -> pl.Series:
        """All of each text but its strings: split at its quotes, every other piece is what stands in a string."""
        # an escape leaves a mark behind, so that no key with escapes is taken for another
        bare = texts.str.replace_all(r"\\.", "\x03")
        if self._keys:
            frame = bare.to_frame("text")
            tokens = pl.col("text").str.replace_many(list(self._keys), list(self._keys.values()))
            bare = frame.select(tokens).to_series()
        skeletons = bare.str.split('"').list.gather_every(2).list.join('"')
        if skeletons.str.contains("[0-9]").any():
            for pattern, stand_in in _NUMBERS:
                skeletons = skeletons.str.replace_all(pattern, stand_in)
        return skeletons

    def _group_of(self, skeleton: str) -> int:
        if _UNKNOWN_KEY.search(skeleton):
            return SLOW
        text = _TOKEN.sub(lambda found: self._names.get(found.group(), "?"), skeleton.replace('"', '"s"'))
        try:
            return self._placed(self._record(text))
        except (Refused, NoDtype):
            return SLOW

    def _learn(self, texts: list[str]) -> bool:
        """Gives tokens to the keys of `texts`; whether there were new ones."""
        before = len(self._keys)
        for text in texts:
            try:
                record = self._record(text)
            except Refused:
                continue
            for key in _keys(record):
                if len(self._keys) >= _MAX_KEYS or not _PLAIN_KEY.fullmatch(key):
                    continue
                for written in (f'"{key}":', f'"{key}" :'):
                    if written in text and written not in self._keys:
                        token = "\x01" + "".join(chr(97 + int(digit, 16)) for digit in f"{len(self._keys):x}") + "\x02"
                        self._keys[written] = token
                        self._names[token] = written
        return len(self._keys) > before

    # ------------------------------------------------------------ dtypes and values

    def _record(self, text: str) -> dict[str, Any]:
        """The JSON object of a text; raises Refused for whatever `json_records` refuses."""
        record = checked(text, parse(text, native=True), self._limits, objects=True)
        if not RESERVED.isdisjoint(record):
            raise Refused("reserved_column")
        return record

    def _placed(self, record: Mapping[str, Any]) -> int:
        """The group whose dtypes hold the record as it is, grown by what it lacked."""
        types = types_of(record)
        for number, group in enumerate(self._groups):
            shared = merged_types(group, types)
            if shared is not None:
                self._groups[number] = shared
                return number
        self._groups.append(types)
        return len(self._groups) - 1

    def _dtype(self, group: int) -> pl.Struct:
        return pl.Struct([pl.Field(name, final(dtype)) for name, dtype in self._groups[group].items()])

    def _ahead(self, texts: pl.Series) -> tuple[pl.Struct, Future[tuple[pl.Series, list[int]]]] | None:
        """The texts decoded by the dtype of the chunk before, in a thread, while it is told whether they have it."""
        if self._guess is None:
            return None
        dtype = self._dtype(self._guess)
        return dtype, self._pool.submit(_decoded, texts, dtype)

    def _strictly(
        self, position: int, text: str, slow: dict[int, dict[str, Any]], refused: list[tuple[int, str]]
    ) -> None:
        self.strict += 1
        try:
            # a mark inside the file: two exports joined by `cat`
            slow[position] = self._record(text.removeprefix("\ufeff"))
        except Refused as error:
            refused.append((position, error.reason))

    def _add_slow(
        self,
        slow: dict[int, dict[str, Any]],
        parts: dict[int, list[tuple[pl.Series, pl.Series]]],
        refused: list[tuple[int, str]],
    ) -> None:
        """Sound records are written anew, as plain as JSON can be, and decoded by the dtypes of their group."""
        members: dict[int, list[int]] = {}
        for position in sorted(slow):
            try:
                if not has_dtype(slow[position]):
                    slow[position] = plainer(slow[position])
                members.setdefault(self._placed(slow[position]), []).append(position)
            except NoDtype as error:
                refused.append((position, str(error)))
        for group, positions in members.items():
            texts = pl.Series([json.dumps(slow[position], ensure_ascii=False) for position in positions])
            good, bad = _decoded(texts, self._dtype(group))
            refused += [(positions[index], "malformed_json") for index in bad]
            wrong = set(bad)
            at = pl.Series([one for index, one in enumerate(positions) if index not in wrong], dtype=pl.UInt32)
            if not len(at):
                continue
            if group in parts:  # its dtype may have grown
                parts[group] = [(one, _grown(records, good.dtype)) for one, records in parts[group]]
            parts.setdefault(group, []).append((at, good))


def _decoded(texts: pl.Series, dtype: pl.Struct) -> tuple[pl.Series, list[int]]:
    """The texts that polars takes, as structs, and the positions of those that it refuses."""
    try:
        return texts.str.json_decode(dtype), []
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        if len(texts) == 1:
            return pl.Series(texts.name, [], dtype=dtype), [0]
    good, bad = [], []
    step = -(-len(texts) // _PARTS)
    for start in range(0, len(texts), step):
        some, wrong = _decoded(texts.slice(start, step), dtype)
        good.append(some)
        bad += [start + index for index in wrong]
    return pl.concat(good), bad


def _frame(at: pl.Series, records: pl.Series, places: pl.DataFrame) -> pl.DataFrame:
    """Records as columns behind their places."""
    beside = places if len(at) == places.height else places[at]
    return beside.hstack(records.struct.unnest().get_columns()) if records.struct.fields else beside


def _grown(records: pl.Series, dtype: pl.DataType) -> pl.Series:
    named = records.alias("records")
    return named.to_frame().select(fitted(pl.col("records"), named.dtype, dtype)).to_series()


def _joined(parts: list[tuple[pl.Series, pl.Series]]) -> tuple[pl.Series, pl.Series]:
    """Positions and records of several parts as one, sorted by position."""
    if len(parts) == 1:
        return parts[0]
    at = pl.concat([one for one, _ in parts])
    records = pl.concat([one for _, one in parts])
    order = at.arg_sort()
    return at.gather(order), records.gather(order)


def _keys(value: Any) -> dict[str, None]:
    """The keys of all objects in a value."""
    found: dict[str, None] = {}
    if isinstance(value, dict):
        found.update(dict.fromkeys(value))
        for item in value.values():
            found.update(_keys(item))
    elif isinstance(value, list):
        for item in value:
            found.update(_keys(item))
    return found
