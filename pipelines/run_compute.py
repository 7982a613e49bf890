"""Measure what REN costs.

Without --compare and --job: the region encoder against its bare matrix products, and aggregation.

With --compare: time and memory against the number of prompts, beside SAM 2's and SAM's automatic
mask generators (Table 1 and Figure 3 of the paper), all with random weights. With --out every point
is kept as soon as it is measured, and the same command goes on where it was stopped.

With --job: every stage of the main job over a folder of clips, beside its bare networks on inputs
of the same shapes, in the same run; nothing comes from a cache.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from eval.cost.flops import FLOP_SIDE, FlopCount
from eval.cost.measure import HeadCase, aggregation_cost, head_cost
from eval.cost.methods import (
    CompareConfig,
    Picture,
    check_packages,
    drawn_picture,
    ren_methods,
    sam2_method,
    sam_method,
)
from eval.cost.record import CostRecord
from eval.cost.sweep import Call, CostPoint, Limits, Method, available_mib, sweep
from pipelines.shared.job_cost import measure_job
from ren_core.command import check_device, exit_code
from ren_core.encoders.catalog import NAMES, build_encoder
from ren_core.images import read_image
from ren_core.sam2.model import Sam2Model
from ren_core.sam2.settings import SIZES
from ren_core.stages import write_figures, write_json
from vq2d.commands.options import add_preset_options, positive_count
from vq2d.commands.shared import SAMPLE, annotations_of, chosen_localizer, peak_memory
from vq2d.job.answerer import Answerer, ClipFiles

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
    check_device(args.device)
    if args.job is not None:
        job_table(args)
        return
    args.device = args.device or "cpu"
    if args.compare:
        comparison(args)
        return
    result = head_tables(args)
    if args.out:
        write_json(args.out, {**machine(args), **result})


def job_table(args: argparse.Namespace) -> None:
    """Every stage of the main job, its time and that of its networks."""
    name, localizer = chosen_localizer(args)
    annotations = annotations_of(args.job, "val")
    with tempfile.TemporaryDirectory() as folder:
        answerer = Answerer(ClipFiles(args.job), localizer, cache=Path(folder) / "cache")
        cost = measure_job(annotations, answerer, Path(folder) / "out", limit=args.limit)
    print("\n".join([f"{args.job}, preset {name}", *cost.rows(), peak_memory()]))
    if args.out:
        write_figures(args.out, {**asdict(cost), "preset": name, "data": str(args.job)})


def machine(args: argparse.Namespace) -> dict[str, object]:
    """What was measured on."""
    return {
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": args.device,
    }


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


def comparison(args: argparse.Namespace) -> None:
    """Every method at every number of prompts; table and files grow as the points arrive."""
    names = list(dict.fromkeys(args.compare))
    left_out = check_packages(names)
    config = CompareConfig(at_once=args.prompts_at_once, filtered=args.filters == "own")
    picture = read_image(args.picture) if args.picture else drawn_picture(args.picture_size)
    device = torch.device(args.device)
    limits = limits_of(args)
    record = CostRecord(
        args.out, settings_of(args, picture, config), limits.memory_mib, config.mode, left_out
    )
    print(heading(args, picture, record))

    for name in names:
        if name in left_out:
            continue
        encoders: dict[Call, CostPoint] = {}  # REN's four ways share one
        for method in build_methods(name, args, picture, config):
            record.add_method(method)
            shared, known = encoders.get(method.encode_image), record.known(method.name)
            for point in sweep(method, args.sides, limits, device, encoder=shared, known=known):
                print(table_row(method, point), flush=True)
                record.add(point)
                if point.per_side == 0:
                    encoders[method.encode_image] = point
            if args.flops and method.flops is not None:
                record.add_flops(method.flops(FLOP_SIDE))
    record.write()
    print(closing(record))


def limits_of(args: argparse.Namespace) -> Limits:
    """Limits of a point; on the CPU there is always one on the memory."""
    memory_mib = args.memory_limit * 1024 if args.memory_limit else None
    if memory_mib is None and torch.device(args.device).type == "cpu":
        memory_mib = available_mib(MEMORY_SHARE)
    return Limits(seconds=args.seconds_limit, memory_mib=memory_mib, repeats=args.repeats)


def settings_of(
    args: argparse.Namespace, picture: Picture, config: CompareConfig
) -> dict[str, object]:
    """What decides the figures of a comparison; a file with other settings is not continued."""
    sha256 = hashlib.sha256(picture.tobytes()).hexdigest()
    return {
        **machine(args),
        "encoder": args.encoder,
        "picture": {"size_hw": picture.shape[:2], "sha256": sha256},
        "config": config,
        "seconds_limit": args.seconds_limit,
        "memory_limit_gib": args.memory_limit,  # not what is available: that changes all the time
        "repeats": args.repeats,
    }


def heading(args: argparse.Namespace, picture: Picture, record: CostRecord) -> str:
    """What is measured, what is left out, what is there already, and the head of the table."""
    lines = [
        f"picture {picture.shape[0]}x{picture.shape[1]}, float32, {args.device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, {record.mode}"
    ]
    lines += [f"left out: {name}; {why}" for name, why in record.left_out.items()]
    if record.changed:
        lines.append(f"{args.out} has other settings ({', '.join(record.changed)}): all anew")
    elif record.points:
        lines.append(f"{args.out} has the same settings: what it measured is not measured again")
    columns = f"prompts ({record.mode}) | s / image | memory, MiB | regions"
    return "\n".join([*lines, "", f"| method | parameters, M | {columns} |", "|---" * 6 + "|"])


def closing(record: CostRecord) -> str:
    """Operations, if they were counted, and the ratios of the mask generators to REN."""
    lines: list[str] = []
    if record.flops:
        columns = "image encoder, GFLOP | prompts, GFLOP | together, GFLOP"
        lines += ["", f"| method | prompts | {columns} |", "|---" * 5 + "|"]
        lines += [flop_row(count) for count in record.flops.values()]
    sentences = [ratio.sentence() for ratio in record.ratios()]
    return "\n".join([*lines, "", *sentences] if sentences else lines)


def flop_row(count: FlopCount) -> str:
    """One line of the table of operations."""
    figures = (count.encoder_gflop, count.prompts_gflop, count.gflop)
    columns = " | ".join(f"{figure:,.1f}" for figure in figures)
    return f"| {count.method} | {count.per_side}x{count.per_side} | {columns} |"


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
    add("--threads", type=int, help="CPU threads (as torch chooses)")
    add(
        "--out",
        type=Path,
        help="JSON file of the figures; a comparison goes on from it",
    )
    group = parser.add_argument_group("job")
    add = group.add_argument
    add("--job", type=Path, nargs="?", const=SAMPLE, metavar="DATA", help="a folder (data/sample)")
    add("--limit", type=positive_count, metavar="N", help="the first N queries only")
    add_preset_options(group)
    group = parser.add_argument_group("comparison")
    add = group.add_argument
    add("--compare", nargs="+", choices=METHODS, help="compare these methods")
    add("--sides", type=int, nargs="+", default=[8, 16, 32, 64, 128], help="prompts per side")
    add("--encoder", default="dino-vitb8", choices=NAMES, help="of REN (dino-vitb8)")
    add("--seconds-limit", type=float, help="skip points that would take longer (no limit)")
    add("--memory-limit", type=float, help="GiB on the CPU (90 %% of what is available)")
    add("--prompts-at-once", type=int, help="0: all (default: each method's own, 512 and 64)")
    add("--filters", choices=("own", "none"), default="own", help="of the mask generators")
    add("--flops", action="store_true", help="also count operations (REN's grid and SAM 2, 32x32)")
    add("--picture", type=Path, help="photograph to measure on (default: a drawn one)")
    add("--picture-size", type=int, nargs=2, default=(512, 683), help="height and width, px")
    return parser


if __name__ == "__main__":
    sys.exit(main())
