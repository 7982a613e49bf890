"""Every encoder by name: its facts, its architecture, where its weights come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ren_core import weights as weight_catalogue
from ren_core.encoders import embedded, openclip, timm_vit
from ren_core.encoders.base import CLIP_MEAN, CLIP_STD, EncoderSpec, PatchEncoder
from ren_core.errors import ConfigError, DataError
from ren_core.weight_files import remedy

Options = Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A transformer encoder of the catalogue.

    Attributes:
        spec: Facts at the size that the release uses.
        architecture: Name in timm or OpenCLIP.
        position_offset: How the original code resamples its position table (``base``).
        options: Further arguments of timm's constructor.
    """

    spec: EncoderSpec
    architecture: str
    position_offset: float = 0.0
    options: Options = field(default_factory=dict)


def _vit(name: str, architecture: str, size: int, patch: int, dim: int, offset: float) -> Entry:
    spec = EncoderSpec(name=name, input_size=size, patch_size=patch, dim=dim)
    return Entry(spec=spec, architecture=architecture, position_offset=offset)


TIMM: dict[str, Entry] = {
    entry.spec.name: entry
    for entry in (
        _vit("dino-vitb8", "vit_base_patch8_224", 384, 8, 768, 0.1),
        _vit("dinov2-vits14", "vit_small_patch14_dinov2", 518, 14, 384, 0.1),
        _vit("dinov2-vitb14", "vit_base_patch14_dinov2", 518, 14, 768, 0.1),
        _vit("dinov2-vitl14", "vit_large_patch14_dinov2", 518, 14, 1024, 0.1),
        _vit("dinov3-vitl16", "vit_large_patch16_dinov3", 512, 16, 1024, 0.0),
    )
}
OPENCLIP: dict[str, Entry] = {
    "openclip-vitg14": Entry(
        spec=EncoderSpec(
            name="openclip-vitg14",
            input_size=224,
            patch_size=14,
            dim=1408,
            mean=CLIP_MEAN,
            std=CLIP_STD,
        ),
        architecture="ViT-g-14",
    )
}
EMBEDDED = EncoderSpec(name="embedded", input_size=224, patch_size=14, dim=384, whitened=True)
NAMES: tuple[str, ...] = (*TIMM, *OPENCLIP, EMBEDDED.name)


def build_encoder(
    name: str,
    *,
    weights: Path | None = None,
    pretrained: bool = True,
    input_size: int | None = None,
    seed: int = 0,
    options: Options | None = None,
    for_levels: bool = False,
) -> PatchEncoder:
    """Make an encoder with its weights.

    Args:
        name: One of ``NAMES``.
        weights: File to load in place of the cached one (for ``embedded``: a folder with the
            cached files' names).
        pretrained: False gives random weights, for tests.
        input_size: Pixels, a multiple of the patch size; None keeps the encoder's own.
        seed: Of the random weights.
        options: Changes to the architecture, such as ``{"depth": 2}``; random weights only.
        for_levels: Its ``levels`` are wanted too, for which ``embedded`` computes more layers.

    Raises:
        ConfigError: If the name is unknown or the arguments do not fit together.
        DataError: If weights are missing or damaged.
    """
    if name not in NAMES:
        raise ConfigError(f"no encoder is called {name!r}; choose one of {', '.join(NAMES)}")
    if options and pretrained:
        raise ConfigError(f"options {dict(options)} change the architecture; pass pretrained=False")
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        if name == EMBEDDED.name:
            return _build_embedded(weights, pretrained, input_size, options or {}, for_levels)
        return _build_transformer(name, weights, pretrained, input_size, options or {})
    finally:
        torch.random.set_rng_state(generator_state)


def _build_transformer(
    name: str, weights: Path | None, pretrained: bool, input_size: int | None, options: Options
) -> PatchEncoder:
    entry = TIMM.get(name) or OPENCLIP[name]
    spec = entry.spec.resized(input_size)
    state = read_state(name, weights or weight_catalogue.path(name)) if pretrained else None
    if name in OPENCLIP:
        if input_size not in (None, entry.spec.input_size):
            raise ConfigError(f"{name} takes images of {entry.spec.input_size} px only")
        tower = openclip.create_tower(entry.architecture, spec.input_size, options)
        if state is not None:
            openclip.load_tower(tower, state)
        return openclip.OpenClipViT(_of_width(spec, options.get("width", spec.dim)), tower)
    network = timm_vit.create_vit(entry.architecture, spec.input_size, options)
    if state is not None:
        offset = entry.position_offset
        timm_vit.load_vit(network, state, grid=spec.grid, position_offset=offset)
    return timm_vit.TimmViT(_of_width(spec, network.num_features), network)


def _build_embedded(
    folder: Path | None,
    pretrained: bool,
    input_size: int | None,
    options: Options,
    for_levels: bool,
) -> PatchEncoder:
    spec = EMBEDDED.resized(input_size)
    composite = embedded.load_composite(embedded.whitening_asset())
    sources = embedded.CompositeSources(
        tuple(composite), spec.input_size, for_levels=for_levels, **options
    )
    if pretrained:
        load_embedded(sources, grid=spec.grid, folder=folder)
    return embedded.EmbeddedEncoder(spec, sources, composite)


def build_composite(whitening: Path, *, input_size: int | None = None) -> PatchEncoder:
    """An encoder like the embedded one, with other sources or statistics than the shipped ones."""
    composite = embedded.load_composite(whitening)
    dim = sum(w.projection.shape[1] for w in composite.values())
    spec = replace(EMBEDDED.resized(input_size), name=whitening.stem, dim=dim)
    sources = embedded.CompositeSources(tuple(composite), spec.input_size)
    load_embedded(sources, grid=spec.grid)
    return embedded.EmbeddedEncoder(spec, sources, composite)


def load_embedded(
    sources: embedded.CompositeSources, *, grid: int, folder: Path | None = None
) -> None:
    """Load the fetched networks of the embedded encoder, from the cache or from ``folder``."""
    names = weight_catalogue.EMBEDDED_ENCODER
    files = [weight_catalogue.find(name) for name in names]
    states = [
        read_state(f.name, folder / f.file_name if folder else weight_catalogue.path(f.name))
        for f in files
    ]
    sources.load(*states, grid=grid)


def _of_width(spec: EncoderSpec, width: object) -> EncoderSpec:
    """The spec of a network that may have been built narrower."""
    assert isinstance(width, int)
    return replace(spec, dim=width)


def read_state(name: str, file: Path) -> dict[str, Tensor]:
    """Tensors of a weight file, on the CPU; safetensors, or a torch file without code.

    Raises:
        DataError: If the file is missing or not readable as weights.
    """
    if not file.is_file():
        raise DataError(f"weights of {name!r} are not at {file}; {remedy(name)}")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as err:
        raise DataError(f"{file} is not a readable weight file ({err}); {remedy(name)}") from err
    return dict(state)
