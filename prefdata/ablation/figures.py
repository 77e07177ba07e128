"""The held-out figures of every set, and what their differences say."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl

from prefdata.ablation import statistics
from prefdata.ablation.statistics import Difference, Floats


class Figures:
    """Metrics of every arm on one choice of held-out rows."""

    def __init__(
        self,
        rows: pl.DataFrame,
        where: Any,
        scores: dict[str, tuple[Floats, Floats]],
        same: dict[str, str],
        *,
        pairs: bool,
        resamples: int,
        seed: int,
    ) -> None:
        """`rows` are those of the held-out rows where `where` is true; `scores` are of all, (draws, rows) an arm."""
        self.metric = "accuracy" if pairs else "auc"
        self.where, self.scores, self.same = where, scores, same
        self.pairs = pairs
        self.label = np.ones(rows.height, dtype=bool) if pairs else rows["label"].to_numpy().astype(bool)
        units = rows["unit"].rank("dense").to_numpy().astype(np.int64) - 1
        self.weights = statistics.bootstrap(units, resamples=resamples, seed=seed)
        self.known: dict[tuple[str, str, int], Floats] = {}

    def table(self, arm: str, metric: str, at: int) -> Floats:
        """(draws, 2, orders, 1 + resamples) figures."""
        name = (self.same[arm], metric, at)
        if name not in self.known:
            rewards = self.scores[arm][at][..., self.where]
            flat = rewards.reshape(-1, rewards.shape[-1])
            known: dict[bytes, Floats] = {}
            for one in flat:
                if one.tobytes() not in known:
                    known[one.tobytes()] = self._figure(one, metric)
            rows = np.vstack([known[one.tobytes()] for one in flat])
            self.known[name] = rows.reshape(*rewards.shape[:-1], rows.shape[-1])
        return self.known[name]

    def _figure(self, margins: Floats, metric: str) -> Floats:
        if metric == "log_loss":
            return statistics.log_loss(margins, self.label, self.weights)
        if self.pairs:
            return statistics.accuracy(margins, self.weights)
        return statistics.auc(margins, self.label, self.weights)

    def figures(self, arm: str) -> dict[str, Any]:
        return {name: plain(statistics.estimate(self.table(arm, name, 0))) for name in (self.metric, "log_loss")}

    def difference(self, full: str, arm: str, metric: str, *, at: int = 0) -> Difference:
        return statistics.difference(self.table(full, metric, at), self.table(arm, metric, at))


def verdict(found: Difference, p_holm: float) -> Literal["pays", "harms", "not_shown"]:
    """What a difference of the headline metric says once the number of comparisons is counted in."""
    if p_holm >= statistics.LEVEL:
        return "not_shown"
    return "pays" if found.value > 0 else "harms"


def plain(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = value._asdict()
    return found


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) + 0.0
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(inner) for inner in value]
    return value
