"""Segments that are mostly salient become one thing, of the annotator who agrees best."""

import numpy as np
import pytest
from PIL import Image

from ren_core.commands import train_masks
from ren_core.commands.parsers import COMMANDS
from tools.whole_things import joined, write_things


def picture(size=40):
    """A head on a body before a ground, and how salient a network finds it."""
    labels = np.zeros((size, size), np.uint8)
    labels[5:10, 15:25] = 1
    labels[10:30, 10:30] = 2
    saliency = np.where(labels > 0, 0.9, 0.1).astype(np.float32)
    saliency[28:30] = 0.1  # its border is rough
    return labels, saliency


def test_pieces_of_one_thing_are_joined_and_their_border_is_the_persons():
    labels, saliency = picture()
    assert np.array_equal(joined([labels], saliency), labels > 0)


def test_the_annotator_who_agrees_best_is_taken():
    labels, saliency = picture()
    wide = labels.copy()
    wide[10:30, 8:32] = 2  # a fourth more than the thing
    for given in ([labels, wide], [wide, labels]):
        assert np.array_equal(joined(given, saliency), labels > 0)


@pytest.mark.parametrize("case", ["whole picture", "speck", "nothing salient", "no agreement"])
def test_what_is_no_thing_is_left_out(case):
    labels, saliency = picture()
    if case == "whole picture":
        labels, saliency = np.ones_like(labels), np.ones_like(saliency)
    if case == "speck":
        labels = np.zeros_like(labels)
        labels[:3, :3] = 1
        saliency = labels.astype(np.float32)
    if case == "nothing salient":
        saliency[:] = 0
    if case == "no agreement":  # the saliency is of the left half, the segments lie across
        labels[:] = np.arange(40)[:, None] // 10
        saliency[:] = np.arange(40) < 20
    assert joined([labels], saliency) is None


def test_a_folder_is_written_that_mask_training_reads(tmp_path):
    bsds = tmp_path / "bsds"
    labels, saliency = picture()
    for split in ("val", "test"):
        (bsds / "images" / split).mkdir(parents=True)
    for name, shown in (("1", labels), ("2", np.zeros_like(labels))):
        for folder, file, pixels in (
            ("images/train", f"{name}.jpg", np.dstack([shown * 60] * 3)),
            ("segmentations/train", f"{name}_0.png", shown),
        ):
            (bsds / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(bsds / folder / file)
    seen = iter([saliency, np.zeros_like(saliency)])
    out = tmp_path / "things"
    write_things(bsds, out, lambda *_: [next(seen)])
    parser = COMMANDS["train-masks"].parser()
    args = parser.parse_args(["--out", str(tmp_path), "--things", str(out)])
    (found,) = train_masks.open_sources(args).values()
    assert len(found.entries) == 1
    assert np.array_equal(found.read(0).masks[0], labels > 0)
