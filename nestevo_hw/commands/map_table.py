"""The table of `nestevo-hw map`: where each layer goes, and what it costs in tiles and error."""

from pathlib import Path

from nestevo_hw.crossbar.mapping import LayerMapping, MappingReport
from nestevo_hw.pages.formats import decibels
from nestevo_hw.pages.tables import Table, show
from nestevo_hw.studies.data.calibrated import Calibration


def _hardware(layer: LayerMapping) -> str:
    """Device, tile and converters of one layer."""
    if layer.device is None:
        return ""
    text = f"{layer.device.name}, {layer.tile[0]} x {layer.tile[1]}"
    text += f", {layer.device.pairs} pairs" if layer.device.pairs > 1 else ""
    text += f", {layer.device.weight_bits} in {layer.device.cell_bits} bits" if layer.device.weight_bits else ""
    io = layer.device.converters
    if io is None:
        return text
    reach = "of its own range" if io.adc_range == "calibrated" else f"to {io.output_bound:g}"
    return f"{text}, {io.dac_bits}-bit DAC, {io.adc_bits}-bit ADC {reach}"


def show_mapping(
    report: MappingReport, model: str, origin: str, plot: Path | None, calibration: Calibration | None, age_s: float
) -> None:
    """Print where each layer went, and what it came to."""
    mixed = () if report.uniform else ("on",)
    unknown = "" if report.backend == "none" else "-"  # a layer of zeros has no relative error
    rows: list[tuple[str, ...]] = [
        (layer.name, "x".join(str(side) for side in layer.shape), "digital", "", "", *("" for _ in mixed))
        if layer.placement == "digital"
        else (layer.name, "x".join(str(side) for side in layer.shape), str(layer.tiles), f"{layer.utilisation:.0%}",
              unknown if layer.weight_error is None else f"{layer.weight_error:.1%}",
              *(_hardware(layer) for _ in mixed))
        for layer in report.layers
    ]  # fmt: skip
    heads: tuple[str, ...] = ("layer", "weights", "tiles", "used", "error", *mixed)
    if calibration is not None:
        ranges = {name: f"{value:.3g}" for name, value in calibration.input_ranges.items()}
        ratios = {name: decibels(value) for name, value in calibration.output_snr_db.items()}
        heads = (*heads, "input range", "output SNR dB")
        rows = [(*row, ranges.get(row[0], ""), ratios.get(row[0], "")) for row in rows]
    table = Table(
        title=f"{model} ({origin}) on {report.tile[0]} x {report.tile[1]} tiles, {report.preset}",
        heads=heads,
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
        *([] if calibration is None else [f"{calibration.note} (simulated)"]),
        *([] if plot is None else [f"picture: {plot}"]),
    )
