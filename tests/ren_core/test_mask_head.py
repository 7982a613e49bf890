"""The mask head: shapes, what it depends on, files, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from ren_core.checkpoints import read_network
from ren_core.encoders.base import FeatureLevels
from ren_core.encoders.catalog import build_encoder
from ren_core.errors import DataError
from ren_core.mask_head import (
    MaskHead,
    MaskHeadShape,
    load_mask_head,
    read_mask_config,
    save_mask_head,
)
from tests.mask_cases import tiny_head

LEVELS = (16, 12, 8)


@pytest.fixture
def seen():
    g = torch.Generator().manual_seed(1)
    levels = FeatureLevels(
        *(torch.randn((3, c, 5 * 2**i, 5 * 2**i), generator=g) for i, c in enumerate(LEVELS))
    )
    maps, other = torch.rand((3, 4, 20, 20), generator=g), torch.randn((3, 17, 5, 5), generator=g)
    other[:, -1] = torch.rand((3, 5, 5), generator=g)
    return levels, maps, other


def run(head, levels, maps, reference):
    with torch.no_grad():
        return head(levels, maps, reference)


def test_three_masks_and_their_expected_ious_for_any_grid(seen):
    output = run(tiny_head(LEVELS), *seen)
    assert output.logits.shape == (3, 3, 20, 20)
    assert output.iou_logits.shape == (3, 3)


def test_prompts_of_a_batch_do_not_see_each_other(seen):
    head, (levels, maps, other) = tiny_head(LEVELS), seen
    whole = run(head, levels, maps, other)
    alone = FeatureLevels(levels.patches[1:2], levels.middle[1:2], levels.fine[1:2])
    one = run(head, alone, maps[1:2], other[1:2])
    torch.testing.assert_close(one.logits[0], whole.logits[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.iou_logits[0], whole.iou_logits[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", ["patches", "middle", "fine"])
def test_every_level_counts(seen, level):
    head, (levels, *prompt) = tiny_head(LEVELS), seen
    other = replace(levels, **{level: getattr(levels, level).flip(0)})
    assert not torch.allclose(run(head, levels, *prompt).logits, run(head, other, *prompt).logits)


@pytest.mark.parametrize("channel", range(4))
def test_every_map_of_the_prompt_counts(seen, channel):
    head, (levels, maps, reference) = tiny_head(LEVELS), seen
    other = maps.clone()
    other[:, channel] = 0
    assert not torch.allclose(run(head, *seen).logits, run(head, levels, other, reference).logits)


def test_the_other_picture_counts_where_there_is_one(seen):
    head, (levels, maps, reference) = tiny_head(LEVELS), seen
    none = reference.clone()
    none[:, -1] = 0  # nothing of it is the thing: there is none
    without = run(head, levels, maps, none).logits
    assert torch.equal(without, run(head, levels, maps, torch.zeros_like(none)).logits)
    assert not torch.allclose(without, run(head, *seen).logits)
    turned = reference.flip(2)
    torch.testing.assert_close(  # a set of patches: their places say nothing
        run(head, levels, maps, turned).logits, run(head, *seen).logits, rtol=1e-4, atol=1e-4
    )


def test_a_head_without_a_reference_looks_at_none(seen):
    head = MaskHead(MaskHeadShape(LEVELS, dim=32, heads=4, middle=16, fine=16)).eval()
    levels, maps, reference = seen
    assert torch.equal(
        run(head, *seen).logits, run(head, levels, maps, torch.zeros_like(reference)).logits
    )


def test_patches_like_the_thing_elsewhere_are_told_from_its_surroundings():
    head = tiny_head(LEVELS)
    thing, ground = torch.eye(16)[:2]
    patches = ground[None, :, None, None].repeat(1, 1, 5, 5)
    patches[0, :, 2, 3] = thing
    reference = torch.zeros(1, 17, 5, 5)
    reference[0, :16] = ground[:, None, None]
    reference[0, :16, 0, 0], reference[0, 16, 0, 0] = thing, 1
    given, inside, outside, mean_in, mean_out, _ = head._of_reference(patches, reference)
    assert (given == 1).all()
    for like, unlike in ((inside, outside), (mean_in, mean_out)):
        assert like[0, 0, 2, 3] == pytest.approx(1, abs=1e-3)
        assert unlike[0, 0, 2, 3] == pytest.approx(0, abs=2e-2)
        assert unlike[0, 0, 0, 0] == pytest.approx(1, abs=1e-3)


def test_the_shipped_shape_is_small():
    head = MaskHead(MaskHeadShape((384, 32, 24), reference=384))
    assert sum(p.numel() for p in head.parameters()) < 3e6


def test_a_file_holds_head_shape_and_what_is_said_of_it(seen, tmp_path):
    head, path = tiny_head(LEVELS), tmp_path / "head.safetensors"
    save_mask_head(path, head, {"encoder": "embedded"})
    loaded = load_mask_head(path, expected_levels=LEVELS)
    assert read_mask_config(path) == {"encoder": "embedded"}
    assert loaded.shape == head.shape
    torch.testing.assert_close(
        run(loaded, *seen).logits, run(head, *seen).logits, rtol=0, atol=2e-2
    )


def test_a_head_of_an_older_version_reads_no_other_picture(tmp_path):
    head = MaskHead(MaskHeadShape(LEVELS, dim=32, heads=4, middle=16, fine=16))
    save_mask_head(tmp_path / "new", head, {})
    state, metadata = read_network(tmp_path / "new")
    shape = json.loads(metadata["shape"])
    assert shape.pop("reference") == 0
    save_file(state, tmp_path / "old", {**metadata, "shape": json.dumps(shape)})
    assert load_mask_head(tmp_path / "old", expected_levels=LEVELS).shape.reference == 0


def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "head.safetensors"
    with pytest.raises(DataError, match="train one with"):
        load_mask_head(path, expected_levels=LEVELS)
    with pytest.raises(DataError, match="train one with"):
        read_mask_config(path)
    save_file({"x": torch.ones(1)}, path)
    with pytest.raises(DataError, match="no mask head"):
        load_mask_head(path, expected_levels=LEVELS)
    save_mask_head(path, tiny_head(LEVELS), {})
    with pytest.raises(DataError, match="channels"):
        load_mask_head(path, expected_levels=(17, 12, 8))
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="readable"):
        load_mask_head(path, expected_levels=LEVELS)


@pytest.mark.parametrize("name", ["embedded", "dinov2-vits14"])
def test_every_kind_of_encoder_gives_three_levels(name):
    size = 56
    encoder = build_encoder(name, pretrained=False, input_size=size, for_levels=True)
    image = torch.rand((1, 3, 30, 40), generator=torch.Generator().manual_seed(0))
    square = encoder.prepare(image)
    with torch.no_grad():
        levels = encoder.levels(square)
    grid = size // 14
    shapes = [tuple(level.shape[1:]) for level in (levels.patches, levels.middle, levels.fine)]
    widths = encoder.level_widths
    assert shapes == [(w, grid * 2**i, grid * 2**i) for i, w in enumerate(widths)]
    own = encoder.encode(square)
    assert torch.equal(levels.patches[:, : own.shape[1]], own)
