"""What a model puts out before it is turned into detections: the values that two models can be compared by."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError

NOT_FINITE = "the model's own outputs are not finite on these inputs; check its weights and the range of its inputs"
_HEADS = ("rpn.head", "roi_heads.box_predictor"), ("head",)
"""Of two-stage and of one-stage detectors of torchvision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawOutputs:
    """Of one batch."""

    kinds: list[Tensor]
    """Each (channels, values)."""
    proposals: Any
    """Regions that a two-stage detector's box predictor judged; None of any other model."""


def raw_outputs(
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - what it takes
    *,
    proposals: Any = None,  # noqa: ANN401 - what its region proposal network gives
    features: bool = False,
) -> RawOutputs:
    """Class scores of a classifier; of a detector what its heads say, with gradients where these are on.

    Args:
        model: in eval mode.
        batch: what `model(batch)` takes.
        proposals: regions for a two-stage detector's box predictor instead of its own, so that two models judge the
            same.
        features: also those of a detector's backbone.

    Raises:
        InputError: the model returns no tensors.
    """
    seen: list[Any] = []
    judged = [proposals]
    with _watched(model, seen, judged, features=features):
        returned = model(batch)
    kinds = [kind for output in (seen or [returned]) for kind in _kinds(output)]
    if not kinds:
        raise InputError(f"expected tensors from the model but got {type(returned).__name__}")
    return RawOutputs(kinds=kinds, proposals=judged[0])


@contextmanager
def _watched(model: nn.Module, seen: list[Any], judged: list[Any], *, features: bool) -> Iterator[None]:
    """Collect the outputs of torchvision's detectors; their proposals become those of `judged`, or these theirs."""

    def collect(_module: nn.Module, _inputs: object, output: Any) -> None:  # noqa: ANN401 - a head's output
        seen.append(output)

    def propose(_module: nn.Module, _inputs: object, output: tuple[Any, Any]) -> tuple[Any, Any]:
        if judged[0] is None:
            judged[0] = output[0]
        return judged[0], output[1]

    detector = next((m for m in model.modules() if hasattr(m, "transform") and hasattr(m, "backbone")), None)
    handles = []
    if detector is not None:
        two_stages = hasattr(detector, "rpn")
        names = (*_HEADS[0 if two_stages else 1], *(["backbone"] if features else []))
        handles = [detector.get_submodule(name).register_forward_hook(collect) for name in names]
        if two_stages:
            handles.append(detector.get_submodule("rpn").register_forward_hook(propose))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _kinds(output: object) -> list[Tensor]:
    """The tensors of an output, each as (channels, values); the levels of a pyramid are one kind."""
    if isinstance(output, Tensor):
        return [_by_channel(output)]
    if isinstance(output, Mapping):
        return [kind for value in output.values() for kind in _kinds(value)]
    if isinstance(output, Sequence) and not isinstance(output, str):
        levels = [_by_channel(value) for value in output if isinstance(value, Tensor)]
        if isinstance(output, list) and len({len(level) for level in levels}) == 1:
            return [torch.cat(levels, dim=1)]
        return levels or [kind for value in output for kind in _kinds(value)]
    return []


def _by_channel(output: Tensor) -> Tensor:
    """(channels, values): channels come second in (N, C) and (N, C, H, W), else last."""
    if output.ndim < 2:
        return output.reshape(1, -1)
    channels = 1 if output.ndim in (2, 4) else output.ndim - 1
    return output.movedim(channels, 0).flatten(1)
