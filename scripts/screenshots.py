"""Look at audit reports in a real browser: a picture of each page at three widths, light and dark, and what is wrong.

    python scripts/screenshots.py runs/audits runs/screenshots [--width 390 --scheme dark]

Every report.html below the first folder is opened from its file. The script ends with 1 where a page writes to the
console, is wider than the window, or asks for anything. Needs playwright and a Chromium (CHROMIUM names another).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

WIDTHS = (390, 1280, 1920)
SCHEMES = ("light", "dark")
HEIGHT = 900
TALLEST = 12_000
"""Pixels of a page that are pictured: browsers paint no picture of any height."""

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]

_OVERFLOW = """() => {
    const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    const out = [...document.querySelectorAll('body *')].filter(one => {
        const box = one.getBoundingClientRect();
        if (box.right <= document.documentElement.clientWidth + 1 || !box.width) return false;
        for (let up = one.parentElement; up; up = up.parentElement) {
            if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(up).overflowX)) return false;
        }
        return true;
    });
    return [wide, out.slice(0, 5).map(one => one.tagName.toLowerCase() + '.' + (one.getAttribute('class') || ''))];
}"""


def looked_at(browser: Any, page_file: Path, picture: Path, *, width: int, scheme: str) -> list[str]:
    """Takes the picture; gives back what is wrong."""
    context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda one: faults.append(f"console {one.type}: {one.text[:200]}"))
    page.on("pageerror", lambda one: faults.append(f"error: {str(one)[:200]}"))
    own = page_file.resolve().as_uri()
    page.on("request", lambda one: None if one.url.split("#")[0] == own else faults.append(f"asks for {one.url[:120]}"))
    page.goto(own)
    wide, out = page.evaluate(_OVERFLOW)
    if wide > 0:
        faults.append(f"{wide} px wider than the window: {', '.join(out) or 'of no single element'}")
    height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    picture.parent.mkdir(parents=True, exist_ok=True)
    page.set_viewport_size({"width": width, "height": max(int(height), HEIGHT)})
    page.screenshot(path=str(picture), clip={"x": 0, "y": 0, "width": width, "height": height})
    context.close()
    return faults


def main() -> None:
    """Look at all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, help="folder of reports")
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument("--width", type=int, action="append", help=f"of the window [default: {WIDTHS}]")
    parser.add_argument("--scheme", choices=SCHEMES, action="append", help="[default: both]")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    found = sorted(options.reports.rglob("report.html"))
    if not found:
        parser.error(f"no report.html below {options.reports}")
    wrong = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for page_file in found:
            name = "-".join(page_file.parent.relative_to(options.reports).parts) or "report"
            for width in options.width or WIDTHS:
                for scheme in options.scheme or SCHEMES:
                    picture = options.out / f"{name}-{width}-{scheme}.png"
                    faults = looked_at(browser, page_file, picture, width=width, scheme=scheme)
                    wrong += bool(faults)
                    print(f"{picture.name}: {'; '.join(faults) or 'sound'}", flush=True)
        browser.close()
    if wrong:
        sys.exit(f"{wrong} pages are not as they should be")


if __name__ == "__main__":
    main()
