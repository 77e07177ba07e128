"""Pictures that show the same, and rows about them: who is a duplicate of whom."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from prefdata.dedup.images import PICTURE_EDGES, PictureDuplicates, PictureGrouping
from prefdata.dedup.picture_candidates import NEXT, candidates, keys_of, unpacked
from prefdata.errors import RecipeError
from prefdata.picturing.fingerprint import fingerprint, phash

Image = pytest.importorskip("PIL.Image")
ImageDraw = pytest.importorskip("PIL.ImageDraw")
ImageOps = pytest.importorskip("PIL.ImageOps")

SAMPLE = Path(__file__).resolve().parents[2] / "recipes" / "data" / "shapes"
SEEN = pl.Struct({"width": pl.Int32, "height": pl.Int32, "phash": pl.UInt64, "fingerprint": pl.Binary})


def seen(picture: Any) -> dict[str, Any]:
    upright = ImageOps.exif_transpose(picture).convert("RGB")
    return {
        "width": upright.width,
        "height": upright.height,
        "phash": phash(upright.convert("L")),
        "fingerprint": fingerprint(upright),
    }


def rows(*given: tuple[str, str, str, list[Any] | None]) -> pl.DataFrame:
    """Rows of id, question, answer and pictures."""
    return pl.DataFrame(
        {
            "id": [row[0] for row in given],
            "customer": [row[1] for row in given],
            "reply": [row[2] for row in given],
            "pictures": pl.Series(
                [None if row[3] is None else [seen(picture) for picture in row[3]] for row in given],
                dtype=pl.List(SEEN),
            ),
        }
    )


def found(frame: pl.DataFrame, **settings: Any) -> tuple[PictureGrouping, pl.DataFrame]:
    grouping = PictureDuplicates(**settings).build()
    return grouping, grouping.edges(grouping.keys(frame))


def followed(frame: pl.DataFrame, **settings: Any) -> list[tuple[str, str]]:
    """The pairs that count as duplicates."""
    grouping, edges = found(frame, **settings)
    return edges.filter(pl.col("similarity") >= grouping.min_similarity).select("left", "right").rows()


def scene(colour: str = "red", *, shape: str = "ellipse", at: int = 60, size: int = 160, more: bool = False) -> Any:
    picture = Image.new("RGB", (size, size), "#e8e0d0")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, size * 2 // 3, size, size), fill="#b0c4b0")
    pen.ellipse((size * 6 // 10, 10, size * 8 // 10, 10 + size // 5), fill="#fff4c0")
    getattr(pen, shape)((at - 25, 75, at + 25, 125), fill=colour)
    if more:
        pen.ellipse((125, 125, 145, 145), fill=colour)
    return picture


def as_jpeg(picture: Any, quality: int) -> Any:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@pytest.fixture(scope="module")
def sample() -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """The sound pictures of the sample with what is true of them, and a row for each."""
    truth = [json.loads(line) for line in (SAMPLE / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    pictures = [row for row in truth if row["kind"] == "picture" and row["of"] != "broken"]
    return pictures, rows(*((row["image"], "", "", [Image.open(SAMPLE / row["image"])]) for row in pictures))


def test_copies_in_the_sample_are_found_and_no_two_distinct_pictures_merge(
    sample: tuple[list[dict[str, Any]], pl.DataFrame],
) -> None:
    truth, frame = sample
    grouping, edges = found(frame)
    groups = grouping.groups(edges.filter(pl.col("similarity") >= grouping.min_similarity))
    cluster = dict(groups.select("id", "cluster").iter_rows())
    of = {row["image"]: row.get("like", row["image"]) for row in truth}
    copies = {row["image"]: row["like"] for row in truth if row["of"] != "distinct"}
    assert len(copies) == 90
    missed = [copy for copy, original in copies.items() if cluster.get(copy) != cluster.get(original, original)]
    assert missed == []
    for members in groups.group_by("cluster").agg("id")["id"].to_list():
        assert len({of[member] for member in members}) == 1


def test_edges_do_not_hang_on_the_order_or_the_split_of_rows(
    sample: tuple[list[dict[str, Any]], pl.DataFrame],
) -> None:
    frame = sample[1][250:]
    grouping, edges = found(frame)
    assert edges.height > 0
    keys = pl.concat([grouping.keys(frame[part::3]) for part in range(3)]).sample(fraction=1, shuffle=True, seed=4)
    assert grouping.edges(keys).equals(edges)


def test_a_red_circle_and_a_blue_one_have_one_hash_and_are_distinct() -> None:
    one, other = scene("#d02020"), scene("#2020d0")
    assert bin(seen(one)["phash"] ^ seen(other)["phash"]).count("1") <= 4
    assert followed(rows(("a", "", "", [one]), ("b", "", "", [other]))) == []


@pytest.mark.parametrize(
    ("name", "other", "same"),
    [
        ("re-encoded", as_jpeg(scene(), 40), True),
        ("smaller", scene().resize((64, 64)), True),
        ("larger", scene().resize((400, 400)), True),
        ("cropped by 5 % on two sides", scene().crop((8, 8, 160, 160)), True),
        ("cropped and re-encoded", as_jpeg(scene().crop((0, 5, 154, 157)), 60), True),
        ("another colour in it", scene("#c89020"), False),
        ("another thing in its place", scene(shape="line"), False),
        ("a thing more in it", scene(more=True), False),
        ("moved by an eighth", scene(at=80), False),
        ("half of it", scene().crop((0, 0, 80, 160)), False),
        ("stretched", scene().resize((200, 160)), False),
        ("mirrored", scene().transpose(Image.Transpose.FLIP_LEFT_RIGHT), False),
        ("upside down", scene().transpose(Image.Transpose.FLIP_TOP_BOTTOM), False),
    ],
)
def test_what_is_the_same_picture(name: str, other: Any, same: bool) -> None:
    assert followed(rows(("a", "", "", [scene()]), ("b", "", "", [other]))) == ([("a", "b")] if same else []), name


def test_pictures_without_anything_in_them_are_told_by_their_colour() -> None:
    def flat(colour: str, size: int) -> list[Any]:
        return [Image.new("RGB", (size, size), colour)]

    frame = rows(
        ("a", "", "", flat("white", 30)),
        ("b", "", "", flat("white", 90)),
        ("c", "", "", flat("black", 30)),
        ("d", "", "", flat("#2030d0", 30)),
        ("e", "", "", flat("#d02030", 30)),
    )
    assert followed(frame) == [("a", "b")]


ABOUT = (
    ("a", "What is it?", "A red circle.", [scene()]),
    ("b", "what  is it?", "a red circle.", [as_jpeg(scene(), 70)]),
    ("c", "What is it?", "A blue square.", [scene()]),
    ("d", "Which colour?", "Red.", [scene()]),
    ("e", "What is it?", "A red circle.", [scene("#2020d0", at=100)]),
)


def test_rows_are_duplicates_where_question_and_answer_agree_too() -> None:
    assert followed(rows(*ABOUT)) == [("a", "b")]


def test_two_answers_to_one_question_about_one_picture_are_kept_as_evidence() -> None:
    _, edges = found(rows(*ABOUT))
    told = edges.select("left", "right", "similarity", "same_question", "same_answer").rows()
    assert [row for row in told if row[2] == 0] == [("a", "c", 0.0, True, False)]
    assert edges.filter(pl.col("similarity") == 0)["picture_similarity"].min() > 0.97


def test_the_picture_alone_decides_where_any_answer_will_do() -> None:
    grouping, edges = found(rows(*ABOUT), answers="any")
    groups = grouping.groups(edges.filter(pl.col("similarity") >= grouping.min_similarity))
    assert groups.select("id", "cluster", "size").rows() == [(each, "a", 4) for each in "abcd"]
    contradictory = edges.filter(pl.col("same_question") & ~pl.col("same_answer"))
    assert contradictory.select("left", "right").rows() == [("a", "c")]


def test_rows_with_several_pictures_agree_in_all_of_them_in_order() -> None:
    one, two = scene(), scene("#2020d0", shape="rectangle", at=100)
    frame = rows(
        ("a", "", "", [one, two]),
        ("b", "", "", [as_jpeg(one, 70), two.resize((80, 80))]),
        ("c", "", "", [two, one]),
        ("d", "", "", [one]),
        ("e", "", "", [one, one]),
    )
    assert followed(frame) == [("a", "b")]


def test_rows_without_pictures_have_no_keys() -> None:
    grouping = PictureDuplicates().build()
    frame = rows(("a", "q", "r", None), ("b", "q", "r", []), ("c", "q", "r", [scene()]))
    unmeasured = frame.with_columns(
        pictures=pl.col("pictures").list.eval(
            pl.element().struct.with_fields(pl.lit(None, dtype=pl.Binary).alias("fingerprint"))
        )
    )
    assert grouping.keys(frame)["id"].unique().to_list() == ["c"]
    keys = grouping.keys(unmeasured)
    assert keys.height == 0
    assert grouping.edges(keys).schema == PICTURE_EDGES
    assert grouping.groups(grouping.edges(keys)).height == 0
    assert grouping.keys(frame.clear()).schema == grouping.keys(frame).schema


def test_screens_that_differ_in_what_is_written_on_them_are_distinct(tmp_path: Path) -> None:
    generator = np.random.default_rng(8)

    def orders() -> Any:
        picture = Image.new("RGB", (300, 240), "white")
        pen = ImageDraw.Draw(picture)
        pen.rectangle((0, 0, 300, 30), fill="#2050a0")
        for line, (order, cents) in enumerate(generator.integers(10000, 99999, size=(6, 2)).tolist()):
            pen.text((12, 42 + 32 * line), f"Order {order}", fill="black")
            pen.text((220, 42 + 32 * line), f"EUR {cents / 100}", fill="black")
        return picture

    def dialog(number: int) -> Any:
        picture = Image.new("RGB", (300, 200), "#e0e0e0")
        pen = ImageDraw.Draw(picture)
        pen.rectangle((30, 40, 270, 160), fill="white", outline="black")
        pen.text((50, 80), f"Error {number}", fill="black")
        return picture

    screens = [orders() for _ in range(4)] + [dialog(number) for number in (1234, 5678, 9012)]
    screens += [as_jpeg(screens[0], 60).convert("RGB"), screens[0].crop((6, 5, 297, 240))]
    screens.append(as_jpeg(screens[4], 60).convert("RGB"))
    names = ["list 1", "list 2", "list 3", "list 4", "error 1", "error 2", "error 3", "list 1 jpeg", "list 1 crop"]
    names.append("error 1 jpeg")
    for name, picture in zip(names, screens, strict=True):
        picture.save(tmp_path / f"{name}.png")
    seen_by_colours = rows(*((name, "", "", [picture]) for name, picture in zip(names, screens, strict=True)))
    with_files = pl.DataFrame(
        {
            **seen_by_colours.to_dict(),
            "pictures": [
                [{**seen(picture), "path": str(tmp_path / f"{name}.png")}]
                for name, picture in zip(names, screens, strict=True)
            ],
        },
        schema_overrides={"pictures": pl.List(pl.Struct({**SEEN.to_schema(), "path": pl.String}))},
    )
    assert followed(with_files) == [
        ("error 1", "error 1 jpeg"),
        ("list 1", "list 1 crop"),
        ("list 1", "list 1 jpeg"),
        ("list 1 crop", "list 1 jpeg"),
    ]


def looks_of(hashes: np.ndarray, fingerprints: np.ndarray) -> Any:
    records = np.zeros((len(hashes), 780), dtype=np.uint8)
    records[:, :768] = fingerprints
    records[:, 768:776] = hashes.astype("<u8").view(np.uint8).reshape(-1, 8)
    return unpacked([record.tobytes() for record in records])


def test_hashes_within_the_distance_always_share_a_key() -> None:
    generator = np.random.default_rng(5)
    hashes = generator.integers(0, 2**63, size=400, dtype=np.uint64)
    others = hashes.copy()
    for row, other in enumerate(others):
        for bit in generator.choice(64, size=4, replace=False):
            other ^= np.uint64(1) << np.uint64(bit)
        others[row] = other
    blank = np.zeros((400, 768), dtype=np.uint8)
    keys = [keys_of(looks_of(each, blank), hamming=4, tables=0) for each in (hashes, others)]
    assert keys[0].shape == (400, 5)
    assert (keys[0] == keys[1]).any(axis=1).all()


def test_a_flood_of_like_pictures_is_compared_with_bounded_neighbours() -> None:
    generator = np.random.default_rng(6)
    noisy = generator.integers(120, 124, size=(3000, 768), dtype=np.uint8)
    looks = looks_of(np.zeros(3000, dtype=np.uint64), noisy)
    pairs = candidates(np.zeros(3000, dtype=np.int64), np.arange(3000), looks)
    assert pairs.large_buckets == 1
    assert 2999 <= pairs.left.size <= 3000 * (NEXT + 8)
    assert (pairs.left < pairs.right).all()


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"min_similarity": 0.9}, "0.95 to 1"), ({"hamming": 16}, "0 to 15"), ({"tables": -1}, "0 to 64")],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        PictureDuplicates(**settings)


def test_a_threshold_is_no_part_of_what_edges_depend_on() -> None:
    assert PictureDuplicates(min_similarity=0.96).build().parameters() == PictureDuplicates().build().parameters()
    assert PictureDuplicates(answers="any").build().parameters() != PictureDuplicates().build().parameters()


def real_pictures(shared: Path) -> dict[str, Any]:
    folders = [shared / "llamafactory", shared / "fasteval_images"]
    try:
        import skimage

        folders.append(Path(skimage.__file__).parent / "data")
    except ImportError:
        pass
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*"))]
    return {
        path.name: Image.open(path).convert("RGB")
        for path in files
        if path.suffix in (".png", ".jpg", ".jpeg") and "chessboard" not in path.name
    }


def test_real_photographs_are_found_after_a_crop_and_never_merged() -> None:
    shared = Path(__file__).resolve().parents[3] / "shared" / "data"
    pictures = real_pictures(shared) if shared.is_dir() else {}
    if not pictures:
        pytest.skip("no folder ../shared/data with photographs")
    frame, wanted = [], set()
    for name, picture in pictures.items():
        picture.thumbnail((400, 400))
        width, height = picture.size
        frame.append((name, "", "", [picture]))
        frame.append((f"{name}~jpeg", "", "", [as_jpeg(picture, 50)]))
        frame.append((f"{name}~small", "", "", [picture.resize((width // 2, height // 2))]))
        cut = (width * 3 // 100, 0, width, height - height * 4 // 100)
        frame.append((f"{name}~crop", "", "", [picture.crop(cut)]))
        wanted |= {(name, f"{name}~{kind}") for kind in ("jpeg", "small", "crop")}
    pairs = followed(rows(*frame))
    assert [pair for pair in pairs if pair[0].split("~")[0] != pair[1].split("~")[0]] == []
    assert len(wanted & set(pairs)) >= 0.9 * len(wanted)
