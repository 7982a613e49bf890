"""What shall compute the networks of a worker, said before its machine is known."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ren_core.command import check_device
from ren_core.engine.choice import Compute, EngineName, choose_compute


@dataclass(frozen=True, slots=True)
class ComputeWish:
    """What a user asked for; None leaves it to the machine.

    Attributes:
        engine: What runs the networks.
        device: Of torch.
        dtype: The name of a type of torch.
        suits_openvino: Whether the networks are known to gain from OpenVINO.
        compiled: Whether torch shall compile encoder and head.
    """

    engine: EngineName | None = None
    device: str | None = None
    dtype: str | None = None
    suits_openvino: bool = False
    compiled: bool = False

    def fulfilled(self) -> Compute:
        """What this machine takes for it.

        Raises:
            ConfigError: If it cannot be had here.
        """
        check_device(self.device)
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = None if self.dtype is None else getattr(torch, self.dtype)
        return choose_compute(
            self.engine, device, dtype, suits_openvino=self.suits_openvino, compiled=self.compiled
        )
