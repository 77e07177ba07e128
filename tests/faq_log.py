"""A support log for tests: a question a day, asked in four chats of which two are answered well and two are not."""

from __future__ import annotations

import csv
from pathlib import Path

QUESTIONS = (
    "Do you deliver on Saturdays as well?",
    "How can I pay by invoice in your shop?",
    "Where do I find the size chart for the shoes?",
    "Can I change the colour of a lamp after I ordered it?",
    "Is the warranty still valid when I sell the chair to a friend?",
    "Which battery does the wall clock need?",
    "What happens when nobody is at home for the parcel?",
    "May I bring back a gift without its receipt?",
    "Why was my voucher refused at the checkout?",
    "How long does the oak table take to arrive?",
    "Could you send the manual of the heater in German?",
    "Are the curtains safe for the washing machine?",
    "Who assembles the wardrobe once it is delivered?",
    "When does the shop in the old town open on Sundays?",
    "Does the mattress come with a trial period?",
    "Will the sofa fit through a narrow door?",
)
GOOD = (
    "Yes, of course: I have looked it up for you, and you will find every step in the mail that I just sent.",
    "Happy to help! Please open your account, choose the order there, and the page shows you all of it at once.",
)
BAD = (
    "I cannot say anything about that, please read the website yourself.",
    "That is really not our business here, ask somebody else about it.",
)
RECIPE = """
name: faq
seed: 3
sources:
  - name: chats
    path: faq.csv
    layout:
      events:
        columns: {session: ticket, customer: user, time: at, role: who, text: body, rating: csat}
        roles: {customer: [user], agent: [staff]}
    ratings: {scale: [1, 5]}
labels: {method: rules}
filters: [chat_quality]
groupings: []
split: {by: time, evaluation: 0.25}
"""


def write_faq(folder: Path) -> Path:
    """faq.csv in `folder`: 64 chats."""
    path = folder / "faq.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ticket", "user", "at", "who", "body", "csat"])
        for number in range(4 * len(QUESTIONS)):
            question, good = QUESTIONS[number // 4], number % 2 == 0
            reply = (GOOD if good else BAD)[number // 2 % 2]
            day = f"2024-03-{1 + number // 4:02d}"  # a question a day: the newest ones are held out
            rows = [("09:00:00", "user", question, ""), ("09:01:00", "staff", reply, "5" if good else "1")]
            for at, who, body, csat in rows:
                writer.writerow([f"t{number:03d}", f"c{number:03d}", f"{day} {at}", who, body, csat])
    return path
