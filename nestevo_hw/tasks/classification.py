"""Image classification as a task of the evolution loop: an image's class is one object that fills the frame."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.transfer import sent
from nestevo_hw.models.batch_norm import re_estimate_batch_norm
from nestevo_hw.models.classifier import (
    OnnxClassifier,
    SmallClassifier,
    check_classifier,
    export_classifier,
    features,
    features_and_logits,
    last_layer,
)
from nestevo_hw.models.inputs import is_detector
from nestevo_hw.models.onnx.frames import FrameModel
from nestevo_hw.streams.augment import Augmentation
from nestevo_hw.streams.digits import DigitStream
from nestevo_hw.streams.frame import Annotation, Role, Stream, frame_box
from nestevo_hw.streams.weather import DriftScript
from nestevo_hw.tasks.adversarial import AdversarialConfig, DomainClassifiers, DomainFeatures
from nestevo_hw.tasks.batches import frames_at_once
from nestevo_hw.tasks.capabilities import (
    AdversarialAdaptation,
    CameraFrames,
    EmbeddedStreams,
    FeatureGeneration,
    LabelConfirmation,
    ModelCheck,
    MutualLearning,
    PredictionEntropy,
    SmallerInput,
    SurrogateLoss,
    UnequalStreams,
)
from nestevo_hw.tasks.confirmation import ConfirmationConfig, LabelRound, View
from nestevo_hw.tasks.losses import IGNORED, classifier_loss, entropy, kl_divergence
from nestevo_hw.tasks.predictions import Prediction
from nestevo_hw.tasks.supervision import LabelConfig, Supervision
from nestevo_hw.tasks.task import Embedded, VisionTask

BATCH = 64
"""Images at a time where nothing is learned, on a CPU."""


class Classification(
    VisionTask,
    EmbeddedStreams,
    UnequalStreams,
    MutualLearning,
    LabelConfirmation,
    AdversarialAdaptation,
    PredictionEntropy,
    FeatureGeneration,
    CameraFrames,
    SmallerInput,
    SurrogateLoss,
    ModelCheck,
):
    """Classifiers of whole images; every capability."""

    name = "classification"
    subtracts_background = False
    metric = "accuracy"
    second_metric = ("mean_recall", "mean recall")
    augmentation = Augmentation(brightness=0.2, contrast=0.2, saturation=0.2, flip=False)
    embedded = Embedded(
        fps=DigitStream.FPS, frame_size=(32, 32), architecture="digits-cnn", teacher_steps=1500, terminal_steps=400
    )
    first_logit = 0

    def embedded_stream(
        self,
        *,
        name: str,
        place: str,
        seed: int,
        size: tuple[int, int],
        drift: DriftScript | None = None,
        role: Role = "terminal",
    ) -> Stream:
        """Handwritten digits."""
        return DigitStream(name=name, place=place, seed=seed, size=size, drift=drift, role=role)

    def unequal_stream(
        self, *, name: str, place: str, seed: int, size: tuple[int, int], drift: DriftScript | None, skew: float
    ) -> Stream:
        """Handwritten digits, most of them of one class."""
        return DigitStream(name=name, place=place, seed=seed, size=size, drift=drift, skew=skew)

    def label(self, model: nn.Module, images: Tensor, config: LabelConfig) -> list[Supervision]:
        """The likeliest class of each image; one below the high confidence teaches nothing but its soft target."""
        return _supervision(images, *_described(_classifier(model), images), config)

    def teacher_passes(self, confirmation: ConfirmationConfig, frames: int, size: tuple[int, int]) -> int:
        """One for each image."""
        del confirmation, size
        return frames

    def confirmed_labels(
        self,
        models: Sequence[nn.Module],
        images: Tensor,
        labels: LabelConfig,
        confirmation: ConfirmationConfig,
        *,
        spacing_s: float,
        earlier: LabelRound | None = None,
    ) -> LabelRound:
        """The mean probabilities of all models and rounds; a view holds each class of an image with its probability."""
        del confirmation, spacing_s  # one view a model; successive images show different things
        teacher, *others = models
        described, logits = _described(teacher, images)
        seen = [logits, *(_logits(model, images) for model in others)]
        old = earlier.views if earlier else ()
        views = [*old, *(_every_class(one.softmax(-1), images) for one in seen)]
        mean = torch.stack([torch.stack([frame["scores"] for frame in view]) for view in views]).mean(0)
        supervision = _supervision(images, described, mean.clamp(min=1e-9).log(), labels)
        return LabelRound(supervision=supervision, views=views)

    def supervised_loss(self, model: nn.Module, images: list[Tensor], annotations: Sequence[Annotation]) -> Tensor:
        """Cross-entropy."""
        return _cross_entropy(model(torch.stack(images)), annotations)

    def mutual_losses(
        self,
        terminal: nn.Module,
        intermediate: nn.Module,
        images: list[Tensor],
        annotations: Sequence[Annotation],
        *,
        alpha: float,
        beta: float,
    ) -> tuple[Tensor, Tensor]:
        """Deep mutual learning on class probabilities (paper eq. 14 and 15)."""
        batch = torch.stack(images)
        local, mid = terminal(batch), intermediate(batch)
        return (
            alpha * _cross_entropy(local, annotations) + (1 - alpha) * kl_divergence(local, mid),
            beta * _cross_entropy(mid, annotations) + (1 - beta) * kl_divergence(mid, local),
        )

    def distillation_loss(
        self,
        student: nn.Module,
        images: list[Tensor],
        supervision: Sequence[Supervision],
        *,
        temperature: float,
        soft_share: float,
    ) -> Tensor:
        """Cross-entropy against labels of high confidence, divergence from all soft targets."""
        logits = student(torch.stack(images))
        hard = _cross_entropy(logits, [s.annotation for s in supervision])
        if soft_share == 0.0:
            return hard
        taught = sent(torch.cat([s.logits for s in supervision]), logits.device)
        return (1 - soft_share) * hard + soft_share * kl_divergence(logits, taught, temperature)

    def class_logits(self, model: nn.Module, images: list[Tensor]) -> Tensor:
        """What the classifier puts out."""
        logits: Tensor = _classifier(model)(torch.stack(images))
        return logits

    def prediction_entropy(self, model: nn.Module, images: list[Tensor]) -> Tensor:
        """Of each image's class."""
        return entropy(self.class_logits(model, images).softmax(-1)).mean()

    def domain_classifiers(self, model: nn.Module, config: AdversarialConfig) -> DomainClassifiers:
        """On image features only."""
        return DomainClassifiers(None, _head(model).in_features, config)

    def source_features(
        self, model: nn.Module, images: list[Tensor], annotations: Sequence[Annotation]
    ) -> tuple[Tensor, DomainFeatures]:
        """Cross-entropy and features of labelled images."""
        described, logits = features_and_logits(_classifier(model), torch.stack(images))
        return _cross_entropy(logits, annotations), DomainFeatures(maps=(), regions=described.split(1))

    def target_features(self, model: nn.Module, images: list[Tensor]) -> DomainFeatures:
        """Features of unlabelled images."""
        return DomainFeatures(maps=(), regions=features(_classifier(model), torch.stack(images)).split(1))

    @contextmanager
    def smaller_input(self, models: Sequence[nn.Module], factor: float) -> Iterator[None]:
        """Nothing to do: a classifier takes images of any size."""
        del models, factor
        yield

    def predict(self, model: nn.Module, images: Tensor) -> list[dict[str, Tensor]]:
        """One prediction an image."""
        return _predictions(_logits(_classifier(model), images), images)

    def score(self, predictions: Sequence[Prediction], truth: Sequence[Annotation], classes: int) -> dict[str, float]:
        """Accuracy, and the mean recall over classes that occur; images whose label is ignored do not count."""
        pairs = [
            (int(p["labels"][0]), int(a.labels[0]))
            for p, a in zip(predictions, truth, strict=True)
            if len(a.labels) and not bool(a.ignore[0])
        ]
        if not pairs:
            return {"accuracy": float("nan"), "mean_recall": float("nan")}
        by_class = [[label == wanted for label, wanted in pairs if wanted == c] for c in range(1, classes + 1)]
        recalls = [sum(hits) / len(hits) for hits in by_class if hits]
        right = sum(label == wanted for label, wanted in pairs)
        return {"accuracy": right / len(pairs), "mean_recall": sum(recalls) / len(recalls)}

    def prediction_module(self, model: nn.Module) -> nn.Module:
        """The last layer."""
        return _head(model)

    @torch.no_grad()
    def re_estimate(self, model: nn.Module, images: Tensor) -> None:
        """Statistics of the convolutions' outputs on these images."""
        if isinstance(_classifier(model), SmallClassifier):  # whose layers after the last BatchNorm need not run
            chunks = [_floats(chunk) - 0.5 for chunk in images.split(BATCH)]
            re_estimate_batch_norm(model, model.get_submodule("body"), chunks)
        else:
            re_estimate_batch_norm(model, model, [_floats(chunk) for chunk in images.tensor_split(_chunks(images))])

    def surrogate_loss(self, models: Sequence[nn.Module], images: list[Tensor], *, soft_regions: int) -> Tensor:
        """See `classifier_loss`."""
        return classifier_loss(models, torch.stack(images), taught=soft_regions > 0)

    def check_model(self, model: nn.Module, classes: int, size: tuple[int, int], name: str) -> None:
        """See `check_classifier`."""
        check_classifier(_classifier(model), classes, size, name)

    def inputs(self, images: Tensor) -> Tensor:
        """Floats in 0..1."""
        return _floats(images)

    def export(self, model: nn.Module, path: Path, example: Tensor) -> None:
        """See `export_classifier`."""
        export_classifier(model, path, example)

    def open_exported(self, path: Path) -> "ExportedClassifier":
        """The classifier as ONNX Runtime runs it."""
        return ExportedClassifier(OnnxClassifier(path))

    def frame_model(self, model: nn.Module) -> FrameModel:
        """The classifier itself."""
        return FrameModel(module=_classifier(model), detects=False)


class ExportedClassifier:
    """Predictions of a classifier outside of torch."""

    def __init__(self, model: OnnxClassifier) -> None:
        self._model = model

    def predict(self, images: Tensor) -> list[dict[str, Tensor]]:
        """One prediction an image."""
        return _predictions(self._model.logits(images), images)


def _classifier(model: nn.Module) -> nn.Module:
    if is_detector(model):
        raise InputError(
            f"expected an image classifier but got {type(model).__name__}; "
            'set task = "detection" for detectors, or name a classifier'
        )
    return model


def _head(model: nn.Module) -> nn.Linear:
    head = model.get_submodule(last_layer(_classifier(model)))
    if not isinstance(head, nn.Linear):
        raise InputError(f"the last layer of a {type(model).__name__} is on the crossbar; take the digital model")
    return head


def _chunks(images: Tensor) -> int:
    """Parts of at most BATCH images, none of one image alone, whose variance BatchNorm could not tell."""
    return max(1, -(-len(images) // BATCH))


def _floats(images: Tensor) -> Tensor:
    return images.float() / 255


def _batches(model: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """As the model takes them, where it is."""
    device = next(model.parameters()).device
    for chunk in images.split(frames_at_once(BATCH, images.shape[-2:], device)):
        yield _floats(chunk.to(device))


@torch.no_grad()
def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """(N, C) on the CPU."""
    return torch.cat([model(chunk).cpu() for chunk in _batches(model, images)])


@torch.no_grad()
def _described(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D) features and (N, C) logits on the CPU, of one pass: a crossbar reads each image once."""
    found = [features_and_logits(model, chunk) for chunk in _batches(model, images)]
    described, logits = (torch.cat([part.cpu() for part in parts]) for parts in zip(*found, strict=True))
    return described, logits


def _supervision(images: Tensor, described: Tensor, logits: Tensor, config: LabelConfig) -> list[Supervision]:
    box = frame_box(images)
    scores, labels = logits.softmax(-1).max(-1)
    return [
        Supervision(
            annotation=Annotation(boxes=box, labels=label[None] + 1, ignore=~kept[None]),
            regions=box,
            logits=own[None],
            deltas=own.new_zeros(1, 0),
            features=feature[None][kept[None]],
        )
        for label, kept, own, feature in zip(labels, scores >= config.high_confidence, logits, described, strict=True)
    ]


def _cross_entropy(logits: Tensor, annotations: Sequence[Annotation]) -> Tensor:
    wanted = [IGNORED if not len(a.labels) or bool(a.ignore[0]) else int(a.labels[0]) - 1 for a in annotations]
    if all(label == IGNORED for label in wanted):
        return logits.sum() * 0.0
    return F.cross_entropy(logits, sent(torch.tensor(wanted), logits.device), ignore_index=IGNORED)


def _predictions(logits: Tensor, images: Tensor) -> list[dict[str, Tensor]]:
    box = frame_box(images)
    scores, labels = logits.softmax(-1).max(-1)
    return [{"boxes": box, "labels": k[None] + 1, "scores": s[None]} for k, s in zip(labels, scores, strict=True)]


def _every_class(probabilities: Tensor, images: Tensor) -> View:
    """(N, C) probabilities as predictions of all classes on each image."""
    count = probabilities.shape[1]
    boxes, labels = frame_box(images).expand(count, 4), torch.arange(1, count + 1)
    return [{"boxes": boxes, "labels": labels, "scores": row} for row in probabilities]


TASK = Classification()
