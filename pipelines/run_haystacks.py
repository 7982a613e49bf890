"""Visual Haystacks: find the image with one object among N, and say whether it shows another."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from eval.haystacks import protocol as haystacks
from eval.haystacks.protocol import Answer, Figures, HaystackConfig, Question, Similarities
from eval.haystacks.tokens import RegionEncode, encode_images, similarity_tables
from ren_core.command import exit_code, typed_fields
from ren_core.encoders.siglip2 import DEFAULT, MODELS, SigLip2, load_siglip2, random_siglip2
from ren_core.model import REN
from ren_core.presets import PROMPTING
from ren_core.stages import write_json
from ren_core.transfer import Membership, TransferConfig, Vanished

logger = logging.getLogger("run_haystacks")

REGIONS = {"input_size": int, "prompting": str, "grid_size": int, "compactness": float}
REGIONS |= {"merge_similarity": float, "min_group": int, "regions": int}
"""Fields of the REN preset that the command line may change."""
CHANCE = "SigLIP 2 has random weights: every accuracy below is chance and says nothing of a method."


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result: a method at one haystack size."""

    method: str
    images: int
    figures: Figures
    answers: list[Answer]


def main(argv: Sequence[str] | None = None) -> int:
    """Encode what has no tokens yet, answer, print; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    words = sys.argv[1:] if argv is None else argv
    command = shlex.join(["python", "pipelines/run_haystacks.py", *words])
    return exit_code(lambda: run(args, command))


def run(args: argparse.Namespace, command: str) -> None:
    """Do what the command line asks."""
    started = time.perf_counter()
    config = HaystackConfig(**typed_fields(args, HaystackConfig))
    transfer = TransferConfig(**typed_fields(args, TransferConfig))
    questions = read_all(args)
    names = dict.fromkeys(n for each in questions.values() for q in each for n in q.images)
    files = {name: haystacks.find_image(args.coco, name) for name in names}
    logger.info(
        "haystacks: %d questions over %d different images",
        sum(map(len, questions.values())),
        len(files),
    )
    if args.threads:
        torch.set_num_threads(args.threads)
    siglip = build_siglip(args).to(args.device)
    ren = build_ren(args)
    encode = RegionEncode(ren, siglip.vision, transfer)
    store = encode.open_store(args.cache, siglip.fingerprint)
    encoded = encode_images(files, encode, store=store, batch=args.batch)
    rows = answer_all(questions, files, siglip, store, config)

    random = args.random_weights is not None
    print(CHANCE + "\n" + table(rows) if random else table(rows))
    print(f"{encoded} of {len(files)} images encoded, {time.perf_counter() - started:.1f} s")
    settings = {"regions": ren.config, "transfer": transfer, "protocol": config}
    result = {"command": command, "siglip2": args.siglip, "random_weights": args.random_weights}
    result |= {"note": CHANCE if random else None, "settings": settings, "images": len(files)}
    result |= {"encoded": encoded, "device": args.device, "store": store.name}
    if args.out is not None:
        seconds = time.perf_counter() - started
        write_json(args.out, {**result, "seconds": seconds, "rows": [asdict(r) for r in rows]})


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=Path("data/VHs_qa"), help="folder of the question files")
    add("--coco", type=Path, default=Path("data/coco"), help="folder of train2017 and val2017")
    add("--subset", choices=haystacks.SUBSETS, default=haystacks.SUBSETS[0], help="question set")
    add("--sizes", type=int, nargs="+", default=list(haystacks.SIZES), help="images N; 1 is oracle")
    add("--limit", type=int, help="first questions of each file (default: all)")
    add("--preset", default="dino-vitb8-regions", help="REN preset, or a head's file")
    add("--siglip", choices=sorted(MODELS), default=DEFAULT, help="SigLIP 2 model")
    add("--weights", type=Path, help="its weight file (default: the fetched one)")
    add("--tokenizer", type=Path, help="its tokenizer.json (default: the fetched one)")
    add(
        "--random-weights",
        type=int,
        metavar="SEED",
        help="a reduced SigLIP 2 with random weights: proves the path; accuracy is then chance",
    )
    add("--device", default="cpu", help="torch device")
    add("--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="of REN")
    add("--threads", type=int, help="CPU threads (as torch chooses)")
    add("--batch", type=int, default=8, help="images encoded at once")
    add("--cache", type=Path, default=Path("runs/cache"), help="folder of the image tokens")
    add("--out", type=Path, help="JSON file to write")
    _add_settings(parser)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Options that replace single values of the configurations, which hold the defaults."""
    h, t = HaystackConfig(), TransferConfig()
    later: Any = argparse.SUPPRESS

    def add(name: str, kind: type, text: str, choices: Sequence[str] | None = None) -> None:
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, default=later, help=text, choices=choices)

    add("threshold", float, f"cosine above which the answer is yes ({h.threshold})")
    add("template", str, f"sentence around an object's name ({h.template})")
    add("resamples", int, f"of the bootstrap ({h.resamples})")
    add("seed", int, f"of the bootstrap ({h.seed})")
    add("patches", str, f"which patches a region has ({t.patches})", get_args(Membership))
    add("vanished", str, f"what becomes of tiny regions ({t.vanished})", get_args(Vanished))
    for name, kind in REGIONS.items():
        choices = PROMPTING if name == "prompting" else None
        add(name, kind, "of the REN preset (default: its own)", choices)


def read_all(args: argparse.Namespace) -> dict[int, list[Question]]:
    """Questions by haystack size."""
    return {
        size: haystacks.read_questions(haystacks.question_file(args.data, args.subset, size))[
            : args.limit
        ]
        for size in args.sizes
    }


def build_siglip(args: argparse.Namespace) -> SigLip2:
    """The model, or its reduced stand-in."""
    if args.random_weights is not None:
        return random_siglip2(args.siglip, seed=args.random_weights)
    return load_siglip2(args.siglip, weights=args.weights, tokenizer=args.tokenizer)


def build_ren(args: argparse.Namespace) -> REN:
    """The preset with the values that were given."""
    typed = vars(args)
    changes = {name: typed[name] for name in REGIONS if name in typed}
    dtype = getattr(torch, args.dtype)
    return REN.from_pretrained(args.preset, device=args.device, dtype=dtype, **changes)


def answer_all(
    questions: Mapping[int, Sequence[Question]],
    files: Mapping[str, Path],
    siglip: SigLip2,
    store: Path,
    config: HaystackConfig,
) -> list[Row]:
    """Answers of both methods at every size."""
    objects = dict.fromkeys(
        o for each in questions.values() for q in each for o in (q.needle, q.target)
    )
    sentences = [haystacks.sentence(name, config) for name in objects]
    texts = dict(zip(sentences, siglip.text(sentences), strict=True))
    by_region, by_image = similarity_tables(files, texts, store)
    methods: dict[str, Similarities] = {"REN regions": by_region, "whole image": by_image}
    rows = []
    for method, similarities in methods.items():
        for size, asked in questions.items():
            answers = [haystacks.answer(q, similarities, config) for q in asked]
            rows.append(Row(method, size, haystacks.figures(answers, config), answers))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Accuracy, needle recall and yes-rate in percent, one line per method and size."""
    lines = [
        f"{'method':<12} {'N':>5} {'questions':>9} {'accuracy':>8} {'bootstrap':>13} "
        f"{'needle':>6} {'yes':>6} {'truly yes':>9}"
    ]
    for row in rows:
        f = row.figures
        spread = f"{100 * f.bootstrap_mean:.1f} ± {100 * f.bootstrap_std:.1f}"
        lines.append(
            f"{row.method:<12} {row.images:>5} {f.questions:>9} {100 * f.accuracy:>8.1f} "
            f"{spread:>13} {100 * f.needle_recall:>6.1f} {100 * f.yes_rate:>6.1f} "
            f"{100 * f.truth_rate:>9.1f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
