"""Between the host and a device; on the way to a GPU and back nothing waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from ren_core.images import Image


def loaded(picture: Image, device: torch.device) -> Tensor:
    """A picture (H, W, 3) as a tensor (3, H, W) on the host.

    For a GPU it lies in pinned memory, which the GPU reads while the program goes on.
    """
    pixels = torch.empty(picture.shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    pixels.numpy()[...] = picture
    return pixels.permute(2, 0, 1)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; a GPU copies it when its turn comes."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def fetched(tensors: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
    """Begin to copy tensors to the host; what it gives waits for the copies, and gives them.

    A GPU copies them beside what it is asked to compute next.
    """
    device = tensors[0].device
    if device.type != "cuda":
        copies = [tensor.cpu() for tensor in tensors]
        return lambda: copies
    beside, computing = _beside(device), torch.cuda.current_stream(device)
    beside.wait_stream(computing)
    with torch.cuda.stream(beside):
        copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        done = beside.record_event()

    def take() -> list[Tensor]:
        done.synchronize()
        _ = tensors  # held until here: their memory must not be given away before it was copied
        return copies

    return take


@cache
def _beside(device: torch.device) -> torch.cuda.Stream:
    """The stream of copies to the host."""
    return torch.cuda.Stream(device)
