"""Complete configurations of the main job, by name, and changes to single values."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import field
from typing import Literal

from ren_core.configuration import Cosine, Count, GridSize, ImageSize, changed, configuration
from ren_core.errors import ConfigError
from vq2d.localize.encode import EncodeConfig
from vq2d.localize.expand import ExpandConfig
from vq2d.localize.presence import PresenceConfig
from vq2d.localize.query import QueryConfig
from vq2d.localize.refine import RefineConfig
from vq2d.localize.search import SearchConfig
from vq2d.localize.tokens import TokenConfig
from vq2d.localize.track import TrackConfig
from vq2d.masking.head import MaskConfig
from vq2d.masking.region import RegionConfig
from vq2d.masking.region_tracker import RegionTrackerConfig


@configuration()
class VQ2DConfig:
    """Every number of the main job.

    Attributes:
        ren: Preset or file of the region model.
        grid_size: Prompts per side of a crop.
        input_size: Side in pixels of the square that the encoder sees; None: its own.
        aggregate: Merge similar tokens of a crop into one.
        merge_similarity: Cosine from which two tokens are linked; None: the region model's own.
        min_group: Groups of fewer prompts are dropped; None: the region model's own.
        masking: ``"sam2"``; ``"head"``: the mask head on REN's features; or ``"region"``: REN's own
            regions and a saliency network.
        sam2: Which SAM 2.1 model.
    """

    ren: str = "dinov2-vitl14"
    grid_size: GridSize = 32
    input_size: ImageSize | None = None
    aggregate: bool = False
    merge_similarity: Cosine | None = None
    min_group: Count | None = None
    masking: Literal["sam2", "region", "head"] = "sam2"
    sam2: str = "sam2.1_hiera_l"
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    tokens: TokenConfig = field(default_factory=TokenConfig)
    query: QueryConfig = field(default_factory=QueryConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    expand: ExpandConfig = field(default_factory=ExpandConfig)
    presence: PresenceConfig = field(default_factory=PresenceConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    region: RegionConfig = field(default_factory=RegionConfig)
    region_tracker: RegionTrackerConfig = field(default_factory=RegionTrackerConfig)

    @property
    def suits_openvino(self) -> bool:
        """Whether the networks are known to gain from OpenVINO."""
        return self.ren == "embedded"


_FEW_ZOOMS = (1.0, 1.75, 2.75)

PRESETS: dict[str, VQ2DConfig] = {
    "paper": VQ2DConfig(aggregate=True),
    "release": VQ2DConfig(track=TrackConfig(first="highest")),
    "embedded": VQ2DConfig(
        ren="embedded",
        grid_size=12,
        input_size=168,
        masking="head",
        encode=EncodeConfig(colour=0.25),
        tokens=TokenConfig(frame_stride=2, directions=192),
        query=QueryConfig(crop_factors=_FEW_ZOOMS),
        search=SearchConfig(own_similarity=0.6, top_k=8, floor=0.3, keep_ratio=0.85),
        refine=RefineConfig(
            crop_factors=(1.5, 2.5),
            stay_near=1.5,
            redraw=False,
            floor=0.3,
            keep_ratio=0.88,
            colour=0.6,
        ),
        expand=ExpandConfig(
            rounds=4,
            similarity=0.4,
            sharpness=30.0,
            judged_at=None,
            max_frames=2,
            floor=0.0,
            accept_ratio=0.9,
            join_gap=3,
        ),
        presence=PresenceConfig(
            bias=-21.874, similarity=19.949, second=-19.848, refined=17.805, colours=9.345
        ),
        region_tracker=RegionTrackerConfig(stride=2),
    ),
}


def preset(name: str, changes: Sequence[str] = ()) -> VQ2DConfig:
    """A preset with single values changed.

    Args:
        name: One of ``PRESETS``.
        changes: ``"KEY=VALUE"`` with dotted keys, such as ``"search.top_k=10"``.

    Raises:
        ConfigError: If the preset, a key or a value is not known.

    >>> preset("embedded", ["search.top_k=3"]).search.top_k
    3
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset is called {name!r}; choose one of {sorted(PRESETS)}")
    values = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise ConfigError(f"--set needs KEY=VALUE, such as search.top_k=10; got {change!r}")
        values[key] = _value(text)
    return changed(PRESETS[name], values)


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
