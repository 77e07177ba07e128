"""The canonical schema: what `check` refuses, and ids that stay the same."""

import polars as pl
import pytest

from prefdata.errors import SchemaError
from prefdata.schema import SCHEMAS, RecordType, check, conform, stable_hash


def unpaired(**columns: list[object]) -> pl.DataFrame:
    message = [[{"role": "user", "content": "hi", "tool_calls": None}]]
    reply = [[{"role": "assistant", "content": "hello", "tool_calls": None}]]
    base = {"id": ["a"], "source": ["s"], "group": ["g"], "prompt": message, "completion": reply}
    schema = SCHEMAS[RecordType.UNPAIRED]
    data = {**base, **columns}
    return pl.DataFrame(data, schema={name: schema.get(name, pl.String) for name in data})


def test_conform_adds_missing_columns_in_canonical_order() -> None:
    frame = conform(unpaired(), RecordType.UNPAIRED)
    assert frame.columns == SCHEMAS[RecordType.UNPAIRED].names()
    assert frame["label"].to_list() == [None]


def test_check_names_every_fault_at_once() -> None:
    wrong = conform(unpaired(), RecordType.UNPAIRED).drop("meta").with_columns(label=pl.lit("yes"), extra=pl.lit(1))
    with pytest.raises(SchemaError) as caught:
        check(wrong, RecordType.UNPAIRED)
    message = str(caught.value)
    assert "column meta: missing" in message
    assert "column label: String, expected Boolean" in message
    assert "column extra: not part of unpaired_preference" in message


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"id": [None]}, "id: null in 1 of 1 rows"),
        ({"completion": [None]}, "completion: null in 1 of 1 rows"),
        ({"prompt": [[{"role": "human", "content": "x", "tool_calls": None}]]}, "prompt: a role outside"),
    ],
)
def test_check_refuses_unsound_rows(columns: dict[str, list[object]], fault: str) -> None:
    with pytest.raises(SchemaError, match=fault):
        conform(unpaired(**columns), RecordType.UNPAIRED)


def test_check_refuses_doubled_ids() -> None:
    frame = conform(unpaired(), RecordType.UNPAIRED)
    with pytest.raises(SchemaError, match="2 of 2 rows share an id, first a"):
        check(pl.concat([frame, frame]), RecordType.UNPAIRED)


def test_errors_carry_no_row_text() -> None:
    secret = "CANARY-secret"
    with pytest.raises(SchemaError) as caught:
        conform(unpaired(prompt=[[{"role": "human", "content": secret, "tool_calls": None}]]), RecordType.UNPAIRED)
    assert secret not in str(caught.value)


def test_stable_hash_is_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFDATA_KEY", raising=False)
    column = pl.Series(["a", None, ""])
    assert stable_hash([column], purpose="row").to_list() == [
        "977d370a7c9fbe21b092",
        "b67b3a6b23c421c399b1",
        "39d7c31602ae96fce028",
    ]
    monkeypatch.setenv("PREFDATA_KEY", "k")
    assert stable_hash([column], purpose="row")[0] != "977d370a7c9fbe21b092"
