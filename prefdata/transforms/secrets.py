"""What must not be known to others: API keys, bearer tokens, passwords, one-time codes, in one text."""

from __future__ import annotations

import re

from prefdata.transforms.spans import Claims

SECRET_GATE = (
    r"sk-|[srp]k_(?:live|test)_|AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|AIza|ya29\.|hf_|npm_|eyJ|SG\."
    r"|PRIVATE KEY|(?i:(?-u:\b)(?:bearer|basic|pass(?:word|code|phrase|wd)s?|pwd|pin|cvv2?|cvc2?|otp|code|secret|token"
    r"|api[ _-]?key|(?:verification|security|login|access) number|pass|pw)(?-u:\b))"
    r"|密码|口令|验证码|校验码|动态码|安全码|提取码|密钥"
)
"""For polars: a text without a match holds no secret that `claim_secrets` could find."""

_KEYS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{16,}|[srp]k_(?:live|test)_[A-Za-z0-9]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Z])"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|AIza[0-9A-Za-z_-]{30,}|ya29\.[0-9A-Za-z_-]{20,}|hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?)"
)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_BEARER = re.compile(r"(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{16,})")
_VALUE = r"[\"'“‘]?([^\s<>\"'，。；、！？）】》“”‘’\u4e00-\u9fff]{3,128})"
_PIN = r"pin(?:\s*(?:code|number))?|cvv2?|cvc2?"
_PASSWORD = r"pass(?:word|code|phrase|wd)|pwd"
_TOKEN = (
    r"secret(?:[ _-]?(?:access)?[ _-]?key)?|(?:(?:access|auth|api|refresh|security)[ _-]?)?token"
    r"|api[ _-]?key|client[ _-]secret"
)
_ASSIGNED = re.compile(
    rf"(?i)(?:\b(?:{_PASSWORD}|{_PIN}|{_TOKEN})|密码|口令|密钥|安全码)(?:\s*\([^)\n]{{1,20}}\))?\s*(?:(?:is|was)\s*)?"
    rf"[\"'“‘]?\s*[:：=＝]\s*{_VALUE}"
)
_SAID = re.compile(
    rf"(?i)(?:\b(?:pass|pw)\s*[:=]\s*|\b(?:{_PASSWORD}|{_PIN}|api[ _-]?key|security code)\s+"
    r"(?:(?:is|was)\s+)?(?:now\s+|set to\s+)?"
    rf"|(?:密码|口令|安全码|cvv)\s*(?:是|为|改成|设为|设成)?\s*){_VALUE}"
)
_DIGITS = r"(?<![\dA-Za-z])(\d(?:[ -]?\d){3,7})(?![\dA-Za-z])"
_CODE = re.compile(
    r"(?i)(?:\b(?:(?:verification|security|authentication|authorization|auth|login|log-in|sign-in|one[- ]time|2fa|sms"
    r"|access)\s+(?:pass)?(?:code|pin|password|number)|otp(?:\s+code)?|passcode"
    r"|your code(?=\s*(?:is|:)))\b[^\d\n]{0,24}?"
    rf"|(?:验证码|校验码|动态码|动态密码|安全码|提取码)[^\d\n]{{0,12}}?){_DIGITS}"
)
_CODE_BEFORE = re.compile(
    rf"(?i){_DIGITS}\s*(?:is|as|（|\()?\s*(?:your|the|my|我的|您的|是|为)*\s*"
    r"(?:(?:\w+\s+){0,2}(?:verification|security|authentication|login|one[- ]time|access)\s+(?:pass)?"
    r"(?:code|pin|password)|otp\b|验证码|校验码|动态码)"
)
_MASKED = re.compile(r"[*xX•●.\-_#]+|[<(].*")


def claim_secrets(claims: Claims) -> None:
    """Adds to `claims` every secret; the word that announces it stays, the value goes."""
    text = claims.text
    for pattern in (_PEM, _KEYS):
        for match in pattern.finditer(text):
            claims.add("secret", match.start(), match.end(), match[0])
    for match in _BEARER.finditer(text):
        if re.search(r"\d", match[1]):
            claims.add("secret", match.start(1), match.end(1), match[1])
    for match in _CODE.finditer(text):
        claims.add("secret", match.start(1), match.end(1), re.sub(r"\D", "", match[1]))
    for match in _CODE_BEFORE.finditer(text):
        claims.add("secret", match.start(1), match.end(1), re.sub(r"\D", "", match[1]))
    for pattern, bare in ((_ASSIGNED, False), (_SAID, True)):
        for match in pattern.finditer(text):
            value = match[1].rstrip(".,;:)]}\"'”’")
            if len(value) < 3 or _MASKED.fullmatch(value) or (bare and not _looks_secret(value)):
                continue
            claims.add("secret", match.start(1), match.start(1) + len(value), value)


def _looks_secret(value: str) -> bool:
    """Whether a bare word after "password is" is one: "hunter2" or "S3cr3t!", not "incorrect"."""
    inner = value.rstrip("!?")
    return bool(re.search(r"\d", inner)) or bool(re.search(r"[^\w'’/.,-]", inner))
