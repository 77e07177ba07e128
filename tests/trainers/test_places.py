"""Folders in a stage's record are seen from the stage, and no key depends on where something lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainers.places import is_seen, keyed, recorded, seen_from


def test_a_folder_is_told_by_the_way_to_it(tmp_path: Path) -> None:
    stage = tmp_path / "run" / "model" / "sft"
    for place, way in [
        (tmp_path / "models" / "tiny", "../../../models/tiny"),
        (stage / "start", "./start"),
        (stage, "."),
        (stage.parent, ".."),
    ]:
        assert seen_from(stage, place) == way
        assert is_seen(way)
    for name in ("smollm2-135m", "owner/model@1", "modelscope:owner/model", ".hidden"):
        assert not is_seen(name)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"reference_store": "auto"}, {"reference_store": "auto"}),
        ({"reference_store": "{place}/store"}, {"reference_store": "../store"}),
        (
            {"rewards": {"reward_model": {"model": "{place}/rm", "weight": 2.0}, "length": {"max": 9}, "safe": None}},
            {"rewards": {"reward_model": {"model": "../rm", "weight": 2.0}, "length": {"max": 9}, "safe": None}},
        ),
        (
            {"rewards": {"mine": {"kind": "reward_model", "model": "judge"}}},
            {"rewards": {"mine": {"kind": "reward_model", "model": "judge"}}},
        ),
    ],
)
def test_settings_are_recorded_without_places_of_a_machine(
    tmp_path: Path, settings: dict[str, Any], told: dict[str, Any]
) -> None:
    def placed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: placed(inner) for key, inner in value.items()}
        return value.replace("{place}", str(tmp_path)) if isinstance(value, str) else value

    assert recorded(placed(settings), tmp_path / "stage", {"judge": "anywhere"}) == told


def test_a_key_knows_what_is_used_and_not_where_it_lies() -> None:
    for one, other, same in [
        ({"reference_store": "/a"}, {"reference_store": "/b"}, True),
        ({"reference_store": "/a"}, {"reference_store": "always"}, True),
        ({"reference_store": "always"}, {"reference_store": "never"}, False),
        ({"rewards": {"reward_model": {"model": "/a"}}}, {"rewards": {"reward_model": {"model": "/b"}}}, True),
        (
            {"rewards": {"reward_model": {"model": "/a"}}},
            {"rewards": {"reward_model": {"model": "/a", "weight": 2.0}}},
            False,
        ),
        ({"rewards": {"safe": {"model": "a"}}}, {"rewards": {"safe": {"model": "b"}}}, False),
    ]:
        assert (keyed(one) == keyed(other)) is same
