"""One small run, its rows written out, and the parts of a page: what the tests of reports have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
import pytest

from prefdata.judging import Decision, Reads, RowFilter, Rule, decide
from prefdata.reporting import numbers
from prefdata.schema import MESSAGES

ROWS = [
    # id, label, words, language, customer, reply
    ("a", True, 5, "en", "where is it?", "it comes tomorrow at six"),
    ("b", True, 0, "en", "hello?", ""),
    ("c", False, 0, "de", "wo ist es?", ""),
    ("d", False, 7, "de", "wo ist es?", "da kann ich Ihnen leider nicht helfen"),
    ("e", None, 4, "en", "and now?", "please wait a moment"),
    ("f", True, 6, "en", "where is it??", "it comes tomorrow, at six sharp"),
    ("g", True, 8, "en", "can I pay?", "yes you can pay by card or cash"),
    ("h", False, 8, "en", "can I pay?", "yes you can pay by card or cash!"),
    ("i", False, 9, "en", "refund please", "no refund for you, read the terms next time"),
    ("j", None, 0, None, "?", ""),
]

CLUSTERS = {"a": ("a", 0.9), "f": ("a", 0.9), "g": ("g", 0.85), "h": ("g", 0.85)}

RELIABILITY = [
    {"low": 0.0, "high": 0.5, "n": 40, "predicted": 0.2, "observed": 0.25},
    {"low": 0.5, "high": 1.0, "n": 0, "predicted": None, "observed": None},
]

CARD = {
    "method": "rules",
    "rows": 10,
    "rated": 4,
    "rated_satisfied": 2,
    "rated_dissatisfied": 1,
    "desirable": 4,
    "undesirable": 4,
    "abstained": 2,
    "abstention_rate": 0.2,
}

FITTED = {
    **CARD,
    "method": "fitted",
    "folds": 5,
    "seed": 0,
    "n": 40,
    "satisfied": 21,
    "auc": 0.91,
    "ece": 0.123456,
    "reliability": RELIABILITY,
    "coefficients": [
        {"feature": "customer:thanks", "weight": 0.5},
        {"feature": "before:complaint+agent:says", "weight": -0.25},
    ],
}


@dataclass(frozen=True)
class Known:
    """A scorer whose scores are given beforehand."""

    name: ClassVar[str] = "known"
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Reads]] = frozenset({"text"})
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    def parameters(self) -> Mapping[str, Any]:
        return {}

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        return items


@dataclass(frozen=True)
class Near:
    """CLUSTERS, whatever the edges."""

    name: str = "near_duplicates"
    version: int = 1
    min_similarity: float = 0.8

    def parameters(self) -> Mapping[str, Any]:
        return {}

    def keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    def edges(self, bucket: pl.DataFrame) -> pl.DataFrame:
        return bucket

    def groups(self, edges: pl.DataFrame) -> pl.DataFrame:
        listed = [(name, cluster, 2, similarity) for name, (cluster, similarity) in CLUSTERS.items()]
        schema = {"id": pl.String, "cluster": pl.String, "size": pl.Int64, "similarity": pl.Float32}
        return pl.DataFrame(listed, schema=schema, orient="row")


EDGES = pl.DataFrame(schema={"left": pl.String, "right": pl.String, "similarity": pl.Float32})

RULES = {
    "reply_too_short": Rule(min=1),
    "reply_too_long": Rule(max=100),
    "language_not_allowed": Rule(column="code", values=("en",)),
}


@dataclass
class Run:
    """Everything that a report is made of."""

    rows: list[tuple[Any, ...]] = field(default_factory=lambda: list(ROWS))
    rules: dict[str, Rule] = field(default_factory=lambda: dict(RULES))
    grouped: bool = True
    card: dict[str, Any] = field(default_factory=lambda: dict(CARD))
    evaluation: tuple[str, ...] = ("i",)
    train: dict[str, Any] | None = None

    def filters(self) -> list[RowFilter]:
        return [RowFilter(name="known", scorer=Known(), sides=("completion",), rules=self.rules)] if self.rules else []

    def scored(self) -> pl.DataFrame:
        schema = {
            "id": pl.String,
            "label": pl.Boolean,
            "known_completion": pl.Float32,
            "known_completion_code": pl.String,
        }
        frame = pl.DataFrame([row[:4] for row in self.rows], schema=schema, orient="row")
        return frame.with_columns(label_confidence=pl.lit(0.9, dtype=pl.Float32))

    def decision(self) -> Decision:
        return decide(self.scored(), self.filters(), [(Near(), EDGES)] if self.grouped else [])

    def split(self) -> pl.DataFrame:
        kept = self.decision().rows.filter("kept").select("id")
        side = pl.when(pl.col("id").is_in(self.evaluation)).then(pl.lit("evaluation")).otherwise(pl.lit("train"))
        return kept.select("id", group="id", split=side)

    def labels(self) -> pl.DataFrame:
        sources = {True: ["csat", "thanks"], False: ["csat"], None: []}
        return pl.DataFrame(
            {
                "id": [row[0] for row in self.rows],
                "label": pl.Series([row[1] for row in self.rows], dtype=pl.Boolean),
                "label_sources": pl.Series([sources[row[1]] for row in self.rows], dtype=pl.List(pl.String)),
            }
        )

    def report(self, *, order: int | None = None) -> dict[str, Any]:
        """The report; `order` shuffles the rows of every frame by that seed."""

        def shuffled(frame: pl.DataFrame) -> pl.DataFrame:
            return frame if order is None else frame.sample(fraction=1, shuffle=True, seed=order)

        fates = ("row", "context", "signal", "separator", "set_aside", "quarantined")
        found = numbers.report(
            recipe={"name": "small", "train": self.train},
            ingested={
                "fates": [
                    {
                        "source": "chats",
                        "file": "chats.csv",
                        "units": 25,
                        **dict.fromkeys(fates, 0),
                        "row": 24,
                        "quarantined": 1,
                    }
                ],
                "set_aside": {"auto_reply": 2},
                "quarantine": {"ragged_row": 1},
                "sessions": {"chats": {"sessions": 9, "fate.row": 24}},
                "reading": {
                    "chats": {
                        "counts": {"events": 60, "unknown_role": 6, "unparsed_time": 5},
                        "unknown_roles": {"supervisor": 6},
                        "used_by_name": ["status"],
                    }
                },
                "touched": {"personal_data.email": 3},
            },
            scored=shuffled(self.scored()),
            decision=self.decision(),
            filters=self.filters(),
            labels=shuffled(self.labels()),
            card=self.card,
            split=shuffled(self.split()),
            exports={"trl": {"train.parquet": {"rows": 1, "desirable": 1, "undesirable": 0, "sha256": "0"}}},
        )
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]

    def write(self, path: Path) -> Path:
        """The run directory, as far as the page reads it."""
        path.mkdir(exist_ok=True)
        (path / "report.json").write_text(
            json.dumps({**self.report(), "training_rows": "these"}, ensure_ascii=False), encoding="utf-8"
        )
        texts = pl.DataFrame(
            {
                "id": [row[0] for row in self.rows],
                "prompt": pl.Series([[message("user", row[4])] for row in self.rows], dtype=MESSAGES),
                "completion": pl.Series([[message("assistant", row[5])] for row in self.rows], dtype=MESSAGES),
                "label": pl.Series([row[1] for row in self.rows], dtype=pl.Boolean),
            }
        ).join(self.decision().rows, on="id", how="left", maintain_order="left")
        for folder, keep in (("kept", pl.col("kept")), ("dropped", ~pl.col("kept"))):
            (path / folder).mkdir(exist_ok=True)
            found = texts.filter(keep)
            found = found if folder == "dropped" else found.drop("reasons", "survivor", "cluster", "unjudged")
            found.write_parquet(path / folder / "00000.parquet")
        return path


def message(role: str, content: str) -> dict[str, str | None]:
    return {"role": role, "content": content, "tool_calls": None}


@pytest.fixture(scope="session")
def run() -> type[Run]:
    """`run()` is a small run whose parts can be changed; `run().report()`, `run().write(path)`."""
    return Run


@pytest.fixture
def fitted_card() -> dict[str, Any]:
    return dict(FITTED)


class Parsed(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, key: str) -> list[str]:
        return [value for _, one, value in self.attributes if one == key]


@pytest.fixture(scope="session")
def parse() -> type[Parsed]:
    """`parse(page)` has the tags, attributes and text of a page."""
    return Parsed
