"""What the commands on kinds of tokens share: options, what they stand for, sets, the table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.features import PATCH, RAW
from eval.reid.sources import TokenSource, fresh_head, head_source, patch_source, superpixel_source
from ren_core.checkpoints import load_region_encoder
from ren_core.encoders.base import EncoderSpec, PatchEncoder
from ren_core.encoders.catalog import EMBEDDED, NAMES, build_composite, build_encoder
from ren_core.errors import ConfigError
from ren_core.model import head_path
from ren_core.presets import PRESETS, RENConfig
from ren_core.training.config import Start

KINDS = ("raw", "patch", "mask", "superpixel", "untrained", "start", "ren", "aligned", "joined")
HEAD_KINDS = ("ren", "aligned", "joined")
STARTS: dict[str, Start] = {"untrained": "random", "start": "local"}
RETRIEVAL, CLIP_SETS = "davis_dev", ("synvq_dev", "realvq_dev")

Line = dict[str, Any]
"""One line of a table by column name."""


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options that choose encoder, heads, prompts and data."""
    parser.add_argument("--encoder", default="embedded", choices=NAMES, help="catalogue name")
    parser.add_argument("--whitening", type=Path, help="composite to use in place of --encoder")
    parser.add_argument(
        "--head",
        type=Path,
        nargs="+",
        action="extend",
        help="region encoders (the preset's)",
    )
    parser.add_argument("--grid", type=int, help="prompts per side (default: the preset's, or 32)")
    parser.add_argument("--input-size", type=int, help="pixels (default: the encoder's own)")
    parser.add_argument("--features", type=Path, help="folder that keeps features between runs")
    folder = "folder of eval/davis_dev, synvq_dev and realvq_dev, see data/README.md"
    parser.add_argument("--data", type=Path, required=True, help=folder)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="torch device of the encoder")


def chosen_encoder(args: argparse.Namespace) -> PatchEncoder:
    """The catalogue's encoder, or another composite."""
    if args.whitening is not None:
        return build_composite(args.whitening, input_size=args.input_size)
    return build_encoder(args.encoder, input_size=args.input_size)


def chosen_heads(given: Sequence[Path] | None, spec: EncoderSpec) -> list[Path]:
    """The heads given, or the one that ships for the embedded encoder.

    Raises:
        ConfigError: If two heads have one name.
    """
    if not given:
        return [head_path(PRESETS[spec.name].head)] if spec.name == EMBEDDED.name else []
    if len({path.stem for path in given}) < len(given):
        names = ", ".join(map(str, given))
        raise ConfigError(f"heads are named by their files and two share a name: {names}")
    return list(given)


def chosen_kinds(
    wanted: Sequence[str] | None, spec: EncoderSpec, heads: Sequence[Path]
) -> tuple[str, ...]:
    """The kinds of tokens in the table's order; all that there are if ``wanted`` is None.

    Raises:
        ConfigError: If a kind needs a head and there is none, or an encoder that whitens.
    """
    if wanted is None:
        wanted = [kind for kind in KINDS if (heads or kind not in HEAD_KINDS)]
        wanted = [kind for kind in wanted if spec.whitened or kind != "raw"]
    if set(HEAD_KINDS) & set(wanted) and not heads:
        raise ConfigError(f"no head ships for {spec.name}; give one with --head, or other --rows")
    if "raw" in wanted and not spec.whitened:
        raise ConfigError(f"{spec.name} does not whiten: its 'raw' would be its 'patch'")
    return tuple(kind for kind in KINDS if kind in wanted)


def prompting(grid: int | None, spec: EncoderSpec) -> RENConfig:
    """How prompts are placed: as in the encoder's preset, with the grid asked for."""
    config = PRESETS.get(spec.name, RENConfig(encoder=spec.name, head="", grid_size=32))
    return config if grid is None else replace(config, grid_size=grid)


def token_sources(
    kinds: Sequence[str],
    spec: EncoderSpec,
    prompts: RENConfig,
    *,
    heads: Sequence[Path],
    seed: int = 0,
) -> list[TokenSource]:
    """What makes every kind of tokens; those of heads are called ``ren:STEM`` and so on.

    The kind ``mask`` has no tokens of its own: it is another query among ``patch``.

    Raises:
        DataError: If a head cannot be read or has another width than the encoder.
    """
    sources = [patch_source("raw", RAW)] if "raw" in kinds else []
    if {"patch", "mask"} & set(kinds):
        sources.append(patch_source("patch", PATCH))
    if "superpixel" in kinds:
        sources.append(superpixel_source("superpixel", spec, prompts))
    for name in (name for name in STARTS if name in kinds):
        sources.append(head_source(fresh_head(spec, STARTS[name], seed), spec, prompts, ren=name))
    for path in heads if set(HEAD_KINDS) & set(kinds) else ():
        head = load_region_encoder(path, expected_dim=spec.dim)
        names = {kind: f"{kind}:{path.stem}" if kind in kinds else None for kind in HEAD_KINDS}
        sources.append(head_source(head, spec, prompts, **names))
    return sources


def table(lines: Sequence[Line]) -> str:
    """Lines of one form as text in columns.

    >>> print(table([{"kind": "patch", "query": "centre", "auc": 0.98765}]))
    kind   query     auc
    patch  centre  0.988
    """
    if not lines:
        return "nothing was compared"
    cells = [list(lines[0])]
    cells += [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in x.values()] for x in lines]
    columns = []
    for number, column in enumerate(zip(*cells, strict=True)):
        width = max(map(len, column))
        columns.append([c.ljust(width) if number < 2 else c.rjust(width) for c in column])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))
