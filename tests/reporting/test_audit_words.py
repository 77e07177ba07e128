"""The words of an audit's report: the same in both languages, code told from sentences, text never markup."""

from __future__ import annotations

import io
import re
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from prefdata.auditing.finding import Finding, Severity
from prefdata.auditing.gate import Fresh
from prefdata.auditor import Audit, all_checks, chosen
from prefdata.formats import rules
from prefdata.recipe import TOP
from prefdata.reporting.audit import words as audit_words
from prefdata.reporting.audit.markdown import _prose, code, escaped, to_markdown
from prefdata.reporting.audit.page import prose
from prefdata.reporting.audit.terminal import refused, terminal
from prefdata.reporting.audit.words import RECIPE_KEYS, Piece, pieces, read_because, say, severity, told, told_of
from prefdata.schema import RecordType

EN, ZH = (audit_words._table(lang) for lang in ("en", "zh"))


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@pytest.mark.parametrize("part", ["labels", "families", "severities", "types", "measures"])
def test_both_languages_have_the_same_words(part: str) -> None:
    assert set(ZH[part]) == set(EN[part])
    assert not [key for key, text in ZH[part].items() if not text]


@pytest.mark.parametrize("key", sorted(EN["labels"]))
def test_a_sentence_takes_the_same_values_in_both_languages(key: str) -> None:
    assert fields(EN["labels"][key]) == fields(ZH["labels"][key])


def test_every_sentence_of_the_templates_exists() -> None:
    folder = Path(audit_words.__file__).parent
    named = set()
    for file in [*folder.glob("*.py"), *(folder.parent / "templates").glob("audit*")]:
        named |= set(re.findall(r"""\bsay\(\s*["'](\w+)["'][,)]""", file.read_text(encoding="utf-8")))
    assert named <= set(EN["labels"])
    assert len(named) > 50


def test_translations_are_of_checks_that_exist() -> None:
    names = {check.name for check in all_checks()}
    assert set(ZH["checks"]) <= names
    assert set(ZH["reasons"]) <= _reasons()
    for name, words in ZH["checks"].items():
        assert set(words) <= {"title", "why", "cure"}, name


def test_every_check_and_severity_is_told_in_both_languages() -> None:
    for check in all_checks():
        for lang in ("en", "zh"):
            words = told_of(check, lang)
            assert words.title
            assert words.why
            assert pieces(words.cure)
    assert [severity(one, "zh") for one in Severity] == ["致命", "严重", "轻微", "提示"]


def test_code_in_a_translated_cure_is_the_same_as_in_the_english_one() -> None:
    for check in all_checks():
        english, chinese = (
            [piece.text.split("  #")[0] for piece in pieces(told_of(check, lang).cure) if piece.code]
            for lang in ("en", "zh")
        )
        assert english == chinese, check.name


def _reasons() -> set[str]:
    from prefdata.build.built import REASONS
    from prefdata.conversion.reasons import UNREADABLE

    return {*rules.REASONS, *REASONS, *UNREADABLE}


@pytest.mark.parametrize(
    ("cure", "expected"),
    [
        ("filters: [chat_quality]", [Piece(True, "filters: [chat_quality]")]),
        ("Leave the row out.", [Piece(False, "Leave the row out.")]),
        (
            "Read it again; transforms: [unicode]",
            [Piece(False, "Read it again:"), Piece(True, "transforms: [unicode]")],
        ),
        (
            "Look.\nprefdata convert DATA --to trl\nprefdata audit DATA",
            [Piece(False, "Look."), Piece(True, "prefdata convert DATA --to trl\nprefdata audit DATA")],
        ),
        (
            "mix:\n  caps: {prompt: 3}\nThen look again.",
            [Piece(True, "mix:\n  caps: {prompt: 3}"), Piece(False, "Then look again.")],
        ),
        (
            "filters:\n  - chat_quality\n  - language",
            [Piece(True, "filters:\n  - chat_quality\n  - language")],
        ),
        ("build.preference.from_ratings(...)", [Piece(True, "build.preference.from_ratings(...)")]),
        ("重新读取； transforms: [unicode]", [Piece(False, "重新读取："), Piece(True, "transforms: [unicode]")]),
        ("Decide: build.x, or leave both out.", [Piece(False, "Decide: build.x, or leave both out.")]),
        ("", []),
    ],
)
def test_a_cure_is_sentences_and_code(cure: str, expected: list[Piece]) -> None:
    assert pieces(cure) == expected


def made(check: str = "equal_sides", name: str = "a.jsonl", **more: Any) -> Audit:
    finding = Finding(
        **{
            "check": check,
            "family": "pairs",
            "severity": Severity.CRITICAL,
            "count": 7,
            "total": 70,
            "measures": {"auc": 0.75, "interval": [0.7, 0.8]},
            "rows": pl.Series("row", range(7), dtype=pl.UInt32),
            "places": tuple(f"a.jsonl:{at}" for at in range(7)),
            "keys": (),
            "examples": (),
            **more,
        }
    )
    return Audit(
        name=name,
        format="trl",
        type=RecordType.PREFERENCE,
        reasons=("columns chosen, rejected",),
        read=70,
        rows=70,
        findings=(finding,),
        checks=tuple(chosen(["equal_sides", "cycle"])),
        seconds=1.0,
    )


def printed(audit: Audit, lang: str = "en", width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    terminal(audit, console, lang)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_tells_findings_places_figures_and_cures() -> None:
    shown = printed(made())
    for text in (
        "a.jsonl: pairs (chosen and rejected), read as trl; 70 records read, 70 rows audited, 0 records without a row",
        "■ critical",
        "equal_sides · AUC 0.750 (0.700 – 0.800)",
        "→ Leave the row out; every export of prefdata refuses it as equal_sides.",
        "10.0 %",
        "+ 4",
        "1 critical; 1 of 2 checks found nothing",
    ):
        assert text in shown


def test_the_terminal_prints_names_of_the_data_as_text() -> None:
    shown = printed(made(name="[bold]\x1b[31mred\u202e", places=("[link=x]\x07.jsonl:1",)))
    assert "[bold]⟨U+001B⟩[31mred⟨U+202E⟩" in shown
    assert "[link=x]⟨U+0007⟩.jsonl:1" in "".join(shown.split())
    assert "\x1b" not in shown


def test_the_terminal_is_told_in_chinese() -> None:
    shown = printed(made(), "zh")
    assert "■ 致命" in shown
    assert "2 项检查中有 1 项没有发现问题" in shown


def test_the_terminal_is_told_without_findings() -> None:
    assert "no finding; 2 of 2 checks found nothing" in printed(made()._replace(findings=()))


def test_a_reason_of_reading_is_told_as_a_sentence() -> None:
    found = made("malformed_json", family="reading")
    assert told(found, found.findings[0]).title == "No JSON"


def test_markdown_is_a_table_with_places_and_cures() -> None:
    text = to_markdown(made())
    assert "## Audit of `a.jsonl`" in text
    assert (
        "| ■ critical | Chosen and rejected are the same (`equal_sides`) | 7 | 10.0 % | `a.jsonl:0`, `a.jsonl:1`, "
        "`a.jsonl:2`, `a.jsonl:3`, `a.jsonl:4`, + 2 |"
    ) in text.splitlines()
    assert "<details><summary>What to do</summary>" in text


def test_markdown_tells_what_is_new_first() -> None:
    audit = made()
    new = to_markdown(audit, new=[Fresh(audit.findings[0], 2, ("a.jsonl:5", "a.jsonl:6"))])
    first = new.index("- ■ **critical** Chosen and rejected are the same (2 new rows): `a.jsonl:5`, `a.jsonl:6`")
    assert first < new.index("<details><summary>All 1 findings</summary>")
    assert "**Nothing new since the baseline.**" in to_markdown(audit, new=[])
    whole = to_markdown(audit, new=[Fresh(audit.findings[0], 0, ())])
    assert "(of the set as a whole)" in whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a | b", r"a \| b"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("[x](http://evil.example)", r"\[x\](http&#58;//evil.example)"),
        ("@team #12 www.evil.example", "&#64;team &#35;12 www&#46;evil.example"),
        ("# head", "&#35; head"),
        ("- item", "&#45; item"),
        ("1. item", "&#49;. item"),
        ("`code` *b* _i_ ~s~ $m$", r"\`code\` \*b\* \_i\_ \~s\~ \$m\$"),
        ("a\nb\u202e\x00", "a b⟨U+202E⟩⟨U+0000⟩"),
    ],
)
def test_markdown_shows_names_of_the_data_as_text(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_backticks_of_our_sentences_are_code_in_the_page_and_in_markdown() -> None:
    text = "Set `ld_alpha` <low>, or `a_b`."
    assert _prose(text) == "Set `ld_alpha` &lt;low&gt;, or `a_b`."
    assert prose(text) == "Set <code>ld_alpha</code> &lt;low&gt;, or <code>a_b</code>."
    assert prose("one ` only <b>") == "one ` only &lt;b&gt;"
    assert _prose("one ` only") == r"one \` only"


def test_code_cannot_be_ended_by_what_is_in_it() -> None:
    assert code("a`b|c\nd") == "`a'b¦c d`"
    assert code("x" * 300) == "`" + "x" * 200 + "… (300)`"
    assert code("") == ""


def test_markdown_of_hostile_names_keeps_its_rows_and_fences() -> None:
    audit = made(name="`</details>|\n# x", places=("`|<b>\n@a",))
    text = to_markdown(audit)
    assert "\n# x" not in text
    assert "@a" in text
    assert "`'¦<b> @a`" in text
    assert text.count("</details>") == 2  # that of the name, in code, and that of the cures
    assert text.count("<details>") == 1


def test_words_with_which_a_recipe_begins_are_those_of_recipes() -> None:
    assert set(RECIPE_KEYS) - {"max_length"} <= set(TOP)  # max_length is a trainer's


def test_a_translated_cure_follows_the_code_of_its_check() -> None:
    (check,) = (one for one in all_checks() if one.name == "broken_characters")
    assert told_of(replace(check, cure="Read it; transforms: [unicode, x]"), "zh").cure.endswith(
        "重新读取：\ntransforms: [unicode, x]"
    )
    assert told_of(replace(check, cure="Look."), "zh").cure == "Look."


def test_numbers_are_written_with_separators() -> None:
    assert say("lead", rows=1234, read=2345) == "1,234 rows audited, of 2,345 records read."


def test_refused_records_are_told_by_reason_in_the_terminal_and_in_markdown() -> None:
    found = Audit(
        name="a.jsonl",
        format="trl",
        type=RecordType.PREFERENCE,
        reasons=(),
        read=20,
        rows=4,
        findings=(),
        checks=(),
        seconds=0.0,
        refused={"tie": 3, "no_answer": 12, "<b>": 1},
    )
    told = "the conversation does not end with an answer (12); both answers were rated the same (3); <b> (1)"
    assert refused(found, "en") == f"refused because: {told}"
    assert refused(found, "zh") == "被拒原因：对话不是以回答结尾 (12)；两个回答的评分相同 (3)；<b> (1)"
    assert told.replace("<b>", "&lt;b&gt;") in to_markdown(found)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("columns chosen, rejected", "列 chosen、rejected"),
        ("column messages: lists of role and content", "列 messages：由 role 与 content 组成的列表"),
        ("texts begin with Human:", "文本以 Human: 开头"),
        ("something new", "something new"),
    ],
)
def test_why_a_file_is_read_as_a_format_is_told_in_chinese(reason: str, expected: str) -> None:
    assert read_because(reason, "zh") == expected
    assert read_because(reason, "en") == reason
