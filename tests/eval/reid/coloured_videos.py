"""Videos of coloured squares, with colours as tokens."""

import cv2
import numpy as np
import torch

from eval.reid.pointing import PointingCase
from eval.reid.tokens import PointTokens

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def colour_tokens(image):
    """One token per 8-pixel cell: its mean colour."""
    cells = cv2.resize(
        image, (image.shape[1] // 8, image.shape[0] // 8), interpolation=cv2.INTER_AREA
    )
    tokens = torch.from_numpy(cells.reshape(-1, 3).astype(np.float32)) + 1
    y, x = np.mgrid[0 : cells.shape[0], 0 : cells.shape[1]]
    points = np.stack([y.ravel(), x.ravel()], 1).astype(np.float32) * 8 + 4
    return PointTokens(tokens, points)


def colours(image):
    return {"colour": colour_tokens(image)}


def picture(*squares, size=(64, 96)):
    """Grey, with 16-pixel squares (colour, y, x)."""
    image = np.full((*size, 3), 90, np.uint8)
    for colour, y, x in squares:
        image[y : y + 16, x : x + 16] = colour
    return image


def write_video(root, name, pictures, boxes):
    for i, (image, box) in enumerate(zip(pictures, boxes, strict=True)):
        for folder in ("frames", "masks"):
            (root / folder / name).mkdir(parents=True, exist_ok=True)
        mask = np.zeros(image.shape[:2], np.uint8)
        if box is not None:
            mask[box[0] : box[0] + 16, box[1] : box[1] + 16] = 255
        cv2.imwrite(str(root / "frames" / name / f"{i:05d}.jpg"), image[..., ::-1])
        cv2.imwrite(str(root / "masks" / name / f"{i:05d}.png"), mask)


def red_and_blue_clip():
    """A query for the red square: one frame with it and two without, a blue one in all."""
    there = picture((RED, 0, 80), (BLUE, 40, 16))
    gone = picture((BLUE, 40, 16))
    frames = ((there, np.array([80, 0, 96, 16], np.float32)),)
    box = np.array([8, 8, 24, 24], np.float32)
    return PointingCase("q", picture((RED, 8, 8)), box, frames, (gone, gone))
