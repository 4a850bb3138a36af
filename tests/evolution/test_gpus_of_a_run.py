"""The GPUs that a run spreads its tasks over, none of which is there."""

from dataclasses import replace

import pytest
import torch

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.execution import ExecutionConfig, gpus_of, open_executor, reservable_bytes
from nestevo_hw.profiler.target import CUDA


@pytest.fixture
def three_gpus(monkeypatch):
    """Of 80, 24 and 24 GB, none of which is there."""
    sizes = (80e9, 24e9, 24e9)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(sizes))
    monkeypatch.setattr("nestevo_hw.evolution.execution.memory_of", lambda device: round(sizes[device.index]))


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [("cpu", 1, []), ("cuda", 1, [0]), ("auto", 2, [0, 1]), ("cuda:1", 0, [1, 2]), ("cuda", 0, [0, 1, 2])],
)
def test_tasks_are_spread_over_the_gpus_from_the_device_on(device, gpus, expected, three_gpus):
    assert [gpu.index for gpu in gpus_of(ExecutionConfig(device=device, gpus=gpus))] == expected


def test_each_gpu_offers_its_own_memory_and_a_task_fits_on_any(three_gpus, monkeypatch, tmp_path):
    opened = {}
    monkeypatch.setattr("nestevo_hw.evolution.execution.LocalExecutor", lambda **given: opened.update(given))
    config = ExecutionConfig(device="cuda", gpus=0, workers=6)
    open_executor(config, tmp_path, seed=0, terminals=3, server=None, on_event=print, target=CUDA)
    assert [(g.gpu, round(g.memory_bytes / 1e9, 1), g.cores) for g in opened["gpus"]] == [
        (0, 72.0, 2), (1, 21.6, 2), (2, 21.6, 2),
    ]  # fmt: skip
    assert opened["memory_bytes"] == reservable_bytes(config) == 21_600_000_000
    open_executor(
        replace(config, memory_gb=10.0), tmp_path, seed=0, terminals=3, server=None, on_event=print, target=CUDA
    )
    assert [g.memory_bytes for g in opened["gpus"]] == [10_000_000_000] * 3


def test_gpus_that_are_not_there_are_refused(three_gpus):
    with pytest.raises(ConfigError, match=r"execution.gpus: 3 from cuda:1 on, but torch finds 3 here"):
        gpus_of(ExecutionConfig(device="cuda:1", gpus=3))
    for changes, why in (
        ({"device": "cpu"}, "device is cpu"),
        ({"executor": "ray"}, "Ray spreads tasks by itself"),
        ({"executor": "inline"}, "one task runs at a time"),
    ):
        with pytest.raises(ConfigError, match=why):
            ExecutionConfig(gpus=2, **changes)
