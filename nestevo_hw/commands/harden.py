"""`nestevo-hw harden`: hardware-aware training."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import (
    AGE_S,
    BATCH_SIZE,
    CLIP_DEVIATIONS,
    DROP_CONNECT,
    LEARNING_RATE,
    SHARE,
    STEPS,
    TRAINED_ON,
    Range,
)
from nestevo_hw.commands.data_options import data_options, spec_of
from nestevo_hw.commands.options import (
    FRAME_COUNT,
    REPEATS,
    SEED_NUMBER,
    Number,
    adc_range_option,
    analog_option,
    compute_option,
    grouped_option,
    machine_readable,
    model_argument,
    warn,
    weights_option,
    whole,
)

if TYPE_CHECKING:
    from nestevo_hw.crossbar.devices import AdcRange


@click.command("harden", short_help="Fine-tune a model so that it bears the crossbar.")
@model_argument
@analog_option
@compute_option
@adc_range_option
@click.option("--tile", default="256", show_default=True, metavar="ROWS[xCOLUMNS]", help="Size of one tile.")
@click.option("--keep-digital", multiple=True, metavar="LAYER",
              help="Leave this layer, or all layers below it, digital; may be repeated.")  # fmt: skip
@grouped_option
@click.option("--age", "age_s", type=Number(AGE_S), default=86_400.0, show_default=True, metavar="SECONDS",
              help="Train at ages up to this one, and score at it.")  # fmt: skip
@click.option("--steps", type=whole(STEPS), help="Optimiser steps.  [default: 150, quick 20]")
@click.option("--batch-size", type=whole(BATCH_SIZE), default=8, show_default=True, help="Samples of a step.")
@click.option("--learning-rate", type=Number(LEARNING_RATE), default=1e-3, show_default=True, help="Its peak.")
@click.option("--samples", type=whole(TRAINED_ON),
              help="Learn from at most so many; of --data, from those held out.  [default: 320, quick 80]")  # fmt: skip
@click.option("--drop-connect", type=Number(DROP_CONNECT), default=0.0, show_default=True, metavar="SHARE",
              help="Of the cells that count as empty in a step, others each time.")  # fmt: skip
@click.option("--clip", type=Number(CLIP_DEVIATIONS), default=2.0, show_default=True, metavar="DEVIATIONS",
              help="Clip the weights of each output at so many of their root mean squares; 0 does not.")  # fmt: skip
@click.option("--compare", "compared_mu", type=Number(SHARE), default=0.0, metavar="MU",
              help="Also train with weight noise of this level in place of the device (eq. 18-20).")  # fmt: skip
@click.option("--seeds", type=whole(Range(1, 1000)),
              help="Trainings with other noise and batches.  [default: 3, quick 1]")  # fmt: skip
@click.option("--repeats", type=REPEATS, help="Programmings that each model is scored on.  [default: 5, quick 3]")
@click.option("--frames", type=FRAME_COUNT,
              help="Frames to score on.  [default: 60, quick 24; with classes 240, 96]")  # fmt: skip
@click.option("--seed", type=SEED_NUMBER, default=0, show_default=True, help="Of all noise, frames and batches.")
@weights_option
@data_options()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("hardened"), show_default=True,
              help="Directory for hardened.safetensors, models/, results.png and results.json.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the interrupted hardening in --out.")
@click.option("--quick", is_flag=True, help="One short training, fewer frames and programmings.")
@machine_readable
def harden(
    model: str,
    *,
    analog: str,
    device: str,
    adc_range: "AdcRange | None",
    tile: str,
    keep_digital: tuple[str, ...],
    grouped: bool,
    age_s: float,
    steps: int | None,
    batch_size: int,
    learning_rate: float,
    samples: int | None,
    drop_connect: float,
    clip: float,
    compared_mu: float,
    seeds: int | None,
    repeats: int | None,
    frames: int | None,
    seed: int,
    weights: Path | None,
    data: dict[str, Any],
    out: Path,
    resume: bool,
    quick: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Fine-tune MODEL so that it bears the crossbar: hardware-aware training.

    In every step the model is programmed onto the device anew and computes with its noise, drift and converters, while
    it learns to give the outputs of its clean self. That needs no labels, and keeps the digital accuracy. Input ranges
    of the converters are learned, too. The result is scored as bench-noise does, on samples that it has not learned
    from: digital, freshly programmed and at --age. All noise is simulated. hardened.safetensors is for --weights of
    every command, and holds the input ranges. Killed, it goes on with --resume.

    \b
    Examples:
      nestevo-hw harden digits-cnn --analog reram-wan --quick
      nestevo-hw harden fasterrcnn-tiny --out runs/hardened
      nestevo-hw harden fasterrcnn-tiny --analog my-device.toml --age 3600 --compare 0.04
      nestevo-hw harden mypackage.nets:lenet --weights lenet.pt --data mnist.npz --calibration-share 0.5
      nestevo-hw bench-noise fasterrcnn-tiny --weights runs/hardened/hardened.safetensors --quick
    """
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.pages.tables import show
    from nestevo_hw.studies.harden.output import document_of, scores_table, sentences, write_hardening
    from nestevo_hw.studies.harden.request import Request

    study = Request(
        model=model, weights=weights, analog=analog, adc_range=adc_range, tile=tile, keep_digital=keep_digital,
        grouped=grouped, age_s=age_s, steps=steps, batch_size=batch_size, learning_rate=learning_rate,
        samples=samples, drop_connect=drop_connect, clip=clip, compared_mu=compared_mu, seeds=seeds, repeats=repeats,
        frames=frames, seed=seed, quick=quick, data=spec_of(data),
        device=device,
    ).study()  # fmt: skip
    if ":" in model and weights is None:
        warn(f"{model} is taken as its factory makes it; if that is untrained, give --weights")
    with one_writer(out, resume=resume):
        with progress_bar(study.steps, "preparing frames") as advance:
            found = study.run(out, resume=resume, advance=advance)
        written = write_hardening(found, out)
    if not as_json:
        show(scores_table(found), *sentences(found), str(found.about["note"]),
             f"computed on {found.about['device']}", f"written to {out}: {', '.join(written)}")  # fmt: skip
    return document_of(found, out)
