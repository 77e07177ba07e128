"""The layout `conversations`: nested JSON, an object a conversation with the list of its messages inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from prefdata.errors import InputError, nearest
from prefdata.io import QUARANTINE, ReadLimits, read_objects
from prefdata.logs.attachments import text_of_parts
from prefdata.logs.events import Role
from prefdata.logs.faults import empty_faults, encoding_faults
from prefdata.logs.mapping import (
    CANONICAL,
    LogRead,
    LogSettings,
    assemble,
    session_feedback,
    shown_columns,
    with_quarantined,
)

_OF_SESSION = (
    "session",
    "customer",
    "agent",
    "customer_name",
    "agent_name",
    "time",
    "rating",
    "thumb",
    "survey",
    "status",
)


@dataclass(frozen=True, kw_only=True)
class Conversations(LogSettings):
    """An object a conversation, in a JSON array, a JSON object keyed by session id, or JSON lines.

    `columns` maps canonical names to dotted paths inside the conversation (`scenario.flow`, `sys-usr.1`): session,
    customer, agent, customer_name, agent_name, time, and the feedback on the whole conversation: rating, thumb,
    survey, status. Without `session` the key of the object is the id, else its place in the file.
    """

    known_columns: ClassVar[tuple[str, ...]] = _OF_SESSION

    messages: str = "messages"
    """Dotted path to the list of messages."""
    message: dict[str, str] = field(default_factory=lambda: {"role": "role", "text": "content"})
    """Canonical name -> dotted path inside a message. Messages that are lists, [role, text], take places: "0", "1".
    `attachments` may be the path of `text`, where that is a list of parts: its pictures keep their places."""
    alternating: list[Role] | None = None
    """Who speaks in turn, where messages carry no role, e.g. [customer, agent]."""
    encoding: str = "auto"
    """Encoding of the file."""

    def read(
        self, path: str | Path | Sequence[str | Path], *, source: str, limits: ReadLimits | None = None
    ) -> LogRead:
        """The messages of `path` as EVENTS: `line` is the conversation's, `part` the message's place in it.

        Feedback on the whole conversation is one more event behind its messages. Unmapped fields of a conversation are
        in the meta of its first message, under `conversation`.
        """
        read = read_objects(path, encoding=self.encoding, limits=limits or ReadLimits())
        records, messages, bad = self._take_apart(read.objects)
        self._check_paths([record for *_, record in read.objects], source)
        frame = pl.concat([messages, session_feedback(records, messages)], how="diagonal")
        frame = frame.sort("_row", "_part").drop("_row")
        whole = assemble(frame, self, source=source, names={**self.mapped, **self.message})
        report = {**whole.report, "conversations": records.height}
        quarantine = pl.concat([read.quarantine, bad])
        return LogRead(whole.events, quarantine, with_quarantined(read.files, bad), report, whole.unknown_roles, [])

    def faults(self) -> list[str]:
        """Everything that is wrong with the values, each as `setting: fault`."""
        unknown = [name for name in self.message if name not in CANONICAL]
        return [
            *super().faults(),
            *[f"message.{name}: {name!r} is no canonical name; {nearest(name, CANONICAL)}" for name in unknown],
            *([] if "text" in self.message else ["message: `text` is not mapped, so there are no messages"]),
            *empty_faults({f"message.{name}": path for name, path in self.message.items()}),
            *empty_faults({"messages": self.messages}),
            *encoding_faults(self.encoding),
        ]

    def _check_paths(self, records: Sequence[Mapping[str, Any]], source: str) -> None:
        """Raises InputError for dotted paths that stand in no conversation or message, with the names that do."""
        found = [_at(record, self.messages.split(".")) for record in records]
        lists = [one for one in found if isinstance(one, list)]
        if not records:
            return
        if not lists:
            there = _shown_names(records, self.messages)
            raise InputError(f"source {source}: no conversation has a list at {self.messages!r} (`messages`); {there}")
        messages = [message for one in lists for message in one]
        faults = [
            f"no conversation has {path!r} (for {name}, under `columns`); {_shown_names(records, path)}"
            for name, path in self.mapped.items()
            if not any(_stands(record, path.split(".")) for record in records)
        ]
        bare = any(not isinstance(message, dict | list) for message in messages)
        faults += [
            f"no message has {path!r} (for {name}, under `message`); {_shown_names(messages, path)}"
            for name, path in self.message.items()
            if messages and not bare and not (name == "role" and self.alternating)
            if not any(_stands(message, path.split(".")) for message in messages)
        ]
        if faults:
            raise InputError(f"source {source}: " + "; ".join(faults))

    def _take_apart(
        self, objects: Sequence[tuple[str, int, int | None, str | None, dict[str, Any]]]
    ) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """Records, messages and quarantine. A batch kernel: nested objects into flat columns of text."""
        top = {name: path.split(".") for name, path in self.mapped.items()}
        inner = {name: path.split(".") for name, path in self.message.items()}
        used = {path[0] for path in top.values()} | {self.messages.split(".")[0]}
        used_inner = {path[0] for path in inner.values()}
        records: dict[str, list[Any]] = {name: [] for name in ("_file", "_line", "_offset", *(f"c:{n}" for n in top))}
        records.setdefault("c:session", [])
        rows: dict[str, list[Any]] = {
            name: [] for name in ("_row", "_part", "_role", "_meta", *(f"c:{n}" for n in inner))
        }
        bad: list[tuple[str, int, int | None, str, str, int]] = []
        for file, line, offset, key, record in objects:
            found = _at(record, self.messages.split("."))
            if not isinstance(found, list):
                bad.append((file, line, offset, "no_message_list", *_digest(record)))
                continue
            row = len(records["_file"])
            for name, path in top.items():
                records[f"c:{name}"].append(_as_text(_at(record, path)))
            if "session" not in top:
                records["c:session"].append(None)
            session = records["c:session"]
            session[-1] = session[-1] or key or f"{file}#{line}"
            for name, value in (("_file", file), ("_line", line), ("_offset", offset)):
                records[name].append(value)
            for part, message in enumerate(found or [None]):  # no messages: one empty one, so that it has a fate
                whole = self._meta(record, used) if part == 0 else {}
                bare = not isinstance(message, dict | list)
                for name, path in inner.items():
                    value = message if bare and name == "text" else _at(message, path)
                    if name == "text":
                        cell = _content(value, shown=path == inner.get("attachments"))
                    elif name == "attachments":
                        cell = _attached(value, in_parts=path == inner["text"])
                    else:
                        cell = _as_text(value)
                    rows[f"c:{name}"].append(cell)
                own = self._meta(message, used_inner) if isinstance(message, dict) else {}
                meta = {**own, **({"conversation": whole} if whole else {})}
                rows["_meta"].append(json.dumps(meta, ensure_ascii=False) if meta else None)
                speaker = self.alternating[part % len(self.alternating)] if self.alternating else None
                rows["_role"].append(speaker if found else "system")
                rows["_row"].append(row)
                rows["_part"].append(part)
        text, number = pl.String(), pl.Int64()
        flat = pl.DataFrame(
            records, schema={name: number if name in ("_line", "_offset") else text for name in records}
        )
        kinds = {name: pl.UInt32() if name == "_row" else pl.Int32() if name == "_part" else text for name in rows}
        messages = pl.DataFrame(rows, schema=kinds)
        return flat, self._spread(messages, flat), pl.DataFrame(bad, schema=QUARANTINE, orient="row")

    def _meta(self, values: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
        return {
            name: value
            for name, value in values.items()
            if name not in used and value is not None and (self.meta is None or name in self.meta)
        }

    def _spread(self, messages: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
        """`messages` with file, line and the record's own fields; the record's time stands on the first only."""
        kept = ["c:session", "c:customer", "c:agent", "c:customer_name", "c:agent_name", "c:time"]
        kept = [name for name in kept if name in records.columns]
        places = records.select("_file", "_line", "_offset", *[pl.col(name).alias(f"r{name}") for name in kept])
        frame = messages.join(places.with_row_index("_row"), on="_row", how="left", maintain_order="left")
        for name in kept:
            given = pl.when(pl.col("_part") == 0).then(f"r{name}") if name == "c:time" else pl.col(f"r{name}")
            own = [pl.col(name)] if name in frame.columns else []
            frame = frame.with_columns(pl.coalesce(*own, given).alias(name))
        rated = [f"c:{name}" for name in ("rating", "thumb", "survey") if f"c:{name}" in messages.columns]
        turn = pl.any_horizontal([pl.lit(False), *[pl.col(name).is_not_null() for name in rated]])
        frame = frame.with_columns(_kind=pl.lit("message"), _scope=pl.when(turn).then(pl.lit("turn")))
        return frame.drop([f"r{name}" for name in kept])


def _at(value: Any, path: Sequence[str]) -> Any:
    """What stands at a dotted path, numbers being places in lists; None where there is nothing."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _stands(value: Any, path: Sequence[str]) -> bool:
    """Whether something stands at a dotted path, be it null."""
    above = _at(value, path[:-1])
    return path[-1] in above if isinstance(above, dict) else _at(value, path) is not None


def _shown_names(objects: Sequence[Any], wanted: str) -> str:
    """What the first thousand objects have for names, beside the path that is wanted."""
    first = dict.fromkeys(name for one in objects[:1000] if isinstance(one, dict) for name in one)
    if not first:
        return 'they are lists: take places, "0" for the first' if objects else "there are none"
    return shown_columns(pl.DataFrame(schema=dict.fromkeys(first, pl.String())), [wanted])


def _as_text(value: Any) -> str | None:
    """A scalar as text, a list of scalars joined by commas, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and value and not any(isinstance(item, dict | list) or item is None for item in value):
        return ",".join(str(_as_text(item)) for item in value)
    return json.dumps(value, ensure_ascii=False)


def _attached(value: Any, *, in_parts: bool) -> str | None:
    """What is attached to a message, as JSON where it is no text; with `in_parts` the parts of its content."""
    if isinstance(value, str):
        return None if in_parts else value
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _content(value: Any, *, shown: bool) -> str | None:
    """A message's text; of content in parts (`[{"type": "text", "text": ...}]`) the text parts, a line each.

    Where its pictures are `shown` a mark stands for each.
    """
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        if shown:
            return text_of_parts(value)
        texts = [part["text"] for part in value if isinstance(part.get("text"), str)]
        return "\n".join(texts) if texts else None
    return _as_text(value)


def _digest(record: Mapping[str, Any]) -> tuple[str, int]:
    raw = json.dumps(record, ensure_ascii=False, sort_keys=True).encode()
    return hashlib.sha256(raw).hexdigest(), len(raw)
