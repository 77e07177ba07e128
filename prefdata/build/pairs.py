"""Which answers to one prompt are paired, and preference rows of the pairs: what all builders of preferences share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import polars as pl

from prefdata.build.built import Built, derived_ids, finish, moved_images, sift, with_json
from prefdata.errors import InputError
from prefdata.schema import IMAGE, RecordType, stable_hash

Policy = Literal["all_pairs", "best_worst", "best_random"]
"""all_pairs: every two answers. best_worst: the best with the worst. best_random: the best with one that is worse,
drawn by a hash."""


class Drawn(NamedTuple):
    """`better`, `worse` (ids; of a tie the smaller id is called better) and `tied`; and UNMADE of answers not drawn."""

    candidates: pl.DataFrame
    unmade: pl.DataFrame


def draw(answers: pl.DataFrame, *, policy: Policy, seed: int) -> Drawn:
    """Candidate pairs among the `answers` (`id`, `key`, `value`: higher is better) that share a key.

    Unmade: only_answer, not_drawn.
    """
    if policy not in get_args(Policy):
        raise InputError(f"policy: {policy!r}, expected one of {', '.join(get_args(Policy))}")
    answers = answers.select("id", "key", "value").sort("id")
    lone = pl.len().over("key") == 1
    alone = answers.filter(lone).select("id", reasons=pl.lit(["only_answer"]))
    answers = answers.filter(~lone)
    found = _all_pairs(answers) if policy == "all_pairs" else _with_best(answers, policy, seed)
    used = pl.concat([found["better"], found["worse"]])
    idle = answers.filter(~pl.col("id").is_in(used.to_list())).select("id", reasons=pl.lit(["not_drawn"]))
    return Drawn(found, pl.concat([alone, idle]))


def _all_pairs(answers: pl.DataFrame) -> pl.DataFrame:
    numbered = answers.with_row_index("at")
    both = numbered.join(numbered, on="key", suffix="_2").filter(pl.col("at") < pl.col("at_2"))
    swap = pl.col("value") < pl.col("value_2")
    return both.select(
        better=pl.when(swap).then("id_2").otherwise("id"),
        worse=pl.when(swap).then("id").otherwise("id_2"),
        tied=pl.col("value") == pl.col("value_2"),
    )


def _with_best(answers: pl.DataFrame, policy: Policy, seed: int) -> pl.DataFrame:
    ordered = answers.sort(["key", "value", "id"], descending=[False, True, False])
    worse = pl.col("value") < pl.col("value").first()
    other = pl.col("id").last()
    if policy == "best_random":
        seeds = pl.repeat(str(seed), ordered.height, eager=True, dtype=pl.String)
        ordered = ordered.with_columns(_draw=stable_hash([seeds, ordered["id"]], purpose="draw"))
        other = pl.col("id").filter(worse).sort_by(pl.col("_draw").filter(worse)).first().fill_null(other)
    best = ordered.group_by("key", maintain_order=True).agg(
        better=pl.col("id").first(), worse=other, tied=~worse.any()
    )  # where all answers are tied, the last of them stands for the others
    return best.select("better", "worse", "tied")


def preference_rows(
    pieces: pl.DataFrame,
    candidates: pl.DataFrame,
    rules: Mapping[str, pl.Expr],
    *,
    also: Sequence[pl.DataFrame] = (),
    prompt_of: Literal["better", "worse"] = "better",
) -> Built:
    """PREFERENCE rows of `candidates` (`better`, `worse`, `evidence`, maybe `margin`) over `pieces`.

    `pieces` are rows of `pieces.answers`. Prompt, its pictures, tools and time are those of the answer that `prompt_of`
    names, source and language those of the better one. Rows that are connected through a `group` end in one group.
    `rules` may use all columns of `candidates`; a pair of equal answers is always unmade (`equal_sides`). `also`:
    UNMADE of earlier steps.
    """
    columns = ["id", "answer", "meta", "images", "group", "prompt", "tools", "time", "_same"]
    other = pieces.select(pl.col(columns).name.suffix("_worse"))
    joined = (
        candidates.join(pieces.rename({"id": "better", "evidence": "_given"}), on="better", how="left")
        .join(other.rename({"id_worse": "worse"}), on="worse", how="left")
        .rename({"better": "id", "worse": "other"})
        .sort("id", "other")
    )
    made, unmade = sift(joined, {**rules, "equal_sides": pl.col("_same") == pl.col("_same_worse")})
    same_meta = pl.col("meta").eq_missing(pl.col("meta_worse"))
    places = [moved_images("images", {"answer": "chosen"}), moved_images("images_worse", {"answer": "rejected"})]
    side = "" if prompt_of == "better" else "_worse"
    pictures = [moved_images(f"images{side}", {"prompt": "prompt"}), *places]
    made = made.with_columns(
        derived_ids(made, ["id", "other"], purpose="pair"),
        *(pl.col(f"{name}{side}").alias(name) for name in ("prompt", "tools", "time")),
        joined_groups(made["group"], made["group_worse"]),
        chosen="answer",
        rejected="answer_worse",
        images=_one_list(pictures),
        meta=pl.when(same_meta)
        .then("meta")
        .otherwise(with_json(pl.lit("{}"), chosen=pl.col("meta"), rejected=pl.col("meta_worse"))),
    )
    return finish(made, RecordType.PREFERENCE, [*also, unmade])


def _one_list(lists: Sequence[pl.Expr]) -> pl.Expr:
    """Lists of pictures end to end; null where there is none."""
    whole = pl.concat_list([one.fill_null(pl.lit([], dtype=pl.List(IMAGE))) for one in lists])
    return pl.when(whole.list.len() > 0).then(whole)


def joined_groups(left: pl.Series, right: pl.Series) -> pl.Series:
    """The smallest group among all that are connected: row i connects group left[i] with right[i]."""
    frame = pl.DataFrame({"left": left, "right": right})
    sides = pl.concat([frame["left"], frame["right"]]).unique().sort()
    names = pl.DataFrame({"group": sides, "name": sides})
    while frame.select((pl.col("left") != pl.col("right")).any()).item():
        found = frame.join(names, left_on="left", right_on="group", how="left", maintain_order="left")
        found = found.join(names, left_on="right", right_on="group", how="left", maintain_order="left", suffix="_2")
        lowest = found.with_columns(name=pl.min_horizontal("name", "name_2"))
        longer = pl.concat([lowest.select(group="left", name="name"), lowest.select(group="right", name="name"), names])
        new = longer.group_by("group", maintain_order=True).agg(pl.col("name").min()).sort("group")
        if new.equals(names):
            break
        names = new
    return frame.join(names, left_on="left", right_on="group", how="left", maintain_order="left")["name"].alias("group")
