"""A small saliency network (U²-Net-P, onnxruntime): which pixels of a crop are its main object."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ren_core import weights
from ren_core.encoders.base import IMAGENET_MEAN, IMAGENET_STD
from ren_core.images import Image

SIDE = 320  # px: the network's own input; others work too, being faster and coarser


class Saliency:
    """Saliency maps of RGB crops; the network is loaded once."""

    def __init__(self, model: Path | None = None, *, threads: int = 0) -> None:
        """Load the network.

        Args:
            model: The ONNX file; None: the fetched ``u2netp``.
            threads: CPU threads; 0: as many as there are cores.

        Raises:
            DataError: If the file was not fetched.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            _any_size(model or weights.path("u2netp")), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image: Image, side: int = SIDE) -> NDArray[np.float32]:
        """Saliency (H, W) float32 in 0..1 of an image (H, W, 3), stretched to that range.

        Args:
            image: RGB crop.
            side: Pixels of the square that the network sees.
        """
        H, W = image.shape[:2]
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
        small /= max(float(small.max()), 1.0)
        normal = (small - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
        batch = np.ascontiguousarray(normal.transpose(2, 0, 1)[None], np.float32)
        raw = self._session.run(None, {self._input: batch})[0][0, 0]
        low, high = float(raw.min()), float(raw.max())
        scaled = (raw - low) / max(high - low, 1e-6)
        resized: NDArray[np.float32] = cv2.resize(scaled, (W, H), interpolation=cv2.INTER_LINEAR)
        return resized.clip(0, 1)


def _any_size(file: Path) -> bytes:
    """The network with a free input size and its first output only."""
    model = onnx.load(str(file))
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis, name in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.output[1:]
    content: bytes = model.SerializeToString()
    return content
