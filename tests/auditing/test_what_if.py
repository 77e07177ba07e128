"""What filters would do: counts written out for rows with known scores, and the same rows kept as by a real run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import prefdata
from filters.quality import ChatQuality
from filters.toxicity import Toxicity
from prefdata.auditing.dataset import Audited, read
from prefdata.auditing.what_if import of_catalogue, what_if
from prefdata.auditing.what_if.effects import Effect, WhatIf
from prefdata.auditing.what_if.settings import Asked
from prefdata.errors import MissingExtraError, RecipeError
from prefdata.judging import decide, judge
from prefdata.opening import open_dataset
from prefdata.schema import RecordType
from prefdata.trying import trial

RUDE, RUDE_TOO = "You are a stupid idiot and I hate you.", "fuck you"
"""Toxicity 1.0 both."""

FOOL = "You fool, that is nonsense."
"""Toxicity 0.9821."""

ROWS: list[tuple[str, str, bool]] = [
    ("Where is my parcel?", "It left us today and will reach you tomorrow.", True),
    ("May I pay by card?", "Yes, by card or in cash, as you like it best.", True),
    ("When do you open?", "!!!! ???", True),
    ("Who are you?", RUDE, True),
    ("Who is there?", RUDE_TOO, False),
    ("Is that so?", FOOL, True),
    ("Where is my parcel?", "It left us today and will reach you tomorrow.", True),
    ("Can you help me with this?", "No", False),
]


def labelled(prompt: str, completion: str, label: bool, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": prompt}], [{"role": "assistant", "content": completion}]
    return {"prompt": turns[0], "completion": turns[1], "label": label, **more}


def written(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def opened(path: Path) -> Audited:
    return read(lambda: open_dataset(path, source="trl"), [])


def tried(folder: Path, rows: list[dict[str, Any]], *asked: Asked, **options: Any) -> WhatIf:
    data = opened(written(folder, rows))
    return what_if(data, list(asked) or of_catalogue(data.type), **options)


def asked(kind: Any, name: str, one: Any) -> Asked:
    return Asked(kind, name, one, one)


def by_name(found: WhatIf) -> dict[str, Effect]:
    return {one.name: one for one in found.effects}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> WhatIf:
    return tried(tmp_path_factory.mktemp("rows"), [labelled(*row) for row in ROWS])


def test_every_filter_tells_what_it_keeps_and_what_it_alone_drops(found: WhatIf) -> None:
    told = {one.name: (one.kept, one.alone, one.unjudged) for one in found.effects}
    # toxicity leaves RUDE_TOO, which is undesirable anyway, and has no score for a reply without a letter
    assert told == {
        "chat_quality": (7, 1, 0),
        "language": (8, 0, 0),
        "toxicity": (6, 2, 1),
        "exact_duplicates": (7, 0, 0),
        "near_duplicates": (7, 0, 0),
    }
    assert (found.rows, found.kept, found.abstained) == (8, 4, 0)
    assert [one.name for one in found.tried] == list(told)


def test_the_overlap_counts_rows_that_two_drop(found: WhatIf) -> None:
    assert found.overlap == ((1, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 2, 0, 0), (0, 0, 0, 1, 1), (0, 0, 0, 1, 1))
    assert found.jaccard(3, 4) == 1.0
    assert found.jaccard(0, 2) == 0.0
    assert found.jaccard(1, 1) == 0.0


def test_reasons_are_counted_with_what_they_alone_drop(found: WhatIf) -> None:
    quality = {one.name: (one.dropped, one.alone) for one in by_name(found)["chat_quality"].reasons if one.dropped}
    assert quality == {"reply_too_short": (1, 0), "reply_has_too_few_letters": (1, 0)}


def test_classes_lengths_and_languages_tell_who_loses(found: WhatIf) -> None:
    toxicity = by_name(found)["toxicity"]
    told = {(one.by, one.value): (one.rows, one.kept) for one in toxicity.slices}
    assert told["class", "desirable"] == (6, 4)
    assert told["class", "undesirable"] == (2, 2)
    assert sum(rows for (by, _), (rows, _) in told.items() if by == "length") == 8
    assert sum(kept for (by, _), (_, kept) in told.items() if by == "language") == 6
    assert not any(one.unfair for one in toxicity.slices)


def test_a_curve_says_what_other_thresholds_keep(found: WhatIf) -> None:
    (curve,) = by_name(found)["toxicity"].curves
    assert (curve.reason, curve.bound, curve.threshold, curve.setting) == ("reply_toxic", "max", 0.8, "max_toxicity")
    assert curve.judged == 5
    points = {one.threshold: one.kept for one in curve.points}
    assert points[0.8] == 6
    assert points[0.95] == 6
    assert points[1.0] == 8
    assert [(one.threshold, one.kept) for one in curve.steps()][-1] == (1.0, 8)
    words = next(one for one in by_name(found)["chat_quality"].curves if one.reason == "reply_too_short")
    assert {one.threshold: one.kept for one in words.points}[2.0] == 6


def test_borderline_rows_stand_on_both_sides_with_place_score_and_text(found: WhatIf) -> None:
    (curve,) = by_name(found)["toxicity"].curves
    told = [(one.place, one.score, one.kept) for one in curve.borderline]
    assert told[-2:] == [("rows.jsonl:6", 0.9821, False), ("rows.jsonl:4", 1.0, False)]
    assert curve.borderline[-2].texts == {"prompt": "Is that so?", "completion": FOOL}
    assert curve.borderline[-2].chars == {"prompt": 11, "completion": 27}
    # the seventh row says what the first one says: it is shown once
    assert {place for place, _, kept in told if kept} == {"rows.jsonl:1", "rows.jsonl:2"}


def test_thresholds_are_proposed_from_the_data_as_a_recipe_that_can_be_pasted(tmp_path: Path) -> None:
    rows = [labelled(f"Question {n}?", " ".join(["word"] * n), True) for n in range(1, 41)]
    (effect,) = tried(tmp_path, rows, asked("filter", "chat_quality", ChatQuality(max_tokens=500))).effects
    words = next(one for one in effect.curves if one.reason == "reply_too_short")
    assert [(one.percent, one.threshold, one.dropped) for one in words.proposals] == [(5.0, 3.0, 2), (10.0, 5.0, 4)]
    assert words.proposals[0].recipe == "filters:\n  - chat_quality: {min_words: 3, max_tokens: 500}"
    tokens = next(one for one in effect.curves if one.reason == "reply_too_long")
    assert [(one.percent, one.threshold, one.dropped) for one in tokens.proposals] == [(5.0, 48.0, 2), (10.0, 45.0, 4)]


def test_a_proposed_piece_of_a_recipe_is_one(tmp_path: Path) -> None:
    rows = [
        labelled(f"Question {'so ' * n}?", f"Answer {n} " + "and so on " * n + "!" * (n % 7), True) for n in range(40)
    ]
    found = tried(tmp_path, rows)
    pieces = [one.recipe for effect in found.effects for curve in effect.curves for one in curve.proposals]
    pieces += [recipe for effect in found.effects for one in effect.values for recipe in one.recipes.values()]
    assert len(pieces) > 5
    for piece in filter(None, pieces):
        recipe = prefdata.recipe.parse(f"sources:\n  - {{name: a, path: a.jsonl, format: trl}}\n{piece}", root=tmp_path)
        assert len(recipe.filters) == 1


def test_languages_are_counted_and_the_shortest_list_that_covers_them_is_proposed(tmp_path: Path) -> None:
    english, chinese = "The order has been shipped to you today.", "订单已经发货了，请您耐心等待。"
    rows = [labelled(f"Question {n}?", f"{english} Number {n}.", True) for n in range(19)]
    rows += [labelled("问题？", chinese, False), labelled("Hm?", "ok", True)]
    effect = by_name(tried(tmp_path, rows))["language"]
    assert effect.reasons == ()
    (values,) = effect.values
    assert [(one.value, one.rows, one.passes) for one in values.values] == [("en", 19, True), ("zh", 1, True)]
    assert values.recipes == {
        "90": 'filters:\n  - language: {allowed: ["en"]}',
        "99": 'filters:\n  - language: {allowed: ["en", "zh"]}',
    }
    only = prefdata.recipe.settings_of("filter", "language", {"allowed": ["en"]})
    (named,) = tried(tmp_path, rows, asked("filter", "language", only)).effects
    assert (named.kept, named.unjudged, named.reasons[0].name) == (20, 1, "language_not_allowed")
    assert [one.passes for one in named.values[0].values] == [True, False]
    (strict,) = tried(tmp_path, rows, asked("filter", "language", only), unjudged="drop").effects
    assert (strict.kept, [one.name for one in strict.reasons]) == (19, ["language_not_allowed", "unjudged_by_language"])


def test_pairs_are_told_by_the_side_that_is_judged(tmp_path: Path) -> None:
    def pair(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
        sides = {"chosen": chosen, "rejected": rejected}
        answers = {side: [{"role": "assistant", "content": text}] for side, text in sides.items()}
        return {"prompt": [{"role": "user", "content": prompt}], **answers}

    rows = [pair("Hello there?", "Good day to you.", RUDE), pair("Who is it?", RUDE, "A friend of yours.")]
    rows.append(pair("What is it?", "!!", "A parcel for you."))
    both = ChatQuality(sides=("chosen", "rejected"))
    found = tried(tmp_path, rows, asked("filter", "toxicity", Toxicity()), asked("filter", "chat_quality", both))
    toxicity, quality = found.effects
    assert (toxicity.kept, toxicity.sides, toxicity.reasons[0].dropped) == (2, ("chosen",), 1)
    assert [(one.value, one.kept) for one in quality.slices if one.by == "side"] == [("chosen", 2), ("rejected", 3)]
    assert quality.kept == 2
    assert next(one for one in quality.curves if one.reason == "reply_too_short").sides == ("chosen", "rejected")


def test_a_grouping_tells_its_clusters_and_other_similarities(tmp_path: Path) -> None:
    base = "please send the blue kettle with the long handle back to our store in the old town before friday noon"
    near = base + " please"
    far = base.replace("blue kettle", "red pan").replace("before friday", "after monday morning").replace("old", "new")
    rows = [labelled("What do I do?", text, True) for text in (base, base, near, far)]
    rows.append(labelled("Something else?", "An answer of its own, which nobody else gives.", True))
    found = by_name(tried(tmp_path, rows))
    exact, close = found["exact_duplicates"], found["near_duplicates"]
    assert exact.clusters is not None
    assert close.clusters is not None
    assert (exact.kept, exact.clusters.clusters, exact.clusters.rows, exact.clusters.points) == (4, 1, 2, ())
    assert (close.kept, close.clusters.clusters, close.clusters.rows, close.clusters.largest) == (3, 1, 3, 3)
    kept = {one.threshold: (one.kept, one.clusters) for one in close.clusters.points}
    assert kept[0.8] == (3, 1)
    assert kept[1.0] == (4, 1)
    assert min(kept) == 0.5
    assert {one.threshold: one.found for one in close.clusters.points}[0.8] == pytest.approx(0.9978, abs=1e-3)
    assert next((one.place, one.beside, one.kept) for one in close.borderline) == (
        "rows.jsonl:3",
        "rows.jsonl:1",
        False,
    )
    assert close.borderline[0].beside_texts["completion"] == base
    assert all(one.score < 1 for one in close.borderline)


def test_both_labels_in_a_cluster_drop_it_whole(tmp_path: Path) -> None:
    rows = [labelled("Where?", "In the old town.", True), labelled("Where?", "In the old town.", False)]
    exact = by_name(tried(tmp_path, rows))["exact_duplicates"]
    assert exact.clusters is not None
    assert (exact.kept, exact.clusters.conflicting) == (0, 2)


def test_what_cannot_run_is_told_and_the_rest_runs(tmp_path: Path) -> None:
    class Missing:
        name, version, reads, better = "missing", 1, frozenset({"text"}), "higher"

        def parameters(self) -> dict[str, Any]:
            return {}

        def score(self, items: pl.DataFrame) -> pl.DataFrame:
            raise MissingExtraError("toxicity with detoxify", "detoxify")

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Broken:
        def build(self) -> Any:
            return dataclasses.replace(Toxicity().build(), name="broken", scorer=Missing())

    rows = [labelled(*row) for row in ROWS]
    found = tried(tmp_path, rows, asked("filter", "broken", Broken()), asked("filter", "toxicity", Toxicity()))
    broken, toxicity = found.effects
    assert "prefdata[detoxify]" in broken.message
    assert (toxicity.kept, found.kept, found.tried) == (6, 6, (toxicity,))


def test_prompts_are_tried_with_what_speaks_for_them(tmp_path: Path) -> None:
    rows = [{"prompt": [{"role": "user", "content": f"Where is parcel number {n % 3}?"}]} for n in range(6)]
    found = tried(tmp_path, rows)
    assert [one.name for one in found.effects] == ["language", "exact_duplicates", "near_duplicates"]
    assert (found.kept, by_name(found)["exact_duplicates"].kept) == (3, 3)


def test_rows_beyond_the_sample_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [labelled(*row) for row in ROWS] * 5
    whole = tried(tmp_path, rows)
    monkeypatch.setattr("prefdata.auditing.dataset.SAMPLE_ROWS", 10)
    data = opened(tmp_path / "rows.jsonl")
    assert data.sample.height < data.total
    assert what_if(data, of_catalogue(data.type)) == whole


def test_an_empty_dataset_is_no_error(tmp_path: Path) -> None:
    data = dataclasses.replace(opened(written(tmp_path, [labelled(*ROWS[0])])), rows=pl.DataFrame())
    assert what_if(data, of_catalogue(RecordType.UNPAIRED)).effects == ()


def test_a_run_of_the_recipe_keeps_the_same_rows(tmp_path: Path) -> None:
    rows = [labelled(prompt, completion, label) for prompt, completion, label in ROWS]
    rows += [
        labelled(f"Where is parcel {n}?", f"Parcel {n} is on its way" + " now" * (n % 9), n % 3 > 0) for n in range(60)
    ]
    written(tmp_path, rows)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: tight\nsources:\n  - {name: rows, path: rows.jsonl, format: trl}\n"
        "filters:\n  - chat_quality: {min_words: 6, max_tokens: 12}\n  - toxicity: {max_toxicity: 0.4}\n"
        "groupings: [exact_duplicates, {near_duplicates: {min_similarity: 0.6}}]\n",
        encoding="utf-8",
    )
    found = trial(recipe)(opened(tmp_path / "rows.jsonl"), None)
    prefdata.run(recipe, out=tmp_path / "run", train=False)
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    decided = next(step["rows"] for step in reversed(report["funnel"]))
    assert (found.recipe, found.rows, found.kept) == ("tight", 68, decided)
    assert 0 < decided < 60
    dropped = prefdata.runner.dropped_rows(tmp_path / "run").explode("reasons")["reasons"].to_list()
    for effect in found.effects:
        if effect.kind == "filter":
            assert {one.name: one.dropped for one in effect.reasons if one.dropped} == {
                one.name: dropped.count(one.name) for one in effect.reasons if one.name in dropped
            }


def test_a_recipe_with_faults_is_told_before_anything_is_read(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("filters: [no_such_filter]\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="no_such_filter"):
        prefdata.audit(tmp_path / "absent.jsonl", what_if=recipe)


TEXTS = [
    "",
    "ok",
    "No",
    "Yes, of course.",
    RUDE,
    RUDE_TOO,
    FOOL,
    "!!!! ???",
    "word " * 60,
    "你好，请稍等。",
    "thanks a lot :-)",
]


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    rows=st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from(TEXTS), st.booleans()), min_size=2, max_size=12),
    least=st.integers(0, 12),
    most=st.sampled_from([0.0, 0.3, 0.5, 0.9821, 1.0]),
)
def test_every_point_of_a_curve_is_what_a_run_would_decide(
    rows: list[tuple[str, str, bool]], least: int, most: float
) -> None:
    frame = pl.DataFrame(
        {
            "row": pl.Series(range(len(rows)), dtype=pl.UInt32),
            "prompt": [[{"role": "user", "content": prompt, "tool_calls": None}] for prompt, _, _ in rows],
            "completion": [[{"role": "assistant", "content": text, "tool_calls": None}] for _, text, _ in rows],
            "label": [label for _, _, label in rows],
        },
    )
    data = _audited(frame)
    one, other = ChatQuality(min_words=least), Toxicity(max_toxicity=most)
    wanted = [asked("filter", "chat_quality", one), asked("filter", "toxicity", other)]
    found = what_if(data, wanted)
    scores = frame.select(id=pl.col("row").cast(pl.String).str.zfill(10), label="label").with_columns(
        label_confidence=pl.lit(None, pl.Float32)
    )
    for each in wanted:
        scores = scores.hstack(judge(frame, each.built.build(), "completion"))

    def kept(*settings_of_filters: Any) -> int:
        decision = decide(scores, [each.build() for each in settings_of_filters], [])
        return int(decision.rows["kept"].sum())

    assert found.kept == kept(one, other)
    for effect, own, rest in zip(found.effects, (one, other), ((other,), (one,)), strict=True):
        assert effect.kept == kept(own)
        for curve in effect.curves:
            if curve.setting is None:
                continue
            kind = type(getattr(own, curve.setting))
            for point in curve.points[:: max(1, len(curve.points) // 4)]:
                if kind(point.threshold) != point.threshold:
                    continue
                moved = dataclasses.replace(own, **{curve.setting: kind(point.threshold)})
                assert (point.kept, point.of_all) == (kept(moved), kept(moved, *rest))
            for proposal in curve.proposals:
                alone = decide(
                    scores, [dataclasses.replace(own, **{curve.setting: kind(proposal.threshold)}).build()], []
                )
                reasons = alone.rows["reasons"].explode().to_list()
                assert reasons.count(curve.reason) == proposal.dropped


def _audited(frame: pl.DataFrame) -> Audited:
    from prefdata.auditing import features

    rows = frame.with_columns(
        _file=pl.lit("rows.jsonl"),
        _line=pl.col("row").cast(pl.Int64) + 1,
        part=pl.lit(0, pl.UInt32),
        id=pl.col("row").cast(pl.String),
        images=pl.lit(
            None, pl.List(pl.Struct({"uri": pl.String, "side": pl.String, "message": pl.Int32, "part": pl.Int32}))
        ),
    )
    rows = features.features(features.texts(rows, RecordType.UNPAIRED), RecordType.UNPAIRED)
    return Audited(
        type=RecordType.UNPAIRED,
        rows=rows,
        sample=rows,
        collected={},
        refused={},
        read=rows.height,
        again=lambda _: iter(()),
    )
