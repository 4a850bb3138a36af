"""Side paths compute B A x beside their layers, cost nothing before they have learned, and come back from a file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.models.adapters import Adapters, put_beside
from tests.pretended_gpu import GPU, pretended_gpu


def net(width: int = 6) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width * 16, 4)
    return nn.Sequential(*layers).eval()


def drawn(*shape: int, name: str = "x") -> Tensor:
    return torch.randn(*shape, generator=torch_generator(0, name))


def learned(model: nn.Module, rank: int = 2) -> Adapters:
    adapters = Adapters(model, rank, torch_generator(0, "adapters"))
    for number, parameter in enumerate(adapters.parameters()):
        parameter.data = drawn(*parameter.shape, name=str(number))
    return adapters


def test_nothing_changes_before_they_have_learned() -> None:
    model, x = net(), drawn(2, 3, 8, 8)
    plain = model(x)
    adapters = Adapters(model, 2, torch_generator(0, "adapters"))
    with adapters.beside(model):
        assert torch.equal(model(x), plain)
        (model(x).sum()).backward()
    assert all(path.up.grad is not None and bool(path.up.grad.any()) for path in adapters.paths)


def test_a_side_path_is_a_matrix_of_low_rank() -> None:
    model = net()
    adapters, x = learned(model), drawn(5, 96)
    layer, path = model[3], adapters.paths[1]
    with adapters.beside(model):
        y = layer(x)
    down, up = (m.detach().numpy().astype(np.float64) for m in (path.down, path.up))
    weight = layer.weight.detach().numpy() + up @ down
    assert np.linalg.matrix_rank(up @ down) == 2
    np.testing.assert_allclose(y.detach().numpy(), x.numpy() @ weight.T + layer.bias.detach().numpy(), atol=1e-4)
    assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_beside_a_convolution_it_is_a_convolution() -> None:
    model = net()
    adapters, x = learned(model), drawn(2, 3, 8, 8)
    layer, path = model[0], adapters.paths[0]
    with adapters.beside(model):
        y = layer(x)
    extra = torch.einsum("or,rikl->oikl", path.up[:, :, 0, 0], path.down)
    whole = nn.functional.conv2d(x, layer.weight + extra, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(y, whole, atol=1e-4, rtol=1e-4)


def test_they_come_back_with_batch_norm(tmp_path: Path) -> None:
    model, x = net(), drawn(2, 3, 8, 8)
    adapters = learned(model)
    nn.init.normal_(model[1].weight)
    model[1].running_mean += 1.0
    adapters.save(model, tmp_path / "adapters")
    with adapters.beside(model):
        wanted = model(x)
    other = net()
    put_beside(other, net(), tmp_path / "adapters")
    assert torch.equal(other(x), wanted)


def test_they_go_where_the_model_is(tmp_path: Path) -> None:
    learned(net()).save(net(), tmp_path / "adapters")
    with pretended_gpu():
        model = net().to(GPU)
        put_beside(model, net(), tmp_path / "adapters")
        assert model(drawn(2, 3, 8, 8).to(GPU)).device == GPU


def test_those_of_another_network_are_refused(tmp_path: Path) -> None:
    model = net()
    learned(model).save(model, tmp_path / "adapters")
    with pytest.raises(InputError, match="other shapes"):
        put_beside(net(7), net(7), tmp_path / "adapters")
    with pytest.raises(InputError, match="this architecture"):
        put_beside(nn.Sequential(nn.Linear(3, 3)), nn.Sequential(nn.Linear(3, 3)), tmp_path / "adapters")


def test_without_rank_only_batch_norm_is_kept(tmp_path: Path) -> None:
    model = net()
    adapters = Adapters(model, 0, torch_generator(0, "adapters"))
    assert not list(adapters.parameters())
    adapters.save(model, tmp_path / "adapters")
    assert (tmp_path / "adapters").stat().st_size < 1000
