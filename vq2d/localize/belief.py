"""Whether an answer is believed, or only the best guess."""

from __future__ import annotations

from vq2d.localize.presets import VQ2DConfig
from vq2d.types import Localization

BELIEVED = 0.5
"""Least probability of a thing that is said to be there."""


def doubt_about(found: Localization, config: VQ2DConfig) -> str | None:
    """Why an answer is only a guess, as the end of a sentence; None if it is believed.

    Without a probability the floors of search and refinement decide. They are lowered for the best
    candidate, so that there is an answer to every query; whoever asks for one object wants to know.
    """
    if found.track is None:
        return "no candidate was good enough"
    if found.present is not None:
        if found.present >= BELIEVED:
            return None
        return f"the probability that it is there is only {found.present:.2f}"
    floor = config.refine.floor if config.refine.crop_factors else config.search.floor
    if found.track.score >= floor:
        return None
    return (
        f"the best candidate scores only {found.track.score:.3f}, below the preset's floor of "
        f"{floor:g}"
    )
