"""Find where and when each queried object was last seen: the main job over an annotation file."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines import evaluate_vq2d
from pipelines.vq2d_models import (
    SAMPLE,
    add_model_options,
    annotations_of,
    chosen_localizer,
    run_command,
)
from ren_core.stages import write_json
from vq2d.annotations import Annotations
from vq2d.oracle import write_oracle_submission
from vq2d.report import draw_all, write_failures, write_submission, write_traces
from vq2d.runner import Runner

DATA_PLACES = ("data/ego4d", "data/ego4d_data", "~/ego4d_data")

logger = logging.getLogger("run_vq2d")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument(
        "--data",
        type=Path,
        help="folder in the ego4d CLI's layout (searched in "
        f"{', '.join(DATA_PLACES)}; else the embedded sample)",
    )
    parser.add_argument("--out", type=Path, help="folder of the results (runs/vq2d-...)")
    parser.add_argument("--limit", type=int, help="answer the first N queries only")
    parser.add_argument("--overwrite", action="store_true", help="answer again what has an answer")
    parser.add_argument("--no-videos", action="store_true", help="draw summaries only")
    parser.add_argument(
        "--true-seeds",
        action="store_true",
        help="also score with the true box at the found frame: what segmentation loses",
    )
    add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stages; 0 done, 1 something failed, 2 usage."""
    args = build_parser().parse_args(argv)
    return run_command("run_vq2d", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code."""
    started = time.perf_counter()
    root = find_data(args.data)
    annotations = annotations_of(root, args.split)
    for problem in annotations.problems:
        logger.warning("%s", problem)
    name, localizer = chosen_localizer(args)
    out = args.out or Path("runs") / f"vq2d-{root.name}-{args.split}-{name}"
    write_json(
        out / "config.json", {"command": command, "preset": name, "config": localizer.config}
    )

    runner = Runner(annotations, root, localizer, cache=args.cache)
    report = runner.run(limit=args.limit, overwrite=args.overwrite)
    submission = write_submission(annotations, report, out)
    traces = write_traces(report, out)
    failures = write_failures(report, out)
    page = draw_all(
        annotations, report, out, root=root, preset=name, command=command, videos=not args.no_videos
    )

    evaluate_vq2d.main(
        [
            *scoring(submission, annotations, out / "figures.json"),
            *(["--trace", str(traces)] if traces else []),
        ]
    )
    if args.true_seeds:
        print("\nwith the true box at the found frame:")
        oracle = write_oracle_submission(annotations, report, localizer, root=root, out=out)
        evaluate_vq2d.main(scoring(oracle, annotations, out / "figures-true-seeds.json"))
    print(
        f"\n{len(report.tasks)} queries answered, {len(report.failures)} failed; "
        f"{report.images_encoded} images encoded; {time.perf_counter() - started:.0f} s "
        f"(tokens {report.seconds['tokens']:.0f}, queries {report.seconds['queries']:.0f})"
        f"{peak_memory()}"
    )
    print(f"submission  {submission}\npictures    {page}")
    if report.failures:
        print(f"failures    {failures}")
    return 1 if report.failures else 0


def scoring(predictions: Path, annotations: Annotations, figures: Path) -> list[str]:
    """The arguments of the evaluation."""
    files = {"--predictions": predictions, "--annotations": annotations.path, "--json": figures}
    return [str(part) for pair in files.items() for part in pair]


def peak_memory() -> str:
    """The most resident memory that this process has had, as the end of a line; Linux only."""
    if sys.platform != "linux":
        return ""
    import resource  # not on Windows

    return f"; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB at most"


def find_data(given: Path | None) -> Path:
    """The data folder: the given one, a usual place, or the embedded sample, which is announced."""
    if given is not None:
        return given
    for place in DATA_PLACES:
        folder = Path(place).expanduser()
        if (folder / "v2" / "annotations").is_dir():
            return folder
    print("No Ego4D folder was given or found: this run uses the embedded sample (data/sample).")
    return SAMPLE


if __name__ == "__main__":
    sys.exit(main())
