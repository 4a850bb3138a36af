"""Training on objects in memory: what changes, what does not, and that seeds decide everything."""

import copy
from dataclasses import replace

import pytest
import torch

from nestevo_hw.base.errors import InputError, TaskError
from nestevo_hw.evolution.generator import FeatureGenerator, GeneratorConfig
from nestevo_hw.evolution.learning import (
    GeneratedFeatures,
    MutualConfig,
    Seed,
    adapt_adversarially,
    distil,
    learn_mutually,
)
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.streams.compression import CompressionConfig
from nestevo_hw.streams.digits import DigitStream
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.tasks.adversarial import AdversarialConfig
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.supervision import ground_truth_supervision

TASK = task_named("classification")
PLAN = TrainingPlan(steps=3, batch_size=8)
WHOLE = CompressionConfig(enabled=False)
SEED = Seed(run=0, name="w0/test/a")


def shipped(name):
    return load_model(pretrained_path(name))[0]


@pytest.fixture(scope="module")
def frames():
    return DigitStream(name="a", place="counter", seed=3, size=(32, 32)).read(range(24))


@pytest.fixture
def student():
    return shipped("digits-cnn-m3")


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def taught(student, frames, supervision, **changes):
    settings = {
        "plan": PLAN, "temperature": 2.0, "soft_share": 0.5, "compression": WHOLE, "seed": SEED, **changes
    }  # fmt: skip
    return distil(TASK, student, frames.images, supervision, **settings)


def test_distillation_follows_its_seed_and_leaves_the_student_in_eval_mode(student, frames):
    others = [copy.deepcopy(student) for _ in range(2)]
    truth = ground_truth_supervision(frames, 10)
    before = weights(student)
    trained = taught(student, frames, truth, soft_share=0.0)
    taught(others[0], frames, truth, soft_share=0.0)
    taught(others[1], frames, truth, soft_share=0.0, seed=replace(SEED, name="w1/test/a"))
    assert not student.training
    assert trained.steps == 3
    assert trained.trained_s > 0
    assert not torch.equal(weights(student), before)
    assert torch.equal(weights(student), weights(others[0]))
    assert not torch.equal(weights(student), weights(others[1]))


def test_true_labels_teach(student, frames):
    truth, plan = ground_truth_supervision(frames, 10), TrainingPlan(steps=40, batch_size=8, learning_rate=1e-3)
    TASK.re_estimate(student, frames.images)
    before = TASK.score(TASK.predict(student, frames.images), frames.truth, 10)["accuracy"]
    taught(student, frames, truth, plan=plan, soft_share=0.0)
    after = TASK.score(TASK.predict(student, frames.images), frames.truth, 10)["accuracy"]
    assert after > before


def test_a_training_that_diverges_says_what_to_change(student, frames):
    wild = TrainingPlan(steps=30, batch_size=8, learning_rate=1e12)
    with pytest.raises(TaskError, match=r"training loss is (nan|inf) at step \d+; lower the learning rate"):
        taught(student, frames, ground_truth_supervision(frames, 10), plan=wild, soft_share=0.0)


def mutual(pair, frames, **changes):
    settings = {
        "frames": frames, "annotations": frames.truth, "familiar": frames, "generated": None,
        "config": MutualConfig(plan=PLAN, noise_mu=0.05, replay_frames=2), "compression": WHOLE, "seed": SEED,
    }  # fmt: skip
    return learn_mutually(TASK, *pair, **settings | changes)


def pair():
    return shipped("digits-cnn-m3"), shipped("digits-cnn")


def test_a_pair_learns_in_place_and_follows_its_seed(frames):
    one, two, start = pair(), pair(), pair()
    assert mutual(one, frames).loss == mutual(two, frames).loss
    for a, b, old in zip(one, two, start, strict=True):
        assert torch.equal(weights(a), weights(b))
        assert not torch.equal(weights(a), weights(old))


def test_weight_noise_is_gone_after_the_training(frames):
    """With a learning rate of next to nothing the stored weights stay what they were, whatever the noise."""
    still = MutualConfig(plan=TrainingPlan(steps=2, batch_size=8, learning_rate=1e-12, weight_decay=0.0), noise_mu=0.2)
    own, start = pair(), pair()
    mutual(own, frames, config=still)
    assert torch.allclose(weights(own[1]), weights(start[1]), atol=1e-6)


def test_generated_features_and_familiar_frames_make_a_difference(frames):
    width = TASK.prediction_module(shipped("digits-cnn")).in_features
    generator = FeatureGenerator(GeneratorConfig(), torch.zeros(10, width), torch.ones(10, width))
    extra = GeneratedFeatures(generator=generator, distribution=torch.full((10,), 0.1), weight=1.0)
    outcomes = []
    alone = MutualConfig(plan=PLAN, replay_frames=0)
    for changes in ({}, {"generated": extra}, {"config": alone}):
        models = pair()
        mutual(models, frames, **changes)
        outcomes.append(weights(models[0]))
    assert not torch.equal(outcomes[0], outcomes[1])
    assert not torch.equal(outcomes[0], outcomes[2])


def test_batches_are_whole_where_familiar_frames_have_no_labels(frames):
    """None of them can be learned, so that new frames take their places."""
    alone, without = pair(), pair()
    mutual(alone, frames, config=MutualConfig(plan=PLAN, noise_mu=0.05, replay_frames=0))
    mutual(without, frames, familiar=frames.unlabelled())
    assert all(torch.equal(weights(a), weights(b)) for a, b in zip(alone, without, strict=True))


def test_adversarial_adaptation_ends_with_the_statistics_of_the_terminals_frames(student, frames):
    other = copy.deepcopy(student)
    adapt_adversarially(
        TASK, student, drifted=frames.images, familiar=frames, plan=PLAN, config=AdversarialConfig(), seed=SEED
    )
    assert not torch.equal(weights(student), weights(other))
    other.load_state_dict(student.state_dict())
    TASK.re_estimate(other, frames.images)
    assert all(torch.equal(a, b) for a, b in zip(student.buffers(), other.buffers(), strict=True))


def test_adversarial_adaptation_needs_labelled_frames(student, frames):
    unlabelled = FrameBatch(images=frames.images, indices=frames.indices)
    with pytest.raises(InputError, match="learns from labelled in-domain frames"):
        adapt_adversarially(
            TASK, student, drifted=frames.images, familiar=unlabelled, plan=PLAN, config=AdversarialConfig(), seed=SEED
        )
