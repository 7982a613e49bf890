"""REN: encoder, prompts, cross-attention head and aggregation behind one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ren_core import weights
from ren_core.aggregation import aggregate, cluster
from ren_core.checkpoints import load_region_encoder, read_config
from ren_core.encoders.base import (
    PatchEncoder,
    PatchFeatures,
    fingerprint,
    patches_at,
    resized,
    squash,
)
from ren_core.encoders.catalog import build_encoder
from ren_core.engine.batches import in_batches
from ren_core.engine.choice import Compute, EngineName, autocast
from ren_core.engine.compiled import Network
from ren_core.engine.host import sent
from ren_core.engine.region_networks import compiled_encoder, compiled_head
from ren_core.errors import ConfigError, DataError, ShapeError
from ren_core.images import as_float, checked_images, to_picture
from ren_core.presets import OFFICIAL_BY_WIDTH, PRESETS, RENConfig, ren_preset
from ren_core.prompts import PointPrompts, grid_prompts, slic_prompts, to_image_points, user_prompts
from ren_core.region_encoder import RegionEncoder, check_inside
from ren_core.region_tokens import RegionTokens


class REN:
    """Region tokens of images: a frozen patch encoder and a trained cross-attention head.

    Attributes:
        max_batch: Most images that the networks see at once, so that memory is bounded; None: all.
            It is halved when memory runs out.
        run_encoder: The encoder as it is computed here: squares (B, 3, R, R) to (B, D, h, w).
        run_head: The head as it is computed here: features and points (B, N, 2) to (B, N, D).

    Example:
        >>> ren = REN.from_pretrained("embedded")  # doctest: +SKIP
        >>> regions = ren.encode(images)  # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: PatchEncoder,
        head: RegionEncoder,
        config: RENConfig,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        engine: EngineName = "torch",
        compiled: bool = False,
    ) -> None:
        if encoder.spec.dim != head.dim:
            raise ConfigError(
                f"encoder {encoder.spec.name} gives {encoder.spec.dim}-wide features, the head "
                f"needs {head.dim}: choose the pair that belongs together"
            )
        self.config = config
        self.max_batch: int | None = None
        self.compute = Compute(engine, torch.device(device), dtype, compiled)
        self.encoder = encoder.to(self.device)
        self.head = head.to(self.device).eval()
        self.run_encoder: Network = self._torch_features
        self.run_head: Network = self._torch_tokens
        if engine == "openvino":
            self.run_encoder = compiled_encoder(self.encoder, dtype)
            self.run_head = compiled_head(self.head, self.image_size, dtype)
        if compiled:
            self.encoder.encode = torch.compile(self.encoder.encode)  # type: ignore[method-assign]
            self.head.compile()

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        engine: EngineName = "torch",
        compiled: bool = False,
        **overrides: Any,  # noqa: ANN401 - any field of RENConfig
    ) -> REN:
        """Build a model from its name or from a head's file.

        Args:
            name: A preset (``"embedded"``, ``"dinov2-vitl14"``, ...), or the path of a region
                encoder: an official ``checkpoint.pth`` or one of our safetensors files.
            device: Where it runs.
            dtype: Other than float32: autocast to it (``torch.bfloat16``, ``torch.float16``).
            engine: ``"openvino"`` compiles encoder and head for the processor.
            compiled: Torch compiles them when they are first called.
            **overrides: Fields of ``RENConfig`` that differ. With ``merge_similarity``, tokens
                are linked by it, unless ``regions`` is given too.

        Raises:
            ConfigError: If the name or an override is unknown.
            DataError: If weights are missing or do not fit, with the command that mends it.
        """
        known = {f.name for f in fields(RENConfig)}
        if unknown := sorted(overrides.keys() - known):
            raise ConfigError(f"unknown setting {unknown[0]!r}; RENConfig has {sorted(known)}")
        if "merge_similarity" in overrides:  # who names a threshold wants it used
            overrides = {"regions": None, **overrides}
        config = replace(_named_config(name), **overrides)
        encoder = build_encoder(config.encoder, input_size=config.input_size)
        head = load_region_encoder(head_path(config.head), expected_dim=encoder.spec.dim)
        return cls(
            encoder, head, config, device=device, dtype=dtype, engine=engine, compiled=compiled
        )

    @property
    def device(self) -> torch.device:
        """Where tokens and features are."""
        return self.compute.device

    @property
    def dtype(self) -> torch.dtype:
        """float32, or what is autocast to."""
        return self.compute.dtype

    @property
    def image_size(self) -> int:
        """Side R of the square image that the model sees, in pixels."""
        return self.encoder.spec.input_size

    @cached_property
    def fingerprint(self) -> str:
        """Identity of encoder and head: hash of a sample of every parameter, and the input size."""
        return fingerprint([self.encoder, self.head], self.image_size)

    def encode(
        self,
        images: Tensor | Sequence[Tensor],
        prompts: PointPrompts | Tensor | Sequence[Tensor] | None = None,
        *,
        aggregated: bool | None = None,
        patches: bool = False,
    ) -> list[RegionTokens]:
        """Region tokens of images: the one way from a picture to tokens.

        Args:
            images: (B, 3, H, W), or a sequence of (3, H, W); uint8, or float in 0..1; any size.
            prompts: (N, 2) points (row, column) in pixels of the given images, for all of them, or
                one such tensor per image; or prompts at model resolution, for all of them. None:
                grid or SLIC prompts, as configured.
            aggregated: Merge similar tokens; None: as configured, and not for given prompts.
            patches: Also give the patch at every prompt (``RegionTokens.prompt_patches``).

        Returns:
            One ``RegionTokens`` per image.

        Raises:
            ShapeError: If images or prompts are not what they should be.
        """
        pictures = checked_images(images)
        sizes = [(int(p.shape[1]), int(p.shape[2])) for p in pictures]
        given = None if prompts is None else self._given_prompts(prompts, sizes)
        merge = (prompts is None and self.config.aggregate) if aggregated is None else aggregated

        def encode(part: range) -> list[RegionTokens]:
            square = self._square([pictures[i] for i in part])
            points = (
                [self._automatic_prompts(image) for image in square]
                if given is None
                else [given[i] for i in part]
            )
            features = self._patch_features(square)
            tokens = self.prompt_tokens(features, [p.points_yx for p in points])
            looked_up = features.features if patches else [None] * len(tokens)
            return [
                self._collect(t, p, sizes[i], own, merge=merge)
                for i, t, p, own in zip(part, tokens, points, looked_up, strict=True)
            ]

        return [found for part in in_batches(self, encode, range(len(pictures))) for found in part]

    def patch_features(self, images: Tensor | Sequence[Tensor]) -> PatchFeatures:
        """The encoder's features of images as ``encode`` takes them."""
        pictures = checked_images(images)

        def encode(part: Sequence[Tensor]) -> Tensor:
            return self._patch_features(self._square(part)).features

        return PatchFeatures(torch.cat(in_batches(self, encode, pictures)), self.encoder.spec)

    def grid_tokens(self, images: Sequence[Tensor]) -> Tensor:
        """REN tokens (B, N, D) float32 of the prompts of the grid, not merged.

        On a GPU they are only begun with; nothing waits for it.

        Args:
            images: (3, H, W) uint8 of any sizes.
        """
        features = self._patch_features(self._square(checked_images(images))).features
        return self.run_head(features, self.grid_points.expand(len(images), -1, -1)).float()

    def prompt_tokens(
        self, features: PatchFeatures, points_yx: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """REN tokens (N, D) float32 of prompts (N, 2) at model resolution, one pair per image."""
        padded = pad_sequence(list(points_yx), batch_first=True)
        check_inside(padded, self.image_size)
        found = self.run_head(features.features, padded.to(self.device))
        return tuple(
            tokens[: len(points)].float() for tokens, points in zip(found, points_yx, strict=True)
        )

    def attention_maps(self, image: Tensor, points_yx: Tensor) -> Tensor:
        """Where points of one image look: last block's attention, mean of the heads, (N, h, w).

        Args:
            image: (3, H, W), as for ``encode``.
            points_yx: (N, 2) points (row, column) in pixels of the image.
        """
        features = self.patch_features([image])
        prompts = user_prompts(points_yx, (image.shape[1], image.shape[2]), self.image_size)
        with torch.no_grad(), autocast(self.device, self.dtype):
            output = self.head(
                features.features,
                prompts.points_yx[None].to(self.device),
                features.spec.input_size,
                with_attention=True,
            )
        attention = output.attention_logits[-1][0].float().softmax(dim=-1).mean(dim=0)
        return attention.unflatten(1, features.features.shape[-2:])

    def _square(self, pictures: Sequence[Tensor]) -> Tensor:
        """Images as the encoder sees them, (B, 3, R, R) float32 in 0..1.

        For OpenVINO, bytes are resized as bytes: ten times faster, and at most half a grey level
        away. Torch's own results stay what they were, to the last digit.
        """
        squares = [self._squashed(picture) for picture in pictures]
        if all(square.dtype == torch.uint8 for square in squares):
            return as_float(torch.cat(squares))
        return torch.cat([as_float(square) for square in squares])

    def _squashed(self, picture: Tensor) -> Tensor:
        """An image as a square (1, 3, R, R): bytes, or float32 in 0..1."""
        if self.compute.engine == "openvino" and picture.dtype == torch.uint8:
            return resized(picture[None], self.image_size)
        return squash(as_float(sent(picture, self.device))[None], self.image_size)

    def _patch_features(self, square: Tensor) -> PatchFeatures:
        return PatchFeatures(self.run_encoder(square), self.encoder.spec)

    def _torch_features(self, square: Tensor) -> Tensor:
        with torch.no_grad(), autocast(self.device, self.dtype):
            features: Tensor = self.encoder(square).features
        return features

    def _torch_tokens(self, features: Tensor, points_yx: Tensor) -> Tensor:
        with torch.no_grad(), autocast(self.device, self.dtype):
            tokens: Tensor = self.head(features, points_yx, self.image_size).ren_tokens
        return tokens

    @cached_property
    def grid(self) -> PointPrompts:
        """The prompts of the grid, as configured."""
        return grid_prompts(self.image_size, self.config.grid_size, self.config.grid_convention)

    @cached_property
    def grid_points(self) -> Tensor:
        """Their points (N, 2) where the networks are."""
        return self.grid.points_yx.to(self.device)

    def _automatic_prompts(self, image: Tensor) -> PointPrompts:
        config = self.config
        if config.prompting == "grid":
            return self.grid
        return slic_prompts(to_picture(image), config.grid_size**2, config.compactness)

    def _given_prompts(
        self,
        prompts: PointPrompts | Tensor | Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
    ) -> list[PointPrompts]:
        if isinstance(prompts, PointPrompts):
            return [prompts] * len(sizes)
        each = [prompts] * len(sizes) if isinstance(prompts, Tensor) else list(prompts)
        if len(each) != len(sizes):
            raise ShapeError(f"got prompts for {len(each)} images, but {len(sizes)} images")
        return [user_prompts(p, s, self.image_size) for p, s in zip(each, sizes, strict=True)]

    def _collect(
        self,
        tokens: Tensor,
        prompts: PointPrompts,
        size_hw: tuple[int, int],
        patches: Tensor | None,
        *,
        merge: bool,
    ) -> RegionTokens:
        """The regions of one image; ``patches`` (D, h, w), if given, are read at the prompts."""
        points = prompts.points_yx.to(tokens.device)
        groups = None
        if merge:
            config = self.config
            groups = (
                aggregate(tokens, points, config.merge_similarity, config.min_group)
                if config.regions is None
                else cluster(tokens, points, config.regions)
            )
        own = torch.arange(len(tokens), device=tokens.device)
        return RegionTokens(
            tokens=groups.tokens if groups else tokens,
            points_yx=to_image_points(
                groups.points_yx if groups else points, self.image_size, size_hw
            ),
            counts=groups.counts if groups else torch.ones_like(own),
            group_index=groups.group_index if groups else own,
            prompts=prompts,
            size_hw=size_hw,
            relaxed=groups.relaxed if groups else False,
            prompt_tokens=tokens,
            prompt_patches=(
                None
                if patches is None
                else patches_at(patches, prompts.points_yx, self.encoder.spec.patch_size)
            ),
            _groups=groups,
            _align=self.head.align,
        )


def head_path(head: str) -> Path:
    """File of a head: ``"embedded"`` (ships here), a name of the weight catalogue, or a path."""
    if head == "embedded":
        return Path(__file__).resolve().parent / "assets" / "ren-embedded.safetensors"
    if head in weights.FILES:
        return weights.path(head)
    return Path(head)


def _named_config(name: str | Path) -> RENConfig:
    """The preset of that name, or what a head's file says about itself."""
    if str(name) in PRESETS or not Path(name).suffix:
        return ren_preset(str(name))
    path = Path(name)
    if path.suffix == ".safetensors" and path.is_file():
        known = {f.name for f in fields(RENConfig)}
        stored = {k: v for k, v in read_config(path).items() if k in known}
        if "encoder" not in stored:
            raise DataError(f"{path} does not say which encoder it belongs to; pass encoder=NAME")
        return RENConfig(**{**stored, "head": str(path)})  # type: ignore[arg-type]
    dim = load_region_encoder(path).dim
    if dim not in OFFICIAL_BY_WIDTH:
        raise DataError(
            f"{path} is {dim} wide, the official heads are {sorted(OFFICIAL_BY_WIDTH)} wide; pass "
            f"a file in our own format, which names its encoder"
        )
    return replace(ren_preset(OFFICIAL_BY_WIDTH[dim]), head=str(path))
