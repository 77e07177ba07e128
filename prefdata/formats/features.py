"""Features that formats hold together, by which their tables `holds` are built."""

from __future__ import annotations

from prefdata.formats.core import Feature

TURNS = frozenset({Feature.SYSTEM, Feature.TURNS, Feature.REPEATED_ROLE})
"""Turns as they come."""

TEXT = TURNS | {Feature.IMAGE_TAG}
"""Turns as they come, of a target to which `<image>` is text like any other."""

CALLS = frozenset({Feature.TOOL_CALLS, Feature.CALL_IDS, Feature.TEXT_WITH_CALL})
"""Calls of tools with their ids, beside text or not."""

PICTURES = frozenset({Feature.IMAGES, Feature.IMAGE_FILES, Feature.IMAGE_PLACES})
"""Pictures by address or file, at any place of the prompt."""
