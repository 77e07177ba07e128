"""Times as logs write them."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from prefdata.errors import InputError, RecipeError
from prefdata.logs.times import check_times, numeric_dates, parse_times

HALF_PAST = datetime(2024, 3, 5, 10, 20, 30, tzinfo=UTC)
TWENTY_PAST = datetime(2024, 3, 5, 10, 20, tzinfo=UTC)
AFTERNOON = datetime(2024, 3, 5, 15, 20, tzinfo=UTC)
DAY = datetime(2024, 3, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1709634030", HALF_PAST),
        ("1709634030.5", HALF_PAST.replace(microsecond=500_000)),
        ("1709634030000", HALF_PAST),
        ("1709634030123456", HALF_PAST.replace(microsecond=123_456)),
        ("2024-03-05T10:20:30Z", HALF_PAST),
        ("2024-03-05T10:20:30.250Z", HALF_PAST.replace(microsecond=250_000)),
        ("2024-03-05T18:20:30+08:00", HALF_PAST),
        ("2024-03-05 18:20:30 +0800", HALF_PAST),
        ("2024-03-05 18:20:30+08", HALF_PAST),
        ("2024-03-05T10:20Z", TWENTY_PAST),
        ("2024-03-05 10:20", TWENTY_PAST),
        ("2024-3-5 10:20", TWENTY_PAST),
        ("2024/3/5 10:20:30", HALF_PAST),
        ("2024.03.05 10:20:30", HALF_PAST),
        ("20240305", DAY),
        ("20240305102030", HALF_PAST),
        ("20240305T102030", HALF_PAST),
        ("2024-03-05", DAY),
        ("2024年3月5日 10:20", TWENTY_PAST),
        ("2024年3月5日10时20分30秒", HALF_PAST),
        ("2024年03月05日", DAY),
        ("2024年3月5日 下午3:20", AFTERNOON),
        ("2024-03-05 上午10:20:30", HALF_PAST),
        ("Tue Mar 05 10:20:30 +0000 2024", HALF_PAST),
        ("Tue, 05 Mar 2024 10:20:30 GMT", HALF_PAST),
        ("Tue, 5 Mar 2024 11:20:30 +0100", HALF_PAST),
        ("5 March 2024 10:20", TWENTY_PAST),
        ("Mar 5, 2024 3:20 PM", AFTERNOON),
        ("March 5, 2024, 3:20 p.m.", AFTERNOON),
        ("05/Mar/2024:10:20:30 +0000", HALF_PAST),
        ("  2024-03-05 10:20  ", TWENTY_PAST),
        # One of the numbers can be no month.
        ("13/04/2024 10:20", TWENTY_PAST.replace(month=4, day=13)),
        ("4/13/2024, 3:20 PM", AFTERNOON.replace(month=4, day=13)),
        ("Sat 13.4.2024 10:20:30", HALF_PAST.replace(month=4, day=13)),
        ("13-04-2024T10:20:30Z", HALF_PAST.replace(month=4, day=13)),
        # What could be meant in two ways, or cannot be at all, is not read.
        ("3/4/2024 10:20", None),
        ("13/13/2024", None),
        ("32/04/2024", None),
        ("13/04/24", None),
        ("2024-13-05 10:20", None),
        ("2024-02-30", None),
        ("2024-03-05 25:00", None),
        ("10:20", None),
        ("12345", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_is_read_where_it_can_mean_one_thing_only(text: str | None, time: datetime | None) -> None:
    assert parse_times(pl.Series([text], dtype=pl.String)).to_list() == [time]


@pytest.mark.parametrize(
    ("texts", "days"),
    [
        (["03/04/2024", "13/04/2024"], [(4, 3), (4, 13)]),
        (["03/04/2024", "04/13/2024"], [(3, 4), (4, 13)]),
        (["03/12/2024", "31/12/2024"], [(12, 3), (12, 31)]),
        (["03/04/2024", "12/12/2024"], [None, None]),
        (["03/04/2024", "13/04/2024", "04/13/2024"], [None, None, None]),
        (["03/04/2024", "99/04/2024"], [None, None]),
        (["03/04/2024", "2024-04-13"], [None, (4, 13)]),
    ],
)
def test_one_number_above_twelve_tells_the_order_of_all(texts: list[str], days: list[tuple[int, int] | None]) -> None:
    read = parse_times(pl.Series(texts)).to_list()
    assert [time and (time.month, time.day) for time in read] == days


def test_the_order_and_how_many_times_it_is_about() -> None:
    assert numeric_dates(pl.Series(["3/4/2024", "13/4/2024 10:20", "2024-03-05", None])) == (2, "day_first", False)
    assert numeric_dates(pl.Series(["3/4/2024", "4/13/2024"])) == (2, "month_first", False)
    assert numeric_dates(pl.Series(["13/4/2024", "4/13/2024"])) == (2, None, True)
    assert numeric_dates(pl.Series(["3/4/20245", "10:20"])) == (0, None, False)


def check(texts: list[str | None], time_format: str | None = None) -> None:
    given = pl.Series(texts, dtype=pl.String)
    times = parse_times(given, time_format=time_format)
    check_times(given, times, where="source desk: time column 'at'", time_format=time_format)


def test_half_of_the_times_may_be_unreadable_and_blanks_do_not_count() -> None:
    check([])
    check([None, "", " "])
    check(["2024-03-05", "soon"])
    with pytest.raises(InputError, match="2 of 3 times"):
        check(["2024-03-05", "soon", "later", None, ""])


@pytest.mark.parametrize(
    ("texts", "time_format", "message"),
    [
        (
            ["06/01/2025 12:23", "07/01/2025 12:23", "nonsense"],
            None,
            "3 of 3 times cannot be read: nothing shows whether the day or the month comes first; most look like "
            "'99/99/9999 99:99' (9 a digit, a a letter); set `time_format`, e.g. \"%d/%m/%Y %H:%M\" (day first) or "
            '"%m/%d/%Y %H:%M" (month first), or map no time',
        ),
        (
            ["13/01/2025", "01/13/2025"],
            None,
            "2 of 2 times cannot be read: some have a number above 12 first and some second, so that no one order of "
            "day and month fits; most look like '99/99/9999' (9 a digit, a a letter); set `time_format`, e.g. "
            '"%d/%m/%Y %H:%M" (day first) or "%m/%d/%Y %H:%M" (month first), or map no time',
        ),
        (
            ["hé你 7\u200b"],
            None,
            "1 of 1 times cannot be read in any known format; most look like 'aaa 9?' (9 a digit, a a letter); set "
            '`time_format`, e.g. "%d/%m/%Y %H:%M" (day first) or "%m/%d/%Y %H:%M" (month first), or map no time',
        ),
        (
            ["2025-01-06"],
            "%d/%m/%Y",
            "1 of 1 times cannot be read with time_format '%d/%m/%Y'; most look like '9999-99-99' (9 a digit, a a "
            "letter); set `time_format` to what stands there, or leave it out where the year comes first, or map no "
            "time",
        ),
    ],
)
def test_unreadable_times_are_told_by_their_shape_alone(
    texts: list[str | None], time_format: str | None, message: str
) -> None:
    with pytest.raises(InputError) as raised:
        check(texts, time_format)
    assert str(raised.value) == f"source desk: time column 'at': {message}"


def test_a_shape_is_cut() -> None:
    with pytest.raises(InputError) as raised:
        check(["a" * 5000])
    assert f"'{'a' * 40}'" in str(raised.value)


def test_a_given_format_is_the_only_one() -> None:
    texts = pl.Series(["05/03/2024 10:20", "2024-03-05 10:20"])
    assert parse_times(texts, time_format="%d/%m/%Y %H:%M").to_list() == [TWENTY_PAST, None]


def test_a_given_format_of_days_or_with_an_offset() -> None:
    assert parse_times(pl.Series(["05.03.2024"]), time_format="%d.%m.%Y").to_list() == [DAY]
    assert parse_times(pl.Series(["05.03.2024 11:20+0100"]), time_format="%d.%m.%Y %H:%M%z").to_list() == [TWENTY_PAST]


def test_times_without_an_offset_are_of_the_given_zone() -> None:
    texts = pl.Series(["2024-03-05 18:20", "2024-03-05T18:20:00Z"])
    assert parse_times(texts, timezone="Asia/Shanghai").to_list() == [
        TWENTY_PAST,
        datetime(2024, 3, 5, 18, 20, tzinfo=UTC),
    ]


def test_an_hour_that_clocks_skip_is_null_and_one_that_they_repeat_is_the_earlier() -> None:
    texts = pl.Series(["2024-03-31 02:30", "2024-10-27 02:30"])
    assert parse_times(texts, timezone="Europe/Berlin").to_list() == [None, datetime(2024, 10, 27, 0, 30, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("more", "message"), [({"timezone": "Mars"}, "'Mars' is unknown"), ({"time_format": "day"}, "'day' is no format")]
)
def test_settings_that_mean_nothing_are_refused(more: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_times(pl.Series(["2024-03-05"]), **more)
