"""Augmented views: one exact affine map for the image and its region masks, then colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ren_core.configuration import ImageSize, Share, configuration
from ren_core.images import Image
from ren_core.regions import Masks
from ren_core.warp import Matrix, shift_matrix, squash_matrix, warp_image, warp_masks


@configuration()
class ViewConfig:
    """How strongly a view differs from its image.

    Attributes:
        size: Side R of the view, in pixels.
        flip: Probability of a horizontal flip.
        jitter: Brightness, contrast and saturation factors are drawn from 1 - jitter to 1 + jitter.
        sharpness: Upper end of the sharpness factor; 0 blurs, 1 keeps, 2 sharpens.
        rotation_deg: Largest rotation either way.
        shear_deg: Largest shear along x and along y.
        min_crop: Smallest crop side, as a share of the squashed image's side.
    """

    size: ImageSize
    flip: Share = 0.5
    jitter: Share = 0.4
    sharpness: Annotated[float, Field(ge=0, le=100)] = 2.0
    rotation_deg: Annotated[float, Field(ge=0, le=180)] = 45.0
    shear_deg: Annotated[float, Field(ge=0, lt=90)] = 15.0
    min_crop: Annotated[float, Field(ge=0.001, le=1)] = 0.3


@dataclass(frozen=True, slots=True)
class View:
    """An augmented view.

    Attributes:
        image: (R, R, 3) uint8 RGB.
        masks: (M, R, R) bool, the regions after the same geometry; some may be empty.
        matrix: (3, 3) from pixels (x, y) of the given image to pixels of the view.
    """

    image: Image
    masks: Masks
    matrix: Matrix


def augment(image: Image, masks: Masks, config: ViewConfig, rng: np.random.Generator) -> View:
    """Draw one view.

    Args:
        image: (H, W, 3) uint8 RGB, of any size.
        masks: (M, H, W) bool.
        config: How strong.
        rng: Decides everything; the same state gives the same view.
    """
    matrix = draw_matrix((image.shape[0], image.shape[1]), config, rng)
    warped = warp_image(image, matrix, config.size)
    return View(draw_colours(warped, config, rng), warp_masks(masks, matrix, config.size), matrix)


def plain_view(image: Image, masks: Masks, size: int) -> View:
    """The image squashed to a square, nothing else: for validation."""
    matrix = squash_matrix((image.shape[0], image.shape[1]), size)
    return View(warp_image(image, matrix, size), warp_masks(masks, matrix, size), matrix)


def draw_matrix(size_hw: tuple[int, int], config: ViewConfig, rng: np.random.Generator) -> Matrix:
    """Squash, flip, rotate and shear about the centre, then crop a square: one (3, 3) map.

    Args:
        size_hw: Height and width of the image, in pixels.
        config: Ranges of the draws.
        rng: Source of randomness.

    Returns:
        Map from continuous pixels (x, y, 1) of the image to those of the view.
    """
    R = config.size
    flip = -1.0 if rng.random() < config.flip else 1.0
    angle = math.radians(rng.uniform(-config.rotation_deg, config.rotation_deg))
    shear_x, shear_y = np.radians(rng.uniform(0, config.shear_deg, size=2))
    side = rng.uniform(config.min_crop, 1) * R
    left, top = rng.uniform(0, R - side, size=2)

    rotate = np.array(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    )
    shear = np.array([[1, math.tan(shear_x), 0], [math.tan(shear_y), 1, 0], [0, 0, 1]])
    about_centre = rotate @ shear @ np.diag([flip, 1.0, 1.0])
    to_centre, back = shift_matrix(-R / 2, -R / 2), shift_matrix(R / 2, R / 2)
    crop = np.diag([R / side, R / side, 1.0]) @ shift_matrix(-left, -top)
    return crop @ back @ about_centre @ to_centre @ squash_matrix(size_hw, R)


def draw_colours(image: Image, config: ViewConfig, rng: np.random.Generator) -> Image:
    """Brightness, contrast and saturation in random order, then sharpness; (R, R, 3) uint8."""
    pixels = image.astype(np.float32)
    factors = rng.uniform(1 - config.jitter, 1 + config.jitter, size=3).astype(np.float32)
    for which in rng.permutation(3):
        pixels = _jitter(pixels, int(which), factors[which]).clip(0, 255)
    blurred = cv2.GaussianBlur(pixels, (3, 3), 0.85)
    pixels = blurred + (pixels - blurred) * np.float32(rng.uniform(0, config.sharpness))
    coloured: Image = pixels.clip(0, 255).round().astype(np.uint8)
    return coloured


def _jitter(pixels: NDArray[np.float32], which: int, factor: np.float32) -> NDArray[np.float32]:
    """Brightness (0), contrast (1) or saturation (2): a mix with black, mean grey or own grey."""
    if which == 0:
        return pixels * factor
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    other = grey.mean() if which == 1 else grey[..., None]
    return other + (pixels - other) * factor
