from __future__ import annotations

from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F

from ren_core import REN, RegionTokens
from ren_core.aggregation import aggregate
from ren_core.checkpoints import read_config, save_region_encoder
from ren_core.errors import ConfigError, DataError, ShapeError
from ren_core.model import head_path
from ren_core.presets import RENConfig, ren_preset
from ren_core.prompts import grid_prompts
from ren_core.region_encoder import RegionEncoder
from tests.tiny import SPEC, TinyEncoder, tiny_ren


@pytest.fixture
def images():
    return torch.randint(
        0, 256, (2, 3, 40, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
    )


def test_one_result_per_image_whatever_the_form(images):
    ren = tiny_ren()
    from_bytes = ren.encode(images)
    from_floats = ren.encode(list(images.float() / 255))
    assert [type(r) for r in from_bytes] == [RegionTokens] * 2
    for a, b in zip(from_bytes, from_floats, strict=True):
        torch.testing.assert_close(a.tokens, b.tokens)
        assert a.size_hw == (40, 70)
        assert a.points_yx.shape == (len(a), 2)
        assert (a.points_yx < torch.tensor([40, 70])).all()
    alone = ren.encode(images[1:])[0]
    torch.testing.assert_close(alone.tokens, from_bytes[1].tokens, rtol=1e-4, atol=1e-4)


def test_encoder_and_head_are_compiled_whole(images, monkeypatch):
    """Each as one graph; a GPU's code is not made here, only what it would be made of."""
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph

    make = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f: make(f, backend=count, fullgraph=True))
    plain = tiny_ren(aggregate=False)
    compiled = REN(TinyEncoder(), tiny_ren().head, plain.config, compiled=True)
    assert "compiled" in str(compiled.compute)
    for one, other in zip(compiled.encode(images), plain.encode(images), strict=True):
        torch.testing.assert_close(one.tokens, other.tokens)
    assert len(graphs) == 2


def test_regions_are_the_aggregation_of_the_prompts_tokens(images):
    ren = tiny_ren(merge_similarity=0.9, min_group=2)
    every = ren.encode(images, aggregated=False)[0]
    merged = ren.encode(images)[0]
    groups = aggregate(every.tokens, every.prompts.points_yx, 0.9, 2)
    torch.testing.assert_close(merged.tokens, groups.tokens)
    assert merged.group_index.tolist() == groups.group_index.tolist()
    torch.testing.assert_close(
        merged.aligned_tokens, groups.pool(ren.head.align(every.tokens).detach())
    )
    assert int(merged.counts.sum()) == int((merged.group_index >= 0).sum())


@pytest.mark.parametrize("prompting", ["grid", "slic"])
def test_regions_cover_every_pixel_once_if_asked(images, prompting):
    regions = tiny_ren(prompting=prompting, merge_similarity=0.9, min_group=3).encode(images)[0]
    labels = regions.labels(cover=True)
    assert labels.shape == (SPEC.input_size, SPEC.input_size)
    assert labels.min() == 0
    assert labels.max() == len(regions) - 1
    bare = regions.labels()
    assert (labels[bare >= 0] == bare[bare >= 0]).all()


def test_given_points_get_one_token_each(images):
    ren = tiny_ren()
    points = torch.tensor([[0, 0], [39, 69], [20, 35]])
    first, second = ren.encode(images, prompts=points)
    assert len(first) == len(second) == 3
    assert (first.points_yx - (points + 0.5)).abs().max() <= 1.0
    each = ren.encode(images, prompts=[points[:1], points[1:]])
    assert [len(r) for r in each] == [1, 2]
    torch.testing.assert_close(each[1].tokens, second.tokens[1:], rtol=1e-4, atol=1e-4)
    merged = ren.encode(images, prompts=points, aggregated=True)[0]
    assert len(merged) <= 3
    with pytest.raises(ShapeError, match="single points"):
        first.labels()


def test_odd_images_have_defined_results():
    ren = tiny_ren()
    for image in (torch.zeros(1, 3, 1, 1), torch.full((1, 1, 9, 5), 0.5), torch.ones(1, 3, 2, 300)):
        regions = ren.encode(image)[0]
        assert torch.isfinite(regions.tokens).all()
        assert len(regions) >= 1
    one = ren.encode(torch.zeros(1, 3, 1, 1), prompts=torch.tensor([[0, 0]]))[0]
    assert len(one) == 1


@pytest.mark.parametrize(
    ("images", "prompts", "message"),
    [
        (torch.zeros(1, 3, 0, 5), None, "empty"),
        (torch.full((1, 3, 4, 4), float("nan")), None, "NaN"),
        (torch.full((1, 3, 4, 4), 200.0), None, "divide by 255"),
        (torch.zeros(1, 3, 4, 4), torch.tensor([[4, 0]]), "outside the image of 4x4"),
        (torch.zeros(1, 3, 4, 4), torch.zeros((0, 2)), "N >= 1"),
        (torch.zeros(1, 3, 4, 4), [torch.tensor([[1, 1]])] * 2, "prompts for 2 images"),
    ],
)
def test_bad_input_is_one_clear_sentence(images, prompts, message):
    with pytest.raises(ShapeError, match=message):
        tiny_ren().encode(images, prompts)


def test_attention_is_a_distribution_over_patches(images):
    maps = tiny_ren().attention_maps(images[0], torch.tensor([[5, 5], [30, 60]]))
    assert maps.shape == (2, SPEC.grid, SPEC.grid)
    torch.testing.assert_close(maps.sum(dim=(1, 2)), torch.ones(2))


def test_half_precision_is_autocast_not_conversion(images):
    exact = tiny_ren().encode(images, aggregated=False)[0].tokens
    ren = tiny_ren()
    half = REN(ren.encoder, ren.head, ren.config, dtype=torch.bfloat16)
    tokens = half.encode(images, aggregated=False)[0].tokens
    assert tokens.dtype == torch.float32
    assert next(half.head.parameters()).dtype == torch.float32
    assert float(torch.cosine_similarity(tokens, exact).min()) > 0.9


def test_the_fingerprint_knows_weights_and_size():
    ren = tiny_ren()
    first = ren.fingerprint
    assert tiny_ren().fingerprint == first
    other = tiny_ren()
    with torch.no_grad():
        other.head.out_proj.bias[0] += 1
    assert other.fingerprint != first


def test_wrong_pairs_and_names_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="16-wide features, the head needs 32"):
        REN(TinyEncoder(), RegionEncoder(32), RENConfig(encoder="tiny", head="tiny"))
    with pytest.raises(ConfigError, match="no REN is called 'dinov9'"):
        REN.from_pretrained("dinov9")
    with pytest.raises(ConfigError, match="unknown setting 'grid'"):
        REN.from_pretrained("embedded", grid=3)
    with pytest.raises(ConfigError, match="prompting must be"):
        RENConfig(encoder="tiny", head="tiny", prompting="sam")
    path = tmp_path / "wide.pth"
    torch.save({"region_encoder_state": RegionEncoder(24, num_heads=4).state_dict()}, path)
    with pytest.raises(DataError, match="24 wide, the official heads are"):
        REN.from_pretrained(path)
    own = tmp_path / "own.safetensors"
    save_region_encoder(own, RegionEncoder(24, num_heads=4), {"grid_size": 3})
    with pytest.raises(DataError, match="which encoder it belongs to"):
        REN.from_pretrained(own)


def test_the_head_that_ships_fits_its_encoder():
    path = head_path(ren_preset("embedded").head)
    assert path.stat().st_size <= 25 * 10**6


def test_the_head_that_ships_says_what_its_preset_says():
    own = ren_preset("embedded")
    said = read_config(head_path(own.head))
    for field in fields(own):
        if field.name != "head":
            assert said[field.name] == getattr(own, field.name), field.name


def test_patches_and_prompts_at_model_resolution(images):
    ren = tiny_ren()
    prompts = grid_prompts(ren.image_size, SPEC.grid, "patch")
    (regions, _) = ren.encode(images, prompts, patches=True)
    assert not regions.is_merged
    features = ren.patch_features(images).features[0]
    expected = F.normalize(features.flatten(1).T, dim=-1)
    torch.testing.assert_close(regions.prompt_patches, expected)
    assert ren.encode(images)[0].prompt_patches is None


def test_values_of_prompts_are_pooled_over_regions(images):
    merged = tiny_ren(merge_similarity=0.9, min_group=2).encode(images, patches=True)[0]
    assert merged.is_merged
    torch.testing.assert_close(merged.pool(merged.prompt_tokens), merged.tokens)
    alone = tiny_ren(aggregate=False).encode(images)[0]
    assert alone.pool(alone.prompt_tokens) is alone.prompt_tokens
