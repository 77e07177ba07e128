"""What a recipe says of datasets and types: read, inferred, or an error that says what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefdata.errors import RecipeError
from prefdata.plan import listing, plan
from prefdata.recipe import Recipe, from_resolved, parse
from prefdata.schema import RecordType

LOG = "{name: log, path: log.csv, layout: events}"
PAIRS = "{name: pairs, path: pairs.jsonl, format: hh_rlhf}"
SFT = "{name: sft, path: sft.jsonl, format: trl, type: sft}"
AUTO = "{name: auto, path: auto.jsonl, format: auto}"


def made(*sources: str, more: str = "") -> Recipe:
    listed = "".join(f"  - {source}\n" for source in sources)
    return parse(f"sources:\n{listed}{more}", root=Path("."))


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ((LOG,), RecordType.UNPAIRED),
        ((LOG, PAIRS, AUTO), RecordType.UNPAIRED),
        ((PAIRS,), RecordType.PREFERENCE),
        ((SFT,), RecordType.SFT),
        ((AUTO, PAIRS), None),
    ],
)
def test_a_run_makes_what_its_sources_are_unless_it_says(sources: tuple[str, ...], expected: RecordType | None) -> None:
    assert made(*sources).type is expected


FAULTS = {
    "types that differ": (
        (PAIRS, SFT),
        "",
        "type: the sources are of different types (pairs: preference, sft: sft); write `type: sft` or `type: prompt`",
    ),
    "no builder": (
        (PAIRS, SFT),
        "type: preference",
        "sources[1]: sft rows cannot become preference; they can be: sft, prompt",
    ),
    "no builder from a log": (
        (LOG, SFT),
        "",
        "sources[1]: sft rows cannot become unpaired; they can be: sft, prompt",
    ),
    "unknown type": (
        (PAIRS,),
        "type: kto",
        "type: unknown type 'kto'; known: sft, preference, unpaired, prompt, pairs, prompts, prompt_completion, "
        "unpaired_preference, prompt_only",
    ),
    "training": (
        (SFT,),
        "train: {method: kto, model: m}",
        "train: kto trains on unpaired rows; sft rows cannot become unpaired; they can be: sft, prompt",
    ),
    "balance": ((PAIRS,), "balance: {max_ratio: 1.5}", "balance.max_ratio: preference rows have no labels to balance"),
    "export": ((PAIRS,), "export: [trl, oasst]", "export[1]: oasst does not hold preference rows; "),
    "side": (
        (PAIRS,),
        "type: prompt\nfilters: [toxicity]",
        "filters[0]: toxicity judges the side completion; prompt_only rows have prompt",
    ),
    "format and layout": (
        ("{name: a, path: a, format: trl, layout: events}",),
        "",
        "expected `layout` (a log) or `format` (a dataset: a name of the catalogue, or auto), not both",
    ),
    "neither": (("{name: a, path: a}",), "", "sources[0]: expected `layout` (a log) or `format`"),
    "ratings": (
        ("{name: a, path: a, format: trl, ratings: {scale: [1, 5]}}",),
        "",
        "sources[0].ratings: belongs to a source with `layout`",
    ),
    "type of a format": (
        ("{name: a, path: a, format: oasst, type: sft}",),
        "",
        "sources[0].type: the format does not hold sft rows; it holds preference",
    ),
    "labels": (
        ("{name: a, path: a, format: hh_rlhf, labels: {good: true}}",),
        "",
        "sources[0].labels: hh_rlhf has no labels that could mean something else",
    ),
    "weights": ((PAIRS,), "mix: {weights: {pears: 1}}", "mix.weights.pears: no such source; did you mean 'pairs'?"),
    "a weight of nothing": (
        (PAIRS,),
        "mix: {weights: {pairs: 0}}",
        "mix.weights.pairs: 0.0, expected a number above 0",
    ),
    "caps": ((PAIRS,), "mix: {per_prompt: 0}", "mix.per_prompt: 0, expected a whole number of at least 1"),
    "match": (
        (LOG,),
        "type: preference\nmatch: {min_similarity: 2}",
        "match.min_similarity: 2.0, expected a number in [0, 1]",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_recipe_says_what_to_write(name: str) -> None:
    sources, more, expected = FAULTS[name]
    with pytest.raises(RecipeError) as error:
        made(*sources, more=more)
    assert expected in "\n".join(error.value.faults)


def test_a_resolved_recipe_reads_as_the_recipe_it_came_from() -> None:
    source = (
        "{name: a, path: a.jsonl, format: {ultrafeedback: {pairs: best_worst}}, "
        "transforms: [unicode], licence: MIT, permits: [training]}"
    )
    recipe = made(source, LOG, more="type: preference\nmix: {weights: {a: 2, log: 1}, size: 100}\n")
    assert from_resolved(recipe.resolved(), root=Path(".")) == recipe
    assert made(AUTO).resolved()["sources"][0]["format"] == {"name": "auto", "settings": {}}
    again = made(AUTO, more="type: sft")
    assert from_resolved(again.resolved(), root=Path(".")) == again


def test_a_recipe_of_logs_is_told_as_before() -> None:
    resolved = made(LOG).resolved()
    assert not {"type", "match", "mix"} & set(resolved)
    assert list(resolved["sources"][0]) == ["name", "path", "layout", "ratings", "licence", "permits"]


def test_the_plan_names_what_is_built(tmp_path: Path) -> None:
    for name in ("pairs.jsonl", "log.csv"):
        (tmp_path / name).write_text("x")
    text = f"sources:\n  - {PAIRS}\n  - {LOG}\ntype: sft\nmix: {{per_prompt: 2}}\n"
    steps = plan(parse(text, root=tmp_path), train=False)
    assert steps[:2] == ["read pairs: pairs.jsonl as hh_rlhf", "read log: log.csv as events"]
    assert "build pairs: preference rows into sft rows" in steps
    assert "build log: unpaired rows into sft rows" in steps
    assert "mix: per_prompt 2" in steps


def test_the_listing_tells_what_formats_hold_and_what_the_sections_are() -> None:
    found = listing()
    assert found["format"]["oasst"]["reads"] == ["preference"]
    assert found["format"]["oasst"]["writes"] == []
    assert found["section"]["mix"]["settings"]["weights"]["default"] is None
