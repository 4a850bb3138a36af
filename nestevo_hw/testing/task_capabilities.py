"""Checks of what only some tasks can do; each passes a task that does not have the capability."""

import copy

import torch
import torch.nn.functional as F

from nestevo_hw.base.seeding import derive_seed, seeded
from nestevo_hw.models.checkpoint import ModelSpec
from nestevo_hw.models.onnx.manifest import Version
from nestevo_hw.profiler.training_step import surrogate_step
from nestevo_hw.streams.frame import Role
from nestevo_hw.tasks.adversarial import SOURCE, TARGET, AdversarialConfig
from nestevo_hw.tasks.capabilities import (
    AdversarialAdaptation,
    CameraFrames,
    EmbeddedStreams,
    FeatureGeneration,
    LabelConfirmation,
    MutualLearning,
    SmallerInput,
    SurrogateLoss,
)
from nestevo_hw.tasks.confirmation import ConfirmationConfig, LabelRound, load_views, save_views
from nestevo_hw.tasks.deployment import Deployment, deploy, open_deployed
from nestevo_hw.tasks.supervision import LabelConfig, labelled_features
from nestevo_hw.testing.task_case import TaskCase, assert_supervision, assert_teaches, assert_unchanged, missing

ROLES: tuple[Role, ...] = ("training", "reference", "terminal")


def mutual_losses_detach_the_peer(case: TaskCase) -> None:
    """Each of the two losses reaches every parameter of its own model and none of the peer's."""
    if not isinstance(case.task, MutualLearning):
        return
    terminal, intermediate = case.learners()
    losses = case.task.mutual_losses(terminal, intermediate, case.floats(), case.truth[:4], alpha=0.7, beta=0.6)
    assert_teaches(losses[0], terminal, [*intermediate.parameters()])
    assert_teaches(losses[1], intermediate, [*terminal.parameters()])


def confirmed_labels_count_earlier_rounds(case: TaskCase) -> None:
    """Rounds of labels add up, also from their file, and the models are as before."""
    if not isinstance(case.task, LabelConfirmation):
        return
    settings, before = (LabelConfig(), ConfirmationConfig()), copy.deepcopy(case.teacher)
    ensemble, images = [case.teacher, case.student], case.frames.images
    first = case.task.confirmed_labels(ensemble, images, *settings, spacing_s=1.0)
    assert_supervision(first.supervision, len(images), case.classes)
    assert_unchanged(case.teacher, before)
    assert all(len(view) == len(images) for view in first.views), "a view does not show every frame"
    path = case.folder / "views.safetensors"
    save_views(first.views, path)
    stored = LabelRound(supervision=first.supervision, views=load_views(path))
    rounds = [
        case.task.confirmed_labels([case.student], images, *settings, spacing_s=1.0, earlier=earlier)
        for earlier in (first, stored)
    ]
    assert len(rounds[0].views) > len(first.views), "a later round does not keep the views of an earlier one"
    for one, other in zip(rounds[0].supervision, rounds[1].supervision, strict=True):
        assert torch.equal(one.annotation.labels, other.annotation.labels), "views do not survive their file"


def domain_losses_reach_model_and_classifiers(case: TaskCase) -> None:
    """The source loss is the supervised one, and domain losses reach the model against its classifiers."""
    if not isinstance(case.task, AdversarialAdaptation):
        return
    model, _ = case.learners()
    classifiers = case.task.domain_classifiers(model, AdversarialConfig())
    images, truth = case.floats(), case.truth[:4]
    with seeded(0, "conformance"):
        supervised = case.task.supervised_loss(model, images, truth)
    with seeded(0, "conformance"):
        loss, source = case.task.source_features(model, images, truth)
    assert torch.isclose(loss, supervised, rtol=1e-4), "the loss on the source domain is not the supervised one"
    target = case.task.target_features(model, images[:3])
    counts = len(source.regions), len(target.regions)
    assert counts == (4, 3), f"expected features of 4 and 3 frames but got {counts}"
    assert_teaches(loss, model, [*classifiers.parameters()])
    domain = classifiers.loss(source, SOURCE, 1.0) + classifiers.loss(target, TARGET, 1.0)
    gradients = torch.autograd.grad(domain, [*classifiers.parameters(), *model.parameters()], allow_unused=True)
    own = len([*classifiers.parameters()])
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients[:own]), "a classifier learns nothing"
    assert any(g is not None and bool((g != 0).any()) for g in gradients[own:]), "domain losses do not reach the model"


def prediction_modules_share_their_features(case: TaskCase) -> None:
    """Prediction modules of teacher and student take the teacher's features and give logits of all classes."""
    if not isinstance(case.task, FeatureGeneration):
        return
    features, labels = labelled_features(case.supervision())
    assert len(features), "the teacher finds nothing on the frames of the case"
    for model in (case.teacher, case.student):
        logits = case.task.prediction_module(model)(features)
        wanted = (len(features), case.task.first_logit + case.classes)
        assert tuple(logits.shape) == wanted, f"expected logits {wanted} but got {tuple(logits.shape)}"
        assert bool(torch.isfinite(F.cross_entropy(logits, labels - 1 + case.task.first_logit))), "no finite loss"


def smaller_input_is_undone(case: TaskCase) -> None:
    """Within the block models learn from halved frames; after it, also after an error, they predict as before."""
    if not isinstance(case.task, SmallerInput):
        return
    student, before = case.learners()[0], case.task.predict(case.student, case.frames.images[:2])
    with case.task.smaller_input([student], 2):
        halved = [F.avg_pool2d(image, 2) for image in case.floats(2)]
        annotations = [s.shrunk(2).annotation for s in case.supervision()[:2]]
        assert_teaches(case.task.supervised_loss(student, halved, annotations), student, [])
    try:
        with case.task.smaller_input([case.student], 2):
            raise InterruptedError
    except InterruptedError:
        after = case.task.predict(case.student, case.frames.images[:2])
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one["boxes"], other["boxes"]), "the models keep their smaller input"
        assert torch.equal(one["scores"], other["scores"]), "the models keep their smaller input"


def a_surrogate_step_runs_without_values(case: TaskCase) -> None:
    """Surrogate losses of one and of two models run on fake tensors, and leave the models as they are."""
    if not isinstance(case.task, SurrogateLoss):
        return
    student, teacher = case.learners()
    before = copy.deepcopy(student)
    for models, regions in (([student], 0), ([student], 8), ([student, teacher], 0)):
        size = case.task.embedded.frame_size
        step = surrogate_step(case.task, models, frame_size=size, batch_size=2, soft_regions=regions)
        parameters = sum(p.numel() for model in models for p in model.parameters())
        assert step.work.parameters == parameters, f"expected {parameters} parameters but got {step.work.parameters}"
        assert step.work.macs > 0, "a step without arithmetic"
    assert_unchanged(student, before)


def the_embedded_stream_repeats(case: TaskCase) -> None:
    """Frames are a function of the stream's arguments and their number, and carry their truth."""
    if not isinstance(case.task, EmbeddedStreams):
        return
    size = case.task.embedded.frame_size
    streams = [case.task.embedded_stream(name="a", place="park", seed=3, size=size) for _ in range(2)]
    first, again = streams[0].read([5, 2]), streams[1].read([2, 5])
    assert torch.equal(first.images, again.images.flip(0)), "two equal streams show different frames"
    assert first.images.shape == (2, 3, *size), f"expected (2, 3, {size}) but got {tuple(first.images.shape)}"
    assert streams[0].fps == case.task.embedded.fps, "the stream has another frame rate than the task says"
    assert streams[0].length is None, "an embedded stream is endless"
    assert first.truth is not None, "an embedded stream knows its truth"
    labels = torch.cat([a.labels for a in first.truth])
    assert bool(((labels >= 1) & (labels <= len(streams[0].classes))).all()), f"labels {labels.tolist()}"


def roles_show_different_frames(case: TaskCase) -> None:
    """Where each role has a seed of its own, as callers give it, no frame is shown in two roles."""
    if not isinstance(case.task, EmbeddedStreams):
        return
    seen: dict[bytes, Role] = {}
    for role in ROLES:
        stream = case.task.embedded_stream(
            name="a", place="park", seed=derive_seed(0, role), size=case.task.embedded.frame_size, role=role
        )
        for image in stream.read(range(0, 40, 5)).images:
            other = seen.setdefault(image.numpy().tobytes(), role)
            assert other == role, f"{role} and {other} show the same frame"


def a_camera_sees_what_the_model_sees(case: TaskCase) -> None:
    """A deployed model says of bytes what the model says of its frames."""
    if not isinstance(case.task, CameraFrames):
        return
    images, folder = case.frames.images, case.folder / "deployed"
    names, sides = tuple(f"class {k + 1}" for k in range(case.classes)), sorted(images.shape[2:])
    spec = ModelSpec(architecture="case", classes=names, min_size=sides[0], max_size=sides[1])
    how = Deployment(version=Version(run="case", window=None, terminal="case"), colour="bgr")
    deploy(case.task, copy.deepcopy(case.student), spec, folder, images[0], how)
    there = open_deployed(case.task, folder).predict(images)
    for one, other in zip(case.task.predict(case.student, images), there, strict=True):
        assert missing(one, other) == missing(other, one) == 0, "predictions of model and deployment differ"


CAPABILITY_CHECKS = (
    the_embedded_stream_repeats,
    roles_show_different_frames,
    mutual_losses_detach_the_peer,
    confirmed_labels_count_earlier_rounds,
    domain_losses_reach_model_and_classifiers,
    prediction_modules_share_their_features,
    smaller_input_is_undone,
    a_surrogate_step_runs_without_values,
    a_camera_sees_what_the_model_sees,
)
