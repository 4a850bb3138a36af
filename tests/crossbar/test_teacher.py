"""The teacher as a whole: exact without noise, repeatable in any order, and really reprogrammed."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.errors import ConfigError, InputError, MappingError
from nestevo_hw.crossbar.backend import Backend
from nestevo_hw.crossbar.devices import ConverterModel, find_preset
from nestevo_hw.crossbar.layers import FusedLayer
from nestevo_hw.crossbar.state import FORMAT
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.models.faster_rcnn import fasterrcnn_tiny

PERFECT_PCM = find_preset("pcm", perfect_io=True)


class Small(nn.Module):
    """Convolution, BatchNorm with statistics of its own, a grouped convolution and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 20, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(20)
        self.grouped = nn.Conv2d(20, 20, 3, groups=4)
        self.head = nn.Linear(20, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.grouped(self.norm(self.conv(x)).relu()).mean((2, 3)))


def _small(seed: int = 0) -> Small:
    torch.manual_seed(seed)
    model = Small()
    with torch.no_grad():
        model.norm.running_mean.normal_()
        model.norm.running_var.uniform_(0.5, 2.0)
    return model.eval()


def _images(seed: int = 5) -> Tensor:
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def _detector(seed: int = 0) -> FasterRCNN:
    torch.manual_seed(seed)
    return fasterrcnn_tiny(4).eval()


@pytest.mark.parametrize("backend", ["fold", "reference"])
@pytest.mark.parametrize("tile", [16, (300, 40)])
def test_ideal_device_equals_the_digital_model(backend: Backend, tile: int | tuple[int, int]) -> None:
    model, x = _small(), _images()
    teacher = AnalogTeacher(model, device="ideal", tile=tile, backend=backend)
    teacher.program()
    torch.testing.assert_close(teacher.module(x), model(x), rtol=1e-5, atol=1e-5)
    assert teacher.report.totals.weight_error == pytest.approx(0.0, abs=1e-6)


def test_ideal_detector_gives_the_same_detections() -> None:
    model = _detector()
    teacher = AnalogTeacher(model, device="ideal")
    teacher.program()
    frames = list(torch.rand(2, 3, 96, 120))
    with torch.no_grad():
        expected, got = model(frames), teacher.module(frames)
    assert isinstance(teacher.module, FasterRCNN)
    assert sum(len(d["scores"]) for d in expected) > 0
    for one, other in zip(expected, got, strict=True):
        torch.testing.assert_close(other["scores"], one["scores"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(other["boxes"], one["boxes"], rtol=1e-4, atol=1e-2)
        assert torch.equal(other["labels"], one["labels"])


def test_programming_replaces_the_old_teacher() -> None:
    old, new, x = _small(0), _small(1), _images()
    teacher = AnalogTeacher(old, device="ideal")
    teacher.program()
    teacher.program(new.state_dict(), generation=1)
    torch.testing.assert_close(teacher.module(x), new(x), rtol=1e-5, atol=1e-5)
    noisy = AnalogTeacher(old, device=PERFECT_PCM)
    noisy.program()
    noisy.age(86_400.0)
    noisy.program(new.state_dict(), generation=1)
    noisy.age(86_400.0)
    fresh = AnalogTeacher(new, device=PERFECT_PCM)
    fresh.program(generation=1)
    fresh.age(86_400.0)
    assert torch.equal(noisy.module(x), fresh.module(x))


def test_neither_the_model_nor_the_global_generator_is_touched() -> None:
    model = _small().train()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.random.get_rng_state()
    teacher = AnalogTeacher(model)
    teacher.calibrate([_images()])
    teacher.program()
    teacher.age(60.0)
    teacher.module(_images())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_result_depends_on_seed_generation_and_age_only(backend: Backend) -> None:
    x = _images()

    def run(seed: int, generation: int, *, detour: bool) -> Tensor:
        teacher = AnalogTeacher(_small(), seed=seed, backend=backend)
        if detour:  # noise drawn, ages visited, another generation, calibration last
            torch.rand(17)
            teacher.program(generation=5)
            teacher.age(3600.0)
            teacher.program(generation=generation)
            teacher.age(1e6)
            teacher.calibrate([x])
            teacher.module(x)
        else:
            teacher.calibrate([x])
            teacher.program(generation=generation)
        teacher.age(86_400.0)
        y: Tensor = teacher.module(x)
        return y

    plain = run(0, 1, detour=False)
    assert torch.equal(plain, run(0, 1, detour=True))
    assert not torch.equal(plain, run(0, 2, detour=False))
    assert not torch.equal(plain, run(1, 1, detour=False))


def test_tiles_draw_independent_noise() -> None:
    layer = nn.Linear(64, 64, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0.5)
        layer.weight[:, ::2] = -0.5
    teacher = AnalogTeacher(nn.ModuleDict({"a": layer, "b": copy.deepcopy(layer)}), device=PERFECT_PCM, tile=32)
    teacher.program()
    errors = [teacher.module[name].weight - layer.weight for name in ("a", "b")]
    blocks = [b.flatten() for e in errors for half in e.split(32) for b in half.split(32, dim=1)]
    correlation = torch.corrcoef(torch.stack(blocks)) - torch.eye(len(blocks))
    assert correlation.abs().max() < 5 / 1024**0.5


def test_drift_grows_and_compensation_restores_the_mean() -> None:
    teacher = AnalogTeacher(_small(), device=PERFECT_PCM)
    teacher.program()
    errors = [teacher.report.totals.weight_error]
    for seconds in (3600.0, 86_400.0, 31_536_000.0):
        teacher.age(seconds)
        errors.append(sum(teacher.weight_errors().values()) / 2)
    assert errors == sorted(errors)
    compensated = teacher.weight_errors()["head"]
    raw = AnalogTeacher(_small(), device=replace(PERFECT_PCM, drift_compensation=False))
    raw.program()
    raw.age(31_536_000.0)
    assert raw.weight_errors()["head"] > 1.5 * compensated
    teacher.age(0.0)
    assert teacher.weight_errors() == pytest.approx({e.name: e.weight_error for e in teacher.report.analog}, rel=1e-6)


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_batchnorm_and_biases_stay_digital_and_exact(backend: Backend) -> None:
    model = _small(2)
    teacher = AnalogTeacher(_small(1), device="pcm", backend=backend)
    teacher.program(model.state_dict())
    norm = teacher.module.norm
    assert type(norm) is nn.BatchNorm2d
    for name, value in model.norm.state_dict().items():
        assert torch.equal(norm.state_dict()[name], value)
    assert torch.equal(teacher.module.head.bias, model.head.bias)
    assert torch.equal(teacher.module.grouped.weight, model.grouped.weight)
    state = teacher.module.state_dict()
    assert {k for k in model.state_dict() if not k.endswith((".weight",))} <= set(state)
    norm.reset_running_stats()  # what re-estimation does
    norm.train()
    teacher.calibrate([_images()])
    teacher.module(_images())
    assert norm.num_batches_tracked == 1


def test_program_refuses_bad_weights_and_changes_nothing() -> None:
    model, x = _small(), _images()
    teacher = AnalogTeacher(model, device=PERFECT_PCM)
    teacher.program()
    before = teacher.module(x)
    state = model.state_dict()

    def bad(**changes: Tensor) -> dict[str, Tensor]:
        return {**_small(3).state_dict(), **changes}

    cases = [
        ({k: v for k, v in state.items() if k != "norm.bias"}, "weights lack norm.bias"),
        (bad(extra=torch.ones(1)), "weights hold extra, which the model does not have"),
        (
            bad(**{"head.weight": torch.ones(7, 19)}),
            r"head.weight expected shape \(7, 20\) but got \(7, 19\)",
        ),
        (bad(**{"head.bias": torch.full((7,), float("nan"))}), "head.bias holds NaN"),
    ]
    for weights, message in cases:
        with pytest.raises(MappingError, match=message):
            teacher.program(weights, generation=9)
    assert torch.equal(teacher.module(x), before)


def test_nan_weights_are_refused_at_once() -> None:
    model = _small()
    nn.init.constant_(model.head.weight, float("nan"))
    with pytest.raises(MappingError, match=r"head\.weight holds NaN"):
        AnalogTeacher(model)


def test_a_layer_under_two_names_is_one_layer_on_the_crossbar() -> None:
    torch.manual_seed(0)
    shared = nn.Linear(6, 6)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    for backend in ("fold", "reference"):
        teacher = AnalogTeacher(model, device=PERFECT_PCM, backend=backend)  # type: ignore[arg-type]
        assert teacher.module[0] is teacher.module[2]
        teacher.program()
        x = torch.rand(4, 6)
        assert not torch.allclose(teacher.module(x), model(x), atol=1e-6)
    state = model.state_dict()
    with pytest.raises(MappingError, match=r"2\.weight and 0\.weight are one layer in the model but differ"):
        teacher.program({**state, "2.weight": state["2.weight"] + 1})


def test_two_classes_of_one_name_keep_their_own_forward() -> None:
    # aihwkit's AnalogWrapper finds wrapped classes by name alone.
    def build(sign: float) -> nn.Module:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(3, 3)

            def forward(self, x: Tensor) -> Tensor:
                return sign * self.layer(x)

        return Net()

    x = torch.rand(2, 3)
    for model in (build(1.0), build(-1.0)):
        for backend in ("fold", "reference"):
            teacher = AnalogTeacher(model, device="ideal", backend=backend)  # type: ignore[arg-type]
            torch.testing.assert_close(teacher.module(x), model(x))


def test_a_bare_layer_and_same_padding_work() -> None:
    torch.manual_seed(0)
    model, x = nn.Conv2d(3, 4, 3, padding="same"), torch.rand(2, 3, 9, 8)
    for backend in ("fold", "reference"):
        teacher = AnalogTeacher(model, device="ideal", backend=backend)  # type: ignore[arg-type]
        teacher.program(model.state_dict())
        torch.testing.assert_close(teacher.module(x), model(x))


def test_backends_are_chosen_and_refused_with_a_reason() -> None:
    model = _small()
    assert AnalogTeacher(model, device="ideal").report.backend == "fold"
    assert AnalogTeacher(model, device="pcm").report.backend == "fused"
    assert isinstance(AnalogTeacher(model, device="pcm").module.head, FusedLayer)
    input_noise = replace(find_preset("pcm"), converters=ConverterModel(input_noise=0.01))
    noisy = AnalogTeacher(model, device=input_noise)
    assert noisy.report.backend == "reference"
    assert "input noise" in noisy.report.backend_reason
    with pytest.raises(ConfigError, match="fused has no input noise"):
        AnalogTeacher(model, device=input_noise, backend="fused")
    with pytest.raises(ConfigError, match="fold ignores converters"):
        AnalogTeacher(model, device="pcm", backend="fold")
    with pytest.raises(ConfigError, match="fused needs converters"):
        AnalogTeacher(model, device="ideal", backend="fused")
    for effect in ("read_noise", "ir_drop"):
        within = replace(input_noise, converters=ConverterModel(**{effect: 0.02}))
        assert AnalogTeacher(_small(), device=within).backend == "fused"
        with pytest.raises(ConfigError, match="reference has no read noise, IR drop"):
            AnalogTeacher(_small(), device=within, backend="reference")
        with pytest.raises(ConfigError, match="no backend simulates input noise together"):
            AnalogTeacher(
                _small(), device=replace(within, converters=ConverterModel(input_noise=0.1, **{effect: 0.02}))
            )
    with pytest.raises(ConfigError, match="unknown backend 'cuda'"):
        AnalogTeacher(model, backend="cuda")  # type: ignore[arg-type]


def test_order_of_calls_is_explained() -> None:
    teacher = AnalogTeacher(_small())
    with pytest.raises(MappingError, match="nothing is programmed yet, so nothing can age"):
        teacher.age(1.0)
    with pytest.raises(MappingError, match="no state to save"):
        teacher.save(Path("never.safetensors"))
    with pytest.raises(MappingError, match="calibration got no batch"):
        teacher.calibrate([])
    teacher.program()
    with pytest.raises(MappingError, match=r"conv has no input range; calibrate it"):
        teacher.module(_images())


def test_calibration_covers_all_but_the_clipped_share() -> None:
    teacher = AnalogTeacher(_small())
    x = torch.rand(40, 3, 16, 16)
    teacher.calibrate([x[:20], x[20:]])
    full_scale = teacher.module.conv.input_range
    # uniform inputs: quantile 0.9999 of n samples is 0.9999 within a few standard errors
    assert full_scale == pytest.approx(0.9999, abs=4e-4)


def test_finer_converters_come_closer_to_the_digital_model() -> None:
    model, x = _small(), _images()
    errors = []
    for bits in (4, 6, 8, 12):
        quiet = replace(find_preset("ideal"), converters=ConverterModel(dac_bits=bits, adc_bits=bits, output_noise=0.0))
        teacher = AnalogTeacher(model, device=quiet)
        teacher.calibrate([x])
        teacher.program()
        errors.append(((teacher.module(x) - model(x)).norm() / model(x).norm()).item())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 10 * errors[-1]
    assert errors[-1] < 0.01


@pytest.mark.parametrize(
    ("device", "backend"),
    [("pcm", "fused"), ("pcm", "reference"), ("reram-cmo", "auto"), (PERFECT_PCM, "fold")],
)
def test_save_and_load_restore_every_bit(device: str, backend: Backend, tmp_path: Path) -> None:
    model, x, path = _small(), _images(), tmp_path / "teacher.safetensors"
    teacher = AnalogTeacher(_small(8), device=device, tile=(24, 16), seed=3, backend=backend)
    teacher.calibrate([x])
    teacher.program(model.state_dict(), generation=2)
    teacher.age(86_400.0)
    teacher.module.norm.running_mean.add_(0.5)
    teacher.save(path)
    teacher.age(86_400.0)  # restarts the converters' noise
    loaded = AnalogTeacher.load(path, _small(9))
    assert torch.equal(loaded.module(x), teacher.module(x))
    assert loaded.weight_errors() == teacher.weight_errors()
    for seconds in (0.0, 1e6):
        teacher.age(seconds)
        loaded.age(seconds)
        assert torch.equal(loaded.module(x), teacher.module(x))
    teacher.program(generation=3)
    loaded.program(generation=3)
    assert torch.equal(loaded.module(x), teacher.module(x))


def test_the_file_is_plain_tensors_and_json(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    teacher = AnalogTeacher(_small(), keep_digital=("head",), seed=4)
    teacher.calibrate([_images()])
    teacher.program()
    teacher.save(path)
    with safe_open(path, framework="pt") as file:
        keys, metadata = set(file.keys()), file.metadata()
    header = json.loads(metadata["header"])
    assert (header["seed"], header["preset"]["name"], header["keep_digital"]) == (4, "pcm", ["head"])
    assert {
        "tiles/conv/target",
        "tiles/conv/programmed",
        "tiles/conv/drift",
        "input_range/conv",
    } <= keys
    assert "digital/head.weight" in keys
    assert "digital/conv.weight" not in keys
    assert AnalogTeacher.load(path, _small(1)).report.totals.analog_layers == 1


def test_load_refuses_what_is_not_a_teacher_of_this_model(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    with pytest.raises(InputError, match="no file"):
        AnalogTeacher.load(path, _small())
    path.write_bytes(b"not a safetensors file")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        AnalogTeacher.load(path, _small())
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(InputError, match="not an analog teacher"):
        AnalogTeacher.load(path, _small())
    save_file({"a": torch.ones(1)}, path, {"format": FORMAT, "header": '{"seed": "x"}'})
    with pytest.raises(InputError, match="header: preset: field required; write it again"):
        AnalogTeacher.load(path, _small())
    teacher = AnalogTeacher(nn.Sequential(nn.Linear(3, 3)))
    teacher.program()
    teacher.save(path)
    with pytest.raises(InputError, match="another architecture"):
        AnalogTeacher.load(path, _small())


def test_detector_on_the_crossbar_with_converters_detects() -> None:
    model = _detector()
    frames = list(torch.rand(2, 3, 96, 120))
    for backend in ("fused", "reference"):
        teacher = AnalogTeacher(model, backend=backend)  # type: ignore[arg-type]
        teacher.calibrate([frames])
        teacher.program(model.state_dict(), generation=1)
        teacher.age(3600.0)
        with torch.no_grad():
            detections = teacher.module(frames)
        assert len(detections) == 2
        assert all(bool(torch.isfinite(d["boxes"]).all()) for d in detections)
        assert {"backbone", "rpn", "roi_heads", "transform"} <= {n for n, _ in teacher.module.named_children()}


def test_the_digital_twin_is_the_model_with_its_targets() -> None:
    model, x = _small(4), _images()
    teacher = AnalogTeacher(_small(5), device="pcm")
    teacher.program(model.state_dict())
    teacher.age(1e6)
    assert torch.equal(teacher.digital_twin()(x), model(x))


def test_an_age_is_the_same_whole_or_not() -> None:
    teacher = AnalogTeacher(_small(), device="pcm", tile=32)
    teacher.calibrate([_images()])
    teacher.program(chip=2)
    found = []
    for age in (3600, 3600.0):
        teacher.age(age)
        found.append(teacher.module(_images()))
    assert torch.equal(*found)


def test_a_chip_comes_back_with_its_stuck_cells(tmp_path: Path) -> None:
    device = replace(find_preset("pcm"), stuck_on=0.05)
    teacher = AnalogTeacher(_small(), device=device, tile=32)
    teacher.calibrate([_images()])
    teacher.program(chip=3)
    teacher.save(tmp_path / "teacher.safetensors")
    again = AnalogTeacher.load(tmp_path / "teacher.safetensors", _small(1))
    for one in (teacher, again):
        one.age(60.0)
    assert again.chip == 3
    assert all(torch.equal(w, again.effective_weights[name]) for name, w in teacher.effective_weights.items())
