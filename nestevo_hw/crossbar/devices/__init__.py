"""Named devices: what a crossbar's cells and converters do to weights, inputs and outputs; one file a device."""

from dataclasses import replace

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.devices.hermes import HERMES
from nestevo_hw.crossbar.devices.ideal import IDEAL
from nestevo_hw.crossbar.devices.pcm import PCM
from nestevo_hw.crossbar.devices.preset import DAY_S, ConverterModel, DevicePreset, NoiseLaw
from nestevo_hw.crossbar.devices.reram_cmo import RERAM_CMO
from nestevo_hw.crossbar.devices.reram_wan import RERAM_WAN

__all__ = ["DAY_S", "PRESETS", "ConverterModel", "DevicePreset", "NoiseLaw", "find_preset"]

PRESETS: dict[str, DevicePreset] = {preset.name: preset for preset in (IDEAL, PCM, HERMES, RERAM_CMO, RERAM_WAN)}
"""Every device by name. Light: neither torch nor aihwkit is imported."""


def find_preset(device: str | DevicePreset, *, perfect_io: bool = False) -> DevicePreset:
    """A preset by name; a preset passes through.

    Args:
        device: a key of `PRESETS`, or a preset of your own.
        perfect_io: drop the converters, so that only the weights carry errors.

    Raises:
        ConfigError: no preset has this name.
    """
    if isinstance(device, str):
        if device not in PRESETS:
            raise ConfigError(f"unknown device {device!r}; choose from {', '.join(PRESETS)}")
        device = PRESETS[device]
    return replace(device, converters=None) if perfect_io else device
