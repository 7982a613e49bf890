"""Views of an image and its label map: random ones for training, whole ones for evaluation."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from eval.segmentation.config import HeadConfig
from eval.segmentation.confusion import VOID, Labels
from eval.segmentation.data import resize_labels
from ren_core.encoders.base import EncoderSpec
from ren_core.images import Image
from ren_core.warp import Matrix, squash_matrix, warp_image

ATTEMPTS = 10
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of resized crops
SCALE = (0.5, 2.0)  # of scaled crops
LONGEST = 4  # the long side of a rescaled image, in short sides: (2048, 512)
ONE_CLASS = 0.75  # a scaled crop is drawn again if one class covers this share of what is labelled
BRIGHTNESS, FACTOR = 32, (0.5, 1.5)
HUE = 36  # degrees: the usual delta of 18 counts in the 2 degrees of OpenCV's 8-bit hue


def training_view(
    image: Image, labels: Labels, config: HeadConfig, spec: EncoderSpec, rng: np.random.Generator
) -> tuple[Image, Labels]:
    """Draw one view (R, R, 3) and its labels (R, R); void outside the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W).
        config: Which augmentation, and the probability of the mirror image.
        spec: Of the encoder: side R and mean colour.
        rng: Decides everything.
    """
    if config.augmentation == "scale-crop":
        return scaled_crop(image, labels, config.flip, spec, rng)
    size, size_hw = spec.input_size, (image.shape[0], image.shape[1])
    if config.augmentation == "resized-crop":
        matrix = resized_crop(size_hw, size, rng)
    else:
        matrix = squash_matrix(size_hw, size)
    if rng.random() < config.flip:
        matrix = np.array([[-1.0, 0, size], [0, 1, 0], [0, 0, 1]]) @ matrix
    return warp_image(image, matrix, size), warp_labels(labels, matrix, size)


def resized_crop(size_hw: tuple[int, int], size: int, rng: np.random.Generator) -> Matrix:
    """Map (3, 3) that squashes a random part, 8 to 100 % of the area and 3:4 to 4:3, to a square.

    If no such part fits in ten attempts, the largest central one is taken.
    """
    H, W = size_hw
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    for _ in range(ATTEMPTS):
        area = H * W * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(low, high))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= W and h <= H:
            return _window(rng.uniform(0, W - w), rng.uniform(0, H - h), (w, h), size)
    w = min(W, H * RATIO[1])
    h = min(H, W / RATIO[0])
    return _window((W - w) / 2, (H - h) / 2, (w, h), size)


def scaled_crop(
    image: Image, labels: Labels, flip: float, spec: EncoderSpec, rng: np.random.Generator
) -> tuple[Image, Labels]:
    """Draw one view and its labels as DINOv2's linear evaluation does.

    The image is rescaled to 0.5 to 2 times R, cropped, mirrored with probability ``flip`` and its
    colours are distorted. Where it is smaller than R, the mean colour then stands right of it and
    below it, as if zeros had been added after normalisation.
    """
    R = spec.input_size
    image = rescaled(image, R, rng.uniform(*SCALE))
    labels = resize_labels(labels, (image.shape[0], image.shape[1]))
    part = draw_crop(labels, R, rng)
    image, labels = image[part], labels[part]
    if rng.random() < flip:
        image, labels = image[:, ::-1], labels[:, ::-1]
    known: Labels = np.full((R, R), VOID, np.uint8)
    known[: labels.shape[0], : labels.shape[1]] = labels
    return padded(distort_colours(image, rng), (R, R), spec), known


def draw_crop(labels: Labels, size: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of a square of ``size`` pixels, or of all there are on a shorter side.

    They are drawn again, up to ten times, while one class covers 75 % of the labelled pixels.
    """
    free = [max(0, side - size) for side in labels.shape]
    for _ in range(1 + ATTEMPTS):
        top, left = rng.integers(0, free, endpoint=True)
        crop = slice(top, top + size), slice(left, left + size)
        part = labels[crop]
        known = np.bincount(part[part != VOID])
        if np.count_nonzero(known) > 1 and known.max() < ONE_CLASS * known.sum():
            break
    return crop


def rescaled(image: Image, side: int, ratio: float = 1.0) -> Image:
    """An image whose short side has ``side * ratio`` pixels, its shape kept; bilinear.

    It is made smaller than that where its long side would exceed four times as much: mmcv's
    ``imrescale`` to (2048, 512), with ``side`` in the place of 512.
    """
    H, W = image.shape[:2]
    scale = min(int(side * ratio) / min(H, W), int(LONGEST * side * ratio) / max(H, W))
    size_wh = (max(1, int(W * scale + 0.5)), max(1, int(H * scale + 0.5)))
    resized: Image = cv2.resize(image, size_wh, interpolation=cv2.INTER_LINEAR)
    return resized


def padded(image: Image, size_hw: tuple[int, int], spec: EncoderSpec) -> Image:
    """An image with the encoder's mean colour right of it and below it, up to a size."""
    canvas = np.full((*size_hw, 3), np.round(255 * np.array(spec.mean)), np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas


def squashed(image: Image, size: int, config: HeadConfig) -> Image:
    """A whole image as the recipe gives it to an encoder of that input size.

    Encoders squash bilinearly by themselves, so that only a bicubic square is made here; as in the
    release, by Pillow, which smooths where it shrinks.
    """
    if config.squash == "bilinear":
        return image
    return np.asarray(PilImage.fromarray(image).resize((size, size), PilImage.Resampling.BICUBIC))


def warp_labels(labels: Labels, matrix: Matrix, size: int) -> Labels:
    """Labels (size, size) under a map of the image: nearest pixel, void outside."""
    centre = np.arange(size) + 0.5
    x, y = np.meshgrid(centre, centre, indexing="xy")
    inverse = np.linalg.inv(matrix)  # these maps neither rotate nor shear
    column = np.floor(x * inverse[0, 0] + inverse[0, 2]).astype(np.int64)
    row = np.floor(y * inverse[1, 1] + inverse[1, 2]).astype(np.int64)
    H, W = labels.shape
    inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
    warped = labels[row.clip(0, H - 1), column.clip(0, W - 1)]
    return np.where(inside, warped, VOID).astype(np.uint8)


def distort_colours(image: Image, rng: np.random.Generator) -> Image:
    """Brightness ±32, contrast and saturation 0.5 to 1.5 times, hue ±36°, each every second time.

    Contrast comes before or after the last two, by chance; values stay within 0..255 throughout.
    """
    pixels = image.astype(np.float32)
    if rng.random() < 0.5:
        pixels = (pixels + np.float32(rng.uniform(-BRIGHTNESS, BRIGHTNESS))).clip(0, 255)
    contrast = np.float32(rng.uniform(*FACTOR) if rng.random() < 0.5 else 1)
    first = rng.random() < 0.5
    if first:
        pixels = (pixels * contrast).clip(0, 255)
    hsv = cv2.cvtColor(pixels / 255, cv2.COLOR_RGB2HSV)
    if rng.random() < 0.5:
        hsv[..., 1] = (hsv[..., 1] * rng.uniform(*FACTOR)).clip(0, 1)
    if rng.random() < 0.5:
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(-HUE, HUE)) % 360
    pixels = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
    if not first:
        pixels *= contrast
    distorted: Image = pixels.clip(0, 255).round().astype(np.uint8)
    return distorted


def _window(left: float, top: float, size_wh: tuple[float, float], size: int) -> Matrix:
    """Map (3, 3) of a window of the image to a square of ``size`` pixels."""
    x, y = size / size_wh[0], size / size_wh[1]
    matrix: NDArray[np.float64] = np.array([[x, 0, -left * x], [0, y, -top * y], [0, 0, 1]])
    return matrix
