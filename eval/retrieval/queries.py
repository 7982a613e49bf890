"""One-shot object retrieval: find the images that show the category of one masked object."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from eval.coco import CocoImage, CocoObject, CocoSplit
from eval.ranking import average_precision, precision_at
from ren_core.configuration import Count, Seed, configuration
from ren_core.errors import ConfigError, DataError
from ren_core.stages import plain_fields

Scores = NDArray[np.float32]


@configuration()
class QueryConfig:
    """Which objects are queries, and how their vectors are made.

    Attributes:
        per_class: Queries of every category; fewer where there are not so many.
        min_area: Smaller objects are no queries, in pixels of their image.
        points: Prompts inside a query's mask.
        seed: Of the choice of objects and of prompts.
    """

    per_class: Count = 50
    min_area: Annotated[float, Field(ge=0, le=4096**2)] = 32.0**2
    points: Count = 128
    seed: Seed = 0


@dataclass(frozen=True, slots=True)
class Query:
    """One object asked for; the manifest is a list of these."""

    annotation_id: int
    image_id: int
    category_id: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The queries of a run.

    Attributes:
        config: How they were drawn, and how their vectors are made.
        queries: In the order of their figures.
        taken_from: The file that held them; None if they were drawn for this run.
    """

    config: QueryConfig
    queries: list[Query]
    taken_from: Path | None = None


@dataclass(frozen=True, slots=True)
class QueryRow:
    """Figures of one query; NaN where no other image of the database shows the category.

    Attributes:
        query: Which one.
        ap: Average precision over all images of the database.
        precision: Hits among the first K, divided by K.
        ceiling: The highest precision possible: min(positives, K) / K.
        positives: Images that show the category, the query's own left out.
        share: ``positives`` over the size of the database: about the AP of a random ranking.
    """

    query: Query
    ap: float
    precision: float
    ceiling: float
    positives: int
    share: float


FIGURES = ("ap", "precision", "ceiling", "share")


def select_queries(split: CocoSplit, config: QueryConfig) -> list[Query]:
    """Draw the queries: at most one object per image and category, none too small, no crowd.

    Categories are drawn independently of each other, by ascending id.
    """
    candidates: dict[int, list[CocoObject]] = defaultdict(list)
    for found in split.objects.values():
        if found.area >= config.min_area:
            candidates[found.category_id].append(found)
    queries = []
    for category in sorted(candidates):
        generator = np.random.default_rng((config.seed, category))
        taken: set[int] = set()
        for position in generator.permutation(len(candidates[category])):
            found = candidates[category][position]
            if found.image_id not in taken and len(taken) < config.per_class:
                taken.add(found.image_id)
                queries.append(Query(found.annotation_id, found.image_id, category))
    return queries


def read_queries(manifest: Sequence[Mapping[str, int]], split: CocoSplit) -> list[Query]:
    """The queries of a saved manifest, checked against the annotations.

    Raises:
        DataError: If one of them is no object of the split.
    """
    queries = []
    for row in manifest:
        found = split.objects.get(row["annotation_id"])
        if found is None or found.image_id != row["image_id"]:
            raise DataError(
                f"the manifest asks for annotation {row['annotation_id']} of image "
                f"{row['image_id']}, which {split.file} does not have; draw a new manifest"
            )
        queries.append(Query(found.annotation_id, found.image_id, found.category_id))
    return queries


def read_manifest(file: Path, split: CocoSplit, asked: Mapping[str, float]) -> Manifest:
    """A saved manifest, with the configuration that its queries were drawn with.

    Args:
        file: A ``manifest.json`` of an earlier run.
        split: Where the queries come from.
        asked: Fields of ``QueryConfig`` that the user gave; they must agree with the file.

    Raises:
        ConfigError: If the user asks for other queries than the file holds.
        DataError: If the file is missing or no manifest, or its queries are not in the split.
    """
    if not file.is_file():
        raise DataError(f"there is no manifest {file}; leave --manifest out to draw one")
    try:
        document = json.loads(file.read_text())
        kept = plain_fields(document["config"])
        manifest = Manifest(QueryConfig(**kept), read_queries(document["queries"], split), file)
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise DataError(
            f"{file} is no manifest of this command ({type(err).__name__}: {err}); leave "
            f"--manifest out to draw one"
        ) from err
    for name, value in asked.items():
        if kept.get(name) != value:
            raise ConfigError(
                f"{file} has {name} {kept.get(name)}, got {value}; leave the option out to use the "
                f"manifest, or --manifest to draw other queries"
            )
    return manifest


def score_queries(
    queries: Sequence[Query], database: Sequence[CocoImage], scores: Scores, top_k: int
) -> Iterator[QueryRow]:
    """One row per query.

    Args:
        queries: Q of them.
        database: M images, in the order of the scores' columns.
        scores: (Q, M) similarity of every query to every image.
        top_k: K of the precision.
    """
    image_ids = np.array([image.image_id for image in database])
    shows = {
        category: np.array([category in image.categories for image in database], bool)
        for category in {query.category_id for query in queries}
    }
    for query, row in zip(queries, scores, strict=True):
        others = image_ids != query.image_id
        truth, ranked = shows[query.category_id][others], row[others].astype(np.float64)
        positives = int(truth.sum())
        known = 1.0 if positives else float("nan")
        yield QueryRow(
            query=query,
            ap=average_precision(ranked, truth),
            precision=precision_at(ranked, truth, top_k),
            ceiling=known * min(positives, top_k) / top_k,
            positives=positives,
            share=known * positives / max(1, len(truth)),
        )


def class_means(rows: Sequence[QueryRow]) -> dict[int, dict[str, float]]:
    """Mean figures of every category's queries; NaN for a category without defined rows."""
    by_class: dict[int, list[QueryRow]] = defaultdict(list)
    for row in rows:
        by_class[row.query.category_id].append(row)
    return {
        category: {name: nan_mean([getattr(r, name) for r in group]) for name in FIGURES}
        for category, group in sorted(by_class.items())
    }


def macro_means(classes: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Means over the categories whose figures are defined, and how many those are."""
    figures = {name: nan_mean([c[name] for c in classes.values()]) for name in FIGURES}
    return {**figures, "classes": float(sum(not np.isnan(c["ap"]) for c in classes.values()))}


def nan_mean(values: Sequence[float]) -> float:
    """Mean of the defined values; NaN without any.

    >>> nan_mean([1.0, float("nan"), 2.0])
    1.5
    """
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
