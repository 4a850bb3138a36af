"""Products of the crossbar in IEEE float32, also where torch may use tensor cores with shorter numbers.

On a GPU torch lets cuDNN round the factors of convolutions to TF32, 10 bits of mantissa, and autocast to 16 bits. In a
digital model that costs little. On the crossbar it moves sums across the borders of the ADC's codes, as if the
converters were worse than they are. So whatever stands for a layer on the crossbar computes with float32, while digital
layers do what torch is set to.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

IEEE, TF32 = "ieee", "tf32"
_RELAXED = ("cpu", "cuda")
"""Kinds of device on which torch may be told to multiply shorter numbers."""


@contextmanager
def ieee_products(device: torch.device) -> Iterator[None]:
    """Convolutions, recurrent layers and matrix products of a block multiply IEEE float32; torch's settings come back.

    Args:
        device: where the block computes. A CPU's products are IEEE, autocast aside.
    """
    if device.type not in _RELAXED:
        yield
        return
    with ExitStack() as leaving:
        if torch.is_autocast_enabled(device.type):
            leaving.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            _forbid_tf32(leaving)
        yield


def _forbid_tf32(leaving: ExitStack) -> None:
    """Forbid it until `leaving` is left."""
    cudnn: Any = torch.backends.cudnn  # whose parts are made when it is imported
    matmul = torch.backends.cuda.matmul
    for part in (cudnn.conv, cudnn.rnn):
        if (before := part.fp32_precision) != IEEE:
            part.fp32_precision = IEEE
            leaving.callback(setattr, part, "fp32_precision", before)
    if matmul.fp32_precision == TF32:
        # Through the older switch, which sets the newer one, too: cuBLAS may refuse to compute where they differ.
        matmul.allow_tf32 = False
        leaving.callback(setattr, matmul, "allow_tf32", True)


def exact[M: nn.Module](layer: M) -> M:
    """Have a layer of anybody's class compute as `ieee_products` says; it stays of its class, and so do its copies."""
    kind: type[nn.Module] = type(layer)
    layer.__class__ = _exact_class(kind)  # type: ignore[assignment, arg-type]  # a class is hashable
    return layer


@cache
def _exact_class(kind: type[nn.Module]) -> type[nn.Module]:
    def forward(self: nn.Module, input: Tensor, *args: object, **options: object) -> Tensor:
        with ieee_products(input.device):
            result: Tensor = kind.forward(self, input.float(), *args, **options)
        return result

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
