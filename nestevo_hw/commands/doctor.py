"""`nestevo-hw doctor`: is this machine ready?"""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import click

from nestevo_hw.base.cores import usable_cores
from nestevo_hw.base.errors import ConfigError, NestEvoError
from nestevo_hw.base.memory import MachineMemory, machine_memory
from nestevo_hw.commands.options import machine_readable

TONES: dict[str, Literal["good", "wait", "bad"]] = {"ok": "good", "warn": "wait", "fail": "bad"}
REINSTALL = "install the project again, best into a fresh environment: make clean evolve"
MAX_WEIGHT_ERROR = 0.5
"""A programmed PCM tile is off by about a tenth; beyond this the simulator is broken, not noisy."""
SPARE_MEMORY_GB, LEAST_MEMORY_GB = 4.0, 1.5
SPARE_DISK_GB, LEAST_DISK_GB = 2.0, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding about this machine."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    advice: str = ""
    """What to do; empty where nothing is to be done."""


@click.command(short_help="Is this machine ready?")
@click.option("--measure-gpu", is_flag=True, help="Measure what a process takes of the GPU besides its tensors.")
@machine_readable
def doctor(*, measure_gpu: bool, as_json: bool) -> dict[str, Any]:
    """Check this machine: versions, a really programmed crossbar tile, GPU, cores, memory, disk.

    Exit code 0 if a run would work, 1 if not; warnings do not count. What --measure-gpu finds, about ten seconds with
    nothing else on the GPU, is kept for later runs of this user.

    \b
    Example:
      nestevo-hw doctor
      nestevo-hw doctor --json
      nestevo-hw doctor --measure-gpu
    """
    from rich.console import Console

    if measure_gpu:
        with Console(stderr=True).status("training a little on the GPU ..."):
            _measure_gpu()
    with Console(stderr=True).status("programming a tile ..."):
        checks = run_checks()
    ok = all(check.status != "fail" for check in checks)
    document = {"checks": [asdict(check) for check in checks], "ok": ok}
    if not as_json:
        _show(checks, ok=ok)
    if not ok:
        if as_json:
            from nestevo_hw.base.documents import json_text

            click.echo(json_text(document))
        sys.exit(1)
    return document


def run_checks() -> list[Check]:
    """All checks, in the order in which a failure explains the next."""
    return [
        check_python(),
        *check_packages(),
        _guarded("crossbar", check_crossbar),
        _guarded("device", check_device),
        *check_gpu(),
        check_cores(),
        check_memory(machine_memory()),
        check_disk(Path.cwd()),
    ]


def check_python() -> Check:
    """The interpreter against the version this distribution asks for."""
    wanted = metadata.metadata("nestevo-hw")["Requires-Python"]
    least = tuple(int(part) for part in re.findall(r"\d+", wanted)[:2])
    detail = f"{sys.version.split()[0]} (needs {wanted})"
    if sys.version_info[:2] < least:
        advice = "install that Python, then: make evolve"
        return Check(name="python", status="fail", detail=detail, advice=advice)
    return Check(name="python", status="ok", detail=detail)


def check_packages() -> Iterator[Check]:
    """Exactly pinned packages one by one, and whether any other is missing."""
    missing = []
    for requirement in metadata.requires("nestevo-hw") or ():
        if ";" in requirement:  # an extra
            continue
        name, pin = re.match(r"([\w.-]+)\s*(?:==\s*([\w.]+))?", requirement).groups()  # type: ignore[union-attr]
        installed = _installed(name)
        if pin:
            yield _pinned(name, pin, installed)
        elif installed is None:
            missing.append(name)
    if missing:
        yield Check(name="packages", status="fail", detail=f"missing: {', '.join(missing)}", advice=REINSTALL)
    else:
        yield Check(name="packages", status="ok", detail="every other dependency is installed")


def check_crossbar() -> Check:
    """Program a real tile of the simulator and look at its weights."""
    from nestevo_hw.crossbar.check import program_one_tile

    error = program_one_tile()
    detail = f"programmed one simulated PCM tile, relative weight error {error:.3f}"
    if not 0.0 < error < MAX_WEIGHT_ERROR:
        return Check(name="crossbar", status="fail", detail=f"{detail}: not plausible", advice=REINSTALL)
    return Check(name="crossbar", status="ok", detail=detail)


def check_device() -> Check:
    """Where training can run, and with how many threads."""
    import torch

    threads = f"{torch.get_num_threads()} torch threads"
    if torch.cuda.is_available():
        return Check(name="device", status="ok", detail=f"{torch.cuda.get_device_name(0)}, {threads}")
    return Check(name="device", status="ok", detail=f"no CUDA device, everything runs on the CPU; {threads}")


def check_gpu() -> Iterator[Check]:
    """What a process takes of the GPU besides its tensors, measured or published; nothing where there is none."""
    import torch

    from nestevo_hw.profiler.gpu_context import MEASURE, known_overhead, target_of

    if not torch.cuda.is_available():
        return
    device = torch.device("cuda", 0)
    try:
        target, measured = target_of(device), known_overhead(device) is not None
    except NestEvoError as error:
        yield Check(name="gpu memory", status="warn", detail=str(error), advice=f"measure it: {MEASURE}")
        return
    context, blas = f"{target.context_bytes / 1e9:.2f} GB", f"2 x {target.blas_bytes / 2**20:.1f} MiB"
    detail = f"each process takes {context} for its context and {blas} for cuBLAS besides its tensors ({target.source})"
    advice = "" if measured else f"measure it: {MEASURE}"
    yield Check(name="gpu memory", status="ok" if measured else "warn", detail=detail, advice=advice)


def _measure_gpu() -> None:
    """Measure the first GPU.

    Raises:
        ConfigError: there is none.
        TaskError: it could not be measured.
    """
    import torch

    from nestevo_hw.profiler.gpu_context import measure_overhead

    if not torch.cuda.is_available():
        raise ConfigError("--measure-gpu: torch finds no CUDA device; leave it out")
    measure_overhead(torch.device("cuda", 0))


def check_cores() -> Check:
    """Cores this process may use."""
    cores = usable_cores()
    if cores < 2:
        return Check(name="cores", status="warn", detail=f"{cores}", advice="tasks run one after another here")
    return Check(name="cores", status="ok", detail=f"{cores}")


def check_memory(memory: MachineMemory | None) -> Check:
    """Memory that a run may use, within a container's limit; None where the system does not say."""
    if memory is None:
        return Check(name="memory", status="warn", detail="unknown", advice="a run needs about 4 GB")
    available = memory.available_bytes
    detail = f"{available / 1e9:.1f} GB available"
    if available < LEAST_MEMORY_GB * 1e9:
        advice = f"close other programs: even one worker needs {LEAST_MEMORY_GB} GB"
        return Check(name="memory", status="fail", detail=detail, advice=advice)
    if available < SPARE_MEMORY_GB * 1e9:
        advice = "lower workers and memory_gb under [execution] in the configuration"
        return Check(name="memory", status="warn", detail=detail, advice=advice)
    return Check(name="memory", status="ok", detail=detail)


def check_disk(folder: Path) -> Check:
    """Free space where runs are written."""
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free in {folder}"
    if free < SPARE_DISK_GB * 1e9:
        status: Literal["warn", "fail"] = "fail" if free < LEAST_DISK_GB * 1e9 else "warn"
        advice = "a run writes up to some hundred MB: make room or run elsewhere"
        return Check(name="disk", status=status, detail=detail, advice=advice)
    return Check(name="disk", status="ok", detail=detail)


def _pinned(name: str, pin: str, installed: str | None) -> Check:
    if installed is None:
        return Check(name=name, status="fail", detail=f"not installed (needs {pin})", advice=REINSTALL)
    if installed.partition("+")[0] != pin:  # 2.14.1+cpu is 2.14.1
        advice = f"torch, torchvision and aihwkit must match exactly; pip install {name}=={pin}"
        return Check(name=name, status="fail", detail=f"{installed} (needs {pin})", advice=advice)
    return Check(name=name, status="ok", detail=installed)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # binaries that do not fit raise anything; the finding is that they do
        lines = str(error).strip().splitlines() or [""]
        return Check(name=name, status="fail", detail=f"{type(error).__name__}: {lines[0]}", advice=REINSTALL)


def _show(checks: list[Check], *, ok: bool) -> None:
    from nestevo_hw.pages.parts import Pill
    from nestevo_hw.pages.tables import Table, show

    rows = [(Pill(text=c.status, tone=TONES[c.status]), c.name, c.detail, c.advice) for c in checks]
    verdict = "This machine is ready: nestevo-hw evolve" if ok else "Not ready: see above."
    show(Table(heads=("", "check", "finding", "what to do"), rows=rows).filled(), verdict)
