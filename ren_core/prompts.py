"""Point prompts: regular grids, superpixel centres, points inside a mask, points a user gives.

All points are integer (y, x) pixels of the square image that the model sees, side R.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ren_core.errors import ConfigError, ShapeError
from ren_core.geometry import Mask

logger = logging.getLogger(__name__)

SLIC_COMPACTNESS = 256.0  # fast-slic's scale; the released value: nearly regular superpixels
# The same regularity (boundary length, spread within a superpixel) on scikit-image's scale, fitted
# to fast-slic at compactness 10 and 256 on BSDS photographs.
SKIMAGE_OFFSET, SKIMAGE_SLOPE = 12.0, 0.06

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PointPrompts:
    """Prompts of one image.

    Attributes:
        points_yx: (N, 2) int64 pixels at model resolution.
        labels: (R, R) int32: which prompt each pixel belongs to; None if the prompts do not stand
            for an area.
    """

    points_yx: Tensor
    labels: Labels | None = None

    def __len__(self) -> int:
        return len(self.points_yx)


def grid_prompts(image_size: int, grid_size: int, convention: str = "border") -> PointPrompts:
    """A regular grid, row by row; every pixel belongs to the nearest point.

    Args:
        image_size: Side R of the square image.
        grid_size: Points per side, G; N = G * G.
        convention: ``"border"``, the released REN class: from pixel 1 to R - 2.
            ``"patch"``, the released segmentation code: from half a cell inside to half a cell
            inside, so that with G patches per side each point is its patch's centre.

    Raises:
        ConfigError: If the grid does not fit the image or the convention is unknown.
    """
    if not 1 <= grid_size <= image_size:
        raise ConfigError(f"grid_size must be in 1..{image_size}, got {grid_size}")
    half = image_size // grid_size // 2
    ends = {"border": (1, image_size - 2), "patch": (half, image_size - half)}
    if convention not in ends:
        raise ConfigError(f"grid convention must be one of {sorted(ends)}, got {convention!r}")
    low, high = sorted(ends[convention])  # images of one or two pixels turn the ends around
    line = np.linspace(low, high, grid_size).astype(np.int64).clip(0, image_size - 1)
    points = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    nearest = np.searchsorted((line[1:] + line[:-1]) / 2, np.arange(image_size))
    labels = (nearest[:, None] * grid_size + nearest[None, :]).astype(np.int32)
    return PointPrompts(torch.from_numpy(points), labels)


def slic_prompts(
    image: NDArray[np.uint8], count: int, compactness: float = SLIC_COMPACTNESS
) -> PointPrompts:
    """Centres of SLIC superpixels; may be fewer than asked for.

    Args:
        image: (R, R, 3) uint8 RGB.
        count: Superpixels wanted.
        compactness: On fast-slic's scale; higher is more regular.

    Raises:
        ShapeError: If the image is not (H, W, 3) uint8.
        ConfigError: If ``count`` is outside 1..32767 (labels are 16-bit) or above the pixels.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"SLIC needs (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
    if not 1 <= count <= min(32767, image.shape[0] * image.shape[1]):
        raise ConfigError(
            f"SLIC makes 1..32767 superpixels, at most one per pixel; got {count} for "
            f"{image.shape[0]}x{image.shape[1]} pixels"
        )
    return _prompts_of(_slic()(np.ascontiguousarray(image), count, compactness))


def felzenszwalb_prompts(
    image: NDArray[np.uint8], scale: float, min_pixels: int, *, sigma: float = 0.8
) -> PointPrompts:
    """Centres of Felzenszwalb and Huttenlocher's segments, which follow edges, whatever their size.

    Args:
        image: (R, R, 3) uint8 RGB.
        scale: Larger values give larger segments.
        min_pixels: Smaller segments join a neighbour.
        sigma: Pixels of the Gaussian blur before.

    Raises:
        ShapeError: If the image is not (H, W, 3) uint8.
    """
    from skimage.segmentation import felzenszwalb

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"segments need (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
    return _prompts_of(felzenszwalb(image, scale=scale, sigma=sigma, min_size=min_pixels))


def _prompts_of(raw: NDArray[np.integer]) -> PointPrompts:
    """One prompt for each value of a label map (H, W), renumbered from 0."""
    labels = np.unique(raw, return_inverse=True)[1].reshape(raw.shape).astype(np.int32)
    return PointPrompts(torch.from_numpy(label_centres(labels)), labels)


def label_centres(labels: Labels) -> NDArray[np.int64]:
    """Rounded centre of mass (N, 2) = (y, x) of labels 0..N-1 of a map (H, W).

    Where the centre falls outside its own label, the middle pixel of the label in row-major order
    is taken, so that every point lies on the label it stands for.
    """
    H, W = labels.shape
    flat = labels.ravel()
    counts = np.bincount(flat)
    y, x = np.divmod(np.arange(flat.size), W)
    centre_y = np.bincount(flat, y) / counts
    centre_x = np.bincount(flat, x) / counts
    points = np.stack([centre_y, centre_x], axis=1).round().astype(np.int64)
    points = points.clip(0, [H - 1, W - 1])

    outside = np.flatnonzero(labels[points[:, 0], points[:, 1]] != np.arange(len(points)))
    if outside.size:
        by_label = np.argsort(flat, kind="stable")
        middle = by_label[np.cumsum(counts)[outside] - counts[outside] + counts[outside] // 2]
        points[outside] = np.stack(np.divmod(middle, W), axis=1)
    return points


def mask_prompts(mask: Mask, count: int, *, seed: int = 0) -> PointPrompts:
    """Random pixels of a mask (R, R), without replacement as long as there are enough.

    Raises:
        ShapeError: If the mask is empty.
    """
    inside = np.flatnonzero(mask)
    if inside.size == 0:
        raise ShapeError(
            f"the mask ({mask.shape[0]}x{mask.shape[1]}) has no pixel to put a prompt on"
        )
    chosen = np.random.default_rng(seed).choice(inside, count, replace=inside.size < count)
    points = np.stack(np.divmod(chosen, mask.shape[1]), axis=1)
    return PointPrompts(torch.from_numpy(points))


def user_prompts(points_yx: Tensor, size_hw: tuple[int, int], image_size: int) -> PointPrompts:
    """Points of an image of any size as prompts of its squashed square version.

    Args:
        points_yx: (N, 2) pixels (row, column) of the given image, N >= 1; fractions are allowed.
        size_hw: Height and width of that image.
        image_size: Side R of the square.

    Raises:
        ShapeError: If the shape is wrong, there is no point, or one lies outside the image.
    """
    if points_yx.ndim != 2 or points_yx.shape[1] != 2 or len(points_yx) == 0:
        raise ShapeError(
            f"prompts must be (N, 2) = (y, x) with N >= 1, got {tuple(points_yx.shape)}"
        )
    size = torch.tensor(size_hw, device=points_yx.device)
    pixels = points_yx.floor()
    good = ((pixels >= 0) & (pixels < size)).all(dim=1)  # NaN fails both
    if not bool(good.all()):
        first = int((~good).nonzero()[0])
        raise ShapeError(
            f"prompt {first} = {points_yx[first].tolist()} (y, x) lies outside the image of "
            f"{size_hw[0]}x{size_hw[1]} pixels"
        )
    scaled = ((pixels.cpu().double() + 0.5) * image_size / size.cpu()).long()
    return PointPrompts(scaled.clamp(0, image_size - 1).to(points_yx.device))


def to_image_points(points_yx: Tensor, image_size: int, size_hw: tuple[int, int]) -> Tensor:
    """Centres (N, 2) float32, in pixels of an image of ``size_hw``, of model pixels (N, 2)."""
    scale = torch.tensor(size_hw, dtype=torch.float64) / image_size
    centres = (points_yx.cpu().double() + 0.5) * scale  # not every device has doubles
    return centres.float().to(points_yx.device)


@functools.cache
def _slic() -> Callable[[NDArray[np.uint8], int, float], NDArray[np.integer]]:
    """The superpixel function; says once if it is the stand-in."""
    try:
        from fast_slic import Slic
    except ImportError:
        logger.warning("fast-slic is not installed; scikit-image's SLIC stands in (slower)")
        return skimage_slic

    def fast(image: NDArray[np.uint8], count: int, compactness: float) -> NDArray[np.integer]:
        # a new object per image (a used one starts from its last clusters), one thread
        slic = Slic(num_components=count, compactness=compactness, num_threads=1)
        labels: NDArray[np.integer] = slic.iterate(image)
        return labels

    return fast


def skimage_slic(image: NDArray[np.uint8], count: int, compactness: float) -> NDArray[np.integer]:
    """Superpixels (H, W) by scikit-image, for machines where fast-slic cannot be built."""
    from skimage.segmentation import slic

    labels: NDArray[np.integer] = slic(
        image,
        n_segments=count,
        compactness=SKIMAGE_OFFSET + SKIMAGE_SLOPE * compactness,
        start_label=0,
        enforce_connectivity=True,
    )
    return labels


def grid_centres(grid: int, size_hw: tuple[int, ...]) -> NDArray[np.float32]:
    """(grid * grid, 2) centres (y, x) of a row-major grid of cells over an image of ``size_hw``."""
    steps = (np.arange(grid, dtype=np.float32) + 0.5) / grid
    y, x = np.meshgrid(steps * size_hw[0], steps * size_hw[1], indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=1)
