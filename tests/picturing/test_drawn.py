"""What is drawn of pictures, kept in a file without a name while a run goes on."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from prefdata.errors import ResourceError
from prefdata.io import write_slices
from prefdata.picturing.drawn import PLACE, RECENT, Drawn

LOOKED = pl.DataFrame(
    {
        "address": ["a.png", "broken.png", "b.png", "again.png"],
        "pixels": ["aa", None, "bb", "aa"],
        "fingerprint": [b"first", None, b"second", b"first"],
        "thumbnail": [b"one", None, b"two", b"one"],
    }
)


def test_what_was_put_is_got_by_its_place_and_equal_pixels_are_kept_once(tmp_path: Path) -> None:
    drawn = Drawn(tmp_path)
    light = drawn.put(LOOKED)
    assert light.columns == ["address", "pixels", *PLACE]
    assert light.select(PLACE.names()).rows() == [(0, 5, 3), (8, None, None), (8, 6, 3), (0, 5, 3)]
    assert drawn.get(light).rows() == [(b"first", b"one"), (None, None), (b"second", b"two"), (b"first", b"one")]
    assert drawn.get(light[[2]], ["thumbnail"]).to_dict(as_series=False) == {"thumbnail": [b"two"]}
    gone = light.with_columns(pl.lit(None, pl.Int32).alias(name) for name in PLACE.names()[1:])
    assert drawn.get(gone).rows() == [(None, None)] * 4


def test_pictures_met_long_ago_are_written_again_and_nothing_is_left_on_the_disk(tmp_path: Path) -> None:
    drawn = Drawn(tmp_path)
    numbers = [f"{number:05d}" for number in range(RECENT + 1)]
    many = pl.DataFrame({"pixels": numbers, "fingerprint": [number.encode() for number in numbers]})
    first, second = drawn.put(many), drawn.put(many[:1])
    assert second["place"].to_list() == [5 * (RECENT + 1)]
    assert drawn.get(second, ["fingerprint"]).rows() == drawn.get(first[:1], ["fingerprint"]).rows() == [(b"00000",)]
    assert list(tmp_path.iterdir()) == []


def test_slices_are_one_table_whose_bytes_are_the_same_again(tmp_path: Path) -> None:
    slices = [LOOKED[:2], LOOKED[2:]]
    for name in ("one", "other"):
        write_slices(tmp_path / name, iter(slices), LOOKED.schema)
    assert pl.read_parquet(tmp_path / "one").equals(LOOKED)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    write_slices(tmp_path / "none", iter([LOOKED.clear()]), LOOKED.schema)
    assert pl.read_parquet(tmp_path / "none").schema == LOOKED.schema


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)")
    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", lambda *_, **__: (_ for _ in ()).throw(full))
    with pytest.raises(ResourceError, match="no room left on the disk"):
        write_slices(tmp_path / "one", iter([LOOKED]), LOOKED.schema)
    assert list(tmp_path.iterdir()) == []
