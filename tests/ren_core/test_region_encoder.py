"""The cross-attention head, against the released module."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ren_core.errors import ConfigError, ShapeError
from ren_core.fourier import FourierPosition
from ren_core.region_encoder import RegionEncoder

D, R = 32, 28


@pytest.fixture
def head():
    torch.manual_seed(0)
    return RegionEncoder(D, num_heads=4, num_layers=3).eval()


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn((2, D, 4, 5), generator=generator)
    points = torch.randint(0, R, (2, 11, 2), generator=generator)
    return features, points


@pytest.mark.data
def test_agrees_with_the_released_module(shared):
    path = shared / "conformance/ren/tiny_a.safetensors"
    reference = load_file(path)
    with safe_open(path, "pt") as file:
        facts = {k: int(v) for k, v in file.metadata().items()}
    head = RegionEncoder(facts["hidden_dim"], facts["num_heads"], facts["num_layers"]).eval()
    head.load_state_dict({k[6:]: v for k, v in reference.items() if k.startswith("state.")})

    with torch.no_grad():
        plain = head(reference["feature_maps"], reference["points_yx"], facts["image_size"])
        full = head(
            reference["feature_maps"],
            reference["points_yx"],
            facts["image_size"],
            with_attention=True,
        )
    for output in (plain, full):
        torch.testing.assert_close(output.ren_tokens, reference["ren_tokens"], rtol=0, atol=1e-4)
        torch.testing.assert_close(
            output.aligned_tokens, reference["aligned_tokens"], rtol=0, atol=1e-4
        )
    for i, logits in enumerate(full.attention_logits):
        torch.testing.assert_close(logits, reference[f"attention_logits.{i}"], rtol=0, atol=1e-4)
    assert len(full.attention_logits) == facts["num_layers"]
    assert plain.attention_logits == ()


@pytest.mark.parametrize(
    ("dim", "parameters", "second_row", "total"),
    [
        (768, 20_098_560, (0.666374, -0.074265), 27.414545),
        (1024, 35_710_976, (-1.363770, 0.192958), 8.981973),
        (1408, 67_485_440, (0.322029, 0.446057), 22.504884),
    ],
)
def test_official_sizes_and_position_matrix(dim, parameters, second_row, total):
    with torch.device("meta"):
        head = RegionEncoder(dim)
    assert sum(p.numel() for p in head.parameters()) == parameters
    matrix = FourierPosition(dim).frequencies
    assert matrix[0, :2].tolist() == pytest.approx([1.926915, 1.487284], abs=1e-6)
    assert matrix[1, :2].tolist() == pytest.approx(second_row, abs=1e-6)
    assert float(matrix.sum()) == pytest.approx(total, abs=1e-3)
    assert "position.frequencies" not in head.state_dict()


def test_a_patch_and_the_pixel_at_its_centre_have_the_same_position():
    position = FourierPosition(16)
    grid = position.of_grid(3, 5).unflatten(0, (3, 5))
    points = position.of_points(torch.tensor([[7, 7]]), 15)  # centre of the middle cell
    torch.testing.assert_close(grid[1, 2], points[0])


@pytest.mark.parametrize("chunk", [1, 4, 11, 100])
def test_chunks_of_prompts_do_not_change_the_tokens(head, case, chunk):
    whole = head(*case, R)
    head.prompt_chunk = chunk
    chunked = head(*case, R, with_attention=True)
    torch.testing.assert_close(chunked.ren_tokens, whole.ren_tokens, rtol=1e-5, atol=1e-6)
    assert chunked.attention_logits[0].shape == (2, 4, 11, 20)


def test_prompts_and_images_are_independent(head, case):
    features, points = case
    tokens = head(features, points, R).ren_tokens
    order = torch.randperm(11, generator=torch.Generator().manual_seed(2))
    shuffled = head(features, points[:, order], R).ren_tokens
    torch.testing.assert_close(shuffled, tokens[:, order], rtol=1e-5, atol=1e-6)
    alone = head(features[1:], points[1:], R).ren_tokens
    torch.testing.assert_close(alone, tokens[1:], rtol=1e-5, atol=1e-6)


def test_gradients_reach_all_but_the_unused_value_projection(head, case):
    output = head.train()(*case, R)
    (output.ren_tokens.square().sum() + output.aligned_tokens.square().sum()).backward()
    without = [name for name, p in head.named_parameters() if p.grad is None]
    assert without == [
        f"region_attention_layers.2.cross_attn.v_proj.{n}" for n in ("weight", "bias")
    ]


def test_dropout_acts_in_training_only(head, case):
    torch.manual_seed(0)
    first = head.train()(*case, R).ren_tokens
    assert not torch.equal(first, head(*case, R).ren_tokens)
    assert torch.equal(head.eval()(*case, R).ren_tokens, head(*case, R).ren_tokens)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_aligned_tokens_may_be_read_after_the_mode_has_ended(head, case, mode):
    with mode():
        output = head(*case, R)
        expected = head.out_proj(head.out_norm(output.ren_tokens))
    assert not output.aligned_tokens.requires_grad
    torch.testing.assert_close(output.aligned_tokens, expected)


def test_half_precision_autocast_keeps_positions_exact(head, case):
    with torch.autocast("cpu", torch.bfloat16):
        position = head.position.of_points(case[1], R)
        tokens = head(*case, R).ren_tokens
    torch.testing.assert_close(position, head.position.of_points(case[1], R), rtol=0, atol=0)
    cosine = torch.cosine_similarity(tokens.float(), head(*case, R).ren_tokens, dim=-1)
    assert float(cosine.detach().min()) > 0.99


def test_zero_prompts_give_zero_tokens(head, case):
    assert head(case[0], case[1][:, :0], R).ren_tokens.shape == (2, 0, D)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, p: (f[0], p), "features must be"),
        (lambda f, p: (f[:, :8], p), "features must be"),
        (lambda f, p: (f, p[:1]), "points_yx must be"),
        (lambda f, p: (f, p.float()), "integer pixels"),
        (lambda f, p: (f, p + R), "must lie in 0..27"),
        (lambda f, p: (f, p - R), "must lie in 0..27"),
    ],
)
def test_misfits_are_refused(head, case, change, message):
    with pytest.raises(ShapeError, match=message):
        head(*change(*case), R)


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match="dim=30"):
        RegionEncoder(30, num_heads=8)
    with pytest.raises(ConfigError, match="even width"):
        FourierPosition(7)
