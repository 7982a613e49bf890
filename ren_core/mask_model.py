"""Encoder and mask head as one network: pictures and prompts in, masks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ren_core.encoders.base import PatchEncoder, fingerprint, normalise, resized
from ren_core.encoders.catalog import build_encoder
from ren_core.engine.batches import in_batches
from ren_core.engine.choice import Compute, autocast
from ren_core.engine.compiled import CompiledModule, Network
from ren_core.errors import DataError
from ren_core.geometry import Mask
from ren_core.images import Image, to_tensor
from ren_core.mask_head import MASKS, MaskHead, load_mask_head, read_mask_config
from ren_core.mask_prompts import MaskPrompt, prompt_maps, reference_maps

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DrawnMasks:
    """The masks of one prompt, best first.

    Attributes:
        logits: (3, S, S) on a grid over the picture; above 0 is the thing.
        expected_iou: (3,) in 0..1, falling.
        size_hw: Of the picture.
    """

    logits: Floats
    expected_iou: Floats
    size_hw: tuple[int, int]

    def mask(self, number: int = 0) -> Mask:
        """Mask (H, W) of the picture."""
        H, W = self.size_hw
        full = cv2.resize(self.logits[number], (W, H), interpolation=cv2.INTER_LINEAR)
        above: Mask = full > 0
        return above


class MaskModel:
    """Masks of things in pictures, from points, boxes and rough masks.

    Attributes:
        max_batch: Most pictures that the network sees at once; halved when memory runs out.
        run_network: Encoder and head as they are computed here, see ``_MaskNetwork``.
    """

    def __init__(
        self, encoder: PatchEncoder, head: MaskHead, compute: Compute | None = None
    ) -> None:
        self.compute = compute or Compute()
        self.max_batch: int | None = 16
        self.encoder = encoder.to(self.compute.device)
        self.head = head.to(self.compute.device).eval()
        self.size = encoder.spec.input_size
        self.side = 4 * encoder.spec.grid
        self._network = _MaskNetwork(self.encoder, self.head)
        self.run_network: Network = self._in_torch
        if self.compute.engine == "openvino":
            self.run_network = CompiledModule(
                self._network, dtype=self.compute.dtype, free_axes=[(0,), (0,), (0,)]
            )

    @classmethod
    def from_pretrained(
        cls, head: str | Path = "embedded", compute: Compute | None = None
    ) -> MaskModel:
        """Build a model from its head.

        Args:
            head: ``"embedded"`` (ships here), or a file that ``vq2d train-masks`` wrote.
            compute: What runs it; None: torch in float32 on the CPU.

        Raises:
            DataError: If weights are missing or do not fit.
        """
        path = mask_head_path(head)
        name = str(read_mask_config(path).get("encoder", "embedded"))
        encoder = build_encoder(name, for_levels=True)
        return cls(encoder, load_mask_head(path, expected_levels=encoder.level_widths), compute)

    @property
    def encoder_name(self) -> str:
        """Of the encoder that the head belongs to."""
        return self.encoder.spec.name

    @cached_property
    def fingerprint(self) -> str:
        """Identity of encoder and head."""
        return fingerprint([self.encoder, self.head], self.size)

    def draw(self, images: Sequence[Image], prompts: Sequence[MaskPrompt]) -> list[DrawnMasks]:
        """Masks of the thing that each prompt means.

        Args:
            images: RGB (H, W, 3) of any sizes; each is squashed to the encoder's square.
            prompts: One for each, in its pixels.

        Raises:
            DataError: If a reference is of another encoder.
        """
        self._check(prompts)

        def draw(part: range) -> list[DrawnMasks]:
            sizes = [(images[i].shape[0], images[i].shape[1]) for i in part]
            maps = [
                prompt_maps(prompts[i], size, self.side)
                for i, size in zip(part, sizes, strict=True)
            ]
            square = torch.cat([self._square(images[i]) for i in part])
            width, grid = self.head.shape.reference, self.encoder.spec.grid
            known = [reference_maps(prompts[i].reference, width, grid) for i in part]
            prompted = (torch.from_numpy(np.stack(each)) for each in (maps, known))
            drawn = self.run_network(square, *prompted)
            rows = drawn.float().cpu().numpy()
            return [self._sorted(row, size) for row, size in zip(rows, sizes, strict=True)]

        return [found for part in in_batches(self, draw, range(len(images))) for found in part]

    def _check(self, prompts: Sequence[MaskPrompt]) -> None:
        for prompt in prompts:
            if prompt.reference is not None and prompt.reference.encoder != self.encoder_name:
                raise DataError(
                    f"a reference was made with the encoder {prompt.reference.encoder}, the mask "
                    f"head reads {self.encoder_name}: make it with that one, or give none"
                )

    def _square(self, image: Image) -> Tensor:
        """(1, 3, R, R) float32 in 0..1."""
        return resized(to_tensor(image)[None], self.size).float() / 255

    def _sorted(self, row: Floats, size_hw: tuple[int, int]) -> DrawnMasks:
        logits, expected = row[:, :-1].reshape(MASKS, self.side, self.side), row[:, -1]
        order = np.argsort(-expected, kind="stable")
        return DrawnMasks(logits[order], expected[order], size_hw)

    def _in_torch(self, square: Tensor, maps: Tensor, reference: Tensor) -> Tensor:
        device, dtype = self.compute.device, self.compute.dtype
        inputs = (each.to(device) for each in (square, maps, reference))
        with torch.inference_mode(), autocast(device, dtype):
            drawn: Tensor = self._network(*inputs)
        return drawn


class _MaskNetwork(nn.Module):
    """Squares (B, 3, R, R) in 0..1, maps of prompts and references to (B, 3, S * S + 1).

    That is the logits of each mask, and its expected IoU.
    """

    def __init__(self, encoder: PatchEncoder, head: MaskHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, square: Tensor, maps: Tensor, reference: Tensor) -> Tensor:
        levels = self.encoder.levels(normalise(square, self.encoder.spec))
        drawn = self.head(levels, maps, reference)
        expected = drawn.iou_logits.sigmoid()[..., None]
        return torch.cat([drawn.logits.flatten(2), expected], dim=2)


def mask_head_path(head: str | Path) -> Path:
    """File of a mask head: ``"embedded"`` (ships here), or a path."""
    if head == "embedded":
        return Path(__file__).resolve().parent / "assets" / "mask-embedded.safetensors"
    return Path(head)
