"""A promptable mask head on a frozen encoder's features: a prompt in, three masks out.

A thing at a point may be a part, the whole or a group, so three masks are drawn, each with the IoU
that it is expected to have with what was meant (as in Segment Anything, Kirillov et al. 2023).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ren_core.checkpoints import read_network, write_network
from ren_core.encoders.base import FeatureLevels
from ren_core.errors import DataError
from ren_core.mask_prompts import BOX, CHANNELS, CORE

FORMAT = "ren-mask-head-1"
MASKS = 3
REFERENCE_MAPS = 5  # whether there is one; the likest patches and the means, inside and outside


@dataclass(frozen=True, slots=True)
class MaskHeadShape:
    """Widths of a head.

    Attributes:
        levels: Channels of the encoder's three levels, from coarse to fine.
        reference: Length of the patch features of another picture of the thing, which are the first
            so many channels of the coarsest level; 0: the head reads no other picture.
        dim: Width on the patch grid.
        heads: Learned similarities between every patch and the prompt.
        middle: Width on the middle grid.
        fine: Width on the fine grid.
    """

    levels: tuple[int, int, int]
    reference: int = 0
    dim: int = 128
    heads: int = 8
    middle: int = 64
    fine: int = 32


@dataclass(frozen=True, slots=True)
class MaskOutput:
    """Masks of each prompt.

    Attributes:
        logits: (B, 3, 4g, 4g).
        iou_logits: (B, 3) before the sigmoid: the IoU that each mask is expected to have.
    """

    logits: Tensor
    iou_logits: Tensor


class MaskHead(nn.Module):
    """Patch features, finer features and a prompt's maps to masks."""

    def __init__(self, shape: MaskHeadShape) -> None:
        super().__init__()
        self.shape = shape
        patches, middle, fine = shape.levels
        dim = shape.dim
        self.project = nn.Conv2d(patches, dim, 1)
        self.core_bias = nn.Linear(patches, dim)
        self.queries = nn.Linear(patches, dim, bias=False)
        self.keys = nn.Conv2d(patches, dim, 1, bias=False)
        read = CHANNELS + shape.heads + 2
        if shape.reference:
            self.reference_queries = nn.Linear(shape.reference, dim, bias=False)
            read += shape.heads + REFERENCE_MAPS
        self.prompt = nn.Conv2d(read, dim, 1)
        self.blocks = nn.Sequential(*(_Residual(dim, dilation) for dilation in (1, 2, 4, 1)))
        self.to_middle = _Finer(dim, middle, shape.middle)
        self.to_fine = _Finer(shape.middle, fine, shape.fine)
        self.masks = nn.Conv2d(shape.fine, MASKS, 1)
        self.iou = nn.Sequential(nn.Linear(2 * dim + 3, dim), nn.GELU(), nn.Linear(dim, MASKS))

    def forward(self, levels: FeatureLevels, maps: Tensor, reference: Tensor) -> MaskOutput:
        """Draw masks.

        Args:
            levels: Of the pictures, (B, C, g, g) and finer.
            maps: (B, 4, 4g, 4g) of ``prompt_maps``.
            reference: (B, R + 1, g, g) of ``reference_maps``; a head that reads none looks at
                nothing of it.
        """
        patches = levels.patches
        asked = F.avg_pool2d(maps, 4)  # (B, 4, g, g)
        core = _pooled(patches, asked[:, CORE : CORE + 1])
        around = _pooled(patches, (1 - asked[:, BOX : BOX + 1]).clamp(min=0.01))
        likeness = [
            _cosine(patches, core),
            _cosine(patches, around),
            self._similarity(patches, self.queries(core)),
        ]
        if self.shape.reference:
            likeness += self._of_reference(patches, reference)
        x = self.project(patches) + self.core_bias(core)[:, :, None, None]
        x = x + self.prompt(torch.cat([asked, *likeness], dim=1))
        x = self.blocks(x)
        middle = self.to_middle(x, levels.middle, F.avg_pool2d(maps, 2))
        fine = self.to_fine(middle, levels.fine, maps)
        logits = self.masks(fine)
        return MaskOutput(logits, self._expected(x, logits, asked))

    def _similarity(self, patches: Tensor, queries: Tensor) -> Tensor:
        """(B, heads, g, g): how well each patch fits queries (B, dim), in learned ways."""
        query = queries.unflatten(1, (self.shape.heads, -1))
        key = self.keys(patches).unflatten(1, (self.shape.heads, -1))
        return (query[..., None, None] * key).mean(dim=2)

    def _of_reference(self, patches: Tensor, reference: Tensor) -> list[Tensor]:
        """Maps (B, n, g, g): how like each patch is to a thing in another picture, and to the rest.

        Zeros where there is no other picture.
        """
        known, inside = reference[:, :-1], reference[:, -1:]
        given = inside.amax(dim=(2, 3), keepdim=True).gt(0).to(inside.dtype)
        own = F.normalize(patches[:, : self.shape.reference], dim=1)
        unit = F.normalize(known, dim=1).flatten(2)
        cosines = torch.einsum("bdhw,bdr->bhwr", own, unit)
        share = inside.flatten(1)[:, None, None]
        likest = [
            ((cosines + 1) * weight - 1).amax(dim=3)[:, None] for weight in (share, 1 - share)
        ]
        thing = _pooled(known, inside)
        means = [_cosine(own, thing), _cosine(own, _pooled(known, (1 - inside).clamp(min=0.01)))]
        learned = self._similarity(patches, self.reference_queries(thing))
        return [given * found for found in (torch.ones_like(means[0]), *likest, *means, learned)]

    def _expected(self, x: Tensor, logits: Tensor, asked: Tensor) -> Tensor:
        """(B, 3) logits of the IoU of each mask, from what lies inside and outside of it."""
        inside = F.avg_pool2d(logits.detach().sigmoid(), 4)  # (B, 3, g, g)
        box = asked[:, BOX].mean((1, 2))
        found = []
        for mask in range(MASKS):
            own = inside[:, mask : mask + 1]
            surely = (2 * own - 1).abs()
            facts = torch.stack([own.mean((1, 2, 3)), surely.mean((1, 2, 3)), box], dim=1)
            pooled = torch.cat([_pooled(x, own), _pooled(x, 1 - own), facts], dim=1)
            found.append(self.iou(pooled)[:, mask])
        return torch.stack(found, dim=1)


class _Residual(nn.Module):
    """Two convolutions around which the input goes."""

    def __init__(self, dim: int, dilation: int = 1) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, dim)
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=dilation, dilation=dilation)
        self.norm2 = nn.GroupNorm(8, dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(F.gelu(self.norm1(x)))
        return x + self.conv2(F.gelu(self.norm2(inner)))


class _Finer(nn.Module):
    """To a grid of twice the cells, with the encoder's features and the prompt on it."""

    def __init__(self, dim: int, level: int, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(dim, width, 1)
        self.level = nn.Conv2d(level, width, 1)
        self.prompt = nn.Conv2d(CHANNELS, width, 1)
        self.block = _Residual(width)

    def forward(self, x: Tensor, level: Tensor, maps: Tensor) -> Tensor:
        wide = F.interpolate(self.narrow(x), scale_factor=2.0, mode="bilinear")
        return self.block(wide + self.level(level) + self.prompt(maps))


def _pooled(x: Tensor, weights: Tensor) -> Tensor:
    """Means (B, C) of maps (B, C, h, w), weighted by maps (B, 1, h, w)."""
    total = weights.sum((2, 3)).clamp(min=1e-6)
    return (x * weights).sum((2, 3)) / total


def _cosine(patches: Tensor, vector: Tensor) -> Tensor:
    """(B, 1, h, w) of patches (B, D, h, w) and a vector (B, D) each."""
    unit = F.normalize(vector, dim=1)[:, :, None, None]
    return (F.normalize(patches, dim=1) * unit).sum(dim=1, keepdim=True)


def save_mask_head(path: Path, head: MaskHead, config: Mapping[str, object]) -> None:
    """Write a head in float16 with its shape and what it says about itself (JSON types)."""
    metadata = {
        "format": FORMAT,
        "shape": json.dumps(asdict(head.shape)),
        "config": json.dumps(dict(config), sort_keys=True),
    }
    write_network(path, head, metadata, dtype=torch.float16)


def load_mask_head(path: Path, *, expected_levels: tuple[int, int, int]) -> MaskHead:
    """Read a head, in eval mode, float32, on the CPU.

    Args:
        path: A file of ``save_mask_head``.
        expected_levels: ``level_widths`` of the encoder that will feed it.

    Raises:
        DataError: If the file is missing, of another kind, or does not fit the encoder.
    """
    state, metadata = _read(path)
    stored = json.loads(metadata["shape"])
    shape = MaskHeadShape(**{**stored, "levels": tuple(stored["levels"])})
    if shape.levels != expected_levels:
        raise DataError(
            f"the mask head in {path} reads levels of {shape.levels} channels, the encoder gives "
            f"{expected_levels}: choose the pair that belongs together"
        )
    head = MaskHead(shape)
    try:
        head.load_state_dict(state, strict=True)
    except RuntimeError as err:
        raise DataError(f"{path} does not fit its own shape ({err}); train it again") from err
    return head.eval()


def read_mask_config(path: Path) -> dict[str, object]:
    """What ``save_mask_head`` was told; see ``load_mask_head`` for what is refused."""
    stored: dict[str, object] = json.loads(_read(path)[1]["config"])
    return stored


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors of a head and what is said of them."""
    if not path.is_file():
        raise DataError(f"no mask head at {path}; train one with `vq2d train-masks`")
    state, metadata = read_network(path)
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path} is no mask head: its format is {metadata.get('format')!r}")
    return state, metadata
