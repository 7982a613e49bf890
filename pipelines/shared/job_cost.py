"""What the main job costs, stage by stage, beside its bare networks on the same inputs."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ren_core.executor.here import InProcess
from vq2d.ego4d.annotations import Annotations
from vq2d.job import answerer as job
from vq2d.job.answerer import Answerer
from vq2d.job.runner import Runner
from vq2d.localize import localizer as stages
from vq2d.localize.localizer import Localizer
from vq2d.masking.head import MaskSegmenter
from vq2d.masking.region import RegionSegmenter
from vq2d.scoring.breakdown import ANNOTATION_FPS
from vq2d.show.gallery import draw_all

CALLS = {
    "tokens": (job, "clip_tokens"),
    "question": (stages, "object_tokens"),
    "search": (stages, "score_frames"),
    "refine": (stages, "refine"),
    "track": (stages, "track_candidate"),
    "expand": (stages, "more_query_vectors"),
}
"""The function behind each stage, where its caller finds it."""
Shapes = tuple[tuple[int, ...], ...]
"""Of the inputs of one call of a network."""
REPLAYS = 12
"""Calls of one network with inputs of one shape that are timed; the rest cost the same."""


@dataclass(slots=True)
class StageCost:
    """Time of one stage.

    Attributes:
        processor_s: Seconds of all threads.
        wall_s: Seconds on the clock.
        bare_s: Processor seconds of its networks alone, on inputs of the same shapes.
    """

    processor_s: float = 0.0
    wall_s: float = 0.0
    bare_s: float = 0.0

    def add(self, wall_s: float, processor_s: float) -> None:
        """Count time that was spent in the stage, or in another one inside it (negative)."""
        self.wall_s += wall_s
        self.processor_s += processor_s

    @property
    def ratio(self) -> float:
        """Processor time against the bare networks; NaN without networks."""
        return self.processor_s / self.bare_s if self.bare_s else float("nan")


@dataclass(slots=True)
class JobCost:
    """What a run over a folder of clips took.

    Attributes:
        stages: By name, in the order of the job.
        frames: Frames searched, at the annotation rate.
        queries: Questions answered.
        token_bytes: What is kept of the clips.
        networks: What computed them.
    """

    stages: dict[str, StageCost]
    frames: int
    queries: int
    token_bytes: int
    networks: str

    @property
    def hours(self) -> float:
        """Of video."""
        return self.frames / ANNOTATION_FPS / 3600

    @property
    def question_s(self) -> float:
        """Processor seconds of a question, without tokens and drawing."""
        own = (c.processor_s for n, c in self.stages.items() if n not in ("tokens", "drawing"))
        return sum(own) / max(self.queries, 1)

    def rows(self) -> list[str]:
        """The table, and the figures per hour and per question."""
        head = f"{'stage':<10s}{'processor s':>14s}{'wall s':>10s}{'networks s':>12s}{'ratio':>8s}"
        table = [
            f"{name:<10s}{c.processor_s:>14.2f}{c.wall_s:>10.2f}{c.bare_s:>12.2f}"
            + (f"{c.ratio:>8.2f}" if c.bare_s else f"{'-':>8s}")
            for name, c in self.stages.items()
        ]
        tokens_s, drawing_s = self.stages["tokens"].processor_s, self.stages["drawing"].processor_s
        return [
            f"networks: {self.networks}; {torch.get_num_threads()} threads",
            head,
            *table,
            f"{self.frames} frames searched ({self.hours * 60:.1f} minutes), "
            f"{self.queries} questions",
            f"processor seconds per hour of video {tokens_s / self.hours:,.0f}",
            f"processor seconds per question      {self.question_s:.2f}",
            f"processor seconds per drawing       {drawing_s / max(self.queries, 1):.2f}",
            f"MB per hour of video                {self.token_bytes / 1e6 / self.hours:,.0f}",
        ]


@dataclass(slots=True)
class _Recorder:
    """Which network was called with inputs of which shapes, by stage; and the time of stages."""

    costs: dict[str, StageCost] = field(
        default_factory=lambda: {name: StageCost() for name in (*CALLS, "other", "drawing")}
    )
    calls: Counter[tuple[str, str, Shapes]] = field(default_factory=Counter)
    samples: dict[tuple[str, Shapes], tuple[Any, ...]] = field(default_factory=dict)
    networks: dict[str, Callable[..., Any]] = field(default_factory=dict)
    stage: str | None = None

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Time and calls inside belong to a stage, and not to the one around it."""
        around, self.stage = self.stage, stage
        wall, processor = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            self.costs[stage].add(wall, processor)
            if around is not None:
                self.costs[around].add(-wall, -processor)
            self.stage = around

    def watched(self, name: str, network: Callable[..., Any]) -> Callable[..., Any]:
        """The network, every call of which is counted."""
        self.networks[name] = network

        def call(*inputs: Any) -> Any:  # noqa: ANN401 - tensors or arrays
            shapes = tuple(tuple(x.shape) for x in inputs)
            if self.stage is not None:
                self.calls[self.stage, name, shapes] += 1
            self.samples.setdefault((name, shapes), inputs)
            return network(*inputs)

        return call

    def replay(self) -> None:
        """Time the networks alone, on kept inputs of every shape that they were called with."""
        seconds: dict[tuple[str, Shapes], float] = {}
        for (name, shapes), inputs in self.samples.items():
            times = []
            for _ in range(REPLAYS):
                started = time.process_time()
                self.networks[name](*inputs)
                times.append(time.process_time() - started)
            seconds[name, shapes] = float(np.median(times))
        for (stage, name, shapes), count in self.calls.items():
            self.costs[stage].bare_s += count * seconds[name, shapes]


def measure_job(
    annotations: Annotations, answerer: Answerer, out: Path, *, limit: int | None = None
) -> JobCost:
    """Run the job with nothing in its cache, draw its answers, and time its networks alone.

    Args:
        annotations: What to answer.
        answerer: With an empty cache.
        out: Folder of the pictures.
        limit: Queries; None: all.
    """
    recorder = _Recorder()
    localizer, cache = answerer.localizer, answerer.answers_dir.parent
    _watch(localizer, recorder)
    _warm_up(localizer)
    runner = Runner(annotations, answerer.files, InProcess(answerer), cache=cache)
    with _stages_timed(recorder), recorder.timed("other"):
        report = runner.run(limit=limit)
    with recorder.timed("drawing"):
        draw_all(report, [], out, root=answerer.files.root, videos=False)
    recorder.replay()
    return JobCost(
        stages=recorder.costs,
        frames=report.cost.frames,
        queries=report.cost.queries,
        token_bytes=_bytes_below(answerer.tokens_dir),
        networks=localizer.networks,
    )


def _watch(localizer: Localizer, recorder: _Recorder) -> None:
    """Put a counter before each network of the embedded preset."""
    ren, segmenter = localizer.models.encoder.ren, localizer.models.segmenter
    ren.run_encoder = recorder.watched("encoder", ren.run_encoder)
    ren.run_head = recorder.watched("head", ren.run_head)
    if isinstance(segmenter, MaskSegmenter):
        model = segmenter.model
        model.run_network = recorder.watched("masks", model.run_network)
    if isinstance(segmenter, RegionSegmenter):
        saliency: Any = segmenter.outliner.saliency
        saliency.network = recorder.watched("saliency", saliency.network)


def _warm_up(localizer: Localizer) -> None:
    """Compile what is compiled on the first call."""
    picture = np.zeros((64, 64, 3), np.uint8)
    models = localizer.models
    models.encoder.regions([picture])
    models.segmenter.from_point(picture, (32.0, 32.0))


@contextmanager
def _stages_timed(recorder: _Recorder) -> Iterator[None]:
    """The stages' functions are timed while this lasts."""
    originals = {name: getattr(module, function) for name, (module, function) in CALLS.items()}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **settings: Any) -> Any:  # noqa: ANN401
            with recorder.timed(name):
                return function(*args, **settings)

        return call

    try:
        for name, (module, function) in CALLS.items():
            setattr(module, function, timed(name, originals[name]))
        yield
    finally:
        for name, (module, function) in CALLS.items():
            setattr(module, function, originals[name])


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
