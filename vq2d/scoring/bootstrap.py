"""What decides a bootstrap; apart from the computing, so that a command line is read quickly."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ren_core.configuration import Seed, configuration

Unit = Literal["query", "clip"]


@configuration()
class BootstrapConfig:
    """What is drawn, and how often.

    Attributes:
        resamples: Their number.
        seed: Of the draws.
        unit: What is drawn: single queries, or clips with all their queries, which are alike.
    """

    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    seed: Seed = 0
    unit: Unit = "query"
