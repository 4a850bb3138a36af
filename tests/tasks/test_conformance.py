"""Both tasks through the conformance suite, and tasks that break a promise and do not get through."""

from collections.abc import Callable

import pytest
import torch

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.tasks.capabilities import FeatureGeneration, MutualLearning, SmallerInput, require, smaller_input
from nestevo_hw.tasks.classification import Classification
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.names import TASK_NAMES
from nestevo_hw.testing import tasks as suite
from nestevo_hw.testing.task_capabilities import (
    CAPABILITY_CHECKS,
    mutual_losses_detach_the_peer,
    roles_show_different_frames,
)
from nestevo_hw.testing.task_case import TaskCase
from nestevo_hw.testing.tasks import TASK_CHECKS


@pytest.fixture(scope="module", params=TASK_NAMES)
def case(request, tmp_path_factory):
    return TaskCase.shipped(task_named(request.param), tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("check", TASK_CHECKS, ids=lambda check: check.__name__)
def test_a_task_keeps_its_promises(case: TaskCase, check: Callable[[TaskCase], None]) -> None:
    check(case)


def test_tasks_have_the_names_they_are_found_by() -> None:
    assert [task_named(name).name for name in TASK_NAMES] == list(TASK_NAMES)
    with pytest.raises(ConfigError, match="unknown task 'poses'; choose from detection, classification"):
        task_named("poses")


class LeavesTrainingMode(Classification):
    def predict(self, model, images):
        predictions = super().predict(model, images)
        model.train()
        return predictions


class TeachesThePeer(Classification):
    def mutual_losses(self, terminal, intermediate, images, annotations, *, alpha, beta):
        local, mid = super().mutual_losses(terminal, intermediate, images, annotations, alpha=alpha, beta=beta)
        return local + 0.1 * mid, mid


class AlwaysSoft(Classification):
    def distillation_loss(self, student, images, supervision, *, temperature, soft_share):
        del soft_share
        return super().distillation_loss(student, images, supervision, temperature=temperature, soft_share=0.5)


class LosesItsLoss(Classification):
    def supervised_loss(self, model, images, annotations):
        return super().supervised_loss(model, images, annotations) + model.head.bias.sum().detach() * float("nan")


class MovesWeights(Classification):
    def re_estimate(self, model, images):
        super().re_estimate(model, images)
        with torch.no_grad():
            model.head.weight.mul_(0.99)


class PutsTheHeadlineLast(Classification):
    def score(self, predictions, truth, classes):
        scores = super().score(predictions, truth, classes)
        return scores if all(map(torch.isnan, map(torch.tensor, scores.values()))) else dict(reversed(scores.items()))


class ExportsAnotherModel(Classification):
    def export(self, model, path, example):
        with torch.no_grad():
            model.head.weight.mul_(-1.0)
        super().export(model, path, example)


class ShowsEveryRoleTheSame(Classification):
    def embedded_stream(self, *, name, place, seed, size, drift=None, role="terminal"):
        del seed, role
        return super().embedded_stream(name=name, place=place, seed=0, size=size, drift=drift)


class LabelsBackground(Classification):
    def label(self, model, images, config):
        supervision = super().label(model, images, config)
        for one in supervision:
            one.annotation.labels.zero_()
        return supervision


BROKEN = [
    (LeavesTrainingMode, suite.predictions_leave_the_model_alone, "in another mode"),
    (TeachesThePeer, mutual_losses_detach_the_peer, "reaches more than the model that learns"),
    (AlwaysSoft, suite.soft_targets_count_by_their_share, "share of 0 does not ignore"),
    (LosesItsLoss, suite.check_task, "the loss is nan"),
    (MovesWeights, suite.re_estimation_changes_batch_norm_alone, r"changed besides: head\.weight"),
    (PutsTheHeadlineLast, suite.the_truth_scores_one, "order differ"),
    (ExportsAnotherModel, suite.the_exported_model_agrees, "exported file differ"),
    (ShowsEveryRoleTheSame, roles_show_different_frames, "show the same frame"),
    (LabelsBackground, suite.labels_fit_their_frames, "labels"),
]


@pytest.mark.parametrize(("task", "check", "why"), BROKEN, ids=[task.__name__ for task, _, _ in BROKEN])
def test_a_broken_promise_is_found(task, check, why, tmp_path):
    with pytest.raises(AssertionError, match=why):
        check(TaskCase.shipped(task(), tmp_path))


class Plain:
    """No capability at all."""

    name = "plain"


def test_a_missing_capability_is_one_clear_line():
    task = task_named("detection")
    assert require(task, MutualLearning, "method NestEvo") is task
    with pytest.raises(ConfigError, match="task 'plain' has no mutual learning, which method NestEvo needs; choose"):
        require(Plain(), MutualLearning, "method NestEvo")
    with pytest.raises(ConfigError, match=r"no feature generation, which generator\.enabled needs"):
        require(Plain(), FeatureGeneration, "generator.enabled")


def test_frames_of_full_size_need_no_capability():
    with smaller_input(Plain(), [], 1):
        pass
    with pytest.raises(ConfigError, match=r"no smaller input, which compression\.enabled needs"):
        smaller_input(Plain(), [], 2)
    assert not isinstance(Plain(), SmallerInput)


def test_what_a_task_cannot_do_is_not_checked(tmp_path):
    case = TaskCase.shipped(task_named("classification"), tmp_path)
    plain = TaskCase(
        task=Plain(), teacher=case.teacher, student=case.student, frames=case.frames, classes=10, folder=tmp_path
    )
    for check in CAPABILITY_CHECKS:
        check(plain)
