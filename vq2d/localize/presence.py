"""Does a video show a thing at all? What the first search finds for it becomes a probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ren_core.configuration import configuration
from vq2d.types import Candidate

_Factor = Annotated[float, Field(ge=-1000, le=1000)]


@configuration(group="presence")
class PresenceConfig:
    """Log-odds that a thing is there, before a search as likely as not: a sum over the evidence.

    Fitted by ``pipelines/fit_presence.py`` for one encoder; another one needs another fit.

    Attributes:
        bias: Log-odds of no evidence; None: nothing is said.
        similarity: Factor of ``Evidence.similarity``.
        second: Factor of ``Evidence.second``.
        refined: Factor of ``Evidence.refined``.
        colours: Factor of ``Evidence.colours``.
    """

    bias: _Factor | None = None
    similarity: _Factor = 0.0
    second: _Factor = 0.0
    refined: _Factor = 0.0
    colours: _Factor = 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a search says for the presence of a thing in a video.

    Attributes:
        similarity: Of the best peak.
        second: Of the second-best peak; of the best one, if there is no other. What is not there
            resembles several places about equally.
        refined: Best refined score of a candidate.
        colours: Largest share of the query's colours that the mask of a candidate has.
    """

    similarity: float
    second: float
    refined: float
    colours: float


def evidence_of(peaks: Sequence[Candidate], refined: Sequence[Candidate]) -> Evidence | None:
    """What speaks for a thing; None if nothing that could be refined was found.

    Args:
        peaks: All of the first search, without the question's own occurrence.
        refined: Those that became candidates with a box.
    """
    if not peaks or not refined:
        return None
    best = sorted((peak.similarity for peak in peaks), reverse=True)
    return Evidence(
        similarity=best[0],
        second=best[min(1, len(best) - 1)],
        refined=max(c.refined_score or 0.0 for c in refined),
        colours=max(c.colours or 0.0 for c in refined),
    )


def probability(evidence: Evidence | None, config: PresenceConfig) -> float | None:
    """That the thing is there, 0..1; None if the configuration does not say.

    >>> one = Evidence(similarity=0.8, second=0.7, refined=0.8, colours=0.5)
    >>> probability(one, PresenceConfig(bias=-8.0, refined=10.0))
    0.5
    """
    if config.bias is None:
        return None
    if evidence is None:
        return 0.0
    log_odds = (
        config.bias
        + config.similarity * evidence.similarity
        + config.second * evidence.second
        + config.refined * evidence.refined
        + config.colours * evidence.colours
    )
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, log_odds))))
