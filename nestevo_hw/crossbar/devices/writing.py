"""Device files from devices: the inverse of `devices.file`, and the commented example."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from importlib import resources
from typing import Any

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.chips import CHIPS
from nestevo_hw.crossbar.devices import PRESETS, DevicePreset, MeasuredLaw, ModelLaw, relaxation_of

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def example_text() -> str:
    """The commented device file that ships: phase-change memory by its published statistics."""
    text = (resources.files("nestevo_hw") / "data" / "device.toml").read_text(encoding="utf-8")
    return text.replace("{devices}", ", ".join(PRESETS)).replace("{chips}", ", ".join(CHIPS))


def device_file(preset: DevicePreset, comments: Iterable[str] = ()) -> str:
    """The TOML of a device.

    Args:
        preset: its noise law must be data: measured statistics, or a class with arguments.
        comments: lines for the top of the file.

    Raises:
        ConfigError: its noise law is a function, which no file can hold.
    """
    document = _document(preset)
    plain = {key: value for key, value in document.items() if not isinstance(value, dict | list)}
    lines = [f"# {line}" if line else "" for line in comments]
    lines += [f"{key} = {_value(value)}" for key, value in plain.items()]
    for key, value in document.items():
        for table in value if isinstance(value, list) else [value] if isinstance(value, dict) else []:
            lines += ["", f"[[{key}]]" if isinstance(value, list) else f"[{key}]"]
            lines += [f"{_key(name)} = {_value(entry)}" for name, entry in table.items()]
    return "\n".join(lines) + "\n"


def _document(preset: DevicePreset) -> dict[str, Any]:
    """The device in the sections and keys of a file, without what is as it would be anyway."""
    law = preset.noise_law
    found: dict[str, Any] = {
        "title": preset.title, "source": preset.source, "leaves_out": preset.leaves_out, "chip": preset.chip,
        "drift_compensation": preset.drift_compensation, "reference_column": preset.reference_column,
        "conductance": _given(
            g_max_us=preset.g_max_us, g_min_us=preset.g_min_us, characterised_us=preset.characterised_us
        ),
    }  # fmt: skip
    if isinstance(law, ModelLaw):
        found |= {"model": law.model, "model_arguments": law.arguments}
        found["relaxation"] = preset.relaxation if preset.relaxation != relaxation_of(law) else None
    elif isinstance(law, MeasuredLaw):
        found |= {f.name: _plain(getattr(law, f.name)) for f in fields(law)}
    elif law is not None:
        raise ConfigError(f"the noise law of device {preset.name} is a function, which no file can hold")
    found |= {
        "cells": _given(pairs=preset.pairs, weight_bits=preset.weight_bits, cell_bits=preset.cell_bits),
        "stuck": _given(at_g_min=preset.stuck_off, at_g_max=preset.stuck_on, random=preset.stuck_random),
        "converters": _plain(preset.converters),
        "layers": [_rule(rule, preset) for rule in preset.layers],
    }
    if not (isinstance(law, MeasuredLaw) and law.retention):
        found["times"] = _given(only_s=preset.times_s, earliest_s=preset.earliest_s, latest_s=preset.latest_s)
    return {key: value for key, value in found.items() if value or isinstance(value, bool)}


def _rule(rule: Any, preset: DevicePreset) -> dict[str, Any]:  # noqa: ANN401 - a LayerRule
    device = "digital" if rule.digital else None if rule.device is None else rule.device.name
    if rule.device is not None and PRESETS.get(rule.device.name) != rule.device:
        raise ConfigError(
            f"device {preset.name}: layers {rule.pattern!r} have a device of their own, not a shipped one"
        )
    document: dict[str, Any] = _plain(rule)
    return {key: value for key, value in (document | {"device": device}).items() if value not in (None, False)}


def _given(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    """What differs from the default of its key: 0, one pair, nothing."""
    usual = {"pairs": 1}
    return {key: value for key, value in values.items() if value is not None and value != usual.get(key, 0)}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any field
    """Dataclasses as tables without what is not given."""
    if is_dataclass(value) and not isinstance(value, type):
        entries = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        return {key: entry for key, entry in entries.items() if entry is not None}
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


def _value(value: Any) -> str:  # noqa: ANN401 - any TOML value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)
