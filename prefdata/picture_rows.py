"""Rows with pictures of one source as the type that a run makes: the builders, with the scorer and groupings they ask.

The section `image_text` of a recipe says what is made. Builders know no model and no measures of pictures: here they
are given the relevance of each text by a filter of the recipe, and which pictures are duplicates by its grouping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from prefdata import catalogue, judging
from prefdata.build import image_text, sft
from prefdata.build.attribute_words import VERSION
from prefdata.build.built import Built, account
from prefdata.build.hard_negatives import Negatives, Relevance, negative_pairs, negative_rows, negatives
from prefdata.build.image_text import Bands
from prefdata.build.image_text_settings import ImageTextSettings
from prefdata.build.pairs import joined_groups
from prefdata.build.picture_cards import account_of, account_of_negatives
from prefdata.build.picture_keys import CLUSTERS, SAYINGS, has_picture, prompt_pictures, sayings
from prefdata.engine import LocalEngine
from prefdata.judging import Grouping, RowFilter
from prefdata.recipe_parts import Recipe
from prefdata.schema import IMAGE, RecordType, conform, stable_hash
from prefdata.sides import sides_of

if TYPE_CHECKING:
    from prefdata.pictures import Pictures

SESSIONS = ("$.session", "$.chosen.session", "$.rejected.session")
"""Where `meta` names the session of a row, or those of the two that a pair is made of."""

GROUPS = ("$.group", "$.chosen.group", "$.rejected.group")
"""Where it names the group that the file gave."""

BOUNDS = ("relevant_min", "relevant_min_percentile", "irrelevant_max", "irrelevant_max_percentile")

AT_ONCE = 4096
"""Pictures whose fingerprints are read together."""

DUPLICATES = "picture_duplicates"
"""The grouping that tells which pictures are duplicates, where the recipe names none that looks at pictures."""


class PictureRows(NamedTuple):
    """What builders of rows about pictures are given."""

    settings: ImageTextSettings
    relevance: Relevance | None
    scorer: str | None
    clusters: pl.DataFrame
    seed: int
    said: pl.DataFrame | None = None
    """What is said of the pictures in all sources of the run; null where that is what the source says itself."""
    scores: pl.Series | None = None
    """The relevance of all texts of the run, where percentiles are of these; null where they are of the source's."""


class Told(NamedTuple):
    """The rows of a source, and their type."""

    type: RecordType
    rows: pl.DataFrame
    built: bool = True
    """Whether rows are made of them as the section says: those of logs are what they are."""


def of(
    recipe: Recipe, filters: Sequence[RowFilter], pictures: Pictures | None, told: Mapping[str, Told]
) -> dict[str, PictureRows]:
    """What the section `image_text` asks for of each source of a run, by its name; none where there is no such section.

    Each knows the filter that it names, the duplicates among all `pictures`, and what all that was `told` says of the
    same ones, so that the order of sources changes nothing.
    """
    settings: ImageTextSettings | None = recipe.image_text
    if settings is None:
        return {}
    named = next((one for one in filters if one.name == settings.relevance), None)
    groupings = [entry.settings.build() for entry in recipe.groupings]
    if settings.negatives:
        groupings = looking(groupings)
    alike = _alike(groupings, pictures)
    of_source = {name: alike.filter(pl.col("source") == name).select(CLUSTERS.names()) for name in told}
    said = None
    if settings.negatives:
        parts = [sayings(one.rows, sides_of(one.type)[1:], of_source[name]) for name, one in told.items()]
        said = pl.concat([SAYINGS.to_frame(), *parts]).unique().sort("text")
    relevance = None if named is None else _asking(named, pictures)
    scores = None
    if relevance is not None and settings.over_run():
        shown = [one.rows.filter(has_picture()) for one in told.values() if one.built]
        scores = pl.concat([pl.Series([], dtype=pl.Float64), *(relevance(rows) for rows in shown if rows.height)])
    return {
        name: PictureRows(
            settings=settings,
            relevance=relevance,
            scorer=None if named is None else named.scorer.name,
            clusters=clusters,
            seed=recipe.seed,
            said=said,
            scores=scores,
        )
        for name, clusters in of_source.items()
    }


def _asking(row_filter: RowFilter, pictures: Pictures | None) -> Relevance:
    def relevance(rows: pl.DataFrame) -> pl.Series:
        column = f"{row_filter.scorer.name}_completion"
        return judging.judge(rows, row_filter, "completion", pictures=pictures)[column].cast(pl.Float64)

    return relevance


def looking(groupings: Sequence[Grouping]) -> list[Grouping]:
    """Those of `groupings` that look at pictures, else the one that tells their duplicates by default."""
    return [one for one in groupings if _looks(one)] or [catalogue.load("grouping", DUPLICATES)().build()]


def clusters_of(groupings: Sequence[Grouping], pictures: Pictures | None) -> pl.DataFrame:
    """`uri` and `cluster` of the pictures that are duplicates of others, by those of `groupings` that look at them."""
    if not any(_looks(one) for one in groupings):
        return CLUSTERS.to_frame()
    return _alike(groupings, pictures).select(CLUSTERS.names()).unique("uri", keep="first", maintain_order=True)


def _alike(groupings: Sequence[Grouping], pictures: Pictures | None) -> pl.DataFrame:
    """`source`, `uri` and `cluster` of pictures that are not known by their `uri` alone: those of equal pixels, those
    that a grouping finds to be duplicates, and those at one address in several sources that are different ones."""
    schema = pl.Schema({"source": pl.String(), **CLUSTERS})
    if pictures is None:
        return schema.to_frame()
    known = pictures.table.filter(pl.col("reason").is_null())
    taken = known.select("source", "pixels", uri=pl.coalesce("uri", "address"))
    several = pl.col("pixels").n_unique().over("uri") > 1
    own = pl.when(several).then(pl.format("{}\x1f{}", "source", "uri")).otherwise("uri")
    taken = taken.unique().sort("uri", "source").with_columns(own=own)
    taken = taken.with_columns(name=pl.col("own").min().over("pixels"))
    firsts = taken.filter(pl.col("own") == pl.col("name")).sort("name", "source")
    firsts = firsts.unique("name", keep="first", maintain_order=True)
    seeing = [one for one in groupings if _looks(one)]
    found = pl.DataFrame(schema={"name": pl.String, "cluster": pl.String})
    if seeing and firsts.height:
        place = pl.struct(uri="uri", side=pl.lit("prompt"), message=pl.lit(0, pl.Int32), part=pl.lit(0, pl.Int32))

        def shown(some: pl.DataFrame, pictures: Pictures = pictures) -> pl.DataFrame:
            images = some.select(images=pl.concat_list(place.cast(IMAGE)))["images"]
            seen = pictures.seen(images, ["prompt"], sources=some["source"])
            return some.select(id="name", customer=pl.lit(""), reply=pl.lit("")).with_columns(pictures=seen)

        for grouping in seeing:
            keys = (grouping.keys(shown(some)) for some in firsts.iter_slices(AT_ONCE))
            edges = pl.concat(LocalEngine().shuffle(keys, "key", grouping.edges)).unique().sort("left", "right")
            groups = grouping.groups(edges.filter(pl.col("similarity") >= grouping.min_similarity))
            found = pl.concat([found, groups.select(name="id", cluster=pl.col("cluster").cast(pl.String))])
        found = found.unique("name", keep="first", maintain_order=True)
    named = taken.join(found, on="name", how="left", maintain_order="left")
    named = named.with_columns(cluster=pl.coalesce("cluster", "name"))
    return named.filter(pl.col("cluster") != pl.col("uri")).select(schema.names())


def own_groups() -> pl.Expr:
    """The sessions and the groups of their files' own that a row is of, a pair those of both its rows: List(String)."""
    named = [pl.col("meta").str.json_path_match(path) for path in (*SESSIONS, *GROUPS)]
    return pl.concat_list(named).list.drop_nulls().list.unique(maintain_order=True)


def tied(rows: pl.DataFrame, clusters: pl.DataFrame) -> pl.Series:
    """What ties each row to all that share a picture with it, on whatever side, or a duplicate of one, or one of their
    `own_groups`, where there is such a column; null where it has no picture. `rows` hold `images`."""
    shown = rows.select(uri=pl.col("images").cast(pl.List(IMAGE)).list.eval(pl.element().struct.field("uri")))
    shown = shown.with_row_index("_row").filter(pl.col("uri").list.len() > 0).explode("uri").drop_nulls("uri")
    named = shown.join(clusters, on="uri", how="left", maintain_order="left")
    named = named.select("_row", name=pl.coalesce("cluster", "uri"))
    if "own_groups" in rows.columns:
        grouped = rows.select(name="own_groups").with_row_index("_row").join(named, on="_row", how="semi")
        named = pl.concat([named, grouped.explode("name").drop_nulls("name")])
    named = named.with_columns(first=pl.col("name").first().over("_row"))
    joined = named.with_columns(joined_groups(named["first"], named["name"])).unique("_row", keep="first")
    every = pl.DataFrame({"_row": pl.int_range(rows.height, dtype=pl.UInt32, eager=True)})
    return every.join(joined, on="_row", how="left", maintain_order="left")["group"].alias("picture")


def _looks(grouping: Grouping) -> bool:
    """Whether a grouping compares pictures."""
    return "images" in getattr(grouping, "reads", frozenset())


def built(
    rows: pl.DataFrame, source_type: RecordType, record_type: RecordType, given: PictureRows
) -> tuple[Built, dict[str, Any]]:
    """Rows of `record_type` of those that have a picture, and the card: bounds as numbers, what was judged and made.

    SFT rows are captions and answers that are held to be true; UNPAIRED ones may say by their label whether they are.
    """
    settings = given.settings
    asked = rows.with_columns(group=pl.col("meta").str.json_path_match(GROUPS[0]))
    if settings.questions != ():
        from prefdata.formats.captions import QUESTION

        listed = settings.questions or image_text.QUESTIONS
        asked = image_text.with_questions(asked, questions=listed, defaults=[QUESTION], clusters=given.clusters)
    card: dict[str, Any] = {}
    bands: Bands | None = None
    if given.relevance is not None and asked.height:
        asked = asked.with_columns(given.relevance(asked).alias("relevance"), scorer=pl.lit(given.scorer))
        judged = int(asked["relevance"].count())
        card["relevance"] = {"scorer": given.scorer, "judged": judged, "unjudged": asked.height - judged}
    if settings.banded() and "relevance" in asked.columns:
        bounds = {name: getattr(settings, name) for name in BOUNDS}
        bands = image_text.bands_of(asked["relevance"] if given.scores is None else given.scores, **bounds)
        card["bands"] = bands._asdict()
        card["asked"] = {name: bounds[name] for name in settings.banded()}
        if settings.over_run():
            card["asked"]["percentile_of"] = "run"
    parts = {
        RecordType.SFT: _examples,
        RecordType.UNPAIRED: _labelled,
        RecordType.PREFERENCE: _pairs,
    }[record_type](asked, source_type, given, bands, card)
    nothing = conform(pl.DataFrame(schema={"id": pl.String}), record_type)
    whole = pl.concat([nothing, *(one.rows for one in parts)])
    made = Built(whole.with_columns(_groups(whole)).sort("id"), account(*(one.unmade for one in parts)))
    if given.relevance is not None:
        card["min_margin"] = settings.min_margin
    own = parts[:-1] if "negatives" in card else parts  # of wrong answers tells a part of its own
    left = account(*(one.unmade for one in own))
    return made, {"texts": rows.height, **card, **account_of(Built(made.rows, left), record_type)}


def _examples(
    rows: pl.DataFrame, source_type: RecordType, given: PictureRows, bands: Bands | None, card: dict[str, Any]
) -> list[Built]:
    if source_type is RecordType.SFT:
        return [image_text.examples(rows, bands=bands)]
    told = _told(rows, source_type, given, bands)
    found = sft.from_desirable(told.rows)
    return [found._replace(unmade=account(found.unmade, told.unmade))]


def _labelled(
    rows: pl.DataFrame, source_type: RecordType, given: PictureRows, bands: Bands | None, card: dict[str, Any]
) -> list[Built]:
    told = _told(rows, source_type, given, bands)
    found = _negatives(rows, told, given, card)
    return [told] if found is None else [told, negative_rows(*found)]


def _pairs(
    rows: pl.DataFrame, source_type: RecordType, given: PictureRows, bands: Bands | None, card: dict[str, Any]
) -> list[Built]:
    settings = given.settings
    parts = []
    if source_type is RecordType.UNPAIRED:
        parts.append(image_text.pairs_by_feedback(rows, max_uses=settings.max_uses, seed=given.seed))
    elif "relevance" in rows.columns:
        parts.append(
            image_text.pairs_by_relevance(
                rows,
                min_margin=settings.min_margin,
                policy=settings.policy,
                bands=bands,
                scorer=given.scorer,
                seed=given.seed,
            )
        )
    found = _negatives(rows, _told(rows, source_type, given, bands), given, card)
    return parts if found is None else [*parts, negative_pairs(*found)]


def _told(rows: pl.DataFrame, source_type: RecordType, given: PictureRows, bands: Bands | None) -> Built:
    """The rows with labels; a caption that nothing is known of counts as true where there are no bounds."""
    captions = source_type is RecordType.SFT
    return image_text.labelled(
        rows,
        bands=bands,
        check_feedback=given.settings.check_feedback,
        rated_alone=not captions and given.settings.unrated == "abstain",
        trusted=captions and bands is None,
    )


def _negatives(
    rows: pl.DataFrame, told: Built, given: PictureRows, card: dict[str, Any]
) -> tuple[pl.DataFrame, Negatives] | None:
    """The texts that are true by their labels, and the wrong answers made of them; null where none are wanted.

    What any row of the run says of a picture is never made a wrong answer: an unlabelled text may be true.
    """
    settings = given.settings
    if not settings.negatives:
        return None
    true = rows.join(told.rows.filter("label"), on="id", how="semi", maintain_order="left")
    found = negatives(
        true,
        said=sayings(rows, ["completion"], given.clusters) if given.said is None else given.said,
        kinds=settings.negatives,
        each=settings.negatives_each,
        clusters=given.clusters,
        relevance=given.relevance,
        min_margin=settings.min_margin,
        compared=settings.near_compared,
        seed=given.seed,
    )
    card["negatives"] = {"lists": VERSION, **account_of_negatives(found.made, found.unmade)}
    return true, found


def _groups(rows: pl.DataFrame) -> pl.Series:
    """The session of each row, else the group that its file gave, else its first picture: what draws the side of its
    split, whatever rows are appended.

    Rows that share another picture, duplicates of one, or another session or group, the split ties together.
    """
    first = rows.select(prompt_pictures().list.first().alias("uri"))["uri"]
    own = rows.select(own=own_groups().list.first())["own"]
    picture = stable_hash([first], purpose="picture")
    return pl.select(pl.coalesce(own, picture).alias("group")).to_series()
