"""`nestevo-hw map`: place a model on crossbar tiles."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.ranges import AGE_S, Range
from nestevo_hw.commands import completion
from nestevo_hw.commands.data_options import data_options, spec_of
from nestevo_hw.commands.options import (
    SEED_NUMBER,
    Number,
    adc_range_option,
    compute_option,
    crossbar_option,
    grouped_option,
    machine_readable,
    model_argument,
    weights_option,
    whole,
)
from nestevo_hw.crossbar.chips import CHIPS
from nestevo_hw.crossbar.devices import PRESETS, find_preset

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nestevo_hw.crossbar.chips.chip import Chip
    from nestevo_hw.crossbar.devices import AdcRange, DevicePreset
    from nestevo_hw.crossbar.teacher import AnalogTeacher
    from nestevo_hw.crossbar.tile_sizes import Tile
    from nestevo_hw.studies.data.calibrated import Calibration, CalibrationSamples

BITS = whole(Range(0, 24))
_FRAMES = 1200
_VIDEO = (720, 1280)
"""(H, W) of the frames that a chip is modelled for."""
_PAIRED = ", ".join(name for name, preset in PRESETS.items() if preset.several_pairs)


@click.command("map", short_help="Place a model on crossbar tiles, with its costs.")
@model_argument
@crossbar_option(None, "pcm, or the chip's")
@compute_option
@adc_range_option
@click.option("--tile", metavar="ROWS[xCOLUMNS]", help="Size of one tile.  [default: 256, or the chip's]")
@click.option(
    "--pairs",
    type=whole(Range(1, 64)),
    help=f"Differential conductance pairs a weight ({_PAIRED}).  [default: the device's]",
)
@click.option("--weight-bits", type=BITS, help="Bit slicing: bits of a weight, sign included.  [default: the device's]")
@click.option("--cell-bits", type=BITS, help="Bit slicing: bits a cell holds.  [default: the device's]")
@click.option("--seed", type=SEED_NUMBER, default=0, show_default=True, help="Of the programming noise.")
@click.option("--keep-digital", multiple=True, metavar="LAYER",
              help="Leave this layer, or all layers below it, digital; may be repeated.")  # fmt: skip
@grouped_option
@weights_option
@click.option("--age", "age_s", type=Number(AGE_S), default=0.0, show_default=True, metavar="SECONDS",
              help="Time after programming at which errors are measured.")  # fmt: skip
@click.option("--no-program", is_flag=True, help="Only count tiles; skip the weight error of programming.")
@click.option("--chip", metavar="NAME|FILE.toml", shell_complete=completion.chips,
              help=f"Model time, energy and wear on {', '.join(CHIPS)} or your own; what accuracy is simulated with is "
              "the chip's then, too, unless --analog or --tile says otherwise.")  # fmt: skip
@click.option("--chip-mode", metavar="NAME", help="Reading mode of the chip.  [default: the one that is simulated]")
@click.option(
    "--chips",
    type=whole(Range(1, 1_000_000)),
    help="Chips of --chip to use; a model they do not hold takes turns.  [default: 1]",
)
@click.option(
    "--frames",
    type=whole(Range(1, 1_000_000_000)),
    help="Frames that --chip is to work on.  [default: 1200]",
)
@click.option("--adapters", "rank", type=whole(Range(1, 256)), metavar="RANK",
              help="Count digital low-rank adapters of this rank beside the layers in what --chip costs.")  # fmt: skip
@click.option("--size", metavar="HEIGHTxWIDTH",
              help="Of these frames, and of inputs from --data.  [default: 720x1280; of --data its own]")  # fmt: skip
@data_options(own_size=True)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png",
              help="Write a picture of the tiles; with --chip also FILE-chip.png.")  # fmt: skip
@machine_readable
def map_command(
    model: str,
    analog: str | None,
    device: str,
    adc_range: "AdcRange | None",
    tile: str | None,
    pairs: int | None,
    weight_bits: int | None,
    cell_bits: int | None,
    seed: int,
    keep_digital: tuple[str, ...],
    grouped: bool,
    weights: Path | None,
    age_s: float,
    no_program: bool,
    chip: str | None,
    chip_mode: str | None,
    chips: int | None,
    frames: int | None,
    rank: int | None,
    size: str | None,
    data: dict[str, Any],
    plot: Path | None,
    as_json: bool,
) -> dict[str, Any]:
    """Place MODEL on crossbar tiles: which layers go there, which stay digital and why.

    MODEL is a name such as fasterrcnn-tiny, fasterrcnn-resnet50-fpn, fasterrcnn-mobilenet-v3 or resnet18,
    or your own as package.module:factory. Unless --no-program is given, every tile is programmed (simulated)
    and the error of its weights measured, after --age seconds. With --data the input ranges of the converters are set
    from held-out samples of yours, and the output of every layer is compared with the digital one on them.

    \b
    Examples:
      nestevo-hw map fasterrcnn-tiny
      nestevo-hw map fasterrcnn-tiny --weight-bits 8 --cell-bits 2
      nestevo-hw map fasterrcnn-tiny --analog hermes --age 86400
      nestevo-hw map fasterrcnn-resnet50-fpn --tile 128x128 --no-program --plot tiles.png
      nestevo-hw map fasterrcnn-resnet50-fpn --no-program --chip isaac --frames 1200 --size 720x1280
      nestevo-hw map fasterrcnn-tiny --chip hermes --chip-mode one-phase
      nestevo-hw map fasterrcnn-tiny --chip hermes --adapters 8
      nestevo-hw map mypackage.nets:detector --weights mine.pt --keep-digital head --json
      nestevo-hw map mypackage.nets:lenet --weights lenet.pt --data mnist.npz
    """
    from nestevo_hw.base.compute import compute_device, device_name
    from nestevo_hw.commands.chip_table import chip_document, model_chip, show_chip
    from nestevo_hw.commands.map_table import show_mapping
    from nestevo_hw.crossbar.mapping import map_model
    from nestevo_hw.studies.data.calibrated import calibration_samples
    from nestevo_hw.studies.opening import open_layers
    from nestevo_hw.studies.placing import on_device

    computing = compute_device(device)
    spec, costed = spec_of(data), _costed(chip, chip_mode, chips, frames, rank)
    base, rows_columns = _simulated(analog, tile, costed)
    for option, given in (("--data", spec.source is not None), ("--age", age_s > 0)):
        if no_program and given:
            raise ConfigError(f"{option} is for programmed tiles; leave --no-program or {option} out")
    if adc_range == "calibrated" and spec.source is None:
        raise ConfigError("ADC ranges are calibrated on samples; give --data, or leave --adc-range out")
    changes = {"pairs": pairs, "weight_bits": weight_bits, "cell_bits": cell_bits}
    own: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    preset = replace(base, **own).with_adc_range(adc_range)
    preset.check_time(age_s)
    chosen = open_layers(model, weights=weights, data=spec)
    samples = None if spec.source is None else calibration_samples(spec, chosen, seed=seed)
    report = map_model(chosen.model, rows_columns, keep_digital=keep_digital, grouped=grouped, device=preset)
    modelled = None
    if costed is not None:
        from nestevo_hw.crossbar.chips.agreement import differences

        other = differences(costed, preset, rows_columns, converters=samples is not None)
        one = _one_input(chosen.model, size, samples, spec.channels)
        modelled = model_chip(
            chosen.model, report, costed, other, chips=chips or 1, frames=frames or _FRAMES, rank=rank or 0, one=one
        )
    calibration = None
    if not no_program:
        options: dict[str, Any] = {
            "tile": rows_columns, "seed": seed, "keep_digital": keep_digital, "grouped": grouped,
        }  # fmt: skip
        teacher, calibration = _programmed(on_device(chosen.model, computing), preset, samples, age_s, options)
        report = replace(
            report.with_errors(teacher.weight_errors()), backend=teacher.backend,
            backend_reason=teacher.report.backend_reason,
        )  # fmt: skip
    if plot is not None:
        from nestevo_hw.crossbar.chips.plots import draw_cost
        from nestevo_hw.crossbar.plots import draw_mapping
        from nestevo_hw.pages.style import save_png

        save_png(draw_mapping(report, model), plot)
        if modelled is not None:
            save_png(draw_cost(modelled.cost, modelled.estimates, model), _beside(plot))
    if not as_json:
        show_mapping(report, model, chosen.origin, plot, calibration, age_s)
        if not no_program:
            click.echo(f"computed on {device_name(computing)}")
        if modelled is not None:
            show_chip(modelled, None if plot is None else _beside(plot))
    document = None if modelled is None else chip_document(modelled)
    ranges = None if calibration is None else calibration.document()
    return {
        "model": model, "weights": chosen.origin, "age_s": age_s, **report.document(),
        "device": None if no_program else device_name(computing), "chip": document,
        "calibration": ranges,
    }  # fmt: skip


def _programmed(
    model: "nn.Module", preset: "DevicePreset", samples: "CalibrationSamples | None", age_s: float,
    options: dict[str, Any],
) -> "tuple[AnalogTeacher, Calibration | None]":  # fmt: skip
    """The model on its tiles at an age, calibrated if there are samples."""
    from rich.console import Console

    from nestevo_hw.crossbar.teacher import AnalogTeacher

    with Console(stderr=True).status("Converting and programming the tiles ..."):
        if samples is not None:
            teacher = AnalogTeacher(model, device=preset, **options)
            return teacher, samples.calibrate(teacher, age_s=age_s)
        # Without inputs there is nothing for the converters to do; the weight error does not depend on them.
        teacher = AnalogTeacher(model, device=preset.perfect_io(), **options)
        teacher.program()
        teacher.age(age_s)
        return teacher, None


def _costed(
    chip: str | None, mode: str | None, chips: int | None, frames: int | None, rank: int | None
) -> "Chip | None":
    """The chip in its reading mode, as asked for."""
    from nestevo_hw.crossbar.chips.chip_file import load_chip

    for option, given in (("--chip-mode", mode), ("--chips", chips), ("--frames", frames), ("--adapters", rank)):
        if given is not None and chip is None:
            raise ConfigError(f"{option} is for a chip; name one with --chip, or leave {option} out")
    return None if chip is None else load_chip(chip, mode)


def _simulated(analog: str | None, tile: str | None, costed: "Chip | None") -> "tuple[DevicePreset, Tile]":
    """What accuracy is simulated with: as asked, else the chip's that is costed, else the usual."""
    from nestevo_hw.crossbar.tile_sizes import parse_tile

    if costed is None:
        return find_preset(analog or "pcm"), parse_tile(tile or "256")
    from nestevo_hw.crossbar.chips.agreement import simulated_device, simulated_tile

    return (
        simulated_device(costed) if analog is None else find_preset(analog),
        simulated_tile(costed) if tile is None else parse_tile(tile),
    )


def _one_input(
    model: "nn.Module", size: str | None, samples: "CalibrationSamples | None", channels: int | None
) -> "Tensor":
    """What a chip is modelled for: a frame as asked, else one of the user's samples, else what the model takes."""
    import torch

    from nestevo_hw.base.sizes import parse_size
    from nestevo_hw.models.inputs import channels_of, features_of

    if size is None and samples is not None and isinstance(samples.batches[0], torch.Tensor):
        return samples.batches[0][:1]
    if size is None and channels is None and (length := features_of(model)) is not None:
        return torch.zeros(1, length)
    found = None if samples is None else samples.size
    height, width = parse_size(size) if size is not None else found or _VIDEO
    return torch.zeros(1, channels or channels_of(model) or 3, height, width)


def _beside(plot: Path) -> Path:
    """Where the picture of the chip goes."""
    return plot.with_stem(f"{plot.stem}-chip")
