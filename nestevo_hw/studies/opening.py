"""Models by name, ready for the crossbar."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nestevo_hw.base.errors import InputError, NestEvoError
from nestevo_hw.base.plugins import FAULTS, told
from nestevo_hw.crossbar.opening import opened
from nestevo_hw.crossbar.placement import is_unbuilt
from nestevo_hw.models.inputs import example_inputs, fitting_size
from nestevo_hw.models.zoo import ZooModel, open_model
from nestevo_hw.studies.data.spec import DataSpec
from nestevo_hw.studies.placing import on_device

_CPU = torch.device("cpu")


def open_layers(
    name: str, *, weights: Path | None = None, data: DataSpec | None = None, device: torch.device = _CPU
) -> ZooModel:
    """A model by name, opened into layers (`crossbar.opening.opened`).

    A user's own model is run once on a made-up input, for what only shows then: lazy layers, weights that are read
    by other modules.

    Args:
        name: of a shipped model, of a file, or `package.module:factory`.
        weights: its weights.
        data: size and channels of the images that the model takes; None: not said.
        device: where it is to compute; its inputs may lie elsewhere (`studies.placing`).

    Raises:
        ConfigError: no such model, or a factory that cannot be called.
        InputError: the weights are missing, corrupt, NaN or of other shapes, or lazy layers that are not built by
            what was made up.
    """
    chosen = open_model(name, weights=weights)
    example = _example(chosen.model, data or DataSpec()) if ":" in name else None
    try:
        return replace(chosen, model=on_device(opened(chosen.model, example), device))
    except NestEvoError:
        raise
    except FAULTS as error:  # somebody's code, told as theirs
        raise InputError(
            f"{name} does not build its lazy layers on made-up inputs ({told(error)}); see --size and --channels"
        ) from error


def _example(model: nn.Module, data: DataSpec) -> Any:  # noqa: ANN401 - what a model takes
    """An input that the model is likely to take; None if there is none."""
    lazy = any(is_unbuilt(module) for module in model.modules())
    size = data.size or (None if lazy else fitting_size(model, data.channels))
    try:
        return example_inputs(model, count=1, size=size, channels=data.channels)
    except InputError:
        return None
