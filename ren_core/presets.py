"""Complete configurations of the region model, by name."""

from __future__ import annotations

from dataclasses import dataclass

from ren_core.errors import ConfigError
from ren_core.prompts import SLIC_COMPACTNESS

PROMPTING = ("grid", "slic")


@dataclass(frozen=True, kw_only=True, slots=True)
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
        merge_similarity: The cosine μ from which two tokens are linked.
        min_group: Groups of fewer prompts are dropped.
    """

    encoder: str
    head: str
    input_size: int | None = None
    prompting: str = "slic"
    grid_size: int = 37
    grid_convention: str = "border"
    compactness: float = SLIC_COMPACTNESS
    aggregate: bool = True
    merge_similarity: float = 0.975
    min_group: int = 3

    def __post_init__(self) -> None:
        if self.prompting not in PROMPTING:
            raise ConfigError(f"prompting must be one of {PROMPTING}, got {self.prompting!r}")
        if self.grid_size < 1 or self.min_group < 1:
            raise ConfigError(
                f"grid_size and min_group must be at least 1, got {self.grid_size} and "
                f"{self.min_group}"
            )
        if not -1 <= self.merge_similarity <= 1:
            raise ConfigError(f"merge_similarity is a cosine, got {self.merge_similarity}")


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
    "embedded": RENConfig(encoder="embedded", head="embedded", grid_size=32, merge_similarity=0.92),
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
