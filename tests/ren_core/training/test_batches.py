"""Batches of cached views: by number, two frames of a video, nothing held out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ren_core.errors import ConfigError, DataError
from ren_core.training.batches import CachedBatches, CachedSource
from ren_core.training.feature_cache import CacheConfig, build_cache
from ren_core.training.sources import scene_source
from ren_core.training.views import ViewConfig
from tests.patterns import block_labels
from tests.training_cases import (
    CONFIG,
    SIZE,
    LiftedColours,
    quarters_cache,
    write_labels,
    write_picture,
)


def test_batches_depend_on_their_number_and_hold_out_groups(batches):
    training, validation = batches
    a, b, c = training.batch(3), training.batch(3), training.batch(4)
    assert torch.equal(a.features, b.features)
    assert torch.equal(a.points_yx, b.points_yx)
    assert not torch.equal(a.points_yx, c.points_yx)
    seen = {i for (groups,) in [training._groups] for group in groups for i in group}
    kept = {i for (groups,) in [validation._groups] for group in groups for i in group}
    assert seen | kept == set(range(6))
    assert kept == {5}


def test_pairs_of_a_video_are_two_frames(quarters, tmp_path):
    for frame in range(4):
        write_picture(tmp_path / f"room/{frame:05d}.jpg", value=60 * frame, size_hw=(48, 48))
        write_labels(tmp_path / f"room/{frame:05d}.png", block_labels((48, 48), 2) + 1)
    (tmp_path / "room/truth.json").write_text("{}")
    views = ViewConfig(size=SIZE, min_crop=1)
    config = CacheConfig(source="s", encoder="tiny", views=views, views_per_image=1)
    cache = build_cache(scene_source(tmp_path), LiftedColours(), config, out=tmp_path)
    source = CachedSource(cache=cache, max_gap=1, held_out_every=2)
    with pytest.raises(DataError, match="validation"):
        CachedBatches([source], 1, CONFIG.sampling, 0, held_out=True)
    batch = CachedBatches([source], 1, CONFIG.sampling, 0).batch(0)
    assert not torch.equal(batch.features[0], batch.features[1])
    assert set(batch.region_ids[0].tolist()) & set(batch.region_ids[1].tolist()) - {-1}
    same_frame = replace(source, cross_frame=False)
    with pytest.raises(ConfigError, match="at least 2 views"):
        CachedBatches([same_frame], 1, CONFIG.sampling, 0)
    lonely = CachedSource(
        cache=quarters_cache(quarters, tmp_path / "one", views=1), held_out_every=6
    )
    with pytest.raises(ConfigError, match="at least 2 views"):
        CachedBatches([lonely], 1, CONFIG.sampling, 0)
