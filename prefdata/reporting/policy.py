"""What a page of a report may do: show its own style, run its own script, and nothing else."""

from __future__ import annotations

import base64
import hashlib


def policy(style: str, script: str = "", *, pictures: bool = False) -> str:
    """A Content-Security-Policy that allows this style and this script, by their hashes; nothing is loaded or sent.

    With `pictures`, those that the page itself holds are shown.
    """
    scripts = f"script-src '{_sha256(script)}'; " if script else ""
    images = "img-src data:; " if pictures else ""
    return f"default-src 'none'; style-src '{_sha256(style)}'; {scripts}{images}base-uri 'none'; form-action 'none'"


def _sha256(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
