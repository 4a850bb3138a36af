"""How much slower is a model on the simulated crossbar than the plain digital one?

Every backend runs on the same model and inputs in one process, in turn, so that a busy machine slows all of
them alike; reported is the median over rounds of time / (digital time of the same round).

    python benchmarks/crossbar_speed.py --quick
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nestevo_hw.crossbar.devices import DevicePreset, find_preset
from nestevo_hw.crossbar.fidelity import normalise_statistics
from nestevo_hw.crossbar.teacher import AnalogTeacher, Backend
from nestevo_hw.models.zoo import example_inputs, open_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to run a model on the crossbar."""

    name: str
    preset: DevicePreset
    backend: Backend


def cases() -> tuple[Case, ...]:
    """Weight errors only, then 8-bit converters, then the output noise of the preset on top."""
    noisy, weights_only = find_preset("pcm"), find_preset("pcm", perfect_io=True)
    assert noisy.converters is not None
    quiet = replace(noisy, converters=replace(noisy.converters, output_noise=0.0))
    return (
        Case(name="fold, weight errors only", preset=weights_only, backend="fold"),
        Case(name="reference, weight errors only", preset=weights_only, backend="reference"),
        Case(name="fused, 8-bit converters", preset=quiet, backend="fused"),
        Case(name="reference, 8-bit converters", preset=quiet, backend="reference"),
        Case(name="fused, converters and noise", preset=noisy, backend="fused"),
        Case(name="reference, converters and noise", preset=noisy, backend="reference"),
    )


def teachers(model: nn.Module, batch: Any, tile: int) -> Iterator[tuple[str, nn.Module]]:
    """The programmed module of every case."""
    for case in cases():
        teacher = AnalogTeacher(model, device=case.preset, tile=tile, backend=case.backend)
        teacher.calibrate([batch])
        teacher.program()
        yield case.name, teacher.module


def measure(run: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@torch.no_grad()
def compare(name: str, model: nn.Module, batch: Any, tile: int, rounds: int) -> list[dict[str, Any]]:
    """Ratio to the digital model of every case, interleaved."""
    modules = {"digital": model, **dict(teachers(model, batch, tile))}
    for module in modules.values():
        module(batch)
    times: dict[str, list[float]] = {key: [] for key in modules}
    for _ in range(rounds):
        for key, module in modules.items():
            times[key].append(measure(lambda module=module: module(batch)))  # type: ignore[misc]
    digital = times["digital"]
    rows = []
    for key, seconds in times.items():
        ratios = sorted(own / plain for own, plain in zip(seconds, digital, strict=True))
        rows.append(
            {
                "model": name,
                "tile": tile,
                "case": key,
                "ratio": statistics.median(ratios),
                "ratio_quartiles": [ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]],
                "median_s": statistics.median(seconds),
                "rounds": rounds,
            }
        )
    return rows


@click.command()
@click.option("--quick", is_flag=True, help="Few rounds.")
@click.option("--tile", default=256, show_default=True, help="Rows and columns of a tile.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def main(quick: bool, tile: int, as_json: bool) -> None:
    """Compare the backends of the analog teacher with the digital model, on one thread."""
    torch.set_num_threads(1)
    rounds = 7 if quick else 25
    rows: list[dict[str, Any]] = []
    for name, count, size in (("resnet18", 16, (64, 64)), ("fasterrcnn-tiny", 8, (128, 160))):
        chosen = open_model(name)
        batch = example_inputs(chosen.model, count=count, size=size)
        if not chosen.trained:
            normalise_statistics(chosen.model, [batch])
        rows += compare(f"{name}, {count} x {size[0]} x {size[1]} px", chosen.model, batch, tile, rounds)
    if as_json:
        click.echo(json.dumps({"torch": torch.__version__, "threads": 1, "rows": rows}, indent=2))
        return
    table = Table(title="time / digital model, measured on this machine", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("model", "case"):
        table.add_column(heading)
    for heading in ("ratio", "quartiles", "ms"):
        table.add_column(heading, justify="right")
    for row in rows:
        low, high = row["ratio_quartiles"]
        table.add_row(
            row["model"], row["case"], f"{row['ratio']:.2f}", f"{low:.2f} to {high:.2f}", f"{1e3 * row['median_s']:.1f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
