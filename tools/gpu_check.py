"""Measure what the parts of the paper preset cost on a GPU; see gpu_check.sh.

The networks are the true architectures with random weights, and the clip is made up: a textured
plane that moves. So speeds are those of the real ones; tokens and masks mean nothing, and how many
tokens are left after merging is another number than with real weights.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ren_core.command import check_device, exit_code
from ren_core.encoders.catalog import build_encoder
from ren_core.engine.choice import choose_compute
from ren_core.images import Image, to_tensor
from ren_core.model import REN
from ren_core.presets import ren_preset
from ren_core.region_encoder import RegionEncoder
from ren_core.sam2.model import Sam2Model
from ren_core.stages import write_json
from vq2d.commands.shared import peak_memory
from vq2d.localize.encode import TokenEncoder
from vq2d.localize.presets import PRESETS
from vq2d.localize.tokens import clip_tokens
from vq2d.masking.sam2_video import Sam2Tracker
from vq2d.video.crops import frame_crops
from vq2d.video.frames import open_video
from vq2d.video.writer import write_h264

ROOT = Path(__file__).resolve().parents[1]
FPS = 30
WARM_UP = 3
"""Calls, or frames, before time is taken."""
CONFIG = PRESETS["paper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is measured on.

    Attributes:
        encoder: Catalogue name.
        input_size: px, side of the square that the encoder sees.
        sam2: Which SAM 2.1 network.
        sam2_size: px, the same of SAM 2.
        size_hw: px, of the clip.
        seconds: Length of the clip.
        tracked: Frames that are tracked.
        batches: Of the bare encoder.
        compared: Images whose tokens are compared in two precisions.
    """

    encoder: str = "dinov2-vitl14"
    input_size: int = 518
    sam2: str = "sam2.1_hiera_l"
    sam2_size: int = 1024
    size_hw: tuple[int, int] = (1080, 1440)
    seconds: float = 120.0
    tracked: int = 60
    batches: int = 60
    compared: int = 20


SMALL = Sizes(
    encoder="dinov2-vits14",
    input_size=56,
    sam2="sam2.1_hiera_t",
    sam2_size=64,
    size_hw=(72, 96),
    seconds=1.0,
    tracked=5,
    batches=2,
    compared=5,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured.

    Attributes:
        machine: GPU or processor.
        networks: Engine and precision.
        crops_per_s: Of stage 1, from the video file to tokens on disk.
        bare_crops_per_s: Of the encoder alone, on batches that lie ready.
        tokens_per_crop: Left after merging.
        track_s_per_frame: Of SAM 2's tracker, reading frames included.
        gpu_gib: Most memory of the GPU, all in bfloat16; None on a processor.
        cosine: Mean and least, of the tokens of a grid in this precision and in float32.
    """

    machine: str
    networks: str
    crops_per_s: float
    bare_crops_per_s: float
    tokens_per_crop: float
    track_s_per_frame: float
    gpu_gib: float | None
    cosine: tuple[float, float]

    def rows(self) -> list[str]:
        """For people."""
        share = self.crops_per_s / self.bare_crops_per_s
        memory = "not measured" if self.gpu_gib is None else f"{self.gpu_gib:.1f} GiB at most"
        return [
            f"machine       {self.machine}; {self.networks}",
            f"stage 1       {self.crops_per_s:.1f} crops/s from file to disk, {share:.2f} of the "
            f"bare encoder's {self.bare_crops_per_s:.1f}; {self.tokens_per_crop:.0f} tokens a crop",
            f"SAM 2 tracks  {self.track_s_per_frame:.4f} s a frame",
            f"GPU memory    {memory}; of the process {peak_memory() or 'not known'}",
            f"precision     cosine to float32 {self.cosine[0]:.5f}, least {self.cosine[1]:.5f}",
        ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write, run the tests that need a GPU; 0 done, 1 failed, 2 usage."""
    args = build_parser().parse_args(argv)
    code = exit_code(lambda: run(args))
    quiet = "ignore::pytest.PytestAssertRewriteWarning"  # of what is imported already
    return code or int(pytest.main(["-W", quiet, "-m", "gpu", str(ROOT / "tests" / "gpu")]))


def run(args: argparse.Namespace) -> None:
    """Measure, print, write."""
    check_device(args.device)
    started = time.perf_counter()
    sizes = SMALL if args.small else Sizes()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(sizes, torch.device(args.device), Path(folder), compiled=args.compile)
    print("\n".join([*figures.rows(), f"took          {time.perf_counter() - started:.0f} s"]))
    if args.out:
        write_json(args.out, {**asdict(figures), "sizes": sizes, "torch": torch.__version__})


def measure(sizes: Sizes, device: torch.device, folder: Path, *, compiled: bool) -> Figures:
    """All figures of one machine.

    Args:
        sizes: What is measured on.
        device: Of torch.
        folder: For the clip and its tokens.
        compiled: Whether torch compiles encoder and head.
    """
    clip = folder / "clip.mp4"
    write_h264(clip, moving_plane(sizes), fps=FPS)
    ren = random_ren(sizes, device, torch.float32)
    pictures = [to_tensor(frame) for frame in islice(moving_plane(sizes), sizes.compared)]
    exact = ren.grid_tokens(pictures)
    is_gpu = device.type == "cuda"
    ren = random_ren(sizes, device, torch.bfloat16, compiled=compiled)
    if is_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    alike = F.cosine_similarity(exact, ren.grid_tokens(pictures), dim=-1)
    bare = bare_speed(ren, sizes)
    speed, tokens = stage_1_speed(ren, clip, folder)
    model = Sam2Model.random(
        sizes.sam2, 0, device=device, dtype=ren.dtype, image_size=sizes.sam2_size
    )
    return Figures(
        machine=torch.cuda.get_device_name(device) if is_gpu else platform.machine(),
        networks=str(ren.compute),
        crops_per_s=speed,
        bare_crops_per_s=bare,
        tokens_per_crop=tokens,
        track_s_per_frame=tracking_time(model, clip, sizes.tracked),
        gpu_gib=torch.cuda.max_memory_allocated(device) / 2**30 if is_gpu else None,
        cosine=(float(alike.mean()), float(alike.min())),
    )


def moving_plane(sizes: Sizes) -> Iterator[Image]:
    """The frames of the clip: a window that moves over a coloured texture."""
    H, W = sizes.size_hw
    rng, reach = np.random.default_rng(0), min(H, W) // 4
    coarse = rng.integers(0, 256, (24, 32, 3), np.uint8)
    plane = cv2.resize(coarse, (W + reach, H + reach), interpolation=cv2.INTER_CUBIC)
    fine = rng.integers(-12, 13, plane.shape, np.int16)
    plane = (plane.astype(np.int16) + fine).clip(0, 255).astype(np.uint8)
    for i in range(round(sizes.seconds * FPS)):
        left, top = (round((1 + np.sin(i / slow)) / 2 * reach) for slow in (37, 23))
        yield np.ascontiguousarray(plane[top : top + H, left : left + W])


def random_ren(
    sizes: Sizes, device: torch.device, dtype: torch.dtype, *, compiled: bool = False
) -> REN:
    """The region model of the preset with seeded weights."""
    compute = choose_compute("torch", device, dtype, suits_openvino=False, compiled=compiled)
    encoder = build_encoder(sizes.encoder, pretrained=False, input_size=sizes.input_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = RegionEncoder(encoder.spec.dim)
    config = replace(
        ren_preset(CONFIG.ren), prompting="grid", grid_size=CONFIG.grid_size, aggregate=True
    )
    ren = REN(encoder, head, config, device=device, dtype=compute.dtype, compiled=compiled)
    ren.max_batch = CONFIG.tokens.batch_crops
    return ren


def bare_speed(ren: REN, sizes: Sizes) -> float:
    """Crops per second of the encoder alone."""
    batch, R = CONFIG.tokens.batch_crops, ren.image_size
    square = torch.rand((batch, 3, R, R), device=ren.device)
    for _ in range(WARM_UP):
        ren.run_encoder(square)
    wait_for(ren.device)
    started = time.perf_counter()
    for _ in range(sizes.batches):
        ren.run_encoder(square)
    wait_for(ren.device)
    return sizes.batches * batch / (time.perf_counter() - started)


def stage_1_speed(ren: REN, clip: Path, folder: Path) -> tuple[float, float]:
    """Crops per second from the file to tokens on disk; tokens per crop."""
    encoder, config = TokenEncoder(ren, CONFIG.encode), CONFIG.tokens
    frames = open_video(clip)
    few = config.batch_crops
    clip_tokens(
        frames, encoder, config, directory=folder / "warm", num_frames=min(few, len(frames))
    )
    frames = open_video(clip)
    wait_for(ren.device)
    started = time.perf_counter()
    chunks = clip_tokens(
        frames, encoder, config, directory=folder / "timed", num_frames=len(frames)
    )
    seconds = time.perf_counter() - started
    crops = len(frames) * len(frame_crops(frames.size_hw, config.crop_factors))
    return crops / seconds, sum(len(chunk.frame_idx) for chunk in chunks) / crops


def tracking_time(model: Sam2Model, clip: Path, count: int) -> float:
    """Seconds per frame of following a box in the middle."""
    frames = open_video(clip)
    H, W = frames.size_hw
    box = np.array([W / 3, H / 3, 2 * W / 3, 2 * H / 3], np.float32)
    steps = Sam2Tracker(model).propagate(frames, 0, box, len(frames))
    assert len(list(islice(steps, WARM_UP))) == WARM_UP
    wait_for(model.device)
    started = time.perf_counter()
    followed = len(list(islice(steps, count)))
    wait_for(model.device)
    return (time.perf_counter() - started) / followed


def wait_for(device: torch.device) -> None:
    """Until a GPU has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tools/gpu_check.sh", description=__doc__)
    parser.add_argument("--device", default="cuda", help="torch device (cuda)")
    parser.add_argument("--small", action="store_true", help="small networks and a short clip")
    parser.add_argument("--compile", action="store_true", help="have torch compile the networks")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
