"""Erasing a customer out of runs of rows with pictures: what goes along, and what others keep."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import polars as pl

import prefdata
from prefdata import explain
from prefdata.erase import erase

_spec = importlib.util.spec_from_file_location("pictured", Path(__file__).with_name("pictured.py"))
assert _spec is not None
assert _spec.loader is not None
pictured: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pictured)
draw = pictured.draw
folder = pictured.folder
read_in = pictured.read_in
recipe = pictured.recipe
run = pictured.run
shown = pictured.shown
table = pictured.table
tree = pictured.tree
write = pictured.write


def test_pictures_of_a_customer_alone_are_erased_with_the_customer(tmp_path: Path) -> None:
    at = folder(tmp_path)
    rows = [
        shown([f"p/{picture}.png"], "It is broken.", question=f"What of order {number}?", customer=customer)
        for number, (picture, customer) in enumerate([(0, "ann"), (1, "ann"), (1, "bob"), (2, "cy"), (3, "cy")])
    ]
    write(at / "data.jsonl", rows)
    path = recipe(at)
    run(path, at / "run")
    before = table(at / "run")
    done = erase(at / "run", "ann")
    assert done.found.rows.height == 2
    assert done.told["pictures"] == 1
    assert "pictures/" not in [one["file"][:9] for one in done.told["files"]]
    after = table(at / "run")
    assert after["address"].to_list() == ["p/1.png", "p/2.png", "p/3.png"]
    gone = before.row(by_predicate=pl.col("address") == "p/0.png", named=True)["uri"]
    assert not (at / "run" / gone).exists()
    assert all((at / "run" / uri).is_file() for uri in after["uri"])
    assert "p/0.png" not in str(pl.read_parquet(at / "run/stages/pictures.parquet").rows())
    erased = tree(at / "run")
    was = (at / "run/stages/ingest.json").read_bytes()
    read_in(path, at / "run")
    assert tree(at / "run") == erased
    assert (at / "run/stages/ingest.json").read_bytes() == was
    (at / "run/stages/ingest.json").unlink()
    read_in(path, at / "run")  # the files again, which still hold the customer
    assert table(at / "run").equals(after)
    assert tree(at / "run") == erased


def test_names_of_equal_pictures_are_erased_where_one_of_them_may_name_the_customer(tmp_path: Path) -> None:
    for name, number in (("ann_passport", 1), ("bob", 1), ("cy", 2), ("logo", 3)):
        draw(tmp_path / f"p/{name}.png", number)
    (tmp_path / "p/cut.png").write_bytes((tmp_path / "p/cy.png").read_bytes()[:40])
    rows = [
        shown([f"p/{one}.png" for one in pictures], "It is broken.", question=f"Order {at}?", customer=customer)
        for at, (pictures, customer) in enumerate(
            [(["ann_passport", "logo"], "ann"), (["bob", "logo"], "bob"), (["cy"], "cy"), (["ann_passport"], "ann")]
        )
    ]
    draw(tmp_path / "p/ann_refused.png", 5)
    rows.append(shown(["p/ann_refused.png", "p/cut.png"], "Refused.", customer="ann"))
    write(tmp_path / "data.jsonl", rows)
    path = recipe(tmp_path)
    run(path, tmp_path / "run")
    receipt = erase(tmp_path / "run", "ann").told
    assert not any("pictures of rows that were refused" in one for one in receipt["remains"])
    after = table(tmp_path / "run")
    names = after.drop_nulls("uri")["address"].to_list()
    assert names[:2] == ["p/cy.png", "p/logo.png"]
    assert [name.split(":")[0] for name in names[2:]] == ["pixels"]
    assert "ann_passport" not in str(pl.read_parquet(tmp_path / "run/stages/pictures.parquet").rows())
    assert names == after["address"].to_list()  # nor is what ann's refused row named
    bob = prefdata.kept_rows(tmp_path / "run").filter(pl.col("images").list.len() == 2)["id"][0]
    assert "ann_passport" not in json.dumps(explain.explain(tmp_path / "run", bob)["pictures"])
    erased = tree(tmp_path / "run")
    (tmp_path / "run/stages/ingest.json").unlink()
    read_in(path, tmp_path / "run")  # the files again, which still hold the customer
    assert tree(tmp_path / "run") == erased


def refusing(tmp_path: Path, rows: list[tuple[list[str], str | None]]) -> Path:
    """A recipe of rows with a sound picture of their own, and of refused ones with the pictures and customer given."""
    for number, name in enumerate(("ann", "bob", "ann_twin", "both", "nobody")):
        draw(tmp_path / f"p/{name}.png", number % 2 if name == "ann_twin" else number)
    (tmp_path / "p/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    taken: list[tuple[list[str], str | None]] = [(["ann"], "ann"), (["bob"], "bob")]
    lines = [
        shown([f"p/{one}.png" for one in names], "It is broken.", question=f"Order {at}?", customer=customer)
        for at, (names, customer) in enumerate([*taken, *rows])
    ]
    write(tmp_path / "data.jsonl", lines)
    return recipe(tmp_path)


def everything(run: Path) -> str:
    """All that the tables of a run say of pictures."""
    files = [run / "pictures.parquet", *sorted((run / "stages").glob("*.parquet"))]
    return str([pl.read_parquet(file).drop("thumbnail", "fingerprint", strict=False).rows() for file in files])


def again(path: Path, run: Path) -> None:
    """The files read again, which still hold who is erased, give the same run."""
    erased = tree(run)
    (run / "stages/ingest.json").unlink()
    read_in(path, run)
    assert tree(run) == erased


def test_what_refused_rows_of_a_customer_named_is_erased_unless_others_named_it(tmp_path: Path) -> None:
    rows: list[tuple[list[str], str | None]] = [
        (["ann_away", "broken"], "ann"),
        (["both", "gone"], "ann"),
        (["both", "broken"], "bob"),
        (["nobody", "gone"], None),
    ]
    path = refusing(tmp_path, rows)
    run(path, tmp_path / "run")
    assert "p/ann_away.png" in everything(tmp_path / "run")
    receipt = erase(tmp_path / "run", "ann").told
    kept = ["p/bob.png", "p/both.png", "p/broken.png", "p/gone.png", "p/nobody.png"]
    assert table(tmp_path / "run")["address"].to_list() == kept
    assert pl.read_parquet(tmp_path / "run/stages/pictures.parquet")["address"].to_list() == kept
    assert "ann" not in everything(tmp_path / "run")
    assert any("pictures of rows that were refused" in one for one in receipt["remains"])  # those of nobody
    again(path, tmp_path / "run")


def test_a_customer_all_of_whose_rows_were_refused_can_be_erased(tmp_path: Path) -> None:
    path = refusing(tmp_path, [(["cy_away"], "cy")])
    run(path, tmp_path / "run")
    assert "p/cy_away.png" in everything(tmp_path / "run")
    done = erase(tmp_path / "run", "cy")
    assert done.found.rows.height == 0
    assert done.told["rows"] == {"all": 0}
    assert "cy_away" not in everything(tmp_path / "run")
    assert table(tmp_path / "run")["address"].to_list() == ["p/ann.png", "p/bob.png"]
    again(path, tmp_path / "run")


def test_a_name_of_a_refused_row_for_a_picture_that_another_keeps_is_erased(tmp_path: Path) -> None:
    path = refusing(tmp_path, [(["ann_twin", "broken"], "cy")])  # the pixels of ann's
    run(path, tmp_path / "run")
    assert table(tmp_path / "run").drop_nulls("uri")["address"].to_list() == [
        "p/ann.png",
        "p/ann_twin.png",
        "p/bob.png",
    ]
    erase(tmp_path / "run", "cy")
    (first, second) = table(tmp_path / "run")["address"].to_list()
    assert (first, second.split(":")[0]) == ("p/bob.png", "pixels")
    assert "ann_twin" not in everything(tmp_path / "run")
    again(path, tmp_path / "run")


def test_the_picture_of_an_erased_customer_is_gone_though_a_refused_row_of_another_has_it_too(tmp_path: Path) -> None:
    path = refusing(tmp_path, [(["ann_twin", "broken"], "bob")])
    run(path, tmp_path / "run")
    stored = table(tmp_path / "run").row(by_predicate=pl.col("address") == "p/ann.png", named=True)["uri"]
    erase(tmp_path / "run", "ann")
    found = table(tmp_path / "run")
    assert found["address"].to_list() == ["p/ann_twin.png", "p/bob.png", "p/broken.png"]
    assert found.drop_nulls("uri")["address"].to_list() == ["p/bob.png"]
    assert not (tmp_path / "run" / stored).exists()
    again(path, tmp_path / "run")
