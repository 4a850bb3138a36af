"""One cell for accuracy and cost: what simulates a chip, and where a simulation is of something else."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from aihwkit.inference.converter.conductance import SingleDeviceConductanceConverter

from nestevo_hw.crossbar.cells import noise_model
from nestevo_hw.crossbar.chips.chip import Chip
from nestevo_hw.crossbar.devices import DevicePreset, find_preset
from nestevo_hw.crossbar.devices.law import ModelLaw
from nestevo_hw.crossbar.tile_sizes import Tile


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that the simulation of accuracy and the model of cost do not share."""

    item: str
    simulated: str
    costed: str

    @property
    def note(self) -> str:
        """For people, one line."""
        return f"{self.item}: accuracy is simulated with {self.simulated}, cost is modelled for {self.costed}."

    def document(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "note": self.note}


def simulated_device(chip: Chip) -> DevicePreset:
    """The device that simulates a chip: its nearest cells, with the chip's bits of a weight, inputs and outputs.

    Raises:
        ConfigError: the chip names a device that does not exist.
    """
    preset = find_preset(chip.device)
    if preset.converters is not None:
        io = replace(preset.converters, dac_bits=_simulable(chip.input_bits), adc_bits=_simulable(chip.output_bits))
        preset = replace(preset, converters=io)
    if chip.weight_bits is not None and chip.cell_bits is not None:
        preset = replace(preset, weight_bits=chip.weight_bits, cell_bits=chip.cell_bits)
    return preset


def simulated_tile(chip: Chip) -> Tile:
    """The tile that simulates an array: its rows and columns as far as they are inputs, and outputs or their digits."""
    return chip.weight_rows, chip.array_columns if chip.weight_bits else chip.weight_columns


def differences(chip: Chip, preset: DevicePreset, tile: Tile, *, converters: bool = True) -> tuple[Difference, ...]:
    """What `preset` on tiles of this size simulates otherwise than `chip` is costed.

    Args:
        chip: what costs are modelled for.
        preset: what accuracy is simulated with.
        tile: rows and columns.
        converters: whether the simulation has any; False where only weight errors are measured.
    """
    pairs = [
        ("reading mode", f"the {chip.default_mode} read", f"the {chip.mode} read"),
        ("cells", _cells_of(chip, preset), _named(chip.device)),
        ("tile", _sides(tile), _sides(simulated_tile(chip))),
        ("bits of a cell", _bits(preset.weight_bits, preset.cell_bits), _bits(chip.weight_bits, chip.cell_bits)),
        ("devices of a weight", *_devices(chip, preset)),
    ]
    io = preset.converters
    if converters and io is None:
        pairs.append(("converters", "perfect ones", f"{chip.input_bits}-bit inputs and {chip.output_bits}-bit outputs"))
    elif converters and io is not None:
        pairs += [
            ("inputs", _resolution(io.dac_bits), _resolution(chip.input_bits)),
            ("outputs", _resolution(io.adc_bits), _resolution(chip.output_bits)),
        ]
        if chip.weight_bits is not None:
            own = "" if chip.adc_bits is None else f" of {chip.adc_bits} bits"
            pairs.append(
                (
                    "conversions",
                    "one a product and digit",
                    f"one a read cycle and cell, {chip.input_cycles} a product{own}",
                )
            )
    if preset.layers:
        pairs.append(("layers", "rules of their own for some layers", "the same cells for all layers"))
    return tuple(Difference(item=item, simulated=ours, costed=theirs) for item, ours, theirs in pairs if ours != theirs)


def _simulable(bits: int) -> int:
    """Bits of a simulated converter; 0, no rounding, where there is none of so many or so few."""
    return bits if 2 <= bits <= 16 else 0


def _named(device: str) -> str:
    return f"the statistics of {device}"


def _cells_of(chip: Chip, preset: DevicePreset) -> str:
    """The device's name; a device that names this chip for its costs has its cells."""
    return _named(chip.device if preset.chip == chip.name else preset.name)


def _sides(tile: Tile) -> str:
    return f"{tile[0]} x {tile[1]}"


def _bits(weight: int | None, cell: int | None) -> str:
    return f"{weight}-bit weights in {cell}-bit cells" if weight else "one analog value"


def _resolution(bits: int) -> str:
    return f"{bits} bits" if bits else "no rounding"


def _devices(chip: Chip, preset: DevicePreset) -> tuple[str, str]:
    """How a weight is stored, simulated and on the chip."""
    law = preset.noise_law
    single = law is not None and isinstance(noise_model(preset).g_converter, SingleDeviceConductanceConverter)
    each = int(law.arguments.get("num_devices", 1)) if isinstance(law, ModelLaw) else 1
    count = preset.pairs * preset.digits * each * (1 if single else 2)
    return (
        _stored("an offset" if single else "pairs", count),
        _stored("an offset" if chip.encoding == "offset" else "pairs", chip.devices_per_weight),
    )


def _stored(how: str, count: int) -> str:
    return f"{how}, {count} device{'s' if count > 1 else ''}"
