"""What is looked at in models, tasks and data of the user's own before a run relies on them."""

from collections.abc import Mapping

import torch
from torch import nn

from nestevo_hw.base.errors import ConfigError, InputError, NestEvoError
from nestevo_hw.base.plugins import FAULTS, told
from nestevo_hw.evolution.cameras import open_stream, plan_window
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.models.checkpoint import ModelSpec
from nestevo_hw.streams.samples.stream import LabelledStream
from nestevo_hw.tasks.capabilities import ModelCheck
from nestevo_hw.tasks.task import VisionTask


def try_model(task: VisionTask, model: nn.Module, spec: ModelSpec, size: tuple[int, int]) -> None:
    """Refuse a model that the task has no use for.

    Args:
        task: of the run.
        model: in eval mode.
        spec: of the model.
        size: (H, W) of the run's frames, pixels.

    Raises:
        InputError: it is of another task, or fails on such frames.
    """
    if spec.is_own and isinstance(task, ModelCheck):
        task.check_model(model, len(spec.classes), size, spec.architecture)
    # What ships is known to run, so that it is enough to see whether it is taken.
    frames = torch.full((2, 3, *size), 128) if spec.is_own else torch.zeros(0, 3, 32, 32)
    try:
        task.predict(model, frames.to(torch.uint8))
    except NestEvoError:
        raise
    except FAULTS as error:  # somebody's code, told as theirs
        raise InputError(
            f"{spec.architecture} does not predict frames of {size[0]} x {size[1]} pixels: {told(error)}; correct the "
            "model or the task"
        ) from error


def check_widths(widths: Mapping[str, int]) -> None:
    """The generator's features fit every model.

    Args:
        widths: of what each model hands to its prediction module, the teacher first.

    Raises:
        ConfigError: they differ.
    """
    (teacher, wanted), *others = widths.items()
    for name, width in others:
        if width != wanted:
            raise ConfigError(
                f"generator.enabled: the last layer of {name} takes {width} features and that of {teacher} {wanted}; "
                "make them equal or set generator.enabled = false"
            )


def data_warnings(config: RunConfig) -> list[str]:
    """Windows of which a terminal's data show one class alone, a line each."""
    found = []
    for terminal in config.terminals:
        stream = open_stream(config, terminal) if terminal.data is not None else None
        if not isinstance(stream, LabelledStream):
            continue
        for window in range(config.window.count):
            uploaded, _ = plan_window(config, terminal, stream, window)
            shown = stream.shown(uploaded)
            if shown is not None and len(shown) == 1:
                found.append(
                    f"terminal {terminal.name!r} uploads nothing but class {shown.pop()!r} in window {window}; if that "
                    f"is not so in time, name the images of {terminal.data} in their order, or mix its rows"
                )
    return found
