"""What the command lines of the main job share: options for its models, and the frame of a run."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ren_core.command import check_device, exit_code
from ren_core.engine.choice import Compute
from ren_core.errors import ConfigError, DataError
from ren_core.executor.compute import ComputeWish
from ren_core.executor.options import HERE
from ren_core.sam2.model import find_checkpoint
from ren_core.stages import write_json
from vq2d.ego4d.annotations import FILE_NAMES, Annotations, annotation_path, load_annotations
from vq2d.localize.build import build_localizer
from vq2d.localize.localizer import Localizer
from vq2d.localize.presets import PRESETS, VQ2DConfig, preset
from vq2d.memory.memory import Memory, remembering
from vq2d.memory.store import Store
from vq2d.video.readers import ReaderName

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"


def annotations_of(root: Path, split: str) -> Annotations:
    """The annotations of a split under the ego4d CLI's output directory.

    Raises:
        ConfigError: If it is a split that the embedded sample does not have.
        DataError: If the file is missing or is no VQ annotation file.
    """
    if root.resolve() == SAMPLE:
        folder = SAMPLE / "v2" / "annotations"
        splits = [name for name, file in FILE_NAMES.items() if (folder / file).is_file()]
        if split not in splits:
            raise ConfigError(
                f"the embedded sample has only the splits {' and '.join(splits)}; for {split} give "
                "Ego4D's folder with --data"
            )
    return load_annotations(annotation_path(root, split))


def peak_memory() -> str:
    """The most resident memory that this process has had; empty where that is not known."""
    if sys.platform != "linux":
        return ""
    import resource  # not on Windows

    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB at most"


def chosen_localizer(args: argparse.Namespace) -> tuple[str, Localizer]:
    """The name of the preset that the options ask for, and its loaded models.

    Raises:
        ConfigError: If a change does not fit the preset.
        DataError: If weights are missing.
    """
    name, config, compute = chosen_config(args)
    return name, build_localizer(config, compute)


def chosen_config(args: argparse.Namespace) -> tuple[str, VQ2DConfig, Compute]:
    """The name of the preset that the options ask for, its values as changed, and the engine.

    Says in one line what computes.

    Raises:
        ConfigError: If a change does not fit the preset, or the engine not the machine.
    """
    name, config = chosen_preset(args)
    compute = wished_compute(args, config).fulfilled()
    print(f"networks: {compute} (--engine, --dtype and --device choose others)")
    return name, config, compute


def chosen_preset(args: argparse.Namespace) -> tuple[str, VQ2DConfig]:
    """The name of the preset that the options ask for, and its values as changed.

    Raises:
        ConfigError: If a change does not fit the preset.
    """
    has_gpu = torch.cuda.is_available()
    if getattr(args, "executor", HERE) != HERE:
        has_gpu = bool(args.gpus_per_worker)
    name = args.preset or default_preset(args.device or ("cuda" if has_gpu else "cpu"))
    return name, preset(name, args.changes)


def wished_compute(args: argparse.Namespace, config: VQ2DConfig) -> ComputeWish:
    """What the options want to compute the networks of a preset."""
    wish = (args.engine, args.device, args.dtype)
    return ComputeWish(*wish, suits_openvino=config.suits_openvino, compiled=args.compile)


def default_preset(device: str) -> str:
    """``paper`` where a GPU and a SAM 2 checkpoint are at hand, else ``embedded``; says so."""
    reason = "no GPU"
    if device != "cpu":
        try:
            find_checkpoint(PRESETS["paper"].sam2)
        except DataError:
            reason = "no SAM 2 checkpoint"
        else:
            return "paper"
    print(f"preset embedded ({reason}): the small encoder, and masks of its own; see README")
    return "embedded"


def run_command(
    name: str,
    argv: Sequence[str] | None,
    args: argparse.Namespace,
    run: Callable[[argparse.Namespace, str], int],
) -> int:
    """Call ``run`` with the arguments and the command as typed; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    typed = sys.argv[1:] if argv is None else argv

    def checked() -> int:
        if getattr(args, "executor", HERE) == HERE:  # else it is for other machines to say
            check_device(args.device)
        return run(args, shlex.join(["vq2d", name, *typed]))

    return exit_code(checked)


def about(path: Path, reason: str) -> str:
    """A sentence about a file that names it once."""
    return reason if str(path) in reason else f"{path}: {reason}"


def opened_memory(
    args: argparse.Namespace, store: Store, *, reader: ReaderName = "av"
) -> tuple[str, Memory]:
    """The name of the preset, and a memory that is there with its loaded models.

    Args:
        args: Of ``add_preset_options``; without a preset, the memory's own is taken.
        store: The memory.
        reader: What decodes videos.

    Raises:
        ConfigError: If a change does not fit the preset, or the model not the memory.
        DataError: If weights are missing.
    """
    args.preset = args.preset or store.settings.model_name
    name, config, compute = chosen_config(args)
    return name, Memory(store, build_localizer(remembering(config), compute), reader=reader)


def forget_old(store: Store) -> None:
    """Remove what a memory shall not keep any more, and say so."""
    for video in store.forget():
        print(f"forgotten   {video.path}, recorded {video.recorded_at:%Y-%m-%d}")


def write_config(
    args: argparse.Namespace,
    out: Path,
    *,
    preset: str,
    command: str,
    config: VQ2DConfig,
    networks: str,
) -> None:
    """``config.json``: the command, every number, what computed, and whose tokens were kept."""
    kept = {} if args.keep_cache_of is None else {"tokens_kept_of_code": args.keep_cache_of}
    known = {"command": command, "preset": preset, "networks": networks, **kept}
    write_json(out / "config.json", {**known, "config": config})
