"""Caches of encoded views: resuming, what they hold, what they are keyed by."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from ren_core.errors import ConfigError
from ren_core.training.feature_cache import CacheConfig, build_cache
from ren_core.training.sources import label_folder_source
from ren_core.training.views import ViewConfig
from tests.tiny import MeanColours
from tests.training_cases import SIZE, LiftedColours, quarters_cache, quarters_source


def test_cache_resumes_and_its_views_depend_on_their_number_only(quarters, tmp_path):
    cache = quarters_cache(quarters, tmp_path / "a")
    other = quarters_cache(quarters, tmp_path / "b")
    files = sorted(cache.directory.glob("*.safetensors"))
    assert len(files) == 6
    times = [file.stat().st_mtime_ns for file in files[:3]]
    for file in files[3:]:
        file.unlink()
    again = quarters_cache(quarters, tmp_path / "a")
    assert [file.stat().st_mtime_ns for file in files[:3]] == times
    for index in range(6):
        a, b = again.read(index, 2), other.read(index, 2)
        assert torch.equal(a.features, b.features)
        assert np.array_equal(a.labels, b.labels)
        assert np.array_equal(a.names, b.names)
    assert not torch.equal(again.read(0, 0).features, again.read(0, 1).features)
    assert quarters_cache(quarters, tmp_path / "a", seed=1).directory != cache.directory


def test_plain_first_view_and_half_precision(quarters, tmp_path):
    cache = quarters_cache(quarters, tmp_path, plain_first=True, views=1)
    picture = quarters_source(quarters).read(0).image
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    expected = LiftedColours()(image).features[0]
    assert torch.allclose(cache.read(0, 0).features.float(), expected, atol=0.1)
    config = CacheConfig(source="x", encoder="tiny", views=ViewConfig(size=SIZE))
    half = build_cache(
        quarters_source(quarters), LiftedColours(), config, out=tmp_path, dtype=torch.bfloat16
    )
    assert half.directory != cache.directory
    assert half.read(0, 0).features.dtype == torch.float16
    with pytest.raises(ConfigError, match="views_per_image"):
        CacheConfig(source="x", encoder="tiny", views=ViewConfig(size=SIZE), views_per_image=0)


CONFIG = CacheConfig(source="maps", encoder="means", views=ViewConfig(size=16), views_per_image=1)


def _write(root, value=128, label=1):
    for folder in ("im", "maps"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    labels = np.full((20, 20), label, np.uint8)
    labels[:, 10:] = 7
    for name in "ab":
        cv2.imwrite(str(root / f"im/{name}.png"), np.full((20, 20, 3), value, np.uint8))
        cv2.imwrite(str(root / f"maps/{name}.png"), labels)


def _build(root, out, **options):
    source = replace(label_folder_source(root / "im", root / "maps"), **options)
    return build_cache(source, MeanColours(), CONFIG, out=out)


@pytest.mark.parametrize("change", [{"value": 30}, {"label": 2}])
def test_a_second_folder_with_the_same_names_is_encoded(tmp_path, change):
    _write(tmp_path / "one")
    _write(tmp_path / "two", **change)
    one, two = (_build(tmp_path / name, tmp_path / "cache") for name in ("one", "two"))
    assert one.directory != two.directory
    first, second = one.read(0, 0), two.read(0, 0)
    if "value" in change:
        assert (first.features - second.features).abs().max() > 0.1
    else:
        assert first.names.tolist() == [1, 7]
        assert second.names.tolist() == [2, 7]


def test_a_moved_folder_keeps_its_cache_and_a_changed_file_does_not(tmp_path):
    _write(tmp_path / "one")
    before = _build(tmp_path / "one", tmp_path / "cache")
    (tmp_path / "one").rename(tmp_path / "moved")
    assert _build(tmp_path / "moved", tmp_path / "cache").directory == before.directory
    cv2.imwrite(str(tmp_path / "moved/im/b.png"), np.zeros((20, 20, 3), np.uint8))
    assert _build(tmp_path / "moved", tmp_path / "cache").directory != before.directory


@pytest.mark.parametrize("option", [{"nothing": (7,)}, {"min_pixels": 201}])
def test_settings_of_the_source_make_another_cache(tmp_path, option):
    _write(tmp_path)
    plain = _build(tmp_path, tmp_path / "cache")
    other = _build(tmp_path, tmp_path / "cache", **option)
    assert other.directory != plain.directory
    assert len(other.read(0, 0).names) < len(plain.read(0, 0).names)
