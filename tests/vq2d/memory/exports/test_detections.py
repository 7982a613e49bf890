"""supervision's form, where it is installed."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from ren_core.errors import ConfigError
from vq2d.memory.exports import to_detections


def test_without_supervision_it_says_what_to_install(monkeypatch, sighting):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigError, match="pip install 'supervision"):
        to_detections(sighting)


@pytest.mark.filterwarnings("ignore")
class TestWithSupervision:
    @pytest.fixture(autouse=True)
    def _supervision(self):
        pytest.importorskip("supervision")

    def test_all_frames(self, sighting):
        found = to_detections(sighting, track_id=7, class_id=2)
        assert len(found) == 4
        assert np.array_equal(found.xyxy, sighting.boxes_xyxy)
        assert found.mask is None  # one is not known
        assert set(found.confidence) == {np.float32(sighting.score)}
        assert (set(found.tracker_id), set(found.class_id)) == ({7}, {2})
        assert set(found.data["class_name"]) == {sighting.label}
        assert found.data["source_frame"].tolist() == sighting.source_frames.tolist()
        assert found.data["time_s"].tolist() == sighting.times_s.tolist()

    def test_one_frame_with_its_mask(self, sighting):
        found = to_detections(sighting, 2)
        assert np.array_equal(found.xyxy, sighting.boxes_xyxy[[2]])
        assert np.array_equal(found.mask, sighting.masks[2][None])
        assert to_detections(sighting, 1).mask is None

    def test_all_masks(self, sighting):
        masks = (sighting.masks[0],) * 4
        assert to_detections(replace(sighting, masks=masks)).mask.shape == (4, 48, 64)

    def test_a_repeated_frame_is_given_once(self, answer):
        assert to_detections(answer[2]).data["source_frame"].tolist() == [0, 1, 2]
        assert np.array_equal(to_detections(answer[2], 2).xyxy[0], answer[2].boxes_xyxy[3])

    def test_a_frame_that_is_not_there(self, sighting):
        with pytest.raises(IndexError):
            to_detections(sighting, 4)
