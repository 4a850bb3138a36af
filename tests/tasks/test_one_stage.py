"""The base for detectors of the user's own, by hand on a grid of four cells."""

import math

import pytest
import torch
from torch import nn

from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.one_stage import Dense, OneStage
from nestevo_hw.tasks.supervision import LabelConfig
from nestevo_hw.tasks.task import Embedded

PLACES = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8], [0, 8, 8, 16], [8, 8, 16, 16]])


class Fixed(nn.Module):
    """Logits of two classes at each of four places, whatever it is shown."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))


class Four(OneStage):
    name = "four"
    embedded = Embedded(frame_size=(16, 16), architecture="tests:Fixed")

    def dense(self, model, images):
        logits = model.logits.expand(len(images), -1, -1)
        return Dense(logits=logits, boxes=PLACES.expand(len(images), -1, -1), places=PLACES, features=logits * 2)


SURE = [[-9.0, 3.0], [-9.0, -9.0], [0.0, -9.0], [-9.0, -2.0]]
FRAMES = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)


def test_detections_are_the_likeliest_classes_of_places() -> None:
    found = Four().predict(Fixed(SURE), FRAMES)
    assert len(found) == 2
    assert found[0]["labels"].tolist() == [2, 1, 2]
    assert found[0]["scores"].tolist() == pytest.approx([1 / (1 + math.exp(-z)) for z in (3.0, 0.0, -2.0)])
    assert found[0]["boxes"].tolist() == PLACES[[0, 2, 3]].tolist()


def test_labels_have_features_and_soft_targets_of_the_surest_places() -> None:
    config = LabelConfig(high_confidence=0.6, low_confidence=0.3, regions=2)
    one = Four().label(Fixed(SURE), FRAMES, config)[0]
    assert one.annotation.labels.tolist() == [2, 1]
    assert one.annotation.ignore.tolist() == [False, True]
    assert one.features.tolist() == [[-18.0, 6.0]]
    assert one.regions.tolist() == PLACES[[0, 2]].tolist()
    assert one.logits.tolist() == [SURE[0], SURE[2]]


def test_an_object_is_learned_at_the_place_nearest_to_its_centre() -> None:
    model = Fixed([[0.0, 0.0]] * 4)
    box = Annotation(
        boxes=torch.tensor([[9.0, 1, 15, 7], [0, 8, 8, 16]]), labels=torch.tensor([1, 2]),
        ignore=torch.tensor([False, True]),
    )  # fmt: skip
    loss = Four().supervised_loss(model, list(torch.zeros(1, 3, 16, 16)), [box])
    # Focal loss (alpha 0.25, gamma 2) at p = 0.5: 0.25 * 0.25 * ln 2 of the object's class, 0.75 * 0.25 * ln 2 of five
    # other logits; those of the ignored place do not count. Of the boxes: IoU 36 / 64, one within the other.
    wanted = (0.25 * 0.25 + 5 * 0.75 * 0.25) * math.log(2) + 1 - 36 / 64
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)
    loss.backward()
    assert model.logits.grad[2].tolist() == [0.0, 0.0]
    assert model.logits.grad[1, 0] < 0 < model.logits.grad[1, 1]


def test_soft_targets_of_a_mirrored_frame_go_to_the_mirrored_places() -> None:
    taught = Four().label(Fixed(SURE), FRAMES, LabelConfig(regions=4))[0].mirrored(16)
    same = Fixed([SURE[1], SURE[0], SURE[3], SURE[2]])
    other = Fixed(SURE)
    losses = [
        float(
            Four()
            .distillation_loss(m, list(torch.zeros(1, 3, 16, 16)), [taught], temperature=1.0, soft_share=1.0)
            .detach()
        )
        for m in (same, other)
    ]
    assert losses[0] < losses[1]
    p = torch.tensor(SURE).sigmoid()
    entropy = float((-p * p.log() - (1 - p) * (1 - p).log()).mean())
    assert losses[0] == pytest.approx(entropy, rel=1e-4)
