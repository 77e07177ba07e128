"""Which setting of a filter or grouping stands behind which bound, and the piece of a recipe that moves it.

Found out by trying: a threshold is moved a little, and the bound that moves along is its own. So a filter needs no
table of its bounds beside its settings.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from prefdata.errors import RecipeError
from prefdata.judging import Rule

Kind = Literal["filter", "grouping"]
Bound = Literal["min", "max", "values"]

_PROBE = "\x00probe"
"""A value that no column of texts holds."""


class Asked(NamedTuple):
    """A filter or grouping that is tried, as the catalogue calls it."""

    kind: Kind
    name: str
    settings: Any
    """Its settings as a recipe gives them, files relative to the recipe's folder."""
    built: Any
    """What is built of them: the same settings with files looked up from there."""

    def moved(self, setting: str, value: Any) -> Asked | None:
        """The same with one setting changed; None where the settings refuse the value."""
        settings, built = _with(self.settings, setting, value), _with(self.built, setting, value)
        return None if built is None else self._replace(settings=settings, built=built)


def setting_of(settings: Any, reason: str, bound: Bound) -> str | None:
    """The threshold of `settings` that is this bound of the rule `reason`; None where none is."""
    now = settings.build().rules.get(reason)
    for name, moved, value in _moved(settings):
        rule = moved.build().rules.get(reason)
        if now is not None and rule is not None and _bound(now, bound) != _bound(rule, bound) == value:
            return name
    return None


def values_settings(settings: Any) -> Iterator[tuple[str, str, Rule]]:
    """Settings that say which values of a text column pass, with their reason and rule, also where none is named yet.

    (`allowed` of the filter `language`.)
    """
    for name, moved, value in _moved(settings):
        if value == (_PROBE,):
            yield from ((name, reason, rule) for reason, rule in moved.build().rules.items() if rule.values == value)


def similarity_setting(settings: Any) -> str | None:
    """The threshold of a grouping's settings below which edges are not followed; None where it is fixed."""
    now = settings.build().min_similarity
    return next((name for name, moved, value in _moved(settings) if now != moved.build().min_similarity == value), None)


def snippet(asked: Asked, setting: str, value: Any) -> str:
    """The piece of a recipe in which `setting` has this value, the others as they are; "" where it may not have it."""
    moved = asked.moved(setting, value)
    if moved is None:
        return ""
    changed = {
        entry.name: getattr(moved.settings, entry.name)
        for entry in dataclasses.fields(moved.settings)
        if entry.init and (entry.name == setting or getattr(moved.settings, entry.name) != _default(entry))
    }
    told = ", ".join(f"{name}: {json.dumps(one, ensure_ascii=False)}" for name, one in changed.items())
    return f"{asked.kind}s:\n  - {asked.name}: {{{told}}}"


def as_setting(asked: Asked, setting: str, value: float) -> float | int:
    """`value` in the type of the setting: a whole number where that is one."""
    return int(value) if isinstance(getattr(asked.settings, setting), int) else value


def _moved(settings: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every threshold, moved to a value that the settings take."""
    for entry in dataclasses.fields(settings):
        if not entry.metadata.get("threshold"):
            continue
        now = getattr(settings, entry.name)
        for value in _other_values(now):
            moved = _with(settings, entry.name, value)
            if moved is not None:
                yield entry.name, moved, value
                break


def _other_values(now: Any) -> list[Any]:
    if now is None or isinstance(now, tuple):
        return [(_PROBE,)]
    if isinstance(now, bool) or not isinstance(now, (int, float)):
        return []
    if isinstance(now, int):
        return [now + 1, now - 1]
    return [(now + 1) / 2 + 0.001, now / 2 + 0.001, now + 1.5, now - 1.5]


def _with(settings: Any, name: str, value: Any) -> Any:
    """The settings with one value changed; None where they refuse it."""
    try:
        return dataclasses.replace(settings, **{name: value})
    except RecipeError:
        return None


def _bound(rule: Rule, bound: Bound) -> Any:
    return {"min": rule.min, "max": rule.max, "values": rule.values}[bound]


def _default(entry: dataclasses.Field[Any]) -> Any:
    return entry.default_factory() if entry.default_factory is not dataclasses.MISSING else entry.default
