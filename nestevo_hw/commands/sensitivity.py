"""`nestevo-hw sensitivity`: which layers suffer most on the crossbar, and which to keep digital."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import SHARE
from nestevo_hw.commands.data_options import data_options, spec_of
from nestevo_hw.commands.options import (
    FRAME_COUNT,
    REPEATS,
    SEED_NUMBER,
    Number,
    adc_range_option,
    age_option,
    analog_option,
    compute_option,
    grouped_option,
    machine_readable,
    model_argument,
    warn,
    weights_option,
)

if TYPE_CHECKING:
    from nestevo_hw.crossbar.devices import AdcRange, DevicePreset
    from nestevo_hw.crossbar.teacher import AnalogTeacher
    from nestevo_hw.models.zoo import ZooModel
    from nestevo_hw.studies.data.spec import DataSpec
    from nestevo_hw.studies.noise.evaluation import BenchTask
    from nestevo_hw.studies.sensitivity.keep_digital import KeepDigitalPlan
    from nestevo_hw.studies.sensitivity.measure import SensitivityReport


@click.command("sensitivity", short_help="Which layers hurt most on the crossbar?")
@model_argument
@analog_option
@compute_option
@click.option("--perfect-io", is_flag=True, help="No converters: only the weights carry errors.")
@adc_range_option
@click.option("--tile", default="256", show_default=True, metavar="ROWS[xCOLUMNS]", help="Size of one tile.")
@grouped_option
@age_option()
@click.option("--target-loss", "asked_loss", type=Number(SHARE),
              help="Score that the plan may lose against the digital model, 0 to 1.  [default: 0.01, or what one frame "
              "is worth where that is more]")  # fmt: skip
@click.option("--no-plan", is_flag=True, help="Only measure the layers; skip the search for a plan.")
@click.option("--complement", is_flag=True,
              help="Also keep each layer alone digital, with all others on the crossbar.")  # fmt: skip
@click.option("--repeats", type=REPEATS, help="Independent programmings.  [default: 5, quick 3]")
@click.option("--frames", type=FRAME_COUNT,
              help="Frames to score on.  [default: 60 of a detector, 240 of a classifier; quick 24, 96]")  # fmt: skip
@click.option("--seed", type=SEED_NUMBER, default=0, show_default=True, help="Of all noise and of the frames.")
@weights_option
@click.option("--backend", type=click.Choice(["auto", "fold", "fused", "reference"]), default="auto",
              show_default=True, help="How the crossbar is simulated.")  # fmt: skip
@data_options()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("sensitivity"),
              show_default=True, help="Directory for sensitivity.json, .csv, .png and .html.")  # fmt: skip
@click.option(
    "--quick",
    is_flag=True,
    help="Fewer frames and repeats; layers are ranked by the model's raw outputs, and only plans are scored.",
)
@machine_readable
def sensitivity(
    model: str,
    analog: str,
    device: str,
    perfect_io: bool,
    adc_range: "AdcRange | None",
    tile: str,
    grouped: bool,
    age_s: float | None,
    asked_loss: float | None,
    no_plan: bool,
    complement: bool,
    repeats: int | None,
    frames: int | None,
    seed: int,
    weights: Path | None,
    backend: str,
    data: dict[str, Any],
    out: Path,
    quick: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Measure how much each layer of MODEL hurts alone on the crossbar, and plan which to keep digital.

    Each layer in turn is programmed onto the crossbar while the others stay digital, several times with
    independent noise. Reported are the score lost and three signal-to-noise ratios: of the layer's weights, of
    its output, and of the model's raw output. The plan is the smallest set of layers found that, kept digital,
    holds the loss within --target-loss with 95 % confidence. With --quick layers are ranked by the third
    ratio alone, which needs no labels, and only candidates for the plan are scored. The score is that of bench-noise:
    with --data top-1 accuracy or mAP on your labels, else mAP of the embedded detectors, and agreement with the
    digital model for any other. All noise is simulated.

    \b
    Examples:
      nestevo-hw sensitivity fasterrcnn-tiny --quick
      nestevo-hw sensitivity fasterrcnn-tiny --age 86400 --target-loss 0.02
      nestevo-hw sensitivity mypackage.nets:lenet --weights lenet.pt --data mnist.npz --frames 1000
      nestevo-hw sensitivity resnet18 --weights mine.safetensors --analog hermes --no-plan --json
    """
    from typing import get_args

    from nestevo_hw.base.compute import compute_device, device_name
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.crossbar.backend import Backend, choose_backend
    from nestevo_hw.crossbar.devices import find_preset
    from nestevo_hw.crossbar.teacher import AnalogTeacher
    from nestevo_hw.crossbar.tile_sizes import parse_tile
    from nestevo_hw.pages.tables import show
    from nestevo_hw.studies.data.dataset import open_data
    from nestevo_hw.studies.noise.evaluation import prepare_task
    from nestevo_hw.studies.opening import open_layers
    from nestevo_hw.studies.sensitivity.output import (
        check_unwritten,
        layers_table,
        plan_lines,
        totals_text,
        write_sensitivity,
    )
    from nestevo_hw.studies.sensitivity.resolution import resolution_note, target_loss

    computing = compute_device(device)
    preset, rows_columns = find_preset(analog, perfect_io=perfect_io).with_adc_range(adc_range), parse_tile(tile)
    age_s = preset.first_read_s if age_s is None else age_s
    preset.check_time(age_s)
    check_unwritten(out)
    chosen_backend: Backend = next(name for name in get_args(Backend) if name == backend)
    choose_backend(preset, chosen_backend)
    spec = spec_of(data)
    chosen = open_layers(model, weights=weights, data=spec, device=computing)
    count = frames or _usual_frames(chosen, spec, quick=quick)
    draws = repeats or (3 if quick else 5)
    samples = None
    if spec.source is not None:
        samples = open_data(spec, model, chosen.model, frames=count, seed=seed, classes=chosen.classes)
    task = prepare_task(chosen, frames=count, seed=seed, data=samples, size=spec.size, channels=spec.channels)
    teacher = AnalogTeacher(
        chosen.model, device=preset, tile=rows_columns, seed=seed, grouped=grouped, backend=chosen_backend
    )
    teacher.calibrate(task.calibration)
    target = None if no_plan else target_loss(asked_loss, task.frame_worth)
    resolved = "" if target is None else resolution_note(target, task.frame_worth, task.frames)
    study = _Study(age_s=age_s, repeats=draws, probed=1 if quick else 2, scored=not quick or complement,
                   complement=complement, target=target)  # fmt: skip
    with one_writer(out):
        if resolved:
            click.echo(resolved, err=True)
        report, plan = _measure(teacher, task, study)
        doubt = task.doubt(max(report.digital.values()))
        if doubt:
            warn(doubt)
        document = {
            "model": model, "analog": preset.name, "tile": list(rows_columns), "backend": teacher.backend,
            "device": device_name(computing),
            "task": task.task, "metric": task.metric, **report.document(),
            "plan": None if plan is None else plan.document(),
            "age_s": age_s, "repeats": draws, "frames": task.frames, "data": spec.source, "seed": seed,
            "doubt": doubt or None, "perfect_io": preset.converters is None, "adc_range": preset.adc_range,
            "weights": chosen.origin, "notes": _notes(task, preset, doubt, resolved), "source": preset.source,
        }  # fmt: skip
        written = write_sensitivity(document, report, plan, out)
    if not as_json:
        planned = plan_lines(plan, doubtful=bool(doubt)) if plan else ()
        lines = [totals_text(document, report), *planned, *document["notes"],
                 f"computed on {document['device']}"]  # fmt: skip
        show(layers_table(document, report, plan), *lines, f"written to {out}: {', '.join(written)}")
    return document


def _usual_frames(chosen: "ZooModel", data: "DataSpec", *, quick: bool) -> int:
    boxes = chosen.task == "detection" if data.source is None else data.source.lower().endswith(".json")
    usual, few = (60, 24) if boxes else (240, 96)
    return few if quick else usual


@dataclass(frozen=True, slots=True, kw_only=True)
class _Study:
    """How much is measured."""

    age_s: float
    repeats: int
    probed: int
    """Calibration batches for the signal-to-noise ratios."""
    scored: bool
    """Whether each layer alone is scored, and plans are thinned layer by layer."""
    complement: bool
    target: float | None
    """Of the plan; None: none is looked for."""


def _measure(
    teacher: "AnalogTeacher", task: "BenchTask", study: _Study
) -> "tuple[SensitivityReport, KeepDigitalPlan | None]":
    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.crossbar.partial import PartlyAnalog
    from nestevo_hw.studies.sensitivity.keep_digital import find_plan
    from nestevo_hw.studies.sensitivity.measure import ScoreLoss, measure_sensitivity

    partly = PartlyAnalog(teacher, age_s=study.age_s)
    loss = ScoreLoss(partly, task.evaluate)
    layers, draws = len(partly.layers), study.repeats
    with progress_bar(draws * (1 + layers * (study.scored + study.complement)), "one layer at a time") as advance:
        loss.on_score = advance
        report = measure_sensitivity(
            partly, loss, task.calibration[: study.probed], repeats=draws, scored=study.scored, rescues=study.complement
        )
    if study.target is None:
        return report, None
    orders = report.orders()
    # At most: a bisection of each order, every layer thinned, and the same on fresh programmings.
    most = 2 * draws * (len(orders) * (1 + layers.bit_length()) + layers * study.scored)
    with progress_bar(most, "looking for a plan") as advance:
        loss.on_score = advance
        weights = {layer.name: layer.parameters for layer in partly.layers}
        return report, find_plan(weights, orders, loss, target=study.target, repeats=draws, thinned=study.scored)


def _notes(task: "BenchTask", preset: "DevicePreset", doubt: str, resolved: str) -> list[str]:
    return [
        task.note,
        *(note for note in (doubt, resolved) if note),
        f"all noise is simulated; device {preset.name} leaves out: {preset.leaves_out}",
    ]
