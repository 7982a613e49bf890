"""Build the models of a configuration, once per process."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ren_core import weights
from ren_core.engine.choice import Compute
from ren_core.mask_model import MaskModel
from ren_core.model import REN
from ren_core.sam2.model import Sam2Model, find_checkpoint
from ren_core.stages import file_fingerprint
from vq2d.localize.encode import TokenEncoder
from vq2d.localize.localizer import Localizer
from vq2d.localize.models import Models
from vq2d.localize.presets import VQ2DConfig
from vq2d.masking.appearance import pooled_appearances
from vq2d.masking.head import MaskSegmenter
from vq2d.masking.outline import OutliningSegmenter
from vq2d.masking.region import RegionSegmenter
from vq2d.masking.region_tracker import RegionTracker
from vq2d.masking.saliency import Saliency
from vq2d.masking.sam2 import Sam2Segmenter
from vq2d.masking.sam2_video import Sam2Tracker


def build_token_encoder(config: VQ2DConfig, compute: Compute | None = None) -> TokenEncoder:
    """What stage 1 needs: the region model, loaded, and the space of its vectors.

    See ``build_localizer`` for the arguments.

    Raises:
        DataError: If weights are missing, with the command that fetches them.
    """
    own = {"merge_similarity": config.merge_similarity, "min_group": config.min_group}
    compute = compute or Compute()
    ren = REN.from_pretrained(
        config.ren,
        device=compute.device,
        dtype=compute.dtype,
        engine=compute.engine,
        compiled=compute.compiled,
        prompting="grid",
        grid_size=config.grid_size,
        input_size=config.input_size,
        aggregate=config.aggregate,
        regions=None,  # tokens of crops are linked by similarity, on a GPU too
        **{name: value for name, value in own.items() if value is not None},
    )
    ren.max_batch = config.tokens.batch_crops
    return TokenEncoder(ren, config.encode)


def build_localizer(
    config: VQ2DConfig,
    compute: Compute | None = None,
    *,
    sam2_checkpoint: Path | None = None,
) -> Localizer:
    """Everything that the five stages need, loaded.

    Args:
        config: A preset, possibly changed.
        compute: What runs the networks; SAM 2's run in torch. None: torch in float32 on the CPU.
        sam2_checkpoint: SAM 2's file; None: the cached one.

    Raises:
        DataError: If weights are missing, with the command that fetches them.
    """
    encoder = build_token_encoder(config, compute)
    ren = encoder.ren
    if config.masking != "sam2":
        outlining = _outlining_segmenter(ren, config)
        tracker = RegionTracker(outlining, config.region_tracker)
        return Localizer(Models(encoder, outlining, tracker), config)

    model = Sam2Model.from_checkpoint(
        config.sam2, sam2_checkpoint, device=ren.device, dtype=ren.dtype
    )
    segmenter = Sam2Segmenter(model, partial(pooled_appearances, ren))
    return Localizer(Models(encoder, segmenter, Sam2Tracker(model)), config)


def _outlining_segmenter(ren: REN, config: VQ2DConfig) -> OutliningSegmenter:
    if config.masking == "head":
        model = MaskModel.from_pretrained(config.masks.head, ren.compute)
        return MaskSegmenter(ren, model, config.masks)
    return RegionSegmenter(ren, Saliency(engine=ren.compute.engine), config.region)


def masking_weights(localizer: Localizer, sam2_checkpoint: Path | None = None) -> list[str]:
    """Fingerprints of the weights of segmenter and tracker; none for those without a file.

    Args:
        localizer: What ``build_localizer`` gave.
        sam2_checkpoint: The same as there.
    """
    if isinstance(localizer.models.segmenter, MaskSegmenter):
        return [localizer.models.segmenter.model.fingerprint]
    if isinstance(localizer.models.segmenter, RegionSegmenter):
        return [file_fingerprint(weights.path("u2netp"))]
    if isinstance(localizer.models.segmenter, Sam2Segmenter):
        return [file_fingerprint(find_checkpoint(localizer.config.sam2, sam2_checkpoint))]
    return []
