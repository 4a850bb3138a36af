"""Whether accuracy is simulated with the cell that is costed."""

from dataclasses import replace

import pytest
import torch
from torchvision.models import resnet18

from nestevo_hw.crossbar.chips import CHIPS
from nestevo_hw.crossbar.chips.agreement import differences, simulated_device, simulated_tile
from nestevo_hw.crossbar.chips.chip_file import load_chip
from nestevo_hw.crossbar.chips.cost import chip_cost
from nestevo_hw.crossbar.chips.workload import count_workload
from nestevo_hw.crossbar.devices import DevicePreset, find_preset
from nestevo_hw.crossbar.mapping import map_model


def told(
    chip: str, preset: DevicePreset, tile: tuple[int, int], *, mode: str | None = None
) -> dict[str, tuple[str, str]]:
    return {one.item: (one.simulated, one.costed) for one in differences(load_chip(chip, mode), preset, tile)}


@pytest.mark.parametrize("name", CHIPS)
def test_a_chip_is_simulated_with_its_own_bits_and_as_many_tiles_as_it_has_arrays(name: str) -> None:
    chip = load_chip(name)
    preset, tile = simulated_device(chip), simulated_tile(chip)
    assert preset.converters is not None
    assert (preset.converters.dac_bits, preset.converters.adc_bits) == (chip.input_bits, chip.output_bits)
    assert (preset.weight_bits, preset.cell_bits) == (chip.weight_bits or 0, chip.cell_bits or 0)
    with torch.device("meta"):
        model = resnet18()
    report = map_model(model, tile, device=preset)
    assert report.totals.tiles == chip_cost(report, count_workload(model, (64, 64)), chip).arrays


def test_what_a_chip_simulates_of_itself_agrees_or_is_told() -> None:
    found = {name: told(name, simulated_device(load_chip(name)), simulated_tile(load_chip(name))) for name in CHIPS}
    assert {name: set(items) for name, items in found.items()} == {
        "generic": set(), "hermes": set(), "neurram": set(),
        "isaac": {"devices of a weight", "conversions"}, "puma": {"devices of a weight", "conversions"},
    }  # fmt: skip
    # 16 bits in 2-bit cells: eight digits, each a pair in the simulation and one cell on the chip.
    assert found["isaac"]["devices of a weight"] == ("pairs, 16 devices", "an offset, 8 devices")
    assert "16 a product of 8 bits" in found["isaac"]["conversions"][1]


def test_every_choice_of_ones_own_is_told() -> None:
    ours = told("isaac", find_preset("pcm"), (256, 256))
    assert ours["cells"] == ("the statistics of pcm", "the statistics of reram-wan")
    assert ours["tile"] == ("256 x 256", "128 x 128")
    assert ours["bits of a cell"] == ("one analog value", "16-bit weights in 2-bit cells")
    assert ours["inputs"] == ours["outputs"] == ("8 bits", "16 bits")
    assert told("hermes", find_preset("hermes"), (256, 256)) == {}
    assert told("hermes", find_preset("pcm"), (256, 256)) == {
        "devices of a weight": ("pairs, 2 devices", "pairs, 4 devices")
    }
    assert told("hermes", replace(find_preset("pcm"), pairs=2), (256, 256)) == {}
    assert told("neurram", find_preset("reram-cmo"), (128, 256))["devices of a weight"] == (
        "an offset, 1 device", "pairs, 2 devices",
    )  # fmt: skip
    assert told("hermes", find_preset("hermes"), (256, 256), mode="one-phase") == {
        "reading mode": ("the four-phase read", "the one-phase read")
    }
    assert told("hermes", find_preset("hermes", perfect_io=True), (256, 256)) == {
        "converters": ("perfect ones", "8-bit inputs and 8-bit outputs")
    }
    weights_only = differences(load_chip("isaac"), simulated_device(load_chip("isaac")), (128, 128), converters=False)
    assert [one.item for one in weights_only] == ["devices of a weight"]
    assert weights_only[0].note == (
        "devices of a weight: accuracy is simulated with pairs, 16 devices, cost is modelled for an offset, 8 devices."
    )


def test_bits_that_no_simulated_converter_has_are_told() -> None:
    chip = replace(load_chip("generic"), input_bits=1)
    preset = simulated_device(chip)
    assert preset.converters is not None
    assert preset.converters.dac_bits == 0
    (found,) = differences(chip, preset, simulated_tile(chip))
    assert (found.item, found.simulated, found.costed) == ("inputs", "no rounding", "1 bits")
