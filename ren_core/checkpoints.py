"""Region encoder files: the official ``checkpoint.pth`` and our own safetensors."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ren_core.errors import DataError
from ren_core.region_encoder import RegionEncoder
from ren_core.stages import atomic_path

FORMAT = "ren-region-encoder-1"


@dataclass(frozen=True, slots=True)
class HeadShape:
    """What a state dict says about the head it belongs to."""

    dim: int
    num_heads: int
    num_layers: int


def load_region_encoder(path: str | Path, *, expected_dim: int | None = None) -> RegionEncoder:
    """Read a head, in eval mode, float32, on the CPU.

    Args:
        path: An official ``checkpoint.pth`` or a file of ``save_region_encoder``.
        expected_dim: Width of the encoder that will feed the head; compared before loading.

    Raises:
        DataError: If the file is missing, holds pickled objects, or does not fit, in one sentence.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"no region encoder at {path}: give the path of an official checkpoint.pth or of a "
            f".safetensors file, or fetch one with `vq2d fetch-weights --list`"
        )
    state = _read_own(path)[0] if path.suffix == ".safetensors" else _read_official(path)
    shape = head_shape(state, path)
    if expected_dim is not None and shape.dim != expected_dim:
        raise DataError(
            f"the region encoder in {path} is {shape.dim} wide but the encoder gives "
            f"{expected_dim}-wide features: choose the pair that belongs together"
        )
    head = RegionEncoder(shape.dim, shape.num_heads, shape.num_layers)
    _check_state(state, head, path)
    head.load_state_dict(state, strict=True)
    return head.eval()


def read_config(path: Path) -> dict[str, object]:
    """The configuration stored in a file of ``save_region_encoder``."""
    return _read_own(path)[1]


def save_region_encoder(
    path: Path,
    head: RegionEncoder,
    config: Mapping[str, object],
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a head and its configuration (JSON types) as safetensors, atomically."""
    metadata = {"format": FORMAT, "config": json.dumps(dict(config), sort_keys=True)}
    write_network(path, head, metadata, dtype=dtype)


def write_network(
    path: Path, network: nn.Module, metadata: Mapping[str, str], *, dtype: torch.dtype
) -> None:
    """Write a network's tensors and what is said of them as safetensors, atomically."""
    state = {k: v.detach().to("cpu", dtype).contiguous() for k, v in network.state_dict().items()}
    with atomic_path(path) as tmp:
        save_file(state, tmp, metadata=dict(metadata))


def read_network(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, as float32, and what is said of them, of a file of ``write_network``.

    Raises:
        DataError: If it is no readable safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            return state, file.metadata() or {}
    except (SafetensorError, OSError) as err:
        raise DataError(f"{path} is no readable safetensors file; fetch it again ({err})") from err


def head_shape(state: Mapping[str, Tensor], path: Path) -> HeadShape:
    """Width, heads and blocks as the tensors tell them.

    Raises:
        DataError: If the tensors that tell them are missing or contradict each other.
    """
    projection = state.get("prompt_proj.weight")
    per_head = state.get("region_attention_layers.0.cross_attn.q_norm.weight")
    if projection is None or per_head is None or projection.ndim != 2 or per_head.ndim != 1:
        raise DataError(
            f"{path} holds no REN region encoder (prompt_proj.weight or the first block's q_norm "
            f"is missing); it has {len(state)} tensors, such as {sorted(state)[:3]}"
        )
    dim, head_dim = projection.shape[0], len(per_head)
    if head_dim == 0 or dim % head_dim:
        raise DataError(f"{path}: width {dim} is no multiple of the heads' width {head_dim}")
    blocks = {k.split(".")[1] for k in state if k.startswith("region_attention_layers.")}
    return HeadShape(dim, dim // head_dim, len(blocks))


def _check_state(state: Mapping[str, Tensor], head: RegionEncoder, path: Path) -> None:
    """Compare names and shapes, so that a misfit is one sentence and not a page."""
    wanted = head.state_dict()
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or extra:
        raise DataError(
            f"{path} does not fit the region encoder: {len(missing)} tensors missing "
            f"{missing[:3]}, {len(extra)} unknown {extra[:3]}"
        )
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            raise DataError(
                f"{path}: {name} is {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
            )
        if not bool(torch.isfinite(state[name]).all()):
            raise DataError(f"{path}: {name} holds NaN or infinite values; fetch the file again")


def _read_official(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        raise DataError(
            f"{path} holds pickled Python objects beside tensors and was not opened, since they "
            f"could run code; convert it to safetensors where you trust it"
        ) from err
    except (RuntimeError, EOFError, OSError) as err:
        raise DataError(f"{path} is no readable PyTorch file; fetch it again ({err})") from err
    state = content.get("region_encoder_state") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError(
            f"{path} has no 'region_encoder_state' of tensors; expected the official REN layout"
        )
    return state


def _read_own(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    state, metadata = read_network(path)
    if metadata.get("format") != FORMAT:
        raise DataError(
            f"{path} is not a region encoder of this project: its format is "
            f"{metadata.get('format')!r}, expected {FORMAT!r}"
        )
    return state, json.loads(metadata.get("config", "{}"))
