"""Bit slicing: a weight as an integer whose digits lie in cells of their own."""

import torch
from torch import Tensor

from nestevo_hw.crossbar.devices import DevicePreset


def factors(preset: DevicePreset) -> list[float]:
    """Weight of each digit, least significant first; [1.0] without bit slicing.

    In units of the largest weight of the column, for a cell at its largest conductance.
    """
    if not preset.weight_bits:
        return [1.0]
    steps = (1 << (preset.weight_bits - 1)) - 1
    return [(1 << preset.cell_bits * k) * most / steps for k, most in enumerate(_largest(preset))]


def cut_(columns: Tensor, preset: DevicePreset) -> None:
    """Put the digits of weights into columns of their own, each with the weight's sign and in units of its largest.

    Args:
        columns: (digits * outputs, inputs); the first `outputs` hold weights of -1 to 1 and are overwritten too.
        preset: with bit slicing.
    """
    outputs, base = len(columns) // preset.digits, 1 << preset.cell_bits
    whole = columns[:outputs].clone()
    rest = (whole.abs() * ((1 << (preset.weight_bits - 1)) - 1)).round().to(torch.int32)
    for digit, most in zip(columns.split(outputs), _largest(preset), strict=True):
        digit.copy_(torch.copysign((rest % base).to(whole) / most, whole))
        rest = rest // base


def _largest(preset: DevicePreset) -> list[int]:
    """Largest value of each digit; that of the top one is smaller where the bits do not come out even."""
    magnitude, cell = preset.weight_bits - 1, preset.cell_bits
    return [(1 << min(cell, magnitude - cell * k)) - 1 for k in range(preset.digits)]
