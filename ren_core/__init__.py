"""Region tokens of images: REN on frozen patch encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ren_core.model import REN
    from ren_core.presets import RENConfig
    from ren_core.region_tokens import RegionTokens

__all__ = ["REN", "RENConfig", "RegionTokens"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the three public names
    """Import the model only when it is asked for: scoring a file needs no torch."""
    if name == "REN":
        from ren_core.model import REN

        return REN
    if name == "RegionTokens":
        from ren_core.region_tokens import RegionTokens

        return RegionTokens
    if name == "RENConfig":
        from ren_core.presets import RENConfig

        return RENConfig
    raise AttributeError(f"module 'ren_core' has no attribute {name!r}")
