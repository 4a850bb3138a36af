"""Training on a real GPU: no step waits for it, and it learns what the CPU learns."""

import copy

import pytest
import torch
from torch import nn

from nestevo_hw.evolution.learning import labelled
from nestevo_hw.evolution.training import TrainingPlan, draws, optimise, optimiser_of
from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.streams.augment import MILD
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.tasks.detection import Detection
from nestevo_hw.tasks.faster_rcnn.losses import supervised_pass
from nestevo_hw.tasks.faster_rcnn.shapes import fixed_shapes
from nestevo_hw.tasks.supervision import LabelConfig
from nestevo_hw.testing.waits import waits_refused

pytestmark = pytest.mark.gpu
CUDA, FRAMES = torch.device("cuda"), [0, 40, 300, 310]


@pytest.fixture
def frames():
    return SyntheticStream(name="a", place="park", seed=2).read(FRAMES)


@pytest.mark.parametrize("kind", ["supervised", "distillation", "mutual"])
def test_no_step_waits_for_the_gpu(kind, frames):
    """Torch raises at whatever would wait; the first step, which sets up the pooling of regions, may."""
    task, plan = Detection(), TrainingPlan(steps=1, batch_size=4)
    models = [load_pretrained(name).to(CUDA).train() for name in ("fasterrcnn-tiny-m3", "fasterrcnn-tiny")]
    supervision = task.label(load_pretrained("fasterrcnn-tiny").eval(), frames.images, LabelConfig())
    parameters = [p for model in models for p in model.parameters()]
    optimiser = optimiser_of(parameters, plan)
    batches = draws(frames.images, plan, MILD, torch.Generator().manual_seed(1), CUDA)

    def step():
        draw = next(batches)
        images, labels = labelled(draw, [s.annotation for s in supervision])
        if kind == "supervised":
            loss = task.supervised_loss(models[0], images, labels)
        elif kind == "mutual":
            loss = sum(task.mutual_losses(*models, images, labels, alpha=0.7, beta=0.7))
        else:
            chosen = [supervision[row] for row in draw.rows]
            loss = task.distillation_loss(models[0], images, chosen, temperature=2.0, soft_share=0.5)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        return loss.detach()

    step()
    with waits_refused():
        found = [step() for _ in range(3)]
    assert torch.stack(found).isfinite().all()


def test_losses_on_a_gpu_are_those_of_the_cpu(frames):
    """Where every anchor and region is drawn; sums are in another order, and cuDNN rounds to TF32."""
    model = load_pretrained("fasterrcnn-tiny").train()
    for sampler, count in ((model.rpn.fg_bg_sampler, 12_000), (model.roi_heads.fg_bg_sampler, 250)):
        sampler.batch_size_per_image, sampler.positive_fraction = count, 0.5
    images, there = as_list(frames.images), copy.deepcopy(model).to(CUDA)
    with fixed_shapes():
        expected = supervised_pass(model, images, frames.truth).loss
    found = supervised_pass(there, [image.to(CUDA) for image in images], frames.truth).loss
    assert float(found) == pytest.approx(float(expected), rel=0.05)


def test_a_training_on_a_gpu_lowers_its_loss(frames):
    torch.manual_seed(0)
    model, plan = load_pretrained("fasterrcnn-tiny-m3").to(CUDA), TrainingPlan(steps=40, batch_size=4)
    batches = draws(frames.images, plan, MILD, torch.Generator().manual_seed(1), CUDA)
    seen = []

    def step():
        loss = Detection().supervised_loss(model, *labelled(next(batches), frames.truth))
        seen.append(loss.detach())
        return loss

    late = optimise([model], plan, step)
    assert late < float(torch.stack(seen[:10]).mean())
