"""Conformance suite for tasks: every check takes a `TaskCase` and asserts what a `VisionTask` promises.

With pytest::

    @pytest.mark.parametrize("check", TASK_CHECKS, ids=lambda check: check.__name__)
    def test_mine(check, tmp_path):
        check(TaskCase.stored(MINE, teacher=Path(..), student=Path(..), frames=.., folder=tmp_path))

Capabilities that the task does not have are not checked.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from nestevo_hw.base.plugins import FAULTS, told
from nestevo_hw.base.seeding import seeded
from nestevo_hw.tasks.supervision import Supervision
from nestevo_hw.tasks.task import headline
from nestevo_hw.testing.task_capabilities import CAPABILITY_CHECKS
from nestevo_hw.testing.task_case import (
    TaskCase,
    assert_supervision,
    assert_teaches,
    assert_unchanged,
    changed_state,
    missing,
)


def check_task(case: TaskCase) -> None:
    """Put a task through every check.

    Raises:
        AssertionError: it fails one, or its code does; the message begins with the check's name, and what that asks for
            stands in its docstring.
    """
    for check in TASK_CHECKS:
        try:
            check(case)
        except FAULTS as error:
            why = error if isinstance(error, AssertionError) else f"your code failed: {told(error)}"
            raise AssertionError(f"{check.__name__}: {why}") from error


def labels_fit_their_frames(case: TaskCase) -> None:
    """Pseudo-labels, soft targets and features have shapes that fit together, and labelling changes no model."""
    before = copy.deepcopy(case.teacher)
    assert_supervision(case.supervision(), len(case.frames), case.classes)
    assert_unchanged(case.teacher, before)


def losses_teach_the_student_alone(case: TaskCase) -> None:
    """Supervised and distillation loss reach every parameter of the student, and no stored soft target."""
    student, _ = case.learners()
    images, supervision = case.floats(), case.supervision()[:4]
    assert_teaches(case.task.supervised_loss(student, images, case.truth[:4]), student, [])
    targets = [tensor.clone().requires_grad_() for s in supervision for tensor in (s.logits, s.deltas)]
    pairs = zip(supervision, targets[::2], targets[1::2], strict=True)
    taught = [replace(s, logits=logits, deltas=deltas) for s, logits, deltas in pairs]
    for share in (0.0, 0.5):
        loss = case.task.distillation_loss(student, images, taught, temperature=2.0, soft_share=share)
        assert_teaches(loss, student, targets)


def soft_targets_count_by_their_share(case: TaskCase) -> None:
    """With a soft share of 0 other soft targets give the same distillation loss, with one of 1 another."""
    student, _ = case.learners()
    supervision = case.supervision()[:4]
    other = [replace(s, logits=-s.logits - torch.arange(s.logits.shape[1])) for s in supervision]

    def loss(share: float, given: Sequence[Supervision]) -> Tensor:
        with seeded(0, "conformance"):
            images = case.floats()
            return case.task.distillation_loss(student, images, given, temperature=2.0, soft_share=share).detach()

    assert torch.equal(loss(0.0, supervision), loss(0.0, other)), "a soft share of 0 does not ignore soft targets"
    assert not torch.equal(loss(1.0, supervision), loss(1.0, other)), "a soft share of 1 ignores soft targets"


def predictions_leave_the_model_alone(case: TaskCase) -> None:
    """Predictions are well formed, on the CPU, and the model is as before."""
    before = copy.deepcopy(case.student)
    predictions = case.task.predict(case.student, case.frames.images)
    assert len(predictions) == len(case.frames), f"{len(predictions)} predictions of {len(case.frames)} frames"
    for prediction in predictions:
        boxes, labels, scores = (prediction[key] for key in ("boxes", "labels", "scores"))
        assert boxes.shape == (len(labels), 4), f"expected boxes ({len(labels)}, 4) but got {tuple(boxes.shape)}"
        assert scores.shape == labels.shape, f"{len(scores)} scores of {len(labels)} labels"
        assert all(t.device.type == "cpu" and not t.requires_grad for t in prediction.values()), "not on the CPU"
        assert bool(((labels >= 1) & (labels <= case.classes)).all()), f"labels {labels.tolist()}"
        assert bool(((scores >= 0) & (scores <= 1)).all()), f"scores {scores.tolist()}"
    assert_unchanged(case.student, before)


def re_estimation_changes_batch_norm_alone(case: TaskCase) -> None:
    """Only BatchNorm statistics change, and no layer is left in another mode or with another momentum."""
    model = copy.deepcopy(case.student)
    case.task.re_estimate(model, case.frames.images // 2)
    norms = {name: m for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    statistics = {f"{norm}.{name}" for norm, module in norms.items() for name, _ in module.named_buffers()}
    changed = changed_state(model, case.student)
    assert changed <= statistics, f"changed besides: {', '.join(sorted(changed - statistics))}"
    assert changed or not norms, "no BatchNorm statistics changed on darker frames"
    for now, before in zip(model.modules(), case.student.modules(), strict=True):
        assert now.training == before.training, f"a {type(now).__name__} is in another mode than before"
        assert getattr(now, "momentum", None) == getattr(before, "momentum", None), "a momentum has changed"


def the_truth_scores_one(case: TaskCase) -> None:
    """The truth scores 1, a wrong class less, and nothing to find is NaN; always the same metrics in the same order."""
    task, truth = case.task, case.truth
    perfect = [
        {"boxes": a.boxes[~a.ignore], "labels": a.labels[~a.ignore], "scores": torch.ones(int((~a.ignore).sum()))}
        for a in truth
    ]
    wrong = [{**p, "labels": p["labels"] % case.classes + 1} for p in perfect]
    scores = [task.score(predictions, truth, case.classes) for predictions in (perfect, wrong)]
    scores.append(task.score(task.predict(case.student, case.frames.images), truth, case.classes))
    assert all(math.isclose(value, 1.0, abs_tol=1e-6) for value in scores[0].values()), f"the truth scores {scores[0]}"
    assert headline(scores[1]) < 1.0, f"wrong classes score {scores[1]}"
    assert all(0.0 <= value <= 1.0 for one in scores for value in one.values()), f"not in 0..1: {scores}"
    ignored = [replace(a, ignore=torch.ones_like(a.ignore)) for a in truth]
    nothing = task.score(perfect, ignored, case.classes)
    assert all(math.isnan(value) for value in nothing.values()), f"with nothing to find the score is {nothing}"
    assert all([*one] == [*nothing] for one in scores), "metrics or their order differ from call to call"


def the_exported_model_agrees(case: TaskCase) -> None:
    """What was written as ONNX predicts what the model predicts."""
    path = case.folder / "conformance.onnx"
    case.task.export(copy.deepcopy(case.student), path, case.frames.images[0])
    there = case.task.open_exported(path).predict(case.frames.images)
    for one, other in zip(case.task.predict(case.student, case.frames.images), there, strict=True):
        assert missing(one, other) == missing(other, one) == 0, "predictions of model and exported file differ"


TASK_CHECKS = (
    labels_fit_their_frames,
    losses_teach_the_student_alone,
    soft_targets_count_by_their_share,
    predictions_leave_the_model_alone,
    re_estimation_changes_batch_norm_alone,
    the_truth_scores_one,
    the_exported_model_agrees,
    *CAPABILITY_CHECKS,
)
