"""Charts of reports, drawn by Vega as inline SVG: bars, estimates with intervals, curves, histograms, heat maps.

A chart is about WIDTH wide, so that it stands on a phone as it is. Colours are variables of the page (KINDS), so one
chart serves light and dark; names of the data are only ever text. A page that holds charts includes
templates/drawing.css. `svg` draws any other Vega-Lite spec.
"""

from __future__ import annotations

from prefdata.reporting.drawing.parts import KINDS, WIDTH, Kind, Limit, key
from prefdata.reporting.drawing.planes import Line, Series, curve, histogram, matrix
from prefdata.reporting.drawing.rows import (
    Bar,
    Interval,
    Opposed,
    Stack,
    bars,
    intervals,
    opposed_bars,
    split_bars,
)
from prefdata.reporting.drawing.vega import svg

__all__ = [
    "KINDS",
    "WIDTH",
    "Bar",
    "Interval",
    "Kind",
    "Limit",
    "Line",
    "Opposed",
    "Series",
    "Stack",
    "bars",
    "curve",
    "histogram",
    "intervals",
    "key",
    "matrix",
    "opposed_bars",
    "split_bars",
    "svg",
]
