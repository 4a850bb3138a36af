"""What opened modules share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from torch import Tensor, nn


class OpenModule(nn.Module):
    """Stands for a module that computed with weights of its own, now those of layers."""

    renamed: Mapping[str, str] = {}
    """Names in the state dict before, to those now."""
    copied: ClassVar[tuple[str, ...]] = ()
    """Public attributes of the module before that others may ask for."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for name in self.copied:
            setattr(self, name, getattr(module, name))
        self.train(module.training)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer with copies of these (outputs, inputs) and (outputs,) values."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
    return layer


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, and every module's own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
