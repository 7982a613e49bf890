"""SigLIP 2: patch tokens, attention pooling restricted to regions, and text in the same space.

Both towers come from one OpenCLIP file; the image tower is timm's. The tokenizer is a file of its
own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import tokenizers
import torch
import torch.nn.functional as F
from open_clip.transformer import LayerNorm, TextTransformer
from tokenizers.models import BPE
from torch import Tensor, nn

from ren_core import weights as weight_catalogue
from ren_core.encoders.base import EncoderSpec, check_region_masks, fingerprint
from ren_core.encoders.catalog import read_state
from ren_core.encoders.timm_vit import TimmViT, create_vit, load_vit
from ren_core.errors import ConfigError, DataError
from ren_core.weight_files import remedy

MODELS: dict[str, str] = {
    "siglip2-giant-opt-384": "ViT-gopt-16-SigLIP2-384",
    "siglip2-base-384": "ViT-B-16-SigLIP2-384",
}
"""Our names of the weight files, and OpenCLIP's names of their architectures."""
DEFAULT = "siglip2-giant-opt-384"
TOKENIZER = "siglip2-tokenizer"
CONTEXT = 64  # token ids per text, always: the model was trained on texts padded to this length
PAD, EOS = 0, 1
_HALF = (0.5, 0.5, 0.5)  # mean and std of the images
_IMAGE, _TEXT = "visual.trunk.", "text."


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Widths and depths of a smaller network of the same architecture; widths are per tower."""

    width: int = 96
    depth: int = 2
    heads: int = 4
    text_width: int = 72
    text_depth: int = 2
    text_heads: int = 4


class SigLip2Vision(TimmViT):
    """The image tower; ``encode`` gives last-layer patch tokens after the closing norm."""

    def pool_regions(self, images: Tensor, masks: Tensor) -> Tensor:
        """Embeddings (B, R, D) of regions of images (B, 3, H, W), masks (B, R, P) on the patches.

        Raises:
            ShapeError: If a region holds no patch, or masks and images do not fit.
        """
        return self.pool_patches(self(images).tokens, masks)

    @torch.no_grad()
    def pool_patches(self, tokens: Tensor, masks: Tensor) -> Tensor:
        """Let the query token of the pooling head attend to some of the patches, R times at once.

        The head knows no positions, so this equals pooling the subset of tokens by itself.

        Args:
            tokens: (B, P, D) patch tokens of the last layer.
            masks: (B, R, P) bool, true on the patches of each region.

        Returns:
            (B, R, D) embeddings, not normalised.

        Raises:
            ShapeError: If a region holds no patch, or masks and tokens do not fit.
        """
        check_region_masks(masks, tokens.shape[0], tokens.shape[1])
        head: Any = self.network.attn_pool
        B, P, _ = tokens.shape
        R = masks.shape[1]

        key_value = head.kv(tokens).reshape(B, P, 2, head.num_heads, -1).permute(2, 0, 3, 1, 4)
        keys, values = head.k_norm(key_value[0]), key_value[1]  # (B, heads, P, d)
        query = head.q(head.latent).reshape(1, 1, head.num_heads, -1).transpose(1, 2)
        queries = head.q_norm(query).expand(B, -1, R, -1)  # (B, heads, R, d)

        allowed = masks[:, None].to(tokens.device)
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=allowed)
        pooled: Tensor = head.proj(attended.transpose(1, 2).flatten(2))
        return pooled + head.mlp(head.norm(pooled))


class SigLip2Text(nn.Module):
    """The text tower with its tokenizer."""

    def __init__(self, network: nn.Module, tokenizer: tokenizers.Tokenizer) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings (N, D) float32 of texts."""
        ids = token_ids(texts, self.tokenizer)
        device = next(self.parameters()).device
        return F.normalize(self.network(ids.to(device)).float(), dim=-1)


def token_ids(texts: Sequence[str], tokenizer: tokenizers.Tokenizer) -> Tensor:
    """Ids (N, 64) int64 of lower-cased texts: cut to leave room for the end mark, then padded.

    Pooling takes the last position, padding or not, so the length must be the trained one.
    """
    rows = torch.full((len(texts), CONTEXT), PAD)
    for row, text in zip(rows, texts, strict=True):
        ids = [*tokenizer.encode(text.lower(), add_special_tokens=False).ids[: CONTEXT - 1], EOS]
        row[: len(ids)] = torch.tensor(ids)
    return rows


@dataclass(frozen=True)
class SigLip2:
    """Both towers of one model."""

    vision: SigLip2Vision
    text: SigLip2Text

    @property
    def fingerprint(self) -> str:
        """Identity of the image tower's weights and input size."""
        return fingerprint([self.vision], self.vision.spec.input_size)

    def to(self, device: torch.device | str) -> SigLip2:
        """Move both towers; returns itself."""
        self.vision.to(device)
        self.text.to(device)
        return self


def load_siglip2(
    name: str = DEFAULT, *, weights: Path | None = None, tokenizer: Path | None = None
) -> SigLip2:
    """A model with its weights, from the cache or from given files.

    Args:
        name: One of ``MODELS``.
        weights: Another file with OpenCLIP's names: safetensors, or a torch file without code.
        tokenizer: Another ``tokenizer.json``.

    Raises:
        ConfigError: If the name is unknown.
        DataError: If a file is missing, damaged or of another model.
    """
    config = _config(name)
    words = read_tokenizer(tokenizer or weight_catalogue.path(TOKENIZER))
    file = weights or weight_catalogue.path(name)
    state = read_state(name, file)
    vision = _vision(name, config, {})
    text = _text_network(config, {})
    try:
        load_vit(vision.network, _part(state, _IMAGE), grid=vision.spec.grid)
        text.load_state_dict(_part(state, _TEXT), strict=True)
    except (RuntimeError, KeyError) as err:
        reason = " ".join(str(err).split())
        raise DataError(
            f"{file} does not hold the weights of {name!r} ({reason}); {remedy(name)}"
        ) from err
    return SigLip2(vision, SigLip2Text(text, words))


def random_siglip2(
    name: str = DEFAULT,
    *,
    seed: int,
    sizes: Sizes | None = None,
    input_size: int | None = None,
    tokenizer: tokenizers.Tokenizer | None = None,
) -> SigLip2:
    """The same architecture, smaller, with seeded random weights: for tests and dry runs.

    Args:
        name: One of ``MODELS``.
        seed: Of the weights.
        sizes: Widths and depths; None: those of ``Sizes``.
        input_size: Pixels, a multiple of the patch size; None keeps the model's own.
        tokenizer: None: one id per byte.

    Raises:
        ConfigError: If the name is unknown.
    """
    config, s = _config(name), sizes or Sizes()
    image = {"embed_dim": s.width, "depth": s.depth, "num_heads": s.heads}
    words = tokenizer or byte_tokenizer()
    changes = {"width": s.text_width, "layers": s.text_depth, "heads": s.text_heads}
    changes |= {"vocab_size": words.get_vocab_size(), "embed_dim": s.width}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vision = _vision(name, config, image, input_size)
        return SigLip2(vision, SigLip2Text(_text_network(config, changes), words))


def read_tokenizer(file: Path) -> tokenizers.Tokenizer:
    """The tokenizer of a ``tokenizer.json``.

    Raises:
        DataError: If it is missing or damaged.
    """
    if not file.is_file():
        raise DataError(f"the tokenizer is not at {file}; {remedy(TOKENIZER)}")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as err:  # the library raises nothing narrower
        raise DataError(f"{file} is not a tokenizer.json ({err}); {remedy(TOKENIZER)}") from err
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def byte_tokenizer() -> tokenizers.Tokenizer:
    """A stand-in of the real tokenizer's kind, with no merges: every byte is a word of its own."""
    words = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {word: i for i, word in enumerate(words)}
    return tokenizers.Tokenizer(BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))


def _config(name: str) -> dict[str, Any]:
    """OpenCLIP's description of an architecture."""
    if name not in MODELS:
        raise ConfigError(f"no SigLIP 2 is called {name!r}; choose one of {', '.join(MODELS)}")
    config: dict[str, Any] = open_clip.get_model_config(MODELS[name])
    return config


def _vision(
    name: str,
    config: Mapping[str, Any],
    options: Mapping[str, object],
    input_size: int | None = None,
) -> SigLip2Vision:
    described = config["vision_cfg"]
    size = input_size or described["image_size"]
    network = create_vit(described["timm_model_name"], size, options)
    patch: int = network.patch_embed.patch_size[0]  # type: ignore[union-attr, index, assignment]
    dim: int = network.num_features  # type: ignore[assignment]
    spec = EncoderSpec(name=name, input_size=size, patch_size=patch, dim=dim, mean=_HALF, std=_HALF)
    return SigLip2Vision(spec, network)


def _text_network(config: Mapping[str, Any], changes: Mapping[str, object]) -> nn.Module:
    """OpenCLIP's text tower as the model's description has it, with some values changed."""
    described = {**config["text_cfg"], "embed_dim": config["embed_dim"], **changes}
    network: nn.Module = TextTransformer(
        context_length=described["context_length"],
        vocab_size=described["vocab_size"],
        width=described["width"],
        heads=described["heads"],
        layers=described["layers"],
        mlp_ratio=described.get("mlp_ratio", 4.0),
        output_dim=described["embed_dim"],
        no_causal_mask=described["no_causal_mask"],
        pool_type=described["pool_type"],
        proj_bias=described["proj_bias"],
        norm_layer=partial(LayerNorm, **described["norm_kwargs"]),
        act_layer=partial(nn.GELU, **described["act_kwargs"]),
    )
    return network


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
