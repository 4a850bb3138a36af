"""One training under the device's noise: the model imitates its clean self, so that no labels are needed."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.seeding import seeded, torch_generator
from nestevo_hw.crossbar.hardening import CrossbarTraining, drawn_age
from nestevo_hw.crossbar.noise import weight_noise
from nestevo_hw.crossbar.outputs import raw_outputs
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.evolution.halfway import Halfway
from nestevo_hw.evolution.training import optimise
from nestevo_hw.studies.harden.config import HardeningConfig
from nestevo_hw.studies.harden.lessons import Lessons

_MOST_PROGRAMMINGS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardened:
    """What a training came to."""

    model: nn.Module
    """In eval mode."""
    input_ranges: dict[str, float]
    """Learned magnitude of input at which a layer's DAC clips, by layer; empty without converters."""
    loss: float
    """Mean of the last quarter of the steps."""


def imitation_loss(model: nn.Module, clean: nn.Module, batch: Any) -> Tensor:  # noqa: ANN401 - what a model takes
    """Squared distance of a model's raw outputs from the clean model's, of each kind relative to its variance.

    Kinds are the class scores of a classifier; of a detector the features of its backbone and what its heads say, all
    on the clean model's proposals.

    Args:
        model: in eval mode, with gradients.
        clean: of the same architecture; without.
        batch: what both take.

    Raises:
        InputError: the model returns nothing that can be compared.
    """
    with torch.no_grad():
        wanted = raw_outputs(clean, batch, features=True)
    found = raw_outputs(model, batch, proposals=wanted.proposals, features=True)
    shares = []
    for mine, theirs in zip(found.kinds, wanted.kinds, strict=True):
        if mine.shape != theirs.shape:
            raise InputError(
                f"the model's outputs have other shapes under noise ({tuple(mine.shape)}, not {tuple(theirs.shape)}), "
                "as lists of kept boxes do; have it return what it decides by, such as class scores"
            )
        variance = (theirs - theirs.mean(1, keepdim=True)).square().mean() if theirs.numel() else theirs.sum()
        if variance > 0.0:  # what never changes says nothing
            shares.append((mine - theirs).square().mean() / variance)
    if not shares:
        raise InputError(
            "the model gives the same outputs for all samples of a batch, so there is nothing to imitate; learn from "
            "more samples (--samples, --calibration-share, --batch-size), or check the weights"
        )
    return torch.stack(shares).mean()


def harden(
    clean: nn.Module,
    teacher: AnalogTeacher,
    lessons: Lessons,
    config: HardeningConfig,
    *,
    seed: int,
    mu: float = 0.0,
    state: Path,
    on_step: Callable[[], None] = lambda: None,
) -> Hardened:
    """Train a copy of a model under noise, from where `state` stands.

    Args:
        clean: the model, opened into layers and in eval mode; not changed.
        teacher: the same model on the device, calibrated.
        lessons: what it learns on.
        config: length, step size, ages.
        seed: of batches, programmings and ages.
        mu: weight noise of eq. 18-20 in place of the device; 0 = the device.
        state: file of the training half-way; it goes on from there.
        on_step: called after each step that is done here.

    Raises:
        ConfigError: the device has noise that no gradient passes.
        InputError: the state is damaged.
        TaskError: the loss is no longer finite.
    """
    model = copy.deepcopy(clean).requires_grad_()
    crossbar = CrossbarTraining(model, teacher, seed=seed, drop_connect=config.drop_connect)
    random = torch_generator(seed, "hardening")
    halfway = Halfway(state, random)
    draws = lessons.draws(config.plan, random, halfway.waiting)

    @contextmanager
    def perturb() -> Iterator[None]:
        if config.clip:
            crossbar.clip_weights(config.clip)
        number = int(torch.randint(_MOST_PROGRAMMINGS, (), generator=random))
        age_s = drawn_age(teacher.preset, config.age_s, random)
        with weight_noise(model, mu, random) if mu else crossbar.on_crossbar(number, age_s):
            yield
        on_step()

    def step() -> Tensor:
        draw = next(draws)
        samples = sum(count for _, count in draw)
        return torch.stack([imitation_loss(model, clean, batch) * (count / samples) for batch, count in draw]).sum()

    trained = [model] if mu or not list(crossbar.parameters()) else [model, crossbar]
    with seeded(seed, "hardening"):
        loss = optimise(trained, config.plan, step, perturb=perturb, halfway=halfway, as_in_use=True)
    if config.clip:
        crossbar.clip_weights(config.clip)
    return Hardened(model=model.requires_grad_(requires_grad=False), loss=loss,
                    input_ranges={} if mu else crossbar.input_ranges)  # fmt: skip
