"""The options that choose where work runs."""

from __future__ import annotations

import argparse
import importlib.util

from ren_core.errors import ConfigError
from ren_core.executor.base import Executor
from ren_core.executor.here import Here
from ren_core.executor.ray import RayExecutor

HERE, RAY = "here", "ray"
OF_RAY = ("workers", "cpus_per_worker", "gpus_per_worker")


def add_executor_options(parser: argparse.ArgumentParser) -> None:
    """``--executor`` and how many workers of which size."""
    group = parser.add_argument_group("many machines (docs/cluster.md)")
    group.add_argument(
        "--executor",
        type=executor_name,
        default=HERE,
        metavar="here|ray[:ADDRESS]",
        help="where the work runs: in this process, or on a Ray cluster (that of the address, of "
        "RAY_ADDRESS or of this machine; else one is started here) (here)",
    )
    group.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="of ray: workers (as many as the cluster has room for)",
    )
    group.add_argument(
        "--cpus-per-worker",
        type=_count,
        metavar="C",
        help="of ray: processors of a worker, and its number of threads (1)",
    )
    group.add_argument(
        "--gpus-per-worker",
        type=_share,
        metavar="G",
        help="of ray: GPUs of a worker; a share such as 0.5 lets two use one (0)",
    )


def executor_name(text: str) -> str:
    """``here``, ``ray`` or ``ray:ADDRESS``, as the type of an option."""
    if text in (HERE, RAY) or (text.startswith(f"{RAY}:") and text != f"{RAY}:"):
        return text
    raise argparse.ArgumentTypeError(
        f"must be here, ray or ray:ADDRESS (such as ray:10.0.0.1:6379), got {text!r}"
    )


def chosen_executor(args: argparse.Namespace) -> Executor:
    """The executor that the options ask for.

    Raises:
        ConfigError: If options do not go together, or Ray is not installed.
    """
    given = [name for name in OF_RAY if getattr(args, name) is not None]
    if args.executor == HERE:
        if given:
            raise ConfigError(
                f"--{given[0].replace('_', '-')} is of workers on a cluster: give --executor ray "
                "with it, or leave it out"
            )
        return Here()
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "--executor ray needs Ray, which is not installed here: pip install "
            "'ren-vq2d[cluster]', on every machine of the cluster"
        )
    return RayExecutor(
        address=args.executor.partition(":")[2] or None,
        workers=args.workers,
        **{name: getattr(args, name) for name in OF_RAY[1:] if name in given},
    )


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {count}")
    return count


def _share(text: str) -> float:
    share = float(text)
    if not (0 <= share <= 64 and (share <= 1 or share.is_integer())):
        raise argparse.ArgumentTypeError(f"must be a share up to 1 or a whole number, got {text}")
    return share
