"""`nestevo-hw bench-noise`: accuracy under crossbar noise."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.commands.options import machine_readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestevo_hw.crossbar.bench import BenchPlan
    from nestevo_hw.crossbar.devices import DevicePreset
    from nestevo_hw.crossbar.points import SweepPoint


class _Numbers(click.ParamType[tuple[float, ...]]):
    """Comma-separated numbers."""

    name = "numbers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in str(value).split(",") if part.strip())
        except ValueError:
            self.fail(f"need numbers separated by commas, got {value!r}", param, ctx)


@click.command("bench-noise")
@click.argument("model")
@click.option("--device", default="pcm", show_default=True, help="ideal, pcm, hermes, reram-cmo or reram-wan.")
@click.option("--perfect-io", is_flag=True, help="No converters: only the weights carry errors.")
@click.option("--tile", default="256", show_default=True, metavar="ROWS[xCOLUMNS]", help="Size of one tile.")
@click.option("--mu", type=_Numbers(), metavar="A,B,..", help="Weight noise levels of eq. 19.")
@click.option("--times", type=_Numbers(), metavar="A,B,..", help="Seconds after programming.")
@click.option("--adc-bits", type=_Numbers(), default=(), metavar="A,B,..", help="Also sweep the ADC resolution.")
@click.option("--output-noise", type=_Numbers(), default=(), metavar="A,B,..", help="Also sweep the output noise.")
@click.option("--repeats", type=click.IntRange(2), help="Independent draws of the noise.  [default: 5, quick 3]")
@click.option("--frames", type=click.IntRange(1), help="Frames to score on.  [default: 60, quick 24]")
@click.option("--seed", default=0, show_default=True, help="Of all noise.")
@click.option("--weights", type=click.Path(path_type=Path), help="safetensors file with the model's weights.")
@click.option("--backend", type=click.Choice(["auto", "fold", "fused", "reference"]), default="auto",
              show_default=True, help="How the crossbar is simulated.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("noise-benchmark"),
              show_default=True, help="Directory for results.csv, results.json and results.png.")  # fmt: skip
@click.option("--quick", is_flag=True, help="Fewer frames, repeats and values.")
@machine_readable
def bench_noise(
    model: str,
    device: str,
    perfect_io: bool,
    tile: str,
    mu: tuple[float, ...] | None,
    times: tuple[float, ...] | None,
    adc_bits: tuple[float, ...],
    output_noise: tuple[float, ...],
    repeats: int | None,
    frames: int | None,
    seed: int,
    weights: Path | None,
    backend: str,
    out: Path,
    quick: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Score MODEL under weight noise (eq. 18-20) and on a crossbar at times after programming.

    The embedded detectors are scored by mAP@0.50 on rendered frames by day and by night. Any other model is
    compared with itself without noise (mAP of its detections against the digital ones, or share of equal
    first classes): that measures fidelity, not accuracy. All noise is simulated.

    \b
    Examples:
      nestevo-hw bench-noise fasterrcnn-tiny --quick
      nestevo-hw bench-noise fasterrcnn-tiny --device reram-wan --times 0,86400,172800
      nestevo-hw bench-noise resnet18 --weights mine.safetensors --adc-bits 4,6,8,10 --json
    """
    from typing import get_args

    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.crossbar.bench import Hardware, run_benchmark
    from nestevo_hw.crossbar.devices import find_preset
    from nestevo_hw.crossbar.evaluation import prepare_task
    from nestevo_hw.crossbar.mapping import parse_tile
    from nestevo_hw.crossbar.teacher import Backend
    from nestevo_hw.models.zoo import open_model

    preset = find_preset(device, perfect_io=perfect_io)
    plan = _plan(
        preset, quick=quick, mu=mu, times=times, adc_bits=adc_bits, output_noise=output_noise,
        repeats=repeats, seed=seed,
    )  # fmt: skip
    chosen_backend: Backend = next(name for name in get_args(Backend) if name == backend)
    hardware = Hardware(preset=preset, tile=parse_tile(tile), backend=chosen_backend, seed=seed)
    chosen = open_model(model, weights=weights)
    count = frames or (24 if quick else 60)
    task = prepare_task(chosen, frames=count, seed=seed)
    with progress_bar(plan.evaluations, "scoring") as advance:
        points = run_benchmark(
            chosen.model, task.evaluate, task.calibration, plan, hardware, on_score=lambda: advance("scoring")
        )
    document = {
        "model": model, "device": device, "task": task.task, "metric": task.metric,
        "points": [point.document() for point in points],
        "weights": chosen.origin, "perfect_io": preset.converters is None, "tile": list(parse_tile(tile)),
        "backend": backend, "seed": seed, "frames": count, "note": task.note, "source": preset.source,
    }  # fmt: skip
    _write(document, points, out, f"{model}, {preset.name}", task.metric)
    if not as_json:
        _show(document, points, out)
    return document


def _plan(
    preset: "DevicePreset",
    *,
    quick: bool,
    mu: tuple[float, ...] | None,
    times: tuple[float, ...] | None,
    adc_bits: tuple[float, ...],
    output_noise: tuple[float, ...],
    repeats: int | None,
    seed: int,
) -> "BenchPlan":
    from nestevo_hw.crossbar.bench import BenchPlan
    from nestevo_hw.crossbar.devices import DAY_S

    usual = BenchPlan()
    mus, times_s = ((0.0, 0.02, 0.06), (0.0, DAY_S)) if quick else (usual.mus, usual.times_s)
    if preset.times_s is not None:
        times_s = (0.0, DAY_S) if quick else (0.0, *preset.times_s)
    return BenchPlan(
        mus=mus if mu is None else mu,
        times_s=times_s if times is None else times,
        adc_bits=adc_bits,
        output_noise=output_noise,
        repeats=repeats or (3 if quick else usual.repeats),
        seed=seed,
    )


def _write(document: dict[str, Any], points: "Sequence[SweepPoint]", out: Path, title: str, metric: str) -> None:
    from nestevo_hw.crossbar.plots import draw_benchmark
    from nestevo_hw.crossbar.points import write_csv
    from nestevo_hw.files import write_json, write_text
    from nestevo_hw.report.style import save_png

    write_text(out / "results.csv", write_csv(points))
    write_json(out / "results.json", document)
    save_png(draw_benchmark(points, title, metric), out / "results.png")


def _show(document: dict[str, Any], points: "Sequence[SweepPoint]", out: Path) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from nestevo_hw.crossbar.plots import age_text

    title = f"{document['model']} ({document['weights']}), {document['device']}: {document['metric']} (simulated)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("sweep", "value", "on"):
        table.add_column(heading)
    for heading in ("mean", "95 % interval"):
        table.add_column(heading, justify="right")
    for point in points:
        value = age_text(point.value) if point.sweep == "time_s" else f"{point.value:g}"
        low, high = point.ci95
        table.add_row(point.sweep, value, point.variant, f"{point.mean:.3f}", f"{low:.3f} to {high:.3f}")
    console = Console()
    console.print(table)
    console.print(f"{document['note']}\nwritten to {out}: results.csv, results.json, results.png", highlight=False)
