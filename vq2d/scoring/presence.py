"""Does a score tell clips that show the queried thing from clips that do not?

A query is asked of its own clip (present), of clips without the thing (other), and of clips that
show only its twin, a thing that differs in one respect (twin). Where a search found nothing that
could be scored, the score ranks below all others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Kind = Literal["present", "other", "twin"]
Score = Literal["similarity", "refined", "present"]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

AGAINST: Mapping[str, tuple[Kind, ...]] = {
    "other": ("other",),
    "twin": ("twin",),
    "both": ("other", "twin"),
}
"""What the questions about present things are compared with."""

LENGTHS: Mapping[str, tuple[float, float]] = {
    "all": (0, math.inf),
    "under 30 s": (0, 150),
    "30-60 s": (150, 300),
    "60-150 s": (300, 750),
    "150 s and more": (750, math.inf),
}
"""Half-open ranges of searched frames (5 per second)."""

FALSE_ALARMS = 0.05
INTERVAL = (2.5, 97.5)  # percentiles
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedRow:
    """One query asked of one clip.

    Attributes:
        query: The query's key, as text.
        clip_uid: The clip that it was asked of.
        kind: What that clip shows.
        search_frames: Frames searched.
        seconds: Processor time.
        similarity: Of the best peak; this and the next three are None without a candidate.
        second: Of the second-best peak.
        refined: Best refined score.
        colours: Largest share of the query's colours in a candidate.
        present: Probability that the clip shows it; None if the configuration does not say.
    """

    query: str
    clip_uid: str
    kind: Kind
    search_frames: int
    seconds: float
    similarity: float | None = None
    second: float | None = None
    refined: float | None = None
    colours: float | None = None
    present: float | None = None

    def value(self, score: Score) -> float:
        """The chosen score, minus infinity where there is none."""
        found: float | None = getattr(self, score)
        return -math.inf if found is None else found


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its 95 % interval over resampled queries; all NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PresenceFigures:
    """How well a score tells present things from absent ones.

    Attributes:
        score: The score.
        length: Key of ``LENGTHS``.
        against: Key of ``AGAINST``.
        present: Number of questions about present things.
        absent: Number of questions about absent things.
        auc: Probability that a present thing scores above an absent one, ties counting half.
        recall: Share of present things above the threshold that lets through at most
            ``FALSE_ALARMS`` of the absent ones.
    """

    score: Score
    length: str
    against: str
    present: int
    absent: int
    auc: Figure
    recall: Figure


def presence_figures(
    rows: Sequence[AskedRow],
    score: Score,
    *,
    lengths: Sequence[str] = tuple(LENGTHS),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[PresenceFigures]:
    """The figures against other clips, twins and both, by length of search.

    Args:
        rows: All questions asked, of one set, or of several whose queries are named apart.
        score: What is ranked.
        lengths: Keys of ``LENGTHS``.
        resamples: How often queries are drawn anew; all questions of a query go together.
        seed: Of the draws.
    """
    figures = []
    for length in lengths:
        low, high = LENGTHS[length]
        inside = [row for row in rows if low <= row.search_frames < high]
        for against, kinds in AGAINST.items():
            used = [row for row in inside if row.kind in ("present", *kinds)]
            scores = np.array([row.value(score) for row in used], np.float64)
            is_present = np.array([row.kind == "present" for row in used], np.bool_)
            auc, recall = _with_intervals(
                scores, is_present, [row.query for row in used], resamples, seed
            )
            figures.append(
                PresenceFigures(
                    score=score,
                    length=length,
                    against=against,
                    present=int(is_present.sum()),
                    absent=int((~is_present).sum()),
                    auc=auc,
                    recall=recall,
                )
            )
    return figures


def auc(scores: Floats, is_present: Flags) -> float:
    """Probability that a present item scores above an absent one, a tie counting half.

    NaN if all items are present, or none.

    >>> auc(np.array([0.9, 0.5, 0.5]), np.array([True, False, True]))
    0.75
    """
    P, A = int(is_present.sum()), int((~is_present).sum())
    if not P or not A:
        return math.nan
    ranks = rankdata(scores)
    return float((ranks[is_present].sum() - P * (P + 1) / 2) / (P * A))


def recall_at(scores: Floats, is_present: Flags, false_alarms: float) -> float:
    """Share of present items above the lowest threshold with at most that share of false alarms.

    NaN if all items are present, or none.

    >>> recall_at(np.array([0.9, 0.5, 0.5]), np.array([True, False, True]), 0.05)
    0.5
    """
    if is_present.all() or not is_present.any():
        return math.nan
    absent = np.sort(scores[~is_present])[::-1]
    threshold = absent[int(false_alarms * len(absent) + 1e-9)]
    return float((scores[is_present] > threshold).mean())


def _with_intervals(
    scores: Floats, is_present: Flags, queries: Sequence[str], resamples: int, seed: int
) -> tuple[Figure, Figure]:
    """AUC and recall with their intervals; a resample without both kinds does not count."""
    value = auc(scores, is_present), recall_at(scores, is_present, FALSE_ALARMS)
    if math.isnan(value[0]):
        nowhere = Figure(math.nan, math.nan, math.nan)
        return nowhere, nowhere
    names, owner = np.unique(queries, return_inverse=True)
    Q = len(names)
    drawn = np.random.default_rng(seed).multinomial(Q, np.full(Q, 1 / Q), size=resamples)
    resampled = resampled_auc_and_recall(scores, is_present, drawn[:, owner])
    usable = resampled[~np.isnan(resampled[:, 0])]
    if not len(usable):
        usable = np.full((1, 2), math.nan)
    low, high = np.percentile(usable, INTERVAL, axis=0)
    first, second = (Figure(value[k], float(low[k]), float(high[k])) for k in range(2))
    return first, second


def resampled_auc_and_recall(
    scores: Floats, is_present: Flags, counts: NDArray[np.int64]
) -> Floats:
    """``auc`` and ``recall_at`` of many resamples at once.

    Args:
        scores: (N,)
        is_present: (N,)
        counts: (R, N) how often each item is in a resample.

    Returns:
        (R, 2); NaN where a resample has only present items, or none.
    """
    order = np.argsort(-scores[~is_present], kind="stable")
    absent, of_absent = scores[~is_present][order], counts[:, ~is_present][:, order].astype(float)
    present, of_present = scores[is_present], counts[:, is_present].astype(float)
    P, A = of_present.sum(axis=1), of_absent.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        above = (present[:, None] > absent) + 0.5 * (present[:, None] == absent)
        areas = np.einsum("rp,rp->r", of_present, of_absent @ above.T) / (P * A)
        passed = np.floor(FALSE_ALARMS * A + 1e-9)
        place = (of_absent.cumsum(axis=1) > passed[:, None]).argmax(axis=1)
        hits = present > absent[place][:, None]
        recalls = (of_present * hits).sum(axis=1) / P
    both = (P > 0) & (A > 0)
    return np.where(both[:, None], np.stack([areas, recalls], axis=1), math.nan)


@dataclass(frozen=True, slots=True)
class Reliability:
    """What probabilities are worth, if a thing is as likely there as not.

    Attributes:
        brier: Mean squared error of the probabilities; .25 for always one half.
        said: Mean probability in each bin; the bins have equal mass.
        true: Share of present things in each.
    """

    brier: float
    said: Floats
    true: Floats


def even_weights(is_present: Flags) -> Floats:
    """Weights of sum 1 that give present and absent items, of which there are some, the same."""
    weights: Floats = np.where(is_present, 0.5 / is_present.sum(), 0.5 / (~is_present).sum())
    return weights


def reliability(rows: Sequence[AskedRow], bins: int = 5) -> Reliability | None:
    """How well ``AskedRow.present`` is calibrated; None where a row has none, or one kind only."""
    if any(row.present is None for row in rows) or len({r.kind == "present" for r in rows}) < 2:
        return None
    p = np.array([row.present for row in rows], np.float64)
    is_present = np.array([row.kind == "present" for row in rows], np.bool_)
    weight = even_weights(is_present)
    order = np.argsort(p, kind="stable")
    below = weight[order].cumsum() - weight[order] / 2
    members = [order[np.minimum(below * bins, bins - 1).astype(int) == k] for k in range(bins)]
    said = [np.average(p[m], weights=weight[m]) if len(m) else math.nan for m in members]
    true = [np.average(is_present[m], weights=weight[m]) if len(m) else math.nan for m in members]
    error = float((weight * (p - is_present) ** 2).sum())
    return Reliability(error, np.array(said), np.array(true))


def reliability_line(found: Reliability) -> str:
    """The error, and said against true in each bin."""
    pairs = zip(found.said, found.true, strict=True)
    return f"Brier {found.brier:.3f}; said / true " + ", ".join(
        f"{s:.2f} / {t:.2f}" for s, t in pairs
    )


def presence_table(figures: Sequence[PresenceFigures]) -> str:
    """One line per comparison that has questions on both sides, with intervals."""
    recall = f"recall at {FALSE_ALARMS:.0%} false alarms"
    lines = [
        f"{'score':<12s}{'searched':<16s}{'against':<9s}{'present':>8s}{'absent':>8s}"
        f"  {'AUC':<20s}{recall}"
    ]
    for row in figures:
        if row.present and row.absent:
            lines.append(
                f"{row.score:<12s}{row.length:<16s}{row.against:<9s}{row.present:>8d}"
                f"{row.absent:>8d}  {_cell(row.auc):<20s}{_cell(row.recall)}"
            )
    return "\n".join(lines)


def _cell(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f}-{figure.high:.3f})"
