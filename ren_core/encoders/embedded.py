"""The embedded encoder: a whitened composite of two small networks from the package registry.

It joins late blocks of a ViT-S/14 (DINOv2's graph, its last blocks fine-tuned for saliency) with
layers of an ImageNet MobileNetV2. Each source is centred and PCA-whitened by statistics that ship
with the project, normalised per patch and weighted; the parts are then concatenated. It is not
stock DINOv2: the ViT localizes, MobileNetV2 tells instances apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from ren_core.encoders.base import EncoderSpec, FeatureLevels, PatchEncoder
from ren_core.encoders.timm_vit import create_vit, load_vit
from ren_core.errors import ConfigError, DataError

VIT_ARCHITECTURE = "vit_small_patch14_dinov2"
VIT_PATCH = 14  # pixels
MOBILENET_STRIDE = 16  # pixels per cell of MobileNetV2's 13th layer; one cell per ViT patch
FINE_LAYER, FINE_WIDTH = 3, 24
"""MobileNetV2's last layer with a cell per 4 pixels, and its channels."""
MIDDLE_LAYER, MIDDLE_WIDTH = 6, 32
"""The last one with a cell per 8 pixels."""
LAST_BLOCK = 12
"""The ViT's last block, tuned to tell salient things from what is around them."""
State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Source:
    """One layer of one network: ``vit`` block (1-based) or ``mobilenet`` feature index."""

    network: str
    layer: int

    def __str__(self) -> str:
        return f"{self.network}.{self.layer}"


@dataclass(frozen=True, slots=True)
class Whitening:
    """Statistics of one source: (features - mean) @ projection is centred and decorrelated.

    Attributes:
        mean: (C,) float32.
        projection: (C, d) float32, d <= C.
        weight: Length of the normalised part in the composite.
    """

    mean: Tensor
    projection: Tensor
    weight: float


Composite = dict[Source, Whitening]


def whitening_asset() -> Path:
    """The statistics that ship with the project."""
    return Path(__file__).resolve().parents[1] / "assets" / "embedded_whitening.safetensors"


def save_composite(composite: Composite, target: Path) -> None:
    """Write the sources, in order, with their statistics."""
    tensors: dict[str, Tensor] = {}
    for source, whitening in composite.items():
        tensors[f"{source}.mean"] = whitening.mean
        tensors[f"{source}.projection"] = whitening.projection
    weights = ",".join(f"{source}:{w.weight!r}" for source, w in composite.items())
    save_file(tensors, target, metadata={"sources": weights})


def load_composite(file: Path) -> Composite:
    """Read what ``save_composite`` wrote.

    Raises:
        DataError: If the file is missing or holds no sources.
    """
    if not file.is_file():
        raise DataError(f"{file} is missing; run `python pipelines/fit_whitening.py`")
    composite: Composite = {}
    with safe_open(str(file), framework="pt") as archive:
        listed = (archive.metadata() or {}).get("sources")
        if not listed:
            raise DataError(f"{file} names no sources; run `python pipelines/fit_whitening.py`")
        for entry in listed.split(","):
            name, weight = entry.split(":")
            network, layer = name.split(".")
            composite[Source(network, int(layer))] = Whitening(
                archive.get_tensor(f"{name}.mean").float(),
                archive.get_tensor(f"{name}.projection").float(),
                float(weight),
            )
    return composite


class CompositeSources(nn.Module):
    """Raw layers of both networks on one patch grid; computes no layer that is not asked for.

    Args:
        sources: The layers.
        input_size: Side of the images, in pixels.
        for_levels: Also offer ``levels``, which need more layers.
        **vit_options: Changes to the ViT.
    """

    def __init__(
        self,
        sources: tuple[Source, ...],
        input_size: int,
        *,
        for_levels: bool = False,
        **vit_options: object,
    ) -> None:
        super().__init__()
        self.sources = sources
        self.grid = input_size // VIT_PATCH
        self.for_levels = for_levels
        self.vit_layers = {s.layer for s in sources if s.network == "vit"}
        self.mobilenet_layers = {s.layer for s in sources if s.network == "mobilenet"}
        if for_levels:
            self.vit_layers.add(LAST_BLOCK)
            self.mobilenet_layers.add(MIDDLE_LAYER)
        depth = max(self.vit_layers, default=0)
        options = {"depth": depth, **vit_options}
        self.vit = create_vit(VIT_ARCHITECTURE, input_size, options)
        self.vit_width: int = self.vit.num_features  # type: ignore[assignment]
        layers = mobilenet_v2(weights=None).features
        self.mobilenet = layers[: 1 + max(self.mobilenet_layers, default=-1)]

    def load(self, vit_state: State, mobilenet_state: State, *, grid: int) -> None:
        """Load the converted weights of both networks; layers that are not used are left out."""
        load_vit(self.vit, _of_module(self.vit, vit_state), grid=grid)
        own = {n.removeprefix("features."): t for n, t in mobilenet_state.items()}
        kept = _of_module(self.mobilenet, own)
        missing = self.mobilenet.load_state_dict(kept, strict=False).missing_keys
        wanted = [name for name in missing if not name.endswith("num_batches_tracked")]
        if wanted:
            raise DataError(f"the MobileNetV2 file lacks {wanted[0]}; fetch 'embedded' again")

    def forward(self, images: Tensor) -> dict[Source, Tensor]:
        """Raw features (B, C, grid, grid) of normalised square images, one per source."""
        return self._chosen(self._vit_maps(images), self._mobilenet_layers(images))

    def levels(self, images: Tensor) -> tuple[dict[Source, Tensor], Tensor, Tensor, Tensor]:
        """``forward``; the ViT's last block (B, C, grid, grid); MobileNetV2 at 2 and 4 times that.

        Raises:
            ConfigError: If the networks were not built for it.
        """
        if not self.for_levels:
            raise ConfigError("this encoder was built without the layers of its finer levels")
        vit, mobilenet = self._vit_maps(images), self._mobilenet_layers(images)
        last = vit[Source("vit", LAST_BLOCK)]
        return self._chosen(vit, mobilenet), last, mobilenet[MIDDLE_LAYER], mobilenet[FINE_LAYER]

    def _chosen(
        self, vit: Mapping[Source, Tensor], mobilenet: Mapping[int, Tensor]
    ) -> dict[Source, Tensor]:
        """The sources' maps, in order, on the patch grid."""
        size = (self.grid, self.grid)
        return {
            s: vit[s] if s in vit else F.interpolate(mobilenet[s.layer], size, mode="bilinear")
            for s in self.sources
        }

    def _vit_maps(self, images: Tensor) -> dict[Source, Tensor]:
        vit, maps = self.vit, {}
        grid = self.grid
        tokens = vit._pos_embed(vit.patch_embed(images))  # type: ignore[operator]
        for layer, block in enumerate(vit.blocks, start=1):  # type: ignore[arg-type]
            tokens = block(tokens)
            if layer in self.vit_layers:
                body = vit.norm(tokens)[:, 1:]  # type: ignore[operator]
                maps[Source("vit", layer)] = body.transpose(1, 2).unflatten(2, (grid, grid))
        return maps

    def _mobilenet_layers(self, images: Tensor) -> dict[int, Tensor]:
        """Outputs of MobileNetV2's layers, each at its own resolution."""
        side = self.grid * MOBILENET_STRIDE
        x = F.interpolate(images, size=(side, side), mode="bilinear")  # 16 / 14 as large
        outputs = {}
        for layer, module in enumerate(self.mobilenet):
            outputs[layer] = x = module(x)
        return outputs


def _of_module(module: nn.Module, state: State) -> dict[str, Tensor]:
    """The entries of a state dict that a (truncated) module has."""
    names = module.state_dict().keys()
    return {name: tensor for name, tensor in state.items() if name in names}


class EmbeddedEncoder(PatchEncoder):
    """Whitened, normalised and joined layers of both networks.

    Args:
        spec: Its facts; ``dim`` is the sum of the projections' widths.
        sources: Both networks, for images of ``spec.input_size``.
        composite: Statistics of each source.
    """

    def __init__(self, spec: EncoderSpec, sources: CompositeSources, composite: Composite) -> None:
        super().__init__(spec)
        self.sources = sources
        length = sum(whitening.weight**2 for whitening in composite.values()) ** 0.5
        unit = spec.dim**0.5 / length  # a mean square of 1 per coordinate, as heads expect
        self.weights = [whitening.weight * unit for whitening in composite.values()]
        for i, whitening in enumerate(composite.values()):
            self.register_buffer(f"mean{i}", whitening.mean.clone(), persistent=False)
            self.register_buffer(f"projection{i}", whitening.projection.clone(), persistent=False)
        self.freeze()

    def encode(self, images: Tensor) -> Tensor:
        """Features (B, D, grid, grid) of length sqrt(D); parts as long as their weights."""
        return self.whiten(self.sources(images))

    @property
    def level_widths(self) -> tuple[int, int, int]:
        """See ``PatchEncoder``."""
        return self.spec.dim + self.sources.vit_width, MIDDLE_WIDTH, FINE_WIDTH

    def levels(self, images: Tensor) -> FeatureLevels:
        """See ``PatchEncoder``.

        Patches also hold the ViT's last block; finer levels are early layers of MobileNetV2.
        """
        raws, last, middle, fine = self.sources.levels(images)
        last = F.normalize(last, dim=1) * last.shape[1] ** 0.5
        return FeatureLevels(torch.cat([self.whiten(raws), last], dim=1), middle, fine)

    def whiten(self, raws: Mapping[Source, Tensor]) -> Tensor:
        """Features (B, D, grid, grid) of the raw layers (B, C, grid, grid) of each source."""
        parts = []
        for i, (raw, weight) in enumerate(zip(raws.values(), self.weights, strict=True)):
            mean, projection = getattr(self, f"mean{i}"), getattr(self, f"projection{i}")
            white = (raw.movedim(1, -1) - mean) @ projection  # (B, grid, grid, d)
            parts.append(F.normalize(white, dim=-1) * weight)
        return torch.cat(parts, dim=-1).movedim(-1, 1)
