"""report.html of an audit: hostile data stay text, its own script alone may run, nothing is fetched, all is there."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.auditing.finding import Example, Finding, Severity
from prefdata.auditor import Audit, audit, chosen
from prefdata.reporting.audit import page as audit_page
from prefdata.reporting.audit.page import name, render, text, write_page
from prefdata.schema import RecordType

HOSTILE = (
    "<script>window.ran=1</script>",
    "</script><script>window.ran=2</script>",
    '"><img src=x onerror="window.ran=3">',
    "'><svg onload=window.ran=4>",
    "javascript:window.ran=5",
    "</style></title><iframe srcdoc='<script>parent.ran=6</script>'></iframe>",
    "{{ 7 * 7 }}{% include 'x' %}",
    "<!-- --><base href=//evil.example><meta http-equiv=refresh content='0;url=//evil.example'>",
    "\u202egnp.exe\u2066 and \x1b[31m red \x07 \ufeff",
    "<a href='javascript:window.ran=7'>click</a> <form action=//evil.example><input>",
)

TAGS = set(
    re.findall(
        r"\w+",
        """html head meta title style body a header p h1 h2 h3 h4 h5 bdi ul ol li span dl dt dd nav main section table
        thead tbody tr th td svg desc g path line rect text meter i form fieldset legend label input select option
        button output div article strong pre code br details summary script""",
    )
)
ATTRIBUTES = set(
    re.findall(
        r"[\w-]+",
        """lang charset http-equiv content name class href id aria-label aria-labelledby aria-hidden aria-live scope
        hidden type value checked autocomplete spellcheck tabindex role title translate dir open min max width height
        viewBox d x x2 y y2 transform fill fill-opacity opacity stroke stroke-width stroke-dasharray stroke-linecap
        stroke-linejoin text-anchor font-size font-weight""".lower(),
    )
)


def write(folder: Path, rows: list[dict[str, Any]], file: str = "pairs.jsonl") -> Path:
    path = folder / file
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def hostile(folder: Path) -> Audit:
    """Every hostile text on each side of pairs with equal sides; a NUL, half a surrogate, and a cell of 1 MB."""
    rows = [{"prompt": f"asked {one}", "chosen": f"said {one}", "rejected": f"said {one}"} for one in HOSTILE]
    rows.append({"prompt": "long", "chosen": "<b>" * 350_000, "rejected": "<b>" * 350_000})
    rows.append({"prompt": "nul", "chosen": "a\x00b", "rejected": "<i>"})
    rows.append({"prompt": "half", "chosen": "\ud800", "rejected": "<i>"})
    return audit(write(folder, rows, "<img src=x onerror=alert(1)>&'.jsonl"), only=["form", "pairs", "duplicates"])


def made(
    measures: dict[str, Any] | None = None, *, places: int = 3, severity: Severity = Severity.MAJOR, **more: Any
) -> Audit:
    """An audit with one finding of the check equal_sides."""
    finding = Finding(
        **{
            "check": "equal_sides",
            "family": "pairs",
            "severity": severity,
            "count": places,
            "total": 100_000,
            "measures": measures or {},
            "rows": pl.Series("row", range(places), dtype=pl.UInt32),
            "places": tuple(f"a.jsonl:{at + 1}" for at in range(places)),
            "keys": (),
            "examples": (Example("a.jsonl:1", {"prompt": "p", "chosen": "c", "rejected": ""}, "b.jsonl:7"),),
            **more,
        }
    )
    return Audit(
        name="a.jsonl",
        format="trl",
        type=RecordType.PREFERENCE,
        reasons=("columns chosen, rejected",),
        read=100_000,
        rows=100_000,
        findings=(finding,),
        checks=tuple(chosen(["equal_sides", "cycle"])),
        seconds=1.5,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return render(hostile(tmp_path_factory.mktemp("hostile")))


def test_hostile_data_become_no_markup(page: str, parse: Any) -> None:
    parsed = parse(page)
    assert set(parsed.tags) <= TAGS
    assert {key for _, key, _ in parsed.attributes if not key.startswith("data-")} <= ATTRIBUTES
    assert [parsed.tags.count(tag) for tag in ("script", "style", "form")] == [1, 1, 1]
    assert parsed.tags.count("title") == 1 + parsed.tags.count("svg")
    assert not [value for value in parsed.values("href") if not re.fullmatch(r"#[\w-]+", value)]


def test_hostile_data_are_shown_as_text(page: str, parse: Any) -> None:
    shown = parse(page).text
    told = [one for one in HOSTILE[:8] if f"said {one}" in shown]
    assert len(told) >= 2  # of the rows, the first, the middle and the last are examples
    assert "<img src=x onerror=alert(1)>&'.jsonl:1" in shown
    assert "49" not in re.findall(r"\b49\b", shown)


@pytest.mark.parametrize("one", HOSTILE)
def test_a_hostile_text_is_shown_as_it_is_but_for_characters_that_a_browser_obeys(one: str, parse: Any) -> None:
    example = Example("a.jsonl:1", {"prompt": one, "chosen": one, "rejected": one}, "")
    parsed = parse(render(made(examples=(example,), places=1)))
    expected = re.sub("[\u202e\u2066\x1b\x07\ufeff]", lambda found: f"U+{ord(found[0]):04X}", one)
    assert parsed.text.count(expected) == 3
    assert set(parsed.tags) <= TAGS


def test_no_character_that_a_browser_obeys_is_left(page: str) -> None:
    assert not re.findall("[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]", page)


def test_marked_characters_cannot_be_forged() -> None:
    assert text("\x01U+202E\x02") == (
        '<span class="code-point">U+0001</span>U+202E<span class="code-point">U+0002</span>'
    )
    assert text("⟨U+202E⟩<b>") == "⟨U+202E⟩&lt;b&gt;"
    assert text("a\x00\ud800\r\nb\u202e") == (
        'a<span class="code-point">U+0000</span><span class="code-point">U+D800</span>\nb'
        '<span class="code-point">U+202E</span>'
    )


def test_long_texts_and_names_are_cut_and_their_length_told(page: str, parse: Any) -> None:
    assert len(page) < 200_000
    texts = {"prompt": "y" * 2_000, "chosen": "z" * 600, "rejected": ""}
    chars = {"prompt": 12_345, "chosen": 600, "rejected": 0}
    example = Example("x" * 5_000, texts, "n" * 3_000, chars=chars)
    shown = parse(render(made(examples=(example,)))).text
    assert re.findall(r"[\d,]+ of [\d,]+ characters", shown) == ["600 of 12,345 characters"]
    assert "x… (5,000)" in shown
    assert "n… (3,000)" in shown
    assert "y" * 601 not in shown
    assert name("a\nb\u202e") == "a b⟨U+202E⟩"


def test_the_policy_allows_this_script_and_this_style_alone(page: str) -> None:
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[0].replace("&#39;", "'")
    directives = dict(one.split(" ", 1) for one in policy.split("; "))
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert directives[f"{tag}-src"] == f"'sha256-{digest}'"
    assert {key: directives[key] for key in ("default-src", "base-uri", "form-action")} == dict.fromkeys(
        ("default-src", "base-uri", "form-action"), "'none'"
    )
    assert "Content-Security-Policy" in page[: page.index("<title>")]


def test_the_page_can_fetch_nothing(page: str, parse: Any) -> None:
    parsed = parse(page)
    assert not {"src", "srcset", "action", "data", "style", "background"} & {key for _, key, _ in parsed.attributes}
    assert "url(" not in page
    assert "@import" not in page


def test_every_tag_is_closed_in_order(page: str) -> None:
    opened: list[str] = []

    class Nesting(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("meta", "input", "br"):
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Nesting().feed(page)
    assert opened == []


def test_names_of_places_are_unique_and_links_lead_to_them(page: str, parse: Any) -> None:
    parsed = parse(page)
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    assert {one.removeprefix("#") for one in parsed.values("href")} <= set(ids)
    assert set(parsed.values("aria-labelledby")) <= set(ids)


def test_headings_go_down_one_step_at_a_time(page: str) -> None:
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", page)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_header_tells_what_was_audited_and_why(page: str, parse: Any) -> None:
    shown = " ".join(parse(page).text.split())
    for told in ("pairs (chosen and rejected)", "columns chosen, rejected", "records read13"):
        assert told in shown


def test_every_finding_stands_with_its_severity_in_words_and_shape() -> None:
    for severity, shape in zip(Severity, "■▲●○", strict=True):
        page = render(made(severity=severity))
        card = re.findall(r"<article.*?</article>", page, re.DOTALL)[0]
        assert f'<span class="shape" aria-hidden="true">{shape}</span> {severity.value}' in card


def test_the_rows_of_bad_findings_are_open_and_those_of_others_folded() -> None:
    opened = {one: '<details class="rows" open>' in render(made(severity=one)) for one in Severity}
    assert opened == {"critical": True, "major": True, "minor": False, "note": False}


def test_an_example_shows_each_side_and_what_it_repeats(parse: Any) -> None:
    shown = parse(render(made())).text.split("Examples:")[1]
    assert re.findall(r"beside\s+b\.jsonl:7", shown) == ["beside b.jsonl:7"]
    order = [shown.index(side) for side in ("prompt", "chosen", "rejected", "empty")]
    assert order == sorted(order)


def test_checks_that_found_nothing_are_named(parse: Any) -> None:
    shown = " ".join(parse(render(made())).text.split())
    assert "1 of 2 checks ran and found nothing" in shown
    assert "A over B, B over C, C over A cycle" in shown


def test_a_set_without_findings_says_so() -> None:
    clean = made()._replace(findings=())
    page = render(clean)
    assert "No check found anything." in page
    assert 'id="filter"' not in page


def test_places_are_all_there_up_to_a_limit(monkeypatch: pytest.MonkeyPatch, parse: Any) -> None:
    shown = parse(render(made(places=1_000))).text
    assert len(re.findall(r"a\.jsonl:\d+", shown)) == 1_001
    assert "more places" not in shown
    monkeypatch.setattr(audit_page, "PLACES_BYTES", 50_000)
    page = render(made(places=10_000))
    assert len(page) < 120_000
    assert re.findall(r"Where: ([\d,]+) of 10,000 places", page) == ["1,419"]
    assert "8,581 more places" in page


def test_an_estimate_is_drawn_as_a_dot_with_its_interval(parse: Any) -> None:
    page = render(made({"auc": 0.75, "interval": [0.7, 0.8], "cohen_d": 0.4, "cohen_d_interval": [0.1, 0.7]}))
    assert page.count('<svg class="chart" role="img"') == 2
    shown = parse(page).text
    assert "0.750 (0.700 to 0.800)" in shown
    assert "0.5: chance" in shown
    assert "0.400 (0.100 to 0.700)" in shown


def test_an_example_tells_its_label_and_its_margin() -> None:
    texts = {"prompt": "p", "completion": "c"}
    examples = (Example("a:1", texts, "", label=True), Example("a:2", texts, "", label=False, margin=1.5))
    tags = re.findall(r'<span class="(tag[ \w]*)">([^<]*)</span>', render(made(examples=examples)))
    assert tags == [("tag good", "desirable"), ("tag bad", "undesirable"), ("tag", "margin 1.5")]


def test_the_header_tells_why_records_were_refused(parse: Any) -> None:
    refused = made()._replace(refused={"tie": 3, "no_answer": 12, "<b>": 1})
    parsed = parse(render(refused))
    shown = " ".join(parsed.text.split())
    assert "the conversation does not end with an answer (12); both answers were rated the same (3); <b> (1)" in shown
    assert "b" not in parsed.tags
    assert "两个回答的评分相同 (3)" in parse(render(refused, lang="zh")).text


def test_measured_names_and_values_are_data_too(parse: Any) -> None:
    measures = {
        "<script>": "<script>\u202e",
        "by_source": {"<img src=x>": {"rows": 3, "</svg>": 0.5}, "b": {"rows": 1}},
        "languages": {"<svg onload=x>": 0.25, "zh": 0.75},
    }
    parsed = parse(render(made(measures)))
    assert set(parsed.tags) <= TAGS
    for told in ("<script>⟨U+202E⟩", "<img src=x>", "</svg>", "<svg onload=x>", "75.0 %"):
        assert told in parsed.text


def test_several_aucs_of_the_preference_are_drawn_in_one_chart_with_links() -> None:
    one = made({"auc": 0.6, "interval": [0.55, 0.65]})
    two = made({"auc": 0.9, "interval": [0.85, 0.95]}, check="cycle")
    other = made({"auc": 0.8, "interval": [0.75, 0.85]}, check="tie")
    families = ("shortcuts", "trainability", "order")
    findings = [replace(each.findings[0], family=name) for each, name in zip((one, two, other), families, strict=True)]
    page = render(one._replace(findings=tuple(findings)))
    glance = page[page.index('id="glance"') :].split("</section>")[0]
    assert re.findall(r'href="#(finding-\d)"', glance) == ["finding-2", "finding-1"]


def test_a_cure_is_told_as_sentences_and_as_code_to_copy() -> None:
    finding = made(check="crowded_prompt")
    page = render(finding._replace(checks=tuple(chosen(["crowded_prompt"]))))
    assert "<code>mix: {per_prompt: 3}</code></pre>" in page


def test_the_page_in_chinese_is_chinese(tmp_path: Path, parse: Any) -> None:
    page = render(hostile(tmp_path), lang="zh")
    parsed = parse(page)
    assert '<html lang="zh-CN">' in page
    assert set(parsed.tags) <= TAGS
    for told in ("概览", "没有发现问题的检查", "为什么重要", "偏好对（chosen 与 rejected）"):
        assert told in parsed.text
    assert "列 chosen、rejected" in parsed.text
    for told in ("Why it matters", "Overview", "records read", "columns chosen"):
        assert told not in parsed.text


def test_equal_audits_give_equal_pages() -> None:
    assert render(made()) == render(made()._replace(seconds=99.0))


def test_only_its_owner_reads_the_page(tmp_path: Path) -> None:
    path = write_page(made(), tmp_path / "report.html")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    "file", ["hh_rlhf/test.jsonl.gz", "llamafactory/dpo_zh_demo.json", "llamafactory/kto_en_demo.json"]
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_pages_of_real_sets_hold_no_markup_of_theirs(shared_data: Any, file: str, lang: str, parse: Any) -> None:
    found = audit(shared_data(file), only=["form", "pairs", "unary", "duplicates"])
    parsed = parse(render(found, lang=lang))
    assert set(parsed.tags) <= TAGS
    assert parsed.tags.count("article") == len(found.findings)
