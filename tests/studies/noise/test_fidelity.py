"""Agreement with the digital model."""

import pytest
import torch
from torch import nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.faster_rcnn import fasterrcnn_tiny
from nestevo_hw.studies.noise.fidelity import (
    map_vs_digital,
    normalise_statistics,
    r2_vs_digital,
    share_of_one_class,
    top1_agreement,
)


def test_a_detector_agrees_fully_with_itself() -> None:
    torch.manual_seed(0)
    model = fasterrcnn_tiny(4).eval()
    batches = [list(torch.rand(3, 3, 96, 120))]
    normalise_statistics(model, batches)
    measure = map_vs_digital(model, batches)
    assert list(measure(model)["all"]) == ["map50_vs_digital", "map75_vs_digital", "map_vs_digital"]
    assert list(measure(model)["all"].values()) == pytest.approx([1.0, 1.0, 1.0])
    with torch.no_grad():
        for p in model.roi_heads.box_predictor.parameters():
            p.copy_(torch.randn(p.shape))
    assert measure(model)["all"]["map50_vs_digital"] < 0.5


def test_normalised_statistics_are_those_of_the_batches() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)).eval()
    x = 5 * torch.randn(8, 2, 6, 6) + 2
    normalise_statistics(model, [x])
    y = model(x)
    assert y.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(y.var((0, 2, 3)), torch.ones(3), rtol=1e-3, atol=1e-3)
    assert not model[1].training


def test_explained_variance_of_outputs_of_any_shape() -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 2, 6, 6)
    measure = r2_vs_digital(nn.Identity(), [x[:20], x[20:]])
    assert measure(nn.Identity())["all"]["r2_vs_digital"] == pytest.approx(1.0)

    class Half(nn.Module):
        def forward(self, y: torch.Tensor) -> torch.Tensor:
            return y / 2

    # The residual is half the output: 1 - 1/4 of the second moment over the variance.
    expected = 1 - float(x.square().mean() / 4 / x.var(correction=0))
    assert measure(Half())["all"]["r2_vs_digital"] == pytest.approx(expected, abs=1e-5)

    class Broken(nn.Module):
        def forward(self, y: torch.Tensor) -> torch.Tensor:
            return y * float("nan")

    assert measure(Broken())["all"]["r2_vs_digital"] == 0.0
    with pytest.raises(InputError, match="expected one or several float tensors"):
        r2_vs_digital(nn.Identity(), [torch.arange(3)])


def test_share_of_the_class_that_is_named_most() -> None:
    named = torch.eye(4)[[2, 0, 2, 2, 1, 2, 2, 3]]
    assert share_of_one_class(nn.Identity(), [named[:3], named[3:]]) == 5 / 8


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"expected class scores \(2, classes\) from the model but got a tensor \(2, 3, 4, 4\)"
    ):
        top1_agreement(nn.Identity(), [torch.rand(2, 3, 4, 4)])


@pytest.mark.parametrize("size", [1e-12, 1e-7, 1.0, 1e15, 1e25])
def test_explained_variance_does_not_depend_on_the_unit_of_the_outputs(size: float) -> None:
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))

    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, y: torch.Tensor) -> torch.Tensor:
            return y * self.factor

    measure = r2_vs_digital(Scaled(size), [x])
    assert measure(Scaled(0.0))["all"]["r2_vs_digital"] == pytest.approx(0.0, abs=1e-6)
    expected = 1 - 0.01 * float(x.square().mean() / x.var(correction=0))
    assert measure(Scaled(0.9 * size))["all"]["r2_vs_digital"] == pytest.approx(expected, abs=1e-5)


def test_outputs_that_never_vary_are_explained_by_themselves_alone() -> None:
    x = torch.ones(6, 2)
    measure = r2_vs_digital(nn.Identity(), [x])
    assert measure(nn.Identity())["all"]["r2_vs_digital"] == 1.0
    assert measure(nn.ReLU6())["all"]["r2_vs_digital"] == 1.0
    assert measure(nn.Sigmoid())["all"]["r2_vs_digital"] == 0.0
