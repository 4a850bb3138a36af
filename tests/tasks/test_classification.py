"""Image classification as a task: the same verbs as detection, on images of one object each."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import entropy

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.models.classifier import SmallClassifier
from nestevo_hw.models.faster_rcnn import fasterrcnn_tiny
from nestevo_hw.streams.digits import SHARES, DigitStream, _rows
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.health import fault_of
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.tasks.classification import Classification
from nestevo_hw.tasks.confirmation import ConfirmationConfig
from nestevo_hw.tasks.supervision import LabelConfig, ground_truth_supervision, labelled_features

TASK = Classification()


@pytest.fixture(scope="module")
def frames():
    return DigitStream(name="counter", place="counter", seed=3).read(range(60))


@pytest.fixture(scope="module")
def teacher():
    return load_model(pretrained_path("digits-cnn"))[0]


def floats(frames, count):
    return list((frames.images[:count].float() / 255).unbind(0))


def test_nobody_is_shown_anothers_digits():
    roles = {role: set(_rows(role).tolist()) for role in SHARES}
    assert sum(map(len, roles.values())) == len(set.union(*roles.values())) == 1797


def test_a_stream_repeats_itself_and_no_digit_within_a_window():
    stream = DigitStream(name="a", place="belt", seed=5)
    again = DigitStream(name="a", place="belt", seed=5)
    assert torch.equal(stream.read([7, 3]).images, again.read([7, 3]).images)
    night = DigitStream(
        name="a", place="belt", seed=5, drift=DriftScript(segments=(DriftSegment(start=0, kind="night", strength=0.8),))
    )
    assert night.read([7]).images.float().mean() < 0.7 * stream.read([7]).images.float().mean()
    assert fault_of(night.read(range(0, 60, 3)).images) is None
    with pytest.raises(InputError, match="has no frame -1"):
        stream.read([-1])


def test_a_skewed_stream_shows_one_class_at_its_share_and_repeats_no_digit_within_a_turn():
    stream = DigitStream(name="a", place="belt", seed=5, skew=0.7)
    labels = torch.cat([t.labels for t in stream.read(range(300)).truth])
    favourite, count = labels.mode().values, int((labels == labels.mode().values).sum())
    turn = stream._turn  # a turn shows every digit of the class once, and fewer others
    assert turn == pytest.approx(54 / 0.7, abs=6)
    assert count / 300 == pytest.approx(0.7, abs=0.05)
    first, second = (set(stream._shown(number).tolist()) for number in (0, 1))
    assert len(first) == len(second) == turn
    common = set(stream._favoured.tolist())
    assert common <= first & second
    assert first - common != second - common
    other = DigitStream(name="a", place="belt", seed=5)
    assert len(torch.cat([t.labels for t in other.read(range(60)).truth]).unique()) == 10
    drawn = {DigitStream(name="a", place="belt", seed=s, skew=0.9)._favoured[0] for s in range(12)}
    assert len(drawn) > 3
    assert bool((favourite >= 1) & (favourite <= 10))
    assert set(DigitStream(name="a", place="belt", seed=5, skew=1.0)._shown(3)) == common


@pytest.mark.parametrize("variant", ["", "-m1", "-m2", "-m3"])
def test_shipped_classifiers_know_digits_they_have_never_seen(variant):
    """Measured: 0.965 to 0.975 on 200 digits."""
    model, spec = load_model(pretrained_path(f"digits-cnn{variant}"))
    held_out = DigitStream(name="h", place="campus", seed=11).read(range(200))
    assert TASK.score(TASK.predict(model, held_out.images), held_out.truth, len(spec.classes))["accuracy"] > 0.9


def test_labels_are_of_high_confidence_or_ignored(frames, teacher):
    supervision = TASK.label(teacher, frames.images, LabelConfig(high_confidence=0.99))
    logits = teacher(frames.images.float() / 255).detach()
    sure = logits.softmax(-1).max(-1).values >= 0.99
    assert 0 < sure.sum() < len(frames)
    assert [bool(s.annotation.ignore[0]) for s in supervision] == (~sure).tolist()
    features, labels = labelled_features(supervision)
    assert features.shape == (int(sure.sum()), 32)
    assert torch.equal(labels, logits[sure].argmax(-1) + 1)
    torch.testing.assert_close(torch.cat([s.logits for s in supervision]), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_teacher_sees_each_image_once(confirmed, frames, teacher):
    """Features and logits of a noisy model are those of one read, and a crossbar's time is modelled as of one."""
    seen = []
    with teacher.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0]))):
        if confirmed:
            TASK.confirmed_labels([teacher], frames.images, LabelConfig(), ConfirmationConfig(), spacing_s=1.0)
        else:
            TASK.label(teacher, frames.images, LabelConfig())
    assert sum(seen) == TASK.teacher_passes(ConfirmationConfig(), len(frames), (32, 32))


def test_an_ensemble_labels_with_its_mean_probability(frames, teacher):
    member, _ = load_model(pretrained_path("digits-cnn-m3"))
    how = LabelConfig(), ConfirmationConfig()
    first = TASK.confirmed_labels([teacher], frames.images, *how, spacing_s=1.0)
    second = TASK.confirmed_labels([member], frames.images, *how, spacing_s=1.0, earlier=first)
    assert len(second.views) == 2
    batch = frames.images.float() / 255
    mean = (teacher(batch).softmax(-1) + member(batch).softmax(-1)).detach() / 2
    torch.testing.assert_close(
        torch.cat([s.logits for s in second.supervision]).softmax(-1), mean, atol=1e-4, rtol=1e-3
    )


def test_mutual_losses_against_their_definition(frames):
    torch.manual_seed(0)
    local, mid = SmallClassifier(10), SmallClassifier(10)
    images, truth = floats(frames, 8), list(frames.truth[:8])
    truth[0] = Annotation(boxes=truth[0].boxes, labels=truth[0].labels, ignore=torch.tensor([True]))
    local.eval(), mid.eval()
    losses = TASK.mutual_losses(local, mid, images, truth, alpha=0.7, beta=0.4)
    a, b = (m(torch.stack(images)).detach() for m in (local, mid))
    labels = torch.tensor([int(t.labels[0]) - 1 for t in truth[1:]])
    apart = entropy(b.softmax(-1).numpy(), a.softmax(-1).numpy(), axis=-1).mean()
    back = entropy(a.softmax(-1).numpy(), b.softmax(-1).numpy(), axis=-1).mean()
    assert losses[0].item() == pytest.approx(0.7 * F.cross_entropy(a[1:], labels).item() + 0.3 * apart, rel=1e-4)
    assert losses[1].item() == pytest.approx(0.4 * F.cross_entropy(b[1:], labels).item() + 0.6 * back, rel=1e-4)


def test_distillation_learns_from_truth_and_from_soft_targets(frames, teacher):
    student = SmallClassifier(10).eval()
    images = floats(frames, 8)
    hard = TASK.distillation_loss(
        student, images, ground_truth_supervision(frames, 10)[:8], temperature=2.0, soft_share=0.0
    )
    labels = torch.tensor([int(t.labels[0]) - 1 for t in frames.truth[:8]])
    assert hard.item() == pytest.approx(F.cross_entropy(student(torch.stack(images)), labels).item(), rel=1e-5)
    own = TASK.label(teacher, frames.images[:8], LabelConfig())
    soft = TASK.distillation_loss(teacher, images, own, temperature=2.0, soft_share=1.0)
    assert soft.item() == pytest.approx(0.0, abs=1e-5)


def test_scores_by_hand():
    box = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    said = [{"boxes": box, "labels": torch.tensor([k]), "scores": torch.tensor([1.0])} for k in (1, 1, 2, 3)]
    truth = [Annotation.of(box, torch.tensor([k])) for k in (1, 2, 2)]
    truth.append(Annotation(boxes=box, labels=torch.tensor([1]), ignore=torch.tensor([True])))
    assert TASK.score(said, truth, 3) == {"accuracy": pytest.approx(2 / 3), "mean_recall": pytest.approx(0.75)}
    assert math.isnan(TASK.score(said[3:], truth[3:], 3)["accuracy"])


def test_a_scenes_statistics_bring_a_classifier_back():
    """The night is a change of scale, which statistics of 96 unlabelled digits repair to a good part."""
    night = DriftScript(segments=(DriftSegment(start=0, kind="night", strength=0.8),))
    stream = DigitStream(name="b", place="belt", seed=2, drift=night)
    model, _ = load_model(pretrained_path("digits-cnn"))
    later = stream.read(range(300, 500))

    def accuracy():
        return TASK.score(TASK.predict(model, later.images), later.truth, 10)["accuracy"]

    before = accuracy()
    TASK.re_estimate(model, stream.read(range(0, 288, 3)).images)
    assert accuracy() > before + 0.1


def test_a_detector_is_refused():
    with pytest.raises(InputError, match="expected an image classifier but got FasterRCNN"):
        TASK.prediction_module(fasterrcnn_tiny(4))
