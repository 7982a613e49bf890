"""A small encoder, pictures with regions and a configuration for the tests of training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ren_core.encoders.base import EncoderSpec, PatchEncoder
from ren_core.training.config import TrainConfig
from ren_core.training.feature_cache import CacheConfig, FeatureCache, build_cache
from ren_core.training.learned_queries import build_objective
from ren_core.training.objective import RegionObjective
from ren_core.training.samples import PromptSampling, RegionBatch
from ren_core.training.sources import Entry, LabelMapSource, RegionImage, label_folder_source
from ren_core.training.start import build_head
from ren_core.training.trainer import Worker
from ren_core.training.views import ViewConfig

CPU = Worker(torch.device("cpu"))
SIZE, GRID, DIM = 32, 8, 16
CONFIG = TrainConfig(
    steps=6,
    warmup=2,
    pairs=2,
    precision="fp32",
    num_heads=2,
    num_layers=2,
    sampling=PromptSampling(count=24),
    validate_every=3,
    checkpoint_every=2,
)


class LiftedColours(PatchEncoder):
    """Patch means, lifted to 16 fixed dimensions."""

    def __init__(self) -> None:
        super().__init__(EncoderSpec(name="lifted", input_size=SIZE, patch_size=4, dim=DIM))
        self.lift = nn.Linear(3, DIM, bias=False)
        with torch.no_grad():
            self.lift.weight.copy_(torch.randn(DIM, 3, generator=torch.Generator().manual_seed(0)))
        self.freeze()

    def encode(self, images: Tensor) -> Tensor:
        means = F.avg_pool2d(images, 4).movedim(1, -1)
        return torch.tanh(self.lift(means)).movedim(-1, 1).contiguous()


def write_picture(path: Path, value: int = 128, size_hw: tuple[int, int] = (20, 30)) -> None:
    """A grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size_hw, 3), value, np.uint8))


def write_labels(path: Path, labels: np.ndarray) -> None:
    """A label map as a PNG of one channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), labels.astype(np.uint8))


def write_quarters(root: Path, side: int) -> None:
    """Six pictures whose quarters have four colours, in ``images``, and ``labels`` of the same."""
    rng = np.random.default_rng(0)
    quarters = np.kron(np.arange(1, 5).reshape(2, 2), np.ones((side, side), int))
    for index in range(6):
        colours = rng.integers(0, 256, (5, 3)).astype(np.uint8)
        write_labels(root / f"images/{index}.png", colours[quarters])
        write_labels(root / f"labels/{index}.png", quarters)


def quarters_source(root: Path) -> LabelMapSource:
    """What ``write_quarters`` wrote."""
    return label_folder_source(root / "images", root / "labels")


def quarters_cache(root: Path, out: Path, views: int = 3, **options: object) -> FeatureCache:
    """Encoded views of what ``write_quarters`` wrote."""
    config = CacheConfig(
        source="pictures",
        encoder="lifted",
        views=ViewConfig(size=SIZE, rotation_deg=10),
        views_per_image=views,
        **options,
    )
    return build_cache(quarters_source(root), LiftedColours(), config, out=out)


class Frames:
    """Pictures whose grey value is their index; videos of ``frames`` pictures each."""

    settings = None

    def __init__(self, count: int, frames: int = 1, base: int = 0) -> None:
        self.entries = [Entry(f"video {i // frames}", Path(f"{i}.png")) for i in range(count)]
        self.base = base

    def read(self, index: int, variant: int = 0) -> RegionImage:
        image = np.full((8, 8, 3), self.base + index, np.uint8)
        return RegionImage(image, np.ones((1, 8, 8), bool), np.array([0]))


class Repeated:
    """The same batch in every step."""

    def __init__(self, batch: RegionBatch) -> None:
        self.same = batch

    def batch(self, number: int) -> RegionBatch:
        return self.same


def new_objective(config: TrainConfig = CONFIG) -> RegionObjective:
    """A new head with its losses, as training starts it."""
    return build_objective(build_head(DIM, GRID, config), config)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}
