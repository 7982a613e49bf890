"""SAM 2.1 networks: which there are, where their weights lie, how they are built, loaded and asked.

The segmenter and the tracker take the same ``Sam2Model``, so a process holds its weights once.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ren_core import weights
from ren_core.errors import ConfigError, DataError
from ren_core.sam2.settings import SIZES

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
FEATURE_STRIDES = (4, 8, 16)  # px per cell of the feature maps that the mask decoder reads
COARSEST_STRIDE = 32  # px per cell inside the encoder; image_size must be a multiple of it


@dataclass(frozen=True, slots=True)
class Sam2Model:
    """One SAM 2.1 network in evaluation mode, and the precision it runs in.

    Attributes:
        name: One of ``SIZES``.
        network: The ``SAM2Base`` module; its weights stay float32.
        dtype: float32, or the type that matrix products and convolutions are cast to.
    """

    name: str
    network: Any = field(repr=False)
    dtype: torch.dtype

    @classmethod
    def from_checkpoint(
        cls,
        name: str = "sam2.1_hiera_l",
        checkpoint: Path | None = None,
        *,
        device: torch.device | str,
        dtype: torch.dtype = torch.float32,
        image_size: int = 1024,
    ) -> Sam2Model:
        """Build a network and load official weights.

        Args:
            name: One of ``SIZES``.
            checkpoint: The ``.pt`` file; without it, the one in the cache folder is taken.
            device: Where the network runs.
            dtype: See the class.
            image_size: Side in pixels that images are squashed to; the weights are made for 1024.

        Raises:
            ConfigError: If the name, dtype or image size is not one that SAM 2.1 has.
            DataError: If the file is missing, damaged or made for another network.
        """
        check_settings(name, dtype, image_size)
        state = read_checkpoint(find_checkpoint(name, checkpoint))
        network = build_network(name, image_size)
        load_strictly(network, state, name)
        return cls(name, network.to(device), dtype)

    @classmethod
    def random(
        cls,
        name: str,
        seed: int,
        *,
        device: torch.device | str,
        dtype: torch.dtype = torch.float32,
        image_size: int = 1024,
    ) -> Sam2Model:
        """The true architecture with seeded random weights, for tests; finds nothing useful."""
        check_settings(name, dtype, image_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(name, image_size)
        return cls(name, network.to(device), dtype)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.network.device
        return device

    @property
    def image_size(self) -> int:
        """Side in pixels of the squashed square image that the network sees."""
        return int(self.network.image_size)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Run without gradients in ``dtype``; never hold it across a ``yield``."""
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self.dtype != torch.float32:
                stack.enter_context(torch.autocast(self.device.type, self.dtype))
            yield

    def image_predictor(self, mask_threshold: float) -> Any:  # noqa: ANN401 - has no types
        """An official ``SAM2ImagePredictor`` on these weights, fit for any image size."""
        return image_predictor(self.network, mask_threshold)


def check_settings(name: str, dtype: torch.dtype, image_size: int) -> None:
    """Raise ConfigError unless SAM 2.1 can be built like this."""
    if name not in SIZES:
        raise ConfigError(f"SAM 2 model must be one of {', '.join(SIZES)}; got {name!r}")
    if dtype not in DTYPES:
        raise ConfigError(f"dtype must be float32, bfloat16 or float16; got {dtype}")
    if image_size <= 0 or image_size % COARSEST_STRIDE:
        raise ConfigError(
            f"image_size must be a multiple of {COARSEST_STRIDE} px; got {image_size}"
        )


def find_checkpoint(name: str, checkpoint: Path | None = None) -> Path:
    """The weight file of a model: the given one, or the one in the cache folder, checked.

    Raises:
        DataError: If there is no such file, or it changed since it was fetched; the message holds
            the command that fetches it.
    """
    if checkpoint is None:
        return weights.path(SIZES[name])
    if not checkpoint.is_file():
        raise DataError(f"{checkpoint} with the weights of {name} is missing; check the path")
    return checkpoint


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The parameters in an official SAM 2 file, by name; runs no code from the file."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as err:
        raise DataError(f"{path} cannot be read as weights; remove it and fetch it again") from err
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise DataError(
            f"{path} has no 'model' entry, so it is no SAM 2 checkpoint; choose another"
        )
    return state


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Copy parameters into a network; every name and shape must agree, or DataError says which."""
    expected = network.state_dict()
    shared = expected.keys() & state.keys()
    problems = {
        "missing": sorted(expected.keys() - state.keys()),
        "unexpected": sorted(state.keys() - expected.keys()),
        "wrong shape": sorted(k for k in shared if expected[k].shape != state[k].shape),
    }
    found = [f"{len(keys)} {kind} (such as {keys[0]})" for kind, keys in problems.items() if keys]
    if found:
        raise DataError(
            f"the checkpoint does not fit {name}: {'; '.join(found)}; "
            "give the file of this model, or the model of this file"
        )
    network.load_state_dict(dict(state), strict=True)


def build_network(name: str, image_size: int) -> Any:  # noqa: ANN401 - SAM2Base has no types
    """An untrained ``SAM2Base`` on the CPU, in evaluation mode, set up as the official predictors.

    The two official builders differ in the binary memory of a prompted mask, which images do not
    use, and in hole filling, which needs SAM 2's optional CUDA extension and is left out; so one
    network serves images and videos.
    """
    with _hydra_left_as_found():
        import sam2
        from hydra.utils import instantiate
        from omegaconf import OmegaConf

        folder = Path(sam2.__path__[0]) / "configs" / "sam2.1"
        config = OmegaConf.load(folder / f"{name}.yaml").model
        config.image_size = image_size
        config.binarize_mask_from_pts_for_mem_enc = True
        config.sam_mask_decoder_extra_args = {
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        }
        return instantiate(config, _recursive_=True).eval()


def image_predictor(network: nn.Module, mask_threshold: float = 0.0) -> Any:  # noqa: ANN401
    """An official ``SAM2ImagePredictor`` on a network, fit for its image size."""
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor = SAM2ImagePredictor(network, mask_threshold=mask_threshold)
    fit_feature_sizes(predictor)
    return predictor


def fit_feature_sizes(predictor: Any) -> None:  # noqa: ANN401 - has no types
    """Let an official image predictor expect its own network's feature maps, not those of 1024 px.

    Args:
        predictor: A ``SAM2ImagePredictor``; changed in place.
    """
    sides = [int(predictor.model.image_size) // stride for stride in FEATURE_STRIDES]
    predictor._bb_feat_sizes = [(side, side) for side in sides]


@contextmanager
def _hydra_left_as_found() -> Iterator[None]:
    """Undo the global hydra initialisation that the first import of ``sam2`` does."""
    from hydra.core.global_hydra import GlobalHydra

    was_initialized = GlobalHydra.instance().is_initialized()
    try:
        yield
    finally:
        if not was_initialized:
            GlobalHydra.instance().clear()
