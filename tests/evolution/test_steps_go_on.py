"""No step of a training makes the host wait for a GPU, shown without one; torch says the same where there is one."""

import copy
import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nestevo_hw.base.transfer import sent
from nestevo_hw.evolution.generator import FeatureGenerator, GeneratorConfig, train_generator
from nestevo_hw.evolution.learning import (
    GeneratedFeatures,
    MutualConfig,
    Seed,
    adapt_adversarially,
    distil,
    labelled,
    learn_mutually,
)
from nestevo_hw.evolution.training import TrainingPlan, draws, optimise
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.streams.compression import CompressionConfig
from nestevo_hw.streams.frame import FrameBatch, Stream
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.tasks.adversarial import AdversarialConfig
from nestevo_hw.tasks.capabilities import EmbeddedStreams, FeatureGeneration
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.one_stage import Dense, OneStage
from nestevo_hw.tasks.supervision import LabelConfig
from nestevo_hw.tasks.task import Embedded, VisionTask
from nestevo_hw.testing.waits import waits_found
from tests.pretended_gpu import pretended_gpu

SEED, WHOLE, HALVES = Seed(run=0, name="w0/test/a"), CompressionConfig(enabled=False), CompressionConfig(small_px=1.0)


class Cells(nn.Module):
    """A detector that says something of each of 4 x 5 cells."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d((4, 5)))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(8, 3 + 4)


class OfCells(OneStage):
    """A task as users write one."""

    name = "cells"
    embedded = Embedded(frame_size=(128, 160), architecture="tests:Cells")

    def dense(self, model: nn.Module, images: Tensor) -> Dense:
        features = model.get_submodule("body")(images).flatten(2).mT
        found = model.get_submodule("head")(features)
        corner = torch.cartesian_prod(torch.arange(4.0), torch.arange(5.0)).flip(1) * 32
        places = sent(torch.cat([corner, corner + 32], 1), images.device)
        return Dense(logits=found[..., :3], boxes=places + found[..., 3:].tanh() * 8, places=places, features=features)


class Case:
    """A task, two models of it, and labelled frames."""

    def __init__(self, name: str) -> None:
        self.task: VisionTask
        if name == "cells":
            self.task, models = OfCells(), [Cells(), Cells()]
            stream: Stream = SyntheticStream(name="a", place="park", seed=2)
        else:
            task = task_named(name)
            assert isinstance(task, EmbeddedStreams)
            self.task, known = task, task.embedded.architecture
            models = [load_model(pretrained_path(model))[0] for model in (f"{known}-m3", known)]
            stream = task.embedded_stream(name="a", place="park", seed=2, size=task.embedded.frame_size)
        self.terminal, self.intermediate = models
        self.frames = some_are_ignored(stream.read([0, 40, 300, 310]))
        self.truth = self.frames.truth or ()
        self.classes = max(int(a.labels.max()) for a in self.truth)
        self.supervision = self.task.label(models[1].eval(), self.frames.images, LabelConfig(low_confidence=0.0))
        self.device = torch.device("cpu")

    def on(self, device: torch.device) -> "Case":
        """The same with copies of the models on a device."""
        there = copy.copy(self)
        there.device = device
        there.terminal, there.intermediate = (copy.deepcopy(m).to(device) for m in (self.terminal, self.intermediate))
        return there


case_of = functools.cache(Case)


def some_are_ignored(frames: FrameBatch) -> FrameBatch:
    first, *rest = frames.truth or ()
    ignore = torch.zeros_like(first.ignore)
    ignore[-1:] = True
    return replace(frames, truth=(replace(first, ignore=ignore), *rest))


def supervised(case: Case, plan: TrainingPlan) -> None:
    random = torch.Generator().manual_seed(0)
    batches = draws(case.frames.images, plan, case.task.augmentation, random, case.device)
    model = case.terminal
    optimise([model], plan, lambda: case.task.supervised_loss(model, *labelled(next(batches), case.truth)))


def distilled(case: Case, plan: TrainingPlan, compression: CompressionConfig = WHOLE) -> None:
    distil(case.task, case.terminal, case.frames.images, case.supervision, plan=plan, temperature=2.0, soft_share=0.5,
           compression=compression, seed=SEED)  # fmt: skip


def mutual(case: Case, plan: TrainingPlan) -> None:
    generated = None
    if isinstance(case.task, FeatureGeneration):
        head = case.task.prediction_module(case.intermediate)
        generator = generator_of(case, head.in_features)
        generated = GeneratedFeatures(generator=generator, distribution=torch.ones(case.classes), weight=0.2)
    learn_mutually(
        case.task, case.terminal, case.intermediate, frames=case.frames, annotations=case.truth, familiar=case.frames,
        generated=generated, config=MutualConfig(plan=plan), compression=WHOLE, seed=SEED,
    )  # fmt: skip


def generator_of(case: Case, width: int) -> FeatureGenerator:
    moments = torch.zeros(case.classes, width), torch.ones(case.classes, width)
    return FeatureGenerator(GeneratorConfig(), *moments).to(case.device)


def adversarial(case: Case, plan: TrainingPlan) -> None:
    adapt_adversarially(case.task, case.terminal, drifted=case.frames.images, familiar=case.frames, plan=plan,
                        config=AdversarialConfig(), seed=SEED)  # fmt: skip


def generating(case: Case, plan: TrainingPlan) -> None:
    assert isinstance(case.task, FeatureGeneration)
    heads = [case.task.prediction_module(model) for model in (case.terminal, case.intermediate)]
    config = GeneratorConfig(steps=plan.steps)
    counts = [{1: 5, 2: 1}, {1: 3, 3: 2}]
    train_generator(generator_of(case, heads[0].in_features), heads, counts, config, torch.Generator().manual_seed(0),
                    first_logit=case.task.first_logit)  # fmt: skip


TRAININGS = [
    ("detection", supervised), ("detection", distilled), ("detection", mutual), ("detection", adversarial),
    ("detection", generating), ("classification", supervised), ("classification", distilled),
    ("classification", mutual), ("classification", adversarial), ("cells", supervised), ("cells", distilled),
    ("cells", mutual),
]  # fmt: skip


@pytest.mark.parametrize(("task", "training"), TRAININGS, ids=lambda part: getattr(part, "__name__", part))
def test_no_step_of_a_training_waits_for_a_gpu(task: str, training: Callable[[Case, TrainingPlan], None]) -> None:
    """What the first step sets up may wait; what two steps do more often than one is a wait of each step."""
    found = []
    for steps in (1, 2):
        case = case_of(task)
        with pretended_gpu() as gpu:
            there = case.on(gpu)
            with waits_found() as waits:
                training(there, TrainingPlan(steps=steps, batch_size=4))
        found.append(Counter(map(str, waits)))
    assert found[1] - found[0] == Counter()
