"""`nestevo-hw sensitivity`: which layers suffer most on the crossbar, and which to keep digital."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.commands.options import device_option, machine_readable

if TYPE_CHECKING:
    from nestevo_hw.crossbar.devices import DevicePreset
    from nestevo_hw.crossbar.teacher import AnalogTeacher
    from nestevo_hw.models.zoo import ZooModel
    from nestevo_hw.studies.noise.evaluation import BenchTask
    from nestevo_hw.studies.sensitivity.keep_digital import KeepDigitalPlan
    from nestevo_hw.studies.sensitivity.measure import SensitivityReport

_PROBED = 2
"""Calibration batches for the signal-to-noise ratios."""
_RATIOS = ("weight_snr_db", "output_snr_db", "model_output_snr_db")


@click.command("sensitivity")
@click.argument("model")
@device_option
@click.option("--perfect-io", is_flag=True, help="No converters: only the weights carry errors.")
@click.option("--tile", default="256", show_default=True, metavar="ROWS[xCOLUMNS]", help="Size of one tile.")
@click.option("--age", "age_s", default=0.0, show_default=True, metavar="SECONDS", help="Time after programming.")
@click.option("--target-loss", type=click.FloatRange(0.0, 1.0), default=0.01, show_default=True,
              help="Score that the plan may lose against the digital model, 0 to 1.")  # fmt: skip
@click.option("--no-plan", is_flag=True, help="Only measure the layers; skip the search for a plan.")
@click.option("--complement", is_flag=True,
              help="Also keep each layer alone digital, with all others on the crossbar.")  # fmt: skip
@click.option("--repeats", type=click.IntRange(2), help="Independent programmings.  [default: 5, quick 3]")
@click.option("--frames", type=click.IntRange(1),
              help="Frames to score on.  [default: 60 of a detector, 240 of a classifier; quick 24, 96]")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of all noise and of the frames.")
@click.option("--weights", type=click.Path(path_type=Path), help="safetensors file with the model's weights.")
@click.option("--backend", type=click.Choice(["auto", "fold", "fused", "reference"]), default="auto",
              show_default=True, help="How the crossbar is simulated.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("sensitivity"),
              show_default=True, help="Directory for sensitivity.json, .csv and .png.")  # fmt: skip
@click.option("--quick", is_flag=True, help="Fewer frames and repeats.")
@machine_readable
def sensitivity(
    model: str,
    device: str,
    perfect_io: bool,
    tile: str,
    age_s: float,
    target_loss: float,
    no_plan: bool,
    complement: bool,
    repeats: int | None,
    frames: int | None,
    seed: int,
    weights: Path | None,
    backend: str,
    out: Path,
    quick: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Measure how much each layer of MODEL hurts alone on the crossbar, and plan which to keep digital.

    Each layer in turn is programmed onto the crossbar while the others stay digital, several times with
    independent noise. Reported are the score lost and three signal-to-noise ratios: of the layer's weights, of
    its output, and of the model's raw output. The plan is the smallest set of layers found that, kept digital,
    holds the loss within --target-loss with 95 % confidence. The score is that of bench-noise: mAP of the embedded
    detectors, agreement with the digital model for any other. All noise is simulated.

    \b
    Examples:
      nestevo-hw sensitivity fasterrcnn-tiny --quick
      nestevo-hw sensitivity fasterrcnn-tiny --age 86400 --target-loss 0.02
      nestevo-hw sensitivity resnet18 --weights mine.safetensors --device hermes --no-plan --json
    """
    from typing import get_args

    from nestevo_hw.crossbar.devices import find_preset
    from nestevo_hw.crossbar.mapping import parse_tile
    from nestevo_hw.crossbar.teacher import AnalogTeacher, Backend, choose_backend
    from nestevo_hw.models.zoo import open_model
    from nestevo_hw.studies.noise.evaluation import prepare_task

    preset, rows_columns = find_preset(device, perfect_io=perfect_io), parse_tile(tile)
    preset.check_time(age_s)
    chosen_backend: Backend = next(name for name in get_args(Backend) if name == backend)
    choose_backend(preset, chosen_backend)
    chosen = open_model(model, weights=weights)
    count = frames or _usual_frames(chosen, quick=quick)
    draws = repeats or (3 if quick else 5)
    task = prepare_task(chosen, frames=count, seed=seed)
    teacher = AnalogTeacher(chosen.model, device=preset, tile=rows_columns, seed=seed, backend=chosen_backend)
    teacher.calibrate(task.calibration)
    target = None if no_plan else target_loss
    report, plan = _measure(teacher, task, age_s=age_s, draws=draws, complement=complement, target=target)
    document = {
        "model": model, "device": preset.name, "tile": list(rows_columns), "backend": teacher.backend,
        "task": task.task, "metric": task.metric, **report.document(),
        "plan": None if plan is None else plan.document(),
        "age_s": age_s, "repeats": draws, "frames": count, "seed": seed, "perfect_io": preset.converters is None,
        "weights": chosen.origin, "notes": _notes(task, preset, plan, count), "source": preset.source,
    }  # fmt: skip
    _write(document, report, plan, out)
    if not as_json:
        _show(document, report, plan, out)
    return document


def _usual_frames(chosen: "ZooModel", *, quick: bool) -> int:
    usual, few = {"detection": (60, 24), "classification": (240, 96)}[chosen.task]
    return few if quick else usual


def _measure(
    teacher: "AnalogTeacher", task: "BenchTask", *, age_s: float, draws: int, complement: bool, target: float | None
) -> "tuple[SensitivityReport, KeepDigitalPlan | None]":
    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.crossbar.partial import PartlyAnalog
    from nestevo_hw.studies.sensitivity.keep_digital import find_plan
    from nestevo_hw.studies.sensitivity.measure import ScoreLoss, measure_sensitivity

    partly = PartlyAnalog(teacher, age_s=age_s)
    loss = ScoreLoss(partly, task.evaluate)
    layers = len(partly.layers)
    with progress_bar(draws * (1 + layers * (2 if complement else 1)), "one layer at a time") as advance:
        loss.on_score = advance
        report = measure_sensitivity(partly, loss, task.calibration[:_PROBED], repeats=draws, rescues=complement)
    if target is None:
        return report, None
    orders = report.orders()
    # At most: a bisection of each order, every layer thinned, and the same on fresh programmings.
    most = 2 * draws * (len(orders) * (1 + layers.bit_length()) + layers)
    with progress_bar(most, "looking for a plan") as advance:
        loss.on_score = advance
        weights = {layer.name: layer.parameters for layer in partly.layers}
        return report, find_plan(weights, orders, loss, target=target, repeats=draws)


def _notes(task: "BenchTask", preset: "DevicePreset", plan: "KeepDigitalPlan | None", frames: int) -> list[str]:
    notes = [task.note, f"all noise is simulated; device {preset.name} leaves out: {preset.leaves_out}"]
    if task.task == "classification" and plan is not None and plan.target * frames < 1.0:
        notes.append(f"one of {frames} frames is worth {1 / frames:.4f}, more than the target; use more --frames")
    return notes


def _write(document: dict[str, Any], report: "SensitivityReport", plan: "KeepDigitalPlan | None", out: Path) -> None:
    from nestevo_hw.base.documents import write_json
    from nestevo_hw.base.files import write_text
    from nestevo_hw.pages.style import save_png
    from nestevo_hw.studies.sensitivity.plots import draw_sensitivity

    kept = plan.layers if plan is not None else ()
    write_text(out / "sensitivity.csv", _csv(document, kept))
    write_json(out / "sensitivity.json", document)
    picture = draw_sensitivity(report, _title(document), metric=document["metric"], keep_digital=kept)
    save_png(picture, out / "sensitivity.png")


def _csv(document: dict[str, Any], kept: tuple[str, ...]) -> str:
    """One row a layer, the one that hurts most first."""
    import csv
    import io

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("rank", "name", "weights", "tiles", *_RATIOS, "drop", "ci95_low", "ci95_high", "keep_digital"))
    for layer in _by_rank(document):
        numbers = (*(layer[key] for key in _RATIOS), layer["drop"]["mean"], *layer["drop"]["ci95"])
        shown = ("" if number is None else f"{number:.6g}" for number in numbers)
        rows.writerow((layer["rank"], layer["name"], layer["weights"], layer["tiles"], *shown,
                       int(layer["name"] in kept)))  # fmt: skip
    return text.getvalue()


def _show(document: dict[str, Any], report: "SensitivityReport", plan: "KeepDigitalPlan | None", out: Path) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=_title(document), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("layer", overflow="fold", min_width=20)
    for heading in ("weights", "weight\nSNR dB", "output\nSNR dB", "model\nSNR dB", f"{document['metric']}\nlost"):
        table.add_column(heading, justify="right", no_wrap=True)
    complement = document["layers"][0]["rescue"] is not None
    if complement:
        table.add_column("won\nback", justify="right", no_wrap=True)
    kept = plan.layers if plan is not None else ()
    for layer in _by_rank(document):
        cells = [str(layer["rank"]), layer["name"], f"{layer['weights']:,}"]
        cells += [_decibels(layer[key]) for key in _RATIOS]
        cells += [_with_interval(layer[key]) for key in (("drop", "rescue") if complement else ("drop",))]
        table.add_row(*cells, style="yellow" if layer["name"] in kept else None)
    console = Console()
    if not console.is_terminal:  # a pipe has no width of its own, and rich would take 80 columns
        console.width = max(console.width, 120)
    console.print(table)
    lines = [*_totals(document, report), *(_plan_lines(plan) if plan is not None else ()), *document["notes"]]
    lines.append(f"written to {out}: sensitivity.json, sensitivity.csv, sensitivity.png")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _totals(document: dict[str, Any], report: "SensitivityReport") -> list[str]:
    whole = document["all_analog"]
    scores = ", ".join(f"{scene} {score:.3f}" for scene, score in report.digital.items())
    return [
        f"digital: {document['metric']} {scores}; all layers on the crossbar: {_with_interval(whole['drop'])} lost",
        f"error of the model's raw outputs with all layers on the crossbar: {whole['model_output_error']:.1%}; "
        f"{whole['predicted_output_error']:.1%} if the noise of the layers just added up",
    ]


def _plan_lines(plan: "KeepDigitalPlan") -> list[str]:
    from nestevo_hw.base.stats import Estimate

    lost = ", ".join(f"{scene} {_with_interval(Estimate.of(v).document())}" for scene, v in plan.losses.items())
    heading = "plan" if plan.reached else "no plan keeps the target; the nearest found"
    return [
        f"{heading}: {len(plan.layers)} layers digital with {plan.share:.1%} of the crossbar's weights",
        f"loss on fresh programmings: {lost}; at most {plan.bound:.4f} with 95 % confidence, target {plan.target:g}",
        plan.reason,
        plan.arguments or "everything may go onto the crossbar",
    ]


def _title(document: dict[str, Any]) -> str:
    from nestevo_hw.studies.noise.sweeps import age_text

    age = "right after programming" if document["age_s"] == 0 else f"{age_text(document['age_s'])} after programming"
    return f"{document['model']} on {document['device']} {age}: each layer alone on the crossbar (simulated)"


def _by_rank(document: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(document["layers"], key=lambda layer: int(layer["rank"]))


def _decibels(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"


def _with_interval(summary: dict[str, Any]) -> str:
    return f"{summary['mean']:+.3f} ±{summary['ci95'][1] - summary['mean']:.3f}"
