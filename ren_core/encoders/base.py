"""What every frozen patch encoder offers, and the preprocessing that all of them share."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ren_core.errors import ConfigError, ShapeError

Triple = tuple[float, float, float]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
FINE_BLOCK, MIDDLE_BLOCK = 4, 8
"""Pixels per side of a cell of the finer levels, where these are the pixels themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderSpec:
    """The facts that belong to an encoder's weights.

    Attributes:
        name: Catalogue name, such as ``"dinov2-vitl14"``.
        input_size: Side in pixels of the square image that the network sees.
        patch_size: Side in pixels of one patch; divides ``input_size``.
        dim: Length D of a patch feature.
        mean: RGB mean subtracted from images in 0..1.
        std: RGB standard deviation that divides them.
        whitened: True if features are centred and decorrelated by statistics of their own.
    """

    name: str
    input_size: int
    patch_size: int
    dim: int
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    whitened: bool = False

    def __post_init__(self) -> None:
        if self.input_size <= 0 or self.input_size % self.patch_size:
            raise ConfigError(
                f"input_size of {self.name} must be a positive multiple of its patch size "
                f"{self.patch_size}, got {self.input_size}"
            )

    @property
    def grid(self) -> int:
        """Patches per side."""
        return self.input_size // self.patch_size

    def resized(self, input_size: int | None) -> EncoderSpec:
        """The same encoder at another input size; None keeps it."""
        return self if input_size is None else replace(self, input_size=input_size)


@dataclass(frozen=True, slots=True)
class PatchFeatures:
    """Features (B, D, h, w) of the squashed square images, and the spec of their encoder."""

    features: Tensor
    spec: EncoderSpec

    @property
    def tokens(self) -> Tensor:
        """The same features as a row-major list of patches, (B, h*w, D)."""
        return self.features.flatten(2).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class FeatureLevels:
    """What an encoder sees of images at three resolutions, for work that needs edges.

    Attributes:
        patches: (B, C'', g, g) patch features: those of ``encode``, and perhaps more layers.
        middle: (B, C, 2g, 2g).
        fine: (B, C', 4g, 4g).
    """

    patches: Tensor
    middle: Tensor
    fine: Tensor


def patches_at(features: Tensor, points_yx: Tensor, patch_size: int) -> Tensor:
    """Unit features (N, D) float32 of the patches that hold points.

    Args:
        features: (D, h, w), of any floating-point type.
        points_yx: (N, 2) pixels of the square that the encoder sees.
        patch_size: Side in those pixels of one patch.
    """
    last = points_yx.new_tensor(features.shape[-2:]) - 1
    cell = (points_yx // patch_size).minimum(last).to(features.device)
    return F.normalize(features[:, cell[:, 0], cell[:, 1]].T.contiguous().float(), dim=-1)


def squash(images: Tensor, size: int) -> Tensor:
    """Resize images (B, 3, H, W) to (B, 3, size, size); the aspect ratio is not kept.

    Bilinear with antialiasing, as the released REN prepares its images.

    Raises:
        ShapeError: If the images are not floating-point RGB.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"images must be (B, 3, H, W), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ShapeError(f"images must be float in 0..1, got {images.dtype}; divide uint8 by 255")
    if images.shape[-2:] == (size, size):
        return images
    return resized(images, size)


def resized(images: Tensor, size: int) -> Tensor:
    """``squash`` without its checks; images of bytes, which need a processor, stay bytes."""
    return F.interpolate(
        images, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )


def normalise(images: Tensor, spec: EncoderSpec) -> Tensor:
    """Subtract the encoder's mean from RGB images (B, 3, H, W) in 0..1 and divide by its std."""
    if images.is_cuda:
        mean, std = (
            _on_gpu(values, images.dtype, images.device) for values in (spec.mean, spec.std)
        )
    else:
        mean, std = images.new_tensor(spec.mean), images.new_tensor(spec.std)
    return (images - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


@cache
def _on_gpu(values: Triple, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Values (3,) on a GPU, copied once: each copy waits for it."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, dtype=dtype, device=device)


class PatchEncoder(nn.Module, ABC):
    """A frozen network from images to one feature per patch; always in evaluation mode.

    Device and dtype are set with ``.to()``; autocast is entered by the caller.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Features (B, D, grid, grid) of normalised images (B, 3, input_size, input_size)."""

    @property
    def level_widths(self) -> tuple[int, int, int]:
        """Channels of the three levels of ``levels``."""
        return self.spec.dim, 3 * MIDDLE_BLOCK**2, 3 * FINE_BLOCK**2

    def levels(self, images: Tensor) -> FeatureLevels:
        """Features on the patch grid, and finer ones: pixels, where a network has none.

        Args:
            images: As for ``encode``.
        """
        side = 4 * self.spec.grid * FINE_BLOCK
        pixels = F.interpolate(images, size=(side, side), mode="bilinear")
        return FeatureLevels(
            self.encode(images),
            F.pixel_unshuffle(pixels, MIDDLE_BLOCK),
            F.pixel_unshuffle(pixels, FINE_BLOCK),
        )

    @torch.no_grad()
    def forward(self, images: Tensor) -> PatchFeatures:
        """Encode images of any size.

        Args:
            images: (B, 3, H, W) float RGB in 0..1.

        Returns:
            Features (B, D, grid, grid) of the images squashed to a square.
        """
        return PatchFeatures(self.encode(self.prepare(images)), self.spec)

    def prepare(self, images: Tensor) -> Tensor:
        """What ``encode`` takes: images (B, 3, H, W) as for ``forward``, squashed, normalised."""
        parameter = next(self.parameters())
        squashed = squash(images.to(parameter.device), self.spec.input_size)
        return normalise(squashed, self.spec).to(parameter.dtype)

    def freeze(self) -> None:
        """Switch gradients off for good; subclasses call it at the end of their construction."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> PatchEncoder:
        """Stay in evaluation mode, whatever the module around this encoder does."""
        super().train(False)
        return self


def check_region_masks(masks: Tensor, batch: int, patches: int) -> None:
    """Refuse masks that are not (batch, R, patches) bool, or hold an empty region.

    Attention over nothing gives finite but meaningless numbers, so it must not happen silently.

    Raises:
        ShapeError: In these cases.
    """
    if masks.ndim != 3 or masks.shape[::2] != (batch, patches) or masks.dtype != torch.bool:
        raise ShapeError(
            f"region masks must be ({batch}, R, {patches}) bool, got {tuple(masks.shape)} "
            f"{masks.dtype}"
        )
    if not bool(masks.any(dim=2).all()):
        raise ShapeError("a region mask is empty; drop the region or give it a patch")


def fingerprint(networks: Iterable[nn.Module], settings: object) -> str:
    """Identity of networks: hash of a sample of every parameter and buffer, and of ``settings``."""
    hasher = hashlib.sha256(str(settings).encode())
    # not state_dict(): it leaves out buffers that are not saved, such as an encoder's whitening
    for name, tensor in chain.from_iterable(
        chain(n.named_parameters(), n.named_buffers()) for n in networks
    ):
        sample = tensor.detach().flatten()[:: max(1, tensor.numel() // 64)].float().cpu()
        hasher.update(name.encode() + sample.numpy().tobytes())
    return hasher.hexdigest()[:16]


def resample_positions(table: Tensor, grid: int, *, prefix: int = 1, offset: float = 0.0) -> Tensor:
    """Interpolate learned position embeddings to another grid (bicubic, no antialiasing).

    Args:
        table: (1, prefix + n*n, D), row-major after the prefix tokens.
        grid: Wanted patches per side.
        prefix: Leading entries (class token, registers) that stay as they are.
        offset: Added to the grid when the scale is computed. The original DINO and DINOv2 code
            uses 0.1, which shifts the sampling points slightly; 0 samples exactly.

    Returns:
        (1, prefix + grid*grid, D).
    """
    head, body = table[:, :prefix], table[:, prefix:]
    side = round(body.shape[1] ** 0.5)
    if side == grid:
        return table
    square = body.reshape(1, side, side, -1).permute(0, 3, 1, 2).float()
    if offset:
        scale = (grid + offset) / side
        square = F.interpolate(square, scale_factor=(scale, scale), mode="bicubic")
    else:
        square = F.interpolate(square, size=(grid, grid), mode="bicubic", align_corners=False)
    resampled = square.flatten(2).transpose(1, 2).to(table.dtype)  # (1, grid*grid, D)
    return torch.cat([head, resampled], dim=1)
