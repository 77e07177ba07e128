"""Near-duplicates against an independent all-pairs truth, and against datasketch on the same tokens.

    python benchmarks/near_duplicates.py ../shared/data [--rows 6000] [--seed 0]

Rows are real (customer, reply) turns: English (uss/SGD.txt) and Chinese (crosswoz), short ones among them; a third of
them are edited copies at all distances. The truth is exact Jaccard over ALL pairs, by the documented definition of a
shingle but with its own code (no hashing, one sparse product). Texts under five words are copied in other case, spacing
and punctuation. Other edits are neutral (no number, negation, auxiliary or opposite is touched) or blind (any word is
dropped, replaced or added). A blind edit may turn a reply into another one: such pairs are refused on
purpose and are counted apart.

Timed is what each does with rows in memory: tokens to verified pairs here; in datasketch `MinHash.bulk`, insertion
and queries of `MinHashLSH`, 20 bands x 6 rows, on the same shingles made ready for it, unverified.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
import unicodedata
import zipfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from prefdata.dedup.features import SIDES, features_of
from prefdata.dedup.near import NearDuplicates

SIZE = 3
THRESHOLD = 0.8

# ---------------------------------------------------------------- the definition, written a second time


def is_cjk(char: str) -> bool:
    code = ord(char)
    ranges = (
        (0x3005, 0x3007),
        (0x3041, 0x30FF),
        (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF),
        (0xF900, 0xFAFF),
        (0x20000, 0x3FFFF),
    )
    return any(low <= code <= high for low, high in ranges)


def is_word(char: str) -> bool:
    return not is_cjk(char) and (char.isalnum() or unicodedata.category(char)[0] == "M")


@cache
def tokens(text: str) -> list[str]:
    text = re.sub(r"<([A-Z][A-Z_]*?)_[0-9]+>", r"<\1>", text or "")
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    out: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        pseudonym = re.match(r"<[a-z_]+>", text[at:]) if char == "<" else None
        if pseudonym:
            out.append(pseudonym.group())
            at += pseudonym.end()
        elif is_cjk(char) or unicodedata.category(char) == "So":
            out.append(char)
            at += 1
        elif is_word(char):
            end = at + 1
            while end < len(text) and (
                is_word(text[end]) or (text[end] in "'’" and end + 1 < len(text) and is_word(text[end + 1]))
            ):
                end += 1
            out.append(text[at:end])
            at = end
        else:
            at += 1
    return out or ([text] if text else [])


def shingles(text: str) -> set[tuple[str, ...]]:
    words = tokens(text)
    size = min(SIZE, len(words))
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)} if words else set()


def all_pairs(texts: list[str], *, floor: float) -> dict[tuple[int, int], float]:
    """Jaccard similarity of all pairs that reach `floor`; pairs of two empty texts are left to the caller."""
    from scipy.sparse import csr_matrix

    index: dict[tuple[str, ...], int] = {}
    sets = [sorted({index.setdefault(item, len(index)) for item in shingles(text)}) for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in sets])])
    columns = np.array([item for one in sets for item in one], dtype=np.int64)
    matrix = csr_matrix((np.ones(columns.size, dtype=np.int32), columns, starts), shape=(len(sets), max(len(index), 1)))
    sizes = np.diff(starts)
    found: dict[tuple[int, int], float] = {}
    for low in range(0, len(sets), 1000):
        common = (matrix[low : low + 1000] @ matrix.T).tocoo()
        left, right = common.row + low, common.col
        above = left < right
        left, right, both = left[above], right[above], common.data[above]
        similarity = both / (sizes[left] + sizes[right] - both)
        for one, other, value in zip(left, right, similarity, strict=True):
            if value >= floor:
                found[int(one), int(other)] = float(value)
    return found


def truth(frame: pl.DataFrame, *, floor: float = THRESHOLD) -> dict[tuple[str, str], float]:
    """Ids of all pairs whose reply AND customer turn reach `floor`, with the lower of the two."""
    ids, customers, replies = (frame[name].to_list() for name in ("id", "customer", "reply"))
    customer, empty = all_pairs(customers, floor=floor), [not tokens(text) for text in customers]
    out = {}
    for (one, other), reply in all_pairs(replies, floor=floor).items():
        similarity = 1.0 if empty[one] and empty[other] else customer.get((one, other), 0.0)
        if similarity >= floor:
            out[min(ids[one], ids[other]), max(ids[one], ids[other])] = min(reply, similarity)
    return out


# ---------------------------------------------------------------- data


def sgd_turns(path: Path) -> list[tuple[str, str]]:
    pairs = []
    before = ("", "")
    for line in path.read_text("utf-8").splitlines():
        role, _, rest = line.partition("\t")
        text = rest.split("\t")[0]
        if role == "SYSTEM" and before[0] == "USER":
            pairs.append((before[1], text))
        before = (role, text)
    return pairs


def crosswoz_turns(path: Path) -> list[tuple[str, str]]:
    with zipfile.ZipFile(path) as archive:
        dialogues = json.loads(archive.read(archive.namelist()[0]))
    pairs = []
    for dialogue in dialogues.values():
        for one, other in zip(dialogue["messages"], dialogue["messages"][1:], strict=False):
            if one["role"] == "usr" and other["role"] == "sys":
                pairs.append((one["content"], other["content"]))
    return pairs


LOADED = re.compile(r"\d|n't$|^n|^un|^in|^im")


def plain_words(turns: list[tuple[str, str]]) -> list[str]:
    """Words that state nothing: neither number, nor negation, auxiliary, value or opposite."""
    lists = json.loads((Path(__file__).parents[1] / "prefdata/dedup/opposites.json").read_text("utf-8"))
    listed = {
        word for part in ("negations", "auxiliaries", "values") for words in lists[part].values() for word in words
    }
    listed |= {word for pairs in lists["poles"].values() for pair in pairs for words in pair for word in words}
    listed |= set(
        "".join(word for part in (lists["poles"]["zh"],) for pair in part for words in pair for word in words)
    )
    words = {word for turn in turns for text in turn for word in tokens(text)}
    return sorted(word for word in words if word not in listed and not LOADED.search(word))


def edit(text: str, count: int, words: dict[bool, list[str]], rng: random.Random, *, touch: set[str] | None) -> str:
    """`text` with `count` tokens dropped, replaced or added; only tokens of `touch`, where that is given."""
    chinese = any(is_cjk(char) for char in text)
    parts = list(text) if chinese else text.split()
    pool = words[chinese]
    for _ in range(count):
        places = [i for i, part in enumerate(parts) if touch is None or all(t in touch for t in tokens(part))]
        if not places:
            break
        place, kind = rng.choice(places), rng.choice(("drop", "replace", "replace", "add"))
        if kind == "drop":
            del parts[place]
        elif kind == "replace":
            parts[place] = rng.choice(pool)
        else:
            parts.insert(place, rng.choice(pool))
    return ("" if chinese else " ").join(parts)


def surface(text: str, rng: random.Random) -> str:
    """The same tokens in another guise: case, spaces, punctuation. For short texts, where one word is too much."""
    return rng.choice((text.upper(), f"  {text} ", text.replace(" ", "  "), text.rstrip(".!?。") + " !!"))


def planted(
    turns: list[tuple[str, str]], *, rows: int, seed: int, neutral: bool
) -> tuple[pl.DataFrame, set[tuple[str, str]]]:
    """`rows` rows, a third of them edited copies of others, and the ids of (original, copy)."""
    rng = random.Random(seed)
    chosen = rng.sample(turns, min(rows * 2 // 3, len(turns)))
    words = plain_words(turns) if neutral else sorted({w for turn in turns for text in turn for w in tokens(text)})
    touch = set(words) if neutral else None
    pools = {chinese: [word for word in words if all(map(is_cjk, word)) == chinese] for chinese in (True, False)}
    records = list(chosen)
    short = [number for number, turn in enumerate(chosen) if all(len(tokens(text)) < 5 for text in turn)]
    origin: list[tuple[int, int]] = []
    while len(records) < rows:
        plain = bool(short) and rng.random() < 0.15
        source = rng.choice(short) if plain else rng.randrange(len(chosen))
        customer, reply = chosen[source]
        copy = (
            (surface(customer, rng), surface(reply, rng))
            if plain
            else (
                edit(customer, rng.choice((0, 0, 0, 1, 2)), pools, rng, touch=touch),
                edit(reply, rng.choice((0, 1, 1, 2, 3)), pools, rng, touch=touch),
            )
        )
        origin.append((source, len(records)))
        records.append(copy)
    names = [f"{number:07d}" for number in rng.sample(range(10**7), len(records))]
    frame = pl.DataFrame(
        {"id": names, "customer": [record[0] for record in records], "reply": [record[1] for record in records]},
        schema={"id": pl.String, "customer": pl.String, "reply": pl.String},
    )
    return frame, {(min(names[a], names[b]), max(names[a], names[b])) for a, b in origin}


def turns_of(data: Path) -> list[tuple[str, str]]:
    """English and Chinese turns, the short ones among them, and longer replies of three turns for every fourth."""
    english, chinese = sgd_turns(data / "uss/SGD.txt"), crosswoz_turns(data / "crosswoz/val.json.zip")
    long = [(english[i][0], " ".join(english[i + k][1] for k in range(3))) for i in range(0, len(english) - 3, 4)]
    return sorted(set(english + long + chinese))


OPPOSITES = [
    ("Will you refund me?", "Yes, we will refund you.", "No, we will not refund you."),
    ("Can I return it?", "Yes, you can.", "No, you can't."),
    ("Is it in stock?", "Yes.", "No."),
    ("Is it free?", "It is free.", "It is not free."),
    ("Was my claim approved?", "It was approved.", "It was rejected."),
    ("Is the hotel open?", "👍", "👎"),
    ("可以退款吗？", "可以退款。", "不可以退款。"),
    ("能开发票吗？", "能。", "不能。"),
    ("有货吗？", "有货。", "没有货。"),
    ("退款成功了吗？", "成功了。", "失败了。"),
]
"""Short ones: one question, opposite answers."""

TURNS_ROUND = [
    (r"\b(will|can|is|are|have|has|was|would|could|do|does)\b", r"\1 not"),
    (r"\b(will|can|is|are|have|has|was|would|could|do|does)\b", r"\1 never"),
    (r"\b(\d+)\b", lambda match: str(int(match[1]) + 1)),
    (r"(?=[是有])", "不"),
    (r"(?=[有])", "没"),
    (r"(\d+)", lambda match: str(int(match[1]) + 7)),
]


def opposites(data: Path, *, count: int = 50, seed: int = 0) -> pl.DataFrame:
    """`count` pairs of rows `<n>a`, `<n>b`: the short ones above, then long real replies with one word turned round."""
    rng = random.Random(seed)
    english, chinese = sgd_turns(data / "uss/SGD.txt"), crosswoz_turns(data / "crosswoz/val.json.zip")
    pairs = list(OPPOSITES)
    while len(pairs) < count:
        pattern, turned = TURNS_ROUND[len(pairs) % len(TURNS_ROUND)]
        at = rng.randrange(3, len(english) - 8) if len(pairs) % 6 < 3 else rng.randrange(3, len(chinese) - 8)
        source = english if len(pairs) % 6 < 3 else chinese
        reply = " ".join(source[at + k][1] for k in range(8))
        other = re.sub(pattern, turned, reply, count=1)
        if other != reply and len(tokens(reply)) >= 40:
            pairs.append((source[at][0], reply, other))
    records = [(f"{n:02d}{side}", q, text) for n, (q, a, b) in enumerate(pairs) for side, text in (("a", a), ("b", b))]
    return pl.DataFrame(records, schema=["id", "customer", "reply"], orient="row")


# ---------------------------------------------------------------- scoring


class Score(NamedTuple):
    true_pairs: int
    together: int
    together_kept: int
    """Of the pairs that are not refused."""
    refused: int
    accepted: int
    below: int
    planted: int
    planted_found: int


def score(frame: pl.DataFrame, origin: set[tuple[str, str]]) -> Score:
    """How many of the true pairs ended in one cluster or were refused, and how many accepted pairs are not true."""
    grouping = NearDuplicates().build()
    compared = grouping.compare(grouping.keys(frame))
    accepted = compared.edges.filter(pl.col("similarity") >= THRESHOLD)
    edges = set(zip(accepted["left"], accepted["right"], strict=True))
    refused = set(zip(compared.refused["left"], compared.refused["right"], strict=True))
    groups = grouping.groups(accepted)
    cluster = dict(zip(groups["id"], groups["cluster"], strict=True))
    real = truth(frame)
    meant = origin & real.keys()
    together = {(a, b) for a, b in real if a in cluster and cluster[a] == cluster.get(b)}
    return Score(
        true_pairs=len(real),
        together=len(together),
        together_kept=len(together - refused),
        refused=len(real.keys() & refused),
        accepted=len(edges),
        below=len(edges - real.keys()),
        planted=len(meant),
        planted_found=len(meant & together),
    )


def datasketch_pairs(rows: list[list[bytes]]) -> tuple[int, float]:
    """Candidate pairs of datasketch's bulk MinHash and LSH, and the CPU seconds they took."""
    from datasketch import MinHash, MinHashLSH

    begin = time.process_time()
    index = MinHashLSH(num_perm=128, params=(20, 6))
    sketches = MinHash.bulk(rows, num_perm=128)
    for number, sketch in enumerate(sketches):
        index.insert(number, sketch)
    pairs = sum(len(index.query(sketch)) - 1 for sketch in sketches) // 2
    return pairs, time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    turns = turns_of(arguments.data)

    for neutral in (True, False):
        frame, origin = planted(turns, rows=arguments.rows, seed=arguments.seed, neutral=neutral)
        got = score(frame, origin)
        kind = "neutral" if neutral else "blind"
        kept = got.true_pairs - got.refused
        print(
            f"{kind} edits, {frame.height} rows: {got.true_pairs} true pairs at J >= {THRESHOLD}, in one cluster "
            f"{got.together}, refused as opposites {got.refused}; recall {got.together / got.true_pairs:.4f}, of those "
            f"not refused {got.together_kept / kept:.4f}; planted {got.planted}, found {got.planted_found} "
            f"({got.planted_found / got.planted:.4f}); accepted {got.accepted}, below the threshold {got.below}"
        )

    pairs = opposites(arguments.data)
    grouping = NearDuplicates().build()
    compared = grouping.compare(grouping.keys(pairs))
    merged = compared.edges.filter(pl.col("left").str.head(2) == pl.col("right").str.head(2))
    above = pl.col("similarity") >= THRESHOLD
    print(
        f"opposite answers: {pairs.height // 2} pairs, merged {merged.filter(above).height}; kept apart by the lists "
        f"although J >= {THRESHOLD}: {compared.refused.filter(above).height}"
    )

    frame, _ = planted(turns, rows=arguments.rows, seed=arguments.seed, neutral=True)
    features = features_of(frame, shingle_words=SIZE)
    sides = [features.shingles[side] for side in SIDES]
    ready = [
        [
            mark + value.tobytes()
            for mark, side in zip((b"c", b"r"), sides, strict=True)
            for value in side.values[side.offsets[row] : side.offsets[row + 1]]
        ]
        for row in range(frame.height)
    ]
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        begin = time.process_time()
        edges = grouping.edges(grouping.keys(frame))
        ours.append(time.process_time() - begin)
        candidates, seconds = datasketch_pairs(ready)
        theirs.append(seconds)
    mine, other = sorted(ours)[len(ours) // 2], sorted(theirs)[len(theirs) // 2]
    print(f"| {frame.height} rows, median of {arguments.rounds} | CPU us/row | pairs | ratio |\n|---|---|---|---|")
    print(f"| prefdata, tokens to verified pairs | {mine / frame.height * 1e6:.0f} | {edges.height} | 1 |")
    cost = other / frame.height * 1e6
    print(f"| datasketch bulk + MinHashLSH, unverified | {cost:.0f} | {candidates} | {other / mine:.1f} |")


if __name__ == "__main__":
    main()
