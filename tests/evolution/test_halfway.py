"""A training that is broken off ends bit for bit like an unbroken one."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.evolution.halfway import Halfway
from nestevo_hw.evolution.training import TrainingPlan, draws, optimise
from nestevo_hw.streams.augment import MILD

PLAN = TrainingPlan(steps=11, batch_size=3)
IMAGES = torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


class StopError(Exception):
    """In place of a kill."""


def trained(state: Path, *, last: int = PLAN.steps, every: int = 4) -> tuple[nn.Module, float]:
    """A network with BatchNorm and dropout, trained on frames in two sizes; broken off after so many steps."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    random = torch.Generator().manual_seed(5)
    halfway, pool = Halfway(state, random, every=every), [row % 3 == 0 for row in range(7)]
    batches = draws(IMAGES, PLAN, MILD, random, torch.device("cpu"), pool=pool, waiting=halfway.waiting)
    taken = 0

    def step() -> torch.Tensor:
        nonlocal taken
        if taken == last:
            raise StopError
        taken += 1
        return model(torch.stack(next(batches).images)).square().sum()

    return model, optimise([model], PLAN, step, halfway=halfway)


def test_batches_of_no_frames_are_refused() -> None:
    with pytest.raises(InputError, match="there is no frame to learn from"):
        next(draws(IMAGES[:0], PLAN, MILD, torch.Generator(), torch.device("cpu")))


@pytest.mark.parametrize("moments", [(3,), (4,), (10,), (5, 2, 4), (9, 1)])
def test_a_training_goes_on_where_it_stood(moments: tuple[int, ...], tmp_path: Path) -> None:
    expected, loss = trained(tmp_path / "whole.safetensors", every=1000)
    assert not (tmp_path / "whole.safetensors").exists()
    for moment in moments:
        with pytest.raises(StopError):
            trained(tmp_path / "broken.safetensors", last=moment)
    got, again = trained(tmp_path / "broken.safetensors")
    assert again == loss
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, got.state_dict()[name]), name


def test_what_is_kept_is_not_done_again(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        trained(tmp_path / "state.safetensors", last=9)
    trained(tmp_path / "state.safetensors", last=3)  # eight of eleven are there


def test_the_state_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    with pytest.raises(StopError):
        trained(path, last=5)
    header, tensors = read_tensors(path)
    write_tensors(path, {name: tensor for name, tensor in tensors.items() if "0.weight" not in name}, header)
    with pytest.raises(InputError, match=r"is not the state of this training (?s:.*); delete it and resume again"):
        trained(path)
    write_tensors(path, tensors, {"position": '{"step": 4}'})
    with pytest.raises(InputError, match=r"state\.safetensors: position: losses: .*; delete it and resume again"):
        trained(path)
