"""Domain-adversarial training: the gradient turns round, and features of two domains become alike."""

import pytest
import torch
from torch import nn

from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.tasks.adversarial import (
    SOURCE,
    TARGET,
    AdversarialConfig,
    DomainClassifiers,
    DomainFeatures,
    reversal_strength,
    reverse_gradient,
)
from nestevo_hw.tasks.detection import Detection
from nestevo_hw.tasks.faster_rcnn.losses import supervised_pass


def test_the_gradient_is_reversed_and_scaled():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    (reverse_gradient(x, 0.25) * torch.tensor([3.0, 4.0])).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([-0.75, -1.0]))


def test_the_reversal_grows_from_nothing_to_all():
    assert reversal_strength(0.0) == 0.0
    assert reversal_strength(0.5) == pytest.approx(2 / (1 + 2.718281828**-5) - 1)
    assert reversal_strength(1.0) > 0.999


def test_an_encoder_learns_what_its_classifier_cannot_tell_apart():
    """Two domains differ in the mean of one coordinate; against its adversary the encoder drops that coordinate."""
    torch.manual_seed(0)
    encoder = nn.Linear(4, 8)
    classifiers = DomainClassifiers(None, 8, AdversarialConfig(hidden_width=16))
    groups = [{"params": encoder.parameters(), "lr": 6e-4}, {"params": classifiers.parameters(), "lr": 3e-3}]
    optimiser = torch.optim.Adam(groups)
    shift = torch.tensor([3.0, 0.0, 0.0, 0.0])

    def apart():
        with torch.no_grad():
            return float((encoder(torch.randn(500, 4)).mean(0) - encoder(torch.randn(500, 4) + shift).mean(0)).norm())

    before = apart()
    for _ in range(800):
        a, b = encoder(torch.randn(64, 4)), encoder(torch.randn(64, 4) + shift)
        loss = classifiers.loss(DomainFeatures(maps=(), regions=(a,)), SOURCE, 1.0)
        loss = loss + classifiers.loss(DomainFeatures(maps=(), regions=(b,)), TARGET, 1.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert apart() < 0.5 * before


def test_a_detector_shows_maps_and_regions_of_both_domains():
    task, model = Detection(), load_pretrained("fasterrcnn-tiny-m3").train()
    frames = SyntheticStream(name="a", place="park", seed=2).read([0, 40])
    images = as_list(frames.images)
    classifiers = task.domain_classifiers(model, AdversarialConfig())
    torch.manual_seed(1)
    loss, view = task.source_features(model, images, frames.truth)
    torch.manual_seed(1)
    assert loss.item() == pytest.approx(supervised_pass(model, images, frames.truth).loss.item(), rel=1e-4)
    other = task.target_features(model, images)
    assert len(view.regions) == len(other.regions) == 2
    assert {m.shape[1] for m in (*view.maps, *other.maps)} == {64}
    total = classifiers.loss(view, SOURCE, 0.5) + classifiers.loss(other, TARGET, 0.5)
    total.backward()
    assert model.backbone.body.stem[0].weight.grad.abs().sum() > 0
