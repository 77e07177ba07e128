"""A small support log written for the tests: enough of everything that a run meets, under a second to process."""

from __future__ import annotations

import csv
from pathlib import Path

RECIPE = """
name: small
seed: 1
sources:
  - name: chats
    path: chats.csv
    layout:
      events:
        columns:
          {{session: ticket, customer: user, time: at, role: who, text: body, rating: csat, customer_name: name}}
        roles: {{customer: [user], agent: [staff]}}
        time_format: "%Y-%m-%d %H:%M:%S"
    ratings: {{scale: [1, 5]}}
filters:
  - chat_quality
  - language: {{allowed: [en]}}
  - toxicity: {{max_toxicity: {max_toxicity}}}
shard_rows: {shard_rows}
split: {{evaluation: 0.25}}
limits: {{max_quarantined: {max_quarantined}}}
"""

GOOD = (
    "I have sent the refund of {n} dollars to your card, it will arrive within three working days.",
    "Your parcel {n} is with the driver now and will reach you before six this evening.",
    "I have reset the password for account {n}; please check your inbox for the link.",
)
BAD = (
    "Case {n}: I cannot help with that, please read the website.",
    "You are a stupid idiot, stop bothering us about number {n}.",
    "Wait. Somebody may look at {n} some day, there is nothing I can do.",
)
QUESTIONS = (
    "Hello, I still have not received the refund for order {n}, could you check it please?",
    "Where is my parcel {n}? The tracking page has not moved since Monday.",
    "I cannot log in to my account {n}, the page says the password is wrong.",
)


def write_log(folder: Path, *, sessions: int = 60, broken: int = 2) -> Path:
    """chats.csv in `folder`: good and bad sessions in turn, every tenth a copy of the one before, broken lines last."""
    path = folder / "chats.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ticket", "user", "name", "at", "who", "body", "csat"])
        for number in range(sessions):
            source = number - 1 if number % 10 == 9 else number
            good = source % 2 == 0
            question = QUESTIONS[source % 3].format(n=1000 + source)
            reply = (GOOD if good else BAD)[source % 3].format(n=1000 + source)
            day = f"2024-03-{1 + number % 28:02d}"
            rows = [
                ("09:00:00", "user", question + (" Call me at +1 212 555 2368." if number == 3 else ""), ""),
                ("09:01:00", "staff", reply, ""),
                ("09:05:00", "user", "Thank you, that helped." if good else "That is no answer, I want a manager.", ""),
                ("09:06:00", "staff", "You are welcome." if good else "Fine.", "5" if good else "1"),
            ]
            for at, who, body, csat in rows:
                writer.writerow([f"t{number:03d}", f"c{number % 40}", "Maria Keller", f"{day} {at}", who, body, csat])
        for _ in range(broken):
            file.write("only,three,fields\n")
    return path


def write_recipe(
    folder: Path, *, max_toxicity: float = 0.8, shard_rows: int = 50, max_quarantined: float = 0.05
) -> Path:
    """recipe.yaml in `folder`."""
    path = folder / "recipe.yaml"
    text = RECIPE.format(max_toxicity=max_toxicity, shard_rows=shard_rows, max_quarantined=max_quarantined)
    path.write_text(text, encoding="utf-8")
    return path
