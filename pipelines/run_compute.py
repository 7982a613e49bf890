"""Measure what REN costs.

Without --compare: the region encoder against its bare matrix products, and aggregation. With it:
time and memory against the number of prompts, beside SAM 2's and SAM's automatic mask generators
(Table 1 and Figure 3 of the paper), all with random weights.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from eval.compute import HeadCase, aggregation_cost, head_cost
from eval.cost_models import (
    CompareConfig,
    Picture,
    drawn_picture,
    ren_methods,
    sam2_method,
    sam_method,
)
from eval.cost_plot import plot_costs
from eval.cost_sweep import Call, CostPoint, Limits, Method, available_mib, sweep
from pipelines.command import exit_code
from ren_core.encoders.catalog import NAMES, build_encoder
from ren_core.stages import write_json
from ren_core.training.sources import read_image
from vq2d.masking.sam2_model import SIZES, Sam2Model

SAM_SIZES = {f"sam_{size}": size for size in ("vit_b", "vit_l", "vit_h")}
METHODS = ("ren", *SIZES, *SAM_SIZES)
MEMORY_SHARE = 0.9  # of what is available: leave some to the rest of the machine


def main(argv: Sequence[str] | None = None) -> int:
    """Time, print, write; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Time, print, write."""
    result = comparison(args) if args.compare else head_tables(args)
    if args.out:
        machine = {
            "machine": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": args.device,
        }
        write_json(args.out, {**machine, **result})


def head_tables(args: argparse.Namespace) -> dict[str, object]:
    """Head and aggregation against their matrix products."""
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
    return {
        "region_encoder": [asdict(c) for c in heads],
        "aggregation": [asdict(c) for c in merges],
    }


def comparison(args: argparse.Namespace) -> dict[str, object]:
    """Every method at every number of prompts; the table grows as the points arrive."""
    config = CompareConfig(at_once=args.prompts_at_once, filtered=args.filters == "own")
    picture = read_image(args.picture) if args.picture else drawn_picture(args.picture_size)
    limits = Limits(
        seconds=args.seconds_limit,
        memory_mib=args.memory_limit * 1024 if args.memory_limit else available_mib(MEMORY_SHARE),
        repeats=args.repeats,
    )
    device = torch.device(args.device)
    print(
        f"picture {picture.shape[0]}x{picture.shape[1]}, float32, {device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}\n\n"
        f"| method | parameters, M | prompts | s / image | memory, MiB | regions |\n"
        f"|---|---|---|---|---|---|"
    )
    methods: list[Method] = []
    points: list[CostPoint] = []
    encoders: dict[Call, CostPoint] = {}  # REN's four ways share one
    for name in dict.fromkeys(args.compare):
        for method in build_methods(name, args, picture, config):
            known = encoders.get(method.encode_image)
            for point in sweep(method, args.sides, limits, device, encoder=known):
                print(table_row(method, point), flush=True)
                points.append(point)
                if point.per_side == 0:
                    encoders[method.encode_image] = point
            methods.append(method)
    if args.out:
        plot_costs(args.out.with_suffix(".png"), methods, points)
    facts = ("name", "parameters", "encoder_parameters", "encoder_included", "note")
    return {
        "picture": picture.shape[:2],
        "config": config,
        "limits": limits,
        "methods": [{fact: getattr(m, fact) for fact in facts} for m in methods],
        "points": points,
    }


def build_methods(
    name: str, args: argparse.Namespace, picture: Picture, config: CompareConfig
) -> list[Method]:
    """The methods of a command line name, with random weights."""
    device = torch.device(args.device)
    if name == "ren":
        encoder = build_encoder(args.encoder, pretrained=False)
        return ren_methods(encoder, picture, config, device)
    if name in SAM_SIZES:
        return [sam_method(SAM_SIZES[name], picture, config, device)]
    network = Sam2Model.random(name, 0, device=device).network
    size = name.rpartition("_")[2].upper()
    return [sam2_method(f"SAM 2.1 Hiera-{size}", network, picture, config)]


def table_row(method: Method, point: CostPoint) -> str:
    """One line of the table; the row without prompts is the image encoder alone."""
    if point.per_side:
        prompts, parameters = f"{point.per_side}x{point.per_side}", method.parameters
    else:
        prompts, parameters = "image encoder alone", method.encoder_parameters
    figures = f"{point.status} | {point.note} |"
    if point.seconds is not None and point.peak_mib is not None:
        figures = f"{point.seconds:.3f} | {point.peak_mib:.0f} |"
    regions = "" if point.regions is None else point.regions
    return f"| {method.name} | {parameters / 1e6:.1f} | {prompts} | {figures} {regions} |"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--dim", type=int, default=1024, help="width of the features (1024)")
    add("--patch-grid", type=int, default=37, help="patches per side (37)")
    add("--prompts", type=int, nargs="+", default=[1024, 1369], help="prompts per image")
    add("--repeats", type=int, default=7, help="timed calls; the median counts")
    add("--device", default="cpu", help="torch device, such as cuda (cpu)")
    add("--threads", type=int, help="CPU threads (as torch chooses)")
    add("--out", type=Path, help="also write the figures to this JSON file (and a plot beside it)")
    group = parser.add_argument_group("comparison")
    add = group.add_argument
    add("--compare", nargs="+", choices=METHODS, help="compare these methods")
    add("--sides", type=int, nargs="+", default=[8, 16, 32, 64, 128], help="prompts per side")
    add("--encoder", default="dino-vitb8", choices=NAMES, help="of REN (dino-vitb8)")
    add("--seconds-limit", type=float, help="skip points that would take longer (no limit)")
    add("--memory-limit", type=float, help="GiB on the CPU (90 %% of what is available)")
    add("--prompts-at-once", type=int, help="0: all (default: each method's own, 512 and 64)")
    add("--filters", choices=("own", "none"), default="own", help="of the mask generators")
    add("--picture", type=Path, help="photograph to measure on (default: a drawn one)")
    add("--picture-size", type=int, nargs=2, default=(512, 683), help="height and width, px")
    return parser


if __name__ == "__main__":
    sys.exit(main())
