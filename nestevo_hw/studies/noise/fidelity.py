"""How closely a model on the crossbar follows the digital one, for models without labelled frames."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.metrics import mean_average_precision

Measure = Callable[[nn.Module], Mapping[str, Mapping[str, float]]]
"""Scores of a model by scene, such as day and night, and by metric, the headline first; 0 to 1 each."""
OBJECTS_PER_FRAME = 20
"""At most so many detections of the digital model a frame, on average, count as objects."""


@torch.no_grad()
def normalise_statistics(model: nn.Module, batches: Sequence[Any]) -> None:
    """Set every BatchNorm's statistics from the batches, in place.

    A network with random weights and fresh statistics lets its activations grow from layer to layer; on
    such outputs agreement means nothing.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    for batch in batches:
        model(batch)
    for norm in norms:
        norm.momentum = 0.1
        norm.eval()


@torch.no_grad()
def top1_agreement(model: nn.Module, batches: Sequence[Tensor]) -> Measure:
    """Share of images for which a model's first class is that of the digital `model`.

    Raises:
        InputError: the model does not return one row of class scores an image.
    """
    expected = [_first_class(model(batch), batch) for batch in batches]

    @torch.no_grad()
    def measure(candidate: nn.Module) -> dict[str, dict[str, float]]:
        got = [_first_class(candidate(batch), batch) for batch in batches]
        return {"all": {"top1_agreement": float((torch.cat(got) == torch.cat(expected)).float().mean())}}

    return measure


@torch.no_grad()
def r2_vs_digital(model: nn.Module, batches: Sequence[Tensor]) -> Measure:
    """Share of the variance of the digital `model`'s outputs that a model explains, for outputs of any shape.

    R^2 = 1 - sum (y - digital)^2 / sum (digital - mean)^2, 0 at least, averaged over the outputs; what is no number
    explains nothing.
    """
    expected = [check_outputs(model(batch)) for batch in batches]

    @torch.no_grad()
    def measure(candidate: nn.Module) -> dict[str, dict[str, float]]:
        got = [check_outputs(candidate(batch)) for batch in batches]
        explained = []
        for index in range(len(expected[0])):
            digital, own = (torch.cat([outputs[index] for outputs in all_]) for all_ in (expected, got))
            spread = (digital - digital.mean()).square().sum().clamp(min=1e-12)
            explained.append(float((1.0 - (own - digital).square().sum() / spread).nan_to_num(0.0).clamp(min=0.0)))
        return {"all": {"r2_vs_digital": sum(explained) / len(explained)}}

    return measure


@torch.no_grad()
def map_vs_digital(model: nn.Module, batches: Sequence[list[Tensor]]) -> Measure:
    """Mean average precision of a model's detections against those of the digital `model` as truth.

    Raises:
        InputError: the digital model detects nothing in any frame.
    """
    digital = [detection for batch in batches for detection in model(batch)]
    # One threshold for all frames: every object then scores above everything that is none.
    scores = torch.cat([detection["scores"] for detection in digital]).sort(descending=True).values
    accept = float(scores[: OBJECTS_PER_FRAME * len(digital)][-1]) if len(scores) else 1.0
    truth = [_as_truth(detection, accept) for detection in digital]
    if not any(len(annotation.labels) for annotation in truth):
        raise InputError("the digital model detects nothing in these frames, so there is nothing to compare")
    classes = int(max(annotation.labels.max() for annotation in truth if len(annotation.labels)))

    @torch.no_grad()
    def measure(candidate: nn.Module) -> dict[str, dict[str, float]]:
        found = [_known_classes(d, classes) for batch in batches for d in candidate(batch)]
        score = mean_average_precision(found, truth, classes)
        return {
            "all": {
                "map50_vs_digital": score.map50,
                "map75_vs_digital": score.map75,
                "map_vs_digital": score.map,
            }
        }

    return measure


def gives_class_scores(model: nn.Module, batch: Tensor) -> bool:
    """Whether the model returns one row of class scores an image."""
    with torch.no_grad():
        output = model(batch)
    return isinstance(output, Tensor) and output.ndim == 2 and len(output) == len(batch)


def check_outputs(output: object) -> list[Tensor]:
    """The tensors of a model's output, whose closeness can be measured.

    Raises:
        InputError: it is not one or several float tensors.
    """
    found = [output] if isinstance(output, Tensor) else list(output) if isinstance(output, (tuple, list)) else []
    if not found or not all(isinstance(entry, Tensor) and entry.is_floating_point() for entry in found):
        raise InputError(f"expected one or several float tensors from the model but got {type(output).__name__}")
    return found


def _first_class(output: object, batch: Tensor) -> Tensor:
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(batch):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"expected class scores ({len(batch)}, classes) from the model but got {got}")
    return output.argmax(1)


def _as_truth(detection: dict[str, Tensor], accept: float) -> Annotation:
    best = detection["scores"] >= accept
    return Annotation.of(detection["boxes"][best].cpu(), detection["labels"][best].cpu())


def _known_classes(detection: dict[str, Tensor], classes: int) -> dict[str, Tensor]:
    known = detection["labels"] <= classes
    return {key: value[known].cpu() for key, value in detection.items()}
