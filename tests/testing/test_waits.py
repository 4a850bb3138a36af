"""Waits for a GPU: each kind is found, what does not wait is not, and torch's own watch is always taken off again."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nestevo_hw.base.transfer import read_later, sent
from nestevo_hw.testing.waits import waits_found, waits_refused
from tests.pretended_gpu import GPU, pretended_gpu

HERE = torch.arange(6.0).view(2, 3)

WAITING: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "if": lambda x: bool((x > 1).any()),
    "list": lambda x: x.tolist(),
    "mask": lambda x: x[x > 1],
    "mask of places": lambda x: x.__setitem__(x > 1, x.flatten()[:4].clone()),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 1),
    "masked select": lambda x: x.masked_select(x > 1),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x + 1),
    "repeated": lambda x: x.repeat_interleave(torch.ones(2, dtype=torch.long, device=GPU), 0),
    "made there": lambda _: torch.tensor([1.0, 2.0], device=GPU),
    "sent": lambda _: HERE.to(GPU),
    "sent unpinned": lambda _: HERE.to(GPU, non_blocking=True),
    "fetched": lambda x: x.cpu(),
    "copied": lambda x: x.copy_(HERE),
    "list as index": lambda x: x[:, [2, 0]],
    "index of the host": lambda x: x[torch.tensor([1, 0])],
    "product": lambda x: x.requires_grad_().prod(),
}
GOING_ON: dict[str, Callable[[Tensor], object]] = {
    "arithmetic": lambda x: (x * 2 + x.mean()).clamp_(0, 1),
    "filled mask": lambda x: x.__setitem__(x > 1, 0.0),
    "mask as numbers": lambda x: torch.where(x > 1, x, 0.0),
    "index": lambda x: x[torch.zeros(2, dtype=torch.long, device=GPU)],
    "slice": lambda x: x[0, 1:],
    "repeated to a size": lambda x: x.repeat_interleave(torch.ones(2, dtype=torch.long, device=GPU), 0, output_size=2),
    "sent": lambda x: sent(HERE, x.device),
    "read later": lambda x: read_later(x.sum()),
    "here": lambda _: [HERE[HERE > 1].tolist(), float(HERE.sum()), torch.tensor([1])],
}


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_is_found_where_it_stands(name: str) -> None:
    with pretended_gpu() as gpu:
        there = HERE.clone().to(gpu)
        with waits_found() as found:
            WAITING[name](there)
    assert len(found) == 1
    assert str(found[0]).startswith("test_waits.py:")


@pytest.mark.parametrize("name", GOING_ON)
def test_what_goes_on_is_not(name: str) -> None:
    with pretended_gpu() as gpu:
        there = HERE.clone().to(gpu)
        with waits_found() as found:
            GOING_ON[name](there)
    assert found == []


def test_a_backward_pass_is_watched() -> None:
    with pretended_gpu() as gpu:
        there = HERE.clone().to(gpu).requires_grad_()
        doubled = there * 2
        doubled.register_hook(lambda gradient: gradient * float(gradient.sum()))
        with waits_found() as found:
            doubled.sum().backward()
    assert [wait.operation for wait in found] == ["_local_scalar_dense"]


class Watch:
    """Torch's watch, which warns after it has set its mode the first time."""

    def __init__(self) -> None:
        self.mode: int | str = 0
        self.warned = False

    def set(self, mode: int | str) -> None:
        self.mode = mode
        if not self.warned:
            self.warned = True
            warnings.warn("Synchronization debug mode is a prototype feature", UserWarning, stacklevel=1)


@pytest.mark.parametrize("fails", [False, True])
def test_torchs_watch_is_taken_off_again_and_its_warning_is_no_error(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: watch.mode)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", watch.set)
    seen = []
    try:
        with waits_refused():
            seen.append(watch.mode)
            if fails:
                raise RuntimeError("called a synchronizing CUDA operation")
    except RuntimeError:
        assert fails
    assert seen == ["error"]
    assert watch.mode == 0
