"""An ensemble of three-layer networks that corrects a task's analytic time and memory (section 6.1 of the paper)."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nestevo_hw.base.seeding import torch_generator

Array = NDArray[np.float64]

CLIP = 4.0
"""Standardised features further out than this are taken for this: a network's guess far outside is worth nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressorPlan:
    """Size and training of the networks."""

    members: int = 8
    """Networks that differ in their first weights and in the samples they see."""
    hidden: int = 32
    """Width of the two hidden layers."""
    epochs: int = 300
    """Passes over all samples at once."""
    learning_rate: float = 4e-3
    weight_decay: float = 0.1
    left_out: float = 0.2
    """Share of the samples that a member does not see."""
    jitter: float = 0.4
    """Noise on the standardised features in training: an architecture that nobody has seen lies that far off."""


class Regressor:
    """Fully connected layers F -> hidden -> hidden -> targets, all members in one batched product.

    Args:
        tensors: layers w0 b0 w1 b1 w2 b2 with a leading axis of members, and the means and scales of features and
            targets.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    @classmethod
    def fit(cls, features: Array, targets: Array, *, seed: int = 0, plan: RegressorPlan | None = None) -> "Regressor":
        """Train on features (N, F) and targets (N, T).

        Raises:
            ValueError: fewer than two samples.
        """
        if len(features) < 2:
            raise ValueError(f"need two samples or more to learn from, got {len(features)}")
        plan = plan or RegressorPlan()
        x, y = (torch.from_numpy(a).float() for a in (features, targets))
        tensors = {"x_mean": x.mean(0), "x_scale": x.std(0), "y_mean": y.mean(0), "y_scale": y.std(0)}
        # A feature that is the same in all samples says nothing; dividing by its scale of zero must not say much.
        tensors["x_scale"] = torch.where(tensors["x_scale"] > 1e-6, tensors["x_scale"], 1.0)
        tensors["y_scale"] = tensors["y_scale"].clamp(min=1e-6)
        layers = _initial(x.shape[1], y.shape[1], plan, seed)
        x, y = _standardised(x, tensors), (y - tensors["y_mean"]) / tensors["y_scale"]
        _train(layers, x, y, plan, seed)
        return cls(tensors | {name: layer.detach() for name, layer in layers.items()})

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (N, T) over the members for features (N, F)."""
        with torch.no_grad():
            x = _standardised(torch.from_numpy(features).float(), self.tensors)
            y = _forward(self.tensors, x) * self.tensors["y_scale"] + self.tensors["y_mean"]
            return y.mean(0).double().numpy(), y.std(0, correction=0).double().numpy()


def _initial(inputs: int, outputs: int, plan: RegressorPlan, seed: int) -> dict[str, Tensor]:
    random = torch_generator(seed, "regressor")
    widths = (inputs, plan.hidden, plan.hidden, outputs)
    layers = {}
    for number in range(3):
        fan_in, fan_out = widths[number : number + 2]
        layers[f"w{number}"] = torch.randn(plan.members, fan_in, fan_out, generator=random) / fan_in**0.5
        layers[f"b{number}"] = torch.zeros(plan.members, 1, fan_out)
    return {name: layer.requires_grad_() for name, layer in layers.items()}


def _train(layers: dict[str, Tensor], x: Tensor, y: Tensor, plan: RegressorPlan, seed: int) -> None:
    random = torch_generator(seed, "regressor", "rows")
    seen = (torch.rand(plan.members, len(x), 1, generator=random) >= plan.left_out).float()
    optimiser = torch.optim.AdamW(layers.values(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=plan.epochs)
    for _ in range(plan.epochs):
        optimiser.zero_grad(set_to_none=True)
        moved = x + plan.jitter * torch.randn(plan.members, *x.shape, generator=random)
        error = F.huber_loss(_forward(layers, moved), y.expand(plan.members, *y.shape), reduction="none")
        ((error * seen).sum((1, 2)) / seen.sum((1, 2))).sum().backward()
        optimiser.step()
        schedule.step()


def _standardised(x: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    return ((x - tensors["x_mean"]) / tensors["x_scale"]).clamp(-CLIP, CLIP)


def _forward(layers: dict[str, Tensor], x: Tensor) -> Tensor:
    """(members, N, targets) of standardised features (N, F)."""
    hidden = F.silu(x @ layers["w0"] + layers["b0"])
    hidden = F.silu(hidden @ layers["w1"] + layers["b1"])
    return hidden @ layers["w2"] + layers["b2"]
