"""OpenCLIP's ViT-g/14 image tower."""

from __future__ import annotations

from collections.abc import Mapping

import open_clip
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from ren_core.encoders.base import EncoderSpec, PatchEncoder

_TOWER = "visual."


class OpenClipViT(PatchEncoder):
    """Patch tokens of the last block, before the tower's closing norm, as the release takes them.

    Args:
        spec: Its facts; ``dim`` must be the width of the tower.
        tower: Built for images of ``spec.input_size``.
    """

    def __init__(self, spec: EncoderSpec, tower: nn.Module) -> None:
        super().__init__(spec)
        self.tower = tower
        self.freeze()

    def encode(self, images: Tensor) -> Tensor:
        """Features (B, D, grid, grid)."""
        found = self.tower.forward_intermediates(  # type: ignore[operator]
            images, indices=1, intermediates_only=True, normalize_intermediates=False
        )
        features: Tensor = found["image_intermediates"][0]
        return features


def create_tower(model: str, input_size: int, options: Mapping[str, object]) -> nn.Module:
    """The image tower of an OpenCLIP model with random weights; the text tower is never built."""
    config = {**open_clip.get_model_config(model)["vision_cfg"], **options}
    tower: nn.Module = VisionTransformer(
        image_size=input_size,
        patch_size=config["patch_size"],
        width=config["width"],
        layers=config["layers"],
        heads=config["width"] // config["head_width"],
        mlp_ratio=config["mlp_ratio"],
        output_dim=open_clip.get_model_config(model)["embed_dim"],
    )
    return tower


def load_tower(tower: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load the image part of a whole model's weights strictly."""
    part = {n.removeprefix(_TOWER): t for n, t in state.items() if n.startswith(_TOWER)}
    tower.load_state_dict(part or state, strict=True)
