"""Whether the sentence at a place of a text says that something is so: does not deny, ask, suppose or leave it open.

"There is no red cup", "If the light is red, hold the button", "the two screws are missing": with another colour or
number in them such sentences may be as true as before. English and Chinese; what these words miss is taken to be said.
"""

from __future__ import annotations

import re

HEDGES = re.compile(
    r"(?i)n['’]t\b|\b(?:no|not|cannot|never|none|nobody|nothing|nowhere|neither|nor|without|lack|lacks|lacking|missing|"
    r"except|besides|instead|rather|unlike|hardly|barely|if|whether|unless|or|may|might|could|should|would|maybe|perhaps|"
    r"possibly|probably)\b"
)
"""What a sentence has that does not simply say that something is so."""

HEDGES_ZH = re.compile(
    "没|不|无|未|非(?!常)|(?<!特)别(?!墅)|缺|除|如果|若|假如|要是|是否|还是|或|吗|可能|也许|大概|应该"
)
"""The same in Chinese."""

_END = re.compile(r"[!?;。！？；\n]|\.(?=\s|$)")
"""What ends a sentence; a point within a number does not."""


def asserts(text: str, at: int) -> bool:
    """Whether the sentence that has the character `at` says that something is so."""
    start = max((one.end() for one in _END.finditer(text, 0, at)), default=0)
    end = _END.search(text, at)
    sentence = text[start : end.end() if end else len(text)].rstrip()
    return not (HEDGES.search(sentence) or HEDGES_ZH.search(sentence) or sentence.endswith(("?", "？")))
