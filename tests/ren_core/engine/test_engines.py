"""Compiled networks give what torch and onnxruntime give, at any batch size."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn import functional as F

from ren_core.engine.choice import Compute, has_bfloat16
from ren_core.engine.onnx_file import OnnxNetwork
from ren_core.images import to_tensor
from ren_core.mask_model import MaskModel
from ren_core.mask_prompts import MaskPrompt
from ren_core.model import REN
from tests.mask_cases import tiny_head
from tests.segmentation_sets import example_image
from tests.tiny import TinyEncoder, tiny_ren

pytest.importorskip("openvino")
pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def pair():
    """The same tiny model in torch and in OpenVINO."""
    torch_ren = tiny_ren(aggregate=False)
    return torch_ren, REN(torch_ren.encoder, tiny_ren().head, torch_ren.config, engine="openvino")


def images(count, seed=0):
    return torch.rand((count, 3, 40, 70), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_tokens_and_patches_are_those_of_torch(pair, count):
    by_torch, compiled = (ren.encode(images(count), patches=True) for ren in pair)
    for one, other in zip(by_torch, compiled, strict=True):
        torch.testing.assert_close(other.tokens, one.tokens, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other.prompt_patches, one.prompt_patches, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("prompts", [1, 9, 700])
def test_any_number_of_prompts(pair, prompts):
    points = torch.randint(0, 40, (prompts, 2), generator=torch.Generator().manual_seed(1))
    one, other = (ren.encode(images(2), points)[1].tokens for ren in pair)
    torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)


def test_bytes_are_resized_as_bytes_within_a_grey_level(pair):
    image = to_tensor(example_image()[0])
    squares = [ren._square([image]) for ren in pair]
    assert squares[0].shape == squares[1].shape
    apart = (squares[0] - squares[1]).abs() * 255
    assert 0 < float(apart.max()) <= 1.0
    assert float((squares[1] * 255 - (squares[1] * 255).round()).abs().max()) < 1e-4


def test_batches_of_any_size_give_the_same(pair):
    _, compiled = pair
    whole = compiled.encode(images(5))
    try:
        compiled.max_batch = 2
        parts = compiled.encode(images(5))
        features = compiled.patch_features(images(5)).features
    finally:
        compiled.max_batch = None
    assert len(parts) == len(features) == 5
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(other.tokens, one.tokens, atol=1e-5, rtol=1e-5)


def test_bfloat16_is_close(pair):
    if not has_bfloat16():
        pytest.skip("this processor has no bfloat16 instructions")
    plain, _ = pair
    rounded = REN(
        plain.encoder, tiny_ren().head, plain.config, engine="openvino", dtype=torch.bfloat16
    )
    one, other = plain.encode(images(2))[0].tokens, rounded.encode(images(2))[0].tokens
    assert not torch.equal(one, other)
    assert float(F.cosine_similarity(one, other).min()) > 0.99


@pytest.mark.parametrize("count", [1, 3])
def test_masks_are_those_of_torch(count):
    encoder = TinyEncoder()
    head = tiny_head(encoder.level_widths)
    by_torch, compiled = (MaskModel(encoder, head, Compute(e)) for e in ("torch", "openvino"))
    pictures = [example_image()[0]] * count
    prompts = [
        MaskPrompt(np.array([5, 5, 30 + 9 * i, 40], np.float32), np.array([[20.0, 20.0]]))
        for i in range(count)
    ]
    both = zip(by_torch.draw(pictures, prompts), compiled.draw(pictures, prompts), strict=True)
    for one, other in both:
        np.testing.assert_allclose(other.logits, one.logits, atol=1e-3)
        np.testing.assert_allclose(other.expected_iou, one.expected_iou, atol=1e-4)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """One 3 x 3 convolution, with two outputs and a fixed size."""
    weights = np.random.default_rng(0).normal(size=(1, 3, 3, 3)).astype(np.float32)
    shape = [1, None, 8, 8]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "weights"], ["map"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["map"], ["other"]),
        ],
        "convolution",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("map", "other")],
        [helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.ravel())],
    )
    path = tmp_path_factory.mktemp("onnx") / "convolution.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path, weights


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 20)])
def test_an_onnx_file_takes_any_batch_and_size(onnx_file, engine, shape):
    path, weights = onnx_file
    batch, height, width = shape
    image = np.random.default_rng(1).normal(size=(batch, 3, height, width)).astype(np.float32)
    expected = F.conv2d(torch.from_numpy(image), torch.from_numpy(weights), padding=1)
    found = OnnxNetwork(path, engine)(image)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
