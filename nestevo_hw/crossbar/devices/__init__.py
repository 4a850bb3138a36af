"""Named devices: what a crossbar's cells and converters do to weights, inputs and outputs; one file a device."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.crossbar.devices.hermes import HERMES
from nestevo_hw.crossbar.devices.ideal import IDEAL
from nestevo_hw.crossbar.devices.pcm import PCM
from nestevo_hw.crossbar.devices.preset import DAY_S, AdcRange, ConverterModel, DevicePreset, NoiseLaw
from nestevo_hw.crossbar.devices.reram_cmo import RERAM_CMO
from nestevo_hw.crossbar.devices.reram_wan import RERAM_WAN

__all__ = [
    "DAY_S", "PRESETS", "AdcRange", "ConverterModel", "DevicePreset", "NoiseLaw", "find_preset", "stored_preset",
    "with_adc_range",
]  # fmt: skip

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


def with_adc_range(preset: DevicePreset, adc_range: AdcRange | None) -> DevicePreset:
    """The preset with the range of its ADCs fixed or calibrated; None leaves it as it is.

    Raises:
        ConfigError: it is to be calibrated, but the preset has no converters.
    """
    if preset.converters is None and adc_range == "calibrated":
        raise ConfigError(f"device {preset.name} has no converters, so no ADC has a range to calibrate")
    if adc_range is None or preset.converters is None:
        return preset
    return replace(preset, converters=replace(preset.converters, adc_range=adc_range))


def stored_preset(document: Mapping[str, Any], *, own: DevicePreset | None, source: str) -> DevicePreset:
    """The preset that `DevicePreset.document` and JSON made this of.

    Args:
        document: as it was stored.
        own: preset whose noise law counts as known, beside those of `PRESETS`; nothing is imported by a stored name.
        source: where the document comes from, for the error.

    Raises:
        InputError: its noise law is not known.
        KeyError, TypeError: a field is missing or unknown.
    """
    fields = dict(document)
    known = (*PRESETS.values(), *(() if own is None else (own,)))
    laws = {preset.document()["noise_law"]: preset.noise_law for preset in known} | {None: None}
    if fields["noise_law"] not in laws:
        raise InputError(f"{source}: the noise law of device {fields['name']} does not ship; give the device itself")
    fields["noise_law"] = laws[fields["noise_law"]]
    if fields["converters"] is not None:
        fields["converters"] = ConverterModel(**fields["converters"])
    if fields["times_s"] is not None:
        fields["times_s"] = tuple(fields["times_s"])
    return DevicePreset(**fields)
