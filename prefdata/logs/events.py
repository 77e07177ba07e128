"""What every layout of a log is turned into: one flat frame of events, and the fates that lines of a log can have."""

from __future__ import annotations

from typing import Literal

import polars as pl

Role = Literal["customer", "agent", "bot", "system", "note", "tool"]

ROLES: tuple[Role, ...] = ("customer", "agent", "bot", "system", "note", "tool")
"""Who speaks in a log. `bot` is an automatic agent, `system` a notice of the platform, `note` is internal."""

EVENTS = pl.Schema(
    {
        "source": pl.String(),
        "file": pl.String(),  # name of the file under the source's root, never an absolute path
        "line": pl.Int64(),  # 1-based: physical line where the record starts, or record number in JSON, Parquet, XLSX
        "part": pl.Int32(),  # 0-based position inside the record (a message of a conversation), else 0
        "offset": pl.Int64(),  # byte offset of the record in the decompressed file, null where it has no meaning
        "kind": pl.String(),  # "message" or "feedback" (a line that only rates) or "separator"
        "session": pl.String(),
        "customer": pl.String(),
        "agent": pl.String(),
        "event": pl.String(),  # the message's own id
        "reply_to": pl.String(),  # id of the message that this one answers
        "time": pl.Datetime("us", "UTC"),
        "role": pl.String(),  # one of ROLES, null = not recognised
        "text": pl.String(),
        "pictures": pl.List(pl.String()),  # addresses, in the order of the marks (U+FFFC) that stand in the text
        "ratings": pl.List(pl.Float64()),  # as given, on the scale of the source; several = several annotators
        "thumb": pl.Int8(),  # 1 up, -1 down
        "survey": pl.String(),  # free text that the customer left in a survey
        "status": pl.String(),  # as given: resolved, open, reopened, escalated ...
        "scope": pl.String(),  # what the feedback is about: "turn" (the agent's turn before it) or "session"
        "names": pl.List(pl.String()),  # personal names from mapped name columns; removed by the transforms
        "meta": pl.String(),  # JSON object of every column that was not mapped
    }
)

TURNS = pl.Schema(
    {
        "source": pl.String(),
        "session": pl.String(),  # unique over all sources: "<source>/<id>"
        "turn": pl.Int32(),  # 0-based position in the session after repair and merging
        "role": pl.String(),  # "customer" or "agent"
        "text": pl.String(),
        "pictures": pl.List(pl.String()),  # of all its messages
        "time": pl.Datetime("us", "UTC"),
        "customer": pl.String(),
        "agent": pl.String(),
        "flags": pl.List(pl.String()),  # of "auto_reply", "bot", "handover", "merged", "reordered", "tool"
        "ratings": pl.List(pl.Float64()),  # feedback of scope "turn" that stands on this turn's own lines
        "thumb": pl.Int8(),
        "survey": pl.String(),
        "status": pl.String(),
        "names": pl.List(pl.String()),
        "file": pl.String(),
        "line": pl.Int64(),  # of the first event merged into the turn
        "part": pl.Int32(),
        "meta": pl.String(),
    }
)
"""One row a turn, sorted by (session, turn); roles alternate, so a customer's burst is one turn."""

SESSIONS = pl.Schema(
    {
        "source": pl.String(),
        "session": pl.String(),
        "customer": pl.String(),
        "started": pl.Datetime("us", "UTC"),
        "ended": pl.Datetime("us", "UTC"),
        "turns": pl.Int32(),
        "customer_turns": pl.Int32(),
        "agent_turns": pl.Int32(),
        "ratings": pl.List(pl.Float64()),  # feedback of scope "session"
        "thumb": pl.Int8(),
        "survey": pl.String(),
        "status": pl.String(),
        "handover": pl.Boolean(),  # a bot gave the conversation to a human
        "complete": pl.Boolean(),  # holds at least one customer turn that an agent answered
    }
)

FATES = pl.Schema(
    {
        "source": pl.String(),
        "file": pl.String(),
        "line": pl.Int64(),
        "part": pl.Int32(),
        "fate": pl.String(),  # one of FATE_NAMES
        "reason": pl.String(),  # why, for "set_aside" and "quarantined"; else null
    }
)
"""One row a unit of input (a non-blank line, a record, a message of a record): what became of it, once."""

FATE_NAMES = ("row", "context", "signal", "separator", "set_aside", "quarantined")
"""row: (part of) the completion of a row. context: a customer's turn or an agent's opening, read but no completion.
signal: carries feedback and no message. set_aside: left out by a named rule (double delivery, internal note ...)."""

REFUSED = "refused"
"""The fate of a record that its format does not take, or of which a picture was refused."""
