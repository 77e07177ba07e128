"""Values that no setting can mean, and YAML that holds no recipe: refused before anything runs, each with its line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from prefdata import catalogue
from prefdata.cli import main
from prefdata.errors import RecipeError
from prefdata.recipe import SECTIONS, Balance, Limits, Ratings, Split, field_notes, imported, load, parse
from prefdata.recipe_schema import json_schema

BASE = """\
name: demo
sources:
  - name: chats
    path: chats.csv
    layout:
      events: {columns: {session: ticket, role: who, text: body}}
"""


def faults(text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse(text, root=Path())
    return caught.value.faults


WRONG = """\
name: demo
sources:
  - name: chats
    path: chats.csv
    layout:
      events:
        columns: {sesion: ticket, text: body}
        roles: {custmer: [user], agent: [x], bot: [X]}
        time_format: day
        timezone: Mars
        rating_words: {good: 5, Good: 4}
        delimiter: "::"
        quote: ""
        header: [a, a, _line]
        encoding: rot13
    ratings: {scale: [5, 5]}
sessions: {gap_minutes: -5, double_delivery_seconds: -1}
signals:
  rating_scale: [1, 5]
  satisfied: 9
  comeback_days: -1
  min_restated: 0
  phrases: {thank: [merci], thanks: ["("]}
credit: {factor: 3}
labels:
  min_confidence: 0.2
  min_rated: 0
  rude_from: 2
  folds: 1
  seed: -1
transforms:
  - control_tokens: {families: [gema]}
groupings:
  - near_duplicates: {min_similarity: 0.1, shingle_words: 0, bands: 40}
split: {evaluation: 1}
limits: {max_quarantined: -3, max_unreadable_files: -1, max_line_bytes: 0, max_bytes: 0, max_ratio: -1}
"""

EXPECTED = [
    ("line 17: sessions.gap_minutes:", "-5.0, expected a number from 0"),
    ("line 17: sessions.double_delivery_seconds:", "-1.0, expected a number from 0"),
    ("line 20: signals.satisfied:", "9, expected a rating on the scale 1 (worst) to 5 (best)"),
    ("line 21: signals.comeback_days:", "-1.0, expected"),
    ("line 22: signals.min_restated:", "0.0, expected above 0"),
    ("line 23: signals.phrases:", "no list named 'thank'"),
    ("line 23: signals.phrases.thanks:", "'(' is no pattern"),
    ("line 24: credit.factor:", "3.0, expected above 0 and at most 1"),
    ("line 26: labels.min_confidence:", "0.2, expected a number in [0.5, 1]"),
    ("line 27: labels.min_rated:", "0, expected at least 1"),
    ("line 28: labels.rude_from:", "2.0, expected a number in [0, 1]"),
    ("line 29: labels.folds:", "1, expected at least 2"),
    ("line 30: labels.seed:", "-1, expected 0 to"),
    ("line 32: transforms[0].control_tokens.families:", "'gema'; did you mean 'gemma'?"),
    ("line 34: groupings[0].near_duplicates.min_similarity:", "0.1, expected 0.5 to 1"),
    ("line 34: groupings[0].near_duplicates.shingle_words:", "0, expected 1 to 1000"),
    ("line 34: groupings[0].near_duplicates.permutations:", "40 bands of 6 rows need 240"),
    ("line 35: split.evaluation:", "1.0, expected a fraction in [0, 1)"),
    ("line 36: limits.max_quarantined:", "-3.0, expected a fraction in [0, 1]"),
    ("line 36: limits.max_unreadable_files:", "-1, expected a whole number from 0"),
    ("line 36: limits.max_line_bytes:", "0, expected a whole number from 1"),
    ("line 36: limits.max_bytes:", "0, expected a whole number from 1"),
    ("line 36: limits.max_ratio:", "-1.0, expected a number of at least 1"),
    ("line 7: sources[0].layout.events.columns.sesion:", "did you mean 'session'?"),
    ("line 8: sources[0].layout.events.roles.custmer:", "did you mean 'customer'?"),
    ("line 8: sources[0].layout.events.roles.bot:", "'X' stands under agent and bot"),
    ("line 10: sources[0].layout.events.timezone:", "'Mars' is unknown"),
    ("line 9: sources[0].layout.events.time_format:", "'day' is no format"),
    ("line 11: sources[0].layout.events.rating_words:", "'good' stands there more than once"),
    ("line 12: sources[0].layout.events.delimiter:", "'::', expected one character"),
    ("line 13: sources[0].layout.events.quote:", "'', expected one character"),
    ("line 14: sources[0].layout.events.header:", "'a' stands there more than once"),
    ("line 14: sources[0].layout.events.header:", "'_line' is a name of ours"),
    ("line 15: sources[0].layout.events.encoding:", "'rot13': expected auto"),
    ("line 16: sources[0].ratings.scale:", "5 (worst) and 5 (best), expected two different ratings"),
]


def test_every_wrong_value_is_told_at_once_with_its_line() -> None:
    found = faults(WRONG)
    for start, message in EXPECTED:
        assert [fault for fault in found if fault.startswith(start) and message in fault], (start, message)
    assert len(found) == len(EXPECTED)


def test_a_dry_run_ends_with_exit_code_2_and_every_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text(WRONG, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["prefdata", "build", str(tmp_path / "recipe.yaml"), "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"{len(EXPECTED)} faults" in told
    assert "line 26: labels.min_confidence: 0.2, expected a number in [0.5, 1]" in told


def test_a_wrong_type_hides_no_wrong_value_beside_it() -> None:
    found = faults(BASE + "labels:\n  folds: many\n  min_confidence: 0.2\n  sede: 1\n")
    assert [fault.split(":")[0] + fault.split(":")[1] for fault in found] == [
        "line 10 labels.sede",
        "line 8 labels.folds",
        "line 9 labels.min_confidence",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ratings: {scale: [1, 5], satisfied: 2, dissatisfied: 3}", "expected dissatisfied on the worse side"),
        (
            "ratings: {scale: [1, 5], satisfied: 1}",
            "satisfied 1 and dissatisfied 2, expected dissatisfied on the worse",
        ),
        ("ratings: {scale: [5, 1], satisfied: 2, dissatisfied: 4}", None),
        ("ratings: {scale: [1, 10], satisfied: 8}", None),
        ("ratings: {scale: [1, 10], satisfied: 11}", "11, expected a rating on the scale 1 (worst) to 10 (best)"),
        ("ratings: {scale: [1]}", "line 7: sources[0].ratings.scale"),
    ],
)
def test_bounds_of_ratings_stand_on_their_scale(text: str, fault: str | None) -> None:
    if fault is None:
        parse(BASE + f"    {text}\n", root=Path())
    else:
        assert any(fault in found for found in faults(BASE + f"    {text}\n"))


def test_bounds_of_signals_have_to_fit_the_scale_of_every_source() -> None:
    text = BASE + "    ratings: {scale: [1, 3]}\nsignals: {satisfied: 4}\n"
    (found,) = faults(text)
    assert found.startswith("line 7: sources[0].ratings: with what `signals` says of ratings: satisfied: 4, expected")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: a\nseed: \x07\n", "line 2: the character U+0007 cannot stand in a recipe"),
        ("name: a\nseed: " + "9" * 5000, "line 2: seed: a value of 5000 characters cannot be read as int"),
        ("seed: " + "9" * 4000, "line 1: seed: expected a whole number of at most 9007199254740991"),
        ("shard_rows: 9999999999", "line 1: shard_rows: expected a whole number of at most 2147483647"),
        ("labels:\n  folds: 9999999999999999999", "line 2: labels.folds: expected a whole number of at most 9007"),
        ("name: a\nseed: !!int abc", "line 2: seed: 'abc' cannot be read as int"),
        ("name: a\nseed: !!int ''", "line 2: seed: '' cannot be read as int"),
        ("name: a\nseed: !!bool abc", "line 2: seed: 'abc' cannot be read as bool"),
        ("name: a\nseed: !!float abc", "line 2: seed: 'abc' cannot be read as float"),
        ("!!int abc", "line 1: 'abc' cannot be read as int"),
        ("name: a\nsources: " + "[" * 3000, "line 2: more than 50 lists and mappings inside each other"),
        ("name: a\nsources: " + "{a: " * 3000, "line 2: more than 50 lists and mappings inside each other"),
        ("- " * 3000 + "a", "line 1: more than 50 lists and mappings inside each other"),
        ('name: "\\UFFFFFFFF"', "line 1: an escape that names no character"),
        ('name: "a\\ud800"', "line 1: name: holds a NUL or half a surrogate pair"),
        ('sources: [{path: "a\\0b"}]', "line 1: sources[0].path: holds a NUL"),
        ('"a\\0": 1', "line 1: a key holds a NUL"),
    ],
)
def test_yaml_that_holds_no_recipe_is_a_fault_of_the_recipe(text: str, fault: str) -> None:
    assert any(found.startswith(fault) for found in faults(text))


def test_faults_of_the_yaml_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"a: &x 1\nb: *x\n")
    with pytest.raises(RecipeError, match=r"r\.yaml: line 2: aliases are not allowed"):
        load(tmp_path / "r.yaml")


def settings_types() -> list[Any]:

    named = [catalogue.load(kind, name) for kind, names in catalogue.KINDS.items() for name in names]
    return [*map(imported, SECTIONS.values()), Balance, Limits, Ratings, Split, *named]


VALUES = (-1, 0, 10**30, -0.5, 1e308, float("nan"), "", "(", "ab", "\n", [], [""], ["x", "x"], {"": ""}, {"x": ["y"]})


@pytest.mark.parametrize("settings_type", settings_types(), ids=lambda settings_type: settings_type.__name__)
def test_settings_are_refused_with_a_recipe_error_or_build(settings_type: Any) -> None:
    from prefdata.recipe import _Reader

    for entry in dataclasses.fields(settings_type):
        for value in VALUES:
            reader = _Reader({})
            made = reader.settings(settings_type, {entry.name: value}, ("it",))
            assert (made is None) == bool(reader.faults), (entry.name, value)
            assert all(fault.startswith("it") for fault in reader.faults)
            if made is None or not hasattr(made, "build"):
                continue
            if made_from_files(made, entry):
                with pytest.raises(RecipeError):
                    made.build()
            else:
                made.build()


def made_from_files(settings: Any, entry: dataclasses.Field[Any]) -> bool:
    """Whether the setting names a file or something else, which is known when it is looked for: none of VALUES is."""
    return bool(entry.metadata.get("or_name"))


def test_the_schema_describes_every_setting_also_the_inherited_ones() -> None:
    sources = json_schema()["properties"]["sources"]["items"]["properties"]
    for choice in sources["layout"]["anyOf"][1:]:
        ((name, schema),) = choice["properties"].items()
        settings_type = catalogue.load("layout", name)
        properties = schema["anyOf"][0]["properties"]
        assert list(properties) == [entry.name for entry in dataclasses.fields(settings_type)]
        assert {key: value["description"] for key, value in properties.items()} == field_notes(settings_type)
