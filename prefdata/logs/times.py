"""Times as logs write them, into UTC: a given format, or a closed list of formats that can be read in one way only.

Without a given format these are read, everything else is null and counted:

- seconds, milliseconds or microseconds since 1970 (10, 13 or 16 digits; seconds with a fraction)
- ISO 8601 and its looser kin: year first, parts joined by - / or . with or without leading zeros, T or blanks, seconds
  and fractions or none, Z or an offset or none; 20240305, 20240305102030, 20240305T102030
- Chinese: 2024年3月5日 10:20, 10时20分30秒, 上午/下午 (morning, afternoon)
- month by its English name: Wed Oct 11 06:55:44 +0000 2017, Tue, 05 Mar 2024 10:20:30 GMT, 5 March 2024 10:20,
  Mar 5, 2024 3:20 PM, 05/Mar/2024:10:20:30 +0000
"""

from __future__ import annotations

import datetime
import re
from typing import Literal, NamedTuple

import polars as pl

from prefdata.errors import InputError, RecipeError

Order = Literal["day_first", "month_first"]

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
_CLOCK = ("%H", "%k", "%-H", "%_H", "%I", "%l", "%-I", "%_I", "%s", "%T", "%R", "%X", "%r", "%c")
"""What a format tells the time of day with."""
_SOME = datetime.datetime(2024, 3, 15, 16, 25, 36, 123456)
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_WEEKDAY = r"(?i:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?"
_NUMBERS = r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})"


class NumericDates(NamedTuple):
    """How the dates of a source that are two numbers and a year are to be read."""

    times: int
    """Times that begin with such a date."""
    order: Order | None
    """What a number above 12 in one of the two places shows; null where none does, or in both places one."""
    mixed: bool
    """Numbers above 12 stand in both places, so that no order fits all."""


def numeric_dates(texts: pl.Series) -> NumericDates:
    """What `texts` show of the order of day and month; they are to be all times of one source."""
    parts = (
        texts.cast(pl.String)
        .str.strip_chars()
        .alias("text")
        .to_frame()
        .select(pl.col("text").str.extract_groups(rf"^{_WEEKDAY}{_NUMBERS}(?:\D|$)").alias("parts"))
        .unnest("parts")
        .drop_nulls()
        .cast(pl.Int32)
    )
    first, second = pl.col("1"), pl.col("2")
    day_first, month_first = parts.select(
        day_first=(first.is_between(13, 31) & second.is_between(1, 12)).any(),
        month_first=(second.is_between(13, 31) & first.is_between(1, 12)).any(),
    ).row(0)
    order: Order | None = None
    if day_first != month_first:
        order = "day_first" if day_first else "month_first"
    return NumericDates(parts.height, order, day_first and month_first)


def parse_times(texts: pl.Series, *, time_format: str | None = None, timezone: str = "UTC") -> pl.Series:
    """Datetime("us", "UTC"): the times that `texts` name; null where one cannot be told.

    `timezone` is that of times which carry no offset; where clocks are put back the earlier of two hours is meant, a
    time that clocks skip is null. Raises RecipeError for an unknown zone or a format that means no time.
    """
    if faults := time_faults(time_format, timezone):
        raise RecipeError(faults)
    given = texts.cast(pl.String).str.strip_chars()
    distinct = pl.DataFrame({"text": given.drop_nulls().unique(maintain_order=True)}).filter(pl.col("text") != "")
    if time_format is not None:
        aware = _is_aware(time_format)
        read = distinct.with_columns(time=_strptime(pl.col("text"), time_format, aware, timezone))
    else:
        read = _parse_known(distinct, timezone, numeric_dates(distinct["text"]).order)
    times = pl.DataFrame({"text": given}).join(
        read.select("text", "time"), on="text", how="left", maintain_order="left"
    )
    return times["time"].alias("time")


def check_times(texts: pl.Series, times: pl.Series, *, where: str, time_format: str | None) -> None:
    """Raises InputError where more than half of the times that are given could not be read. `where` names the column.

    The message shows the commonest shape of them, digits as 9 and letters as a: never a value.
    """
    given = pl.DataFrame({"text": texts.cast(pl.String).str.strip_chars(), "time": times})
    given = given.filter((pl.col("text") != "").fill_null(False))
    lost = given.filter(pl.col("time").is_null())["text"]
    if lost.len() * 2 <= given.height:
        return
    if time_format is not None:
        cause = f" with time_format {time_format!r}"
        cure = "set `time_format` to what stands there, or leave it out where the year comes first"
    else:
        numeric = numeric_dates(given["text"])
        if numeric.mixed:
            cause = ": some have a number above 12 first and some second, so that no one order of day and month fits"
        elif numeric.times * 2 > given.height and numeric.order is None:
            cause = ": nothing shows whether the day or the month comes first"
        else:
            cause = " in any known format"
        cure = 'set `time_format`, e.g. "%d/%m/%Y %H:%M" (day first) or "%m/%d/%Y %H:%M" (month first)'
    raise InputError(
        f"{where}: {lost.len():,} of {given.height:,} times cannot be read{cause}; most look like "
        f"{_commonest_shape(lost)!r} (9 a digit, a a letter); {cure}, or map no time"
    )


def _commonest_shape(texts: pl.Series) -> str:
    shapes = (
        texts.str.slice(0, 40)
        .str.replace_all(r"\p{Nd}", "9")
        .str.replace_all(r"\p{L}", "a")
        .str.replace_all(r"[^ -~]", "?")
        .alias("shape")
    )
    return str(shapes.value_counts().sort(["count", "shape"], descending=[True, False])["shape"][0])


def time_faults(time_format: str | None, timezone: str) -> list[str]:
    """What is wrong with a format and a time zone, as `setting: fault`.

    A format is tried: a time written with it and read again has to be the same time, as far as it is written.
    """
    faults = []
    try:
        known = bool(timezone) and pl.Series([None], dtype=pl.Datetime("us")).dt.replace_time_zone(timezone) is not None
    except pl.exceptions.PolarsError:
        known = False
    if not known:
        faults.append(f"timezone: {timezone!r} is unknown, expected a name as UTC or Asia/Shanghai")
    if time_format is None:
        return faults
    if re.search(r"(?<!%)(?:%%)*%f", time_format):
        faults.append(f"time_format: {time_format!r} reads %f as nanoseconds; write %.f, point included")
    elif not _means_a_time(time_format):
        faults.append(f"time_format: {time_format!r} is no format, expected one such as %d/%m/%Y %H:%M")
    return faults


def _means_a_time(form: str) -> bool:
    aware = _is_aware(form)
    written = form.replace("%#z", "%z")
    try:
        some = pl.DataFrame({"time": [_SOME]}, schema={"time": pl.Datetime("us", "UTC" if aware else None)})
        text = some.select(text=pl.col("time").dt.strftime(written.replace("%Z", "UTC")))
        again = text.select(time=_strptime(pl.col("text"), form, aware, "UTC"))["time"]
        if not aware:
            again = again.dt.replace_time_zone(None)
        same = again.dt.date().to_list() == [_SOME.date()]
        return same and again.dt.strftime(written.replace("%Z", "UTC")).to_list() == text["text"].to_list()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False


def _is_aware(form: str) -> bool:
    return any(part in form for part in ("%z", "%:z", "%#z", "%+"))


def _parse_known(distinct: pl.DataFrame, timezone: str, order: Order | None) -> pl.DataFrame:
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
    left = done[0].filter(pl.col("time").is_null()).with_columns(plain=_plain(text, order))
    done = [done[0].filter(pl.col("time").is_not_null())]
    for formats, aware in ((_AWARE, True), (_NAIVE, False)):
        for form in formats:
            if not left.height:
                break
            left = left.with_columns(time=_strptime(pl.col("plain"), form, aware, timezone))
            done.append(left.filter(pl.col("time").is_not_null()).drop("plain"))
            left = left.filter(pl.col("time").is_null())
    return pl.concat([frame.with_columns(pl.col("time").cast(utc)) for frame in [*done, left.drop("plain")]])


def _plain(text: pl.Expr, order: Order | None) -> pl.Expr:
    """The many spellings as few: `2024-3-5 10:20:30+0000`, `5 Mar 2024 ...`, `Oct 11 06:55:44+0000 2017`."""
    text = text.str.replace(r"^(\d{4})(\d{2})(\d{2})(?:[T ]?(\d{2})(\d{2})(\d{2}))?$", "$1-$2-$3 $4:$5:$6")
    text = text.str.replace(" ::", "", literal=True)
    text = text.str.replace(r"^(\d{4})年(\d{1,2})月(\d{1,2})日", "$1-$2-$3 ")
    text = text.str.replace(r"^(\d{4})([/.])(\d{1,2})[/.](\d{1,2})", "$1-$3-$4")
    text = text.str.replace(r"(?:上午|凌晨|早上)", " AM ").str.replace(r"(?:下午|晚上|傍晚)", " PM ")
    text = text.str.replace(r"(\d{1,2})[时點点](\d{1,2})分(?:(\d{1,2})秒)?", "$1:$2:$3").str.replace(r":$", "")
    text = text.str.replace(r"^(\d{1,2})/([A-Za-z]{3})/(\d{4}):", "$1 $2 $3 ")
    text = text.str.replace(r"^(?i)(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+", "")
    if order is not None:
        dated = "${3}-${2}-${1}${4}" if order == "day_first" else "${3}-${1}-${2}${4}"
        text = text.str.replace(rf"^{_NUMBERS}(\D|$)", dated)
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
    if not any(clock in form for clock in _CLOCK):
        naive = text.str.strptime(pl.Date, form, strict=False).cast(pl.Datetime("us"))
    else:
        naive = text.str.strptime(pl.Datetime("us"), form, strict=False)
    local = naive.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC")
