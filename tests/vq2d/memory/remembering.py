"""``python -m tests.vq2d.memory.remembering VIDEOS MEMORY``: remember with tiny models."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ren_core.executor.here import InProcess
from tests.job import tiny_localizer
from tests.vq2d.memory.conftest import CONFIG
from vq2d.commands.remember import add_all, find_videos
from vq2d.job.remembering import Rememberer
from vq2d.memory.memory import Memory, open_store

if __name__ == "__main__":
    torch.set_num_threads(1)
    videos, folder = map(Path, sys.argv[1:])
    localizer = tiny_localizer(CONFIG)
    memory = Memory(open_store(folder, localizer, "tiny"), localizer)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.exit(add_all(memory, InProcess(Rememberer(memory)), list(find_videos([videos], folder))))
