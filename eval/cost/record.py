"""A comparison on disk: written anew after every point, taken up again by the next run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from eval.cost.flops import FlopCount
from eval.cost.plot import plot_costs
from eval.cost.ratios import CostRatio, cost_ratios
from eval.cost.sweep import CostPoint, MethodFacts
from ren_core.code_identity import code_digest
from ren_core.errors import DataError
from ren_core.stages import plain_fields, to_plain, write_json


@dataclass
class CostRecord:
    """What a comparison has found so far.

    Attributes:
        path: The JSON file, with a plot beside it; None: nothing is written.
        settings: What must agree for figures of another run to stand beside these.
        memory_mib: The limit on the memory of a call, in use now.
        mode: How many prompts pass through a network together, in words.
        left_out: Methods that were asked for and cannot run, and why.
        methods: By name, in the order in which they came.
        points: By method and prompts per side.
        flops: By method.
        changed: Settings in which the existing file differs; if there are any, it is not used.
    """

    path: Path | None
    settings: dict[str, Any]
    memory_mib: float | None
    mode: str
    left_out: Mapping[str, str]
    methods: dict[str, MethodFacts] = field(default_factory=dict)
    points: dict[tuple[str, int], CostPoint] = field(default_factory=dict)
    flops: dict[str, FlopCount] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = {"code": code_digest("eval.cost.methods"), **to_plain(self.settings)}
        self._same_memory = True
        if self.path is not None and self.path.exists():
            self._take_up(self.path)

    def known(self, method: str) -> dict[int, CostPoint]:
        """Points of a method that need not be measured again, by prompts per side.

        A point that ran out of memory is kept only under the same memory limit, which without
        ``--memory-limit`` follows the free memory of the machine. A skipped point is never kept.
        """
        kept = ("measured", "out of memory") if self._same_memory else ("measured",)
        return {s: p for (name, s), p in self.points.items() if name == method and p.status in kept}

    def add_method(self, method: MethodFacts) -> None:
        """Note a method, without what it needs to run."""
        facts = {f.name: getattr(method, f.name) for f in fields(MethodFacts)}
        self.methods[method.name] = MethodFacts(**facts)

    def add(self, point: CostPoint) -> None:
        """Note a point of a method that was noted before; write the files if it is new."""
        key = (point.method, point.per_side)
        if self.points.get(key) != point:
            self.points[key] = point
            self.write()

    def add_flops(self, count: FlopCount) -> None:
        """Note how many operations a method needs, and write the files."""
        self.flops[count.method] = count
        self.write()

    def ratios(self) -> list[CostRatio]:
        """Of the mask generators, over REN."""
        return cost_ratios(list(self.methods.values()), self._ordered())

    def write(self) -> None:
        """Write JSON and plot, each complete or not at all."""
        if self.path is None:
            return
        found = {
            "memory_mib": self.memory_mib,
            "mode": self.mode,
            "left_out": self.left_out,
            "methods": list(self.methods.values()),
            "points": self._ordered(),
            "flops": list(self.flops.values()),
            "ratios": self.ratios(),
        }
        write_json(self.path, {**self.settings, **found})
        plot_costs(
            self.path.with_suffix(".png"), list(self.methods.values()), self._ordered(), self.mode
        )

    def _ordered(self) -> list[CostPoint]:
        order = list(self.methods)
        return sorted(self.points.values(), key=lambda p: (order.index(p.method), p.per_side))

    def _take_up(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text())
        except ValueError as err:
            raise DataError(f"{path} is no JSON file; remove it or choose another --out") from err
        if not isinstance(content, dict):
            raise DataError(f"{path} holds no comparison; remove it or choose another --out")
        self.changed = [k for k, v in self.settings.items() if content.get(k) != v]
        if self.changed:
            return
        self._same_memory = content["memory_mib"] == self.memory_mib
        self.methods = {m.name: m for m in _read(MethodFacts, content["methods"])}
        self.points = {(p.method, p.per_side): p for p in _read(CostPoint, content["points"])}
        self.flops = {c.method: c for c in _read(FlopCount, content["flops"])}


def _read(kind: Any, rows: list[dict[str, Any]]) -> list[Any]:  # noqa: ANN401 - any dataclass
    """Dataclasses as ``to_plain`` wrote them."""
    return [kind(**plain_fields(row)) for row in rows]
