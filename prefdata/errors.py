"""What can go wrong for a user, as one tree; each error carries the exit code that the command ends with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class PrefdataError(Exception):
    """Something the user can put right. The message says what was found, what was expected, what to do."""

    exit_code = 70


class RecipeError(PrefdataError):
    """The recipe or the command line is wrong; all faults are listed at once."""

    exit_code = 2

    def __init__(self, faults: str | Sequence[str], *, where: str = "") -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        head = f"{where}: " if where else ""
        if len(self.faults) == 1:
            super().__init__(head + self.faults[0])
        else:
            super().__init__(f"{head}{len(self.faults)} faults\n" + "\n".join(f"  - {fault}" for fault in self.faults))


class UnknownNameError(RecipeError):
    """A name that no table holds; the message gives the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown {kind} {name!r}; {nearest(name, known)}")


class InputError(PrefdataError):
    """An input file cannot be read, or changed while it was read."""

    exit_code = 3


class SchemaError(InputError):
    """A frame is not what its record type promises."""


class LockedError(PrefdataError):
    """Another process writes this run directory."""

    exit_code = 4


class QuarantineError(PrefdataError):
    """More was unreadable than the recipe allows."""

    exit_code = 5


class ResourceError(PrefdataError):
    """Memory or disk ran out."""

    exit_code = 7


class MissingExtraError(PrefdataError):
    """A part needs packages that the data layer does without; the message names the extra."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs packages of the extra `{extra}`: pip install "prefdata[{extra}]"')


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` where something is close, and in any case the known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return (f"did you mean {close[0]!r}? " if close else "") + "known: " + ", ".join(names)
