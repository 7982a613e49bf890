"""Torch modules compiled by OpenVINO for the processor at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ren_core.engine.choice import core
from ren_core.engine.converted import converted

Network = Callable[..., Tensor]
"""From tensors to one tensor."""


class CompiledModule:
    """A torch module, converted and compiled when it is first called.

    A traced module keeps the sizes of its example: only the axes named here stay free.
    """

    def __init__(
        self, module: nn.Module, *, dtype: torch.dtype, free_axes: Sequence[Sequence[int]]
    ) -> None:
        """Prepare.

        Args:
            module: Takes tensors and gives one; its sizes do not depend on a tensor's values.
            dtype: float32 or bfloat16, in which matrix products and convolutions are computed.
            free_axes: Of each input, the axes whose size may differ from call to call.
        """
        self._module = module
        self._dtype = dtype
        self._free_axes = free_axes
        self._compiled: Any = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The module's output, float32."""
        if self._compiled is None:
            self._compiled = self._compile(inputs)
        (output,) = self._compiled([x.numpy() for x in inputs], share_inputs=True).to_tuple()
        return torch.from_numpy(output)

    def _compile(self, inputs: Sequence[Tensor]) -> Any:  # noqa: ANN401 - an openvino.CompiledModel
        model = converted(self._module, inputs)
        shapes = {}
        for port, example, free in zip(model.inputs, inputs, self._free_axes, strict=True):
            shapes[port] = [-1 if i in free else n for i, n in enumerate(example.shape)]
        model.reshape(shapes)
        return compile_here(model, self._dtype)


def compile_here(model: Any, dtype: torch.dtype) -> Any:  # noqa: ANN401 - OpenVINO's models
    """A model compiled for this processor, with torch's number of threads."""
    precision = {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype]
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # or two processes would wait for the same core
    }
    return core().compile_model(model, "CPU", options)
