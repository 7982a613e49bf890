"""Draw the specifications of the sets of made things: which thing stands in which tour.

    python -m tools.tours.specify --out tools/tours/sets

The files it writes are kept, so that a set stays what it is whatever is drawn here later.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tools.tours.home import HOME
from tools.tours.objects import PRIMITIVES
from tools.tours.things import Thing, random_thing, random_twin

CLUTTER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPlan:
    """A set to be drawn.

    Attributes:
        first_seed: Seed of its first tour; the others follow, and so do the seeds of things.
        queries: Of each tour.
        frames: Of each tour, at 5 per second.
        pairs: Twins that stand in one room.
        apart: Twins that stand in two tours, of which one shows the first and one the second.
        alone: Things without a twin.
        moves: So often a thing changes place, per tour.
        file_fps: Rates of the files, over and over.
        upright: Which tours are filmed upright, by number.
    """

    first_seed: int
    queries: tuple[int, ...]
    frames: int
    pairs: int
    apart: int
    alone: int
    moves: int
    file_fps: tuple[int, ...] = (5,)
    upright: tuple[int, ...] = ()


PLANS = {
    "sample": SetPlan(
        first_seed=25000,
        queries=(4, 4, 4),
        frames=220,
        pairs=2,
        apart=1,
        alone=2,
        moves=2,
        file_fps=(5, 30, 5),
        upright=(2,),
    ),
    "made_dev": SetPlan(
        first_seed=21000, queries=(8, 7) * 4, frames=300, pairs=2, apart=2, alone=2, moves=3
    ),
    "made_test": SetPlan(
        first_seed=22000, queries=(8, 7) * 4, frames=300, pairs=2, apart=2, alone=2, moves=3
    ),
    "long_dev": SetPlan(
        first_seed=23000, queries=(12, 12), frames=1500, pairs=3, apart=2, alone=2, moves=12
    ),
    "long_test": SetPlan(
        first_seed=24000, queries=(12, 12), frames=1500, pairs=3, apart=2, alone=2, moves=12
    ),
}


def draw_tours(plan: SetPlan) -> list[dict[str, Any]]:
    """The rows of a specification file."""
    rng = np.random.default_rng(plan.first_seed)
    seeds = iter(range(plan.first_seed, plan.first_seed + 1000))
    contents: list[list[Thing]] = [[] for _ in plan.queries]
    for index, things in enumerate(contents):
        following = contents[(index + 1) % len(contents)]
        for home in [things] * plan.pairs + [following] * plan.apart:
            first = random_thing(next(seeds), rng)
            things.append(first)
            home.append(random_twin(first, rng))
        things += [random_thing(next(seeds), rng) for _ in range(plan.alone)]
    return [_row(plan, index, things, rng) for index, things in enumerate(contents)]


def _row(
    plan: SetPlan, index: int, things: Sequence[Thing], rng: np.random.Generator
) -> dict[str, Any]:
    clutter = rng.choice(PRIMITIVES, CLUTTER)
    return {
        "room": HOME,
        "seed": plan.first_seed + index,
        "frames": plan.frames,
        "file_fps": plan.file_fps[index % len(plan.file_fps)],
        "first_source_frame": 600,
        "queries": plan.queries[index],
        **({"size_hw": [640, 480], "fovy_deg": 72.0} if index in plan.upright else {}),
        "life": {
            "moves": plan.moves,
            "hands": True,
            "shake": round(float(rng.uniform(0.8, 1.8)), 2),
            "exposure": round(float(rng.uniform(0.1, 0.5)), 2),
        },
        "things": [{k: v for k, v in asdict(thing).items() if v != ""} for thing in things],
        "clutter": [str(kind) for kind in clutter],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write the specifications."""
    parser = argparse.ArgumentParser(description="Draw the sets of made things.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PLANS)} (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="folder of specifications")
    args = parser.parse_args(argv)
    for name in args.names or PLANS:
        rows = ",\n ".join(json.dumps(row) for row in draw_tours(PLANS[name]))
        (args.out / f"{name}.json").write_text(f"[{rows}]\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
