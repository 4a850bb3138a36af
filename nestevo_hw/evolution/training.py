"""The one training loop: draw frames, augment, step."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from nestevo_hw.base.compute import Precision, computing_in
from nestevo_hw.base.errors import InputError, TaskError
from nestevo_hw.base.ranges import LEARNING_RATE, STEPS, Range
from nestevo_hw.base.transfer import read_later, sent
from nestevo_hw.evolution.halfway import Halfway
from nestevo_hw.streams.augment import Augmentation, augment, drawn_flips
from nestevo_hw.streams.compression import pooled_images

RESIDENT_BYTES = 32 << 20
"""Frames up to this size lie on the device for the whole training; of more, each batch travels there."""
MOST_NORM = 5.0
"""Gradients are clipped to this norm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Length and step size of one training task."""

    steps: Annotated[int, STEPS] = 40
    """Optimiser steps."""
    batch_size: Annotated[int, Range(1, 1024)] = 8
    """Frames a step."""
    learning_rate: Annotated[float, LEARNING_RATE] = 5e-4
    """Peak step size of AdamW; warmed up over the first tenth, then cosine to zero."""
    weight_decay: Annotated[float, Range(0, 10)] = 1e-4

    def rate(self, step: int) -> float:
        """Share of the peak learning rate at a step."""
        warm = min(1.0, (step + 1) / max(1, self.steps // 10))
        return warm * (1 + math.cos(math.pi * step / self.steps)) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How all trainings of a run compute."""

    precision: Precision = "float32"
    """bfloat16: products of convolutions and linear layers in it (autocast), all else in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One batch of a training task."""

    images: list[Tensor]
    """Augmented (3, H, W) float images in 0..1, of one size."""
    rows: tuple[int, ...]
    """Which frames they are."""
    flips: tuple[bool, ...]
    """Which of them are mirrored."""
    pooled: bool = False
    """Whether they are at half their size."""


def draws(
    images: Tensor,
    plan: TrainingPlan,
    how: Augmentation,
    generator: torch.Generator,
    device: torch.device,
    *,
    pool: Sequence[bool] = (),
    waiting: dict[bool, list[int]] | None = None,
) -> Iterator[Draw]:
    """Endless batches over (N, 3, H, W) uint8 images: each pass sees every frame once, in a new order.

    Frames marked in `pool` come at half their size, in batches of their own. `waiting` holds the rows that are drawn
    but not used yet, by their mark: with the generator's state, all that the next batch depends on.

    Raises:
        InputError: there is no image.
    """
    if not len(images):
        raise InputError("there is no frame to learn from")
    waiting = {False: [], True: []} if waiting is None else waiting
    marks = list(pool) or [False] * len(images)
    near = sent(images, device) if images.nbytes <= RESIDENT_BYTES else images
    while True:
        while not (ready := [mark for mark, rows in waiting.items() if len(rows) >= plan.batch_size]):
            for row in torch.randperm(len(images), generator=generator).tolist():
                waiting[marks[row]].append(row)
        mark = max(ready, key=lambda m: len(waiting[m]))
        rows, waiting[mark] = tuple(waiting[mark][: plan.batch_size]), waiting[mark][plan.batch_size :]
        flips = drawn_flips(len(rows), how, generator)
        chosen = near.index_select(0, sent(torch.tensor(rows), near.device))
        drawn = augment(sent(chosen, device).float().div_(255), how, generator, flips=flips)
        yield Draw(images=list(pooled_images(drawn) if mark else drawn), rows=rows, flips=flips, pooled=mark)


def optimise(
    models: Sequence[nn.Module],
    plan: TrainingPlan,
    step: Callable[[], Tensor],
    *,
    perturb: Callable[[], AbstractContextManager[None]] = nullcontext,
    halfway: Halfway | None = None,
    as_in_use: bool = False,
    enough: Callable[[int], bool] = lambda _: False,
    precision: Precision = "float32",
) -> float:
    """Train models together on the loss that `step` returns.

    Args:
        models: put in training mode, and back to eval mode at the end.
        plan: number and size of the steps.
        step: computes the summed loss of the next batch, with gradient.
        perturb: wraps each forward and backward pass, for example in weight noise.
        halfway: where the state is kept, and from where the training goes on.
        as_in_use: train in eval mode: BatchNorm with its statistics as they are, no dropout.
        enough: told how many steps are done before each one and at the end; whether that will do.
        precision: of the products in the forward pass, and so of their gradients.

    Returns:
        Mean loss of the last quarter of the steps; NaN if it did not come so far.

    Raises:
        InputError: the kept state is damaged.
        TaskError: the loss is no longer finite.
    """
    parameters = [p for model in models for p in model.parameters() if p.requires_grad]
    optimiser = optimiser_of(parameters, plan)
    for model in models:
        model.train(not as_in_use)
    first, late = (0, []) if halfway is None else halfway.load(models, optimiser)
    losses = _Losses(plan, late)
    for number in range(first, plan.steps + 1):
        if enough(number) or number == plan.steps:
            break
        for group in optimiser.param_groups:
            group["lr"] = plan.learning_rate * plan.rate(number)
        optimiser.zero_grad(set_to_none=True)
        with perturb():
            with computing_in(precision, parameters[0].device):
                loss = step()
            losses.add(number, loss)
            loss.backward()
        nn.utils.clip_grad_norm_(parameters, MOST_NORM)
        optimiser.step()
        if halfway is not None and halfway.due(number + 1):
            halfway.save(number + 1, losses.all_late(), models, optimiser)
    for model in models:
        model.eval()
    late = losses.all_late()
    if parameters[0].device.type == "cuda":  # the last step is queued; whoever takes the time means its end
        torch.cuda.synchronize(parameters[0].device)
    return sum(late) / len(late) if late else math.nan


def optimiser_of(parameters: Sequence[nn.Parameter], plan: TrainingPlan) -> torch.optim.Optimizer:
    """AdamW in one pass over all parameters, without temporary tensors."""
    return torch.optim.AdamW(parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True)


class _Losses:
    """Losses of a training, kept from its last quarter and found finite: on a GPU each when the next one is there.

    So the host queues the next step while the GPU computes.
    """

    def __init__(self, plan: TrainingPlan, late: list[float]) -> None:
        self._plan, self._late = plan, late
        self._waiting: tuple[int, Callable[[], float]] | None = None

    def add(self, number: int, loss: Tensor) -> None:
        """Take the loss of a step over."""
        self._settle()
        self._waiting = number, read_later(loss)
        if loss.device.type == "cpu":
            self._settle()

    def all_late(self) -> list[float]:
        """Those of the last quarter so far."""
        self._settle()
        return self._late

    def _settle(self) -> None:
        if self._waiting is None:
            return
        (number, read), self._waiting = self._waiting, None
        value, plan = read(), self._plan
        if not math.isfinite(value):
            raise TaskError(
                f"the training loss is {value} at step {number}; lower the learning rate (now {plan.learning_rate})"
            )
        if number >= plan.steps * 3 // 4:
            self._late.append(value)
