"""A GPU of this machine, told by a pretended driver: measured in a child process, kept, and used."""

import json

import pytest
import torch

from nestevo_hw.base.errors import InputError, TaskError
from nestevo_hw.profiler import gpu_context
from nestevo_hw.profiler.gpu_context import beside, known_overhead, measure_overhead, overheads_file, target_of
from nestevo_hw.profiler.target import CPU, CUDA, CUDA_HOPPER

GPU = torch.device("cuda", 0)
MB = 10**6


@pytest.fixture
def driver(monkeypatch, tmp_path):
    """Answers for a GPU: what is free at each look, its name and its capability, which may be changed."""
    answers = {"free": [1000 * MB, 300 * MB], "name": "Pretended", "capability": (8, 6)}
    ones = torch.ones
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch, "ones", lambda *size, **_: ones(*size))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (answers["free"].pop(0), 2000 * MB))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: answers["name"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: answers["capability"])
    return answers


def pretend_child(monkeypatch, reserved_bytes):
    told = {"reserved_bytes": reserved_bytes, "blas_bytes": 7}
    program = ["-c", f"import sys; print({json.dumps(json.dumps(told))}, flush=True); sys.stdin.read()"]
    run = gpu_context.beside
    monkeypatch.setattr(gpu_context, "beside", lambda _, device: run(program, device))


def test_a_device_without_measurement_is_as_published(driver):
    assert target_of(torch.device("cpu")) == CPU
    assert target_of(GPU) == CUDA
    driver["capability"] = (9, 0)
    assert target_of(GPU) == CUDA_HOPPER


def test_what_is_measured_is_kept_for_this_gpu_and_torch(driver, monkeypatch):
    pretend_child(monkeypatch, 100 * MB)
    found = measure_overhead(GPU)
    assert found.context_bytes == 600 * MB  # of the 700 MB that are free no more, 100 are the allocator's
    assert known_overhead(GPU) == found
    target = target_of(GPU)
    assert (target.context_bytes, target.blas_bytes, target.source) == (600 * MB, 7, "measured here")
    driver["name"] = "Other"
    assert target_of(GPU) == CUDA
    driver["free"] = [1000 * MB, 500 * MB]
    measure_overhead(GPU)
    assert [one["gpu"] for one in json.loads(overheads_file().read_text())] == ["Pretended", "Other"]


def test_others_who_free_memory_and_a_child_that_fails_are_told(driver):
    with pytest.raises(TaskError, match="Pretended: others freed memory"):
        beside(["-c", "print('{\"reserved_bytes\": 700000000}')"], GPU)
    driver["free"] = [1, 1]
    with pytest.raises(TaskError, match=r"Pretended: the training failed .exit status 3"):
        beside(["-c", "import sys; sys.exit(3)"], GPU)


def test_a_damaged_file_is_named_with_what_to_do(driver):
    overheads_file().parent.mkdir()
    overheads_file().write_text('[{"gpu": 3}]')
    with pytest.raises(InputError, match=r"gpus\.json.*doctor --measure-gpu"):
        target_of(GPU)


@pytest.mark.gpu
def test_a_real_gpu_is_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = measure_overhead(GPU)
    assert 10**8 < found.context_bytes < 2 * 10**9
    assert found.blas_bytes in (CUDA.blas_bytes, CUDA_HOPPER.blas_bytes)
