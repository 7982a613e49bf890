"""Tables and pictures of a comparison."""

from __future__ import annotations

import numpy as np

from eval.segmentation.compare import Score
from eval.segmentation.config import Method
from eval.segmentation.confusion import VOID, confusion
from eval.segmentation.report import class_table, comparison_row, comparison_sheet, method_table


def test_tables_and_pictures():
    truth = np.zeros((30, 40), np.uint8)
    truth[:, 20:] = 1
    counts = confusion(truth, np.zeros_like(truth), 3)
    rows = [Score(Method(), seed, counts, counts, 64.0) for seed in (0, 1)]
    table = method_table(rows)
    assert "ren-grid" in table
    assert "25.00 ± 0.00" in table
    lines = class_table(rows, ("sky", "road", "car")).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["50.0", "0.0", "-"]
    # the car is predicted under one seed only: undefined under the other, not everywhere
    cars = confusion(truth, np.full_like(truth, 2), 3)
    mixed = [rows[0], Score(Method(), 1, cars, cars, 64.0)]
    lines = class_table(mixed, ("sky", "road", "car")).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["25.0", "0.0", "0.0"]
    image = np.zeros((30, 40, 3), np.uint8)
    panels = comparison_row(image, truth, {"ren-grid": truth, "patches": 1 - truth}, 3)
    sheet = comparison_sheet([panels, panels], ("sky", "road", "car"))
    assert (len(panels), sheet.dtype) == (4, np.uint8)
    assert sheet.shape[0] > 2 * panels[0].shape[0]  # both rows, and the legend
    unlabelled = comparison_row(image, np.full_like(truth, VOID), {"ren-grid": truth}, 3)
    assert len(unlabelled) == 3
