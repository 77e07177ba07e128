"""YAML as a recipe may hold it: plain values, no aliases, no tags, no key twice, and the line of everything."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from prefdata.errors import RecipeError

MAX_DEPTH = 50
"""Lists and mappings inside each other; a recipe has about six."""


def placed(path: tuple[Any, ...]) -> str:
    """`sources[0].name: `, or nothing for the whole recipe."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return f"{text}: " if text else ""


PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null"))


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases, with YAML 1.2 scalars: `no`, `010`, `12:30` stay text, `1e-5` is a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  an instance variable to PyYAML's types
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise RecipeError(f"line {mark.line + 1}: aliases are not allowed in a recipe; write the value out")
        if self.depth == MAX_DEPTH:
            raise RecipeError(f"line {mark.line + 1}: more than {MAX_DEPTH} lists and mappings inside each other")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"^(?:true|false|True|False)$", "tfTF"),
    ("tag:yaml.org,2002:int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|)$", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def read_yaml(text: str, where: str) -> tuple[Any, dict[tuple[Any, ...], int]]:
    """Plain data, and the line of every key and item by its path."""
    faults: list[str] = []
    lines: dict[tuple[Any, ...], int] = {}
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        fault = f"line {line}: the character U+{ord(text[error.position]):04X} cannot stand in a recipe"
        raise RecipeError(fault, where=where) from None
    try:
        node = loader.get_single_node()
        if node is None:
            raise RecipeError("the file is empty", where=where)
        data = _construct(loader, node, (), lines, faults)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        raise RecipeError(f"line {mark.line + 1}: {problem}" if mark else str(problem), where=where) from None
    except RecipeError as error:
        raise RecipeError(error.faults, where=where) from None
    except (ValueError, OverflowError):  # \U with a number that is no character
        raise RecipeError(f"line {loader.line + 1}: an escape that names no character", where=where) from None
    finally:
        loader.dispose()
    if faults:
        raise RecipeError(faults, where=where)
    return data, lines


def _construct(
    loader: _Loader, node: yaml.Node, path: tuple[Any, ...], lines: dict[tuple[Any, ...], int], faults: list[str]
) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if node.tag not in PLAIN_TAGS:
        faults.append(f"line {node.start_mark.line + 1}: {placed(path)}a tag; a recipe holds plain values only")
        return None
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                faults.append(f"line {line}: a key is a plain word")
                continue
            if not _is_text(key):
                faults.append(f"line {line}: a key holds a NUL or half a surrogate pair, which is no text")
                continue
            if key in mapping:
                faults.append(f"line {line}: {placed((*path, key))}the key stands there twice")
            lines[(*path, key)] = line
            mapping[key] = _construct(loader, value_node, (*path, key), lines, faults)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, item, (*path, position), lines, faults) for position, item in enumerate(node.value)]
    line = node.start_mark.line + 1
    try:
        value = loader.construct_object(node)
    except (ValueError, KeyError, IndexError):
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        faults.append(f"line {line}: {placed(path)}{_shown(str(node.value))} cannot be read as {kind}")
        return None
    if isinstance(value, float) and not math.isfinite(value):
        faults.append(f"line {line}: {placed(path)}not a finite number")
    if isinstance(value, str) and not _is_text(value):
        faults.append(f"line {line}: {placed(path)}holds a NUL or half a surrogate pair, which is no text")
    return value


def _is_text(value: str) -> bool:
    return not re.search("[\x00\ud800-\udfff]", value)


def _shown(value: str) -> str:
    return repr(value) if len(value) <= 40 else f"a value of {len(value)} characters"
