"""REN's regions pooled by other encoders: coverage on real images, masks, class-token attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from open_clip.transformer import VisionTransformer

from ren_core.encoders.base import EncoderSpec
from ren_core.encoders.catalog import build_encoder
from ren_core.encoders.openclip import OpenClipViT
from ren_core.encoders.siglip2 import Sizes, random_siglip2
from ren_core.encoders.timm_vit import TimmViT, create_vit
from ren_core.errors import ConfigError, ShapeError
from ren_core.images import read_image, to_tensor
from ren_core.regions import region_masks
from ren_core.transfer import ClassTokenPooler, TransferConfig, patch_regions, transfer_regions
from tests.tiny import TinyEncoder, tiny_ren

SMALL = {"depth": 3, "embed_dim": 48, "num_heads": 3}
SIGLIP = Sizes(width=48, depth=2, heads=3, text_width=32, text_heads=2)


@pytest.fixture(scope="module")
def siglip():
    return random_siglip2(seed=0, sizes=SIGLIP, input_size=64).vision


@pytest.fixture
def pictures(shared):
    folder = shared / "data" / "train" / "coco128_seg" / "images" / "train2017"
    return [to_tensor(read_image(file)) for file in sorted(folder.glob("*.jpg"))[:3]]


def vit(architecture, size, **options):
    torch.manual_seed(2)
    network = create_vit(architecture, size, {**SMALL, **options})
    patch = network.patch_embed.patch_size[0]
    spec = EncoderSpec(name="small", input_size=size, patch_size=patch, dim=48)
    return TimmViT(spec, network)


def lively(encoder):
    """Fresh weights barely attend; make attention uneven and its part of the output large."""
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(1)
            elif "attn" in name and name.endswith("weight"):
                parameter.mul_(8)
    return encoder


ENCODERS = {
    "dino": lambda: build_encoder("dino-vitb8", pretrained=False, input_size=32, options=SMALL),
    "dinov2": lambda: build_encoder(
        "dinov2-vits14", pretrained=False, input_size=56, options=SMALL
    ),
    "registers": lambda: vit("vit_small_patch14_reg4_dinov2", 56),
    "clip": lambda: vit("vit_base_patch16_clip_224", 64),
    "openclip": lambda: build_encoder(
        "openclip-vitg14", pretrained=False, options={"layers": 3, "width": 176}, seed=2
    ),
}


def whole_network(encoder):
    """The function from prepared images to image embeddings."""
    return encoder.tower if isinstance(encoder, OpenClipViT) else encoder.network


def entering_final_block(encoder, images):
    """Every token that enters the final block, that block, and what follows it."""
    if isinstance(encoder, OpenClipViT):
        tower = encoder.tower
        x = tower._embeds(encoder.prepare(images))
        *blocks, final = tower.transformer.resblocks
        for block in blocks:
            x = block(x)
        return x, 1, final, lambda token: tower.ln_post(token) @ tower.proj
    network = encoder.network
    x = network.norm_pre(network._pos_embed(network.patch_embed(encoder.prepare(images))))
    return network.blocks[:-1](x), network.num_prefix_tokens, network.blocks[-1], network.norm


@pytest.mark.data
@pytest.mark.parametrize("prompting", ["slic", "grid"])
def test_regions_of_real_images_cover_every_pixel_once(pictures, prompting):
    ren = tiny_ren(prompting=prompting, merge_similarity=0.98)
    dropped, counts = 0, []
    for regions in ren.encode(pictures):
        masks = region_masks(regions.labels(cover=True), len(regions))
        assert (masks.sum(axis=0) == 1).all()
        counts.append(len(masks))
        dropped += int((regions.group_index < 0).sum())
        held = patch_regions(
            regions.labels(cover=True), len(regions), 4, TransferConfig(vanished="drop")
        )
        assert (held.masks.sum(0) == 1).all()  # so do the patches
    assert dropped > 0  # otherwise nothing was attached
    assert max(counts) > 1


@pytest.mark.data
@pytest.mark.parametrize("patches", ["centre", "overlap"])
def test_tokens_of_real_images_are_those_of_each_regions_patches_alone(pictures, siglip, patches):
    ren, config = tiny_ren(merge_similarity=0.98, grid_size=6), TransferConfig(patches=patches)
    regions = ren.encode(pictures[:2]) + ren.encode(pictures[2:], aggregated=False)
    found = transfer_regions(pictures, regions, siglip, config)
    head = siglip.network.attn_pool
    assert [len(f.tokens) for f in found][2] == 36 > len(found[0].tokens)  # shorter are padded
    for picture, of_image, f in zip(pictures, regions, found, strict=True):
        features = siglip(picture[None] / 255)
        labels = of_image.labels(cover=True)
        held = patch_regions(labels, len(of_image), siglip.spec.grid, config)
        assert f.region_index.tolist() == list(range(len(of_image)))
        for token, mask in zip(f.tokens, held.masks, strict=True):
            alone = head(features.tokens[:, mask])[0]
            torch.testing.assert_close(token, alone, rtol=1e-3, atol=1e-4)
        whole = siglip.network(siglip.prepare(picture[None] / 255))[0]
        torch.testing.assert_close(f.image_token, whole, rtol=1e-3, atol=1e-4)


@pytest.mark.data
@pytest.mark.parametrize("name", ["registers", "openclip"])
def test_class_token_of_real_images(pictures, name):
    pooler = ClassTokenPooler(ENCODERS[name]())
    ren = tiny_ren(merge_similarity=0.98)
    found = transfer_regions(pictures, ren.encode(pictures), pooler)
    for picture, f in zip(pictures, found, strict=True):
        encoder = pooler.encoder
        expected = whole_network(encoder)(encoder.prepare(picture[None] / 255))[0]
        torch.testing.assert_close(f.image_token, expected, rtol=1e-3, atol=1e-4)
        assert f.tokens.isfinite().all()


def test_regions_on_patches_by_hand():
    labels = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 3, 3], [0, 0, 3, 3]], np.int32)
    # centres of the 2 x 2 patches are pixels (1, 1), (1, 3), (3, 1), (3, 3)
    expected = [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    default = patch_regions(labels, 4, 2, TransferConfig())
    assert default.masks.int().tolist() == expected  # region 2 takes the patch it overlaps
    assert default.region_index.tolist() == [0, 1, 2, 3]
    dropped = patch_regions(labels, 4, 2, TransferConfig(vanished="drop"))
    assert dropped.masks.int().tolist() == [expected[0], expected[1], expected[3]]
    assert dropped.region_index.tolist() == [0, 1, 3]
    shifted = np.roll(labels, 1, axis=1)
    touched = patch_regions(shifted, 4, 2, TransferConfig(patches="overlap"))
    expected = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1]]
    assert touched.masks.int().tolist() == expected


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.int32, (12, 12), elements=st.integers(0, 20)),
    st.sampled_from([1, 2, 5, 8, 12]),
    st.sampled_from(["centre", "overlap"]),
    st.sampled_from(["drop", "overlap"]),
)
def test_no_region_is_ever_empty(labels, grid, patches, vanished):
    config = TransferConfig(patches=patches, vanished=vanished)
    found = patch_regions(labels, 21, grid, config)
    assert found.masks.any(dim=1).all()
    assert len(found.masks) == len(found.region_index)
    present = np.unique(labels)
    assert set(found.region_index.tolist()) <= set(present.tolist())
    if "overlap" in (patches, vanished):
        assert found.region_index.tolist() == present.tolist()
    elif grid == 12:
        assert torch.equal(found.masks.sum(0), torch.ones(144, dtype=torch.int64))


@pytest.mark.parametrize("name", ENCODERS)
def test_class_token_with_a_full_mask_is_the_ordinary_output(name):
    encoder = lively(ENCODERS[name]())
    images = torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(0))
    full = torch.ones(2, 3, encoder.spec.grid**2, dtype=torch.bool)
    found = ClassTokenPooler(encoder).pool_regions(images, full)
    expected = whole_network(encoder)(encoder.prepare(images))
    assert found.shape == (2, 3, expected.shape[1])
    for region in range(3):
        torch.testing.assert_close(found[:, region], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_masked_class_token_sees_its_region_only(name):
    """The final block on the class token, registers and the region's patches alone defines it."""
    encoder = lively(ENCODERS[name]())
    images = torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(0))
    masks = torch.rand(2, 5, encoder.spec.grid**2, generator=torch.Generator().manual_seed(1)) < 0.4
    found = ClassTokenPooler(encoder).pool_regions(images, masks)
    with torch.no_grad():
        x, prefix, final, after = entering_final_block(encoder, images)
        for b in range(2):
            for r in range(5):
                kept = torch.cat([x[b, :prefix], x[b, prefix:][masks[b, r]]])
                alone = after(final(kept[None]))[0, 0]
                torch.testing.assert_close(found[b, r], alone, rtol=1e-4, atol=1e-5)
    assert (found[0, 0] - found[0, 1]).abs().max() > 0.05


def test_encoders_that_cannot_be_masked_are_refused(siglip):
    with pytest.raises(ConfigError, match="class token"):
        ClassTokenPooler(siglip)
    options = {"depth": 2, "embed_dim": 128, "num_heads": 2}
    dinov3 = build_encoder("dinov3-vitl16", pretrained=False, input_size=64, options=options)
    with pytest.raises(ConfigError, match="class token"):
        ClassTokenPooler(dinov3)
    averaging = VisionTransformer(28, 14, 32, 2, 2, 2.0, output_dim=8, pool_type="avg")
    spec = EncoderSpec(name="averaging", input_size=28, patch_size=14, dim=32)
    for encoder in (TinyEncoder(), OpenClipViT(spec, averaging)):
        sentence = f"{encoder.spec.name} does not pool by a class token; choose a DINO"
        with pytest.raises(ConfigError, match=sentence):
            ClassTokenPooler(encoder)
    pooler = ClassTokenPooler(ENCODERS["dino"]())
    with pytest.raises(ShapeError, match="empty"):
        pooler.pool_regions(torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 16, dtype=torch.bool))


def test_wrong_settings_and_bare_points_are_refused(siglip):
    with pytest.raises(ConfigError, match="'corner'"):
        TransferConfig(patches="corner")
    with pytest.raises(ConfigError, match="'keep'"):
        TransferConfig(vanished="keep")
    image = torch.rand(3, 40, 60)
    regions = tiny_ren().encode([image], torch.tensor([[5, 5]]))
    with pytest.raises(ShapeError, match="grid or SLIC"):
        transfer_regions([image], regions, siglip)
