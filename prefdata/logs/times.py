"""Times as logs write them, into UTC: a given format, or a closed list of formats that can be read in one way only.

Without a given format these are read, everything else is null and counted: `3/4/2024` is March in one country and
April in another, so it needs `time_format`.

- seconds, milliseconds or microseconds since 1970 (10, 13 or 16 digits; seconds with a fraction)
- ISO 8601 and its looser kin: year first, parts joined by - / or . with or without leading zeros, T or blanks, seconds
  and fractions or none, Z or an offset or none; 20240305, 20240305102030, 20240305T102030
- Chinese: 2024年3月5日 10:20, 10时20分30秒, 上午/下午 (morning, afternoon)
- month by its English name: Wed Oct 11 06:55:44 +0000 2017, Tue, 05 Mar 2024 10:20:30 GMT, 5 March 2024 10:20,
  Mar 5, 2024 3:20 PM, 05/Mar/2024:10:20:30 +0000
"""

from __future__ import annotations

import polars as pl

from prefdata.errors import RecipeError

_DATES = ("%Y-%m-%d", "%d %b %Y", "%b %d %Y")
_CLOCKS = ("%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%p %I:%M:%S", "%p %I:%M")
_AWARE = (
    "%Y-%m-%d %H:%M:%S%.f%z",
    "%Y-%m-%d %H:%M%z",
    "%d %b %Y %H:%M:%S%z",
    "%b %d %H:%M:%S%z %Y",
)
_NAIVE = (
    *(f"{date} {clock}" for date in _DATES for clock in _CLOCKS),
    *_DATES,
    "%b %d %H:%M:%S %Y",
)
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"


def parse_times(texts: pl.Series, *, time_format: str | None = None, timezone: str = "UTC") -> pl.Series:
    """Datetime("us", "UTC"): the times that `texts` name; null where one cannot be told.

    `timezone` is that of times which carry no offset; where clocks are put back the earlier of two hours is meant, a
    time that clocks skip is null. Raises RecipeError for an unknown zone or a format that polars does not know.
    """
    try:
        pl.Series([None], dtype=pl.Datetime("us")).dt.replace_time_zone(timezone)
    except pl.exceptions.PolarsError:
        raise RecipeError(f"timezone: {timezone!r} is unknown, expected a name as UTC or Asia/Shanghai") from None
    given = texts.cast(pl.String).str.strip_chars()
    distinct = pl.DataFrame({"text": given.drop_nulls().unique(maintain_order=True)}).filter(pl.col("text") != "")
    if time_format is not None:
        if "%" not in time_format:
            raise RecipeError(f"time_format: {time_format!r} is no format, expected one such as %d/%m/%Y %H:%M")
        aware = "%z" in time_format or "%:z" in time_format or "%#z" in time_format or "%+" in time_format
        try:
            read = distinct.with_columns(time=_strptime(pl.col("text"), time_format, aware, timezone))
        except pl.exceptions.PolarsError:
            raise RecipeError(
                f"time_format: {time_format!r} is no format, expected one such as %d/%m/%Y %H:%M"
            ) from None
    else:
        read = _parse_known(distinct, timezone)
    times = pl.DataFrame({"text": given}).join(
        read.select("text", "time"), on="text", how="left", maintain_order="left"
    )
    return times["time"].alias("time")


def _parse_known(distinct: pl.DataFrame, timezone: str) -> pl.DataFrame:
    text = pl.col("text")
    number = text.str.extract(r"^(\d{10}(?:\.\d{1,9})?|\d{13}|\d{16})$", 1)
    digits = number.str.split(".").list.first().str.len_bytes()
    micros = (
        pl.when(digits == 10)
        .then((number.cast(pl.Float64) * 1e6).round().cast(pl.Int64, strict=False))
        .when(digits == 13)
        .then(number.cast(pl.Int64, strict=False) * 1000)
        .otherwise(number.cast(pl.Int64, strict=False))
    )
    utc = pl.Datetime("us", "UTC")
    done = [distinct.with_columns(time=micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))]
    left = done[0].filter(pl.col("time").is_null()).with_columns(plain=_plain(text))
    done = [done[0].filter(pl.col("time").is_not_null())]
    for formats, aware in ((_AWARE, True), (_NAIVE, False)):
        for form in formats:
            if not left.height:
                break
            left = left.with_columns(time=_strptime(pl.col("plain"), form, aware, timezone))
            done.append(left.filter(pl.col("time").is_not_null()).drop("plain"))
            left = left.filter(pl.col("time").is_null())
    return pl.concat([frame.with_columns(pl.col("time").cast(utc)) for frame in [*done, left.drop("plain")]])


def _plain(text: pl.Expr) -> pl.Expr:
    """The many spellings as few: `2024-3-5 10:20:30+0000`, `5 Mar 2024 ...`, `Oct 11 06:55:44+0000 2017`."""
    text = text.str.replace(r"^(\d{4})(\d{2})(\d{2})(?:[T ]?(\d{2})(\d{2})(\d{2}))?$", "$1-$2-$3 $4:$5:$6")
    text = text.str.replace(" ::", "", literal=True)
    text = text.str.replace(r"^(\d{4})年(\d{1,2})月(\d{1,2})日", "$1-$2-$3 ")
    text = text.str.replace(r"^(\d{4})([/.])(\d{1,2})[/.](\d{1,2})", "$1-$3-$4")
    text = text.str.replace(r"(?:上午|凌晨|早上)", " AM ").str.replace(r"(?:下午|晚上|傍晚)", " PM ")
    text = text.str.replace(r"(\d{1,2})[时點点](\d{1,2})分(?:(\d{1,2})秒)?", "$1:$2:$3").str.replace(r":$", "")
    text = text.str.replace(r"^(\d{1,2})/([A-Za-z]{3})/(\d{4}):", "$1 $2 $3 ")
    text = text.str.replace(r"^(?i)(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+", "")
    text = text.str.replace(rf"(?i)\b({_MONTHS})[a-z]*\.?", " $1 ").str.replace_all(",", " ", literal=True)
    text = text.str.replace(r"(\d)T(\d)", "$1 $2").str.replace(r"(?i)(\d)\s*([ap])\.?m\.?$", "$1 ${2}m")
    text = text.str.replace(r"(\d)\s*(?:Z|UTC|GMT)$", "$1+0000").str.replace(
        r"(:\d{2}(?:\.\d+)?)\s*([+-]\d{2}):?(\d{2})\b", "$1$2$3"
    )
    text = text.str.replace(r"(:\d{2}(?:\.\d+)?)([+-]\d{2})$", "${1}${2}00")
    return text.str.replace_all(r"\s+", " ").str.strip_chars()


def _strptime(text: pl.Expr, form: str, aware: bool, timezone: str) -> pl.Expr:
    if aware:
        return text.str.strptime(pl.Datetime("us", "UTC"), form, strict=False)
    if "%H" not in form and "%I" not in form and "%s" not in form and "%T" not in form and "%R" not in form:
        naive = text.str.strptime(pl.Date, form, strict=False).cast(pl.Datetime("us"))
    else:
        naive = text.str.strptime(pl.Datetime("us"), form, strict=False)
    local = naive.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC")
