"""Clips by their uids, fetched with the ego4d CLI (the licence's AWS keys must be configured)."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ren_core.errors import DataError


def fetch_clips(root: Path, clip_uids: Sequence[str]) -> None:
    """Let the ego4d CLI put files of clips under its output directory; those there are skipped.

    Args:
        root: That directory.
        clip_uids: The clips.

    Raises:
        DataError: If the CLI is not installed, or fails.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as uids:
        uids.write("".join(f"{uid}\n" for uid in clip_uids))
        uids.flush()
        command = [
            *("ego4d", f"--output_directory={root}", "--datasets", "clips", "--version", "v2"),
            *("--video_uid_file", uids.name, "-y"),
        ]
        try:
            done = subprocess.run(command, check=False)
        except FileNotFoundError as err:
            raise DataError("the command ego4d is not installed: pip install ego4d") from err
    if done.returncode:
        raise DataError(
            f"`{' '.join(command)}` failed with code {done.returncode}; its last lines say why "
            "(AWS keys of the licence last 14 days); what was fetched is kept"
        )
