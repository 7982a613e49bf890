"""Region tokens of images: REN on frozen patch encoders."""

from ren_core.model import REN, RegionTokens
from ren_core.presets import RENConfig

__all__ = ["REN", "RENConfig", "RegionTokens"]
