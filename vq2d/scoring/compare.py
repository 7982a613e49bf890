"""Whether two runs differ by more than chance: a paired bootstrap of the six official figures.

Queries are drawn with replacement, the same ones for both runs. A resample is a list in the order
of the annotation file with the copies of a query side by side, so that the official tie order
(of equal scores the later one first) treats the queries of a resample as it treats those of the
file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ren_core.errors import DataError
from vq2d.scoring.bootstrap import BootstrapConfig, Unit
from vq2d.scoring.metrics import METRICS, QueryResult, compute
from vq2d.scoring.resampled import Floats, Integers, resampled_figures

ALL_SETS = "all sets"
INTERVAL = (2.5, 97.5)  # percentiles
BLOCK = 1 << 18  # rows of queries that are ranked at once; bounds memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One official figure of two runs, in the unit of ``metrics.evaluate``.

    Attributes:
        a: Of the first run.
        b: Of the second run.
        difference: b - a.
        low: Lower end of the 95 % percentile interval of the difference.
        high: Upper end.
        seen: Whether the interval excludes 0.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    seen: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs on one set of queries.

    Attributes:
        name: Of the set, or ``ALL_SETS``.
        queries: Their number.
        units: Number of queries or clips that were drawn from.
        figures: One entry for each of ``METRICS``.
    """

    name: str
    queries: int
    units: int
    figures: dict[str, Difference]


@dataclass(frozen=True, slots=True)
class PairedRows:
    """Rows of two runs on the same queries in the same order, to be resampled together.

    Attributes:
        name: Of the set.
        a: Q rows of the first run.
        b: Q rows of the second run.
        units: (Q,) the unit that each query is drawn with, numbered from 0.
    """

    name: str
    a: list[QueryResult]
    b: list[QueryResult]
    units: Integers

    @property
    def number_of_units(self) -> int:
        """How many are drawn from."""
        return int(self.units.max()) + 1


def compare(
    sets: Mapping[str, tuple[Sequence[QueryResult], Sequence[QueryResult]]],
    config: BootstrapConfig,
) -> list[Comparison]:
    """Compare two runs on every set and, if there are several, on all of them as one list.

    Args:
        sets: Rows of run a and of run b by name of the set. They are joined by key; the order of
            a's rows is taken for both and decides ties. Each set is resampled within itself.
        config: What is drawn.

    Raises:
        DataError: If there is no set, the runs do not have the same queries, or a set has fewer
            than two units to draw from.
    """
    if not sets:
        raise DataError("found no set of queries to compare two runs on; give one or more")
    pairs = [pair_rows(name, a, b, config.unit) for name, (a, b) in sets.items()]
    ends = np.cumsum([len(pair.a) for pair in pairs])
    places = [slice(end - len(pair.a), end) for pair, end in zip(pairs, ends, strict=True)]
    compared = list(pairs)
    if len(pairs) > 1:
        compared.append(pool(pairs))
        places.append(slice(None))

    blocks = [
        [
            resampled_figures(pair.b, counts[:, at]) - resampled_figures(pair.a, counts[:, at])
            for pair, at in zip(compared, places, strict=True)
        ]
        for counts in draw(pairs, config)
    ]
    differences = [np.concatenate(parts) for parts in zip(*blocks, strict=True)]
    return [_comparison(pair, its) for pair, its in zip(compared, differences, strict=True)]


def pair_rows(
    name: str, a: Sequence[QueryResult], b: Sequence[QueryResult], unit: Unit
) -> PairedRows:
    """Join the rows of two runs by key, in the order of a's rows.

    Raises:
        DataError: If the queries or their truths differ, or there are fewer than two units.
    """
    of_b = {row.key: row for row in b}
    apart = sorted(map(str, {row.key for row in a} ^ of_b.keys()))
    if apart or not len(a) == len(b) == len(of_b):
        example = f" (the first is {apart[0]})" if apart else ""
        raise DataError(
            f"{name}: run a has {len(a)} queries and run b {len(b)}, expected each query once in "
            f"both, but {len(apart)} are in one of them only{example}; score both submissions "
            "against the same annotation file"
        )
    for row in a:
        if _truth(row) != _truth(of_b[row.key]):
            raise DataError(
                f"{name}: query {row.key} has another truth in run b than in run a; "
                "score both submissions against the same annotation file"
            )
    labels = [_clip(row) if unit == "clip" else row.key for row in a]
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    if len(numbers) < 2:
        raise DataError(
            f"{name}: found {len(numbers)} to draw from with the unit {unit!r}, expected 2 or "
            "more; compare on more queries, or draw queries instead of clips"
        )
    units = np.array([numbers[label] for label in labels])
    return PairedRows(name, list(a), [of_b[row.key] for row in a], units)


def _truth(row: QueryResult) -> tuple[str | None, int, float]:
    """What two rows of a query share if they were scored against the same annotation."""
    return row.clip_uid, row.gt_frames, row.gt_max_area


def _clip(row: QueryResult) -> str:
    """The clip of a query: its uid or, where it has none, its place in the annotation file."""
    return row.clip_uid or f"v{row.key.video_idx}-c{row.key.clip_idx}"


def pool(pairs: Sequence[PairedRows]) -> PairedRows:
    """All sets as one list of queries; sets share no unit."""
    ends = np.cumsum([pair.number_of_units for pair in pairs])
    units = [pair.units + end - pair.number_of_units for pair, end in zip(pairs, ends, strict=True)]
    return PairedRows(
        ALL_SETS,
        [row for pair in pairs for row in pair.a],
        [row for pair in pairs for row in pair.b],
        np.concatenate(units),
    )


def draw(pairs: Sequence[PairedRows], config: BootstrapConfig) -> Iterator[Integers]:
    """Draw as many units from each set as it has, with replacement.

    Yields:
        Blocks (R, Q) of how often each query is in each of R resamples, the sets side by side; R
        adds up to the number of resamples.
    """
    generators = np.random.default_rng(config.seed).spawn(len(pairs))
    block = max(1, BLOCK // sum(len(pair.a) for pair in pairs))
    for start in range(0, config.resamples, block):
        size = min(block, config.resamples - start)
        columns = []
        for pair, generator in zip(pairs, generators, strict=True):
            shares = np.full(pair.number_of_units, 1 / pair.number_of_units)
            drawn = generator.multinomial(pair.number_of_units, shares, size=size)
            columns.append(drawn[:, pair.units])
        yield np.hstack(columns)


def _comparison(pair: PairedRows, differences: Floats) -> Comparison:
    """Summarise the differences (R, 6) of the resamples."""
    a, b = compute(pair.a), compute(pair.b)
    low, high = np.percentile(differences, INTERVAL, axis=0).tolist()
    figures = {
        name: Difference(
            a=a[name],
            b=b[name],
            difference=b[name] - a[name],
            low=low[i],
            high=high[i],
            seen=low[i] > 0 or high[i] < 0,
        )
        for i, name in enumerate(METRICS)
    }
    return Comparison(pair.name, len(pair.a), pair.number_of_units, figures)
