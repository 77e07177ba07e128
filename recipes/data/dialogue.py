"""One session: what the customer asks, how the agent answers, how the customer takes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dice import Dice, filled, spin, wording
from people import Customer, personal

TAGS = re.compile(r"^@([\w,]+) ")
WORDS = {language: wording(language) for language in ("en", "zh")}

QUALITY = {
    "excellent": {"good": 0.90, "ordinary": 0.10},
    "ordinary": {"good": 0.45, "ordinary": 0.45, "bad": 0.10},
    "unhelpful": {"bad": 0.80, "ordinary": 0.12, "rude": 0.05, "good": 0.03},
    "rude": {"rude": 0.58, "bad": 0.42},
}
"""How an agent of this kind answers, message by message."""

REACTION = {
    "good": {"thanks": 0.44, "follow": 0.30, "meh": 0.07, "angry": 0.06, "silent": 0.13},
    "ordinary": {"meh": 0.32, "thanks": 0.15, "follow": 0.20, "restate": 0.13, "complain": 0.08, "silent": 0.12},
    "bad": {"restate": 0.42, "complain": 0.23, "escalate": 0.10, "meh": 0.04, "polite": 0.08, "silent": 0.13},
    "rude": {"insulted": 0.46, "escalate": 0.20, "complain": 0.10, "restate": 0.07, "polite": 0.03, "silent": 0.14},
}
"""How a customer takes an answer of this quality. Noisy on purpose: good answers meet anger, bad ones meet thanks."""

FACES = {"thanks": "😊👍🙏🎉", "polite": "🙂🙏", "follow": "🙂🤔🙏", "meh": "🤷😐"}
"""What goes with a reaction; the others are angry or sad."""

ENDINGS = ("thanks", "silent", "polite")

PERSONAL = {
    "refund": ["email", "card", "iban", "phone"],
    "delivery": ["phone", "url", "email"],
    "damaged": ["phone", "email"],
    "wrong_item": ["phone", "email"],
    "billing": ["card", "iban", "email"],
    "login": ["email", "password", "ip", "url", "phone", "cn_id"],
    "cancellation": ["email", "phone", "card"],
    "subscription": ["email", "card", "phone"],
    "warranty": ["phone", "email", "cn_id"],
    "technical": ["phone", "ip", "api_key", "email"],
    "address": ["phone", "email", "cn_id"],
    "invoice": ["email", "url", "api_key"],
    "promo": ["email", "url"],
    "appointment": ["phone", "cn_id"],
}
"""What kinds of personal data customers give away, by intent."""


@dataclass
class Line:
    """One message."""

    role: str
    """customer, agent, bot, system or note."""
    text: str
    quality: str = ""
    """Of an agent's message: opening, good, ordinary, bad or rude."""
    seconds: int = 60
    """Since the message before it."""


@dataclass
class Session:
    """One conversation and what is true of it."""

    id: str
    customer: Customer
    intent: str
    agent: str
    persona: str
    start: datetime
    slots: dict[str, str]
    lines: list[Line] = field(default_factory=list)
    ending: str = ""
    rating: int | None = None
    """1 to 5; each export writes it on its own scale."""
    survey: str = ""
    status: str = ""
    personal: list[str] = field(default_factory=list)
    """Kinds of personal data planted in it."""
    facts: dict[str, Any] = field(default_factory=dict)


class Writer:
    """Writes the messages of one session and never uses a template twice in it, as long as others are left."""

    def __init__(self, session: Session, dice: Dice) -> None:
        intents, self.common = WORDS[session.customer.language]
        self.intent: dict[str, Any] = intents[session.intent]
        self.session, self.dice = session, dice
        self.chinese = session.customer.language == "zh"
        self.used: set[str] = set()
        self.answer = ""

    def fitting(self, bank: Sequence[str]) -> list[str]:
        """The templates that fit what happened in this session: those without a tag, and those tagged with its scene.

        The scene is the tag of the opening: `@shipped I cancelled it and you sent it anyway.`
        """
        scene = self.session.slots.get("scene", "")
        pairs = [(TAGS.match(template), template) for template in bank]
        return [template for tags, template in pairs if not (tags and scene) or scene in tags.group(1).split(",")]

    def pick(self, bank: Sequence[str]) -> str:
        """One of the fitting templates filled in, or nothing where none fits."""
        fitting = self.fitting(bank)
        fresh = [template for template in fitting if template not in self.used] or fitting
        if not fresh:
            return ""
        template = self.dice.one(fresh)
        if template:
            self.used.add(template)
        return self.fill(template)

    def fill(self, template: str) -> str:
        template = TAGS.sub("", template)
        topic = TAGS.sub("", self.dice.one(self.fitting(self.intent["topic"])))
        slots = {**self.session.slots, "topic": topic}
        text = filled(
            spin(template, self.dice), {**slots, "topic_c": "{topic}" if self.chinese else upper(filled(topic, slots))}
        )
        return text if self.chinese else upper(text)

    def maybe(self, probability: float, bank: Sequence[str]) -> str:
        return self.pick(bank) if self.dice.chance(probability) else ""

    def join(self, *parts: str) -> str:
        """The parts as one text; after a comma or colon an English part goes on in lower case."""
        kept = [part for part in parts if part]
        if self.chinese:
            return "".join(kept)
        text = kept[0]
        for part in kept[1:]:
            text += " " + (lower(part) if text.endswith((",", "but")) else part)
        return text

    # The agent's side.

    def agent_text(self, quality: str, kind: str) -> str:
        text = {"good": self.good, "ordinary": self.ordinary, "bad": self.bad, "rude": self.rude}[quality](kind)
        if self.dice.chance(0.10 if quality in ("good", "ordinary") else 0.04):
            text += "\n" + self.pick(self.common["signature"])
        return text

    def good(self, kind: str) -> str:
        common, intent, maybe = self.common, self.intent, self.maybe
        if kind == "first":
            opening = [maybe(0.7, common["ack"]), maybe(0.75, intent["check"])]
            if self.dice.chance(0.2):
                opening.reverse()
            hello = maybe(0.35, common["hello_agent"])
            return self.join(
                hello, *opening, self.pick(intent["action"]), maybe(0.8, intent["next"]), maybe(0.35, common["offer"])
            )
        if kind == "follow":
            return self.join(
                maybe(0.6, common["good_follow_lead"]), self.answer, maybe(0.65, common["good_follow_tail"])
            )
        if kind == "escalate":
            return self.join(
                maybe(0.3, common["hello_agent"]), self.pick(common["good_escalate"]), maybe(0.4, intent["action"])
            )
        if kind == "close":
            return self.pick(common["good_close"])
        sorry = self.pick(common["good_recover"]) if kind == "angry" else maybe(0.5, common["ack"])
        return self.join(
            sorry,
            maybe(0.4, intent["check"]),
            self.pick(intent["action"]),
            maybe(0.7, intent["next"]),
            maybe(0.3, common["offer"]),
        )

    def ordinary(self, kind: str) -> str:
        common, maybe = self.common, self.maybe
        if kind == "follow":
            return self.join(self.answer, maybe(0.4, common["ordinary_tail"]))
        body = self.pick(self.intent["ordinary"] if kind == "first" else common["ordinary_again"])
        return self.join(maybe(0.5, common["ordinary_lead"]), body, maybe(0.45, common["ordinary_tail"]))

    def bad(self, kind: str) -> str:
        common, maybe = self.common, self.maybe
        if kind == "first":
            return self.join(
                maybe(0.6, common["bad_lead"]), self.pick(self.intent["vague"]), maybe(0.75, common["bad_tail"])
            )
        if kind in ("follow", "close"):
            return self.join(
                maybe(0.4, common["bad_lead"]), self.pick(common["bad_follow"]), maybe(0.5, common["bad_tail"])
            )
        if kind == "escalate":
            return self.join(
                maybe(0.4, common["bad_lead"]), self.pick(common["bad_escalate"]), maybe(0.5, common["bad_tail"])
            )
        tail = maybe(0.45, self.intent["vague"]) or maybe(0.5, common["bad_tail"])
        return self.join(maybe(0.45, common["bad_lead"]), self.pick(common["bad_again"]), tail)

    def rude(self, kind: str) -> str:
        common, maybe = self.common, self.maybe
        bank = self.intent["rude"] if kind == "first" and self.dice.chance(0.45) else common["rude_body"]
        if self.dice.chance(0.14):
            bank = common["toxic_body"]
        more = self.maybe(0.3, self.intent["rude"]) or maybe(0.15, common["rude_body"])
        return self.join(maybe(0.55, common["rude_lead"]), self.pick(bank), more, maybe(0.6, common["rude_tail"]))

    # The customer's side.

    def opening(self, mood: str, back: bool) -> str:
        common, intent, maybe = self.common, self.intent, self.maybe
        greeting = maybe(0.25 if mood == "angry" else 0.55, common["greet"])
        if greeting:
            greeting += "，" if self.chinese else ","
        scene = self.session.slots.get("scene", "")
        if not scene:
            told = self.dice.one(intent["open"])
            tags = TAGS.match(told)
            self.session.slots["scene"] = tags.group(1) if tags else ""
            body = self.fill(told)
        else:
            body = "" if back and self.dice.chance(0.4) else self.pick(intent["open"])
        before = (
            self.pick(common["came_back"]) if back else maybe(0.6 if mood == "angry" else 0.0, common["angry_open"])
        )
        rest = [maybe(0.6, intent["detail"]), maybe(0.65, intent["ask"])]
        polite = maybe(0.02 if mood == "angry" else 0.35, common["polite"])
        return self.join(greeting, before, body, *rest, polite)

    def reaction(self, kind: str, quality: str) -> str:
        common, intent, maybe = self.common, self.intent, self.maybe
        if kind == "thanks":
            return self.join(self.pick(common["thanks"]), maybe(0.2, common["thanks"]))
        if kind == "follow":
            answers = dict(intent["follow"])
            fitting = self.fitting(list(answers)) or list(answers)
            question = self.dice.one([text for text in fitting if text not in self.used] or fitting)
            answer = answers[question]
            self.used.add(question)
            self.answer = self.fill(answer)
            return self.join(maybe(0.6 if quality == "good" else 0.2, common["thanks_follow"]), self.fill(question))
        if kind == "meh":
            return self.pick(common["meh"])
        if kind == "angry":
            return self.pick(common["angry_anyway"])
        if kind == "polite":
            return self.pick(common["polite_bad"])
        if kind == "restate":
            return self.join(
                self.pick(common["restate_lead"]),
                self.pick([*intent["restate"], *common["restate_any"]]),
                maybe(0.2, common["complain"]),
            )
        if kind == "complain":
            return self.join(self.pick(common["complain"]), maybe(0.4, intent["restate"]))
        if kind == "insulted":
            return self.join(
                self.pick(common["complain_rude"]), maybe(0.3, common["escalate"]) or maybe(0.3, intent["restate"])
            )
        return self.join(maybe(0.3, common["complain"]), self.pick(common["escalate"]))

    def personal(self) -> str:
        """A sentence that gives personal data away."""
        kinds = PERSONAL[self.session.intent]
        pairs = [pair for pair in self.common["pii"] if pair[0] in kinds]
        kind, sentence = self.dice.one(pairs)
        self.session.personal.append(kind)
        sentence = sentence.replace("{email}", self.session.customer.email)
        return sentence.replace("{pii}", personal(kind, self.session.customer, self.dice))


def upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def lower(text: str) -> str:
    """`text` with a small first letter, but for `I`, names and codes."""
    first = text.split(" ")[0].rstrip(",.!?;:")
    keep = first in ("I", "I'm", "I'd", "I've", "I'll") or any(char.isupper() or char.isdigit() for char in first[1:])
    names = ("Norvale", "Swiftline", "Corvo", "Parcelwing", "Redgate", "Monday", "March", "May")
    return text if keep or first in names else text[:1].lower() + text[1:]


def typed(text: str, customer: Customer, dice: Dice, faces: str) -> str:
    """`text` as this customer types it, perhaps with one of `faces`."""
    chinese = customer.language == "zh"
    if customer.style == "lower":
        return text.rstrip("。").replace("，", " ").replace("。", " ") if chinese else text.lower().rstrip(".")
    if customer.style == "loud":
        return text.rstrip("。.") + dice.one(["!!!", "！！", "!!", "?!"])
    if customer.style == "emoji":
        return text + dice.one([" ", ""]) + dice.one(faces) if dice.chance(0.5) else text
    if customer.style == "sloppy":
        if chinese:
            return text.replace("再", "在", 1) if dice.chance(0.5) else text.replace("的", "得", 1)
        words = text.split(" ")
        for _ in range(1 + len(words) // 14):
            at = dice.between(0, len(words) - 1)
            word = words[at]
            if len(word) > 4 and word.isalpha():
                cut = dice.between(1, len(word) - 3)
                words[at] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
        return " ".join(words).replace("'", "")
    return text


def write(session: Session, dice: Dice, *, mood: str, back: bool, opening: bool, bot: bool) -> None:
    """Fills in the lines, the ending, the rating, the survey and the status of `session`."""
    writer = Writer(session, dice)
    common, lines, customer = writer.common, session.lines, session.customer

    def say(role: str, text: str, quality: str = "") -> None:
        slow = dice.between(20, 240) if role == "customer" else dice.between(15, 200)
        lines.append(Line(role, text, quality, slow))

    def customer_says(text: str, extra: str = "", faces: str = "🙏😕🤔") -> None:
        say("customer", writer.join(typed(text, customer, dice, faces), extra))

    if opening:
        say("agent", writer.pick(common["opening_boilerplate"]), "opening")
    customer_says(writer.opening(mood, back), writer.personal() if dice.chance(0.14) else "")
    if bot:
        say("bot", writer.pick(common["bot"]))
        customer_says(writer.pick(common["bot_after"]))
        say("system", writer.pick(common["handover"]))
    if dice.chance(0.05):
        say("note", writer.pick(common["note"]))
    kind, limit = "first", int(dice.weighted({"1": 0.10, "2": 0.38, "3": 0.36, "4": 0.16}))
    for count in range(1, limit + 1):
        quality = dice.weighted(QUALITY[session.persona])
        if count == 1 and quality in ("good", "ordinary") and dice.chance(0.2):
            say("agent", writer.join(writer.maybe(0.5, common["ack"]), writer.pick(common["ask_info"])), "ordinary")
            say("customer", writer.join(writer.pick(common["info"]), writer.personal()))
        say("agent", writer.agent_text(quality, kind), quality)
        weights = dict(REACTION[quality])
        if mood == "angry" and quality == "good":
            weights["angry"] *= 3
        if count == limit:
            weights["follow"] = weights["restate"] = 0.0 if quality != "bad" else 0.15
            weights["silent"] = weights["silent"] * 1.3
        reaction = dice.weighted(weights)
        session.ending = reaction
        if reaction == "silent":
            break
        customer_says(writer.reaction(reaction, quality), faces=FACES.get(reaction, "😡🙄😤😭"))
        if reaction in ENDINGS:
            break
        kind = {"follow": "follow", "escalate": "escalate", "meh": "again"}.get(reaction, "angry")
    if session.ending == "thanks" and dice.chance(0.22):
        quality = "good" if session.persona in ("excellent", "ordinary") else "bad"
        say("agent", writer.agent_text(quality, "close"), quality)
    _rate(session, writer, dice)


def _rate(session: Session, writer: Writer, dice: Dice) -> None:
    worth = {"good": 1.0, "ordinary": 0.3, "bad": -0.7, "rude": -1.0}
    values = [worth[line.quality] for line in session.lines if line.quality in worth]
    values += values[-1:] + {"thanks": [1.0], "escalate": [-1.0], "insulted": [-1.0], "complain": [-0.7]}.get(
        session.ending, []
    )
    mean = sum(values) / len(values)
    session.facts["worth"] = round(mean, 2)
    if dice.chance(0.07):
        mean = -mean
        session.facts["contradictory"] = True
    shares = {"5": 0.62, "4": 0.30, "3": 0.08} if mean > 0.45 else {"4": 0.25, "3": 0.55, "2": 0.20}
    if mean < -0.2:
        shares = {"1": 0.60, "2": 0.27, "3": 0.13}
    if dice.chance(0.46):
        session.rating = int(dice.weighted(shares))
        if dice.chance(0.3):
            bank = "survey_good" if session.rating > 3 else "survey_bad" if session.rating < 3 else "survey_mid"
            session.survey = writer.pick(writer.common[bank])
    if mean > 0.3:
        session.status = dice.weighted({"resolved": 0.7, "closed": 0.25, "open": 0.05})
    else:
        session.status = dice.weighted(
            {"open": 0.40, "pending": 0.22, "closed": 0.12, "escalated": 0.18, "resolved": 0.08}
        )
    if session.ending == "escalate" and dice.chance(0.6):
        session.status = "escalated"
