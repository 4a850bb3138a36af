"""What a step of hardening learns on: as many samples as it says, whatever batches the model takes."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.studies.data.dataset import open_data
from nestevo_hw.studies.data.feeding import feed_for
from nestevo_hw.studies.data.spec import DataSpec
from nestevo_hw.studies.harden.lessons import OwnLessons
from nestevo_hw.studies.harden.subject import check_batches


def opened(folder, batch=None):
    rng = np.random.default_rng(0)
    np.savez(folder / "own.npz", x=rng.random((200, 1, 8, 8), np.float32), y=np.arange(200) % 3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    data = open_data(
        DataSpec(source=str(folder / "own.npz"), batch=batch), "net", model, frames=50, seed=0, training=100
    )
    return data, OwnLessons(feed=feed_for("net", model, data), part=data.training, note="")


@pytest.mark.parametrize("size", [8, 32, 48, 64])
def test_a_step_has_as_many_samples_as_it_says(tmp_path, size):
    _, lessons = opened(tmp_path)
    plan = TrainingPlan(steps=3, batch_size=size, learning_rate=1e-3)
    for draw in itertools.islice(lessons.draws(plan, torch.Generator().manual_seed(1), {}), 3):
        assert sum(count for _, count in draw) == sum(len(batch) for batch, _ in draw) == size


def test_the_next_step_follows_from_the_generator_alone(tmp_path):
    _, lessons = opened(tmp_path)
    plan, generator = TrainingPlan(steps=4, batch_size=48, learning_rate=1e-3), torch.Generator().manual_seed(1)
    whole = lessons.draws(plan, generator, {})
    next(whole)
    again = torch.Generator()
    again.set_state(generator.get_state())
    for mine, theirs in itertools.islice(zip(whole, lessons.draws(plan, again, {}), strict=True), 2):
        assert all(torch.equal(one, other) for (one, _), (other, _) in zip(mine, theirs, strict=True))


def test_steps_that_would_be_filled_up_are_refused(tmp_path):
    data, lessons = opened(tmp_path, batch=16)
    for size in (16, 48):
        check_batches(data, size)
        draw = next(lessons.draws(TrainingPlan(steps=1, batch_size=size, learning_rate=1e-3), torch.Generator(), {}))
        assert [count for _, count in draw] == [len(batch) for batch, _ in draw] == [16] * (size // 16)
    with pytest.raises(ConfigError, match=r"8 samples of a step .* batches of 16 \(--batch\); give 16"):
        check_batches(data, 8)
