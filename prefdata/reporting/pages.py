"""What all pages of reports are made with: strict templates that escape what they show, and files for their owner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prefdata.io import write_atomic

if TYPE_CHECKING:
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
    )


def write(html: str, path: Path) -> Path:
    """Writes a page to `path` and returns it. Pages hold rows: the file is readable by its owner only."""
    write_atomic(path, html.encode())
    path.chmod(0o600)
    return path
