"""Training curves as CSV, as a plot, and in TensorBoard where it is installed."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from ren_core.plots import write_plot
from ren_core.stages import atomic_path

EVENT_FILES = "events.out.tfevents.*"


class CurveFiles:
    """``curves.csv``, ``curves.png`` and the TensorBoard folder of a run, kept up to date.

    Args:
        out: Folder of the run.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.written = 0

    def update(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write all rows, unless the files hold as many already."""
        if len(rows) == self.written:
            return
        write_csv(self.out / "curves.csv", rows)
        plot_curves(self.out / "curves.png", rows)
        write_tensorboard(self.out / "tensorboard", rows)
        self.written = len(rows)


def write_csv(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """One line per row; the header joins the names of all rows."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(path) as tmp, tmp.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def plot_curves(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """A panel per quantity over the steps, as PNG; training and validation share a panel."""
    from matplotlib.figure import Figure

    names = [n for n in dict.fromkeys(k for row in rows for k in row) if n != "step"]
    panels = list(dict.fromkeys(name.split("/")[-1] for name in names))
    figure = Figure(figsize=(4 * len(panels), 3), layout="constrained")
    for axis, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name in names:
            if name.split("/")[-1] == panel:
                known = [(row["step"], row[name]) for row in rows if name in row]
                axis.plot(*zip(*known, strict=True), label=name)
        axis.set(title=panel, xlabel="step")
        axis.legend(fontsize="small")
    write_plot(figure, path)


def write_tensorboard(directory: Path, rows: Sequence[Mapping[str, float]]) -> bool:
    """Write all rows as the one event file; False if TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return False
    from torch.utils.tensorboard import SummaryWriter

    earlier = list(directory.glob(EVENT_FILES))
    with SummaryWriter(str(directory)) as writer:
        for row in rows:
            for name, value in row.items():
                writer.add_scalar(name, value, int(row["step"]))
    for file in earlier:  # TensorBoard would show their rows twice
        file.unlink()
    return True
