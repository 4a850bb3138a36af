"""Averaging of intermediate models, and BatchNorm statistics of a scene."""

import pytest
import torch
from torch import nn

from nestevo_hw.base.errors import TaskError
from nestevo_hw.evolution.aggregate import average
from nestevo_hw.models.batch_norm import re_estimate_batch_norm


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_weights_are_averaged_and_counters_kept():
    first, second = network().state_dict(), network().state_dict()
    mean = average([first, second])
    torch.testing.assert_close(mean["0.weight"], (first["0.weight"] + second["0.weight"]) / 2)
    assert mean["1.num_batches_tracked"].dtype == torch.int64


def test_pooled_variance_is_that_of_both_scenes_together():
    """Two scenes of equal size: the variance of all values is the mean variance plus the variance of the means."""
    scenes = [torch.randn(5000, 4) * 0.5 + shift for shift in (-2.0, 3.0)]
    states = []
    for scene in scenes:
        state = network().state_dict()
        state["1.running_mean"], state["1.running_var"] = scene.mean(0), scene.var(0, correction=0)
        states.append(state)
    pooled = torch.cat(scenes)
    mean = average(states)
    torch.testing.assert_close(mean["1.running_var"], pooled.var(0, correction=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mean["1.running_mean"], pooled.mean(0), rtol=1e-4, atol=1e-4)


def test_models_of_different_structure_are_refused():
    with pytest.raises(TaskError, match="different structure"):
        average([network().state_dict(), nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).state_dict()])


def test_re_estimated_statistics_are_those_of_the_inputs():
    model = network().eval()
    inputs = torch.randn(6, 3, 8, 8) * 3 + 1
    before = model[0].weight.clone()
    re_estimate_batch_norm(model, model, [inputs])
    outputs = model[0](inputs)
    torch.testing.assert_close(model[1].running_mean, outputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model[1].running_var, outputs.transpose(0, 1).flatten(1).var(1), rtol=1e-4, atol=1e-4)
    assert not model[1].training
    assert model[1].momentum == 0.1
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("shares", [(4, 4, 2), (1, 9), (5, 5)])
def test_each_input_counts_alike_whatever_batch_it_is_in(shares):
    model = network().eval()
    inputs = torch.randn(10, 3, 8, 8) + torch.arange(10.0).reshape(-1, 1, 1, 1)
    re_estimate_batch_norm(model, model, inputs.split(shares))
    outputs = model[0](inputs)
    within = torch.stack([part.transpose(0, 1).flatten(1).var(1) for part in outputs.split(shares)])
    variance = (within * torch.tensor(shares)[:, None]).sum(0) / 10
    torch.testing.assert_close(model[1].running_mean, outputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model[1].running_var, variance, rtol=1e-4, atol=1e-4)
    assert not model[1]._forward_pre_hooks


def test_layers_that_see_no_input_keep_their_statistics():
    """Such as those of a detector's box head, where the backbone alone is run."""
    model = nn.Sequential(network(), nn.BatchNorm2d(4)).eval()
    model[1].running_mean.fill_(3.0)
    model[1].running_var.fill_(7.0)
    re_estimate_batch_norm(model, model[0], [torch.randn(6, 3, 8, 8) + 1])
    assert model[1].running_mean.tolist() == [3.0] * 4
    assert model[1].running_var.tolist() == [7.0] * 4
    assert model[1].momentum == 0.1
    assert not model[1].training
