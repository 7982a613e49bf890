"""Cost of the mask generators as multiples of REN's, at the same number of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eval.cost.sweep import CostPoint, MethodFacts

BASE = "REN, grid + aggregation"
USUAL_SIDE = 32  # prompts per side at which the paper compares


@dataclass(frozen=True, kw_only=True, slots=True)
class CostRatio:
    """A mask generator, its image encoder included, over REN with merged tokens.

    Attributes:
        method: The mask generator.
        per_side: Prompts per side of the image, the same for both.
        seconds: Over REN's alone.
        parameters: Over REN's alone.
        seconds_with_encoder: Over those of REN and its patch encoder; None if that has no figure.
        parameters_with_encoder: Over those of REN and its patch encoder.
    """

    method: str
    per_side: int
    seconds: float
    parameters: float
    seconds_with_encoder: float | None
    parameters_with_encoder: float

    def sentence(self) -> str:
        """The ratios in words."""
        text = (
            f"{self.method} takes {self.seconds:.1f} times the seconds and "
            f"{self.parameters:.1f} times the parameters of {BASE} at "
            f"{self.per_side}x{self.per_side} prompts"
        )
        if self.seconds_with_encoder is None:
            return f"{text}; the patch encoder has no figure"
        return (
            f"{text}; {self.seconds_with_encoder:.1f} and {self.parameters_with_encoder:.1f} "
            "times with the patch encoder added to REN"
        )


def cost_ratios(methods: Sequence[MethodFacts], points: Sequence[CostPoint]) -> list[CostRatio]:
    """One ratio per mask generator: at 32x32 prompts, or the most that it and REN both measured.

    Args:
        methods: All of one run; without REN or without a mask generator there are no ratios.
        points: Theirs.
    """
    base = next((m for m in methods if m.name == BASE), None)
    if base is None:
        return []
    seconds = {(p.method, p.per_side): p.seconds for p in points if p.seconds is not None}
    alone = {m.name for m in methods if not m.encoder_included}  # REN's ways share one encoder
    encoder = next((s for (name, side), s in seconds.items() if name in alone and not side), None)

    found = []
    for method in methods:
        sides = {s for name, s in seconds if s and name == method.name and (BASE, s) in seconds}
        if not method.encoder_included or not sides:
            continue
        side = USUAL_SIDE if USUAL_SIDE in sides else max(sides)
        theirs, ours = seconds[method.name, side], seconds[BASE, side]
        found.append(
            CostRatio(
                method=method.name,
                per_side=side,
                seconds=theirs / ours,
                parameters=method.parameters / base.parameters,
                seconds_with_encoder=None if encoder is None else theirs / (ours + encoder),
                parameters_with_encoder=method.parameters
                / (base.parameters + base.encoder_parameters),
            )
        )
    return found
