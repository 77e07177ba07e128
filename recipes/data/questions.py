"""questions.csv: a help desk whose customers ask the same, so that pairs can be made of it.

Something new comes into the shop, and for a week many ask the same question about it, in nearly the same words. Some
agents know the answer, some do not.
"""

from __future__ import annotations

import csv
import io
import tomllib
from datetime import datetime, timedelta
from typing import Any

from dice import WORDING, Dice, filled, spin
from exports import HEADER
from people import PEOPLE, new_customer

FIRST_WEEK = datetime(2025, 1, 6, 9, 0)
ASKED = 12
"""Customers a question."""
KNOWING = 0.5
"""Share of the chats that an agent answers who knows."""
MISRATED = 0.06
"""Share of the ratings that say the opposite of what happened."""
UNRATED = 0.2


def weeks() -> list[dict[str, Any]]:
    """One new thing a week, kinds in turn: its question, and the answers to it."""
    words = tomllib.loads((WORDING / "questions_en.toml").read_text(encoding="utf-8"))
    kinds = words.pop("kind")
    turns = max(len(kind["items"]) for kind in kinds)
    return [{**words, **kind, "item": kind["items"][turn]} for turn in range(turns) for kind in kinds]


def reply(week: dict[str, Any], *, knows: bool, dice: Dice) -> str:
    """An answer with the facts in it, or one that knows nothing."""
    if not knows:
        first, second = dice.shuffled(week["bad"])[:2]
        return spin(first, dice) + (" " + spin(second, dice) if dice.chance(0.5) else "")
    parts = [
        dice.one(week["open"]),
        filled(dice.one(week["good"]), week),
        dice.one(week["more"]),
        dice.one(week["close"]),
    ]
    kept = [parts[0]] * dice.chance(0.7) + [parts[1]] + [parts[2]] * dice.chance(0.8) + [parts[3]] * dice.chance(0.7)
    return " ".join(kept)


def questions(seed: str) -> bytes:
    """The CSV: a row a message, in the order in which they were written."""
    rows: list[tuple[datetime, list[str]]] = []
    message = 500_000
    for at, week in enumerate(weeks()):
        for asked in range(ASKED):
            dice = Dice(f"{seed}/questions/{at}/{asked}")
            number = at * ASKED + asked
            customer = new_customer(40_000 + number, "en", dice)
            knows = dice.chance(KNOWING)
            agent = dice.one(PEOPLE["en"]["agents"]["excellent" if knows else "unhelpful"])
            moment = FIRST_WEEK + timedelta(weeks=at, days=dice.between(0, 5), minutes=dice.between(0, 600))
            question = filled(week["question"], week)
            greeting = dice.one(week["greet"])
            happy = knows != dice.chance(MISRATED)
            rating = "" if dice.chance(UNRATED) else str(dice.between(4, 5) if happy else dice.between(1, 2))
            said = [
                ("end_user", greeting + question if greeting else question[0].upper() + question[1:]),
                ("staff", reply(week, knows=knows, dice=dice)),
                ("end_user", dice.one(week["thanks" if happy else "unhappy"])),
            ]
            for place, (author, text) in enumerate(said):
                message += 1
                moment += timedelta(seconds=dice.between(20, 240))
                row = {
                    "ticket_id": f"Q{30_000 + number}",
                    "customer_id": customer.id,
                    "customer_name": customer.name,
                    "agent": agent if author == "staff" else "",
                    "created_at": moment.isoformat(sep=" "),
                    "author_type": author,
                    "message_id": f"M{message}",
                    "body": text,
                    "csat": rating if place == 2 else "",
                    "status": "solved" if place == 2 else "",
                }
                rows.append((moment, [row[name] for name in HEADER]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(HEADER)
    writer.writerows(row for _, row in sorted(rows))
    return text.getvalue().encode()
