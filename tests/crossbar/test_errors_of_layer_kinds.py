"""What goes wrong in cells and converters reaches every kind of layer: bands of groups, transposed, linear."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.base.errors import MappingError
from nestevo_hw.crossbar.backend import Backend
from nestevo_hw.crossbar.devices import DAY_S, ConverterModel, DevicePreset, LayerRule, MeasuredLaw, find_preset
from nestevo_hw.crossbar.devices.law import Curve, ProgrammingLaw
from nestevo_hw.crossbar.layers import FusedLayer
from nestevo_hw.crossbar.teacher import AnalogTeacher

EXACT = ConverterModel(dac_bits=0, adc_bits=0, output_noise=0.0, output_bound=1e6)
PCM, CMO = find_preset("pcm"), find_preset("reram-cmo")
KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "grouped": (lambda: nn.Conv2d(8, 12, 3, groups=4), (2, 8, 7, 7)),
    "depthwise": (lambda: nn.Conv1d(12, 12, 3, groups=12), (2, 12, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 8, 3, stride=2, groups=2), (2, 6, 4, 4)),
    "linear": (lambda: nn.Linear(50, 9), (2, 3, 50)),
}
DEVICES = {
    "slices": replace(PCM, weight_bits=8, cell_bits=2, stuck_on=0.02, stuck_random=0.02),
    "reference column": replace(CMO, reference_column=True, stuck_off=0.05),
}
TILE = (40, 20)


def _case(kind: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    build, shape = KINDS[kind]
    return build().eval(), torch.rand(shape) - 0.3


def _aged(layer: nn.Module, device: DevicePreset, x: Tensor, backend: Backend = "auto") -> AnalogTeacher:
    teacher = AnalogTeacher(layer, device=device, tile=TILE, grouped=True, backend=backend)
    teacher.calibrate([x])
    teacher.program()
    teacher.age(DAY_S)
    return teacher


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_cells_compute_the_same_with_and_without_converters(kind: str, device: str) -> None:
    layer, x = _case(kind)
    fused = _aged(layer, replace(DEVICES[device], converters=EXACT), x)
    fused.module.input_range = float(x.abs().max())  # calibration leaves the largest inputs out
    folded = _aged(layer, DEVICES[device].perfect_io(), x)
    assert (fused.backend, folded.backend) == ("fused", "fold")
    torch.testing.assert_close(fused.module(x), folded.module(x), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(folded.module(x), layer(x), atol=1e-3)


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_a_pruned_output_of_a_group_puts_out_its_bias_exactly(backend: Backend) -> None:
    layer, x = _case("grouped")
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias").detach()
    with torch.no_grad():
        weight[4] = 0.0
    y = _aged(layer, replace(PCM, stuck_on=0.1), x, backend).module(x)
    assert torch.equal(y[:, 4], bias[4].expand_as(y[:, 4]))
    assert not torch.equal(y[:, 5], layer(x)[:, 5])


def test_adcs_of_bands_are_calibrated_to_the_largest_sum() -> None:
    layer, x = _case("grouped")
    io = ConverterModel(adc_range="calibrated", adc_quantile=1.0)
    teacher = AnalogTeacher(layer, device=replace(PCM, converters=io), tile=TILE, grouped=True)
    teacher.calibrate([x])
    module, weight = teacher.module, layer.get_parameter("weight").detach()
    assert isinstance(module, FusedLayer)
    assert (module.geometry.bands, module.input_range is None) == (2, False)
    full_scale = teacher.input_ranges[""]
    # 36 rows of two groups: one slice of inputs, so that sums are those of whole outputs
    sums = F.conv2d(x.clamp(-full_scale, full_scale) / full_scale, weight, groups=4)
    largest = (sums / weight.flatten(1).abs().amax(1).view(-1, 1, 1)).abs().max()
    assert module.output_bound == pytest.approx(float(largest), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_calibrated_columns_undo_a_gain_that_all_their_cells_share(kind: str) -> None:
    layer, x = _case(kind)
    law = MeasuredLaw(
        programming=ProgrammingLaw(
            deviation_us=Curve(constant=0.0), mean_us=Curve(polynomial=(0.0, 0.8), reference_us=1.0)
        )
    )
    device = replace(PCM, noise_law=law, idle_is_silent=False, drift_compensation=False)
    outputs = {}
    for calibrated in (False, True):
        teacher = AnalogTeacher(
            layer,
            device=replace(device, converters=replace(EXACT, column_calibration=calibrated)),
            tile=TILE,
            grouped=True,
        )
        teacher.calibrate([x])
        teacher.program()
        outputs[calibrated] = teacher.module(x), teacher.digital_twin()(x)
    gap = [float((own - wanted).abs().max()) for own, wanted in outputs.values()]
    assert gap[1] < 0.1 * gap[0]


def test_ranges_and_columns_are_calibrated_in_the_layers_that_a_rule_names() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 4)), torch.rand(64, 20)
    rule, bound = LayerRule(pattern="2", adc_range="calibrated"), LayerRule(pattern="2", output_bound=10.0)
    fixed = PCM.with_adc_range("fixed")
    for device, calibrated in (
        (replace(fixed, layers=(rule,)), {"2"}),
        (replace(fixed, layers=(rule,)).with_adc_range("fixed"), set()),
        (PCM, {"0", "2"}),
        (replace(PCM, layers=(bound,)), {"0"}),
        (replace(PCM, layers=(bound,)).with_adc_range("calibrated"), {"0", "2"}),
        (replace(PCM, layers=(LayerRule(pattern="2", device=CMO),)).with_adc_range("calibrated"), {"0", "2"}),
    ):
        teacher = AnalogTeacher(model, device=device)
        teacher.calibrate([x])
        bounds = {name: layer.output_bound for name, layer in teacher.module.named_children() if name != "1"}
        assert {name for name, bound in bounds.items() if bound != 10.0} == calibrated


def test_columns_without_frames_are_refused_before_anything_is_programmed() -> None:
    teacher = AnalogTeacher(nn.Linear(4, 4), device=replace(PCM, converters=ConverterModel(column_calibration=True)))
    with pytest.raises(MappingError, match="call calibrate"):
        teacher.program()
    assert not teacher.programmed
