"""`nestevo-hw map`: place a model on crossbar tiles."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.ranges import AGE_S, Range
from nestevo_hw.commands.options import SEED_NUMBER, Number, device_option, grouped_option, machine_readable, whole
from nestevo_hw.crossbar.chips import CHIPS
from nestevo_hw.crossbar.devices import PRESETS, find_preset

if TYPE_CHECKING:
    from nestevo_hw.crossbar.mapping import MappingReport

BITS = whole(Range(0, 24))
_PAIRED = ", ".join(name for name, preset in PRESETS.items() if preset.several_pairs)


@click.command("map")
@click.argument("model")
@device_option
@click.option("--tile", default="256", show_default=True, metavar="ROWS[xCOLUMNS]", help="Size of one tile.")
@click.option(
    "--pairs",
    type=whole(Range(1, 64)),
    default=1,
    show_default=True,
    help=f"Differential conductance pairs a weight ({_PAIRED}).",
)
@click.option("--weight-bits", type=BITS, default=0, help="Bit slicing: bits of a weight, sign included.")
@click.option("--cell-bits", type=BITS, default=0, help="Bit slicing: bits a cell holds.")
@click.option("--seed", type=SEED_NUMBER, default=0, show_default=True, help="Of the programming noise.")
@click.option("--keep-digital", multiple=True, metavar="LAYER",
              help="Leave this layer, or all layers below it, digital; may be repeated.")  # fmt: skip
@grouped_option
@click.option("--weights", type=click.Path(path_type=Path), help="safetensors file with the model's weights.")
@click.option(
    "--age",
    "age_s",
    type=Number(AGE_S),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Time after programming at which weight errors are measured.",
)
@click.option("--no-program", is_flag=True, help="Only count tiles; skip the weight error of programming.")
@click.option("--chip", metavar="NAME|FILE.toml",
              help=f"Model time, energy and wear on {', '.join(CHIPS)} or your own.")  # fmt: skip
@click.option(
    "--chips",
    type=whole(Range(1, 1_000_000)),
    default=1,
    show_default=True,
    help="Chips to use; a model they do not hold takes turns.",
)
@click.option(
    "--frames",
    type=whole(Range(1, 1_000_000_000)),
    default=1200,
    show_default=True,
    help="Frames that --chip is to work on.",
)
@click.option("--size", default="720x1280", show_default=True, metavar="HEIGHTxWIDTH", help="Of these frames.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png",
              help="Write a picture of the tiles; with --chip also FILE-chip.png.")  # fmt: skip
@machine_readable
def map_command(
    model: str,
    device: str,
    tile: str,
    pairs: int,
    weight_bits: int,
    cell_bits: int,
    seed: int,
    keep_digital: tuple[str, ...],
    grouped: bool,
    weights: Path | None,
    age_s: float,
    no_program: bool,
    chip: str | None,
    chips: int,
    frames: int,
    size: str,
    plot: Path | None,
    as_json: bool,
) -> dict[str, Any]:
    """Place MODEL on crossbar tiles: which layers go there, which stay digital and why.

    MODEL is a name such as fasterrcnn-tiny, fasterrcnn-resnet50-fpn, fasterrcnn-mobilenet-v3 or resnet18,
    or your own as package.module:factory. Unless --no-program is given, every tile is programmed (simulated)
    and the error of its weights measured, after --age seconds.

    \b
    Examples:
      nestevo-hw map fasterrcnn-tiny
      nestevo-hw map fasterrcnn-tiny --weight-bits 8 --cell-bits 2
      nestevo-hw map fasterrcnn-tiny --device hermes --age 86400
      nestevo-hw map fasterrcnn-resnet50-fpn --tile 128x128 --no-program --plot tiles.png
      nestevo-hw map fasterrcnn-resnet50-fpn --no-program --chip isaac --frames 1200 --size 720x1280
      nestevo-hw map mypackage.nets:detector --weights mine.safetensors --keep-digital head --json
    """
    from rich.console import Console

    from nestevo_hw.commands.chip_table import chip_document, model_chip, show_chip
    from nestevo_hw.crossbar.mapping import map_model, parse_tile
    from nestevo_hw.studies.opening import open_layers

    if no_program and age_s:
        raise ConfigError("--age asks for programmed tiles; leave --no-program out")
    rows_columns = parse_tile(tile)
    # The weight error does not depend on the converters.
    preset = replace(find_preset(device, perfect_io=True), pairs=pairs, weight_bits=weight_bits, cell_bits=cell_bits)
    preset.check_time(age_s)
    chosen = open_layers(model, weights=weights)
    report = map_model(
        chosen.model, rows_columns, keep_digital=keep_digital, grouped=grouped, device=device, digits=preset.digits
    )
    modelled = model_chip(chosen.model, report, chip, chips=chips, frames=frames, size=size) if chip else None
    if not no_program:
        from nestevo_hw.crossbar.teacher import AnalogTeacher

        with Console(stderr=True).status("Converting and programming the tiles ..."):
            teacher = AnalogTeacher(
                chosen.model,
                device=preset,
                tile=rows_columns,
                seed=seed,
                keep_digital=keep_digital,
                grouped=grouped,
            )
            teacher.program()
            teacher.age(age_s)
        report = teacher.report.with_errors(teacher.weight_errors())
    if plot is not None:
        from nestevo_hw.crossbar.chips.plots import draw_cost
        from nestevo_hw.crossbar.plots import draw_mapping
        from nestevo_hw.pages.style import save_png

        save_png(draw_mapping(report, model), plot)
        if modelled is not None:
            save_png(draw_cost(modelled.cost, modelled.estimates, model), _beside(plot))
    if not as_json:
        _show(report, model, chosen.origin, plot, age_s)
        if modelled is not None:
            show_chip(modelled, None if plot is None else _beside(plot))
    document = None if modelled is None else chip_document(modelled)
    return {"model": model, "weights": chosen.origin, "age_s": age_s, **report.document(), "chip": document}


def _beside(plot: Path) -> Path:
    """Where the picture of the chip goes."""
    return plot.with_stem(f"{plot.stem}-chip")


def _show(report: "MappingReport", model: str, origin: str, plot: Path | None, age_s: float) -> None:
    from nestevo_hw.pages.tables import Table, show

    rows = [
        (layer.name, "x".join(str(side) for side in layer.shape), "digital", "", "")
        if layer.placement == "digital"
        else (layer.name, "x".join(str(side) for side in layer.shape), str(layer.tiles), f"{layer.utilisation:.0%}",
              "" if layer.weight_error is None else f"{layer.weight_error:.1%}")
        for layer in report.layers
    ]  # fmt: skip
    table = Table(
        title=f"{model} ({origin}) on {report.tile[0]} x {report.tile[1]} tiles, {report.device}",
        heads=("layer", "weights", "tiles", "used", "error"),
        rows=rows,
        marked=frozenset(i for i, layer in enumerate(report.layers) if layer.placement == "digital"),
    )
    digital = (f"{la.name} stays digital: {la.reason}" for la in report.layers if la.placement == "digital")
    totals = report.totals
    when = f"{age_s:g} s after programming" if age_s else "as programmed"
    error = "" if totals.weight_error is None else f", weight error {totals.weight_error:.2%} RMS {when} (simulated)"
    show(
        table,
        *digital,
        f"{totals.tiles} tiles for {totals.analog_layers} layers, {totals.utilisation:.1%} of their cells used, "
        f"{totals.analog_weight_share:.1%} of the weights on the crossbar{error}",
        *([] if plot is None else [f"picture: {plot}"]),
    )
