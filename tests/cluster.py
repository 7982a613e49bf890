"""A Ray cluster on this machine, as small as one can be: a head without processors, two nodes."""

from __future__ import annotations

import importlib.util
import warnings
from contextlib import contextmanager

import pytest

needs_ray = [
    pytest.mark.cluster,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]
STORE = {"object_store_memory": 80 * 2**20}


@contextmanager
def small_cluster():
    """The cluster, to which this process is connected."""
    import os

    os.environ["RAY_USAGE_STATS_ENABLED"] = os.environ["RAY_DEDUP_LOGS"] = "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, **STORE}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(num_cpus=1, **STORE)
        ray.init(address=cluster.address, logging_level="WARNING")
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
