"""Tables and pictures of a segmentation comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from eval.segmentation.compare import Score
from eval.segmentation.confusion import VOID, Labels, class_iou, mean_iou
from eval.segmentation.data import resize_labels
from ren_core.drawing import Picture, contact_sheet, palette, with_caption
from ren_core.images import Image

PANEL_WIDTH = 320  # px
VOID_COLOUR = (90, 90, 90)


def by_method(scores: Sequence[Score]) -> dict[str, list[Score]]:
    """Scores of all seeds by the method's name, in the order of their first appearance."""
    grouped: dict[str, list[Score]] = {}
    for score in scores:
        grouped.setdefault(score.method.name, []).append(score)
    return grouped


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and the sample's standard deviation (0 for one value).

    >>> mean_and_spread([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def summaries(scores: Sequence[Score]) -> list[dict[str, object]]:
    """One row per method: mIoU as (mean, spread over seeds) at both resolutions, tokens."""
    return [
        {
            "method": name,
            "seeds": len(group),
            "tokens": group[0].tokens,
            "mIoU": mean_and_spread([mean_iou(s.at_original) for s in group]),
            "mIoU at model resolution": mean_and_spread([mean_iou(s.at_model) for s in group]),
        }
        for name, group in by_method(scores).items()
    ]


def method_table(scores: Sequence[Score]) -> str:
    """One line per method, in percent."""
    lines = [f"{'method':<18} {'tokens':>7} {'mIoU':>13} {'at model res.':>14} {'seeds':>6}"]
    for name, group in by_method(scores).items():
        original = mean_and_spread([100 * mean_iou(s.at_original) for s in group])
        model = mean_and_spread([100 * mean_iou(s.at_model) for s in group])
        lines.append(
            f"{name:<18} {group[0].tokens:>7.1f} {original[0]:>7.2f} ± {original[1]:.2f} "
            f"{model[0]:>8.2f} ± {model[1]:.2f} {len(group):>6}"
        )
    return "\n".join(lines)


def class_table(scores: Sequence[Score], classes: Sequence[str]) -> str:
    """IoU of every class at original resolution in percent; - where no seed defines it.

    The mean is over the seeds that define it: an absent class is undefined where it is never
    predicted either, which depends on the seed.
    """
    means = {
        name: 100 * defined_mean(np.stack([class_iou(s.at_original) for s in group]))
        for name, group in by_method(scores).items()
    }
    width = max(12, *(len(name) for name in means))
    lines = [f"{'class':<16}" + "".join(f" {name:>{width}}" for name in means)]
    for i, label in enumerate(classes):
        cells = ("-" if np.isnan(iou[i]) else f"{iou[i]:.1f}" for iou in means.values())
        lines.append(f"{label:<16}" + "".join(f" {cell:>{width}}" for cell in cells))
    return "\n".join(lines)


def defined_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means (C,) of rows (S, C) over the values that are not NaN; NaN where a column has none.

    >>> defined_mean(np.array([[1.0, np.nan], [np.nan, np.nan]])).tolist()
    [1.0, nan]
    """
    known = ~np.isnan(values)
    mean: NDArray[np.float64] = np.divide(
        np.where(known, values, 0).sum(0),
        known.sum(0),
        out=np.full(values.shape[1], np.nan),
        where=known.any(0),
    )
    return mean


def colour_labels(labels: Labels, num_classes: int) -> Picture:
    """A label map (H, W) as a picture; void is dark grey."""
    colours = np.tile(np.array(VOID_COLOUR, np.uint8), (256, 1))
    colours[:num_classes] = palette(num_classes)
    picture: Picture = colours[labels]
    return picture


def comparison_row(
    image: Image, truth: Labels, predicted: Mapping[str, Labels], num_classes: int
) -> list[Picture]:
    """Panels of one image as in the paper's Figure 5: image, truth, then every prediction.

    The caption of a prediction says its share of right pixels in this image.
    """
    known = truth != VOID
    H, W = truth.shape
    size_wh = (PANEL_WIDTH, round(H * PANEL_WIDTH / W))
    small: Picture = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    panels = [with_caption(small, "image"), with_caption(_panel(truth, num_classes), "truth")]
    for name, labels in predicted.items():
        right = (
            f"{100 * (labels == truth)[known].mean():.0f} % right" if known.any() else "no truth"
        )
        panels.append(with_caption(_panel(labels, num_classes), f"{name}  {right}"))
    return panels


def comparison_sheet(rows: Sequence[Sequence[Picture]], classes: Sequence[str]) -> Picture:
    """Rows of panels of the same width, and the colours of the classes below."""
    height = max(panel.shape[0] for row in rows for panel in row)
    panels = [_padded(panel, height) for row in rows for panel in row]
    sheet = contact_sheet(panels, columns=len(rows[0]))
    return np.vstack([sheet, class_legend(classes, sheet.shape[1])])


def class_legend(classes: Sequence[str], width: int, cell: int = 150) -> Picture:
    """Names of the classes on white, each beside its colour."""
    columns = max(1, width // cell)
    rows = -(-len(classes) // columns)
    legend: NDArray[np.uint8] = np.full((rows * 22 + 8, width, 3), 255, np.uint8)
    for i, (name, colour) in enumerate(zip(classes, palette(len(classes)), strict=True)):
        x, y = 8 + i % columns * cell, 8 + i // columns * 22
        cv2.rectangle(legend, (x, y), (x + 14, y + 14), colour.tolist(), -1)
        cv2.putText(
            legend, name[:16], (x + 20, y + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (20, 20, 20), 1,
            cv2.LINE_AA,
        )  # fmt: skip
    return legend


def _panel(labels: Labels, num_classes: int) -> Picture:
    H, W = labels.shape
    return colour_labels(
        resize_labels(labels, (round(H * PANEL_WIDTH / W), PANEL_WIDTH)), num_classes
    )


def _padded(picture: Picture, height: int) -> Picture:
    missing = height - picture.shape[0]
    return cv2.copyMakeBorder(picture, 0, missing, 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
