"""Personal data of a fixed shape in one text: e-mail, URL, secret, IBAN, Chinese ID, card, IP address, telephone.

A number counts only with a valid checksum or, for telephones, as a number that phonenumbers accepts; an order or
ticket number named as such is none. What is recognised by words rather than by its shape is in names.py.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from prefdata.transforms.checksums import cn_id_valid, iban_length, iban_valid, luhn_valid
from prefdata.transforms.secrets import SECRET_GATE, claim_secrets
from prefdata.transforms.spans import KEPT, Claims

VALUE_GATE = "|".join(
    (
        r"[@＠]",
        r"(?i:[\[({]\s*at\s*[\])}]|\s[\w-]+\sdot\s)",
        r"\d(?:[\s.()（）+－–—−‑‐‒/-]{0,3}\d){6}",
        r"://|(?i)www\.",
        r"\d[.．]\d{1,3}[.．]\d{1,3}[.．]\d",
        r"(?i)[0-9a-f]{0,4}[:：][0-9a-f]{0,4}[:：]",
        r"(?i)[a-z]{2}\d{2}[ -]?[a-z0-9]{4}",
        SECRET_GATE,
    )
)
"""For polars: a text without a match holds nothing that `claim_values` could find."""

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+'][A-Za-z0-9._%+'-]{0,127}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_DOT = r"(?:\s*[\[({]\s*dot\s*[\])}]\s*|\s+dot\s+|\.)"
_SPELT_EMAIL = re.compile(
    rf"(?<![A-Za-z0-9._%+-])([A-Za-z0-9][A-Za-z0-9._%+-]{{0,63}})(?:\s*[\[({{]\s*at\s*[\])}}]\s*|@|\s+at\s+(?=[\w-]+\s+dot\s))"
    rf"([A-Za-z0-9-]+(?:{_DOT}[A-Za-z0-9-]+)*{_DOT}[A-Za-z]{{2,12}})(?![A-Za-z0-9])",
    re.IGNORECASE,
)
"""john (at) gmail (dot) com, john@gmail dot com, john at gmail dot com."""
_URL = re.compile(
    r"(?:(?:https?|ftp|wss?)://|www\.)[^\s<>\"'`|\\^{}\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]+", re.IGNORECASE
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ -]?[A-Za-z0-9]{4})")
_CN_ID = re.compile(
    r"(?<![0-9])[1-9]\d{5}[ -]?(?:18|19|20)\d{2}[ -]?(?:0[1-9]|1[0-2])[ -]?(?:0[1-9]|[12]\d|3[01])[ -]?\d{3}[\dXx]"
    r"(?![0-9])"
)
_DIGIT_GROUPS = re.compile(r"(?<![0-9A-Za-z+])\d{2,}(?:[ .-]\d{2,})*(?![0-9])", re.ASCII)
_IPV4 = re.compile(r"(?<![0-9A-Za-z.])(?:\d{1,3}\.){3}\d{1,3}(?![0-9A-Za-z]|\.\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:.]{3,45}(?![0-9A-Za-z:])", re.ASCII)
_VERSION = re.compile(r"(?i)(?:\bv(?:er(?:sion)?)?\.?|firmware|build|release|版本(?:号)?)[\s:：是为]*$")
_CN_MOBILE = re.compile(
    r"(?:(?<![0-9A-Za-z_+])|(?<=[Tt][Ee][Ll])|(?<=[WwVv][Xx]))"
    r"(?:\+?86[ -]?|0086[ -]?)?(1(?:[38]\d|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|9[0-35-9])[ -]?\d{4}[ -]?\d{4})(?![0-9])",
    re.ASCII,
)
_NANP = re.compile(
    r"(?<![0-9A-Za-z+])(?:\+?1[ .-]?)?(?:\(\d{3}\)[ .-]?|\d{3}[.-])\d{3}[ .-]\d{4}(?![0-9A-Za-z])", re.ASCII
)
_NAMED_PHONE = re.compile(
    r"(?:\b(?:tele)?phone|\bmobile|\bcell(?:phone)?|\btel|\bfax|\bwhatsapp|\bcall (?:me|us)(?: back)?(?: on| at)?"
    r"|电话|手机|座机|联系方式)(?:\s*(?:number|no\.?|num|#|号码?))?(?:\s*(?:is|was|on|at|:|=|：|是|为))?\s*"
    r"(\+?\(?\d(?:[ .()-]{0,2}\d){6,14})(?![0-9A-Za-z])",
    re.ASCII | re.IGNORECASE,
)
_ORDER_BEFORE = re.compile(
    r"(?:(?<![a-z])(?:orders?|tickets?|cases?|ref(?:erence)?|tracking|invoices?|bookings?|reservations?|confirmation|serial|"
    r"sku|isbn|imei|items?|flight|transaction|parcels?|packages?|shipments?|po|rma|incident|claim|contract)"
    r"\s*(?:no\.?|num(?:ber)?s?|id|code|#)?\s*(?:is|was|are|for)?\s*[:=#(]{0,2}\s*"
    r"|(?:订单|单号|工单|快递|物流|运单|编号|流水号?|票号|取件|序列号?|商品|货号|案件|合同|交易)(?:单号|号码|编号|号)?\s*(?:是|为|：|:|#|\s){0,3})$",
    re.IGNORECASE,
)
_ORDER_AFTER = re.compile(
    r"\s*(?:is|was|are)\s+(?:my|the|our|your)?\s*(?:order|ticket|case|reference|tracking|invoice|booking)"
    r"|\s*(?:是|为)(?:我的|您的)?(?:订单|单号|工单|快递)",
    re.IGNORECASE,
)
_MONEY_BEFORE = re.compile(r"[$€£¥￥]\s*$")
_MONEY_AFTER = re.compile(r"\s*(?:元|块|美元|欧元|英镑|%|km\b|米|usd\b|eur\b|gbp\b|rmb\b|dollars?\b)", re.IGNORECASE)
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:18|19|20)\d{2}"
_DATE = re.compile(rf"{_YEAR}[-./ ]{_MONTH}[-./ ]{_DAY}\b|{_DAY}[-./]{_DAY}[-./]{_YEAR}")
_PRIVATE_KEYS = re.compile(
    r"(?i)(?:^|[_-])(?:access|auth|token|key|apikey|sig|signature|secret|session|sessionid|sid|code|otp|pwd|pass"
    r"|password|jwt|ticket|uid|user|userid|username|customer|customerid|client|account|email|mail|phone|mobile|tel"
    r"|id|hash|nonce)(?:$|[_-]|id$)"
)
"""Query keys whose value, of four characters on and with a digit, says who someone is."""
_PRIVATE_PATH = re.compile(
    r"(?i)/(?:orders?|users?|u|accounts?|customers?|profiles?|members?|tickets?|requests?|invoices?|bookings?|cases?)"
    r"/[\w-]*\d{4,}"
)
_OPAQUE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{24,}"
    r"|(?=\w*\d)(?=\w*[A-Z])(?=\w*[a-z])[A-Za-z0-9_]{16,}|eyJ[\w.-]{10,}"
)
"""Path segments and values that no one typed: UUIDs, long hexadecimal, mixed-case tokens."""
_MAX_PLAIN_URL = 1000
_CHAT_HOSTS = frozenset(("wa.me", "api.whatsapp.com", "t.me", "line.me"))


def claim_values(claims: Claims, *, regions: tuple[str, ...], phones: bool = True) -> None:
    """Adds to `claims` every value of a fixed shape. `claims.text` is plain (see spans.plain)."""
    text = claims.text
    if "://" in text or "www." in text.lower():
        _claim_urls(claims)
    if "@" in text or "at" in text:
        _claim_emails(claims)
    claim_secrets(claims)
    if not any(letter.isdigit() for letter in text):
        return
    _claim_ibans(claims)
    for match in _CN_ID.finditer(text):
        value = re.sub(r"[ -]", "", match[0]).upper()
        if cn_id_valid(value):
            claims.add("cn_id", match.start(), match.end(), value)
    _claim_ips(claims)
    if sum(letter.isdigit() for letter in text) < 7:
        return
    _claim_cards(claims)
    if phones:
        _claim_phones(claims, regions)


def _claim_urls(claims: Claims) -> None:
    for match in _URL.finditer(claims.text):
        address = match[0].rstrip(".,;:!?)]*_~")
        if "(" in address and match[0][len(address) : len(address) + 1] == ")":
            address += ")"
        end = match.start() + len(address)
        claims.add("url" if _is_private(address) else KEPT, match.start(), end, address)


def _is_private(address: str) -> bool:
    """Whether a URL says who someone is or lets its holder in: user info, tokens, ids, contact data."""
    if len(address) > _MAX_PLAIN_URL:
        return True
    try:
        parts = urlsplit(address if "://" in address else "http://" + address)
        host = (parts.hostname or "").removeprefix("www.")
        query = parse_qsl(parts.query, keep_blank_values=False)
    except ValueError:
        return True
    if parts.username or parts.password or "@" in address or "%40" in address or host in _CHAT_HOSTS:
        return True
    if _is_ip(host) or _PRIVATE_PATH.search(parts.path):
        return True
    if any(_OPAQUE.search(piece) for piece in (*parts.path.split("/"), parts.fragment)):
        return True
    if re.search(r"(?i)(?:token|session|key|password)=", parts.fragment):
        return True
    for key, value in query:
        named = (
            _PRIVATE_KEYS.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key))
            and len(value) >= 4
            and re.search(r"\d", value)
        )
        if named or _OPAQUE.search(value) or len(re.findall(r"\d", value)) >= 7:
            return True
        if re.fullmatch(r"(?i).*(?:token|secret|pass|pwd|apikey|session|email|signature|otp|jwt).*", key):
            return True
    return False


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _claim_emails(claims: Claims) -> None:
    for match in _EMAIL.finditer(claims.text):
        claims.add("email", match.start(), match.end(), match[0].casefold())
    if re.search(r"(?i)[\[({]\s*at|\sdot\s", claims.text):
        for match in _SPELT_EMAIL.finditer(claims.text):
            domain = re.sub(f"(?i){_DOT}", ".", match[2])
            claims.add("email", match.start(), match.end(), f"{match[1]}@{domain}".casefold())


def _claim_ibans(claims: Claims) -> None:
    for match in _IBAN.finditer(claims.text):
        length = iban_length(match[0][:2])
        if length is None:
            continue
        value, place = "", match.start()
        while place < len(claims.text) and len(value) < length:
            letter = claims.text[place]
            if letter.isascii() and letter.isalnum():
                value += letter
            elif letter not in " -":
                break
            place += 1
        glued = place < len(claims.text) and claims.text[place].isascii() and claims.text[place].isalnum()
        if not glued and iban_valid(value):
            claims.add("iban", match.start(), place, value.upper())


def _claim_ips(claims: Claims) -> None:
    text = claims.text
    for match in _IPV4.finditer(text) if text.count(".") >= 3 else ():
        if (
            _is_ip(match[0])
            and not match[0].startswith(("0.", "127.", "255."))
            and not _VERSION.search(text[max(0, match.start() - 24) : match.start()])
        ):
            claims.add("ip", match.start(), match.end(), match[0])
    for match in _IPV6.finditer(text) if text.count(":") >= 2 else ():
        value = match[0].rstrip(".")
        if value.endswith(":") and not value.endswith("::"):
            value = value[:-1]
        if len(value) >= 6 and any(letter.isdigit() for letter in value) and _is_ip(value):
            claims.add("ip", match.start(), match.start() + len(value), ipaddress.ip_address(value).compressed)


def _claim_cards(claims: Claims) -> None:
    for match in _DIGIT_GROUPS.finditer(claims.text):
        if sum(letter.isdigit() for letter in match[0]) < 13:
            continue
        groups = [
            (group.start() + match.start(), group.end() + match.start()) for group in re.finditer(r"\d+", match[0])
        ]
        first = 0
        while first < len(groups):
            first = _card_at(claims, groups, first) or first + 1


def _card_at(claims: Claims, groups: list[tuple[int, int]], first: int) -> int | None:
    """Claims the longest card that starts with group `first`; the number of the group after it, None without a card."""
    for last in range(min(len(groups), first + 8), first, -1):
        start, end = groups[first][0], groups[last - 1][1]
        digits = "".join(claims.text[begin:stop] for begin, stop in groups[first:last])
        if 13 <= len(digits) <= 19 and digits[0] in "234569" and len(set(digits)) > 1 and luhn_valid(digits):
            if _is_order(claims.text, start, end):
                return last
            if claims.add("card", start, end, digits):
                return last
    return None


def _is_order(text: str, start: int, end: int) -> bool:
    return bool(_ORDER_BEFORE.search(text[max(0, start - 40) : start]) or _ORDER_AFTER.match(text, end))


def _claim_phones(claims: Claims, regions: tuple[str, ...]) -> None:
    text = claims.rest()
    found = sorted(_phones(text, regions), key=lambda phone: (phone[3], phone[0] - phone[1], phone[0]))
    for start, end, value, _ in found:
        if (
            _is_order(text, start, end)
            or _MONEY_BEFORE.search(text[max(0, start - 8) : start])
            or _MONEY_AFTER.match(text, end)
        ):
            continue
        if not _DATE.match(text, start):
            claims.add("phone", start, end, value)


def _phones(text: str, regions: tuple[str, ...]) -> Iterator[tuple[int, int, str, int]]:
    """Candidates as (start, end, value, rank), rank 0 first: E.164 where phonenumbers knows the number.

    A Chinese mobile goes before what the matcher joins to it, but after numbers that name another country.
    """
    import phonenumbers

    for region in regions:
        for phone in phonenumbers.PhoneNumberMatcher(text, region):
            # a bracket that opens before the number closes behind it, and is no part of it
            start = phone.start + (phone.raw_string.startswith("(") and ")" not in phone.raw_string)
            value = phonenumbers.format_number(phone.number, phonenumbers.PhoneNumberFormat.E164)
            abroad = phone.raw_string.startswith("+") and not value.startswith("+86")
            yield start, phone.end, value, 0 if abroad else 2
    if "CN" in regions:
        for match in _CN_MOBILE.finditer(text):
            yield match.start(), match.end(), "+86" + re.sub(r"\D", "", match[1]), 1
    for match in _NANP.finditer(text):
        yield match.start(), match.end(), "+1" + re.sub(r"\D", "", match[0])[-10:], 2
    for match in _NAMED_PHONE.finditer(text):
        digits = re.sub(r"\D", "", match[1])
        yield match.start(1), match.end(1), ("+1" if len(digits) == 10 else "") + digits, 2
