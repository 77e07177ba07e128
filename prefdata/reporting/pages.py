"""What all pages of reports are made with: strict templates that escape what they show, and files for their owner."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from prefdata.io import write_atomic

if TYPE_CHECKING:
    from types import CodeType

    import jinja2


def environment() -> jinja2.Environment:
    """A Jinja environment over the templates: everything shown is escaped, and a name that is not there is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("prefdata.reporting", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        bytecode_cache=_compiled(),
    )


@functools.cache
def _compiled() -> jinja2.BytecodeCache:
    """Keeps what templates were compiled to, so that a process that writes many pages compiles each of them once."""
    import jinja2

    known: dict[tuple[str, str], CodeType | None] = {}

    class Kept(jinja2.BytecodeCache):
        def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
            bucket.code = known.get((bucket.key, bucket.checksum))

        def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
            known[bucket.key, bucket.checksum] = bucket.code

    return Kept()


def write(html: str, path: Path) -> Path:
    """Writes a page to `path` and returns it. Pages hold rows: the file is readable by its owner only."""
    write_atomic(path, html.encode())
    path.chmod(0o600)
    return path
