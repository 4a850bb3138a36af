"""Configurations as text: the commented ones that ship with the package, and files; nothing here imports torch."""

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import read_toml
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.text import pasteable
from nestevo_hw.crossbar.chips import CHIPS
from nestevo_hw.crossbar.devices import PRESETS as DEVICES
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.scheduler.policies import POLICIES
from nestevo_hw.streams.drift_kinds import DRIFT_KINDS
from nestevo_hw.tasks.names import TASKS

PRESETS = ("quick", "digits", "paper", "paper-embedded")
NAMES: Mapping[str, Iterable[str]] = {
    "devices": DEVICES,
    "chips": CHIPS,
    "policies": POLICIES,
    "methods": METHODS,
    "drift_kinds": DRIFT_KINDS,
    "tasks": TASKS,
}
"""What a comment of a preset may list, as {devices}; none of it imports torch."""


def preset_text(name: str) -> str:
    """The commented TOML of a preset.

    Raises:
        ConfigError: no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; choose from {', '.join(PRESETS)}")
    text = (resources.files("nestevo_hw") / "data" / f"{name}.toml").read_text(encoding="utf-8")
    for placeholder, names in NAMES.items():
        text = text.replace(f"{{{placeholder}}}", ", ".join(names))
    return text


_ELSEWHERE = {
    "axes": "is a grid ([[axes]]); run it by `nestevo-hw compare --grid {path}`",
    "conductance": "is of a device ([conductance]); give it to --analog, or as teacher.analog",
    "serve": "is of a server ([serve]); run or check it by `nestevo-hw serve {path}`",
}
"""By what tells it, where a file belongs that configures no run of this machine's."""


def run_document(path: Path) -> dict[str, Any]:
    """What the configuration file of a run says; its values are not checked.

    Raises:
        ConfigError: the file is missing, not TOML, or of something else.
    """
    document = config_document(path)
    for key, belongs in _ELSEWHERE.items():
        if key in document:
            raise ConfigError(f"{path} {belongs.format(path=pasteable(path))}")
    return document


def config_document(path: Path) -> dict[str, Any]:
    """What a configuration file says; its values are not checked.

    Raises:
        ConfigError: the file is missing or not TOML.
    """
    advice = "" if path.is_file() else f"write one with `nestevo-hw init {pasteable(path)}`"
    document: dict[str, Any] = read_toml(path, dict[str, Any], advice=advice, error=ConfigError)
    return document
