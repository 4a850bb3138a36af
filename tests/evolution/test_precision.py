"""Trainings whose products are bfloat16: what computes in it, and that as much is learned. On the CPU."""

import copy

import pytest
import torch
from torch import nn

from nestevo_hw.base.compute import computing_in
from nestevo_hw.evolution.learning import MutualConfig, Seed, distil, learn_mutually
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.profiler.target import CUDA
from nestevo_hw.profiler.training_step import surrogate_life, surrogate_step
from nestevo_hw.streams.compression import CompressionConfig
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.supervision import LabelConfig, ground_truth_supervision
from nestevo_hw.tasks.task import headline

SEED, WHOLE = Seed(run=0, name="w0/test/a"), CompressionConfig(enabled=False)


class Case:
    """A task, a terminal and its partner, frames at night and their labels."""

    def __init__(self, name: str) -> None:
        self.task = task_named(name)
        known = self.task.embedded.architecture
        self.terminal, self.intermediate = (load_model(pretrained_path(n))[0] for n in (f"{known}-m3", known))
        night = DriftScript(segments=(DriftSegment(kind="night", start=0, strength=0.6),))
        size = self.task.embedded.frame_size
        self.stream = self.task.embedded_stream(name="a", place="campus", seed=2, size=size, drift=night)
        self.frames: FrameBatch = self.stream.read(range(0, 640, 40))
        self.supervision = self.task.label(self.intermediate.eval(), self.frames.images, LabelConfig())


@pytest.fixture(scope="module", params=["detection", "classification"])
def case(request):
    return Case(request.param)


def distilled(case, precision, steps=4):
    student = copy.deepcopy(case.terminal)
    trained = distil(
        case.task, student, case.frames.images, case.supervision, plan=TrainingPlan(steps=steps, batch_size=4),
        temperature=2.0, soft_share=0.5, compression=WHOLE, seed=SEED, precision=precision,
    )  # fmt: skip
    return student, trained.loss


def mutual(case, precision):
    pair = copy.deepcopy(case.terminal), copy.deepcopy(case.intermediate)
    trained = learn_mutually(
        case.task, *pair, frames=case.frames, annotations=[s.annotation for s in case.supervision],
        familiar=case.frames, generated=None, config=MutualConfig(plan=TrainingPlan(steps=2, batch_size=4)),
        compression=WHOLE, seed=SEED, precision=precision,
    )  # fmt: skip
    return pair[0], trained.loss


@pytest.mark.parametrize("train", [distilled, mutual])
def test_losses_agree_and_parameters_stay_float32(case, train):
    """bfloat16 has 8 bits, so a product is off by 2^-9 or so; errors of many average out in a loss."""
    (exact, loss), (rounded, near) = train(case, "float32"), train(case, "bfloat16")
    assert near == pytest.approx(loss, rel=0.1)
    assert near != loss
    assert {p.dtype for p in rounded.parameters()} == {torch.float32}
    assert any(not torch.equal(a, b) for a, b in zip(exact.parameters(), rounded.parameters(), strict=True))


def test_products_are_bfloat16_and_the_loss_is_not(case):
    model, seen = copy.deepcopy(case.terminal).train(), set()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda *call: seen.add(call[2].dtype))
    images = list((case.frames.images[:4].float() / 255).unbind(0))
    with computing_in("bfloat16", torch.device("cpu")):
        loss = case.task.supervised_loss(model, images, case.frames.truth[:4])
    assert seen == {torch.bfloat16}
    assert loss.dtype == torch.float32


def test_the_profiler_knows_that_activations_are_half_as_large(case):
    """Copies of the weights in bfloat16 come on top, so all of a step is not half as large."""
    sizes = {"frame_size": case.task.embedded.frame_size, "batch_size": 16}
    steps = [surrogate_step(case.task, [case.terminal], precision=p, **sizes) for p in ("float32", "bfloat16")]
    exact, rounded = (step.work for step in steps)
    assert 0.4 * exact.saved_bytes < rounded.saved_bytes < 0.9 * exact.saved_bytes
    assert [step.bfloat16 for step in steps] == [False, True]
    lives = [surrogate_life(case.task, [case.terminal], precision=p, **sizes) for p in ("float32", "bfloat16")]
    assert lives[1].memory(CUDA).tensor_bytes < 0.9 * lives[0].memory(CUDA).tensor_bytes


@pytest.mark.slow
def test_a_camera_learns_as_much(case):
    """Scores on later frames after 60 steps on true labels."""
    after = [_score_after(case, precision) for precision in ("float32", "bfloat16")]
    assert after[1] > after[0] - 0.05


def _score_after(case, precision):
    student, classes = copy.deepcopy(case.terminal), max(int(a.labels.max()) for a in case.frames.truth)
    distil(
        case.task, student, case.frames.images, ground_truth_supervision(case.frames, classes),
        plan=TrainingPlan(steps=60, batch_size=8), temperature=2.0, soft_share=0.0, compression=WHOLE, seed=SEED,
        precision=precision,
    )  # fmt: skip
    test = case.stream.read(range(700, 1340, 20))
    return headline(case.task.score(case.task.predict(student, test.images), test.truth, classes))
