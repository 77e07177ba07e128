"""Pages of reports in a real browser: nothing of the data runs, no request leaves the page, and what it offers works.

Needs playwright (pip install playwright) and a Chromium: /usr/bin/chromium, or the one that CHROMIUM names.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.auditing.finding import Example, Finding, Severity
from prefdata.auditor import Audit, audit, chosen
from prefdata.reporting.audit.page import write_page
from prefdata.reporting.page import write_page as write_run_page
from prefdata.schema import RecordType

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""

pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).is_file(), reason="no Chromium on this machine: apt-get install chromium, or set CHROMIUM"
)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

HOSTILE = (
    "<script>window.ran=1</script>",
    "</script><script>window.ran=2</script>",
    '"><img src="/stolen?a" onerror="window.ran=3">',
    "'><svg onload=window.ran=4><image href='/stolen?b'/></svg>",
    "<a id=out href='javascript:window.ran=5'>out</a>",
    "</style><style>@import url(/stolen?c); body { background:url(/stolen?d) }</style>",
    "<iframe src='/stolen?e' srcdoc='<script>parent.ran=6</script>'></iframe>",
    "<meta http-equiv=refresh content='0;url=/stolen?f'><base href=/stolen/>",
    "\u202egnp.exe\u2066 \x1b[31m \x00 \ufeff",
    "<form action=/stolen><button autofocus onfocus=window.ran=7>",
    "<link rel=stylesheet href=/stolen?g><object data=/stolen?h></object><embed src=/stolen?i>",
    "<b>" * 350_000,
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, notes what was asked for, and says nothing."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/favicon.ico":  # what Chromium asks for of its own where no policy forbids it
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Served:
    """Pages in a folder that a server on this machine gives out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        handler = functools.partial(type("Handler", (Quiet,), {"asked": self.asked}), directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/{name}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, run: Any) -> Iterator[Served]:
    """Pages made of rows, names and figures that hold every hostile text; and many.html, with findings of all kinds."""
    folder = tmp_path_factory.mktemp("pages")
    rows = [
        {"prompt": f"q {one}", "chosen": f"{at} {one}", "rejected": f"{at} {one}"} for at, one in enumerate(HOSTILE)
    ]
    data = folder / "<img src='x' onerror=window.ran=8>.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = audit(data, only=["form", "pairs"])
    write_page(with_all_examples(found, rows), folder / "hostile.html")
    write_page(with_all_examples(found, rows), folder / "hostile-zh.html", lang="zh")
    write_page(many(), folder / "many.html")
    small = run()
    small.rows = [(*row[:4], HOSTILE[at % 11], HOSTILE[at % 11]) for at, row in enumerate(small.rows)]
    path = small.write(tmp_path_factory.mktemp("run"))
    report = json.loads((path / "report.json").read_text(encoding="utf-8"))
    report["fates"][0] |= {"source": HOSTILE[0], "file": HOSTILE[2]}
    report["set_aside"] = dict.fromkeys(HOSTILE[:11], 1)
    report["labels"]["sources"][0]["source"] = HOSTILE[1]
    report["rules"][-1]["histogram"]["values"][-1] = HOSTILE[3]
    (path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    shutil.copyfile(write_run_page(path), folder / "run.html")
    pages = Served(folder)
    yield pages
    pages.close()


def with_all_examples(found: Audit, rows: list[dict[str, str]]) -> Audit:
    """The audit with every row as an example of its first finding."""
    first = found.findings[0]
    examples = tuple(Example(f"{found.name}:{at + 1}", row, row["chosen"]) for at, row in enumerate(rows))
    estimates = {"rows": 3, "alpha": 0.5, "alpha_interval": [0.4, 0.6]}
    measures = {
        **{row["prompt"]: 0.5 for row in rows},
        "annotators": dict.fromkeys(HOSTILE, estimates),
        "by_source": {one: at for at, one in enumerate(HOSTILE)},
        "by_label": {one: [at, 1] for at, one in enumerate(HOSTILE)},
        "columns": {one: {other: other for other in HOSTILE[:3]} for one in HOSTILE},
        **{one: [{one: at, "loss": 0.5, "loss_interval": [0.4, 0.6]} for at in (1, 2, 3)] for one in HOSTILE[:2]},
    }
    changed = Finding(**{**vars(first), "examples": examples, "measures": measures})
    return found._replace(
        findings=(changed, *found.findings[1:]),
        reasons=(HOSTILE[0], HOSTILE[2], f"columns {HOSTILE[3]}: {HOSTILE[4]}"),
        refused=dict.fromkeys(HOSTILE, 1),
    )


def many() -> Audit:
    """Four findings, one a severity, with growing counts; the first has 250 places."""
    names = ("equal_sides", "cycle", "same_words", "crowded_prompt")
    counts = (250, 300, 7, 1_000)
    findings = [
        Finding(
            check=name,
            family="pairs" if at < 3 else "form",
            severity=severity,
            count=count,
            total=10_000,
            measures={"auc": 0.6 + at / 10, "interval": [0.5 + at / 10, 0.7 + at / 10]},
            rows=pl.Series("row", range(count), dtype=pl.UInt32),
            places=tuple(f"a.jsonl:{place + 1}" for place in range(count)) if at == 0 else (),
            keys=(),
            examples=(Example("a.jsonl:1", {"prompt": f"asked {name}", "chosen": "yes", "rejected": "no"}, ""),),
        )
        for at, (name, severity, count) in enumerate(zip(names, Severity, counts, strict=True))
    ]
    return Audit(
        name="a.jsonl",
        format="trl",
        type=RecordType.PREFERENCE,
        reasons=("columns chosen, rejected",),
        read=10_000,
        rows=10_000,
        findings=tuple(findings),
        checks=tuple(chosen(["pairs"])),
        seconds=1.0,
    )


def opened(browser: Any, url: str, **options: Any) -> tuple[Any, list[str], list[str]]:
    """A page of its own, what it asked for, and what it said in the console."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}, **options).new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
    page.goto(url)
    return page, asked, said


@pytest.mark.parametrize("policy", ["kept", "off"])
def test_nothing_of_the_data_runs_and_nothing_is_fetched(browser: Any, served: Served, policy: str) -> None:
    """With the Content-Security-Policy off too: escaping alone must do."""
    served.asked.clear()
    page, asked, said = opened(browser, served.url("hostile.html"), bypass_csp=policy == "off")
    page.click("[data-fold=open]")
    page.wait_for_timeout(500)
    assert page.evaluate("window.ran") is None
    assert asked == [served.url("hostile.html")]
    own = ["/favicon.ico"] if policy == "off" else []
    assert [path for path in served.asked if path not in own] == ["/hostile.html"]
    assert said == []
    assert (
        page.locator("img, iframe, object, embed, base, link, article form, article script, article style").count() == 0
    )
    texts = page.locator(".side.chosen .text").all_inner_texts()
    assert len(texts) >= len(HOSTILE)
    for at, one in enumerate(HOSTILE[:8]):
        assert texts[at] == f"{at} {one}"
    assert "U+202E" in texts[8]
    assert "U+0000" in texts[8]
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["hostile.html", "hostile-zh.html", "run.html"])
@pytest.mark.parametrize("policy", ["kept", "off"])
def test_names_in_charts_and_tables_are_text(browser: Any, served: Served, name: str, scheme: str, policy: str) -> None:
    served.asked.clear()
    page, asked, said = opened(browser, served.url(name), color_scheme=scheme, bypass_csp=policy == "off")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    for link in page.locator("a").all()[:40]:
        assert (link.get_attribute("href") or "").startswith("#")
    page.wait_for_timeout(200)
    assert page.evaluate("window.ran") is None
    assert asked == [served.url(name)]
    assert said == []
    drawn = page.evaluate("[...new Set([...document.querySelectorAll('svg *')].map(one => one.localName))]")
    assert set(drawn) <= {"title", "desc", "g", "path", "line", "rect", "circle", "text", "tspan"}
    assert HOSTILE[0] in page.locator(".chart-box .name").all_inner_texts() or name == "run.html"
    page.context.close()


def test_hostile_rows_are_all_there_without_javascript(browser: Any, served: Served) -> None:
    page, _, said = opened(browser, served.url("hostile.html"), java_script_enabled=False)
    assert page.locator("article:visible").count() >= 2
    first = page.locator("article").first
    if first.locator("details.rows").get_attribute("open") is None:
        first.locator("details.rows summary").click()
    assert first.locator(".example:visible").count() == len(HOSTILE)
    assert first.locator(".side.chosen .text").all_inner_texts()[:2] == [f"{at} {HOSTILE[at]}" for at in (0, 1)]
    assert said == []
    page.context.close()


@pytest.mark.parametrize("name", ["many.html", "run.html"])
def test_every_chart_has_a_name_and_every_table_has_heads(browser: Any, served: Served, name: str) -> None:
    page, _, _ = opened(browser, served.url(name))
    unnamed = "[...document.querySelectorAll('svg[role=img]')].filter(one => !one.querySelector('title').textContent)"
    assert page.evaluate(f"{unnamed}.length") == 0
    assert page.locator("svg:not([role=img]):not([aria-hidden=true])").count() == 0
    headless = "[...document.querySelectorAll('table')].filter(one => !one.querySelector('th')).length"
    assert page.evaluate(headless) == 0
    page.context.close()


def test_a_text_keeps_its_direction_to_itself(browser: Any, served: Served) -> None:
    page, _, _ = opened(browser, served.url("hostile.html"))
    style = page.locator(".side .text").first.evaluate("one => getComputedStyle(one).unicodeBidi")
    assert style == "plaintext"
    assert page.locator("h1 bdi").evaluate("one => getComputedStyle(one).unicodeBidi") == "isolate"
    page.context.close()


@pytest.mark.parametrize("name", ["hostile.html", "many.html", "run.html"])
def test_no_width_makes_the_page_scroll_sideways(browser: Any, served: Served, name: str) -> None:
    page, _, _ = opened(browser, served.url(name))
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    for width in (320, 390, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.context.close()


def visible_cards(page: Any) -> list[str]:
    return [one.inner_text() for one in page.locator("article:visible .note code").all()]


def test_findings_are_filtered_by_severity_family_and_words(browser: Any, served: Served) -> None:
    page, _, said = opened(browser, served.url("many.html"))
    assert visible_cards(page) == ["equal_sides", "cycle", "same_words", "crowded_prompt"]
    page.uncheck("input[value=critical]")
    assert visible_cards(page) == ["cycle", "same_words", "crowded_prompt"]
    assert page.inner_text("#shown") == "3 of 4 findings shown"
    assert page.locator("#table tbody tr:visible").count() == 3
    page.check("input[value=critical]")
    page.select_option("select[name=family]", "form")
    assert visible_cards(page) == ["crowded_prompt"]
    page.select_option("select[name=family]", "")
    page.fill("input[name=words]", "ASKED CYCLE")
    assert visible_cards(page) == ["cycle"]
    assert said == []
    page.context.close()


def test_findings_are_sorted_by_the_table_and_by_the_list(browser: Any, served: Served) -> None:
    page, _, _ = opened(browser, served.url("many.html"))
    page.click("th[data-sort=count] button")
    assert visible_cards(page) == ["crowded_prompt", "cycle", "equal_sides", "same_words"]
    assert page.get_attribute("th[data-sort=count]", "aria-sort") == "descending"
    assert page.locator("#table tbody tr").first.inner_text().startswith("○")
    page.click("th[data-sort=count] button")
    assert page.get_attribute("th[data-sort=count]", "aria-sort") == "ascending"
    page.select_option("select[name=order]", "rank")
    assert visible_cards(page) == ["equal_sides", "cycle", "same_words", "crowded_prompt"]
    page.context.close()


def test_places_are_paged_and_details_folded_and_opened(browser: Any, served: Served) -> None:
    page, _, _ = opened(browser, served.url("many.html"))
    page.click("[data-fold=open]")
    places = page.locator("ol.places li:visible")
    assert places.count() == 100
    assert places.first.inner_text() == "a.jsonl:1"
    page.click("text=next")
    page.click("text=next")
    assert places.count() == 50
    assert page.locator(".pager output").inner_text() == "201 to 250 of 250"
    assert page.locator(".pager button").last.is_disabled()
    page.click("[data-fold=shut]")
    assert page.locator("details[open]").count() == 0
    page.context.close()


def test_all_can_be_read_without_javascript(browser: Any, served: Served) -> None:
    page, _, said = opened(browser, served.url("many.html"), java_script_enabled=False)
    assert page.locator("article:visible").count() == 4
    assert not page.locator("#filter").is_visible()
    page.click("text=Where: 250 of 250 places")
    assert page.locator("ol.places li:visible").count() == 250
    page.click("text=Examples: 1 of 7 rows")
    assert page.locator("text=asked same_words").is_visible()
    assert said == []
    page.context.close()


def test_the_keyboard_reaches_the_findings_and_folds_them(browser: Any, served: Served) -> None:
    page, _, _ = opened(browser, served.url("many.html"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#findings")
    summary = page.locator("details.where summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details.where").first.get_attribute("open") == ""
    page.context.close()


def test_texts_stand_out_from_their_ground_in_light_and_dark(browser: Any, served: Served) -> None:
    """WCAG 2.2, 1.4.3: a contrast of at least 4.5 to 1."""
    contrast = """() => {
      const light = (colour) => { const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126*r + 0.7152*g + 0.0722*b; };
      const ground = (one) => { for (; one; one = one.parentElement) {
        const colour = getComputedStyle(one).backgroundColor; if (!/, 0\\)$|transparent/.test(colour)) return colour; }
        return getComputedStyle(document.body).backgroundColor; };
      const low = [];
      for (const one of document.querySelectorAll('p, td, th, dt, dd, h1, h2, h3, h4, a, code, .sev, .number, .note')) {
        if (!one.innerText || !one.innerText.trim()) continue;
        const [a, b] = [light(getComputedStyle(one).color), light(ground(one))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) low.push(one.className + ' ' + one.tagName + ' ' + ratio.toFixed(2));
      }
      return [...new Set(low)];
    }"""
    for scheme in ("light", "dark"):
        page, _, _ = opened(browser, served.url("many.html"), color_scheme=scheme)
        assert page.evaluate(contrast) == []
        page.context.close()
