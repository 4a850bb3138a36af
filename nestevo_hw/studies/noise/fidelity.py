"""How closely a model on the crossbar follows the digital one, for models without labelled frames."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.studies.data.outputs import class_scores, described, detections, tensors_of
from nestevo_hw.studies.data.scores import Measure
from nestevo_hw.tasks.metrics import mean_average_precision

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
def top1_agreement(model: nn.Module, batches: Sequence[Any]) -> Measure:
    """Share of inputs for which a model's first class is that of the digital `model`.

    Raises:
        InputError: the model does not return one row of class scores an input.
    """
    expected = [class_scores(model(batch), len(batch)).argmax(1) for batch in batches]

    @torch.no_grad()
    def measure(candidate: nn.Module) -> dict[str, dict[str, float]]:
        got = [class_scores(candidate(batch), len(batch)).argmax(1) for batch in batches]
        return {"all": {"top1_agreement": float((torch.cat(got) == torch.cat(expected)).float().mean())}}

    return measure


@torch.no_grad()
def share_of_one_class(model: nn.Module, batches: Sequence[Any]) -> float:
    """Share of inputs of which a model names the class that it names most; near 1, agreement with it says little."""
    named = torch.cat([class_scores(model(batch), len(batch)).argmax(1) for batch in batches])
    return int(named.bincount().max()) / len(named)


@torch.no_grad()
def r2_vs_digital(model: nn.Module, batches: Sequence[Any]) -> Measure:
    """Share of the variance of the digital `model`'s outputs that a model explains, for outputs of any shape.

    R^2 = 1 - sum (y - digital)^2 / sum (digital - mean)^2, 0 at least, averaged over the outputs; what is no number
    explains nothing.

    Raises:
        InputError: there is no float tensor in what the model returns.
    """
    expected = [_outputs(model(batch)) for batch in batches]

    @torch.no_grad()
    def measure(candidate: nn.Module) -> dict[str, dict[str, float]]:
        got = [_outputs(candidate(batch)) for batch in batches]
        explained = []
        for index in range(len(expected[0])):
            digital, own = (torch.cat([outputs[index] for outputs in all_]).double() for all_ in (expected, got))
            spread, missed = (float(x.square().sum()) for x in (digital - digital.mean(), own - digital))
            # Without spread there is nothing to explain but the value itself; what is no number compares as False.
            explained.append(1.0 - missed / spread if missed < spread else float(missed == 0.0))
        return {"all": {"r2_vs_digital": sum(explained) / len(explained)}}

    return measure


@torch.no_grad()
def map_vs_digital(model: nn.Module, batches: Sequence[Any]) -> Measure:
    """Mean average precision of a model's detections against those of the digital `model` as truth.

    Raises:
        InputError: the model returns no detections, or the digital one detects nothing in any frame.
    """
    digital = [one for batch in batches for one in detections(model(batch), len(batch))]
    # One threshold for all frames: every object then scores above everything that is none.
    scores = torch.cat([detection["scores"] for detection in digital]).sort(descending=True).values
    accept = float(scores[: OBJECTS_PER_FRAME * len(digital)][-1]) if len(scores) else 1.0
    truth = [_as_truth(detection, accept) for detection in digital]
    if not any(len(annotation.labels) for annotation in truth):
        raise InputError("the digital model detects nothing in these frames, so there is nothing to compare")
    classes = int(max(annotation.labels.max() for annotation in truth if len(annotation.labels)))

    @torch.no_grad()
    def measure(candidate: nn.Module) -> dict[str, dict[str, float]]:
        found = [_known_classes(d, classes) for batch in batches for d in detections(candidate(batch), len(batch))]
        score = mean_average_precision(found, truth, classes)
        return {
            "all": {
                "map50_vs_digital": score.map50,
                "map75_vs_digital": score.map75,
                "map_vs_digital": score.map,
            }
        }

    return measure


def gives_class_scores(model: nn.Module, batch: Any) -> bool:  # noqa: ANN401 - what the model takes
    """Whether the model returns one row of class scores an input."""
    with torch.no_grad():
        output = model(batch)
    try:
        class_scores(output, len(batch))
    except InputError:
        return False
    return True


def is_agreement(metric: str) -> bool:
    """Whether a metric compares a model with its digital self, so that it says nothing of the truth."""
    return metric.endswith(("_agreement", "_vs_digital"))


def _outputs(output: object) -> list[Tensor]:
    found = list(tensors_of(output))
    if not found:
        raise InputError(f"expected one or several float tensors from the model but got {described(output)}")
    return found


def _as_truth(detection: dict[str, Tensor], accept: float) -> Annotation:
    best = detection["scores"] >= accept
    return Annotation.of(detection["boxes"][best].cpu(), detection["labels"][best].cpu())


def _known_classes(detection: dict[str, Tensor], classes: int) -> dict[str, Tensor]:
    known = detection["labels"] <= classes
    return {key: value[known].cpu() for key, value in detection.items()}
