"""A run on two Ray nodes, one of which is killed while it trains, against the same run on this machine."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_run import SMALL
from test_evolve import command, outcome, run  # same folder

pytestmark = [pytest.mark.ray, pytest.mark.slow]
pytest.importorskip("ray")
sys.path.insert(0, str(Path(__file__).parents[1] / "scheduler"))

from ray_cluster import two_nodes  # noqa: E402

FINISHED_BEFORE_THE_KILL = 14


def test_killed_node_does_not_change_a_run(tmp_path: Path) -> None:
    config, whole, spread = tmp_path / "small.toml", tmp_path / "whole", tmp_path / "spread"
    config.write_text(SMALL)
    assert run("evolve", config, "--out", whole).returncode == 0
    with two_nodes(memory_bytes=6 * 10**9) as cluster:
        (doomed,) = cluster.worker_nodes
        arguments = ("evolve", config, "--out", spread, "--executor", "ray", "--address", cluster.address)
        with subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as going:
            deadline = time.monotonic() + 120.0
            while len(list((spread / "results").glob("*.json"))) < FINISHED_BEFORE_THE_KILL:
                assert time.monotonic() < deadline
                assert going.poll() is None, going.communicate()[0]
                time.sleep(0.05)
            cluster.remove_node(doomed, allow_graceful=False)
            said = going.communicate(timeout=240)[0]
        assert going.returncode == 0, said
    assert outcome(spread) == outcome(whole)
