"""Superpixels and masks of a picture, and the main job in their spaces."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ren_core.images import to_tensor
from tests.clips import FRAMES, RED, H, W, clip_json, frame, place, query_set, write_annotations
from tests.job import CONFIG, run
from tests.synthetic import write_video
from tests.tiny import tiny_ren
from vq2d.job.estimate import most_tokens_per_crop
from vq2d.localize import encode
from vq2d.localize.areas import AREA_KINDS, MASK_SCALES, MASK_SIDE, find_areas
from vq2d.localize.colour import DIM
from vq2d.localize.encode import EncodeConfig, TokenEncoder
from vq2d.localize.tokens import TokenConfig


@pytest.fixture(scope="module")
def ren():
    return tiny_ren()


@pytest.fixture(scope="module")
def picture():
    """Shades, and a disc with an edge all round."""
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(60, 200, (6, 9, 3), np.uint8), (W, H))
    cv2.circle(image, (40, 30), 14, (250, 30, 40), -1)
    return image


@pytest.mark.parametrize("kind", AREA_KINDS)
def test_every_partition_covers_the_picture(ren, picture, kind):
    areas = find_areas(picture, kind, ren)
    count = 0
    for partition in areas.partitions:
        assert partition.labels.shape == (areas.side, areas.side)
        assert np.unique(partition.labels).tolist() == list(range(len(partition)))
        count += len(partition)
    assert areas.points_xy.shape == (count, 2)
    assert ((areas.points_xy > 0) & (areas.points_xy < [W, H])).all()
    assert count <= most_tokens_per_crop(replace(CONFIG, encode=EncodeConfig(space=kind)))


def test_masks_are_coarser_step_by_step_and_no_smaller_than_a_cell(ren, picture):
    areas = find_areas(picture, "mask", ren)
    sizes = [np.bincount(partition.labels.ravel()) for partition in areas.partitions]
    assert len(sizes) == len(MASK_SCALES)
    assert len(sizes[0]) >= len(sizes[1]) >= len(sizes[2])
    assert min(least.min() for least in sizes) >= MASK_SIDE**2 / ren.config.grid_size**2
    disc = [partition.labels[90, 80] == partition.labels for partition in areas.partitions]
    assert any(abs(mask.mean() - np.pi * 14**2 / (W * H)) < 0.02 for mask in disc)


@pytest.mark.parametrize("kind", AREA_KINDS)
def test_a_token_is_the_mean_of_the_patches_of_its_area(ren, picture, kind):
    areas = find_areas(picture, kind, ren)
    features = ren.patch_features([to_tensor(picture)]).features[0]
    upsampled = F.interpolate(features[None], (areas.side, areas.side))[0]  # nearest
    means = [
        upsampled[:, torch.from_numpy(partition.labels == i)].mean(1)
        for partition in areas.partitions
        for i in range(len(partition))
    ]
    expected = F.normalize(torch.stack(means), dim=-1)
    torch.testing.assert_close(areas.pool(features), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", AREA_KINDS)
@pytest.mark.parametrize("colour", [0.0, 0.5])
def test_a_point_stands_for_the_finest_area_that_holds_it(ren, picture, kind, colour):
    encoder = TokenEncoder(ren, EncodeConfig(space=kind, colour=colour))
    (tokens,) = encoder.regions([picture])
    finest = len(find_areas(picture, kind, ren).partitions[0])
    points = tokens.points_xy[:finest]
    found = encoder.at_points([picture, picture], [points, points[:1]])
    assert torch.equal(found, torch.cat([tokens.vectors[:finest], tokens.vectors[:1]]))
    torch.testing.assert_close(tokens.vectors.norm(dim=1), torch.ones(len(tokens.vectors)))
    assert tokens.vectors.shape[1] == 16 + (DIM if colour else 0)
    assert encoder.images_encoded == 3


@pytest.mark.parametrize("kind", AREA_KINDS)
def test_the_main_job_finds_the_last_occurrence_in_every_crop_the_same_way(
    kind, tmp_path, monkeypatch
):
    cut = []
    monkeypatch.setattr(encode, "find_areas", lambda *given: cut.append(1) or find_areas(*given))
    write_annotations(tmp_path, [clip_json("one", {"1": query_set(RED, 4, 28, (15, 21))})])
    (tmp_path / "v2/clips").mkdir()
    write_video(tmp_path / "v2/clips/one.mp4", [frame(i) for i in range(FRAMES)])
    whole = TokenConfig(crop_factors=(1,), chunk_frames=8)
    config = replace(CONFIG, encode=EncodeConfig(space=kind), tokens=whole)
    report = run(tmp_path, tmp_path / "cache", tmp_path, config)
    (answer,) = report.answers
    track = answer.found.track
    assert (track.start_frame, track.end_frame) == (15, 21)
    np.testing.assert_allclose(track.boxes_xyxy, [place(RED, i) for i in range(15, 21)], atol=1)
    assert len(cut) == report.images_encoded > FRAMES, "search crops and zoomed ones"
