"""Which of the simulations of a crossbar computes a device."""

import os
from importlib.util import find_spec
from typing import Literal

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.devices import DevicePreset

Backend = Literal["auto", "fold", "fused", "triton", "reference"]
Chosen = Literal["fold", "fused", "triton", "reference"]
_CAPABILITY = (8, 0)
"""Least compute capability of a GPU for the kernel: NVIDIA's Ampere."""


def choose_backend(preset: DevicePreset, backend: Backend) -> tuple[Chosen, str]:
    """The backend to use and why; one for all layers, though fused computes those with perfect converters as fold does.

    The Triton kernel is used where it is asked for alone, as long as no GPU has run it.

    Args:
        preset: device.
        backend: wanted.

    Raises:
        ConfigError: unknown, or it cannot simulate the device, or one that single layers have, or it cannot run here.
    """
    chosen = [_backend_of(device, backend, alone=not preset.layers) for device in preset.everywhere]
    order = ("reference", "triton", "fused", "fold")
    name, why = min(chosen, key=lambda choice: order.index(choice[0]))
    if name == "reference" and backend == "auto":
        for device in preset.everywhere:
            _backend_of(device, name, alone=False)
    if name == "triton" and (obstacle := _kernel_obstacle()) is not None:
        raise ConfigError(f"backend triton cannot run here: {obstacle}; use fused")
    return name, why


def _kernel_obstacle() -> str | None:
    """Why the Triton kernel cannot run on this machine; None if it can, were it in Triton's interpreter."""
    if find_spec("triton") is None:
        return "triton is not installed"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return None
    import torch

    if not torch.cuda.is_available():
        return "torch finds no GPU"
    if torch.cuda.get_device_capability() < _CAPABILITY:
        return f"the GPU has a compute capability below {_CAPABILITY[0]}.{_CAPABILITY[1]}"
    return None


def _backend_of(preset: DevicePreset, backend: Backend, *, alone: bool) -> tuple[Chosen, str]:
    """The backend for one device; `alone` if all layers have it."""
    perfect = preset.converters is None
    # Overlapping patches of a convolution see independent input noise, so one quantised map cannot carry it.
    input_noise = preset.converters is not None and preset.converters.input_noise > 0
    # aihwkit's torch tile has none of these.
    io = preset.converters
    within = io is not None and (io.read_noise > 0 or io.ir_drop > 0 or io.adc_inl > 0 or io.column_calibration)
    if input_noise and within:
        raise ConfigError(
            "no backend simulates input noise together with read noise, IR drop, ADC non-linearity or calibrated "
            "columns; sweep them one at a time"
        )
    match backend:
        case "auto" if perfect:
            return "fold", "perfect input and output: only the weights carry errors"
        case "auto" if input_noise:
            return "reference", "input noise is drawn for every patch, which only aihwkit's tile does"
        case "auto":
            return "fused", "static input ranges: converters and noise as native operations"
        case "fold" if not perfect:
            raise ConfigError(
                f"backend fold ignores converters, but device {preset.name} has them; "
                "use fused, or ask for perfect input and output"
            )
        case "fused" | "triton" if perfect and alone:
            raise ConfigError(f"backend {backend} needs converters, but device {preset.name} has none; use fold")
        case "fused" | "triton" if input_noise:
            raise ConfigError(f"backend {backend} has no input noise, but device {preset.name} has; use reference")
        case "reference" if within:
            raise ConfigError(
                "backend reference has no read noise, IR drop, ADC non-linearity or calibrated columns, "
                f"but device {preset.name} has; use fused"
            )
        case "fold" | "fused" | "triton" | "reference":
            return backend, "as asked"
    raise ConfigError(f"unknown backend {backend!r}; choose from auto, fold, fused, triton, reference")
