"""Named devices: what a crossbar's cells and converters do to weights, inputs and outputs; one file a device."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.crossbar.devices.hermes import HERMES
from nestevo_hw.crossbar.devices.ideal import IDEAL
from nestevo_hw.crossbar.devices.law import MeasuredLaw, ModelLaw
from nestevo_hw.crossbar.devices.pcm import PCM
from nestevo_hw.crossbar.devices.preset import (
    DAY_S,
    AdcRange,
    ConverterModel,
    DevicePreset,
    LayerRule,
    NoiseLaw,
    Relaxation,
)
from nestevo_hw.crossbar.devices.reram_cmo import RERAM_CMO
from nestevo_hw.crossbar.devices.reram_wan import RERAM_WAN

__all__ = [
    "DAY_S", "DIGITAL", "PRESETS", "AdcRange", "ConverterModel", "DevicePreset", "LayerRule", "MeasuredLaw", "ModelLaw",
    "NoiseLaw", "device_text", "find_preset", "is_file", "relaxation_of", "stored_preset",
]  # fmt: skip

PRESETS: dict[str, DevicePreset] = {preset.name: preset for preset in (IDEAL, PCM, HERMES, RERAM_CMO, RERAM_WAN)}
"""Every device by name. Light: neither torch nor aihwkit is imported."""
DIGITAL = "digital"
"""Name of no device: what has it stays off the crossbar."""


def is_file(device: str) -> bool:
    """Whether a device is named by its file, which ends in .toml."""
    return device.endswith(".toml")


def device_text(device: str) -> str | None:
    """Content of the file that names a device, to be kept; None for a shipped one.

    Raises:
        ConfigError: the file cannot be read.
    """
    if not is_file(device):
        return None
    from nestevo_hw.base.files import read_text

    return read_text(Path(device), error=ConfigError)


def find_preset(device: str | DevicePreset, *, perfect_io: bool = False, text: str | None = None) -> DevicePreset:
    """A preset by name or from a file; a preset passes through.

    Args:
        device: a key of `PRESETS`, the path of a TOML file (docs/devices.md), or a preset of your own.
        perfect_io: drop the converters, so that only the weights carry errors.
        text: content of that file, where it was kept; the file itself is not read then.

    Raises:
        ConfigError: no preset has this name, or what is wrong with the file.
    """
    if isinstance(device, str) and is_file(device):
        from nestevo_hw.crossbar.devices.file import load_device

        device = load_device(device, text)
    if isinstance(device, str):
        if device not in PRESETS:
            raise ConfigError(
                f"unknown device {device!r}; choose from {', '.join(PRESETS)} or give a .toml file of your own"
            )
        device = PRESETS[device]
    return device.perfect_io() if perfect_io else device


def relaxation_of(law: NoiseLaw | None) -> Relaxation:
    """How cells with this law relax, by the class of its noise model; none for one that does not ship."""
    if not isinstance(law, ModelLaw):
        return "none"
    same = (p for p in PRESETS.values() if isinstance(p.noise_law, ModelLaw) and p.noise_law.model == law.model)
    return next((preset.relaxation for preset in same), "none")


def stored_preset(document: Mapping[str, Any], *, own: DevicePreset | None, source: str) -> DevicePreset:
    """The preset that `DevicePreset.document` and JSON made this of.

    Args:
        document: as it was stored.
        own: preset whose noise laws count as known, beside those of `PRESETS`; nothing is imported by a stored name.
        source: where the document comes from, for the error.

    Raises:
        InputError: its noise law is not known, or a field holds something else than it should.
        KeyError, TypeError: a field is missing or unknown.
    """
    known = (*PRESETS.values(), *(() if own is None else own.everywhere))
    found = _stored_fields(document, DevicePreset, source, but=("noise_law", "layers"))
    found["noise_law"] = _stored_law(document, known, source)
    found["layers"] = tuple(_stored_rule(rule, own, source) for rule in document["layers"])
    return DevicePreset(**found)


def _stored_fields(document: Mapping[str, Any], kind: type, source: str, *, but: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a dataclass as their types say, those of `but` as they were stored."""
    from nestevo_hw.base.documents import forbid_unknown_keys, parse

    forbid_unknown_keys(ConverterModel)
    kinds = get_type_hints(kind)
    return {
        name: value if name in but or name not in kinds else parse(value, kinds[name], f"{source}: {name}")
        for name, value in document.items()
    }


def _stored_law(fields: Mapping[str, Any], known: tuple[DevicePreset, ...], source: str) -> NoiseLaw | None:
    """Measured statistics are in the document; any other law must be known already."""
    stored = fields["noise_law"]
    if isinstance(stored, Mapping) and "model" not in stored:
        from nestevo_hw.base.documents import parse

        return parse(stored, MeasuredLaw, f"{source}: noise_law")
    for preset in known:
        if preset.document()["noise_law"] == stored:
            return preset.noise_law
    if stored is None:
        return None
    raise InputError(f"{source}: the noise law of device {fields['name']} does not ship; give the device itself")


def _stored_rule(document: Mapping[str, Any], own: DevicePreset | None, source: str) -> LayerRule:
    found = _stored_fields(document, LayerRule, source, but=("device",))
    if found["device"] is not None:
        found["device"] = stored_preset(found["device"], own=own, source=source)
    return LayerRule(**found)
