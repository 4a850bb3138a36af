"""A task with two models and labelled frames, and assertions that several checks of tasks share."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.streams.frame import Annotation, FrameBatch
from nestevo_hw.tasks.capabilities import EmbeddedStreams
from nestevo_hw.tasks.supervision import LabelConfig, Supervision
from nestevo_hw.tasks.task import VisionTask

SCORE_APART, BOX_APART_PX = 0.01, 1.0
"""How far an exported model's predictions may lie from the model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCase:
    """What the checks run on. They leave the models as they are."""

    task: VisionTask
    teacher: nn.Module
    """In eval mode."""
    student: nn.Module
    """A smaller model of the same classes, in eval mode."""
    frames: FrameBatch
    """Eight or more labelled frames in order of time."""
    classes: int
    folder: Path
    """For files that a check writes."""

    @classmethod
    def shipped(cls, task: VisionTask, folder: Path, *, frames: int = 8) -> "TaskCase":
        """The models that are shipped for a task, on frames of its embedded stream."""
        assert isinstance(task, EmbeddedStreams), "a case of shipped models needs an embedded stream"
        stream = task.embedded_stream(name="case", place="campus", seed=7, size=task.embedded.frame_size)
        teacher, spec = load_model(pretrained_path(task.embedded.architecture))
        student, _ = load_model(pretrained_path(f"{task.embedded.architecture}-m3"))
        batch = stream.read([13 * k for k in range(frames)])
        return cls(task=task, teacher=teacher, student=student, frames=batch, classes=len(spec.classes), folder=folder)

    @classmethod
    def stored(cls, task: VisionTask, *, teacher: Path, student: Path, frames: FrameBatch, folder: Path) -> "TaskCase":
        """Models that `nestevo-hw pretrain` wrote, on labelled frames of one stream."""
        (large, spec), (small, _) = load_model(teacher), load_model(student)
        return cls(task=task, teacher=large, student=small, frames=frames, classes=len(spec.classes), folder=folder)

    @property
    def truth(self) -> tuple[Annotation, ...]:
        """Of the frames."""
        assert self.frames.truth is not None, "the case needs labelled frames"
        return self.frames.truth

    def floats(self, count: int = 4) -> list[Tensor]:
        """The first frames as losses take them."""
        return list((self.frames.images[:count].float() / 255).unbind(0))

    def supervision(self) -> list[Supervision]:
        """Of the frames, by the teacher."""
        return self.task.label(self.teacher, self.frames.images, LabelConfig())

    def learners(self) -> tuple[nn.Module, nn.Module]:
        """Copies of student and teacher in training mode."""
        return copy.deepcopy(self.student).train(), copy.deepcopy(self.teacher).train()


def assert_teaches(loss: Tensor, learner: nn.Module, others: Sequence[Tensor]) -> None:
    """A loss is finite, and its gradient reaches every parameter of the learner and none of the other tensors."""
    assert loss.ndim == 0, f"expected a scalar loss but got shape {tuple(loss.shape)}"
    assert bool(torch.isfinite(loss)), f"the loss is {float(loss.detach())}"
    own = {name: parameter for name, parameter in learner.named_parameters() if parameter.requires_grad}
    gradients = torch.autograd.grad(loss, [*own.values(), *others], retain_graph=True, allow_unused=True)
    for name, gradient in zip(own, gradients, strict=False):
        assert gradient is not None, f"the loss does not reach {name}"
        assert bool(torch.isfinite(gradient).all()), f"the gradient of {name} is not finite"
    assert all(g is None for g in gradients[len(own) :]), "the loss reaches more than the model that learns"


def assert_supervision(supervision: Sequence[Supervision], frames: int, classes: int) -> None:
    """Supervision of so many frames: shapes that fit together, on the CPU, without gradient."""
    assert len(supervision) == frames, f"expected supervision of {frames} frames but got {len(supervision)}"
    for one in supervision:
        ignore, labels = one.annotation.ignore, one.annotation.labels
        tensors = (one.annotation.boxes, labels, ignore, one.regions, one.logits, one.deltas, one.features)
        assert all(t.device.type == "cpu" and not t.requires_grad for t in tensors), "expected tensors on the CPU"
        assert all(bool(torch.isfinite(t).all()) for t in tensors), "a tensor is not finite"
        assert bool(((labels >= 1) & (labels <= classes)).all()), f"labels {labels.tolist()} of {classes} classes"
        assert len(one.features) == int((~ignore).sum()), "expected a feature of each object that is not ignored"
        rows = {len(one.regions), len(one.logits), len(one.deltas)}
        assert len(rows) == 1, f"expected as many regions as logits and offsets but got {sorted(rows)}"


def assert_unchanged(model: nn.Module, before: nn.Module) -> None:
    """A model has the weights, buffers and modes of its earlier copy."""
    assert changed_state(model, before) == set(), f"changed: {', '.join(sorted(changed_state(model, before)))}"
    modes = zip(model.modules(), before.modules(), strict=True)
    assert all(a.training == b.training for a, b in modes), "a module is in another mode than before"


def changed_state(model: nn.Module, before: nn.Module) -> set[str]:
    """Names of weights and buffers that are not as in an earlier copy."""
    old = before.state_dict()
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, old[name])}


def missing(wanted: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> int:
    """Confident predictions without a like one among others."""
    rows = torch.where(wanted["scores"] >= 0.5)[0]
    alike = wanted["labels"][rows, None] == got["labels"]
    alike &= (wanted["scores"][rows, None] - got["scores"]).abs() < SCORE_APART
    alike &= (wanted["boxes"][rows, None] - got["boxes"]).abs().amax(-1) < BOX_APART_PX
    return int((~alike.any(1)).sum())
