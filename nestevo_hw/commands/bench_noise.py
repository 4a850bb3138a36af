"""`nestevo-hw bench-noise`: accuracy under crossbar noise."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import Range
from nestevo_hw.commands import completion
from nestevo_hw.commands.data_options import data_options, spec_of
from nestevo_hw.commands.options import (
    FRAME_COUNT,
    REPEATS,
    SEED_NUMBER,
    WORKERS,
    Number,
    adc_range_option,
    age_option,
    analog_option,
    compute_option,
    grouped_option,
    machine_readable,
    weights_option,
)

if TYPE_CHECKING:
    from nestevo_hw.crossbar.devices import AdcRange


@click.command("bench-noise", short_help="Score a model under device noise, drift and converters.")
@click.argument("model", nargs=-1, required=True, shell_complete=completion.models)
@analog_option
@compute_option
@click.option("--perfect-io", is_flag=True, help="No converters: only the weights carry errors.")
@adc_range_option
@age_option(", but where it is itself swept")
@click.option("--tile", default="256", show_default=True, metavar="ROWS[xCOLUMNS]", help="Size of one tile.")
@click.option("--keep-digital", multiple=True, metavar="LAYER",
              help="Leave this layer, or all layers below it, digital; may be repeated.")  # fmt: skip
@grouped_option
@click.option("--sweep", "sweeps", multiple=True, metavar="NAME[=A,B,..]",
              help="Sweep this property, over these values or the usual ones; may be repeated. "
              "Names: mu, time_s, adc_bits, dac_bits, output_noise, input_noise, read_noise, ir_drop, ir_ladder, "
              "stuck_cells, tile, analog, student_mu, student_time_s. Values of analog are names or files.  "
              "[default: mu and time_s]")  # fmt: skip
@click.option("--mu", metavar="A,B,..", help="The same as --sweep mu=A,B,..: weight noise levels of eq. 19.")
@click.option("--times", metavar="A,B,..", help="The same as --sweep time_s=A,B,..: seconds after programming.")
@click.option("--adc-bits", metavar="A,B,..", help="The same as --sweep adc_bits=A,B,..")
@click.option("--output-noise", metavar="A,B,..", help="The same as --sweep output_noise=A,B,..")
@click.option("--all", "everything", is_flag=True, help="Every sweep the device has a model for, students aside.")
@click.option("--students", is_flag=True, help="Also teach students with the noisy model: student_mu, student_time_s.")
@click.option("--student", metavar="MODEL",
              help="A shipped terminal detector or a checkpoint.  [default: fasterrcnn-tiny-m2]")  # fmt: skip
@click.option("--noise-aware", type=Number(Range(0, 1, above=True)), metavar="MU",
              help="Also fine-tune the model with and without weight noise of this level, and compare.")  # fmt: skip
@click.option("--noise-aware-weights", type=click.Path(path_type=Path), metavar="FILE",
              help="Compare with a noise-aware model of your own instead.")  # fmt: skip
@click.option("--repeats", type=REPEATS, help="Independent draws of the noise.  [default: 5, quick 3]")
@click.option("--frames", type=FRAME_COUNT,
              help="Frames to score on.  [default: 60, quick 24; of --data with classes 240, 96]")  # fmt: skip
@click.option("--seed", type=SEED_NUMBER, default=0, show_default=True, help="Of all noise.")
@weights_option
@click.option("--backend", type=click.Choice(["auto", "fold", "fused", "reference"]), default="auto",
              show_default=True, help="How the crossbar is simulated.")  # fmt: skip
@data_options()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("noise-benchmark"),
              show_default=True, help="Directory for results.csv, results.json, pictures and report.html.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the benchmark in --out, or add sweeps to a finished one.")
@click.option("--workers", type=WORKERS, default=1, show_default=True,
              help="Processes that score at a time; each needs about 1 GB.")  # fmt: skip
@click.option("--compare", is_flag=True,
              help="Put finished benchmarks side by side: MODEL are their directories.")  # fmt: skip
@click.option("--quick", is_flag=True, help="Fewer frames, repeats and values.")
@machine_readable
def bench_noise(
    model: tuple[str, ...],
    *,
    analog: str,
    device: str,
    perfect_io: bool,
    adc_range: "AdcRange | None",
    age_s: float | None,
    tile: str,
    keep_digital: tuple[str, ...],
    grouped: bool,
    sweeps: tuple[str, ...],
    mu: str | None,
    times: str | None,
    adc_bits: str | None,
    output_noise: str | None,
    everything: bool,
    students: bool,
    student: str | None,
    noise_aware: float | None,
    noise_aware_weights: Path | None,
    repeats: int | None,
    frames: int | None,
    seed: int,
    weights: Path | None,
    backend: str,
    data: dict[str, Any],
    out: Path,
    resume: bool,
    workers: int,
    compare: bool,
    quick: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Score MODEL under weight noise (eq. 18-20) and on a crossbar with its imperfections, one after another.

    With --data a model is scored against your labels: top-1 and top-5 accuracy, or mAP of boxes. Without, the
    embedded detectors are scored by mAP on rendered frames by day and by night, and any other model by its agreement
    with its digital self on made-up inputs, which says nothing of what is right. With --students the noisy model also
    teaches a terminal detector, as in `evolve`, and the student is scored. All noise is simulated. Every score is kept
    at once, so an interrupted benchmark goes on with --resume.

    \b
    Examples:
      nestevo-hw bench-noise fasterrcnn-tiny --quick
      nestevo-hw bench-noise fasterrcnn-tiny --analog reram-wan --times 0,86400,172800
      nestevo-hw bench-noise fasterrcnn-tiny --all --students --noise-aware 0.04 --out runs/noise
      nestevo-hw bench-noise mypackage.nets:lenet --weights lenet.pt --data mnist.npz --mean 0.1307 --std 0.3081
      nestevo-hw bench-noise torchvision.models:resnet18 --weights mine.pth --data imagenet/val --frames 1000
      nestevo-hw bench-noise detector.onnx --data labels.json --images frames/ --sweep adc_bits=4,6,8,10 --json
      nestevo-hw bench-noise --compare runs/noise runs/noise-hermes --out runs/pcm-or-hermes
    """
    from typing import get_args

    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.crossbar.backend import Backend
    from nestevo_hw.pages.tables import show
    from nestevo_hw.studies.noise.output import document_of, scores_table, sentences, write_benchmark
    from nestevo_hw.studies.noise.request import Request

    if compare:
        return _compare(tuple(Path(name) for name in model), out, as_json=as_json)
    if len(model) != 1:
        raise ConfigError(
            f"expected one MODEL but got {len(model)}; benchmark each, then put them beside with --compare"
        )
    short = {"mu": mu, "time_s": times, "adc_bits": adc_bits, "output_noise": output_noise}
    chosen: Backend = next(name for name in get_args(Backend) if name == backend)
    study = Request(
        model=model[0], weights=weights, analog=analog, perfect_io=perfect_io, adc_range=adc_range, age_s=age_s,
        tile=tile, keep_digital=keep_digital, grouped=grouped, backend=chosen,
        sweeps=(*sweeps, *(f"{name}={text}" for name, text in short.items() if text is not None)),
        everything=everything, students=students, student=student, noise_aware=noise_aware,
        noise_aware_weights=noise_aware_weights, repeats=repeats, frames=frames, seed=seed, quick=quick,
        data=spec_of(data), device=device,
    ).study()  # fmt: skip
    with one_writer(out, resume=resume):
        with progress_bar(study.steps, "rendering frames") as advance:
            found = study.run(out, resume=resume, advance=advance, workers=workers)
        written = write_benchmark(found, out)
    if not as_json:
        left_out = (f"left out: {text}" for text in found.about["left_out"])
        note = str(found.about["note"])
        show(scores_table(found), *sentences(found), *left_out, note, f"computed on {found.about['device']}",
             f"written to {out}: {', '.join(written)}")  # fmt: skip
    return document_of(found)


def _compare(folders: tuple[Path, ...], out: Path, *, as_json: bool) -> dict[str, Any]:
    from nestevo_hw.pages.tables import show
    from nestevo_hw.studies.noise.comparison import compare_benchmarks
    from nestevo_hw.studies.noise.comparison_page import comparison_table, difference_lines, write_comparison

    comparison = compare_benchmarks(folders)
    written = write_comparison(comparison, out)
    if not as_json:
        show(comparison_table(comparison), *difference_lines(comparison), f"written to {out}: {', '.join(written)}")
    return comparison.document()
