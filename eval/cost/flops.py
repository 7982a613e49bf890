"""Floating-point operations of the methods, as torch's counter sees them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ren_core.encoders.base import PatchEncoder
from ren_core.sam2.model import image_predictor

GIGA = 1e9
FLOP_SIDE = 32  # prompts per side for which operations are given
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, kw_only=True, slots=True)
class FlopCount:
    """Operations for one image; a multiplication and the addition to its sum are two.

    Products of matrices and convolutions are counted, nothing else.

    Attributes:
        method: Its name.
        per_side: Prompts per side of the image.
        encoder_gflop: Of the image encoder.
        prompts_gflop: Of all that depends on the prompts.
    """

    method: str
    per_side: int
    encoder_gflop: float
    prompts_gflop: float

    @property
    def gflop(self) -> float:
        """Image encoder and prompts."""
        return self.encoder_gflop + self.prompts_gflop


def gflop(call: Callable[[], object]) -> float:
    """Operations of a call, in 1e9; attention runs as plain products, which the counter knows."""
    with (
        torch.inference_mode(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        call()
    return float(counter.get_total_flops()) / GIGA


def without_data(network: Module) -> Module:
    """A copy of a network on the meta device: shapes only, so that a call takes no time."""
    return copy.deepcopy(network).to("meta")


def ren_flops(
    name: str, encoder: PatchEncoder, prepare: Callable[[int], Callable[[], int]], side: int
) -> FlopCount:
    """Operations of REN; the patch encoder is counted separately, as for time.

    Args:
        name: Of the method.
        encoder: The patch encoder; it is copied without its weights.
        prepare: Takes prompts per side, gives the call to count.
        side: Prompts per side.
    """
    shapes, pixels = without_data(encoder), encoder.spec.input_size
    image = torch.empty(1, 3, pixels, pixels, device="meta")
    patches, prompts = gflop(lambda: shapes(image)), gflop(prepare(side))
    return FlopCount(method=name, per_side=side, encoder_gflop=patches, prompts_gflop=prompts)


def sam2_flops(name: str, network: nn.Module, picture: NDArray[np.uint8], side: int) -> FlopCount:
    """Operations of SAM 2's automatic mask generator, with SAM 2's own image predictor.

    Args:
        name: Of the network.
        network: A ``SAM2Base``; it is copied without its weights.
        picture: (H, W, 3).
        side: Prompts per side; how many pass through together does not change the count.
    """
    predictor = image_predictor(without_data(network))
    encoder = gflop(lambda: predictor.set_image(picture))
    points = torch.zeros(side**2, 1, 2, device="meta")
    labels = torch.ones(side**2, 1, dtype=torch.int, device="meta")
    prompts = gflop(lambda: predictor._predict(points, labels, multimask_output=True))
    return FlopCount(method=name, per_side=side, encoder_gflop=encoder, prompts_gflop=prompts)
