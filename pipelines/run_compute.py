"""Measure what REN costs: the region encoder against its bare matrix products, and aggregation."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from eval.compute import HeadCase, aggregation_cost, head_cost
from ren_core.stages import write_json


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=1024, help="width of the features (1024)")
    parser.add_argument("--patch-grid", type=int, default=37, help="patches per side (37)")
    parser.add_argument(
        "--prompts", type=int, nargs="+", default=[1024, 1369], help="prompts per image"
    )
    parser.add_argument("--repeats", type=int, default=7, help="timed calls; the median counts")
    parser.add_argument("--device", default="cpu", help="torch device, such as cuda (cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (as torch chooses)")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Time, print, write."""
    args = build_parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)

    print(
        f"region encoder, D = {args.dim}, {args.patch_grid}x{args.patch_grid} patches, float32, "
        f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{'prompts':>8} {'time s':>8} {'bare products s':>16} {'ratio':>6} {'extra MiB':>10}")
    heads = []
    for prompts in args.prompts:
        case = HeadCase(dim=args.dim, patch_grid=args.patch_grid, num_prompts=prompts)
        cost = head_cost(case, device, repeats=args.repeats)
        heads.append(cost)
        print(
            f"{prompts:>8} {cost.seconds:>8.3f} {cost.bare_seconds:>16.3f} {cost.ratio:>6.2f} "
            f"{cost.peak_mib:>10.0f}"
        )

    print(f"\naggregation of tokens, D = {args.dim}")
    print(f"{'tokens':>8} {'time s':>8} {'similarities s':>16} {'ratio':>6}")
    merges = []
    for tokens in args.prompts:
        merge = aggregation_cost(tokens, args.dim, device, repeats=args.repeats)
        merges.append(merge)
        print(f"{tokens:>8} {merge.seconds:>8.4f} {merge.bare_seconds:>16.4f} {merge.ratio:>6.2f}")

    if args.out:
        write_json(
            args.out,
            {
                "machine": platform.processor() or platform.machine(),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "device": str(device),
                "region_encoder": [asdict(c) for c in heads],
                "aggregation": [asdict(c) for c in merges],
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
