"""Invented people, places and values, and invented personal data whose checksums hold."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from dice import WORDING, Dice

PEOPLE: dict[str, Any] = tomllib.loads((WORDING / "people.toml").read_text(encoding="utf-8"))
MONTHS: list[str] = PEOPLE["en"]["months"]


@dataclass
class Customer:
    """Somebody who writes in, in one language, perhaps several times."""

    id: str
    name: str
    language: str
    style: str
    """How they type: plain, lower, sloppy, loud, emoji."""
    email: str = ""
    phone: str = ""
    visits: list[str] = field(default_factory=list)


def new_customer(number: int, language: str, dice: Dice) -> Customer:
    known = PEOPLE[language]
    style = dice.weighted({"plain": 0.55, "lower": 0.17, "sloppy": 0.13, "loud": 0.07, "emoji": 0.08})
    if language == "zh":
        name = dice.one(known["last"]) + dice.one(known["women"] + known["men"])
        email = f"{dice.letters(5).lower()}{dice.digits(3)}@{dice.one(['mail.example', 'youxiang.example'])}"
    else:
        name = f"{dice.one(known['first'])} {dice.one(known['last'])}"
        email = (
            name.lower().replace(" ", dice.one([".", "_", ""]))
            + f"{dice.between(1, 99)}@{dice.one(['example.com', 'mail.example', 'example.org'])}"
        )
    return Customer(
        id=f"C{number:05d}", name=name, language=language, style=style, email=email, phone=phone(language, dice)
    )


def day(moment: datetime, language: str, form: int) -> str:
    if language == "zh":
        return [f"{moment.month}月{moment.day}日", f"{moment.month}月{moment.day}号", f"{moment.month}.{moment.day}"][
            form % 3
        ]
    month = MONTHS[moment.month - 1]
    return [
        f"{moment.day} {month}",
        f"{month} {moment.day}",
        f"{moment.day:02d}/{moment.month:02d}",
        f"{month[:3]} {moment.day}",
    ][form % 4]


def things_of(intent: str, language: str) -> list[str]:
    known = PEOPLE[language]
    if intent in ("technical", "warranty"):
        return known["appliances"]
    if intent == "appointment":
        return known["fitted"]
    return known["appliances"] + known["things"]


def new_slots(customer: Customer, intent: str, agent: str, start: datetime, dice: Dice) -> dict[str, str]:
    """What this session is about: things, amounts, days, numbers."""
    zh, known = customer.language == "zh", PEOPLE[customer.language]
    item, item2 = dice.shuffled(things_of(intent, customer.language))[:2]
    city, city2 = dice.shuffled(known["cities"])[:2]
    price, form = dice.between(19, 899), dice.between(0, 11)
    sign = dice.one(["$", "£", "€"])

    def money(value: int, cents: str = "") -> str:
        return f"{value}{cents}元" if zh else f"{sign}{value}{cents}"

    past, eta = start - timedelta(days=dice.between(3, 14)), start + timedelta(days=dice.between(1, 6))
    hour = dice.between(9, 19)
    if zh:
        name = customer.name[0] + ("女士" if customer.name[1:] in known["women"] else "先生")
        time = dice.one([f"{hour}点", f"{hour}:30", f"下午{dice.between(1, 6)}点"])
        street = f"{dice.one(known['streets'])}{dice.between(2, 288)}号{dice.between(1, 19)}栋"
        street += f"{dice.between(1, 25)}0{dice.between(1, 4)}"
    else:
        name = customer.name.split()[0]
        time = dice.one([f"{hour}:00", f"{hour}:30", f"{hour % 12 or 12} {'am' if hour < 12 else 'pm'}"])
        street = f"{dice.between(1, 240)} {dice.one(known['streets'])}"
    return {
        "item": item,
        "item2": item2,
        "item_pl": item if zh else f"{item}s",
        "city": city,
        "city2": city2,
        "amount": money(price, dice.one(["", "", ".90", ".99", ".50"])),
        "fee": money(dice.between(4, 60)),
        "credit": money(dice.between(3, 30)),
        "order": dice.one(["NV-", "NV", "#", ""]) + dice.digits(7),
        "date": day(past, customer.language, form),
        "eta": day(eta, customer.language, form),
        "lastdate": day(start - timedelta(days=3), customer.language, form),
        "days": str(dice.between(3, 12)),
        "time": time,
        "carrier": dice.one(known["carriers"]),
        "plan": dice.one(known["plans"]),
        "code": dice.one(["SPRING", "HOME", "WELCOME", "VIP", "HAPPY", "SUN"]) + str(dice.between(5, 50)),
        "ref": dice.one(["R", "CS-", "K"]) + dice.digits(6),
        "name": name,
        "agent": agent,
        "error": f"E{dice.between(1, 48):02d}",
        "lead": dice.one(known["leads"]),
        "street": street,
        "last4": dice.digits(4),
        "month": f"{past.month}月" if zh else MONTHS[past.month - 1],
        "company": dice.one(known["companies"]),
        "serial": f"{dice.one('ABDKMX')}{dice.digits(8)}",
        "version": f"{dice.between(2, 6)}.{dice.between(0, 19)}",
        "percent": str(dice.between(11, 97)),
    }


def luhn_digit(body: str) -> str:
    """The digit that makes `body` pass the Luhn test."""
    total = 0
    for place, char in enumerate(reversed(body)):
        value = int(char) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def card(dice: Dice) -> str:
    """A card number in the test ranges of payment providers, with a valid last digit."""
    body = dice.one(["424242", "411111", "555555", "520082"]) + dice.digits(9)
    number = body + luhn_digit(body)
    return dice.one(
        [
            number,
            " ".join(number[at : at + 4] for at in range(0, 16, 4)),
            "-".join(number[at : at + 4] for at in range(0, 16, 4)),
        ]
    )


def iban(dice: Dice) -> str:
    country, body = dice.one(
        [("DE", dice.digits(18)), ("GB", "NWBK" + dice.digits(14)), ("NL", "TEST" + dice.digits(10))]
    )
    digits = "".join(str(int(char, 36)) for char in body + country + "00")
    code = f"{country}{98 - int(digits) % 97:02d}{body}"
    return dice.one([code, " ".join(code[at : at + 4] for at in range(0, len(code), 4))])


def cn_id(dice: Dice) -> str:
    """18 characters: an area, a birthday, a serial number, and the check character of GB 11643."""
    area = dice.one(["110101", "310101", "440106", "510104", "330102"])
    body = f"{area}{dice.between(1955, 2004)}{dice.between(1, 12):02d}{dice.between(1, 28):02d}{dice.digits(3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(int(char) * weight for char, weight in zip(body, weights, strict=True)) % 11]


def phone(language: str, dice: Dice) -> str:
    """A number of the fictional blocks: 555-01xx, 020 7946 0xxx; for China a made-up one with 0000 in its middle."""
    if language == "zh":
        number = f"1{dice.one(['38', '39', '59', '88', '36'])}0000{dice.digits(4)}"
        return dice.one(
            [
                number,
                f"+86 {number}",
                f"{number[:3]}-{number[3:7]}-{number[7:]}",
                f"{number[:3]} {number[3:7]} {number[7:]}",
            ]
        )
    if dice.chance(0.6):
        area, last = dice.one(["212", "415", "312", "206", "617", "305"]), f"01{dice.digits(2)}"
        return dice.one([f"+1 {area}-555-{last}", f"({area}) 555-{last}", f"{area}-555-{last}", f"+1{area}555{last}"])
    last = f"0{dice.digits(3)}"
    return dice.one([f"+44 20 7946 {last}", f"020 7946 {last}", f"+442079 46{last}"])


def personal(kind: str, customer: Customer, dice: Dice) -> str:
    """A value of personal data of this kind."""
    if kind == "email":
        return customer.email
    if kind == "phone":
        return customer.phone
    if kind == "card":
        return card(dice)
    if kind == "iban":
        return iban(dice)
    if kind == "cn_id":
        return cn_id(dice)
    if kind == "ip":
        return f"{dice.one(['203.0.113', '198.51.100', '192.0.2'])}.{dice.between(1, 254)}"
    if kind == "url":
        return f"https://shop.norvale.example/{dice.one(['reset', 'track', 'invoice'])}?token={dice.letters(28)}"
    if kind == "password":
        return (
            dice.one(["Sunny", "Blue", "Tiger", "Hallo", "Nana"])
            + f"{dice.between(10, 99)}{dice.one('!#$%')}{dice.letters(4)}"
        )
    if kind == "api_key":
        return f"sk-{dice.letters(40)}"
    raise ValueError(f"kind: {kind!r} is no kind of personal data here")
