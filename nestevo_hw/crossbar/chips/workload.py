"""What one frame asks of every layer: matrix-vector products and multiply-accumulates, counted without computing."""

import functools
import logging
import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.conv import _ConvNd
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from nestevo_hw.base.errors import ConfigError, MappingError
from nestevo_hw.base.flops import flop_counter
from nestevo_hw.base.sizes import Size
from nestevo_hw.crossbar.geometry import Geometry
from nestevo_hw.crossbar.opening import opened
from nestevo_hw.crossbar.opening.module import evaluating


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWork:
    """One layer in one frame."""

    rows: int
    """Inputs of the layer's matrix, of one group."""
    columns: int
    """Outputs of the layer's matrix, of one group."""
    products: int
    """Matrix-vector products: output positions of a convolution, input positions of a transposed one, rows of a linear
    layer's input."""
    macs: int
    """Multiply-accumulates."""
    groups: int = 1
    """Matrices on the diagonal: of a grouped convolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One frame through a model."""

    size: Size
    """Frame as the camera delivers it."""
    network_size: Size
    """Frame as the network sees it, after the detector's resizing and padding."""
    regions: int
    """Proposals that pass through the box head; 0 for models without one."""
    layers: dict[str, LayerWork]
    """By module name (the first one of a shared layer), in order of the first call."""
    other_macs: int
    """Multiply-accumulates outside convolutions and linear layers, such as attention."""
    not_counted: str
    """What a frame needs beside multiply-accumulates."""
    side_macs: int = 0
    """Multiply-accumulates of digital side paths beside layers."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a frame."""
        return sum(layer.macs for layer in self.layers.values()) + self.side_macs + self.other_macs

    def with_side_paths(self, names: Collection[str], rank: int) -> "Workload":
        """The same frame where B A x is added to each layer of these names, digitally; A has `rank` rows.

        A rank is at most the smaller side of its layer's matrix.
        """
        beside = (work for name, work in self.layers.items() if name in names)
        macs = sum(one.products * min(rank, one.rows, one.columns) * (one.rows + one.columns) for one in beside)
        return replace(self, side_macs=macs)


def count_workload(model: nn.Module, size: Size | None = None, *, inputs: Tensor | None = None) -> Workload:
    """Count the work of one frame; shapes are propagated, nothing is multiplied.

    Detectors of torchvision are counted part by part, with as many proposals as they keep at test time.

    Args:
        model: any module; it is left as it was. Attention and recurrent modules count as the layers that they are
            opened into (`crossbar.opening.opened`).
        size: (H, W) of the frame, pixels. Three channels are assumed.
        inputs: one input of the module instead, batch dimension included, for models that take no frame.

    Raises:
        ConfigError: neither or both of `size` and `inputs`.
        MappingError: the model does not accept such a frame.
    """
    if (size is None) == (inputs is None):
        raise ConfigError("give either the size of a frame or an input of the model")
    if inputs is None:
        inputs = torch.zeros(1, 3, *(size or ()))
    model = opened(model)
    work: dict[str, LayerWork] = {}
    with _countable(model), _counting(model, work), _quietly():
        try:
            network, regions, operations = _run(model, inputs, work)
        except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            shape = tuple(inputs.shape)
            raise MappingError(
                f"the model does not take an input of shape {shape}: {reason}; give its --size, or --data"
            ) from error
    return Workload(
        size=size or _size(inputs),
        network_size=network,
        regions=regions,
        layers=work,
        other_macs=max(operations // 2 - sum(layer.macs for layer in work.values()), 0),
        not_counted=_NOT_COUNTED + (_NOT_COUNTED_DETECTOR if regions else ""),
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep torch from logging the traceback of an error that is told in one line."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


_NOT_COUNTED = "activations, normalisation, pooling and additions between layers"
_NOT_COUNTED_DETECTOR = ", RoI pooling, proposal filter and NMS"


def _run(model: nn.Module, inputs: Tensor, work: dict[str, LayerWork]) -> tuple[Size, int, int]:
    """Size that the network sees, proposals, and operations by torch's own counter."""
    if not isinstance(getattr(model, "transform", None), GeneralizedRCNNTransform):
        return _size(inputs), 0, _operations(model, model, inputs, work)
    # The resizing rule rounds in its own way and reads values, so the real one runs, on an empty frame.
    with torch.no_grad():
        images = model.get_submodule("transform")([inputs[0]])[0].tensors
    regions = int(getattr(model, "rpn").post_nms_top_n()) if hasattr(model, "rpn") else 0  # noqa: B009 - for mypy
    return _size(images), regions, _operations(model, lambda x: _detect(model, x, regions), images, work)


def _detect(model: Any, images: Tensor, regions: int) -> None:  # noqa: ANN401 - one of torchvision's detectors
    """The parts of a detector that have weights, called as its forward calls them."""
    features = model.backbone(images)
    levels = [features] if isinstance(features, Tensor) else list(features.values())
    if not regions:
        model.head(levels)
        return
    heads, channels = model.roi_heads, levels[0].shape[1]
    model.rpn.head(levels)
    heads.box_predictor(heads.box_head(images.new_zeros(regions, channels, *heads.box_roi_pool.output_size)))
    for kind in ("mask", "keypoint"):
        if getattr(heads, f"{kind}_roi_pool", None) is not None:
            bins = getattr(heads, f"{kind}_roi_pool").output_size
            pooled = images.new_zeros(heads.detections_per_img, channels, *bins)
            getattr(heads, f"{kind}_predictor")(getattr(heads, f"{kind}_head")(pooled))


def _operations(model: nn.Module, call: Callable[[Tensor], object], inputs: Tensor, work: dict[str, LayerWork]) -> int:
    """Operations of a call by torch's own counter, on shapes alone where the model allows it."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with torch.no_grad(), flop_counter() as counter:
        if device.type == "meta":
            call(inputs.to(device))
            return int(counter.get_total_flops())
        try:
            with FakeTensorMode(allow_non_fake_inputs=True):
                call(torch.zeros(inputs.shape, dtype=inputs.dtype, device=device))
            return int(counter.get_total_flops())
        except (DynamicOutputShapeException, DataDependentOutputException, UnsupportedOperatorException):
            work.clear()  # its path depends on values, so there is no way round computing them
    with torch.no_grad(), flop_counter() as counter:
        call(inputs.to(device))
    return int(counter.get_total_flops())


@contextmanager
def _countable(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and countable attention inside, and everything as it was afterwards."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # fused attention kernels escape torch's counter
    try:
        with evaluating(model), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _counting(model: nn.Module, work: dict[str, LayerWork]) -> Iterator[None]:
    """Add every call of a convolution or linear layer to `work`."""

    def count(name: str, module: nn.Module, received: tuple[Tensor, ...], returned: Tensor) -> None:
        geometry = Geometry.of(module)
        taken = received[0] if geometry.transposed else returned
        before = work[name].products if name in work else 0
        total = before + taken.numel() // taken.shape[geometry.channels]
        rows, columns = geometry.group
        macs = total * math.prod(geometry.shape)
        work[name] = LayerWork(rows=rows, columns=columns, products=total, macs=macs, groups=geometry.groups)

    hooks = [
        module.register_forward_hook(functools.partial(count, name))
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, _ConvNd))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _size(images: Tensor) -> Size:
    """(H, W) of a batch of frames; a vector is one line."""
    return (int(images.shape[-2]) if images.ndim > 2 else 1), int(images.shape[-1])
