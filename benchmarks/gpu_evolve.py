"""How long does the default `evolve` take on a GPU, and on the CPU of the same machine?

    python benchmarks/gpu_evolve.py [--quick] [--gpu-only] [--json]

Runs `nestevo-hw evolve` for two windows (--quick: one) with the same number of workers on both, at the same time; needs
a core for each worker of each. Measured: wall time, start-up, time at work by kind of task, peaks of GPU and main
memory, and the accuracies that the runs end with. Takes less than four minutes: a run that would take longer is
stopped, and its figures are those of the tasks that have finished. No network. Without a GPU only the CPU runs.

Start-up is from the command to the start of the first task; what importing the libraries alone takes in another
process is named beside it. Main memory is the anonymous memory of all processes of a run, a few times a second;
that of the GPU is what the driver tells, other programs on it included, and what tasks say of themselves.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nestevo_hw.base.documents import json_text, read_json

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 215.0
"""A run is stopped then."""
LOOK_S = 0.25
_PATHS = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(_PATHS), "OMP_NUM_THREADS": "1"}


@dataclass(kw_only=True)
class Run:
    """One command, watched."""

    device: str
    folder: Path
    process: subprocess.Popen[bytes]
    began: float
    """`time.time()`."""
    wall_s: float | None = None
    finished: bool = False
    main_bytes: int = 0
    """Peak."""
    gpu_bytes: int | None = None
    """Peak, by the driver."""


@dataclass(kw_only=True)
class Figures:
    """What is told of a run."""

    device: str
    card: str
    wall_s: float
    finished: bool
    """Whether it came to its end within the limit."""
    start_up_s: float | None
    imports_s: float
    busy_s: float
    """All tasks together."""
    by_kind: dict[str, tuple[int, float]]
    """Number of tasks, and seconds at work."""
    main_bytes: int
    gpu_bytes: int | None
    gpu_task_bytes: float | None
    """Most that one task took of the GPU, context included."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Of each terminal's model at the end, mean over windows."""


def start(device: str, folder: Path, *, windows: int, workers: int) -> Run:
    """Begin a run."""
    command = [
        sys.executable, "-m", "nestevo_hw", "evolve", "--device", device, "--windows", str(windows), "--workers",
        str(workers), "--out", str(folder), "--json",
    ]  # fmt: skip
    errors = folder.with_suffix(".err").open("wb")
    output = folder.with_suffix(".json").open("wb")
    with errors, output:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=output, stderr=errors)
    return Run(device=device, folder=folder, process=process, began=time.time())


def watch(runs: Sequence[Run]) -> None:
    """Until all have ended, or the limit."""
    while open_runs := [run for run in runs if run.wall_s is None]:
        used = _gpu_used()
        for run in open_runs:
            run.main_bytes = max(run.main_bytes, sum(map(_anonymous, _family(run.process.pid))))
            if run.device != "cpu" and used is not None:
                run.gpu_bytes = max(run.gpu_bytes or 0, used)
            if run.process.poll() is None and time.time() - run.began > LIMIT_S:
                run.process.send_signal(signal.SIGTERM)
                run.process.wait()
                run.wall_s = time.time() - run.began
            elif run.process.returncode is not None:
                run.wall_s, run.finished = time.time() - run.began, run.process.returncode in (0, 3)
        time.sleep(LOOK_S)


def figures(run: Run, imports_s: float) -> Figures:
    """What a run has left in its folder."""
    results = [(file.stat().st_mtime, _json(file), file) for file in (run.folder / "results").glob("*.json")]
    tasks = [(written, one, file.name) for written, one, file in results if "failed" not in one]
    by_kind: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for _, one, _ in tasks:
        kind = one["name"].split("/")[1]
        number, seconds = by_kind[kind]
        by_kind[kind] = number + 1, seconds + one["ended_s"] - one["started_s"]
    starts = [written - (one["ended_s"] - one["started_s"]) for written, one, _ in tasks]
    taken = [one["gpu_peak_bytes"] for _, one, _ in tasks if one.get("gpu_peak_bytes") is not None]
    summary = _json(run.folder.with_suffix(".json")) if run.finished else {}
    machine = _json(run.folder / "run.json")["machine"] if (run.folder / "run.json").exists() else {}
    return Figures(
        device=run.device,
        card=str(machine.get("device", "")),
        wall_s=run.wall_s or 0.0,
        finished=run.finished,
        start_up_s=min(starts) - run.began if starts else None,
        imports_s=imports_s,
        busy_s=sum(seconds for _, seconds in by_kind.values()),
        by_kind=dict(sorted(by_kind.items(), key=lambda item: -item[1][1])),
        main_bytes=run.main_bytes,
        gpu_bytes=run.gpu_bytes,
        gpu_task_bytes=max(taken, default=None),
        accuracy={one["name"]: one["after"] for one in summary.get("terminals", ()) if one.get("after") is not None},
    )


def imports() -> float:
    """Seconds that importing what a run needs takes, the second time."""
    for _ in range(2):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import nestevo_hw.evolution.run"], env=ENVIRONMENT, check=True)
    return time.perf_counter() - began


def _json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = read_json(path, dict[str, Any])
    return document


def _family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:  # it has ended
        return
    for child in children:
        yield from _family(int(child))


def _anonymous(pid: int) -> int:
    """Bytes of a process that are no pages of files; those that a worker shares with its server count twice."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


def _gpu_used() -> int | None:
    """Bytes in use of the first GPU; None without NVIDIA's tool."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"]
    told = subprocess.run(query, capture_output=True, text=True, check=False)
    return int(told.stdout) << 20 if told.returncode == 0 and told.stdout.strip().isdecimal() else None


def has_gpu() -> bool:
    """Whether torch finds one, asked in another process, as this one needs no torch."""
    asked = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def show(found: Sequence[Figures]) -> None:
    """As tables."""
    table = Table(box=SIMPLE_HEAD)
    for heading in ("", *(f"{one.device} ({one.card})" for one in found)):
        table.add_column(heading)

    def row(name: str, *values: str) -> None:
        table.add_row(name, *values)

    row("wall time, s", *(("" if one.finished else "stopped at ") + f"{one.wall_s:.1f}" for one in found))
    row("start-up, s", *(f"{_known(one.start_up_s)} (imports alone {one.imports_s:.1f})" for one in found))
    row("all tasks, s", *(f"{one.busy_s:.1f}" for one in found))
    row("main memory, GB", *(f"{one.main_bytes / 1e9:.1f}" for one in found))
    row("GPU memory, GB", *(_gigabytes(one.gpu_bytes) for one in found))
    row("of one task, GB", *(_gigabytes(one.gpu_task_bytes) for one in found))
    for name in dict.fromkeys(name for one in found for name in one.accuracy):
        row(f"accuracy of {name}", *(_known(one.accuracy.get(name), 3) for one in found))
    for kind in dict.fromkeys(kind for one in found for kind in one.by_kind):
        kinds = [one.by_kind.get(kind, (0, 0.0)) for one in found]
        row(kind, *(f"{seconds:.1f} s in {number}" for number, seconds in kinds))
    Console().print(table)


def _known(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _gigabytes(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e9:.2f}"


@click.command()
@click.option("--quick", is_flag=True, help="One window.")
@click.option("--gpu-only", is_flag=True, help="Leave the CPU out.")
@click.option("--workers", default=3, show_default=True, help="Of each run.")
@click.option("--json", "as_json", is_flag=True, help="JSON only.")
def main(*, quick: bool, gpu_only: bool, workers: int, as_json: bool) -> None:
    """Compare."""
    gpu = has_gpu()
    if gpu_only and not gpu:
        raise click.ClickException("torch finds no GPU; leave --gpu-only out")
    imports_s = imports()
    devices = (["cuda"] if gpu else []) + ([] if gpu_only else ["cpu"])
    with tempfile.TemporaryDirectory(prefix="nestevo-hw-") as name:
        runs = [start(d, Path(name) / d, windows=1 if quick else 2, workers=workers) for d in devices]
        try:
            watch(runs)
        finally:
            for run in runs:
                if run.process.poll() is None:
                    run.process.terminate()
                    run.process.wait()
        for run in runs:
            if not run.finished:
                click.echo(run.folder.with_suffix(".err").read_text(encoding="utf-8"), err=True)
        found = [figures(run, imports_s) for run in runs]
    if not as_json:
        show(found)
    click.echo(json_text({"workers": workers, "windows": 1 if quick else 2, "runs": [asdict(one) for one in found]}))


if __name__ == "__main__":
    main()
