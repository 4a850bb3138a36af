"""Scores against the truth: top-1 and top-5 accuracy of classes, mean average precision of boxes."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.stats import wilson_interval
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.studies.data.dataset import Dataset
from nestevo_hw.studies.data.feeding import Feed, called
from nestevo_hw.studies.data.outputs import check_finite, class_scores, detections
from nestevo_hw.tasks.metrics import mean_average_precision

Measure = Callable[[nn.Module], Mapping[str, Mapping[str, float]]]
"""Scores of a model by scene, such as day and night, and by metric, the headline first; 0 to 1 each."""
CLASSIFICATION = ("top1", "top5")
DETECTION = ("map50", "map75", "map")
"""Mean average precision at IoU 0.50, at 0.75, and its mean over 0.50 to 0.95."""
SHARES_OF_FRAMES = frozenset((*CLASSIFICATION, "top1_agreement"))
"""Metrics that count frames."""
_TOP = 5
_NEXT_TO_NOTHING = 0.01
_NEARLY_ALL = 0.95


def doubt(metric: str, digital: float, classes: int | None, one_class: float | None = None) -> str:
    """What to check where the score says little: the digital model names hardly anything rightly, or all alike; or "".

    Args:
        metric: the headline.
        digital: its value for the digital model.
        classes: of a classifier.
        one_class: share of frames of which the digital model names the class that it names most; None: not looked at.
    """
    if one_class is not None and one_class >= _NEARLY_ALL:
        return (f"the digital model names one class for {one_class:.0%} of the frames, so agreement with it says "
                "little: give samples on which it names several by --data, or trained --weights")  # fmt: skip
    if metric == "top1" and classes and digital <= 1.5 / classes:
        return (f"the digital model names {digital:.3f} rightly, where guessing among {classes} classes gives "
                f"{1 / classes:.3f}: check --mean, --std, --pixels and the order of the --classes")  # fmt: skip
    if metric == "map50" and digital <= _NEXT_TO_NOTHING:
        return "the digital model finds next to nothing: check --size, --pixels, --classes and --first-class"
    return ""


def over_frames(metric: str, share: float, frames: int) -> str:
    """The 95 % interval of a share over the choice of frames (Wilson), for people to read; "" of other metrics."""
    if metric not in CLASSIFICATION or not frames:
        return ""
    low, high = wilson_interval(share, frames)
    return f" ({low:.3f} to {high:.3f} over the choice of {frames} frames)"


def hits(scores: Tensor, labels: Tensor, best: int) -> Tensor:
    """Whether the label is among the `best` largest scores, (N,) bool; a row with NaN names no class.

    Args:
        scores: (N, classes).
        labels: (N,) int64.
        best: how many classes may be named.
    """
    named = scores.nan_to_num(-torch.inf).topk(min(best, scores.shape[1]), dim=1).indices
    return (named == labels[:, None]).any(1) & ~scores.isnan().any(1)


def accuracy(name: str, model: nn.Module, feed: Feed) -> tuple[tuple[str, ...], Measure, int]:
    """Top-1 accuracy, and top-5 of a model of more than five classes.

    Args:
        name: of the model, for messages.
        model: digital; says how many classes there are.
        feed: the dataset.

    Returns:
        Names of the metrics, what scores a model, and the number of classes.

    Raises:
        InputError: the model gives no class scores, fewer than there are labels, or such as are not finite.
    """
    data = feed.data
    batch, count = next(feed.batches(data.calibration.samples))
    scores = _scores(name, model, batch, count, feed)
    check_finite(name, scores)
    classes = scores.shape[1]
    _check_classes(data, classes)
    metrics = CLASSIFICATION if classes > _TOP else CLASSIFICATION[:1]
    labels = torch.tensor([target for target in data.scored.targets if isinstance(target, int)])

    @torch.no_grad()
    def measure(candidate: nn.Module) -> dict[str, dict[str, float]]:
        scores = torch.cat([_scores(name, candidate, b, n, feed) for b, n in feed.batches(data.scored.samples)])
        shares = {"top1": hits(scores, labels, 1), "top5": hits(scores, labels, _TOP)}
        return {"all": {metric: float(shares[metric].float().mean()) for metric in metrics}}

    return metrics, measure, classes


def precision(name: str, model: nn.Module, feed: Feed) -> tuple[tuple[str, ...], Measure, None]:
    """Mean average precision at IoU 0.50, at 0.75 and over 0.50 to 0.95.

    Raises:
        InputError: the model gives no detections, or no scored frame has an object.
    """
    data = feed.data
    batch, count = next(feed.batches(data.calibration.samples))
    detections(called(name, model, batch), _given(count, feed), data.first_class)
    truth: Sequence[Annotation] = [target for target in data.scored.targets if isinstance(target, Annotation)]
    if not any(bool((~one.ignore).any()) for one in truth):
        raise InputError(f"{data.name}: no object in the {len(truth)} scored frames; use more --frames")
    classes = max(len(data.classes), *(int(one.labels.max()) for one in truth if len(one.labels)))

    @torch.no_grad()
    def measure(candidate: nn.Module) -> dict[str, dict[str, float]]:
        found = [one for b, n in feed.batches(data.scored.samples) for one in _found(name, candidate, b, n, feed)]
        score = mean_average_precision([_known(one, classes) for one in found], truth, classes)
        return {"all": {"map50": score.map50, "map75": score.map75, "map": score.map}}

    return DETECTION, measure, None


def _scores(name: str, model: nn.Module, batch: object, count: int, feed: Feed) -> Tensor:
    return class_scores(called(name, model, batch), _given(count, feed))[:count]


def _found(name: str, model: nn.Module, batch: object, count: int, feed: Feed) -> list[dict[str, Tensor]]:
    return detections(called(name, model, batch), _given(count, feed), feed.data.first_class)[:count]


def _given(count: int, feed: Feed) -> int:
    """Samples of a call, those that fill a fixed batch included."""
    return feed.data.batch if feed.data.fixed and feed.form == "tensor" else count


def _known(detection: Mapping[str, Tensor], classes: int) -> dict[str, Tensor]:
    known = detection["labels"] <= classes
    return {key: value[known] for key, value in detection.items()}


def _check_classes(data: Dataset, classes: int) -> None:
    if data.complete and len(data.classes) != classes:
        raise InputError(
            f"{data.name} has {len(data.classes)} classes, the model {classes}; name those of the model, in the order "
            "of its outputs, with --classes"
        )
    if data.highest >= classes:
        raise InputError(
            f"{data.name}: labels go up to {data.highest}, but the model gives scores of {classes} classes, 0 to "
            f"{classes - 1}; correct the labels or the model"
        )
