"""Signal-to-noise ratios against closed forms and hand-made comparisons."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from nestevo_hw.base.errors import InputError, MappingError
from nestevo_hw.crossbar.devices import ConverterModel, find_preset
from nestevo_hw.crossbar.signal import OutputProbe, layer_signals, snr_db
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.models.faster_rcnn import TinyWidths, fasterrcnn_tiny

PERFECT_PCM = find_preset("pcm", perfect_io=True)
SMALL = TinyWidths(stem=8, stages=(8, 8, 8), fpn=8, box_hidden=8, box_feature=8, roi_bins=2)


def _programmed(model: nn.Module, **options: object) -> AnalogTeacher:
    teacher = AnalogTeacher(model, **options)  # type: ignore[arg-type]
    teacher.program()
    return teacher


def test_decibels() -> None:
    assert snr_db(0.1) == pytest.approx(20.0)
    assert snr_db(1.0) == 0.0
    assert snr_db(0.0) == math.inf
    assert snr_db(None) is None


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_outputs_that_are_not_finite_are_refused(value: float) -> None:
    layer = nn.Linear(4, 3)
    nn.init.constant_(layer.bias, value)
    with pytest.raises(InputError, match="the model's own outputs are not finite on these inputs; check its weights"):
        OutputProbe(layer, [torch.eye(4)])


def test_unit_vectors_show_the_weight_error_itself_and_no_bias() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 30)
    nn.init.constant_(layer.bias, 1000.0)
    teacher = _programmed(layer, device=PERFECT_PCM, tile=16)
    for seconds in (0.0, 86_400.0):
        teacher.age(seconds)
        (signal,) = layer_signals(teacher, torch.eye(40).split(7)).values()
        assert signal.weight_error == teacher.weight_errors()[""]
        assert signal.output_error == pytest.approx(signal.weight_error, rel=1e-3)
        assert signal.output_snr_db == pytest.approx(signal.weight_snr_db, abs=0.01)
        assert signal.weight_snr_db == pytest.approx(-20 * math.log10(signal.weight_error))


def test_converter_noise_counts_with_its_known_deviation() -> None:
    torch.manual_seed(0)
    converters = ConverterModel(dac_bits=0, adc_bits=0, output_noise=0.05)
    layer = nn.Linear(50, 20)
    teacher = _programmed(layer, device=replace(PERFECT_PCM, noise_law=None, converters=converters))
    batches = list(torch.randn(16, 100, 50))
    teacher.calibrate([torch.full((1, 50), 8.0)])  # nothing is clipped
    (signal,) = layer_signals(teacher, batches).values()
    assert signal.weight_snr_db is not None
    assert signal.weight_snr_db > 100
    # Noise of 0.05 full-scale inputs times the largest weight of each column.
    deviation = 0.05 * 8.0 * layer.weight.detach().abs().amax(1)
    clean = torch.cat(batches) @ layer.weight.detach().T
    expected = float((deviation.square().mean() / clean.square().mean()).sqrt())
    tolerance = 4 / math.sqrt(2 * clean.numel())  # of a standard deviation from so many draws
    assert signal.output_error == pytest.approx(expected, rel=tolerance)


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)
        self.idle = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu_().mean((2, 3)))


def _net() -> _Net:
    torch.manual_seed(0)
    return _Net().eval()


def test_each_layer_is_fed_by_the_digital_model() -> None:
    model = _net()
    teacher = AnalogTeacher(model, device="pcm", seed=1)
    x = torch.rand(9, 3, 12, 12)
    teacher.calibrate([x])
    teacher.program()
    signals = layer_signals(teacher, [x])
    assert list(signals) == ["conv", "head", "idle"]
    assert signals["idle"].output_error is None
    assert signals["idle"].output_snr_db is None
    with torch.no_grad():
        pooled = model.norm(model.conv(x)).relu().mean((2, 3))
        analog = teacher.module.head(pooled)  # not the output of the analog convolution
        noise = torch.linalg.vector_norm(analog - model.head(pooled))
        signal = torch.linalg.vector_norm(pooled @ model.head.weight.T)
    assert signals["head"].output_error == pytest.approx(float(noise / signal), rel=1e-5)


def test_measuring_leaves_no_trace_and_repeats() -> None:
    x = torch.rand(4, 3, 12, 12)
    outputs = []
    for measured in (0, 2):
        teacher = AnalogTeacher(_net(), device="pcm")
        teacher.calibrate([x])
        teacher.program()
        seen = [layer_signals(teacher, [x]) for _ in range(measured)]
        assert not seen or seen[0] == seen[1]
        outputs.append(teacher.module(x))
    assert torch.equal(*outputs)


def test_what_cannot_be_measured_is_refused() -> None:
    teacher = AnalogTeacher(_net(), device=PERFECT_PCM)
    with pytest.raises(MappingError, match=r"call program\(\) first"):
        layer_signals(teacher, [torch.rand(1, 3, 12, 12)])
    teacher.program()
    with pytest.raises(MappingError, match="the signal-to-noise ratio got no batch"):
        layer_signals(teacher, [])
    fused = _programmed(_net(), device="pcm")
    with pytest.raises(MappingError, match="conv has no input range"):
        layer_signals(fused, [torch.rand(1, 3, 12, 12)])


def test_a_classifiers_output_error() -> None:
    model, batches = _net(), [torch.rand(n, 3, 12, 12) for n in (5, 3)]
    probe = OutputProbe(model, batches)
    assert probe.error(model) == 0.0
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.head.bias += torch.tensor([0.0, 0.0, 3.0, 0.0, 0.0])
        scores = torch.cat([model(batch) for batch in batches])
    variance = (scores - scores.mean(0)).square().sum()
    assert probe.error(other) == pytest.approx(float((8 * 9.0 / variance).sqrt()), rel=1e-4)


def test_a_detectors_heads_judge_the_same_regions() -> None:
    torch.manual_seed(0)
    model = fasterrcnn_tiny(4, widths=SMALL).eval()
    frames = list(torch.rand(3, 3, 96, 120))
    probe = OutputProbe(model, [frames[:2], frames[2:]])
    assert probe.error(model) == 0.0
    other = copy.deepcopy(model)
    levels: list[Tensor] = []
    handle = model.rpn.head.register_forward_hook(lambda _m, _i, out: levels.extend(out[0]))
    with torch.no_grad():
        other.rpn.head.cls_logits.bias[0] += 0.5  # other proposals win, but none of the four outputs else changes
        model(frames[:2])
        model(frames[2:])
    handle.remove()
    logits = torch.cat([level.movedim(1, 0).flatten(1) for level in levels], dim=1)
    variance = (logits - logits.mean(1, keepdim=True)).square().sum()
    expected = math.sqrt(float(logits.shape[1] * 0.25 / variance) / 4)  # objectness, one of four kinds of output
    assert probe.error(other) == pytest.approx(expected, rel=1e-4)
    assert not model.rpn._forward_hooks
    assert not other.rpn.head._forward_hooks


def test_a_one_stage_detector_is_compared_at_its_head() -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=8), nn.ReLU())
    backbone.out_channels = 8
    anchors = AnchorGenerator(((16,),), ((1.0,),))
    model = RetinaNet(backbone, 3, min_size=64, max_size=64, anchor_generator=anchors).eval()
    probe = OutputProbe(model, [list(torch.rand(2, 3, 64, 64))])
    assert probe.error(model) == 0.0
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.head.classification_head.cls_logits.weight *= 2
    assert probe.error(other) > 0.1


def test_outputs_without_information_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    nn.init.zeros_(model[0].weight)
    with pytest.raises(InputError, match="same output for every frame"):
        OutputProbe(model, [torch.rand(4, 3)])

    class Text(nn.Module):
        def forward(self, x: Tensor) -> str:
            return str(x)

    with pytest.raises(InputError, match="expected tensors from the model but got str"):
        OutputProbe(Text(), [torch.rand(4, 3)])


@pytest.mark.parametrize(("places", "size"), [(9, 17), (9, 18), (1, 2)])
def test_a_transposed_convolution_is_compared_at_the_size_that_was_asked_of_it(places: int, size: int) -> None:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose1d(4, 3, 3, stride=2, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.up(x, output_size=[size])
            return y

    torch.manual_seed(0)
    x = torch.randn(6, 4, places)
    for io in (None, ConverterModel(dac_bits=0, adc_bits=0, output_noise=0.0)):
        teacher = AnalogTeacher(Decoder(), device=replace(find_preset("ideal"), converters=io))
        teacher.calibrate([x])
        teacher.module.up.input_range = 10.0
        teacher.program()
        error = layer_signals(teacher, [x])["up"].output_error
        assert error is not None
        assert error < 1e-6
