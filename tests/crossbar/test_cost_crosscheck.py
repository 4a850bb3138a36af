"""The cost model against independent tools; skipped where they are not installed (docs/costs.md says how)."""

from dataclasses import replace
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from nestevo_hw.crossbar.chips.chip import Chip
from nestevo_hw.crossbar.chips.chip_file import load_chip
from nestevo_hw.crossbar.chips.cost import chip_cost
from nestevo_hw.crossbar.chips.workload import LayerWork, count_workload
from nestevo_hw.crossbar.mapping import map_model

# Warnings of other people's tools are not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")


def zigzag_chip() -> Chip:
    """ZigZag's example analog array: 128 x 128 weights of 8 one-bit cells, 8-bit inputs one bit a cycle.

    ZigZag charges the converters of used columns only.
    """
    return replace(
        load_chip("isaac"), array_rows=128, array_columns=1024, columns_per_weight=8, input_cycles=8,
        sum_columns=0, adc_energy_pj=1.0, unused_share=0.0,
    )  # fmt: skip


def cycles_and_conversions(chip: Chip, work: LayerWork) -> tuple[int, int]:
    """Cycles of one array that does a layer alone, and conversions of its ADCs, as our model counts them."""
    cycles = work.products * chip.input_cycles * chip.arrays(work.rows, work.columns)
    blocks = -(-work.rows // chip.weight_rows)
    return cycles, work.products * chip.input_cycles * blocks * work.columns * chip.columns_per_weight


def module_name(node: str) -> str:
    """layer2.0.downsample.0 from ONNX's /layer2/layer2.0/downsample/downsample.0/Conv."""
    parts = node.strip("/").split("/")
    return ".".join(a for a, b in pairwise(parts) if not b.startswith(f"{a}."))


@pytest.mark.slow  # 40 s: ZigZag searches a loop order for every layer
def test_cycles_and_conversions_of_resnet18_are_zigzags(tmp_path: Path) -> None:
    api, yaml = pytest.importorskip("zigzag.api"), pytest.importorskip("yaml")
    inputs = resources.files("zigzag") / "inputs"
    hardware = yaml.safe_load((inputs / "hardware" / "aimc.yaml").read_text())
    hardware["operational_array"]["bit_serial_precision"] = 1
    (tmp_path / "hardware.yaml").write_text(yaml.safe_dump(hardware, sort_keys=False))
    *_, results = api.get_hardware_performance_zigzag(
        str(inputs / "workload" / "resnet18.onnx"), str(tmp_path / "hardware.yaml"),
        str(inputs / "mapping" / "default_imc.yaml"), opt="latency", dump_folder=str(tmp_path / "out"), lpf_limit=4,
        in_memory_compute=True, loma_show_progress_bar=False, nb_spatial_mappings_generated=1,
    )  # fmt: skip
    theirs = {module_name(layer.layer.name): layer for layer, _ in results[0][1]}
    chip, ours = zigzag_chip(), count_workload(resnet18(), (224, 224)).layers
    compared = []
    for name, work in ours.items():
        layer = theirs[name]
        cycles, conversions = cycles_and_conversions(chip, work)
        energy = layer.mac_energy_breakdown["adcs"] / layer.operational_array.get_adc_cost()[2]
        ratio = layer.ideal_temporal_cycle / cycles
        # Both counts must deviate alike, and only where ZigZag, which unrolls whole loops, uses more blocks of rows.
        assert energy / conversions == pytest.approx(ratio, rel=1e-6), name
        assert ratio == pytest.approx(1.0, rel=1e-6) if work.rows % 128 == 0 or work.rows < 128 else 1 < ratio <= 1.5
        compared.append(ratio)
    assert len(compared) == 21
    assert sum(ratio == pytest.approx(1.0, rel=1e-6) for ratio in compared) == 15


def test_conversions_are_those_the_cost_model_charges() -> None:
    with torch.device("meta"):
        model = resnet18()
    work, chip = count_workload(model, (224, 224)), zigzag_chip()
    conversions = sum(cycles_and_conversions(chip, layer)[1] for layer in work.layers.values())
    assert chip_cost(map_model(model), work, chip).energy.adc == pytest.approx(conversions * 1e-12)


def test_energy_of_a_conversion_is_that_of_a_survey_of_converters() -> None:
    """ISAAC's 1.67 pJ comes from one published converter; the plug-in fits all of Murmann's survey."""
    adc = pytest.importorskip("hwcomponents_adc").ADC(n_bits=8, tech_node=32e-9, throughput=1.28e9)
    assert load_chip("isaac").adc_energy_pj == pytest.approx(adc.convert().energy * 1e12, rel=0.15)
