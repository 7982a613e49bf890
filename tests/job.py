"""The main job with models that are tiny or see colours only."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from ren_core.executor.here import InProcess
from tests.tiny import ColourSegmenter, ColourTracker, tiny_ren
from vq2d.ego4d.annotations import load_annotations
from vq2d.job.answerer import Answerer, ClipFiles
from vq2d.job.outputs import write_failures, write_submission, write_traces
from vq2d.job.remembering import Rememberer
from vq2d.job.runner import Runner
from vq2d.localize.encode import EncodeConfig, TokenEncoder
from vq2d.localize.localizer import Localizer
from vq2d.localize.models import Models
from vq2d.localize.presets import VQ2DConfig
from vq2d.localize.query import QueryConfig
from vq2d.localize.refine import RefineConfig
from vq2d.localize.search import SearchConfig
from vq2d.localize.tokens import TokenConfig
from vq2d.memory.memory import Memory, remembering
from vq2d.memory.store import Store

CONFIG = VQ2DConfig(
    grid_size=8,
    encode=EncodeConfig(space="patch"),
    tokens=TokenConfig(chunk_frames=8, batch_crops=10),
    query=QueryConfig(crop_factors=(1.0, 2.0)),
    search=SearchConfig(top_k=6, floor=0.5),
    refine=RefineConfig(crop_factors=(1.5, 2.5), floor=0.5, keep_ratio=0.9),
)

MEMORY_CONFIG = remembering(replace(CONFIG, search=replace(CONFIG.search, keep_ratio=0.85)))


@dataclass(frozen=True)
class TinyRecipe:
    """Builds an ``Answerer`` of tiny models; each query takes at least ``pause_s``."""

    files: ClipFiles
    cache: Path
    pause_s: float = 0.0

    def __call__(self):
        answerer = Answerer(self.files, tiny_localizer(), cache=self.cache)
        localize = answerer.localizer.localize

        def slowly(*args):
            time.sleep(self.pause_s)
            return localize(*args)

        answerer.localizer.localize = slowly
        return answerer


@dataclass(frozen=True)
class TinyMemory:
    """Builds a ``Rememberer`` of tiny models, for a memory that is there."""

    folder: Path

    def __call__(self):
        localizer = tiny_localizer(MEMORY_CONFIG)
        return Rememberer(Memory(Store(self.folder, catalogued=False), localizer))


def tiny_localizer(config=CONFIG):
    encoder = TokenEncoder(tiny_ren(aggregate=config.aggregate), config.encode)
    return Localizer(Models(encoder, ColourSegmenter(), ColourTracker()), config)


def make_answerer(root, cache, config=CONFIG):
    return Answerer(ClipFiles(root), tiny_localizer(config), cache=cache)


def make_runner(root, cache, config=CONFIG, answerer=None):
    answerer = answerer or make_answerer(root, cache, config)
    annotations = load_annotations(root / "v2/annotations/vq_val.json")
    return Runner(annotations, ClipFiles(root), InProcess(answerer), cache=cache)


def run(root, cache, out, config=CONFIG, **options):
    runner = make_runner(root, cache, config)
    report = runner.run(**options)
    write_submission(runner.annotations, report.answers, out)
    write_traces(report.answers, out)
    write_failures(report, out)
    return report
