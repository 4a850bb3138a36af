"""Signal-to-noise ratio of what the crossbar computes: of each layer's weights and outputs, and of the whole model."""

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError, MappingError
from nestevo_hw.crossbar.geometry import Geometry
from nestevo_hw.crossbar.outputs import NOT_FINITE, raw_outputs
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.crossbar.watching import watch


def snr_db(relative_error: float | None) -> float | None:
    """Signal-to-noise ratio in decibels, -20 log10 of a relative RMS error; infinite without error, None of None."""
    if relative_error is None:
        return None
    return math.inf if relative_error == 0.0 else -20.0 * math.log10(relative_error)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSignal:
    """How well one layer computes on the crossbar."""

    name: str
    weight_error: float | None
    """RMS of (effective weight - target) / RMS of the target; None for a layer of zeros."""
    output_error: float | None
    """RMS of (analog output - digital output) / RMS of the digital output without its bias; None if the layer
    got no input but zeros."""

    @property
    def weight_snr_db(self) -> float | None:
        """Signal-to-noise ratio of the weights, decibels."""
        return snr_db(self.weight_error)

    @property
    def output_snr_db(self) -> float | None:
        """Signal-to-noise ratio of the outputs, decibels: weights, converters and noise together."""
        return snr_db(self.output_error)


class _Comparison:
    """Runs one analog layer on the inputs of its digital twin; keeps two sums, whatever the number of frames."""

    def __init__(self, digital: nn.Module, analog: nn.Module) -> None:
        self._analog, self._noise, self._signal = analog, 0.0, 0.0
        self._geometry, bias = Geometry.of(digital), getattr(digital, "bias", None)
        self._bias = self._geometry.column(bias) if isinstance(bias, Tensor) else None

    def add(self, layer_input: Tensor, output: Tensor) -> None:
        if output.numel() == 0:  # a detector without proposals
            return
        # Of a transposed convolution the size of the output is a choice of whoever calls it.
        size = (list(output.shape[-self._geometry.dims :]),) if self._geometry.transposed else ()
        self._noise += _power(self._analog(layer_input, *size) - output)
        self._signal += _power(output if self._bias is None else output - self._bias)

    @property
    def relative_error(self) -> float | None:
        return math.sqrt(self._noise / self._signal) if self._signal > 0.0 else None


def layer_signals(teacher: AnalogTeacher, batches: Iterable[Any]) -> dict[str, LayerSignal]:
    """Compare every analog layer with its digital twin on the twin's own inputs, at the teacher's present age.

    Errors of earlier layers do not reach a layer's input, so each figure is that layer's own.

    Args:
        teacher: calibrated and programmed; it is not changed, and its converter noise does not advance.
        batches: each is what `teacher.module(batch)` takes.

    Returns:
        By name, in the model's order.

    Raises:
        MappingError: nothing was programmed, no batch came, or a layer has no input range.
    """
    if not teacher.programmed:
        raise MappingError("nothing is programmed yet, so there is no noise to measure; call program() first")
    twin, names = teacher.digital_twin(), [entry.name for entry in teacher.report.analog]
    layers = {name: twin.get_submodule(name) for name in names}
    # Copies, so that the noise of the teacher's own layers stays where it is.
    copies = {name: copy.deepcopy(teacher.module.get_submodule(name)) for name in names}
    comparisons = {name: _Comparison(layers[name], copies[name]) for name in names}
    watch(twin, layers, batches, lambda name, x, y: comparisons[name].add(x, y), purpose="the signal-to-noise ratio")
    errors = teacher.weight_errors()
    return {
        name: LayerSignal(name=name, weight_error=errors[name], output_error=comparisons[name].relative_error)
        for name in names
    }


class OutputProbe:
    """How far a model's raw outputs are from the digital model's: a fine measure that needs no labels.

    A classifier's outputs are its class scores. A two-stage detector's are those of its region proposal network
    and of its box predictor, the latter on the digital model's proposals, so that both models judge the same
    regions; a one-stage detector's are those of its head.

    Args:
        digital: the digital model, in eval mode.
        batches: each is what `digital(batch)` takes; their outputs are kept.

    Raises:
        InputError: the model returns no tensors, the same for every input, or what is not finite.
    """

    def __init__(self, digital: nn.Module, batches: Sequence[Any]) -> None:
        self._batches = tuple(batches)
        self._proposals: list[Any] = [None] * len(self._batches)
        self._digital = [self._outputs(digital, i) for i in range(len(self._batches))]
        parts = [torch.cat(part, dim=1) for part in zip(*self._digital, strict=True)]
        self._signal = [_power(part - part.mean(dim=1, keepdim=True)) for part in parts]
        if not all(map(math.isfinite, self._signal)):
            raise InputError(NOT_FINITE)
        if not any(self._signal):
            raise InputError("the digital model gives the same output for every frame, so no error relates to it")

    def error(self, model: nn.Module) -> float:
        """Relative RMS error of the outputs.

        The noise power of each kind of output is divided by the digital outputs' variance over frames and
        places (a constant offset carries no information), and the quotients are averaged over the kinds.

        Args:
            model: of the same architecture, in eval mode.
        """
        noise = [0.0] * len(self._signal)
        for i, expected in enumerate(self._digital):
            for k, (mine, theirs) in enumerate(zip(expected, self._outputs(model, i), strict=True)):
                noise[k] += _power(theirs - mine)
        ratios = [n / s for n, s in zip(noise, self._signal, strict=True) if s > 0.0]
        return math.sqrt(sum(ratios) / len(ratios))

    @torch.no_grad()
    def _outputs(self, model: nn.Module, index: int) -> list[Tensor]:
        """Each kind of output of one batch as (channels, values)."""
        found = raw_outputs(model, self._batches[index], proposals=self._proposals[index])
        self._proposals[index] = found.proposals
        return found.kinds


def _power(values: Tensor) -> float:
    """Sum of squares, in double precision."""
    return float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2
