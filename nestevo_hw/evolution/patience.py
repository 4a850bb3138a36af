"""A training that ends once it no longer gets better on held-out frames, and keeps its best weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import InputError
from nestevo_hw.base.tensors import read_header, read_tensors, write_tensors

CHECK_EVERY = 100
"""Optimiser steps between two scores; a multiple of those between two states of `halfway`."""
_DAMAGED = "delete it and resume again"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    step: int
    score: float


class Patience:
    """Scores a model now and then; killed and started again, it decides the same.

    Args:
        path: of the best weights so far.
        steps: without a better score after which it ends.
        score: of a model in eval mode, the higher the better; NaN, where there is nothing to find, ends nothing.
    """

    def __init__(self, path: Path, steps: int, score: Callable[[nn.Module], float]) -> None:
        self._path, self._steps, self._score = path, steps, score

    def over(self, model: nn.Module, step: int) -> bool:
        """Whether a model has not got better for too long.

        Raises:
            InputError: the file of the best weights is damaged.
        """
        if not step or step % CHECK_EVERY:
            return False
        was_training = model.training
        score = self._score(model.eval())
        model.train(was_training)
        if math.isnan(score):
            return False
        best = self._best()
        if best is None or score > best.score or best.step == step:
            best = _Best(step=step, score=score)
            write_tensors(self._path, dict(model.state_dict()), {"best": json_line(plain(best))})
        return step - best.step >= self._steps

    def restore(self, model: nn.Module) -> None:
        """Give a model its best weights, if it has been scored.

        Raises:
            InputError: their file is damaged.
        """
        if self._best() is None:
            return
        try:
            model.load_state_dict(read_tensors(self._path)[1])
        except RuntimeError as error:
            raise InputError(f"{self._path} does not hold this model's weights ({error}); {_DAMAGED}") from error

    def _best(self) -> _Best | None:
        if not self._path.exists():
            return None
        text = read_header(self._path).get("best", "")
        return parse_json(text, _Best, f"{self._path}: best", advice=_DAMAGED)
