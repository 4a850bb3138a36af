"""A Ray cluster of two nodes on loopback addresses of their own, for one test process."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HEAD, OTHER, DOOMED = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""Not 127.0.0.1, in whose place Ray puts this machine's address on the network."""
NODE = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "memory": 500 * 10**6}
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""By default Ray takes a quarter of a minute to give a silent node up."""


@contextmanager
def two_nodes(memory_bytes: int = NODE["memory"]) -> Iterator[Any]:
    """Yield the cluster; its workers can import what lies beside this file, its second node claims to have a GPU."""
    node = {**NODE, "memory": memory_bytes}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        head = {"node_ip_address": HEAD, "include_dashboard": False, "_system_config": QUICK_TO_NOTICE}
        cluster = Cluster(initialize_head=True, head_node_args={**node, **head})
        try:
            cluster.add_node(**node, node_ip_address=OTHER, num_gpus=1)
            yield cluster
        finally:
            cluster.shutdown()
