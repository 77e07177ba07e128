"""Writes the sample support log: `python recipes/data/generate.py [--out FOLDER]`. The same bytes every time.

Everything in it is invented. The files are three exports of one help desk (chats.csv, conversations.jsonl,
transcripts.tsv) and truth.json, which says what is really true of each session; questions.csv is another log.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dialogue import WORDS, Session, write
from dice import Dice
from exports import conversations, events, transcripts
from mess import BROKEN_CANARY, copied, one_sided, opposite, plant_canary, plant_junk, plant_oddities, plant_tokens
from people import PEOPLE, Customer, new_customer, new_slots
from questions import questions

SEED = "prefdata sample 1"
FIRST_DAY = datetime(2025, 1, 6, 8, 0)
PERSONAS = {"excellent": 0.56, "ordinary": 0.12, "unhelpful": 0.19, "rude": 0.13}
PLAN = {
    "chats": ("T", [("en", 470)]),
    "conversations": ("V", [("en", 200), ("zh", 55)]),
    "transcripts": ("W", [("zh", 290), ("en", 24)]),
}
"""Export -> prefix of its session ids, and how many sessions of which language are planned (copies come on top)."""
CANARIES = {
    "chats": ["phone", "card", "name", "secret"],
    "conversations": ["name", "secret", "phone", "card"],
    "transcripts": ["phone", "card", "cn_id", "name"],
}


def build() -> dict[str, list[Session]]:
    """The sessions of every export, before its particular mess."""
    exports: dict[str, list[Session]] = {}
    customers = 0
    for export, (prefix, parts) in PLAN.items():
        sessions: list[Session] = []
        for language, count in parts:
            known: list[Customer] = []
            returns: list[tuple[Session, int]] = []
            for number in range(count):
                dice = Dice(f"{SEED}/{export}/{language}/{number}")
                customers += 1
                first = returns.pop(0)[0] if returns and dice.chance(0.7) else None
                sessions.append(_session(f"{prefix}{20000 + len(sessions)}", language, customers, known, first, dice))
                made = sessions[-1]
                known.append(made.customer)
                if first is None and made.facts["worth"] < -0.2 and dice.chance(0.35):
                    returns.append((made, number))
        exports[export] = sessions
    return exports


def _session(
    name: str, language: str, number: int, known: list[Customer], first: Session | None, dice: Dice
) -> Session:
    """A session of a new customer, of a known one with a new matter, or of one who comes back about `first`."""
    persona = dice.weighted(PERSONAS)
    agent = dice.one(PEOPLE[language]["agents"][persona])
    start = FIRST_DAY + timedelta(days=dice.between(0, 150), minutes=dice.between(0, 720), seconds=dice.between(0, 59))
    intent = dice.one(list(WORDS[language][0]))
    if first is not None:
        customer, intent = first.customer, first.intent
        start = first.start + timedelta(days=dice.between(1, 5), minutes=dice.between(0, 300))
        slots = {**first.slots, "agent": agent}
        fresh = new_slots(customer, intent, agent, start, dice)
        slots |= {key: fresh[key] for key in ("eta", "ref", "time", "lead", "credit")}
        slots["lastdate"] = new_slots(customer, intent, agent, first.start + timedelta(days=3), Dice("last"))[
            "lastdate"
        ]
        if dice.chance(0.5):
            first.status = "reopened"
    else:
        customer = dice.one(known) if known and dice.chance(0.12) else new_customer(number, language, dice)
        slots = new_slots(customer, intent, agent, start, dice)
    session = Session(name, customer, intent, agent, persona, start, slots)
    if first is not None:
        session.facts["returns_after"] = first.id
    angry = dice.chance(0.65 if first is not None else 0.2)
    write(
        session,
        dice,
        mood="angry" if angry else "calm",
        back=first is not None,
        opening=dice.chance(0.22),
        bot=dice.chance(0.10),
    )
    plant_oddities(session, dice, WORDS[language][1])
    return session


def plant(exports: dict[str, list[Session]]) -> list[dict[str, Any]]:
    """Adds copies, opposite answers, one-sided sessions, forged tokens and canaries; the list of the canaries."""
    canaries = []
    fresh = 70_000
    for export, sessions in exports.items():
        dice = Dice(f"{SEED}/mess/{export}")
        prefix = PLAN[export][0]
        chosen = dice.shuffled(
            [session for session in sessions if len(session.lines) > 2 and not session.facts.get("returns_after")]
        )
        for kind, session in zip(CANARIES[export], chosen[:4], strict=True):
            canaries.append({"source": export, **plant_canary(session, len(canaries), kind, dice)})
        plant_tokens(chosen[4:60], dice, 6)
        plant_junk(chosen[130:138])
        for role, session in zip(["customer"] * 6 + ["agent"] * 2, chosen[60:68], strict=True):
            one_sided(session, role)
        for at, session in enumerate(chosen[70:90]):
            fresh += 1
            customer = new_customer(fresh, session.customer.language, dice)
            near = at % 2 == 0
            sessions.append(copied(session, new_id=f"{prefix}{fresh}", customer=customer, dice=dice, near=near))
        language = PLAN[export][1][0][0]
        for which in range(len(WORDS[language][1]["opposites"])):
            seeded = [session for session in chosen[95:] if session.customer.language == language][which]
            for positive in (True, False):
                fresh += 1
                customer = new_customer(fresh, language, dice)
                start = seeded.start + timedelta(days=dice.between(1, 30))
                session = Session(f"{prefix}{fresh}", customer, "refund", seeded.agent, "ordinary", start, seeded.slots)
                opposite(session, which, positive, seeded.slots)
                session.facts = {"opposite": f"{export}-{which}"}
                sessions.append(session)
    return canaries


def truth(exports: dict[str, list[Session]], canaries: list[dict[str, Any]], planted: dict[str, Any]) -> dict[str, Any]:
    """What is true of the log and cannot be read from it."""
    listed = []
    qualities: Counter[str] = Counter()
    personal: Counter[str] = Counter()
    for export, sessions in exports.items():
        for session in sessions:
            agent = [line.quality for line in session.lines if line.role == "agent"]
            qualities.update(agent)
            personal.update(session.personal)
            entry = {
                "source": export,
                "session": session.id,
                "customer": session.customer.id,
                "language": session.customer.language,
                "intent": session.intent,
                "agent": agent,
                "ending": session.ending,
            }
            entry |= {key: value for key, value in session.facts.items() if key != "worth"}
            listed.append(entry)
    broken = [
        {
            "source": export,
            "canary": BROKEN_CANARY,
            "kind": "broken_line",
            "value": BROKEN_CANARY,
            "session": None,
            "readable": False,
        }
        for export in exports
    ]
    return {
        "note": "Invented; `agent`: quality of each agent message in order (good, ordinary, bad, rude, opening, junk)",
        "sessions": {export: len(sessions) for export, sessions in exports.items()},
        "messages": {export: sum(len(session.lines) for session in sessions) for export, sessions in exports.items()},
        "agent_messages": dict(sorted(qualities.items())),
        "personal_data": dict(sorted(personal.items())),
        "planted": planted,
        "canaries": canaries + broken,
        "list": listed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the sample support log.")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parent, help="folder to write to (default: this one)"
    )
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    exports = build()
    canaries = plant(exports)
    planted = {}
    for export, (name, writer) in {
        "chats": ("chats.csv", events),
        "conversations": ("conversations.jsonl", conversations),
        "transcripts": ("transcripts.tsv", transcripts),
    }.items():
        data, planted[export] = writer(exports[export], Dice(f"{SEED}/export/{export}"))
        (out / name).write_bytes(data)
    (out / "questions.csv").write_bytes(questions(SEED))
    facts = truth(exports, canaries, planted)
    sessions = facts.pop("list")
    text = json.dumps(facts, ensure_ascii=False, indent=1)
    rows = ",\n".join("  " + json.dumps(entry, ensure_ascii=False) for entry in sessions)
    (out / "truth.json").write_bytes(f'{text[:-2]},\n "list": [\n{rows}\n ]\n}}\n'.encode())


if __name__ == "__main__":
    main()
