"""What masked things look like to REN's encoder, and how like they are to a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ren_core.geometry import Mask, mask_to_box
from ren_core.images import Image, to_tensor
from ren_core.mask_prompts import Reference
from ren_core.model import REN
from ren_core.regions import mask_on_grid
from vq2d.masking.base import Appearance, Place, Segment
from vq2d.video.crops import Crop, square_crop


def appearance_of(ren: REN, images: Sequence[Image], masks: Sequence[Mask]) -> Appearance:
    """The patches of each image's masked part; see ``pooled_appearances`` for the arguments."""
    features, shares = _seen(ren, images, masks)
    references = (
        Reference(ren.encoder.spec.name, patches.cpu().numpy(), share[0].cpu().numpy())
        for patches, share in zip(features, shares, strict=True)
    )
    return Appearance(_pooled(features, shares), tuple(references))


def pooled_appearances(ren: REN, images: Sequence[Image], masks: Sequence[Mask]) -> Tensor:
    """Unit vectors (B, D): mean patch feature of each image's masked part, in a window around it.

    Args:
        ren: Gives the patches.
        images: At least one, (H, W, 3) RGB of any sizes.
        masks: (H, W) of each.
    """
    return _pooled(*_seen(ren, images, masks))


def _seen(ren: REN, images: Sequence[Image], masks: Sequence[Mask]) -> tuple[Tensor, Tensor]:
    """Patches (B, D, h, w) of a window around each mask, and its share (B, 1, h, w) of them."""
    windows = [_window_of(mask) for mask in masks]
    pictures = [to_tensor(w.cut(image)) for image, w in zip(images, windows, strict=True)]
    features = ren.patch_features(pictures).features.float()
    h, w = features.shape[-2:]
    shares = [mask_on_grid(win.cut_mask(m), (h, w)) for m, win in zip(masks, windows, strict=True)]
    weights = torch.from_numpy(np.stack(shares)).to(features).unsqueeze(1)
    weights[weights.amax(dim=(1, 2, 3)) == 0] = 1  # an empty mask: the whole window
    return features, weights


def _pooled(features: Tensor, weights: Tensor) -> Tensor:
    return F.normalize((features * weights).sum(dim=(2, 3)), dim=1)


def scored_by_likeness(
    ren: REN,
    places: Sequence[Place],
    proposed: Sequence[Sequence[Segment]],
    appearance: Appearance,
) -> list[list[Segment]]:
    """What was proposed for each place, with its likeness to ``appearance`` as its score."""
    images = [place.image for place, own in zip(places, proposed, strict=True) for _ in own]
    masks = [segment.mask for own in proposed for segment in own]
    if not masks:
        return [list(own) for own in proposed]
    looks = pooled_appearances(ren, images, masks)
    likeness = iter((looks @ appearance.vectors.to(looks).T).amax(dim=1).tolist())
    return [[replace(segment, score=next(likeness)) for segment in own] for own in proposed]


def _window_of(mask: Mask) -> Crop:
    """A square window twice as large as a mask (H, W) around it; around all, if it is empty."""
    size_hw = (mask.shape[0], mask.shape[1])
    box = mask_to_box(mask)
    if box is None:
        box = np.array([0, 0, size_hw[1], size_hw[0]], np.float32)
    side = 2 * float((box[2:] - box[:2]).max())
    return square_crop((box[:2] + box[2:]) / 2, side, size_hw)
