"""A small classifier and its bench, for the tests of the noise benchmark."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.studies.noise.bench import Bench
from nestevo_hw.studies.noise.fidelity import top1_agreement
from nestevo_hw.studies.noise.sweeps import Hardware


class Circle(nn.Module):
    """Classes that lie on a circle, so that the right one is known and noise matters."""

    def __init__(self, classes: int = 24) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lift = nn.Linear(2, 64)
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lift(x).relu())


def circle_bench(preset: str = "pcm", *, noiseless_cells: bool = False) -> Bench:
    """The classifier on 600 points of the circle."""
    model, angles = Circle().eval(), torch.linspace(0, 2 * math.pi, 600)
    batches = [torch.stack([angles.cos(), angles.sin()], 1)]
    device = find_preset(preset)
    device = replace(device, noise_law=None) if noiseless_cells else device
    return Bench(
        models={"": model}, measures={"": top1_agreement(model, batches)}, calibration=batches,
        hardware=Hardware(preset=device, tile=32),
    )  # fmt: skip
