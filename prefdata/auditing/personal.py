"""Personal data in prompts and answers, by kind and by side, with the detectors of the transform `personal_data`.

Short patterns look at all rows first; around what they find, pieces of text are kept and searched with the detectors
themselves: checksums of cards and ids, telephone numbers that exist. About MAX_PIECES are searched; where there are
more, those of rows drawn by a hash of their content, and the count is an estimate. Names, which words around them give
away, are counted on a sample. Addresses and numbers that are nobody's are passed over: example.com, 555, hotlines.
So are sums and years: digits alone are a telephone or a card where a word beside them says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import polars as pl

from prefdata.auditing import marks
from prefdata.auditing.check import ANSWERED, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels, Severity
from prefdata.formats.core import sides_of
from prefdata.schema import RecordType
from prefdata.transforms import names, personal_data

KINDS = ("email", "phone", "card", "iban", "cn_id", "ip", "secret")
MAX_PIECES = 1_000
"""Pieces that are searched; one takes about 0.4 ms."""
AROUND = 100
"""Characters before and after what a gate found that a detector sees: words that name a number stand nearer."""
TOUCHING = 24
"""Characters from what the gate found within which a detector must find: farther off stands something cut in two."""
NAME_ROWS = 100
"""Rows of the sample that are searched for names."""
NAME_CHARS = 1_000
"""Characters of a text that are searched for names."""

_KEYS = (
    r"sk-[A-Za-z0-9_-]{16}|[srp]k_(?:live|test)_[A-Za-z0-9]{10}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20}"
    r"|glpat-[A-Za-z0-9_-]{16}|xox[abprs]-[A-Za-z0-9-]{10}|AIza[0-9A-Za-z_-]{30}|hf_[A-Za-z0-9]{20}"
    r"|eyJ[A-Za-z0-9_-]{8,64}\.|PRIVATE KEY"
)
_DIGITS = r"[0-9](?:[ .()+-]{0,3}[0-9]){6}"
_GATES = (
    r"[A-Za-z0-9._%+-]@[A-Za-z0-9-]+\.[A-Za-z]",
    _DIGITS,
    r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
    _KEYS,
    r"(?:[Pp]ass(?:word|code)s?|PASSWORD|pwd|PWD|[Cc][Vv][Vv]2?|PIN|[Pp]in|(?:verification|security) code"
    r"|[Aa][Pp][Ii][ _-][Kk]ey)"
    r"(?: code)?[ \"'`]{0,2}(?:is |was |[:=] ?)",
    r"(?:密码|验证码|校验码|口令)(?:是|为|：|:)",
)
"""Every text with personal data matches one. Each is fast: an alternative of all takes four times as long."""
_PIECE = r"[^\n]{1,400}"
_REGION = re.compile(
    "|".join(
        (
            _GATES[0],
            r"[+(]{0,2}[0-9](?:[ .()+-]{0,3}[0-9]){6,}",
            *_GATES[2:4],
            r"(?i:pass(?:word|code)s?|pwd|cvv2?|\bpin|\botp|verification|security code|api[ _-]key)",
            "密码|验证码|校验码|口令",
        )
    )
)
"""What the gates find in a piece; of digits all, of secrets what they may be called."""
_BARE = re.compile(r"[0-9]+")
_LONG = re.compile(r"\d(?:[^0-9A-Za-z\n]{0,3}\d){9}|[+＋][^0-9A-Za-z\n]{0,2}\d(?:[^0-9A-Za-z\n]{0,3}\d){6}")
"""Digits enough for a telephone of one of REGIONS; of fewer only words beside them make one."""
REGIONS = ("US", "GB", "CN")

_EMAIL = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}"
_PHONE = (
    r"(?:^|[^0-9A-Za-z.+-])(?:(?:\+?1[ .-]?)?(?:\([0-9]{3}\) ?|[0-9]{3}[.-])[0-9]{3}[.-][0-9]{4}"
    r"|(?:\+?86[ -]?)?1[3-9][0-9]{9}|\+[1-9][0-9]{0,2}[ .-]?(?:[0-9]{2,4}[ .-]?){2,4})(?:$|[^0-9A-Za-z])"
)
PLAIN = f"{_EMAIL}|{_PHONE}|{_KEYS}"
"""What is personal data by its form alone."""

_NOBODY = {
    "email": re.compile(
        r"(?i)@(?:\w+\.)*(?:example|test|domain|yourdomain|company|yourcompany|email|mail)\.\w+$|^.@.\.|@.\.\w+$"
        r"|^'?(?:your|name|user|username|email|info|support|contact|help|hello|sales|service|noreply|no-reply)[\w.-]*@"
    ),
    "phone": re.compile(
        r"^\+?1?[ .(-]*8(?:00|88|77|66|55|44|33)\b|555[ .-]?\d{4}$|\D555[ .-]|(?:^|\D)123[ .-]?4567$|^[48]00"
        r"|^12345678|987654321|/|\d [-–+] \d|^\d*\.\d+$|\.\s|^1\d{3}-[12]\d{3}$"
    ),
    "ip": re.compile(
        r"^(?:10|127|0|255)\.|^192\.168\.|^172\.(?:1[6-9]|2\d|3[01])\.|^(?:8\.8|1\.1|192\.0\.2)\.|^[.\d]{7}$"
    ),
    "secret": re.compile(r"(?i)your|password|secret|example|x{3}|test|change|123456|_key|token|env|input|user"),
}
"""Values of a kind that are nobody's: of examples, hotlines and local networks, or no values at all."""
_SUM_BEFORE = re.compile(r"[=+*/×÷^−$€£¥.\d]\s*-?\s*$|\d\s+-\s*$")
_SUM_AFTER = re.compile(r"\s*[=+*/×÷^]|[.,]\d|\s+-\s+\d")
_TELEPHONE = re.compile(
    r"(?i)phone|\btel\b|mobile|\bcell|\bcall\b|fax|whatsapp|contact|wechat|电话|手机|号码|联系|致电|拨打|微信"
)
_CARD = re.compile(r"(?i)\bcards?\b|visa|master ?card|amex|credit|debit|账号|卡号|信用卡|银行卡|储蓄卡")
_CARD_GROUPS = re.compile(r"\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{5}")
_MOBILE = re.compile(r"(?:\+?86[ -]?)?1[3-9]\d{9}")


def _collect(chunk: pl.DataFrame, record_type: RecordType, drawn: marks.Drawn) -> pl.DataFrame:
    """Texts with what may be personal data (`row`, `key`, `side`, `text` null), and of drawn rows their pieces: a line,
    or 400 characters of it."""
    near = pl.concat(
        chunk.select("row", "key", pl.lit(number, pl.UInt8).alias("side"), text=f"{side}_text").filter(_near())
        for number, side in enumerate(sides_of(record_type))
    )
    return marks.pieces(near, drawn, _cut)


def _cut(near: pl.DataFrame) -> pl.DataFrame:
    return near.with_columns(pl.col("text").str.extract_all(_PIECE)).explode("text").filter(_near())


def _near() -> pl.Expr:
    return pl.any_horizontal(pl.col("text").str.contains(gate) for gate in _GATES)


def kinds_of(texts: pl.Series) -> pl.DataFrame:
    """`text` and `kinds`, a list, of the texts that hold personal data. A named kernel: a text at a time.

    Of a text the parts around what a gate found are searched, each different part once.
    """
    found: dict[str, list[str]] = {}
    known: dict[tuple[str, int, int], frozenset[str]] = {}
    for text in texts.to_list():
        kinds: set[str] = set()
        for part in _parts(text):
            if part not in known:
                known[part] = _kinds_in(*part)
            kinds |= known[part]
        if kinds:
            found[text] = sorted(kinds)
    return pl.DataFrame(
        {"text": list(found), "kinds": list(found.values())}, schema={"text": pl.String, "kinds": pl.List(pl.String)}
    )


def _parts(text: str) -> Iterator[tuple[str, int, int]]:
    """Parts of a text that a detector should see, and where in each stands what the gates found."""
    spans: list[tuple[int, int]] = []
    for match in _REGION.finditer(text):
        if _is_plain_number(text, match):
            continue
        if spans and match.start() - spans[-1][1] < AROUND:
            spans[-1] = spans[-1][0], match.end()
        else:
            spans.append(match.span())
    for start, end in spans:
        first = max(0, start - AROUND)
        yield text[first : end + AROUND], start - first, end - first


def _is_plain_number(text: str, match: re.Match[str]) -> bool:
    """Digits alone that are no mobile number, and of which no word near says what they are: ids, counters."""
    if not _BARE.fullmatch(match[0]):
        return False
    start, end = match.span()
    near = text[max(0, start - AROUND) : end + AROUND]
    beside = text[start - 2 : start].strip()[-1:].isalnum() or text[end : end + 2].strip()[:1].isalnum()
    return not (_MOBILE.search(match[0]) or _TELEPHONE.search(near) or _CARD.search(near) or beside)


def _kinds_in(text: str, first: int, last: int) -> frozenset[str]:
    """Kinds of personal data in or beside text[first:last]."""
    regions = REGIONS if _LONG.search(text) else ()
    return frozenset(
        kind
        for kind, start, end in personal_data.find(text, kinds=KINDS, regions=regions)
        if start <= last + TOUCHING
        and end >= first - TOUCHING
        and not _nobody(kind, text[start:end].strip(), text[:start], text[end:])
    )


def _nobody(kind: str, value: str, before: str, after: str) -> bool:
    """Whether a value of a kind is of an example or a sum."""
    pattern = _NOBODY.get(kind)
    if pattern and pattern.search(value):
        return True
    if kind not in ("phone", "card"):
        return False
    if _SUM_BEFORE.search(before[-8:]) or _SUM_AFTER.match(after):
        return True
    if kind == "card":
        return not (_CARD_GROUPS.fullmatch(value) or _CARD.search(before[-60:]) or _CARD.search(after[:30]))
    bare = value.lstrip("+").isdigit()
    return bare and not (_MOBILE.fullmatch(value) or _TELEPHONE.search(before[-60:]))


def _find(data: Audited) -> Found:
    """Rows with personal data on any side; counts by side and kind."""
    pieces, part = marks.looked_at(data.collected["personal_data"], rows=MAX_PIECES, most=MAX_PIECES)
    held = pieces.join(kinds_of(pieces["text"].unique(maintain_order=True)), on="text", maintain_order="left")
    named = _names(data)
    if not held.height:
        return Found()
    rows = held["row"].unique().sort()
    measures: dict[str, Any] = {}
    counted = held.explode("kinds").group_by("side", "kinds").agg(pl.col("row").n_unique()).sort("side", "kinds")
    for number, kind, count in counted.iter_rows():
        measures.setdefault(data.sides[number], {})[kind] = count
    estimated = round(len(rows) / part)
    if part < 1:
        measures["estimated_rows"] = estimated
    if any(named.values()):
        measures["names_share"] = named
        measures["names_looked_at"] = _some(data).height
    return Found(rows=rows, measures=measures, severity=PERSONAL_DATA.levels.of(estimated, data.total))


def _names(data: Audited) -> dict[str, float]:
    """Side -> share of its texts that give a personal name away, on NAME_ROWS rows."""
    rows = _some(data)
    shares = {}
    for side in data.sides:
        texts = rows[f"{side}_text"].str.slice(0, NAME_CHARS)
        near = texts.filter(texts.str.contains(names.NAME_GATE)).to_list()
        hits = sum(bool(personal_data.find(text, kinds=["name"])) for text in near)
        shares[side] = round(hits / max(1, len(texts)), 4)
    return shares


def _some(data: Audited) -> pl.DataFrame:
    return data.sample.gather_every(max(1, -(-data.sample.height // NAME_ROWS)))


def _plain(side: str) -> pl.Expr:
    return pl.col(f"{side}_text").str.contains(PLAIN)


def _onesided(data: Audited) -> Found:
    """Rows whose personal data stand on the side that holds them more; only where that is more than by chance."""
    marked = data.collected["personal_data_onesided"]
    measures = marks.carried(data, marked) if marked.height else {}
    side = marks.onesided(measures)
    if side is None:
        return Found()
    if data.type is RecordType.PREFERENCE:
        other = {"chosen": "rejected", "rejected": "chosen"}[side]
        rows = marked.filter(pl.col(side) & ~pl.col(other))["row"]
    else:
        wanted = data.rows.select("row", "label").filter(pl.col("label") == (side == "desirable"))
        rows = marked.join(wanted, on="row", how="semi", maintain_order="left")["row"]
    severity = Severity.MAJOR if len(rows) >= 0.02 * data.total else Severity.MINOR
    return Found(rows=rows, measures={**measures, "more_in": side}, severity=severity)


PERSONAL_DATA = Check(
    name="personal_data",
    family="content",
    title="The row holds personal data: e-mail, telephone, card, account, id, address of a computer, or a secret",
    why="Models learn them by heart and say them to others; whoever asks for erasure must be found in every copy.",
    cure="transforms: [personal_data]",
    source="Carlini et al. 2021, Extracting Training Data from Large Language Models",
    levels=Levels(major=0.01, minor=0),
    collect=lambda chunk, record_type: _collect(chunk, record_type, marks.Drawn(MAX_PIECES)),
    prepare=marks.drawing(_collect, MAX_PIECES),
    find=_find,
)

PERSONAL_DATA_ONESIDED = Check(
    name="personal_data_onesided",
    family="content",
    title="Personal data stand on one side more than on the other",
    why="The preference can be told from them: a shortcut, and a sign that only one side was cleaned.",
    cure="transforms: [personal_data]  # the same on both sides of a pair",
    types=ANSWERED - {RecordType.SFT},
    levels=Levels(major=0.02, minor=0),
    collect=marks.collector(_plain, gate=[_EMAIL, _DIGITS, _KEYS]),
    find=_onesided,
)
