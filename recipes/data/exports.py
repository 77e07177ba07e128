"""Sessions as help desks export them: a CSV of messages, JSON lines of conversations, a TSV of transcripts."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta

from dialogue import Session
from dice import Dice
from mess import BROKEN_CANARY

HEADER = [
    "ticket_id",
    "customer_id",
    "customer_name",
    "agent",
    "created_at",
    "author_type",
    "message_id",
    "body",
    "csat",
    "status",
]
AUTHORS = {"customer": "end_user", "agent": "staff", "bot": "bot", "system": "system", "note": "internal_note"}
SPEAKERS = {"customer": "客户", "agent": "客服", "bot": "机器人", "system": "系统", "note": "备注"}


def times(session: Session) -> list[datetime]:
    moment, result = session.start, []
    for line in session.lines:
        moment += timedelta(seconds=line.seconds)
        result.append(moment)
    return result


def _row(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue()


def events(sessions: list[Session], dice: Dice) -> tuple[bytes, dict[str, int]]:
    """The CSV, and counts of what was planted in it."""
    planted = {"double_deliveries": 0, "out_of_order": 0, "unmapped_roles": 0, "broken_lines": 0, "survey_rows": 0}
    timed: list[tuple[datetime, int, list[str]]] = []
    number = 100_000
    for session in sessions:
        stamps = times(session)
        last = len(session.lines) - 1
        survey_row = session.rating is not None and dice.chance(0.4)
        for at, (line, moment) in enumerate(zip(session.lines, stamps, strict=True)):
            number += 1
            rating = str(session.rating) if at == last and session.rating is not None and not survey_row else ""
            status = session.status if at == last else ""
            staff = session.agent if line.role in ("agent", "note") else ""
            timed.append(
                (
                    moment,
                    number,
                    [
                        session.id,
                        session.customer.id,
                        session.customer.name,
                        staff,
                        "",
                        AUTHORS[line.role],
                        f"M{number}",
                        line.text,
                        rating,
                        status,
                    ],
                )
            )
            if dice.chance(0.02):
                planted["double_deliveries"] += 1
                timed.append((moment + timedelta(seconds=dice.between(0, 2)), number, list(timed[-1][2])))
        if survey_row:
            number += 1
            planted["survey_rows"] += 1
            cells = [
                session.id,
                session.customer.id,
                session.customer.name,
                "",
                "",
                "system",
                f"M{number}",
                "",
                str(session.rating),
                session.status,
            ]
            timed.append((stamps[-1] + timedelta(minutes=dice.between(5, 90)), number, cells))
        if dice.chance(0.012):
            number += 1
            planted["unmapped_roles"] += 1
            cells = [
                session.id,
                session.customer.id,
                session.customer.name,
                "",
                "",
                "crm_sync",
                f"M{number}",
                "contact record merged",
                "",
                "",
            ]
            timed.append((stamps[0] + timedelta(seconds=3), number, cells))
    timed.sort(key=lambda entry: (entry[0], entry[1]))
    for at in range(3, len(timed)):
        if dice.chance(0.03):
            timed[at - 3], timed[at] = timed[at], timed[at - 3]
            planted["out_of_order"] += 1
    rows = []
    for moment, _, cells in timed:
        cells[4] = f"{moment:%Y-%m-%d %H:%M:%S}"
        rows.append(_row(cells).encode())
    broken = [
        b"T99001,C99001,Nobody Known,,2025-03-02 10:00:00,end_user\r\n",
        b"T99002,C99002,Nobody Known,,2025-03-05 11:00:00,end_user,M900001,one, two, three, too many,4,open,x,y\r\n",
        b"T99003,C99003,Nobody Known,,2025-04-01 09:30:00,end_user,M900002,caf\xe9 cr\xe8me machine,,open\r\n",
        f"T99004,C99004,Nobody {BROKEN_CANARY}\r\n".encode(),
    ]
    for place, line in zip((400, 900, 1300, 1700), broken, strict=True):
        rows.insert(min(place, len(rows)), line)
        planted["broken_lines"] += 1
    return b"\xef\xbb\xbf" + _row(HEADER).encode() + b"".join(rows), planted


def conversations(sessions: list[Session], dice: Dice) -> tuple[bytes, dict[str, int]]:
    """The JSON lines, and counts of what was planted in them."""
    lines: list[str] = []
    surrogates = 0
    for number, session in enumerate(sessions):
        thumb = None if session.rating in (None, 3) else "up" if (session.rating or 0) > 3 else "down"
        record = {
            "id": session.id,
            "customer": {"id": session.customer.id, "name": session.customer.name},
            "agent": session.agent,
            "opened": f"{session.start:%Y-%m-%dT%H:%M:%S}+00:00",
            "rating": {"thumb": thumb} if thumb else None,
            "survey": session.survey or None,
            "status": session.status,
            "messages": [
                {"from": line.role, "at": f"{moment:%Y-%m-%dT%H:%M:%S}Z", "text": line.text}
                for line, moment in zip(session.lines, times(session), strict=True)
            ],
        }
        text = json.dumps(record, ensure_ascii=False)
        if number == 77:
            text = text.replace('"status": ', '"status": "open", "status": ', 1)
        if number == 142:
            text = text.replace('"text": "', '"text": "\\ud83d ', 1)
            surrogates += 1
        lines.append(text)
    head = '{"id": "V99001", "customer": {"id": "C99011"}, "messages": ['
    broken = [
        head,
        "{'id': 'V99002', 'messages': []}",
        head + '{"from": "customer", "text": "' + BROKEN_CANARY + '"}',
        "",
    ]
    for place, line in zip((30, 90, 150, 200), broken, strict=True):
        lines.insert(min(place, len(lines)), line)
    planted = {"broken_lines": 3, "blank_lines": 1, "duplicate_keys": 1, "lone_surrogates": surrogates}
    return ("\n".join(lines) + "\n").encode(), planted


def transcripts(sessions: list[Session], dice: Dice) -> tuple[bytes, dict[str, int]]:
    """The TSV in GB18030, and counts of what was planted in it."""
    rows = ["case_no\tuser_no\t姓名\t工号\tdate\t对话内容\tscore\t处理结果\n"]
    results = {
        "resolved": "已解决",
        "closed": "已关闭",
        "open": "未解决",
        "pending": "处理中",
        "escalated": "已升级",
        "reopened": "重新打开",
    }
    english = {"客户": "Customer", "客服": "Agent", "机器人": "Bot", "系统": "System", "备注": "Note"}
    for session in sessions:
        zh, mark = session.customer.language == "zh", dice.one(["：", ":", ": "])
        cell = "\n".join(
            (SPEAKERS[line.role] if zh else english[SPEAKERS[line.role]])
            + (mark if zh else ": ")
            + " ".join(line.text.split("\n"))
            for line in session.lines
        )
        score = "" if session.rating is None else str(min(10, max(1, session.rating * 2 - dice.between(0, 1))))
        cells = [
            session.id,
            session.customer.id,
            session.customer.name,
            session.agent,
            f"{session.start:%Y/%m/%d %H:%M}",
        ]
        cells += ['"' + cell.replace('"', '""') + '"', score, results[session.status]]
        rows.append("\t".join(cells) + "\n")
    rows.insert(120, "W99001\tC99021\t某某\t\t2025/03/03 10:00\n")
    rows.insert(200, f"W99002\tC99022\t{BROKEN_CANARY}\n")
    return "".join(rows).encode("gb18030"), {"broken_lines": 2}
