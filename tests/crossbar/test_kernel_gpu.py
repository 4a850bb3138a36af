"""The compiled kernel on a GPU: `pytest -m gpu`."""

from dataclasses import replace

import pytest
import torch
from kernel_cases import ALLOWED, ANALOG, QUIET, both, by_vector, on_tiles, reference_codes
from torch import Tensor, nn

from nestevo_hw.crossbar.devices import ConverterModel, find_preset
from nestevo_hw.crossbar.geometry import Layer
from nestevo_hw.crossbar.gpu.operands import Precision
from nestevo_hw.crossbar.teacher import AnalogTeacher

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU"),
]


@pytest.mark.parametrize("precision", list(ALLOWED))
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(700, 300), (500, 700)), (nn.Conv2d(64, 65, 3, stride=2, padding=1), (2, 64, 29, 31)),
        (nn.Conv2d(3, 64, 7, 2, 3), (2, 3, 64, 64)),
    ],
    ids=["linear", "convolution", "few channels"],
)  # fmt: skip
def test_codes_are_those_of_aihwkits_tiles(layer: Layer, shape: tuple[int, ...], precision: Precision) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    _, kernel = both(layer, QUIET, (256, 256), precision=precision)
    expected = reference_codes(on_tiles(layer, QUIET, (256, 256)), layer, x, 1.0)
    got = by_vector(torch.stack(list(kernel.cuda().output_codes(x.cuda()))), layer).cpu()
    difference = (got - expected).abs()
    assert difference.max() <= 1.01
    assert int((difference > 0.5).sum()) <= ALLOWED[precision] * difference.numel()


def _outputs(layer: Layer, x: Tensor, converters: ConverterModel, **settings: object) -> Tensor:
    _, kernel = both(layer, converters, (256, 256), **settings)  # type: ignore[arg-type]
    result: Tensor = kernel.cuda()(x.cuda())
    return result


def test_exact_sums_repeat_for_all_block_sizes() -> None:
    torch.manual_seed(1)
    layer, x = nn.Conv2d(32, 70, 3, padding=1), torch.randn(2, 32, 20, 21)
    converters = ConverterModel(read_noise=0.05, ir_drop=5.0)
    first = _outputs(layer, x, converters)
    for blocks in ((32, 64), (64, 32), (128, 64)):
        assert torch.equal(_outputs(layer, x, converters, blocks=blocks), first)


@pytest.mark.parametrize("law", ["constant", "pcm"])
@pytest.mark.parametrize("precision", ["fixed", "float16x2", "tf32", "float32"])
def test_noise_has_the_deviation_of_its_formula(law: str, precision: Precision) -> None:
    torch.manual_seed(2)
    converters = replace(
        ANALOG, dac_bits=8, read_noise=0.05, read_noise_law=law, output_noise=0.02  # type: ignore[arg-type]
    )  # fmt: skip
    layer, x, n = nn.Linear(60, 8, bias=False), torch.rand(1, 60), 20_000
    (part,) = on_tiles(layer, converters, (256, 256)).slices()
    inputs = (x * 127).round() / 127
    cells = part.weight.abs() if law == "pcm" else torch.ones_like(part.weight)
    sigma = (0.02**2 + 0.05**2 * (inputs.square() @ cells.T)[0]).sqrt() * part.scale
    got = _outputs(layer, x.expand(n, 60), converters, precision=precision).cpu()
    standardised = (got - (inputs @ part.weight.T)[0] * part.scale) / sigma
    assert bool((standardised.mean(0).abs() < 4.5 / n**0.5 + 2e-2 * (precision == "tf32")).all())
    assert bool(((standardised.std(0) - 1.0).abs() < 4.5 / (2 * n) ** 0.5 + 5e-3).all())


@torch.no_grad()
def test_a_teacher_made_on_a_gpu_computes_with_the_kernel() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 4))
    quiet = replace(find_preset("pcm"), converters=QUIET)
    outputs = []
    x = torch.rand(4, 3, 8, 8)
    for place in ("cpu", "cuda"):
        teacher = AnalogTeacher(model.to(place), device=quiet, backend="triton" if place == "cuda" else "fused")
        teacher.calibrate([x.to(place)])
        teacher.program()
        outputs.append(teacher.module(x.to(place)).cpu())
    assert teacher.backend == "triton"
    # Other noise programs the cells of a GPU, so that only the sizes agree.
    assert torch.linalg.vector_norm(outputs[0] - outputs[1]) < 0.5 * torch.linalg.vector_norm(outputs[0])
