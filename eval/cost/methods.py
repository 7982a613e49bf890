"""The methods whose cost is compared: REN, SAM 2's and SAM's automatic mask generators.

All of them have random weights: time and memory of a network do not depend on them. What does
depend on them is how many masks pass a generator's filters, and how many regions REN merges;
each method's note says what was assumed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from eval.cost.flops import ren_flops, sam2_flops
from eval.cost.measure import grouped_tokens
from eval.cost.sweep import Method
from ren_core.aggregation import aggregate
from ren_core.configuration import configuration
from ren_core.encoders.base import PatchEncoder, squash
from ren_core.errors import ConfigError
from ren_core.images import to_batch, to_picture
from ren_core.prompts import PointPrompts, grid_prompts, slic_prompts
from ren_core.region_encoder import RegionEncoder
from ren_core.sam2.masks import Sam2Masks
from ren_core.sam2.settings import Sam2MaskConfig

Picture = NDArray[np.uint8]

IMAGE_REGIONS = 72  # tokens that the paper keeps of 1369 prompts at this similarity
SIMILARITY = 0.975
MERGED = f"merged tokens: {IMAGE_REGIONS} regions, as many as the paper keeps"
SAM_FILTERS = {"pred_iou_thresh": 0.88, "stability_score_thresh": 0.95}  # of SAM's generator
KEPT_NONE = "filters as published: with random weights they keep no mask, so box NMS is left out"
KEPT_ALL = "filters off: box NMS sees every mask, more than trained weights let through"
REN_BATCH, GENERATOR_BATCH = 512, 64  # prompts at once, where nothing else is asked for
PACKAGES = {
    "sam_": ("segment_anything", "SAM is not installed; run `pip install segment-anything==1.0`"),
    "sam2": ("sam2", "SAM 2 is not installed; run `make setup`"),
}


@configuration()
class CompareConfig:
    """How the methods are run.

    Attributes:
        at_once: Prompts that pass through a network together; None: each method's own default,
            0: all of them.
        filtered: Mask generators filter as published; otherwise by box NMS alone, which still
            drops masks whose boxes nearly agree.
    """

    at_once: Annotated[int, Field(ge=0, le=128**2)] | None = None
    filtered: bool = True

    def batch(self, prompts: int, default: int) -> int:
        """Prompts at once, given a method's own default."""
        return default if self.at_once is None else self.at_once or prompts

    @property
    def mode(self) -> str:
        """How many prompts pass through a network together, in words."""
        if self.at_once is None:
            return f"batches of {REN_BATCH} prompts in REN, {GENERATOR_BATCH} in mask generators"
        return f"batches of {self.at_once} prompts" if self.at_once else "all prompts in one batch"


def check_packages(names: Sequence[str]) -> dict[str, str]:
    """Methods whose package is missing, by name, with the command that installs it.

    Raises:
        ConfigError: If none of the methods can run.
    """
    missing = {}
    for name in names:
        package, remedy = PACKAGES.get(name[:4], ("torch", ""))
        there = sys.modules[package] if package in sys.modules else find_spec(package)
        if there is None:
            missing[name] = remedy
    if names and len(missing) == len(names):
        raise ConfigError("; ".join(dict.fromkeys(missing.values())))
    return missing


def ren_methods(
    encoder: PatchEncoder, picture: Picture, config: CompareConfig, device: torch.device
) -> list[Method]:
    """REN on an encoder: grid and SLIC prompts, each without and with aggregation.

    A call makes the prompts, runs the head and merges the tokens; the patch features are given, as
    in the paper's Table 1. SLIC runs on the CPU.

    Args:
        encoder: Any patch encoder; only its sizes matter.
        picture: (H, W, 3) that SLIC sees.
        config: How it is run.
        device: Where.
    """
    spec = encoder.spec
    torch.manual_seed(0)
    head = RegionEncoder(spec.dim).eval().to(device)
    features = torch.randn(1, spec.dim, spec.grid, spec.grid, device=device)
    pixels = to_batch(picture)
    square = squash(pixels, spec.input_size)
    run = _RenRun(head, features, to_picture(square[0]), spec.input_size, config)
    encoder = encoder.to(device)
    on_device = pixels.to(device)

    def encode_image() -> None:
        encoder(on_device)

    methods = []
    for slic, merged in ((False, False), (False, True), (True, False), (True, True)):
        name = f"REN, {'SLIC' if slic else 'grid'}{' + aggregation' if merged else ''}"
        prepare = run.prepared(slic=slic, merged=merged)
        methods.append(
            Method(
                name=name,
                parameters=count_parameters(head),
                prepare=prepare,
                encode_image=encode_image,
                encoder_parameters=count_parameters(encoder),
                encoder_included=False,
                note=MERGED if merged else "",
                flops=None if slic else partial(ren_flops, name, encoder, prepare),
            )
        )
    return methods


@dataclass(frozen=True)
class _RenRun:
    """One head and one image, for all four ways to run REN."""

    head: RegionEncoder
    features: Tensor
    square: Picture
    side: int
    config: CompareConfig

    def prepared(self, *, slic: bool, merged: bool) -> Callable[[int], Callable[[], int]]:
        """Takes prompts per side, gives the call to measure."""

        def prompts(per_side: int) -> PointPrompts:
            if slic:
                return slic_prompts(self.square, per_side**2)
            return grid_prompts(self.side, per_side)

        def prepare(per_side: int) -> Callable[[], int]:
            device, dim = self.features.device, self.features.shape[1]
            count = per_side**2
            groups = max(1, min(IMAGE_REGIONS, count // 3))
            realistic = grouped_tokens(count, dim, groups).to(device) if merged else None

            def call() -> int:
                self.head.prompt_chunk = self.config.batch(count, REN_BATCH)
                points = prompts(per_side).points_yx.to(device)
                tokens = self.head(self.features, points[None], self.side).ren_tokens[0]
                if realistic is None:
                    return len(tokens)
                # tokens of a random head do not group like those of an image: merge realistic ones
                return len(aggregate(realistic[: len(points)], points, SIMILARITY).tokens)

            return call

        return prepare


def sam2_method(name: str, network: nn.Module, picture: Picture, config: CompareConfig) -> Method:
    """SAM 2's automatic mask generator, image encoder included.

    Args:
        name: Of the network.
        network: A ``SAM2Base`` on its device.
        picture: (H, W, 3); masks are made at its size.
        config: How it is run.
    """
    filters = {} if config.filtered else {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}

    def masks(per_side: int) -> Sam2Masks:
        batch = config.batch(per_side**2, GENERATOR_BATCH)
        settings = {"points_per_side": per_side, "points_per_batch": batch}
        return Sam2Masks(network, Sam2MaskConfig(**settings, **filters))  # type: ignore[arg-type]

    def prepare(per_side: int) -> Callable[[], int]:
        made = masks(per_side)
        return lambda: len(made(picture))

    single = masks(1)
    return Method(
        name=name,
        parameters=count_parameters(network),
        prepare=prepare,
        encode_image=lambda: single.encode_image(picture),
        encoder_parameters=count_parameters(network.image_encoder),  # type: ignore[arg-type]
        encoder_included=True,
        note=KEPT_NONE if config.filtered else KEPT_ALL,
        flops=partial(sam2_flops, name, network, picture),
    )


def sam_method(size: str, picture: Picture, config: CompareConfig, device: torch.device) -> Method:
    """SAM's automatic mask generator, image encoder included; needs ``segment-anything``.

    Args:
        size: ``"vit_h"``, ``"vit_l"`` or ``"vit_b"``.
        picture: (H, W, 3); masks are made at its size.
        config: How it is run.
        device: Where.

    Raises:
        ConfigError: If the package is not installed.
    """
    check_packages([f"sam_{size}"])
    from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

    torch.manual_seed(0)
    network = sam_model_registry[size]().eval().to(device)
    filters = SAM_FILTERS if config.filtered else dict.fromkeys(SAM_FILTERS, 0.0)

    def generator(per_side: int) -> Any:  # noqa: ANN401 - has no types
        batch = config.batch(per_side**2, GENERATOR_BATCH)
        return SamAutomaticMaskGenerator(
            network,
            points_per_side=per_side,
            points_per_batch=batch,
            output_mode="uncompressed_rle",
            **filters,
        )

    def prepare(per_side: int) -> Callable[[], int]:
        made = generator(per_side)
        return lambda: len(made.generate(picture))

    single = generator(1)
    return Method(
        name=f"SAM {size}",
        parameters=count_parameters(network),
        prepare=prepare,
        encode_image=lambda: single.predictor.set_image(picture),
        encoder_parameters=count_parameters(network.image_encoder),
        encoder_included=True,
        note=KEPT_NONE if config.filtered else KEPT_ALL,
    )


def count_parameters(module: nn.Module) -> int:
    """Parameters of a module, each once."""
    return sum(p.numel() for p in module.parameters())


def drawn_picture(size_hw: tuple[int, int], *, seed: int = 0) -> Picture:
    """A smooth, noisy picture (H, W, 3) for machines without a photograph at hand."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 3, 12, 16), generator=generator)
    smooth = F.interpolate(coarse, size=size_hw, mode="bicubic").clamp(0, 1)
    noise = 0.05 * torch.randn((1, 3, *size_hw), generator=generator)
    pixels: Picture = ((smooth + noise).clamp(0, 1) * 255).byte()[0].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pixels)
