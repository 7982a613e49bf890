"""Complete configurations of the region model, by name."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from ren_core.configuration import Cosine, Count, GridSize, ImageSize, configuration
from ren_core.errors import ConfigError
from ren_core.prompts import SLIC_COMPACTNESS

Prompting = Literal["grid", "slic"]
PROMPTING: tuple[Prompting, ...] = get_args(Prompting)


@configuration()
class RENConfig:
    """What decides the region tokens of an image.

    Attributes:
        encoder: Catalogue name of the frozen patch encoder.
        head: Name of the region encoder's weight file, or its path.
        input_size: Side in pixels of the square that the encoder sees; None: its own.
        prompting: ``"grid"`` or ``"slic"``.
        grid_size: Prompts per side; SLIC makes about its square.
        grid_convention: See ``prompts.grid_prompts``.
        compactness: Of SLIC, on fast-slic's scale.
        aggregate: Merge similar tokens.
        regions: Merge into at most so many regions, by k-means of the tokens; None: link similar
            tokens, as the paper does.
        merge_similarity: The cosine μ from which two tokens are linked.
        min_group: Groups of fewer prompts are dropped.
    """

    encoder: str
    head: str
    input_size: ImageSize | None = None
    prompting: Prompting = "slic"
    grid_size: GridSize = 37
    grid_convention: Literal["border", "patch"] = "border"
    compactness: Annotated[float, Field(gt=0, le=10_000)] = SLIC_COMPACTNESS
    aggregate: bool = True
    regions: Count | None = None
    merge_similarity: Cosine = 0.975
    min_group: Count = 3


PRESETS: dict[str, RENConfig] = {
    "dino-vitb8": RENConfig(encoder="dino-vitb8", head="ren-dino-vitb8", grid_size=48),
    "dinov2-vitl14": RENConfig(encoder="dinov2-vitl14", head="ren-dinov2-vitl14", grid_size=37),
    # regions for another encoder's features (paper 3.3): fewer prompts, merged generously
    "dino-vitb8-regions": RENConfig(
        encoder="dino-vitb8", head="ren-dino-vitb8", grid_size=24, merge_similarity=0.8
    ),
    "openclip-vitg14": RENConfig(
        encoder="openclip-vitg14",
        head="ren-openclip-vitg14",
        grid_size=16,
        merge_similarity=0.875,
        aggregate=False,
    ),
    "embedded": RENConfig(
        encoder="embedded", head="embedded", grid_size=32, regions=80, merge_similarity=0.92
    ),
}

OFFICIAL_BY_WIDTH = {768: "dino-vitb8", 1024: "dinov2-vitl14", 1408: "openclip-vitg14"}
"""Which preset an official head belongs to, by the width of its tokens."""


def ren_preset(name: str) -> RENConfig:
    """The configuration of a name.

    Raises:
        ConfigError: If there is none; the message lists the names.
    """
    if name not in PRESETS:
        raise ConfigError(f"no REN is called {name!r}; choose one of {sorted(PRESETS)} or a file")
    return PRESETS[name]
