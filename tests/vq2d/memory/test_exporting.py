"""A sighting becomes a track in terms of its video's file."""

from __future__ import annotations

import numpy as np

from tests.clips import FRAMES, RED, frame, place
from tests.synthetic import write_video
from vq2d.memory.exporting import export_track


def test_boxes_stand_at_the_frames_of_the_file(memory, red, tmp_path):
    """A file of 15 frames per second: every third one is looked at."""
    images = [frame(i // 3, 70) for i in range(3 * FRAMES)]
    memory.add(write_video(tmp_path / "fast.mp4", images, fps=15))
    found = next(s for s in memory.ask(red) if s.video.path.stem == "fast")
    track = export_track(found, "mug", memory.localizer.models.segmenter)
    assert track.source_frames.tolist() == list(range(45, 63, 3))
    assert np.allclose(track.times_s, np.arange(15, 21) / 5)
    assert (track.num_source_frames, round(track.source_fps)) == (90, 15)
    assert (track.boxes_xyxy == found.boxes_xyxy).all()
    assert track.label == "mug"
    for i, mask in enumerate(track.masks):
        x1, y1, x2, y2 = place(RED, 15 + i).astype(int)
        truth = np.zeros(mask.shape, bool)
        truth[y1:y2, x1:x2] = True
        assert (mask & truth).sum() / (mask | truth).sum() > 0.9


def test_masks_are_not_drawn_unless_they_are_asked_for(memory, red):
    assert export_track(next(memory.ask(red)), "mug").masks is None
