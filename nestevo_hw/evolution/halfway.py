"""A training half-way, in a file: killed and started again, it ends bit for bit as if nothing had happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import InputError
from nestevo_hw.base.tensors import read_header, read_tensors, write_tensors

EVERY = 50
"""Optimiser steps between two states: who is killed loses fewer."""
_DAMAGED = "delete it and resume again"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    step: int
    """The next one."""
    losses: tuple[float, ...]
    """Of the late steps so far."""
    waiting: tuple[tuple[int, ...], tuple[int, ...]]
    """Rows that are drawn but not used yet, whole and pooled."""


class Halfway:
    """Keeps all that the next step of a training depends on: weights, moments of the optimiser, random generators.

    Args:
        path: of the file, safetensors with a JSON header.
        generator: of the batches and their augmentation.
        every: optimiser steps between two states.
    """

    def __init__(self, path: Path, generator: torch.Generator, *, every: int = EVERY) -> None:
        self.path, self._generator, self._every = path, generator, every
        self.waiting: dict[bool, list[int]] = {False: [], True: []}
        """For `draws`, which keeps it up to date."""

    def due(self, step: int) -> bool:
        """Whether it is time to write the state before a step."""
        return not step % self._every

    def save(
        self, step: int, losses: Sequence[float], models: Sequence[nn.Module], optimiser: torch.optim.Optimizer
    ) -> None:
        """Write the state before a step."""
        tensors = {f"model.{k}.{n}": t for k, model in enumerate(models) for n, t in model.state_dict().items()}
        moments = optimiser.state_dict()["state"]
        tensors |= {f"optimiser.{k}.{n}": t for k, state in moments.items() for n, t in state.items()}
        tensors |= {"random.draws": self._generator.get_state(), "random.global": torch.get_rng_state()}
        if (gpu := _gpu(models)) is not None:
            tensors["random.gpu"] = torch.cuda.get_rng_state(gpu)
        waiting = (tuple(self.waiting[False]), tuple(self.waiting[True]))
        position = _Position(step=step, losses=tuple(losses), waiting=waiting)
        write_tensors(self.path, tensors, {"position": json_line(plain(position))})

    def load(self, models: Sequence[nn.Module], optimiser: torch.optim.Optimizer) -> tuple[int, list[float]]:
        """Bring models, optimiser and generators to where the file has them.

        Returns:
            The next step, and the losses of the late steps so far; 0 and none without a file.

        Raises:
            InputError: the file is damaged or of another training.
        """
        if not self.path.exists():
            return 0, []
        header, tensors = read_tensors(self.path)
        position = parse_json(header.get("position", ""), _Position, f"{self.path}: position", advice=_DAMAGED)
        try:
            self._restore(tensors, models, optimiser)
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(f"{self.path} is not the state of this training ({error}); {_DAMAGED}") from error
        self.waiting |= {mark: list(rows) for mark, rows in zip((False, True), position.waiting, strict=True)}
        return position.step, list(position.losses)

    @staticmethod
    def step_of(path: Path) -> int:
        """The next step of the training whose state a file holds; 0 without one."""
        if not path.exists():
            return 0
        header = read_header(path)
        return parse_json(header.get("position", ""), _Position, f"{path}: position", advice=_DAMAGED).step

    def _restore(
        self, tensors: dict[str, Tensor], models: Sequence[nn.Module], optimiser: torch.optim.Optimizer
    ) -> None:
        for k, model in enumerate(models):
            model.load_state_dict(_below(f"model.{k}.", tensors))
        moments = [
            _below(f"optimiser.{k}.", tensors) for k in range(sum(len(g["params"]) for g in optimiser.param_groups))
        ]
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": {k: m for k, m in enumerate(moments) if m}, "param_groups": groups})
        self._generator.set_state(tensors["random.draws"])
        torch.set_rng_state(tensors["random.global"])
        if (gpu := _gpu(models)) is not None and "random.gpu" in tensors:
            torch.cuda.set_rng_state(tensors["random.gpu"], gpu)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _gpu(models: Sequence[nn.Module]) -> torch.device | None:
    """Where models that are not on the CPU draw from."""
    device = next(models[0].parameters()).device
    return device if device.type == "cuda" else None
