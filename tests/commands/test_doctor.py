import json
import sys
from importlib import metadata

import pytest
import torch
from click.testing import CliRunner

from nestevo_hw.base.documents import plain, write_json
from nestevo_hw.base.memory import MachineMemory
from nestevo_hw.commands import doctor
from nestevo_hw.commands.doctor import Check
from nestevo_hw.profiler.gpu_context import GpuOverhead, overheads_file


def by_name(checks):
    return {check.name: check for check in checks}


def test_a_ready_machine():
    result = CliRunner().invoke(doctor.doctor, ["--json"])
    document = json.loads(result.stdout)
    found = {check["name"]: check for check in document["checks"]}
    assert {"python", "torch", "torchvision", "aihwkit", "crossbar", "device", "cores", "memory", "disk"} <= set(found)
    assert found["crossbar"]["status"] == "ok"
    assert all(set(check) == {"name", "status", "detail", "advice"} for check in document["checks"])
    assert document["ok"] is all(check["status"] != "fail" for check in document["checks"])
    assert result.exit_code == (0 if document["ok"] else 1)


def test_the_pins_are_those_of_the_distribution():
    pinned = [r for r in metadata.requires("nestevo-hw") if "==" in r and ";" not in r]
    checks = by_name(doctor.check_packages())
    assert len(pinned) >= 3
    for requirement in pinned:
        name, pin = requirement.split("==")
        assert checks[name].detail.startswith(pin)


@pytest.mark.parametrize(
    ("installed", "status"),
    [("2.14.1", "ok"), ("2.14.1+cpu", "ok"), ("2.14.10", "fail"), ("2.13.0", "fail"), (None, "fail")],
)
def test_a_pinned_version_must_match(monkeypatch, installed, status):
    monkeypatch.setattr(metadata, "requires", lambda _: ["torch==2.14.1", 'ray>=2 ; extra == "ray"'])
    monkeypatch.setattr(doctor, "_installed", lambda _: installed)
    checks = by_name(doctor.check_packages())
    assert checks["torch"].status == status
    assert bool(checks["torch"].advice) == (status == "fail")
    assert checks["packages"].status == "ok"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda _: ["click>=8", "no-such-package>=1", "nor-this"])
    assert by_name(doctor.check_packages())["packages"].detail == "missing: no-such-package, nor-this"


def test_a_simulator_that_cannot_be_imported_is_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "nestevo_hw.crossbar.check", None)
    result = CliRunner().invoke(doctor.doctor, ["--json"])
    document = json.loads(result.stdout)
    crossbar = next(check for check in document["checks"] if check["name"] == "crossbar")
    assert result.exit_code == 1
    assert document["ok"] is False
    assert crossbar["status"] == "fail"
    assert "nestevo_hw.crossbar.check" in crossbar["detail"]
    assert crossbar["advice"]


@pytest.mark.parametrize(("error", "status"), [(0.1, "ok"), (0.0, "fail"), (float("nan"), "fail"), (3.0, "fail")])
def test_an_implausible_weight_error_fails(monkeypatch, error, status):
    from nestevo_hw.crossbar import check

    monkeypatch.setattr(check, "program_one_tile", lambda: error)
    assert doctor.check_crossbar().status == status


def test_a_failing_machine_says_what_to_do(monkeypatch):
    failing = Check(name="torch", status="fail", detail="2.0 [needs 3.0]", advice="install it")
    monkeypatch.setattr(doctor, "run_checks", lambda: [failing])
    result = CliRunner().invoke(doctor.doctor, [])
    assert result.exit_code == 1
    assert "2.0 [needs 3.0]" in result.stdout
    assert "install it" in result.stdout


@pytest.mark.parametrize(("available", "status"), [(1e9, "fail"), (2e9, "warn"), (16e9, "ok"), (None, "warn")])
def test_memory(available, status):
    memory = None if available is None else MachineMemory(total_bytes=10**11, available_bytes=available)
    assert doctor.check_memory(memory).status == status


def test_a_gpu_tells_what_is_taken_of_it_and_how_to_measure_that(monkeypatch, tmp_path):
    """By a pretended driver, of a GPU whose figures are published, then measured."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Pretended")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    (found,) = doctor.check_gpu()
    assert (found.status, found.advice) == ("warn", "measure it: nestevo-hw doctor --measure-gpu")
    assert "0.80 GB for its context and 2 x 32.0 MiB for cuBLAS" in found.detail
    assert "(measured on an H200, torch 2.11, CUDA 13)" in found.detail
    one = GpuOverhead(gpu="Pretended", torch=torch.__version__, context_bytes=610_000_000, blas_bytes=2**20)
    overheads_file().parent.mkdir()
    write_json(overheads_file(), plain([one]))
    (found,) = doctor.check_gpu()
    assert (found.status, found.advice) == ("ok", "")
    assert "0.61 GB for its context and 2 x 1.0 MiB for cuBLAS besides its tensors (measured here)" in found.detail
    overheads_file().write_text("[")
    (found,) = doctor.check_gpu()
    assert found.status == "warn"
    assert "gpus.json" in found.detail


def test_no_gpu_is_measured_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert list(doctor.check_gpu()) == []
    result = CliRunner().invoke(doctor.doctor, ["--measure-gpu"])
    assert result.exit_code == 2
    assert "--measure-gpu: torch finds no CUDA device" in result.stderr
