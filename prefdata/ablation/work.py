"""One ablation: heads trained on draws of every set, their rewards of the held-out rows kept, and the account of it.

Import this module where it is used, inside functions: it needs scipy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from prefdata import stages
from prefdata.ablation import heads, statistics
from prefdata.ablation.figures import Figures, plain, rounded, verdict
from prefdata.ablation.sets import FULL, HELD_OUT, SET_ASIDE, TRAIN, Arm, Sets, sets
from prefdata.ablation.settings import FEWEST, MOST_ROWS, Settings, chosen_head, longest
from prefdata.ablation.statistics import Floats
from prefdata.errors import InputError
from prefdata.rundir import key_of
from prefdata.schema import RecordType, stable_hash
from prefdata.sides import revisions
from prefdata.stages import State

FORMAT = 1
"""Of ablation.json and of what is kept beside it."""

FOLDER = "ablation"


ORDERS = 4
"""Random orders of the rows of a half."""


class Drawn(NamedTuple):
    """The places of an arm's training rows in one half: as many as all arms have, in each order; and all of its own."""

    equal: list[Any]
    every: Any


class Work:
    """One ablation under way."""

    def __init__(self, state: State, settings: Settings) -> None:
        self.state, self.settings = state, settings
        self.folder = state.run.path / FOLDER
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.head = chosen_head(settings, state.recipe)
        most = MOST_ROWS[self.head[0]] if settings.rows is None else settings.rows
        self.sets = _limited(sets(state, share=settings.held_out, only=settings.only), most, settings.seed)
        self.pairs = self.sets.type is RecordType.PREFERENCE
        self._take(self.sets.rows)

    def _take(self, rows: pl.DataFrame) -> None:
        """Go on with these rows: `trained` and `held`, each sorted by id, and `rows`, the one after the other."""
        seen = pl.concat([arm.training for arm in self.sets.arms]).unique()
        self.held = rows.filter(pl.col("side") == HELD_OUT).sort("id")
        self.trained = rows.filter((pl.col("side") == TRAIN) & pl.col("id").is_in(seen.implode())).sort("id")
        self.rows = pl.concat([self.trained, self.held])
        self.members = {arm.name: self.trained["id"].is_in(arm.training.implode()).to_numpy() for arm in self.sets.arms}

    def done(self) -> dict[str, Any]:
        """ablation.json."""
        self._enough()
        features, head = self._features()
        self._enough()
        draws = self._draws()
        scores: dict[str, tuple[Floats, Floats]] = {}
        known: dict[bytes, tuple[Floats, Floats]] = {}
        self.same: dict[str, str] = {}
        first: dict[bytes, str] = {}
        for number, arm in enumerate(self.sets.arms):
            self.state.progress("train heads", number, len(self.sets.arms))
            members = self.members[arm.name].tobytes()
            if members not in known:
                known[members] = self._scores(arm, features, head, draws[arm.name])
                first[members] = arm.name
            self.same[arm.name] = first[members]
            scores[arm.name] = known[members]
        self.state.progress("train heads", len(self.sets.arms), len(self.sets.arms))
        return self._told(scores, head, [len(halves[0].equal[0]) for halves in draws[FULL]])

    def _enough(self) -> None:
        clean = self.held.filter("clean")
        kept = self.trained.filter(pl.Series(self.members[self.sets.arms[0].name]))
        for what, rows in (("clean rows held out", clean), ("rows to train on", kept)):
            least = FEWEST if what.startswith("clean") else 2 * FEWEST
            classes = rows["label"].n_unique() if not self.pairs else 2
            if rows.height < least or rows["unit"].n_unique() < 4 or classes < 2:
                raise InputError(
                    f"{rows.height} {what} in {rows['unit'].n_unique()} units"
                    + (f" of {classes} class" if classes < 2 else "")
                    + f"; expected at least {least} in 4 units{'' if self.pairs else ' of both labels'}: nothing can "
                    "be told from so few. Another `held_out` may help, more data will"
                )

    def _features(self) -> tuple[Any, dict[str, Any]]:
        """Features of `rows`, and what they are, for the record and for keys.

        Rows that a model cannot read whole are left out of all sets.
        """
        records = self._records()
        kind, model = self.head
        if kind == "words":
            self.state.progress("features", 0, 1)
            made = heads.word_features(records, self.sets.type)
            self.state.progress("features", 1, 1)
            return made, {"kind": "words", "prior": heads.PRIOR["words"]}
        from trainers.features_states import HiddenStates

        reader = HiddenStates(model, max_length=longest(self.settings, self.state.recipe))
        sides = heads.answers_of(self.sets.type)
        states = reader.read(records, sides, self.folder / "features", progress=self.state.progress)
        read = ~np.isnan(states[:, :, 0]).any(axis=1)
        self._take(self.rows.filter(pl.Series(read)))
        told = {"kind": "model", "prior": heads.PRIOR["states"], **reader.record(), "unread": int((~read).sum())}
        return heads.state_features(states[read], self.sets.type), told

    def _records(self) -> pl.DataFrame:
        """`rev`, prompt and answers of `rows`, in their order."""
        columns = ["id", "prompt", *heads.answers_of(self.sets.type)]
        parts = []
        for shard in self.state.shards():
            frame = pl.read_parquet(shard, columns=columns, glob=False).join(
                self.rows.select("id"), on="id", how="semi"
            )
            parts.append(frame.with_columns(revisions(frame, self.sets.type).alias("rev")))
        return self.rows.select("id").join(pl.concat(parts), on="id", how="left", maintain_order="left")

    def _draws(self) -> dict[str, list[list[Drawn]]]:
        """For each arm and draw the training rows of both halves.

        Halves and orders are the same for all arms, so that what two arms share they share in every draw.
        """
        unit = self.trained["unit"].rank("dense").to_numpy().astype(np.int64) - 1
        count = int(unit.max()) + 1
        found: dict[str, list[list[Drawn]]] = {arm.name: [] for arm in self.sets.arms}
        for draw in range(self.settings.draws):
            random = np.random.default_rng([self.settings.seed, 2, draw])
            side = np.zeros(count, dtype=np.int64)
            side[random.permutation(count)[: count // 2]] = 1
            orders = [random.permutation(len(unit)) for _ in range(ORDERS)]
            there = {
                (name, half): [order[member[order] & (side[unit[order]] == half)] for order in orders]
                for name, member in self.members.items()
                for half in (0, 1)
            }
            size = min([len(rows[0]) for rows in there.values()] + [self.settings.budget or len(unit)])
            for name in self.members:
                halves = [
                    Drawn([np.sort(rows[:size]) for rows in there[name, half]], np.sort(there[name, half][0]))
                    for half in (0, 1)
                ]
                found[name].append(halves)
            taken = [rows for halves in found.values() for half in halves[-1] for rows in half.equal]
            if size < FEWEST or not (self.pairs or self._both_labels(taken)):
                raise InputError(
                    f"draw {draw} leaves {size} rows to train on{'' if self.pairs else ', or one label only'}; "
                    "too few to compare filters on"
                )
        return found

    def _both_labels(self, drawn: Sequence[Any]) -> bool:
        label = self.trained["label"].to_numpy()
        return all(label[rows].any() and not label[rows].all() for rows in drawn)

    def _scores(self, arm: Arm, features: Any, head: dict[str, Any], draws: list[list[Drawn]]) -> tuple[Floats, Floats]:
        """Rewards of the held-out rows, (draws, 2, orders, rows): at the shared budget, and of all that the arm has."""
        ids = self.trained["id"].to_numpy()
        made_of = [[[ids[rows].tolist() for rows in half.equal] for half in halves] for halves in draws]
        key = key_of(FORMAT, head, self.rows["id"].to_list(), self.rows["label"].to_list(), made_of)
        path = self.folder / "sets" / f"{key}.parquet"
        if not stages.sound(path):
            path.parent.mkdir(exist_ok=True)
            stages.write_sound(path, self._trained(features, head["prior"], draws))
        kept = pl.read_parquet(path, glob=False)
        shape = (len(draws), 2, ORDERS, self.held.height)
        equal = kept.select(pl.col("^equal_.*$")).to_numpy().T.reshape(shape)
        every = kept.select(pl.col("^all_.*$")).to_numpy().T.reshape(shape[0], 2, 1, shape[3])
        return equal, np.broadcast_to(every, shape)

    def _trained(self, features: Any, prior: float, draws: list[list[Drawn]]) -> pl.DataFrame:
        """`id` of the held-out rows, and their rewards by every head: `equal_<draw>_<half>_<order>`, `all_...`."""
        size = self.trained.height
        label = np.ones(size) if self.pairs else self.trained["label"].to_numpy().astype(np.float64)
        held = features[size:]
        columns: dict[str, Any] = {"id": self.held["id"]}
        for number, halves in enumerate(draws):
            for at, half in enumerate(halves):
                known: dict[bytes, Floats] = {}
                named = {f"equal_{number}_{at}_{order}": rows for order, rows in enumerate(half.equal)}
                for name, rows in {**named, f"all_{number}_{at}": half.every}.items():
                    if rows.tobytes() not in known:
                        made = heads.train(features[rows], label[rows], prior=prior, pairs=self.pairs)
                        known[rows.tobytes()] = made.margins(held)
                    columns[name] = known[rows.tobytes()]
        return pl.DataFrame(columns)

    def _told(self, scores: dict[str, tuple[Floats, Floats]], head: dict[str, Any], sizes: list[int]) -> dict[str, Any]:
        full = self.sets.arms[0]
        every = pl.repeat(True, self.held.height, eager=True)
        judged = {
            name: Figures(
                self.held.filter(where),
                where.to_numpy(),
                scores,
                self.same,
                pairs=self.pairs,
                resamples=self.settings.resamples,
                seed=self.settings.seed,
            )
            for name, where in (("clean", self.held["clean"]), ("unfiltered", every))
        }
        clean = judged["clean"]
        metric = clean.metric
        distinct = [arm.name for arm in self.sets.arms[1:] if self.same[arm.name] == arm.name]
        raw = {name: clean.difference(full.name, name, metric) for name in distinct}
        corrected = dict(zip(distinct, statistics.holm([raw[name].p for name in distinct]), strict=True))
        arms = []
        for arm in self.sets.arms[1:]:
            same = self.same[arm.name]
            line: dict[str, Any] = {
                "name": arm.name,
                "kind": arm.kind,
                "dropped": arm.dropped,
                "alone": arm.alone,
                "training_rows": int(self.members[arm.name].sum()),
                "restored": int((self.members[arm.name] & ~self.members[full.name]).sum()),
                "lost": int((self.members[full.name] & ~self.members[arm.name]).sum()),
                "same_as": None if same == arm.name else same,
            }
            if same == full.name:
                arms.append({**line, "verdict": "no_rows"})
                continue
            found = raw[same]
            line["difference"] = {**plain(found), "p_holm": corrected[same]}
            line["log_loss_difference"] = plain(clean.difference(full.name, arm.name, "log_loss"))
            line["unfiltered_difference"] = plain(judged["unfiltered"].difference(full.name, arm.name, metric))
            line["all_rows_difference"] = plain(clean.difference(full.name, arm.name, metric, at=1))
            line["figures"] = {name: one.figures(arm.name) for name, one in judged.items()}
            line["verdict"] = verdict(found, corrected[same])
            arms.append(line)
        result = {
            "format": FORMAT,
            "name": self.state.recipe.name,
            "type": str(self.sets.type),
            "metric": metric,
            "head": head,
            "draws": self.settings.draws,
            "resamples": self.settings.resamples,
            "seed": self.settings.seed,
            "training": {
                "rows": int(self.members[full.name].sum()),
                "units": self.trained["unit"].n_unique(),
                "budget": {"least": min(sizes), "most": max(sizes)},
            },
            "held_out": {
                "share": self.settings.held_out,
                "rows": self.held.height,
                "units": self.held["unit"].n_unique(),
                "clean_rows": self.held.filter("clean").height,
                "clean_units": self.held.filter("clean")["unit"].n_unique(),
                "set_aside": self.sets.rows.filter(pl.col("side") == SET_ASIDE).height,
            },
            "compared": len(distinct),
            "full": {name: one.figures(full.name) for name, one in judged.items()},
            "arms": arms,
        }
        told: dict[str, Any] = rounded(result)
        return told


def _limited(found: Sets, most: int, seed: int) -> Sets:
    """At most `most` rows that can be trained on or held out: whole units, those first in a hash's order."""
    trained = pl.concat([arm.training for arm in found.arms]).unique().implode()
    wanted = found.rows.filter((pl.col("side") == HELD_OUT) | pl.col("id").is_in(trained))
    if wanted.height <= most:
        return found
    units = wanted.group_by("unit").agg(pl.len().alias("rows")).sort("unit")
    draw = stable_hash([pl.Series([str(seed)] * units.height), units["unit"]], purpose="ablation")
    units = units.with_columns(draw=draw).sort("draw").filter(pl.col("rows").cum_sum() <= most)
    rows = found.rows.join(units, on="unit", how="semi", maintain_order="left")
    kept = rows["id"].implode()
    arms = [arm._replace(training=arm.training.filter(arm.training.is_in(kept))) for arm in found.arms]
    return found._replace(rows=rows, arms=tuple(arms))
