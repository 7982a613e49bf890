"""Fit the directions in which the vectors of a model are kept, on videos.

Those of a memory are fitted to region tracks; with --tokens, those of the main job to tokens.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ren_core.configuration import changed
from ren_core.progress import tqdm
from vq2d.commands.options import add_model_options, positive_count
from vq2d.commands.shared import chosen_config, run_command
from vq2d.localize.build import build_localizer
from vq2d.localize.chunks import TokenChunk, track_vectors
from vq2d.localize.projection import fit_projection, save_projection
from vq2d.localize.tokens import clip_tokens, open_tokens
from vq2d.memory.memory import model_digest, remembering
from vq2d.video.frames import open_video


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, nargs="+", help="videos of all kinds, some minutes")
    parser.add_argument("--tokens", action="store_true", help="of tokens that are not joined")
    parser.add_argument("--dims", type=positive_count, default=128, help="directions kept (128)")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.safetensors)")
    add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Fit; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    return run_command("fit_projection", argv, args, run)


def run(args: argparse.Namespace, command: str) -> int:
    """Do what the command line asks; the exit code."""
    del command
    _, config, compute = chosen_config(args)
    plain = changed(config, {"tokens.directions": None, "tokens.join.enabled": False})
    localizer = build_localizer(plain if args.tokens else remembering(config), compute)
    encoder, tokens = localizer.models.encoder, localizer.config.tokens
    directory = open_tokens(args.cache, encoder, tokens, keep=args.keep_cache_of)
    moment, count = np.zeros((1, 1)), 0
    for path in tqdm(args.videos, unit="video", disable=None):
        frames = open_video(path, reader=args.reader)
        folder, whole = directory / frames.fingerprint, len(frames)
        for chunk in clip_tokens(frames, encoder, tokens, directory=folder, num_frames=whole):
            vectors = token_sample(chunk) if args.tokens else track_vectors(load_file(chunk.path))
            moment = moment + vectors.T @ vectors
            count += len(vectors)
    model = encoder.space if args.tokens else model_digest(localizer)
    projection = fit_projection(moment, args.dims, model)
    save_projection(args.out, projection)
    basis = projection.basis.astype(np.float64)
    share = float(np.trace(basis.T @ moment @ basis) / np.trace(moment))
    print(f"{count} vectors, {args.dims} of {len(moment)} directions hold {share:.1%} of them")
    print(f"projection  {args.out}")
    return 0


def token_sample(chunk: TokenChunk) -> NDArray[np.float32]:
    """Every seventh token (V, D) of a chunk that keeps them whole."""
    vectors: NDArray[np.float32] = load_file(chunk.path)["vectors"][::7].astype(np.float32)
    return vectors


if __name__ == "__main__":
    sys.exit(main())
