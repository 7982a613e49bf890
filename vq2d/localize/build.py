"""Build the models of a configuration, once per process."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from ren_core import weights
from ren_core.model import REN
from ren_core.sam2.model import Sam2Model, find_checkpoint
from ren_core.stages import file_fingerprint
from vq2d.localize.encode import TokenEncoder
from vq2d.localize.localizer import Localizer
from vq2d.localize.models import Models
from vq2d.localize.presets import VQ2DConfig
from vq2d.masking.region import RegionSegmenter, pooled_appearance
from vq2d.masking.region_tracker import RegionTracker
from vq2d.masking.saliency import Saliency
from vq2d.masking.sam2 import Sam2Segmenter
from vq2d.masking.sam2_video import Sam2Tracker


def build_token_encoder(
    config: VQ2DConfig, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> TokenEncoder:
    """What stage 1 needs: the region model, loaded, and the space of its vectors.

    Raises:
        DataError: If weights are missing, with the command that fetches them.
    """
    own = {"merge_similarity": config.merge_similarity, "min_group": config.min_group}
    ren = REN.from_pretrained(
        config.ren,
        device=device,
        dtype=dtype,
        prompting="grid",
        grid_size=config.grid_size,
        input_size=config.input_size,
        aggregate=config.aggregate,
        **{name: value for name, value in own.items() if value is not None},
    )
    return TokenEncoder(ren, config.encode)


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
    encoder = build_token_encoder(config, device=device, dtype=dtype)
    ren = encoder.ren
    if config.masking == "region":
        regions = RegionSegmenter(ren, Saliency(), config.region)
        models = Models(encoder, regions, RegionTracker(regions, config.region_tracker))
        return Localizer(models, config)

    model = Sam2Model.from_checkpoint(config.sam2, sam2_checkpoint, device=device, dtype=dtype)
    segmenter = Sam2Segmenter(model, partial(pooled_appearance, ren))
    return Localizer(Models(encoder, segmenter, Sam2Tracker(model)), config)


def masking_weights(localizer: Localizer, sam2_checkpoint: Path | None = None) -> list[str]:
    """Fingerprints of the weights of segmenter and tracker; none for those without a file.

    Args:
        localizer: What ``build_localizer`` gave.
        sam2_checkpoint: The same as there.
    """
    if isinstance(localizer.models.segmenter, RegionSegmenter):
        return [file_fingerprint(weights.path("u2netp"))]
    if isinstance(localizer.models.segmenter, Sam2Segmenter):
        return [file_fingerprint(find_checkpoint(localizer.config.sam2, sam2_checkpoint))]
    return []
