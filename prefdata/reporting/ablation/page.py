"""ablation.html: one self-contained page of what an ablation came to. It loads nothing and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from prefdata.reporting import pages
from prefdata.reporting.ablation.words import KINDS, SYMBOLS, Language, arm, counts, head, say, short, signed, summary
from prefdata.reporting.drawing import Interval, intervals
from prefdata.reporting.texts import visible

HTML_LANGUAGES = {"en": "en", "zh": "zh-CN"}


def write_page(result: dict[str, Any], path: Path, *, lang: Language = "en") -> Path:
    """Writes the page of `result` to `path` and returns it. The file is readable by its owner only."""
    return pages.write(render(result, lang=lang), path)


def render(result: dict[str, Any], *, lang: Language = "en") -> str:
    """The page as HTML; equal results give equal pages."""
    from markupsafe import Markup

    environment = pages.environment()
    environment.filters.update(count=lambda value: f"{value:,}", signed=signed, visible=visible)
    environment.globals.update(
        say=lambda key, /, **values: say(key, lang, **values),
        arm=lambda name: arm(name, lang),
        symbols=SYMBOLS,
        short=lambda one: short(one, lang),
    )
    style = "".join(
        environment.get_template(name).render() for name in ("style.css.jinja", "drawing.css", "ablation.css")
    )
    compared = [one for one in result["arms"] if one["verdict"] != "no_rows"]
    metric = result["metric"]
    return environment.get_template("ablation.html.jinja").render(
        result=result,
        language=HTML_LANGUAGES[lang],
        policy=f"default-src 'none'; style-src '{_sha256(style)}'; base-uri 'none'; form-action 'none'",
        style=Markup(style),
        head=head(result, lang),
        summary=summary(result, lang),
        counts=counts(result),
        compared=compared,
        unused=[arm(one["name"], lang) for one in result["arms"] if one["verdict"] == "no_rows"],
        metric=say(metric, lang),
        chart=_chart(compared, say(metric, lang), lang) if compared else None,
    )


def _chart(compared: list[dict[str, Any]], metric: str, lang: Language) -> Any:
    rows = [
        Interval(
            f"{SYMBOLS[one['verdict']]} {short(one, lang)}",
            one["difference"]["value"],
            one["difference"]["low"],
            one["difference"]["high"],
            text=signed(one["difference"]["value"]),
            kind=KINDS[one["verdict"]],  # type: ignore[arg-type]
        )
        for one in compared
    ]
    return intervals(rows, title=f"{say('differences', lang)}: {metric}", reference=0.0)


def _sha256(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
