"""OpenCLIP's ViT-g/14 image tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import open_clip
import torch
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

    @property
    def has_class_token(self) -> bool:
        """Whether the tower's image embedding comes from its class token, as CLIP's does."""
        tower: Any = self.tower
        return tower.attn_pool is None and tower.pool_type == "tok"

    def pool_class_token(self, images: Tensor, masks: Tensor) -> Tensor:
        """Embeddings of regions: the final block's class token sees only the patches of one region.

        All regions take part in one attention, whose queries are copies of the class token. With a
        full mask the result is the tower's own output.

        Args:
            images: (B, 3, input_size, input_size), normalised.
            masks: (B, R, P) bool on the device of the tower; no row is empty.

        Returns:
            (B, R, E) in the space that the tower shares with CLIP's texts, not normalised.
        """
        tower: Any = self.tower
        *_, block = tower.transformer.resblocks
        found = tower.forward_intermediates(
            images,
            indices=[len(tower.transformer.resblocks) - 2],
            stop_early=True,
            intermediates_only=True,
            output_fmt="NLC",
            output_extra_tokens=True,
        )
        (patches,), (prefix,) = found["image_intermediates"], found["image_intermediates_prefix"]
        copies = prefix.expand(-1, masks.shape[1], -1)  # (B, R, D)

        seen = block.ln_1(torch.cat([prefix, patches], dim=1))
        hidden = torch.zeros(masks.shape, dtype=seen.dtype, device=seen.device)
        hidden = hidden.masked_fill_(~masks, float("-inf"))
        hidden = torch.cat([hidden.new_zeros(*hidden.shape[:2], 1), hidden], dim=2)
        hidden = hidden.repeat_interleave(block.attn.num_heads, dim=0)  # (B * heads, R, 1 + P)
        attended = block.attention(block.ln_1(copies), k_x=seen, v_x=seen, attn_mask=hidden)
        after = copies + block.ls_1(attended)
        after = after + block.ls_2(block.mlp(block.ln_2(after)))

        embeddings: Tensor = tower.ln_post(after) @ tower.proj
        return embeddings


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
