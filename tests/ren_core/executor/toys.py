"""Workers that write one small file an item, and die or wait when they are told to."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Toy:
    folder: Path
    identity: dict[str, str]

    def __call__(self, load, on_progress):
        begun = self.folder / f"{load['name']}.begun"
        with begun.open("a") as file:
            file.write("x")
        if load.get("dies") == "always" or (load.get("dies") and len(begun.read_text()) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if "raises" in load:
            raise load["raises"]
        time.sleep(load.get("waits", 0))
        (self.folder / load["name"]).write_text(load["name"])
        on_progress("frames", load.get("frames", 1))
        return torch.get_num_threads()


@dataclass(frozen=True)
class Build:
    """Builds toys: with a new identity each, or not at all, if told so."""

    folder: Path
    fault: str = ""

    def __call__(self):
        if self.fault == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        code = str(os.getpid()) if self.fault == "differs" else "abc"
        return Toy(self.folder, {"code": code})
