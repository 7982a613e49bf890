"""Pictures that nothing learns from, so that masks and retrieval can be measured on them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ren_core.training.sources import RegionSource, Subset


@cache
def held_out_names() -> frozenset[str]:
    """Stems of the pictures of ``assets/held_out.txt``: COCO's own numbers of twelve digits."""
    file = Path(__file__).resolve().parents[1] / "assets" / "held_out.txt"
    lines = file.read_text().splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def without_held_out(source: RegionSource) -> RegionSource:
    """A source without those pictures, whatever their folder; itself if it has none of them."""
    return _chosen(source, held_out=False)


def only_held_out(source: RegionSource) -> RegionSource:
    """Those pictures of a source."""
    return _chosen(source, held_out=True)


def _chosen(source: RegionSource, *, held_out: bool) -> RegionSource:
    names = held_out_names()
    kept = [i for i, e in enumerate(source.entries) if (e.image.stem in names) == held_out]
    return source if len(kept) == len(source.entries) else Subset(source, kept)
