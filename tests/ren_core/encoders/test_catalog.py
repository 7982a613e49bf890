"""Every encoder of the catalogue keeps the same contract."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ren_core.encoders import timm_vit
from ren_core.encoders.base import normalise, squash
from ren_core.encoders.catalog import EMBEDDED, NAMES, OPENCLIP, TIMM, build_encoder, read_state
from ren_core.errors import ConfigError, DataError

SMALL = {
    "dino-vitb8": {"depth": 2, "embed_dim": 48, "num_heads": 3},
    "dinov2-vits14": {"depth": 2, "embed_dim": 48, "num_heads": 3},
    "dinov2-vitb14": {"depth": 2, "embed_dim": 48, "num_heads": 3},
    "dinov2-vitl14": {"depth": 2, "embed_dim": 64, "num_heads": 2},
    "dinov3-vitl16": {"depth": 2, "embed_dim": 128, "num_heads": 2},
    "openclip-vitg14": {"layers": 2, "width": 176, "head_width": 88},
    "embedded": {},
}
SIZES = {"openclip-vitg14": None, "dino-vitb8": 32, "dinov3-vitl16": 64}
"""Input sizes of the contract test; 56 px where nothing is said, None keeps the encoder's own."""


def small(name, **changes):
    settings = {"input_size": SIZES.get(name, 56), "options": SMALL[name], **changes}
    return build_encoder(name, pretrained=False, **settings)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 40, 72, generator=generator)


@pytest.mark.parametrize("name", NAMES)
def test_contract(name, images):
    encoder = small(name)
    spec = encoder.spec
    found = encoder(images)
    assert found.spec is spec
    assert found.features.shape == (2, spec.dim, spec.grid, spec.grid)
    assert found.features.isfinite().all()
    assert not found.features.requires_grad
    assert not any(p.requires_grad for p in encoder.parameters())
    assert found.tokens.shape == (2, spec.grid**2, spec.dim)
    assert torch.equal(found.tokens[1, spec.grid + 2], found.features[1, :, 1, 2])


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_its_batch(name, images):
    encoder = small(name)
    alone = torch.cat([encoder(image[None]).features for image in images])
    torch.testing.assert_close(encoder(images).features, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["dinov2-vits14", "embedded"])
def test_training_mode_of_the_surrounding_model_does_not_reach_it(name, images):
    encoder = small(name)
    before = encoder(images).features
    torch.nn.Sequential(encoder).train()
    assert not any(module.training for module in encoder.modules())
    assert torch.equal(encoder(images).features, before)


def test_features_can_be_trained_on(images):
    features = small("dinov2-vits14")(images).features
    scale = torch.ones((), requires_grad=True)
    (features * scale).sum().backward()
    assert scale.grad is not None


def test_seed_decides_random_weights_and_leaves_the_global_generator_alone(images):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again, other = (small("dinov2-vits14", seed=s)(images).features for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in OPENCLIP])
def test_another_input_size(name, images):
    patch = (TIMM[name].spec if name in TIMM else EMBEDDED).patch_size
    encoder = small(name, input_size=3 * patch)
    assert encoder(images).features.shape[-2:] == (3, 3)


def test_openclip_refuses_another_input_size():
    with pytest.raises(ConfigError, match="224 px only"):
        small("openclip-vitg14", input_size=28)


def test_dtype_is_that_of_the_parameters(images):
    encoder = small("dinov2-vits14").to(torch.float64)
    assert encoder(images).features.dtype == torch.float64


def test_facts_of_the_release():
    facts = {
        "dino-vitb8": (384, 8, 48, 768),
        "dinov2-vitl14": (518, 14, 37, 1024),
        "dinov3-vitl16": (512, 16, 32, 1024),
        "openclip-vitg14": (224, 14, 16, 1408),
    }
    for name, (size, patch, grid, dim) in facts.items():
        spec = (TIMM | OPENCLIP)[name].spec
        assert (spec.input_size, spec.patch_size, spec.grid, spec.dim) == (size, patch, grid, dim)
    assert OPENCLIP["openclip-vitg14"].spec.mean[0] == pytest.approx(0.48145466)
    assert TIMM["dino-vitb8"].spec.mean[0] == 0.485


def test_unknown_name_lists_the_names():
    with pytest.raises(ConfigError, match=r"'dino'.*dino-vitb8.*embedded"):
        build_encoder("dino")


def test_options_need_random_weights():
    with pytest.raises(ConfigError, match="pretrained=False"):
        build_encoder("dinov2-vits14", options={"depth": 2})


def test_input_size_must_fit_the_patches():
    with pytest.raises(ConfigError, match=r"multiple of its patch size 14, got 500"):
        EMBEDDED.resized(500)


def test_prefix_tokens_are_not_patches(images):
    encoder = small("dinov3-vitl16")
    everything = encoder.network.forward_features(
        normalise(squash(images, encoder.spec.input_size), encoder.spec)
    )
    assert everything.shape[1] == 5 + encoder.spec.grid**2  # class token and four registers
    assert torch.equal(encoder(images).tokens, everything[:, 5:])


def test_openclip_tokens_come_before_the_closing_norm(images):
    encoder = small("openclip-vitg14")
    before = encoder(images).features
    torch.nn.init.constant_(encoder.tower.ln_post.weight, 3.0)
    assert torch.equal(encoder(images).features, before)


def test_local_file_is_loaded_strictly_and_resampled(tmp_path):
    options = SMALL["dinov2-vits14"]
    donor = timm_vit.create_vit("vit_small_patch14_dinov2", 42, options)
    state = donor.state_dict() | {"mask_token": torch.zeros(1, 48)}
    save_file(state, tmp_path / "vit.safetensors")
    target = timm_vit.create_vit("vit_small_patch14_dinov2", 56, options)
    timm_vit.load_vit(target, load_file(tmp_path / "vit.safetensors"), grid=4)
    torch.testing.assert_close(target.blocks[1].mlp.fc1.weight, donor.blocks[1].mlp.fc1.weight)
    assert target.pos_embed.shape == (1, 17, 48)
    with pytest.raises(RuntimeError, match=r"norm\.bias"):
        timm_vit.load_vit(target, {n: t for n, t in state.items() if n != "norm.bias"}, grid=4)


def test_damaged_and_missing_files_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"vq2d fetch-weights dino-vitb8"):
        build_encoder("dino-vitb8", weights=tmp_path / "nothing.pth")
    torch.save({"w": Path("/tmp")}, tmp_path / "code.pth")  # an object, not only tensors
    with pytest.raises(DataError, match="not a readable weight file"):
        read_state("dino-vitb8", tmp_path / "code.pth")
    torch.save({"w": torch.ones(1)}, tmp_path / "good.pth")
    assert read_state("dino-vitb8", tmp_path / "good.pth")["w"] == 1
