"""Runs of texts about pictures: what the section `image_text` makes of captions, and what ties their rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import polars as pl
import pytest

import prefdata
from prefdata import pictures
from prefdata.build.attribute_words import VERSION
from prefdata.build.image_text import QUESTIONS
from prefdata.build.image_text_settings import ImageTextSettings
from prefdata.build.picture_keys import CLUSTERS
from prefdata.errors import RecipeError
from prefdata.judging import RowFilter
from prefdata.picture_rows import PictureRows, Told, built, of
from prefdata.recipe import from_resolved, parse
from prefdata.schema import SCHEMAS, RecordType
from prefdata.splitting import links_of

pytest.importorskip("PIL")

SHAPES = Path(__file__).resolve().parents[1] / "recipes" / "data" / "shapes"
NUMBERS = ("two", "three", "four")
SECTION = "image_text: {negatives: [colour, number, position, object]}\n"


def recipe_text(section: str = SECTION, *, kind: str = "unpaired", filters: str = "[]") -> str:
    return (
        f"name: shown\ntype: {kind}\nseed: 3\n"
        f"sources: [{{name: captions, path: captions.jsonl, format: captions}}]\n"
        f"pictures: {{root: {SHAPES.as_posix()}, workers: 1}}\n{section}filters: {filters}\n"
        "groupings: [exact_duplicates, picture_duplicates]\nsplit: {evaluation: 0.3}\nexport: [trl]\n"
    )


class Shown(NamedTuple):
    report: dict[str, Any]
    rows: pl.DataFrame
    out: Path


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Captions of four pictures, of a copy of the first, and of a file that is not there."""
    folder = tmp_path_factory.mktemp("shown")
    truth = [json.loads(line) for line in (SHAPES / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    copy = next(one for one in truth if one["kind"] == "picture" and one["of"] == "resized")
    others = [one["image"] for one in truth if one["kind"] == "picture" and one["of"] == "distinct"][:3]
    said = [
        (copy["like"], "two red circles on the left"),
        (copy["image"], "two red circles on the left"),
        (copy["image"], "a pair of dots"),
        *((one, f"{number} blue stars at the top") for one, number in zip(others, NUMBERS, strict=True)),
        ("pictures/none.png", "nothing"),
    ]
    lines = [json.dumps({"image": image, "caption": text}) + "\n" for image, text in said]
    (folder / "captions.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "recipe.yaml").write_text(recipe_text(), encoding="utf-8")
    prefdata.run(folder / "recipe.yaml", out=folder / "run")
    shards = [pl.read_parquet(file) for file in sorted((folder / "run" / "records").glob("*.parquet"))]
    report = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    return Shown(report, pl.concat(shards), folder / "run")


def text(side: str) -> pl.Expr:
    return pl.col(side).list.first().struct.field("content")


def test_captions_are_desirable_and_what_is_made_of_them_is_not(shown: Shown) -> None:
    made = shown.rows.select("label", pl.col("label_sources").list.first(), text("completion")).sort("content")
    true = made.filter("label").select("label_sources", "content").rows()
    assert true == [
        ("caption", one)
        for one in (
            "a pair of dots",
            "four blue stars at the top",
            "three blue stars at the top",
            "two blue stars at the top",
            "two red circles on the left",
            "two red circles on the left",
        )
    ]
    wrong = made.filter(~pl.col("label"))
    assert wrong["label_sources"].unique().to_list() == ["hard_negative"]
    assert wrong.height == 5  # "a pair of dots" says nothing that is certain
    assert not set(wrong["content"]) & set(made.filter("label")["content"])


def test_the_account_tells_what_was_made_and_what_was_refused(shown: Shown) -> None:
    (account,) = shown.report["accounts"]
    assert account["refused_because"] == {"not_there": 1}
    card = account["image_text"]
    assert sum(card["negatives"]["made"].values()) == 5
    assert card["negatives"]["lists"] == VERSION
    assert (card["texts"], card["left"]) == (6, {})
    assert card["labels"] == {"desirable": {"caption": 6}, "undesirable": {"hard_negative": 5}}
    assert {kind: sum(told.values()) for kind, told in card["negatives"]["unmade"].items()} == {
        kind: 6 - card["negatives"]["made"].get(kind, 0) for kind in ("colour", "number", "object", "position")
    }
    page = (shown.out / "report.html").read_text(encoding="utf-8")
    assert '<h2 id="image_text">Texts about pictures</h2>' in page
    assert account["unmade_because"] == {"kind_not_drawn": 15, "no_certain_word": 4}
    facts = json.loads((shown.out / "run.json").read_text(encoding="utf-8"))
    assert facts["recipe"]["image_text"]["negatives"] == ["colour", "number", "position", "object"]
    assert facts["accounts"][0]["image_text"] == card


def test_a_picture_and_its_copy_answer_one_question_on_one_side_of_the_split(shown: Shown) -> None:
    splits = pl.read_parquet(shown.out / "splits.parquet").select("id", unit="group")
    rows = shown.rows.join(splits, on="id").with_columns(text("prompt").str.strip_prefix("￼").alias("question"))
    assert set(rows["question"]) <= set(QUESTIONS)
    dots = rows.filter(text("completion").str.contains("dots|circles on the"))
    assert dots["images"].list.first().struct.field("uri").n_unique() == 2
    assert dots["unit"].n_unique() == dots["question"].n_unique() == 1
    assert splits["unit"].n_unique() == 4
    reasons = {one["reason"]: one["rows"] for one in shown.report["reasons"]}
    assert reasons.get("picture_duplicates") == 1


def test_what_an_unlabelled_row_says_of_a_picture_is_no_wrong_answer_about_it() -> None:
    image = [{"uri": "p1", "side": "prompt", "message": 0, "part": 0}]
    said = {"A red cup": 0.9, **{f"A {colour} cup": 0.5 for colour in ("green", "blue", "yellow", "purple", "black")}}
    said |= {f"A {colour} cup": 0.1 for colour in ("white", "grey")}
    rows = pl.DataFrame(
        [
            {
                "id": text, "source": "s", "images": image,
                "prompt": [{"role": "user", "content": "￼What?", "tool_calls": None}],
                "completion": [{"role": "assistant", "content": text, "tool_calls": None}],
            }
            for text in said
        ],
        schema=SCHEMAS[RecordType.SFT],
    )  # fmt: skip

    def relevance(asked: pl.DataFrame) -> pl.Series:
        return asked.select(text("completion").replace_strict(said, default=0.0, return_dtype=pl.Float64)).to_series()

    settings = ImageTextSettings(relevance="clip", relevant_min=0.8, irrelevant_max=0.2, negatives=("colour",))
    given = PictureRows(settings, relevance, "clip", CLUSTERS.to_frame(), 0)
    made, _ = built(rows, RecordType.SFT, RecordType.UNPAIRED, given)
    wrong = made.rows.filter(pl.col("label_sources").list.contains("hard_negative"))
    assert wrong.height == 0
    assert made.counts()["swap_is_true"] == 1


class Copied(NamedTuple):
    """What two sources say of one picture."""

    negatives: list[str]
    unmade: dict[str, int]
    rows: pl.DataFrame


def two_sources(folder: Path, *, turned: bool = False, store: str = "encode", shard: int = 50_000) -> Copied:
    """Captions of two pictures; feedback on answers about the same pixels under other names in a folder beside."""
    truth = [json.loads(line) for line in (SHAPES / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    images = [one["image"] for one in truth if one["kind"] == "picture" and one["of"] == "distinct"][:2]
    for name, files in (("one", ("a.png", "b.png")), ("two", ("c.png", "a.png"))):
        (folder / name).mkdir(parents=True)
        for image, file in zip(images, files, strict=True):
            shutil.copy(SHAPES / image, folder / name / file)
    said = [{"image": "a.png", "caption": "a red cup"}, {"image": "b.png", "caption": "a blue cup"}]
    heard = [
        {"image": "c.png", "question": "What colour?", "answer": "It is blue.", "label": None},
        {"image": "a.png", "question": "What is it?", "answer": "It is a cup.", "label": True},
    ]
    for name, rows in (("one", said), ("two", heard)):
        (folder / name / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sources = [f"{{name: {name}, path: {name}/rows.jsonl, format: captions}}" for name in ("one", "two")]
    (folder / "recipe.yaml").write_text(
        f"name: two\ntype: unpaired\nseed: 3\nsources: [{', '.join(sources[::-1] if turned else sources)}]\n"
        f"pictures: {{workers: 1, store: {store}}}\nimage_text: {{negatives: [colour]}}\nshard_rows: {shard}\n"
        "filters: []\ngroupings: []\nexport: []\n",
        encoding="utf-8",
    )
    prefdata.run(folder / "recipe.yaml", out=folder / "run")
    rows = pl.concat([pl.read_parquet(file) for file in sorted((folder / "run" / "records").glob("*.parquet"))])
    report = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    made = rows.filter(pl.col("label_sources").list.contains("hard_negative")).select(text("completion")).to_series()
    unmade = next(one["unmade_because"] for one in report["accounts"] if one["source"] == "one")
    return Copied(sorted(made), unmade, rows.sort("id"))


def test_what_another_source_says_of_a_picture_is_no_wrong_answer_about_it_whatever_their_order(tmp_path: Path) -> None:
    # captions state red and blue, so that each could be made of the other; but the first picture is called blue, too
    found = two_sources(tmp_path / "first")
    assert found.negatives == ["a red cup"]
    assert found.unmade == {"swap_is_true": 1}
    assert two_sources(tmp_path / "second", turned=True, shard=2).rows.equals(found.rows)


def test_pictures_that_are_not_stored_are_known_by_their_pixels_in_every_source(tmp_path: Path) -> None:
    # the second one's a.png is not the first one's
    found = two_sources(tmp_path, store="none")
    assert (found.negatives, found.unmade) == (["a red cup"], {"swap_is_true": 1})


def test_copies_of_a_picture_are_tied_though_no_grouping_is_named(shown: Shown) -> None:
    state: Any = SimpleNamespace(
        recipe=parse(recipe_text().replace("[exact_duplicates, picture_duplicates]", "[]"), root=shown.out),
        type=RecordType.UNPAIRED,
        groupings=[],
        shards=lambda: sorted((shown.out / "records").glob("*.parquet")),
        pictures=lambda: pictures.read(shown.out),
    )
    nothing: Any = None
    rows, connect = links_of(state, nothing)
    assert "picture" in connect
    circles = shown.rows.filter(text("completion") == "two red circles on the left").join(rows, on="id")
    assert circles["images"].list.first().struct.field("uri").n_unique() == 2
    assert circles["picture"].n_unique() == 1
    assert rows["picture"].n_unique() == 4


@pytest.mark.parametrize(
    ("section", "kind", "fault"),
    [
        ("", "unpaired", "sft rows cannot become unpaired"),
        ("image_text: {}\n", "preference", "sft rows cannot become preference"),
        ("image_text: {relevance: clip}\n", "sft", "'clip' is no filter of this recipe; it has none"),
        ("image_text: {negatives: [size]}\n", "unpaired", "image_text.negatives[0]"),
        ("image_text: {negatives_each: 0}\n", "sft", "image_text.negatives_each: 0, expected at least 1"),
    ],
)
def test_a_section_that_cannot_be_is_told(section: str, kind: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(recipe_text(section, kind=kind).replace("captions}", "captions, type: sft}"), root=tmp_path)
    assert fault in str(caught.value)


@pytest.mark.parametrize("name", ["clip: {model: ViT-B-32}", "nsfw: {model: ViT-B-32}", "picture_text: {}"])
def test_a_filter_that_opens_pictures_of_which_none_is_stored_is_told(name: str, tmp_path: Path) -> None:
    text = recipe_text(filters=f"[{{{name}}}]").replace("workers: 1", "workers: 1, store: none")
    with pytest.raises(RecipeError) as caught:
        parse(text, root=tmp_path)
    fault = f"{name.split(':')[0]} opens pictures, and `pictures: {{store: none}}` keeps none; take encode"
    assert fault in str(caught.value)
    assert parse(text.replace(name, "image_quality: {}"), root=tmp_path).pictures is not None


def test_a_recipe_with_the_section_is_read_again_from_its_account(tmp_path: Path) -> None:
    recipe = parse(recipe_text(), root=tmp_path)
    assert from_resolved(recipe.resolved(), root=tmp_path) == recipe
    assert "image_text" not in parse(recipe_text("", kind="sft"), root=tmp_path).resolved()


def test_percentiles_are_of_each_source_s_texts_or_of_all_as_the_recipe_says(tmp_path: Path) -> None:
    scores = {"short": [0.1, 0.2, 0.3, 0.4], "long": [0.5, 0.6, 0.7, 0.8]}

    class Length:
        """Relevance by what the text says it is."""

        name, version, better = "clip", 1, "higher"
        reads = frozenset({"text", "images"})

        def parameters(self) -> dict[str, Any]:
            return {}

        def score(self, items: pl.DataFrame) -> pl.DataFrame:
            return items.select(clip=pl.col("text").cast(pl.Float64))

    def rows(source: str) -> pl.DataFrame:
        return pl.DataFrame(
            [
                {
                    "id": f"{source}{at}", "source": source, "meta": "{}",
                    "images": [{"uri": f"{source}{at}", "side": "prompt", "message": 0, "part": 0}],
                    "prompt": [{"role": "user", "content": "￼What?", "tool_calls": None}],
                    "completion": [{"role": "assistant", "content": str(score), "tool_calls": None}],
                }
                for at, score in enumerate(scores[source])
            ],
            schema=SCHEMAS[RecordType.SFT],
        )  # fmt: skip

    row_filter: Any = RowFilter(name="clip", scorer=Length(), sides=("completion",), rules={})  # type: ignore[arg-type]
    told = {name: Told(RecordType.SFT, rows(name)) for name in scores}
    found = {}
    for whose in ("source", "run"):
        section = f"image_text: {{relevance: clip, relevant_min_percentile: 60, percentile_of: {whose}}}\n"
        recipe = parse(recipe_text(section, filters="[{clip: {model: ViT-B-32}}]"), root=tmp_path)
        given = of(recipe, [row_filter], None, told)
        cards = [built(one.rows, one.type, RecordType.UNPAIRED, given[name])[1] for name, one in told.items()]
        found[whose] = [(card["bands"]["relevant_min"], card["labels"]["desirable"]) for card in cards]
    assert found == {
        "source": [(0.3, {"relevance": 2}), (0.7, {"relevance": 2})],
        "run": [(0.5, {}), (0.5, {"relevance": 4})],
    }
