"""How much slower is a model on the simulated crossbar than the plain digital one, on a GPU?

    python benchmarks/gpu_speed.py [--quick] [--json]

ResNet-18 and two detectors, tiles of 256, PCM: with 8-bit converters, with output noise and with read noise on top; by
the Triton kernel and by native operations. Reported is the median time of a forward pass / that of the digital model
with IEEE float32 and with torch's TF32 allowed, and the peak of GPU memory / that of the digital model. Takes less than
four minutes: what would begin later is left out and named. Needs neither network nor files. Ranges of the inputs come
from one frame, computed on the CPU, where the tiles are programmed, too.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nestevo_hw.base.documents import json_text
from nestevo_hw.base.errors import NestEvoError
from nestevo_hw.crossbar.devices import DevicePreset, find_preset
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.models.inputs import example_inputs
from nestevo_hw.models.zoo import open_model
from nestevo_hw.profiler.memory import AllocationMeter

BATCHES = {
    "resnet18": (32, (224, 224)),
    "fasterrcnn-mobilenet-v3": (4, (480, 640)),
    "fasterrcnn-resnet50-fpn": (2, (480, 640)),
}
"""Images of a batch, and their (H, W) in pixels; detectors see them at this size."""
QUICK = ("resnet18",)
BACKENDS = {
    "triton": {"backend": "triton"},
    "triton, float16x2": {"backend": "triton", "precision": "float16x2"},
    "fused": {"backend": "fused"},
}
"""Arguments of the teacher, by name."""
LIMIT_S = 200.0
"""Nothing begins later; what is longest then ends within four minutes."""


def effects() -> dict[str, DevicePreset]:
    """What is simulated, by name. The ADCs' range makes no difference to the time, so it is not calibrated."""
    pcm = find_preset("pcm")
    assert pcm.converters is not None
    io = replace(pcm.converters, adc_range="fixed")
    noises = {
        "8-bit converters": {"output_noise": 0.0},
        "+ output noise": {},
        "+ read noise, constant": {"read_noise": 0.0175, "read_noise_law": "constant"},
        "+ read noise, pcm": {"read_noise": 0.0175},
    }
    return {name: replace(pcm, converters=replace(io, **changes)) for name, changes in noises.items()}  # type: ignore[arg-type]


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether torch's own products may round to TF32 on a GPU."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def on(device: torch.device, batch: Any) -> Any:
    """A batch on a device."""
    return batch.to(device) if isinstance(batch, torch.Tensor) else [image.to(device) for image in batch]


def seconds(run: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Median of the time of a call; the first two, which compile and find out block sizes, do not count."""
    times = []
    for _ in range(rounds + 2):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Peak of the memory of a call, what was there before included on a GPU."""
    if device.type != "cuda":
        with AllocationMeter() as meter:
            run()
        return meter.peak_bytes
    torch.cuda.reset_peak_memory_stats(device)
    run()
    _wait(device)
    return torch.cuda.max_memory_allocated(device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def compare(
    name: str, model: nn.Module, batch: Any, device: torch.device, rounds: int, until: float
) -> list[dict[str, Any]]:
    """Time and memory of every effect and backend as ratios to the digital model.

    Args:
        name: of the model.
        model: on the CPU.
        batch: on the CPU, as `model(batch)` takes it.
        device: where both are compared.
        rounds: measurements of each.
        until: no simulation begins after this time of `time.perf_counter`.
    """
    frame, there = batch[:1], on(device, batch)
    model.to(device)
    with tf32(allowed=False):
        digital_s, digital_bytes = (
            seconds(lambda: model(there), device, rounds),
            peak_bytes(lambda: model(there), device),
        )
    with tf32(allowed=True):
        digital_tf32_s = seconds(lambda: model(there), device, rounds)
    model.to("cpu")
    rows = []
    for effect, preset in effects().items():
        for backend, settings in BACKENDS.items():
            row: dict[str, Any] = {"model": name, "effects": effect, "backend": backend, "digital_s": digital_s}
            rows.append(row)
            if time.perf_counter() > until:
                row["left_out"] = "no time left"
                continue
            teacher = AnalogTeacher(model, device=preset, **settings)  # type: ignore[arg-type]
            teacher.calibrate([frame])
            teacher.program()
            module = teacher.module.to(device)
            with tf32(allowed=False):
                own_s = seconds(lambda: module(there), device, rounds)  # noqa: B023 - called at once
                own_bytes = peak_bytes(lambda: module(there), device)  # noqa: B023 - called at once
            row |= {
                "median_s": own_s, "ratio": own_s / digital_s, "ratio_tf32": own_s / digital_tf32_s,
                "memory_ratio": own_bytes / digital_bytes,
            }  # fmt: skip
            Console(stderr=True).print(f"{name}: {effect}, {backend}: {row['ratio']:.2f}")
    return rows


def run_all(models: Sequence[str], rounds: int) -> dict[str, Any]:
    """All comparisons on the first GPU."""
    device, until, rows = torch.device("cuda", 0), time.perf_counter() + LIMIT_S, []
    for name in models:
        model = open_model(name).model
        count, size = BATCHES[name]
        if hasattr(model, "transform"):
            model.transform.min_size, model.transform.max_size = (min(size),), max(size)
        batch = example_inputs(model, count=count, size=size)
        rows += compare(f"{name}, {count} x {size[0]} x {size[1]} px", model, batch, device, rounds, until)
    card = torch.cuda.get_device_name(device)
    return {"card": card, "torch": torch.__version__, "cuda": torch.version.cuda, "rounds": rounds, "rows": rows}


def show(found: dict[str, Any]) -> None:
    """One table for each model."""
    console = Console()
    for model in dict.fromkeys(row["model"] for row in found["rows"]):
        title = f"{model}, tiles of 256, on {found['card']}, measured"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        for heading in ("effects", "backend", "time / digital", "time / digital with TF32", "memory / digital"):
            table.add_column(heading, justify="left" if heading in ("effects", "backend") else "right")
        for row in (row for row in found["rows"] if row["model"] == model):
            keys = ("ratio", "ratio_tf32", "memory_ratio")
            figures = [row["left_out"], "", ""] if "left_out" in row else [f"{row[key]:.2f}" for key in keys]
            table.add_row(row["effects"], row["backend"], *figures)
        console.print(table)


@click.command()
@click.option("--quick", is_flag=True, help="ResNet-18 only, few rounds.")
@click.option("--models", help=f"Comma-separated, of {', '.join(BATCHES)}.")
@click.option("--rounds", type=click.IntRange(1), help="Measurements of each.  [default: 10, quick 3]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def main(quick: bool, models: str | None, rounds: int | None, as_json: bool) -> None:
    """Compare the analog teacher with the digital model on a GPU."""
    names = models.split(",") if models else QUICK if quick else tuple(BATCHES)
    unknown = [name for name in names if name not in BATCHES]
    if unknown:
        raise click.BadParameter(f"unknown model {unknown[0]!r}; choose from {', '.join(BATCHES)}")
    if not torch.cuda.is_available():
        raise click.ClickException("torch finds no GPU; run this where there is one")
    try:
        found = run_all(names, rounds or (3 if quick else 10))
    except NestEvoError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json_text(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
