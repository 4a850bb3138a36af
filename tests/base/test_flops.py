"""Operations that PyTorch's counter lacks or has wrong, against the same computation in ones that it has right."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nestevo_hw.base.flops import flop_counter


def macs(run, counter=flop_counter):
    with counter() as flops:
        run()
    return flops.get_total_flops() // 2


def by_torch(run):
    return macs(run, lambda: FlopCounterMode(display=False))


@pytest.fixture(params=["real", "fake"], autouse=True)
def tensors(request):
    """Shapes alone serve as well."""
    if request.param == "real":
        yield
    else:
        with FakeTensorMode():
            yield


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_grouped_convolution_is_as_many_as_it_has_groups(layer):
    whole, parts = layer(12, 24, 3, stride=2, groups=4), [layer(3, 6, 3, stride=2) for _ in range(4)]
    frames = torch.rand(2, 12, 9, 11, requires_grad=True)

    def apart():
        torch.cat([part(x) for part, x in zip(parts, frames.split(3, 1), strict=True)], 1).sum().backward()

    assert macs(lambda: whole(frames).sum().backward()) == by_torch(apart) > 0
    with torch.no_grad():
        assert macs(lambda: whole(frames)) == by_torch(lambda: whole(frames))


@pytest.mark.parametrize(("bidirectional", "batch_first"), [(False, False), (True, False), (False, True)])
def test_an_lstm_is_its_cell_at_every_step(bidirectional, batch_first):
    lstm = nn.LSTM(8, 16, num_layers=2, bidirectional=bidirectional, batch_first=batch_first)
    ways = 2 if bidirectional else 1
    cells = [nn.LSTMCell(8, 16), nn.LSTMCell(16 * ways, 16)]
    frames = torch.rand(5, 3, 8)
    steps, rows = (3, 5) if batch_first else (5, 3)
    with torch.no_grad():
        once = sum(by_torch(lambda c=c: c(torch.rand(rows, c.input_size))) for c in cells)
        assert macs(lambda: lstm(frames)) == steps * ways * once > 0
    forward_and_back = macs(lambda: lstm(frames)[0].sum().backward())
    assert forward_and_back == 3 * steps * ways * once


def test_attention_is_its_two_products():
    query, key = torch.rand(2, 4, 10, 16), torch.rand(2, 4, 7, 16)
    assert macs(lambda: nn.functional.scaled_dot_product_attention(query, key, key)) == 2 * 2 * 4 * 10 * 7 * 16
    with sdpa_kernel(SDPBackend.MATH):
        separate = by_torch(lambda: nn.functional.scaled_dot_product_attention(query, key, key))
    assert separate == 2 * 2 * 4 * 10 * 7 * 16
    query.requires_grad_()
    learning = macs(lambda: nn.functional.scaled_dot_product_attention(query, key, key).sum().backward())
    assert learning == (2 + 5) * 2 * 4 * 10 * 7 * 16  # the scores are computed once more on the way back


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda: nn.Bilinear(8, 16, 4)(torch.rand(5, 8), torch.rand(5, 16)), 5 * 4 * 8 * 16),
        (lambda: torch.rand(8, 16) @ torch.rand(16), 8 * 16),
        (lambda: torch.rand(16) @ torch.rand(16), 16),
        (lambda: torch.addmv(torch.rand(8), torch.rand(8, 16), torch.rand(16)), 8 * 16),
        (lambda: torch.cdist(torch.rand(2, 40, 16), torch.rand(2, 50, 16)), 2 * 40 * 50 * 18),
    ],
)
def test_products_by_hand(run, expected):
    assert macs(run) == expected
