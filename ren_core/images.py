"""The one form of every image: reading and listing files, turning arrays into tensors and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ren_core.errors import DataError, ShapeError

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
RANGE_TOLERANCE = 1e-3  # resizing may overshoot 0..1 by rounding


def read_image(path: Path) -> Image:
    """A picture file as (H, W, 3) uint8 RGB.

    Raises:
        DataError: If the file is missing or no picture.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{path} is missing or no picture; check the data folder")
    rgb: Image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


def list_images(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The picture files of a folder, sorted by name."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; see data/README.md for the expected layout")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)


def list_image_tree(root: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The picture files of a folder and its subfolders, sorted by path; hidden ones left out."""
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; see data/README.md for the expected layout")
    found = [path for path in root.rglob("*") if path.suffix.lower() in suffixes]
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def to_tensor(picture: Image) -> Tensor:
    """A picture (H, W, 3) as a tensor (3, H, W); a copy, since cached frames are read-only."""
    return torch.tensor(picture).permute(2, 0, 1)


def to_batch(picture: Image) -> Tensor:
    """A picture (H, W, 3) as a batch of one (1, 3, H, W), float32 in 0..1."""
    return to_tensor(picture)[None].float() / 255


def to_picture(image: Tensor) -> Image:
    """An image (3, H, W) in 0..1 as a picture (H, W, 3), rounded, on the CPU."""
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    return pixels.contiguous().cpu().numpy()


def as_float_images(images: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Images as ``checked_images`` takes them, as float32 RGB in 0..1."""
    return [as_float(image) for image in checked_images(images)]


def as_float(image: Tensor) -> Tensor:
    """A checked image (3, H, W) as float32 in 0..1."""
    return image.float() / 255 if image.dtype == torch.uint8 else image.float()


def checked_images(images: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Images as RGB, one (3, H, W) tensor each, uint8 or floating point in 0..1 as they came.

    Args:
        images: (B, C, H, W), or a sequence of (C, H, W) of different sizes; uint8, or floating
            point in 0..1; C = 3, or 1 for grey, which is repeated.

    Raises:
        ShapeError: If there is no image, a side is 0, the dtype or the range is another one, or a
            value is NaN or infinite.
    """
    if isinstance(images, Tensor) and images.ndim != 4:
        raise ShapeError(
            f"images must be (B, 3, H, W) or a sequence of (3, H, W), got {tuple(images.shape)}; "
            f"add a batch axis with image[None]"
        )
    if len(images) == 0:
        raise ShapeError("there is no image: the batch is empty")
    return [_checked(image, i) for i, image in enumerate(images)]


def _checked(image: Tensor, i: int) -> Tensor:
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ShapeError(
            f"image {i} must be (3, H, W), or (1, H, W) if grey, got {tuple(image.shape)}; "
            f"channels come first, and an alpha channel must be removed"
        )
    if 0 in image.shape:
        raise ShapeError(f"image {i} is empty: {tuple(image.shape)}")
    if image.is_floating_point():
        low, high = image.float().aminmax()
        if not bool(torch.isfinite(low) & torch.isfinite(high)):
            raise ShapeError(f"image {i} holds NaN or infinite values")
        if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
            raise ShapeError(
                f"float images must lie in 0..1, image {i} lies in {float(low):.4g}.."
                f"{float(high):.4g}; divide by 255 or pass uint8"
            )
    elif image.dtype != torch.uint8:
        raise ShapeError(f"image {i} must be uint8 or floating point, got {image.dtype}")
    return image.expand(3, -1, -1)
