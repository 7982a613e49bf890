"""Which pictures make a pair of views, and which are kept for validation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ren_core.errors import ConfigError, DataError
from ren_core.training.sources import Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRules:
    """How pairs of a source are made.

    Attributes:
        weight: Share of the pairs that come from here, relative to the other sources.
        cross_frame: In a group of several pictures (a video), the two views are of different
            pictures; otherwise two views of the same one.
        max_gap: The two pictures of a pair are at most this many apart.
        held_out_every: Every n-th video is kept for validation; a group without one counts as one.
    """

    weight: float = 1.0
    cross_frame: bool = True
    max_gap: int = 8
    held_out_every: int = 20

    def __post_init__(self) -> None:
        if self.weight <= 0 or self.max_gap < 1 or self.held_out_every < 2:
            raise ConfigError(
                f"need weight > 0, max_gap >= 1 and held_out_every >= 2, got {self.weight}, "
                f"{self.max_gap} and {self.held_out_every}"
            )

    def draw(self, pictures: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
        """The two pictures of a pair from one group; the same picture twice where one is enough."""
        first = int(rng.integers(len(pictures)))
        if len(pictures) == 1 or not self.cross_frame:
            return pictures[first], pictures[first]
        near = np.arange(len(pictures))
        near = near[(near != first) & (np.abs(near - first) <= self.max_gap)]
        return pictures[first], pictures[int(rng.choice(near))]


def split_groups(
    entries: Sequence[Entry], held_out_every: int, *, held_out: bool
) -> list[list[int]]:
    """Pictures of each group, of the training part or of the validation part.

    A video is never split between the two, even if its pictures share no objects.
    """
    members: dict[str, list[int]] = defaultdict(list)
    video_of: dict[str, str] = {}
    for index, entry in enumerate(entries):
        members[entry.group].append(index)
        video_of.setdefault(entry.group, entry.video or entry.group)
    numbers = {video: number for number, video in enumerate(dict.fromkeys(video_of.values()))}
    return [
        pictures
        for group, pictures in members.items()
        if (numbers[video_of[group]] % held_out_every == held_out_every - 1) == held_out
    ]


def split_sources(
    sources: Sequence[tuple[PairRules, Sequence[Entry]]], *, held_out: bool
) -> list[list[list[int]]]:
    """The groups of every source, see ``split_groups``.

    Raises:
        DataError: If a source has none.
    """
    groups = [
        split_groups(entries, rules.held_out_every, held_out=held_out) for rules, entries in sources
    ]
    if not groups or not all(groups):
        part = "validation" if held_out else "training"
        raise DataError(
            f"a source has no group for {part}: {[len(g) for g in groups]} groups; "
            f"lower held_out_every or add pictures"
        )
    return groups


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which source the n-th pair of a training comes from, and how many pairs it gave before.

    Every period of ``len(order)`` pairs holds the exact shares. So each source runs through its own
    epochs whatever its weight, and any pair is found without counting those before it.

    Attributes:
        order: Source of every pair of a period.
        rank: Pairs of the same source before it in the period.
        counts: Pairs of every source in a period.
    """

    order: Sequence[int]
    rank: Sequence[int]
    counts: Sequence[int]

    def at(self, number: int) -> tuple[int, int]:
        """Source of pair ``number``, and its number among those of that source."""
        period, place = divmod(number, len(self.order))
        which = self.order[place]
        return which, period * self.counts[which] + self.rank[place]


def build_schedule(weights: Sequence[float], seed: int, period: int = 1000) -> Schedule:
    """A shuffled period with shares as close to the weights as whole numbers are.

    >>> build_schedule([3, 1], seed=0, period=8).counts
    [6, 2]
    """
    edges = np.cumsum(weights) / np.sum(weights) * period
    counts = np.diff(edges.round().astype(int), prepend=0)
    order = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    rank = np.zeros(period, int)
    for which in range(len(counts)):
        rank[order == which] = np.arange(counts[which])
    return Schedule(order.tolist(), rank.tolist(), counts.tolist())
