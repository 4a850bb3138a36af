"""How much slower is a model on the simulated crossbar than the plain digital one, and than other simulators?

All run on the same model and inputs in one process on one thread, in turn, so that a busy machine slows all of them
alike. Reported is the median over rounds of time / (digital time of the same round), with quartiles; the peak of the
tensors that one forward pass creates, as a ratio to the digital one (what the C++ tile allocates inside is not seen);
and the time to program and age all tiles against aihwkit's own tiles.

    python benchmarks/crossbar_speed.py --quick
    python benchmarks/crossbar_speed.py --models fasterrcnn-mobilenet-v3,fasterrcnn-resnet50-fpn --rounds 5

The full comparison takes about an hour, half of it for ResNet-50; rows appear on stderr as they are measured.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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

from other_simulators import covers, cpp_tiles, lightning_installed, lightning_layers, own_tiles

from nestevo_hw.base.documents import json_text
from nestevo_hw.crossbar.devices import DevicePreset, find_preset
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.models.inputs import example_inputs
from nestevo_hw.models.zoo import open_model
from nestevo_hw.profiler.memory import AllocationMeter
from nestevo_hw.studies.noise.fidelity import normalise_statistics

BATCHES = {
    "resnet18": (16, (64, 64)),
    "fasterrcnn-tiny": (8, (128, 160)),
    "fasterrcnn-mobilenet-v3": (1, (320, 320)),
    "fasterrcnn-resnet50-fpn": (1, (320, 320)),
}
"""Images of a batch, and their (H, W) in pixels; detectors see them at this size."""
QUICK = ("resnet18", "fasterrcnn-tiny")
BUDGET_S = 60.0
"""A simulation that has taken so long is not measured more often, three rounds aside."""
LIGHTNING = "aihwkit-lightning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What is simulated."""

    name: str
    preset: DevicePreset


def effects() -> tuple[Effects, ...]:
    """From weight errors only to all that a product can suffer; read noise and IR drop each come on top of the others.

    The others are weight errors, 8-bit converters and output noise.
    """
    pcm, weights_only = find_preset("pcm"), find_preset("pcm", perfect_io=True)
    assert pcm.converters is not None

    def with_io(**changes: Any) -> DevicePreset:
        return replace(pcm, converters=replace(pcm.converters, **changes))

    return (
        Effects(name="weight errors only", preset=weights_only),
        Effects(name="8-bit converters", preset=with_io(output_noise=0.0)),
        Effects(name="+ output noise", preset=pcm),
        Effects(name="+ read noise, constant",
                preset=with_io(read_noise=0.0175, read_noise_law="constant")),
        Effects(name="+ read noise, pcm", preset=with_io(read_noise=0.0175)),
        Effects(name="+ IR drop", preset=with_io(ir_drop=1.0)),
    )  # fmt: skip


def simulations(model: nn.Module, batch: Any, tile: int) -> Iterator[tuple[str, str, nn.Module]]:
    """Effects, simulator and module of every combination that there is."""
    for effect in effects():
        teacher = _teacher(model, effect.preset, batch, tile, "auto")
        yield effect.name, f"ours ({teacher.backend})", teacher.module
        if covers(effect.preset, "torch"):
            yield effect.name, "aihwkit torch tile", _teacher(model, effect.preset, batch, tile, "reference").module
        yield effect.name, "aihwkit C++ tile", cpp_tiles(model, teacher)
        if lightning_installed() and covers(effect.preset, "lightning"):
            yield effect.name, LIGHTNING, lightning_layers(model, teacher)


def _teacher(model: nn.Module, preset: DevicePreset, batch: Any, tile: int, backend: Any) -> AnalogTeacher:
    teacher = AnalogTeacher(model, device=preset, tile=tile, backend=backend)
    teacher.calibrate([batch])
    teacher.program()
    return teacher


@torch.no_grad()
def compare(name: str, model: nn.Module, batch: Any, tile: int, rounds: int) -> list[dict[str, Any]]:
    """Time and memory of every simulation as ratios to the digital model.

    One simulation is held at a time, and each of its rounds is paired with a digital one: six of a large model at once
    would not fit into memory.
    """
    model(batch)
    digital_bytes = peak_bytes(model, batch)
    rows = []
    for effect, simulator, module in simulations(model, batch, tile):
        module(batch)
        pairs = paired_times(lambda: model(batch), lambda: module(batch), rounds)  # noqa: B023 - called at once
        own, ratios = [own for _, own in pairs], sorted(own / plain for plain, own in pairs)
        rows.append(
            {
                "model": name, "tile": tile, "effects": effect, "simulator": simulator,
                "ratio": statistics.median(ratios),
                "ratio_quartiles": [ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]],
                "memory_ratio": peak_bytes(module, batch) / digital_bytes,
                "median_s": statistics.median(own), "rounds": len(pairs),
            }
        )  # fmt: skip
        Console(stderr=True).print(f"{name}, tile {tile}: {effect}, {simulator}: {rows[-1]['ratio']:.2f}")
    return rows


def programming(name: str, model: nn.Module, tile: int, rounds: int) -> dict[str, Any]:
    """Seconds to program and to age all tiles, ours and aihwkit's own, in turn."""
    teacher = AnalogTeacher(model, device=find_preset("pcm", perfect_io=True), tile=tile)
    layers = {entry.name: model.get_submodule(entry.name) for entry in teacher.report.analog}
    program, age = own_tiles(teacher, layers)
    times: dict[str, list[float]] = {key: [] for key in ("program_s", "age_s", "aihwkit_program_s", "aihwkit_age_s")}
    for generation in range(rounds + 1):
        steps: tuple[tuple[str, Callable[[], object]], ...] = (
            ("program_s", lambda: teacher.program(generation=generation)),  # noqa: B023 - called at once
            ("aihwkit_program_s", program),
            ("age_s", lambda: teacher.age(86_400.0)),
            ("aihwkit_age_s", age),
        )
        for key, step in steps:
            seconds = measure(step)
            if generation:  # the first round allocates
                times[key].append(seconds)
    medians = {key: statistics.median(values) for key, values in times.items()}
    both, theirs = medians["program_s"] + medians["age_s"], medians["aihwkit_program_s"] + medians["aihwkit_age_s"]
    weights = sum(layer.parameters for layer in teacher.report.analog)
    return {"model": name, "tile": tile, "weights": weights, **medians, "ratio": both / theirs, "rounds": rounds}


def paired_times(plain: Callable[[], object], own: Callable[[], object], rounds: int) -> list[tuple[float, float]]:
    """Seconds of two calls in turn, for each of at most so many rounds."""
    pairs: list[tuple[float, float]] = []
    start = time.perf_counter()
    while len(pairs) < min(3, rounds) or (len(pairs) < rounds and time.perf_counter() - start < BUDGET_S):
        pairs.append((measure(plain), measure(own)))
    return pairs


def peak_bytes(module: nn.Module, batch: Any) -> int:
    """Peak of the tensors that one forward pass creates."""
    with AllocationMeter() as meter:
        module(batch)
    return meter.peak_bytes


def measure(run: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def run_all(models: Sequence[str], tiles: Sequence[int], rounds: int) -> dict[str, Any]:
    """All comparisons."""
    rows, writing, load = [], [], [os.getloadavg()[0]]
    for name in models:
        chosen = open_model(name)
        count, size = BATCHES[name]
        if size == (320, 320):
            chosen.model.transform.min_size, chosen.model.transform.max_size = (320,), 320
        batch = example_inputs(chosen.model, count=count, size=size)
        if not chosen.trained:
            normalise_statistics(chosen.model, [batch])
        for tile in tiles:
            rows += compare(f"{name}, {count} x {size[0]} x {size[1]} px", chosen.model, batch, tile, rounds)
            writing.append(programming(name, chosen.model, tile, max(1, rounds // 3)))
            load.append(os.getloadavg()[0])
    machine = {"torch": torch.__version__, "threads": 1, "cores": os.cpu_count(), "load": load}
    return {**machine, "lightning": lightning_installed(), "rows": rows, "programming": writing}


def show(found: dict[str, Any]) -> None:
    """One table for each model and tile, and one of programming."""
    console = Console()
    for model, tile in dict.fromkeys((row["model"], row["tile"]) for row in found["rows"]):
        rows = [row for row in found["rows"] if (row["model"], row["tile"]) == (model, tile)]
        title = f"{model}, tiles of {tile}, measured: time / digital, its quartiles, memory / digital"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        others = dict.fromkeys(row["simulator"] for row in rows if not row["simulator"].startswith("ours"))
        others = [*others] if found["lightning"] else [*others, LIGHTNING]
        missing = {} if found["lightning"] else {LIGHTNING: "not installed"}
        for heading in ("effects", "ours", *others):
            short = heading.removeprefix("aihwkit").strip(" -")
            table.add_column(short, justify="left" if heading == "effects" else "right")
        for effect in dict.fromkeys(row["effects"] for row in rows):
            cells = {row["simulator"].split(" (")[0]: _cell(row) for row in rows if row["effects"] == effect}
            table.add_row(effect, *((missing | cells).get(name, "no such effect") for name in ("ours", *others)))
        console.print(table)
    load = f"{min(found['load']):.1f} to {max(found['load']):.1f} on {found['cores']} cores"
    console.print(f"load of the machine meanwhile: {load}", highlight=False)
    table = Table(title="programming and ageing a day, pcm, seconds (measured)", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("model", "tile", "weights", "program", "age", "aihwkit program", "aihwkit age", "ratio"):
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=heading == "model")
    for row in found["programming"]:
        seconds = (f"{row[key]:.2f}" for key in ("program_s", "age_s", "aihwkit_program_s", "aihwkit_age_s"))
        weights = f"{row['weights'] / 1e6:.1f} M"
        table.add_row(row["model"], str(row["tile"]), weights, *seconds, f"{row['ratio']:.2f}")
    console.print(table)


def _cell(row: dict[str, Any]) -> str:
    low, high = row["ratio_quartiles"]
    return f"{row['ratio']:.2f}\n{low:.2f}-{high:.2f}\n{row['memory_ratio']:.1f}"


@click.command()
@click.option("--quick", is_flag=True, help="Few rounds of the two small models at one tile size.")
@click.option("--models", help=f"Comma-separated, of {', '.join(BATCHES)}.")
@click.option("--tiles", help="Comma-separated rows and columns of a tile.  [default: 256,512; quick 256]")
@click.option("--rounds", type=click.IntRange(1), help="Measurements of each.  [default: 15, quick 3]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def main(quick: bool, models: str | None, tiles: str | None, rounds: int | None, as_json: bool) -> None:
    """Compare the analog teacher with the digital model and with other simulators, on one thread."""
    torch.set_num_threads(1)
    names = models.split(",") if models else QUICK if quick else tuple(BATCHES)
    unknown = [name for name in names if name not in BATCHES]
    if unknown:
        raise click.BadParameter(f"unknown model {unknown[0]!r}; choose from {', '.join(BATCHES)}")
    sides = [int(side) for side in tiles.split(",")] if tiles else [256] if quick else [256, 512]
    found = run_all(names, sides, rounds or (3 if quick else 15))
    if as_json:
        click.echo(json_text(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
