"""The miner of satisfaction signals against real ratings, beside a TF-IDF baseline with six counts.

    python benchmarks/signals.py ../shared/data
    python benchmarks/signals.py ../shared/data --also OTHER.txt    (another transcript of the same form)

Unit: a rated customer turn of uss/SGD.txt, satisfied from a mean rating of 3.4 on, dissatisfied up to 2.7. Ours sees
the text of that turn, of the agent's turn before it and of the customer's before that; actions and ratings are hidden.
Folds are grouped by session. A fifth of the sessions, picked by hash, was not looked at while the lists, weights and
features were made: it is printed apart. The rules are also shown on crosswoz (Chinese), where the customer's own notes
say which turn brought what was asked for and which made them give up a wish.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from prefdata.errors import InputError
from prefdata.logs.calibration import calibration_error, roc_auc
from prefdata.logs.combine import LabelSettings, combine
from prefdata.logs.credit import credit
from prefdata.logs.events import SESSIONS, TURNS
from prefdata.logs.satisfaction import fitted, fold_of
from prefdata.logs.signals import SignalSettings, mine

SATISFIED, DISSATISFIED = 3.4, 2.7
RESAMPLES = 2000
MIN_UNITS = 50
"""Clear units from which on models are fitted."""


class Rated(NamedTuple):
    """A rated customer turn."""

    session: int
    position: int
    after: str
    reply: str
    before: str
    rating: float


CUSTOMERS = {"USER", "CUSTOMER", "CLIENT", "SEEKER"}
RATINGS = re.compile(r"\s*\d+(?:\.\d+)?(?:\s*,\s*\d+(?:\.\d+)?)*\s*")


def read_transcript(path: Path) -> list[Rated]:
    """Every rated customer turn of a `ROLE<TAB>text<TAB>action<TAB>ratings` transcript; blank lines part sessions."""
    units = []
    for session, block in enumerate(path.read_text(encoding="utf-8").split("\n\n")):
        reply = before = ""
        position = 0
        for line in block.split("\n"):
            parts = line.split("\t")
            if len(parts) < 2 or parts[1] == "OVERALL":
                continue
            if parts[0].strip().upper() not in CUSTOMERS:
                reply = parts[1]
                continue
            rated = len(parts) > 3 and RATINGS.fullmatch(parts[3])
            votes = [float(vote) for vote in parts[3].split(",")] if rated else []
            if votes:
                units.append(Rated(session, position, parts[1], reply, before, float(np.mean(votes))))
            before = parts[1]
            position += 1
    return units


def held_out(session: int) -> bool:
    """A fifth of the sessions, by hash."""
    return int(hashlib.sha256(f"sgd-session-{session}".encode()).hexdigest(), 16) % 5 == 0


def mined(texts: list[tuple[str, str, str]]) -> pl.DataFrame:
    """Signals of (before, reply, after), one row each: a session of three turns with nothing else in it."""
    turns = [
        (f"{index:06d}", turn, role, text)
        for index, row in enumerate(texts)
        for turn, (role, text) in enumerate(zip(("customer", "agent", "customer"), row, strict=True))
    ]
    frame = pl.DataFrame(turns, schema=["session", "turn", "role", "text"], orient="row")
    sessions = frame.select(pl.col("session").unique().sort())
    return credit(mine(_filled(frame, TURNS), _filled(sessions, SESSIONS), settings=SignalSettings()))


def _filled(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    return frame.select(
        pl.col(name).cast(dtype) if name in frame.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in schema.items()
    )


def rule_labels(frame: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probability of a satisfied customer by the rules, and the labels at default settings (NaN: abstained)."""
    labels = combine(frame, settings=LabelSettings(method="rules")).labels
    found = labels["evidence"].str.json_path_match("$.probability").cast(pl.Float64)
    return found.to_numpy(), labels["label"].cast(pl.Float64).fill_null(float("nan")).to_numpy()


POSITIVE = re.compile(r"\b(thank|thanks|great|perfect|good|awesome|yes|sounds|nice|okay|ok)\b", re.I)
NEGATIVE = re.compile(r"\b(no|not|n't|wrong|else|other|different|instead|actually|sorry|change|any)\b", re.I)


def baseline_rule(units: list[Rated]) -> NDArray[np.float64]:
    """Good words less bad words."""
    counts = [len(POSITIVE.findall(unit.after)) - len(NEGATIVE.findall(unit.after)) for unit in units]
    return np.array(counts, dtype=float)


def baseline_fitted(train: list[Rated], test: list[Rated]) -> NDArray[np.float64]:
    """Word 1-2-grams of the three texts and six counts, position included, into a logistic regression."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    def counts(units: list[Rated]) -> csr_matrix:
        return csr_matrix(
            np.array(
                [
                    [
                        len(unit.after),
                        len(unit.reply),
                        unit.position,
                        len(POSITIVE.findall(unit.after)),
                        len(NEGATIVE.findall(unit.after)),
                        len(NEGATIVE.findall(unit.reply)),
                    ]
                    for unit in units
                ]
            )
            / 50
        )

    left, right = [], []
    for side in ("after", "reply", "before"):
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True)
        left.append(vectorizer.fit_transform([getattr(unit, side) for unit in train]))
        right.append(vectorizer.transform([getattr(unit, side) for unit in test]))
    truth = np.array([unit.rating >= SATISFIED for unit in train])
    model = LogisticRegression(max_iter=500, C=1).fit(hstack([*left, counts(train)]), truth)
    return np.asarray(model.predict_proba(hstack([*right, counts(test)]))[:, 1])


def is_clear(units: list[Rated]) -> NDArray[np.bool_]:
    """Which turns count: the satisfied and the dissatisfied."""
    return np.array([unit.rating >= SATISFIED or unit.rating <= DISSATISFIED for unit in units])


def deciles(score: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of satisfied in the top tenth, of dissatisfied in the bottom tenth."""
    order = np.argsort(score, kind="stable")
    tenth = max(len(order) // 10, 1)
    return float(truth[order[-tenth:]].mean()), float((~truth[order[:tenth]]).mean())


def interval(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], truth: NDArray[np.bool_], session: NDArray[np.int64]
) -> tuple[float, float, float]:
    """Difference of the areas under the curve, with its 95 % interval by resampling sessions."""
    rows = [np.flatnonzero(session == name) for name in np.unique(session)]
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        picked = np.concatenate([rows[index] for index in random.integers(0, len(rows), len(rows))])
        drawn.append(roc_auc(ours[picked], truth[picked]) - roc_auc(theirs[picked], truth[picked]))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return roc_auc(ours, truth) - roc_auc(theirs, truth), float(low), float(high)


def with_ratings(frame: pl.DataFrame, units: list[Rated]) -> pl.DataFrame:
    """Signals of `units` with the ratings on them, under their real sessions: what `fitted` reads."""
    rating = np.array([unit.rating for unit in units])
    said = np.where(rating >= SATISFIED, 1.0, np.where(rating <= DISSATISFIED, -1.0, 0.0))
    return frame.with_columns(
        pl.Series("session", [f"{unit.session:04d}" for unit in units]),
        pl.Series("turn", list(range(len(units)))),
        pl.Series("rating", (rating - 1.0) / 4.0),
        pl.Series("_rating", said),
    )


def fold_count(units: list[Rated]) -> int:
    """Five, or as many as the sessions with the rarer class allow."""
    good = {unit.session for unit in units if unit.rating >= SATISFIED}
    bad = {unit.session for unit in units if unit.rating <= DISSATISFIED}
    return min(5, len(good), len(bad))


def cross_validate(name: str, units: list[Rated], frame: pl.DataFrame, seeds: int) -> None:
    """Both fitted models over the same folds, at several seeds."""
    rated = with_ratings(frame, units)
    clear = is_clear(units)
    truth = np.array([unit.rating >= SATISFIED for unit in units])[clear]
    session = np.array([unit.session for unit in units])[clear]
    ours_all, theirs_all, errors = [], [], []
    folds = fold_count(units)
    if folds < 2 or clear.sum() < MIN_UNITS:
        print(f"\n{name}: {clear.sum()} units, rarer class in {folds} sessions at most: too few to fit")
        return
    print(
        f"\n{name}: fitted, {folds} folds grouped by session\n"
        "seed    baseline  ours    gain    top     bottom  ECE     seconds"
    )
    for seed in range(seeds):
        start = time.process_time()
        try:
            probability, card = fitted(rated, folds=folds, seed=seed)
        except InputError as fault:
            print(f"{seed}       {fault}")
            continue
        seconds = time.process_time() - start
        ours = probability.to_numpy()[clear]
        fold = fold_of(rated["session"], folds=folds, seed=seed)
        theirs = np.zeros(len(units))
        for held in range(folds):
            train = [unit for unit, part, ok in zip(units, fold, clear, strict=True) if part != held and ok]
            inside = np.flatnonzero((fold == held) & clear)
            theirs[inside] = baseline_fitted(train, [units[index] for index in inside])
        ours_all.append(ours)
        theirs_all.append(theirs[clear])
        a, b = roc_auc(theirs[clear], truth), roc_auc(ours, truth)
        top, bottom = deciles(ours, truth)
        error = card["ece"]
        errors.append(error)
        print(
            f"{seed}       {a:.4f}    {b:.4f}  {b - a:.4f}  {top:.4f}  {bottom:.4f}  {error:.4f}  {seconds:.1f}",
            flush=True,
        )
        shares = [", ".join(f"{part:.1f}" for part in one.values()) for one in card["shares"]["folds"]]
        print(f"        shares of {', '.join(card['shares']['unrated'])}: {'; '.join(shares)}", flush=True)
    if not ours_all:
        return
    a_all = np.array([roc_auc(score, truth) for score in theirs_all])
    b_all = np.array([roc_auc(score, truth) for score in ours_all])
    both = np.array([deciles(score, truth) for score in ours_all])
    print(
        f"mean    {a_all.mean():.4f}    {b_all.mean():.4f}  {(b_all - a_all).mean():.4f}  {both[:, 0].mean():.4f}  "
        f"{both[:, 1].mean():.4f}  {np.mean(errors):.4f}"
    )
    print(
        f"spread  {a_all.std():.4f}    {b_all.std():.4f}  {(b_all - a_all).std():.4f}  {both[:, 0].std():.4f}  "
        f"{both[:, 1].std():.4f}  {np.std(errors):.4f}"
    )
    gain, low, high = interval(np.mean(ours_all, axis=0), np.mean(theirs_all, axis=0), truth, session)
    print(f"gain of the mean over seeds {gain:.4f}, 95 % over sessions [{low:.4f}, {high:.4f}]")
    gain, low, high = interval(ours_all[0], theirs_all[0], truth, session)
    print(f"gain at seed 0              {gain:.4f}, 95 % over sessions [{low:.4f}, {high:.4f}]")
    sure = np.maximum(ours_all[0], 1.0 - ours_all[0]) >= LabelSettings().min_confidence
    right = ((ours_all[0] > 0.5) == truth)[sure].mean()
    print(
        f"seed 0 at the default confidence: {1 - sure.mean():.3f} of the units abstain, {right:.3f} of the others right"
    )


def rules(name: str, units: list[Rated], frame: pl.DataFrame) -> None:
    """The rules on the clear units; they are trained on nothing."""
    clear = is_clear(units)
    truth = np.array([unit.rating >= SATISFIED for unit in units])[clear]
    probability, labels = rule_labels(frame)
    ours = probability[clear]
    theirs = baseline_rule(units)[clear]
    session = np.array([unit.session for unit in units])[clear]
    gain, low, high = interval(ours, theirs, truth, session)
    top, bottom = deciles(ours, truth)
    sure = ~np.isnan(labels[clear])
    right = (labels[clear] == truth)[sure].mean()
    good, bad = truth[labels[clear] == 1.0].mean(), (~truth)[labels[clear] == 0.0].mean()
    print(
        f"{name}: {clear.sum()} units of {len(units)} rated turns, {truth.mean():.3f} satisfied\n"
        f"rules   {roc_auc(theirs, truth):.4f} baseline, {roc_auc(ours, truth):.4f} ours, "
        f"gain {gain:.4f} [{low:.4f}, {high:.4f}], top {top:.4f}, bottom {bottom:.4f}, "
        f"ECE {calibration_error(ours, truth):.4f}\n"
        f"        {1 - sure.mean():.3f} of the units abstain ({np.isnan(labels).mean():.3f} of all rated turns), "
        f"{right:.3f} of the others right ({good:.3f} of the good, {bad:.3f} of the bad labels)"
    )


def transfer(units: list[Rated], frame: pl.DataFrame) -> None:
    """Fitted on the sessions that were developed on, asked about the untouched ones."""
    apart = np.array([held_out(unit.session) for unit in units])
    clear = is_clear(units)
    truth = np.array([unit.rating >= SATISFIED for unit in units])[apart & clear]
    session = np.array([unit.session for unit in units])[apart & clear]
    hidden = with_ratings(frame, units).with_columns(
        pl.when(pl.Series(apart)).then(None).otherwise(pl.col("_rating")).alias("_rating"),
        pl.when(pl.Series(apart)).then(None).otherwise(pl.col("rating")).alias("rating"),
    )
    probability, _ = fitted(hidden, folds=5, seed=0)
    ours = probability.to_numpy()[apart & clear]
    train = [unit for unit, out, ok in zip(units, apart, clear, strict=True) if ok and not out]
    theirs = baseline_fitted(train, [unit for unit, out, ok in zip(units, apart, clear, strict=True) if ok and out])
    gain, low, high = interval(ours, theirs, truth, session)
    top, bottom = deciles(ours, truth)
    print(
        f"\nfitted on the developed four fifths, asked about the untouched fifth: "
        f"{roc_auc(theirs, truth):.4f} baseline, {roc_auc(ours, truth):.4f} ours, "
        f"gain {gain:.4f} [{low:.4f}, {high:.4f}], top {top:.4f}, bottom {bottom:.4f}, "
        f"ECE {calibration_error(ours, truth):.4f}"
    )


def crosswoz(path: Path) -> None:
    """The rules in Chinese: did the agent's turn bring what was asked for, or make the customer change the wish?

    The customer's own notes tell: after each turn they wrote down what they had learned, and where nothing met a wish
    they replaced it. `met`: an empty slot was filled and no wish changed; `failed`: a wish changed.
    """
    with zipfile.ZipFile(path) as archive:
        dialogues = json.loads(archive.read(archive.namelist()[0]))
    texts, truth = [], []
    for key in sorted(dialogues):
        messages = dialogues[key]["messages"]
        states = [message.get("user_state") for message in messages]
        for index in range(2, len(messages)):
            if messages[index]["role"] != "usr" or not states[index - 2] or not states[index]:
                continue
            old = {(slot[0], slot[1], slot[2]): slot[3] for slot in states[index - 2]}
            new = {(slot[0], slot[1], slot[2]): slot[3] for slot in states[index]}
            changed = any(old[name] not in ("", []) and new.get(name) != old[name] for name in old)
            filled = any(old[name] in ("", []) and new.get(name) not in ("", []) for name in old)
            if changed or filled:
                texts.append(tuple(message["content"] for message in messages[index - 2 : index + 1]))
                truth.append(not changed)
    frame = mined(texts)
    right = np.array(truth)
    probability, labels = rule_labels(frame)
    good, bad = labels == 1.0, labels == 0.0
    print(f"\ncrosswoz (zh): {len(right)} answered turns, {right.mean():.3f} met, by the customer's own notes")
    print(f"rules   {roc_auc(probability, right):.4f} all signals, {np.isnan(labels).mean():.3f} abstain")
    met = right[good].mean(), right[bad].mean()
    print(f"        labelled good {good.sum()}, {met[0]:.3f} met; labelled bad {bad.sum()}, {met[1]:.3f} met")
    without = frame.with_columns(pl.lit(0.0).alias(name) for name in ("reply_failure", "reply_result"))
    print(f"rules   {roc_auc(rule_labels(without)[0], right):.4f} from the customer's turns alone")
    spoke = frame.select(pl.col(name) for name in ("thanks", "acceptance", "refusal", "request_other", "reply_failure"))
    for name in spoke.columns:
        at = np.flatnonzero(spoke[name].fill_null(0.0).to_numpy())
        if len(at):
            print(f"        {name:14s} {len(at):5d} turns, {right[at].mean():.3f} met")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with uss/ and crosswoz/")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--developed-only", action="store_true", help="leave the untouched fifth untouched")
    parser.add_argument("--also", type=Path, metavar="FILE", help="rules and fitted tables of another transcript, too")
    options = parser.parse_args()
    units = read_transcript(options.data / "uss" / "SGD.txt")
    frame = mined([(unit.before, unit.reply, unit.after) for unit in units])
    apart = np.array([held_out(unit.session) for unit in units])
    parts = {"developed on": ~apart}
    if not options.developed_only:
        parts |= {"untouched": apart, "all": np.ones(len(units), dtype=bool)}
    for name, mask in parts.items():
        rules(name, [unit for unit, keep in zip(units, mask, strict=True) if keep], frame.filter(pl.Series(mask)))
    crosswoz(options.data / "crosswoz" / "val.json.zip")
    for name in parts if options.developed_only else ("all",):
        mask = parts[name]
        kept = [unit for unit, keep in zip(units, mask, strict=True) if keep]
        cross_validate(name, kept, frame.filter(pl.Series(mask)), options.seeds)
    if not options.developed_only:
        transfer(units, frame)
    if options.also:
        others = read_transcript(options.also)
        signals = mined([(unit.before, unit.reply, unit.after) for unit in others])
        if fold_count(others):
            rules(f"\n{options.also.name}", others, signals)
        cross_validate(options.also.name, others, signals, options.seeds)


if __name__ == "__main__":
    main()
