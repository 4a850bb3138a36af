"""Basic blocks of residual networks: their last layer and shortcut, one merged over several, one with fewer channels.

A block ends with a convolution and its BatchNorm, to which a shortcut of the input may be added, and perhaps a ReLU.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

from nestevo_hw.models.pruning import prune_within

_KINDS = (BasicBlock, Bottleneck, InvertedResidual)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The layers of a block that make its output."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    shortcut: tuple[nn.Conv2d, nn.BatchNorm2d] | None
    """Layers of a shortcut that has some."""
    identity: bool
    """Whether the input itself is added."""
    rectified: bool
    """Whether a ReLU comes last."""


def is_block(module: nn.Module) -> bool:
    """Whether this is a basic block that can be merged and shrunk."""
    return isinstance(module, _KINDS)


def ending(block: nn.Module) -> Ending:
    """The last layers of a block."""
    if isinstance(block, InvertedResidual):
        return Ending(
            conv=block.conv[-2], norm=block.conv[-1], shortcut=None, identity=block.use_res_connect, rectified=False
        )
    last = _last_number(block)
    down: nn.Sequential | None = block.downsample  # type: ignore[assignment]
    return Ending(
        conv=block.get_submodule(f"conv{last}"), norm=block.get_submodule(f"bn{last}"),  # type: ignore[arg-type]
        shortcut=None if down is None else (down[0], down[1]), identity=down is None, rectified=True,  # type: ignore[arg-type]
    )  # fmt: skip


def _last_number(block: nn.Module) -> int:
    """Of the last convolution of ResNet's blocks."""
    return 3 if isinstance(block, Bottleneck) else 2


def strided(block: nn.Module) -> nn.Conv2d:
    """The layer of a block that takes its stride."""
    if isinstance(block, InvertedResidual):
        return block.conv[-3][0]  # type: ignore[no-any-return]  # the depthwise one
    return block.get_submodule(f"conv{_last_number(block) - 1}")  # type: ignore[return-value]


def stride_of(block: nn.Module) -> int:
    """Pixels of the input between two of the output."""
    return int(strided(block).stride[0])


def inputs_to(block: nn.Module) -> int:
    """Channels that a block takes."""
    first = next(m for m in block.modules() if isinstance(m, nn.Conv2d))
    return int(first.in_channels)


def merged(blocks: Sequence[nn.Module]) -> nn.Module:
    """One block in place of several: the first one with the stride of all and the output channels of the last one.

    Tensors that keep their shape are copies; weights of new layers are 0, until `nestevo_hw.models.elastic.fitting`.

    Args:
        blocks: two or more of one kind, one after the other.
    """
    block = copy.deepcopy(blocks[0])
    stride = math.prod(stride_of(one) for one in blocks)
    inputs, last = inputs_to(block), ending(block)
    outputs = ending(blocks[-1]).conv.out_channels
    reshaped = (outputs, stride) != (last.conv.out_channels, stride_of(block))
    strided(block).stride = (stride, stride)
    if outputs != last.conv.out_channels:
        _put_last(block, _empty(last.conv.in_channels, outputs, like=last.conv))
    if isinstance(block, InvertedResidual):
        block.stride, block.out_channels = stride, outputs
        block.use_res_connect = stride == 1 and inputs == outputs
    elif reshaped:
        setattr(block, "stride", stride)  # noqa: B010 - nn.Module has its attributes typed as modules
        block.downsample = nn.Sequential(_empty(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs))
    return block.eval()


def shrinkable(block: nn.Module) -> bool:
    """Whether a block has channels of its own, that neither its input nor its output shows."""
    return not isinstance(block, InvertedResidual) or len(block.conv) > _UNEXPANDED


_UNEXPANDED = 3
"""Parts of an inverted residual that works on the channels of its input: depthwise, projection, its BatchNorm."""


WIDTHS = 8
"""Channels of a shrunk block are a multiple of this: with others ONNX Runtime is slower than without pruning."""


def inner_width(block: nn.Module) -> int:
    """Channels of a block that neither its input nor its output shows."""
    return ending(block).conv.in_channels


def shrunk_width(block: nn.Module, rate: float) -> int:
    """Inner channels that are left of a block at a rate: the nearest multiple of `WIDTHS`, the larger of two."""
    return max(1, int(inner_width(block) * (1 - rate) / WIDTHS + 0.5)) * WIDTHS


def shrunk(block: nn.Module, width: int, example: Tensor) -> nn.Module:
    """A block with no more than some of its inner channels, those of largest magnitude.

    Args:
        block: stays as it is.
        width: inner channels that are left.
        example: (1, C, H, W) input.
    """
    narrow = copy.deepcopy(block)
    last = ending(narrow)
    kept = [last.conv, *(last.shortcut or ())[:1]]
    rate = 1 - (width + 0.5) / inner_width(block)  # of what is left the whole number counts
    return prune_within(narrow, rate, example, kept).eval()


def _empty(inputs: int, outputs: int, *, stride: int = 1, like: nn.Conv2d | None = None) -> nn.Conv2d:
    """A convolution of 1x1, or of another one's kernel, whose weights are 0."""
    conv = conv1x1(inputs, outputs, stride)
    if like is not None:
        conv = nn.Conv2d(inputs, outputs, like.kernel_size, like.stride, like.padding, bias=False)  # type: ignore[arg-type]
    nn.init.zeros_(conv.weight)
    return conv  # type: ignore[no-any-return]  # torchvision has no types


def _put_last(block: nn.Module, conv: nn.Conv2d) -> None:
    norm = nn.BatchNorm2d(conv.out_channels)
    if isinstance(block, InvertedResidual):
        block.conv[-2], block.conv[-1] = conv, norm
        return
    setattr(block, f"conv{_last_number(block)}", conv)
    setattr(block, f"bn{_last_number(block)}", norm)
