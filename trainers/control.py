"""Which tokens of a tokenizer stand for markers, and a copy of it that reads none of them out of text.

In the copy every marker has a private name of two characters that no text may hold; a rendered chat whose markers are
written by these names is cut, normalised and merged as ever, and whatever its texts spell stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from prefdata.errors import InputError

HTML = (
    "a|abbr|article|aside|b|blockquote|body|br|caption|cite|code|col|colgroup|dd|del|details|div|dl|dt|em|figcaption|"
    "figure|footer|h[1-6]|head|header|hr|html|i|img|ins|kbd|li|main|mark|nav|ol|p|pre|q|samp|section|small|span|strong|"
    "sub|summary|sup|table|tbody|td|tfoot|th|thead|title|tr|tt|u|ul|var"
)
"""Elements that some tokenizers (Gemma's) have tokens for, as they have for words."""

_TEXT = re.compile(rf"[\s\u2581]*|</?(?:{HTML})>")
"""Added tokens of this shape that are not special are words: runs of blanks, and HTML."""

_LEAD, _NUMBER = 0xF0000, 0x100000
"""Planes of private use: the lead of a name, and the number of its token."""

LEADS = 8
"""Copies that are made, one for each lead that texts leave free; a text that holds them all is refused."""

_BYTES = frozenset({"ByteLevel", "Split", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit", "BertPreTokenizer"})
_WHOLE = frozenset({"NFC", "NFD", "NFKC", "NFKD", "Lowercase"})
"""Steps that treat what stands between two markers alike, wherever it stands."""


class Span(NamedTuple):
    """A marker in a text."""

    start: int
    end: int
    token: int


class Control:
    """What is known of the markers of one tokenizer; kept on it, see `control_of`."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self.ids = frozenset(one for one, token in added.items() if token.special or not _TEXT.fullmatch(str(token)))
        """Every added token but those that are words, special or not."""
        unknown = getattr(tokenizer, "unk_token_id", None)
        others = (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id)
        self.marking = self.ids - ({unknown} if unknown not in others else set())
        """Those whose number in a chat must be the template's: a character that the tokenizer lacks forges nothing."""
        self._copies: dict[int, Any] = {}

    @cached_property
    def spellings(self) -> re.Pattern[str] | None:
        """What texts must hold to spell a marker, longest first; None for a tokenizer without markers."""
        added = self._tokenizer.added_tokens_decoder
        spelled = sorted({str(added[one]) for one in self.ids}, key=lambda one: (-len(one), one))
        return re.compile("|".join(map(re.escape, spelled))) if spelled else None

    @cached_property
    def spelled(self) -> dict[str, int]:
        """Spelling of a marker -> its id."""
        return {str(token): one for one, token in self._tokenizer.added_tokens_decoder.items() if one in self.ids}

    @cached_property
    def parted(self) -> re.Pattern[str]:
        """Splits a text into what stands between markers and, at every second place, the markers."""
        return re.compile(f"({self.spellings.pattern})" if self.spellings is not None else "(?!)")

    @cached_property
    def apart(self) -> bool:
        """Whether markers part a text: what stands between two of them has the same ids wherever it stands.

        So for byte-level tokenizers; not where blanks are put in front of words, or where markers swallow blanks.
        """
        added = self._tokenizer.added_tokens_decoder
        plan = self._plan
        tokens = [added[one] for one in self.ids]
        if any(one.lstrip or one.rstrip or one.single_word for one in tokens):
            return False
        if plan["normalizer"] is not None and any(one.normalized for one in tokens):
            return False
        cutting, normalising = _steps(plan["pre_tokenizer"]), _steps(plan["normalizer"])
        prefixed = any(step.get("add_prefix_space") for step in cutting)
        return (
            not prefixed
            and {step["type"] for step in cutting} <= _BYTES
            and {step["type"] for step in normalising} <= _WHOLE
        )

    def sequence(self, ids: Sequence[int]) -> list[int]:
        """The markers among `ids`, in order."""
        marking = self.marking
        return [one for one in ids if one in marking]

    def spans(self, text: str) -> list[Span]:
        """Where the tokenizer sees markers in `text`."""
        found = self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        spans = []
        for one, (start, end) in zip(found.ids, found.offsets, strict=True):
            if one in self.marking:
                whole = text[start:end]
                bare = whole.strip()
                start += len(whole) - len(whole.lstrip()) if bare else 0
                spans.append(Span(start, start + len(bare) if bare else end, one))
        return spans

    def lead(self, texts: Sequence[str]) -> int:
        """Which copy to take: the first whose names begin with a character that no text holds."""
        for number in range(LEADS):
            if not any(chr(_LEAD + number) in text for text in texts):
                return number
        raise InputError("a text holds the private characters by which markers are told from text")

    def name(self, lead: int, token: int) -> str:
        """What a marker is called in the copy `lead`."""
        return chr(_LEAD + lead) + chr(_NUMBER + self._order[token])

    def encode(self, lead: int, text: str) -> list[int]:
        """Ids of a text whose markers are written by their names in the copy `lead`."""
        if lead not in self._copies:
            self._copies[lead] = self._copy(lead)
        ids: list[int] = self._copies[lead].encode(text, add_special_tokens=False).ids
        return ids

    @cached_property
    def _plan(self) -> dict[str, Any]:
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise InputError("this tokenizer is a slow one, whose markers cannot be told from text; take its fast form")
        plan: dict[str, Any] = json.loads(backend.to_str())
        return plan

    @cached_property
    def _order(self) -> dict[int, int]:
        return {one: at for at, one in enumerate(sorted(self.ids))}

    def _copy(self, lead: int) -> Any:
        """The tokenizer's machine with every marker renamed, in the model's vocabulary too: no text is called so."""
        from tokenizers import Tokenizer

        plan = json.loads(json.dumps(self._plan))
        renamed: dict[str, str] = {}
        normalizer = self._tokenizer.backend_tokenizer.normalizer
        for added in plan["added_tokens"]:
            if added["id"] in self.ids:
                name = self.name(lead, added["id"])
                renamed[added["content"]] = name
                # a name that the normaliser would change must be found before it
                kept = normalizer is None or normalizer.normalize_str(name).strip("\u2581 ") == name
                added |= {"content": name, "single_word": False, "normalized": added["normalized"] and kept}
        _rename(plan["model"], renamed)
        plan |= {"post_processor": None, "truncation": None, "padding": None}
        copy = Tokenizer.from_str(json.dumps(plan))
        if any(copy.token_to_id(self.name(lead, one)) != one for one in self.ids):
            raise InputError("this tokenizer cannot be copied so that no text becomes a control token")
        return copy


def control_of(tokenizer: Any) -> Control:
    """What is known of the tokenizer's markers; made once, anew when tokens were added since."""
    size = len(tokenizer.added_tokens_decoder)
    known = tokenizer.__dict__.get("_prefdata_control")
    if known is None or known[0] != size:
        known = tokenizer.__dict__["_prefdata_control"] = (size, Control(tokenizer))
    found: Control = known[1]
    return found


def _rename(model: dict[str, Any], renamed: dict[str, str]) -> None:
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {renamed.get(piece, piece): one for piece, one in vocabulary.items()}
    elif isinstance(vocabulary, list):
        model["vocab"] = [[renamed.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") in renamed:
        model["unk_token"] = renamed[model["unk_token"]]
    if model.get("merges"):
        model["merges"] = [merge for merge in model["merges"] if not _about(merge, renamed)]


def _about(merge: Any, renamed: dict[str, str]) -> bool:
    one, other = merge if isinstance(merge, list) else merge.split(" ", 1)
    return one in renamed or other in renamed or one + other in renamed


def _steps(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    """A step of the plan as a flat list."""
    if step is None:
        return []
    inner = step.get("pretokenizers") or step.get("normalizers")
    return [one for part in inner for one in _steps(part)] if inner else [step]
