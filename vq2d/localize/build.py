"""Build the models of a configuration, once per process."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from ren_core import weights
from ren_core.model import REN
from ren_core.sam2.model import find_checkpoint
from ren_core.stages import file_fingerprint
from vq2d.localize.encode import Matcher
from vq2d.localize.localizer import Localizer
from vq2d.localize.presets import VQ2DConfig
from vq2d.masking.region import RegionSegmenter, pooled_appearance
from vq2d.masking.region_tracker import RegionTracker
from vq2d.masking.saliency import Saliency
from vq2d.masking.sam2 import Sam2Model, Sam2Segmenter, Sam2Tracker


def build_matcher(
    config: VQ2DConfig, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Matcher:
    """What stage 1 needs: the region model, loaded, and the matching space.

    Raises:
        DataError: If weights are missing, with the command that fetches them.
    """
    ren = REN.from_pretrained(
        config.ren,
        device=device,
        dtype=dtype,
        grid_size=config.grid_size,
        input_size=config.input_size,
        prompting="grid",
    )
    return Matcher(ren, config.tokens.matching)


def build_localizer(
    config: VQ2DConfig,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    sam2_checkpoint: Path | None = None,
) -> Localizer:
    """Everything that the five stages need, loaded.

    Args:
        config: A preset, possibly changed.
        device: Where the models run.
        dtype: float32, or what to autocast to.
        sam2_checkpoint: SAM 2's file; None: the cached one.

    Raises:
        DataError: If weights are missing, with the command that fetches them.
    """
    matcher = build_matcher(config, device=device, dtype=dtype)
    ren = matcher.ren
    if config.masking == "region":
        regions = RegionSegmenter(ren, Saliency(), config.region)
        return Localizer(matcher, regions, RegionTracker(regions, config.region_tracker), config)

    model = Sam2Model.from_checkpoint(config.sam2, sam2_checkpoint, device=device, dtype=dtype)
    segmenter = Sam2Segmenter(model, partial(pooled_appearance, ren))
    return Localizer(matcher, segmenter, Sam2Tracker(model), config)


def masking_weights(localizer: Localizer, sam2_checkpoint: Path | None = None) -> list[str]:
    """Fingerprints of the weights of segmenter and tracker; none for those without a file.

    Args:
        localizer: What ``build_localizer`` gave.
        sam2_checkpoint: The same as there.
    """
    if isinstance(localizer.segmenter, RegionSegmenter):
        return [file_fingerprint(weights.path("u2netp"))]
    if isinstance(localizer.segmenter, Sam2Segmenter):
        return [file_fingerprint(find_checkpoint(localizer.config.sam2, sam2_checkpoint))]
    return []
