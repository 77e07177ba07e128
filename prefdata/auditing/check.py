"""A check: what it looks at, how bad what it finds is, why that matters, and the cure."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata.auditing.finding import Found, Levels
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.auditing.dataset import Audited

ALL = frozenset(RecordType)
PAIRS = frozenset({RecordType.PREFERENCE})
UNARY = frozenset({RecordType.UNPAIRED})
ANSWERED = ALL - {RecordType.PROMPT}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check. It has a `flag`, or a `find`, or both."""

    name: str
    """Snake case, unique; what `--skip` and reports call it."""
    family: str
    """form, pairs, unary, shortcuts, labels, duplicates, content, trainability, bias, templates, order."""
    title: str
    """What is said of a row, or of the set, where the check finds something."""
    why: str
    """What goes wrong if nothing is done, in one or two sentences."""
    cure: str
    """What to do: a piece of a recipe or a command that can be pasted, or a sentence."""
    source: str = ""
    """Where it is known from: paper and table, or the thread in which users lost days."""
    types: frozenset[RecordType] = ALL
    """The types of rows that it speaks for."""
    levels: Levels = field(default_factory=Levels)
    """How bad, by the share of rows; see `Levels`."""
    flag: Callable[[RecordType], pl.Expr] | None = None
    """An expression over the rows of a chunk (canonical columns, and those of `features.texts` and `.features`):
    Boolean, null is false. It becomes a column of `Audited.rows`, called as the check."""
    collect: Callable[[pl.DataFrame, RecordType], pl.DataFrame] | None = None
    """What is kept of a chunk beside the features, for `find`: `Audited.collected[name]` holds all, one after another.
    The chunk has the columns that `flag` sees, and `row`. Keep it narrow: hashes and numbers, not texts."""
    find: Callable[[Audited], Found] | None = None
    """What the check says of all rows; without it, the rows that `flag` is true of."""
    prepare: Callable[[Check, Mapping[str, Any]], Check | None] | None = None
    """The check as one audit runs it, from the options of that audit (`benchmarks`: paths); None where they give it
    nothing to do. Called once, before the dataset is read."""
    near: bool = False
    """Asks which texts are nearly the same: `Audited.sketches` is there for `find`."""
    slow: bool = False
    """Needs a model; runs only where it is asked for."""

    def prepared(self, options: Mapping[str, Any]) -> Check | None:
        """The check for an audit with these options, None where it has nothing to do."""
        return self.prepare(self, options) if self.prepare is not None else self

    def found(self, data: Audited) -> Found:
        """What the check sees in `data`."""
        if self.find is not None:
            return self.find(data)
        return Found(rows=data.flagged(self.name))


def load(place: str) -> Check:
    """The check behind `module:NAME`."""
    module, _, name = place.partition(":")
    check: Any = getattr(importlib.import_module(module), name)
    assert isinstance(check, Check)
    return check
