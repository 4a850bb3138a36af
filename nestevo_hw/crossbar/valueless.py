"""A weight that has a shape and no values, for layers whose cells hold them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nestevo_hw.base.errors import MappingError

Product = Callable[[Tensor, Tensor | None], Tensor]
"""From input and bias to what `F.linear` gives."""


class ValuelessWeight(Tensor):
    """Tells its shape, type and place; multiplies if it knows how, by `F.linear` alone; else says that it cannot."""

    _owner: str
    _product: Product | None

    @classmethod
    def of(cls, owner: str, shape: Sequence[int], like: Tensor, product: Product | None = None) -> "ValuelessWeight":
        """The weight of a layer.

        Args:
            owner: name of the layer, for the message.
            shape: of the weight.
            like: dtype and device.
            product: what `F.linear` calls; None = nothing may be computed with it.
        """
        make: Any = torch.Tensor._make_wrapper_subclass
        weight: ValuelessWeight = make(cls, shape, dtype=like.dtype, device=like.device)
        weight._owner, weight._product = owner, product
        return weight

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the torch function returns
        """Answer `F.linear`; the rest is torch's, which comes to `__torch_dispatch__` for values."""
        if func is F.linear:
            x, weight, bias = _linear_arguments(*args, **(kwargs or {}))
            if isinstance(weight, cls) and weight._product is not None:
                return weight._product(x, bias)
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override] # torch's stub leaves the function out
        cls,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the torch function returns
        """Refuse: there are no values.

        Raises:
            MappingError: always.
        """
        owner = next((x._owner for x in args if isinstance(x, cls)), "a layer")
        raise MappingError(
            f"the model computes with the weight of {owner} ({func}) without calling that layer, which no tile can; "
            f"keep it digital (keep_digital {owner})"
        )


def _linear_arguments(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    return input, weight, bias
