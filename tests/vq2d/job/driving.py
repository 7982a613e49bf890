"""``python -m tests.vq2d.job.driving ADDRESS ROOT CACHE``: answer slowly on a cluster."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from ren_core.executor.ray import RayExecutor
from tests.job import TinyRecipe
from vq2d.ego4d.annotations import load_annotations
from vq2d.job.answerer import ClipFiles, code_identity
from vq2d.job.runner import Runner

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    address, root, cache = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    files = ClipFiles(root)
    executor = RayExecutor(address=address, workers=2)
    recipe = TinyRecipe(files, cache, pause_s=2.0)
    annotations = load_annotations(root / "v2/annotations/vq_val.json")
    with executor.open(recipe, shared=cache, expected=code_identity()) as pool:
        Runner(annotations, files, pool, cache=cache).run()
