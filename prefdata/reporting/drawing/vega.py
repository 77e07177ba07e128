"""Vega-Lite specs as inline SVG: drawn on this machine, cut down to shapes and texts, coloured by the page.

Nothing but shapes, texts and their geometry is left in an SVG: no id, class, style, script or link. So charts of one
page cannot clash, a page's Content-Security-Policy needs no exception for them, and they load nothing. Fonts are those
of the page; colours are its CSS variables, which Vega hands through.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from prefdata.reporting.texts import visible

if TYPE_CHECKING:
    from markupsafe import Markup

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
"""A name, not an address that is loaded."""

CONFIG: dict[str, Any] = {
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "grid": False,
        "labelColor": "var(--soft)",
        "titleColor": "var(--soft)",
        "domainColor": "var(--soft)",
        "tickColor": "var(--soft)",
        "gridColor": "var(--line)",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "tickSize": 4,
    },
    "text": {"color": "var(--ink)", "fontSize": 11},
}
"""How every chart looks; what a spec says goes before it. Marks get no label of their own: the chart has one."""

SHAPES = frozenset({"g", "path", "line", "rect", "circle", "text", "tspan"})

GEOMETRY = frozenset(
    {
        *("transform", "d", "x", "y", "x1", "y1", "x2", "y2", "dx", "dy", "width", "height", "r", "cx", "cy", "rx"),
        *("fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin"),
        *("stroke-opacity", "opacity", "text-anchor", "font-size", "font-weight"),
    }
)

_LONG = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")


def svg(spec: Mapping[str, Any], *, title: str, description: str = "") -> Markup:
    """A Vega-Lite spec as inline SVG, called `title` for those who cannot see it; equal specs give equal bytes.

    Data must stand in the spec: an address in it, and whatever is drawn by more than shapes and texts, is a ValueError.
    """
    import vl_convert
    from markupsafe import Markup, escape

    whole = _readable({"$schema": SCHEMA, "background": None, **spec, "config": {**CONFIG, **spec.get("config", {})}})
    root = ElementTree.fromstring(vl_convert.vegalite_to_svg(whole, show_warnings=False, allowed_base_urls=[]))
    width, height = (math.ceil(float(root.attrib[name])) for name in ("width", "height"))
    told = f"<title>{escape(visible(title))}</title>"
    told += f"<desc>{escape(visible(description))}</desc>" if description else ""
    inside = "".join(_kept(child) for child in root)
    return Markup(
        f'<svg class="chart" role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f"{told}{inside}</svg>"
    )


def _readable(part: Any) -> Any:
    """The same spec with hidden characters as code points: a NUL in a text would end the whole process."""
    if isinstance(part, str):
        return part if part.isprintable() else visible(part)
    if isinstance(part, Mapping):
        return {key: _readable(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [_readable(value) for value in part]
    return part


def _kept(element: ElementTree.Element) -> str:
    """An element and what is in it, with its geometry; empty where it shows nothing."""
    from markupsafe import escape

    tag = element.tag.rpartition("}")[2]
    if tag not in SHAPES:
        raise ValueError(f"a chart is drawn by shapes and texts, not by <{tag}>")
    if element.get("display") == "none" or (element.get("class") == "background" and "fill" not in element.attrib):
        return ""
    inside = "".join(_kept(child) + _text(child.tail) for child in element)
    if tag == "g" and not inside:
        return ""
    attributes = {
        name: _LONG.sub(lambda found: f"{round(float(found[0]), 2):g}", value)
        for name, value in element.attrib.items()
        if name in GEOMETRY and (name, value) not in _IDLE
    }
    if tag == "g" and not attributes:
        return inside
    if tag in ("text", "tspan"):
        inside = _text(element.text) + inside
    written = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return f"<{tag}{written}>{inside}</{tag}>" if inside else f"<{tag}{written}/>"


_IDLE = {("opacity", "1"), ("transform", "translate(0,0)"), ("stroke-width", "1"), ("x2", "0"), ("y2", "0")}
"""Attributes that say what holds without them."""


def _text(content: str | None) -> str:
    from markupsafe import escape

    return str(escape(content)) if content and content.strip() else ""
