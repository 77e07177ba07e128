"""Charts: what is left in an SVG, that names are text only, and that equal charts are equal bytes."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from prefdata.reporting import drawing
from prefdata.reporting.drawing import Bar, Interval, Limit, Line, Opposed, Series, Stack

HOSTILE = ("<script>alert(1)</script>", "</svg>", '"><img src=x onerror=alert(1)>', "a\x00b\u202ec", "{{ 7 * 7 }}")

CHARTS = {
    "bars": lambda name: drawing.bars([Bar(name, 2.0), Bar("b", 1.0, "one", "good", "finding-1")], title=name),
    "split_bars": lambda name: drawing.split_bars([Stack(name, [("good", 3), ("bad", 1)])], title=name),
    "opposed_bars": lambda name: drawing.opposed_bars([Opposed(name, 3, 1)], title=name),
    "intervals": lambda name: drawing.intervals([Interval(name, 0.6, 0.5, 0.7)], title=name, reference=0.5),
    "curve": lambda name: drawing.curve(
        [Line(name, [(0, 1.0), (1, 0.5)]), Line("other", [(0, 0.1), (1, 0.2)], kind="other")],
        title=name,
        across=name,
        limits=[Limit(0.5, name)],
    ),
    "histogram": lambda name: drawing.histogram(
        [Series(name, [1, 2]), Series("other", [2, 1], "other")], [0, 1, 2], title=name, limits=[Limit(1, name)]
    ),
    "matrix": lambda name: drawing.matrix(
        [[1.0, 2.0], [3.0, None]], [name, "other"], title=name, texts=[[name] * 2] * 2
    ),
}


@pytest.mark.parametrize("kind", CHARTS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text_wherever_it_stands(kind: str, name: str) -> None:
    chart = str(CHARTS[kind](name))
    tags = set(re.findall(r"</?([a-zA-Z!?][^\s/>]*)", chart))
    assert tags <= {
        *("div", "svg", "title", "desc", "g", "path", "line", "rect", "circle", "text", "tspan"),
        *("ul", "ol", "li", "span", "bdi", "a", "i", "p"),
    }
    assert not re.search(r"\s(?:id|style|on\w+|src|xlink:href)=", re.sub(r">[^<]*<", "><", chart))
    assert set(re.findall(r'href="([^"]*)"', chart)) <= {"#finding-1"}
    assert "\x00" not in chart
    assert "\u202e" not in chart


@pytest.mark.parametrize("kind", CHARTS)
def test_charts_are_equal_bytes_and_name_themselves(kind: str) -> None:
    one, other = CHARTS[kind]("length"), CHARTS[kind]("length")
    assert one == other
    (picture,) = re.findall(r"<svg.*?</svg>", str(one), re.S)
    root = ElementTree.fromstring(picture)
    assert root.attrib["role"] == "img"
    assert root.find("title").text == "length"
    assert float(root.attrib["width"]) <= 340


def test_a_spec_that_would_load_something_is_refused() -> None:
    spec = {"data": {"url": "https://example.org/x.json"}, "mark": "bar", "encoding": {"x": {"field": "a"}}}
    with pytest.raises(ValueError, match="not allowed"):
        drawing.svg(spec, title="no")


def test_a_spec_that_draws_a_picture_is_refused() -> None:
    data = {"values": [{"u": "data:image/png;base64,iVBORw0KGgo="}]}
    spec = {"data": data, "mark": {"type": "image", "width": 9, "height": 9}, "encoding": {"url": {"field": "u"}}}
    with pytest.raises(ValueError, match="not by <image>"):
        drawing.svg(spec, title="no")


def test_bars_are_as_long_as_their_values() -> None:
    chart = str(drawing.bars([Bar("a", 1.0), Bar("b", 0.5), Bar("c", 0.0)], title="t", top=2.0))
    assert chart.count("var(--track)") == 3
    assert chart.count("var(--curve)") == 2
    assert re.findall(r'd="M0,\d+h(\d+)[^"]*" fill="var\(--curve\)"', chart) == ["150", "75"]


def test_long_names_get_two_lines_and_wide_letters_count_double() -> None:
    def step(name: str) -> bool:
        return "two" in str(drawing.bars([Bar(name, 1.0, "1")], title="t")).split('"')[1].split()

    assert not step("a" * 38)
    assert step("a" * 45)
    assert not step("中" * 20)
    assert step("中" * 24)


def test_an_interval_that_misses_the_reference_has_a_full_dot() -> None:
    clear = str(drawing.intervals([Interval("a", 0.7, 0.6, 0.8)], title="t", reference=0.5))
    unclear = str(drawing.intervals([Interval("a", 0.55, 0.45, 0.65)], title="t", reference=0.5))
    assert "var(--paper)" not in clear
    assert "var(--paper)" in unclear
    assert "0.550 (0.450 to 0.650)" in unclear


def test_values_that_are_not_finite_are_not_drawn() -> None:
    nan, infinite = float("nan"), float("inf")
    assert "var(--curve)" not in str(drawing.bars([Bar("a", nan, "?")], title="t"))
    assert "var(--curve)" not in str(drawing.intervals([Interval("a", 0.5, 0.1, infinite)], title="t", reference=0.5))
    drawn = drawing.curve([Line("a", [(0, 1.0), (1, nan), (2, 0.5)])], title="t")
    assert re.findall(r"NaN|Infinity|inf", str(drawn)) == []
    assert "0: 1, 2: 0.5" in str(drawn)
