"""Networks of ONNX files, run by OpenVINO or by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from ren_core.engine.choice import EngineName, core
from ren_core.engine.compiled import compile_here

Floats = NDArray[np.float32]
Runner = Callable[[Floats], Floats]


class OnnxNetwork:
    """A network of an ONNX file with one input, at any batch size, height and width.

    It is computed in float32, whatever the precision of the others: bfloat16 moves the outlines of
    the one network that comes as a file (U²-Net-P) to an IoU of .81 with those of float32.
    """

    def __init__(self, file: Path, engine: EngineName) -> None:
        """Load it; for torch, onnxruntime stands in."""
        self._run = _RUNNERS[engine](_any_size(file))

    def __call__(self, images: Floats) -> Floats:
        """The first output of images (B, 3, H, W)."""
        return self._run(images)


def _compiled_onnx(content: bytes) -> Runner:
    compiled = compile_here(core().read_model(content, b""), torch.float32)

    def run(images: Floats) -> Floats:
        output: Floats = compiled([images], share_inputs=True)[0]
        return output

    return run


def _onnxruntime(content: bytes) -> Runner:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(images: Floats) -> Floats:
        output: Floats = session.run(None, {name: images})[0]
        return output

    return run


_RUNNERS: dict[EngineName, Callable[[bytes], Runner]] = {
    "torch": _onnxruntime,
    "openvino": _compiled_onnx,
}


def _any_size(file: Path) -> bytes:
    """The network with a free batch and input size, and its first output only."""
    model = onnx.load(str(file))
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.output[1:]
    content: bytes = model.SerializeToString()
    return content
