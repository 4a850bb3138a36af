"""The commented configurations that ship with the package."""

from importlib import resources

from nestevo_hw.base.errors import ConfigError

PRESETS = ("quick", "digits", "paper")


def preset_text(name: str) -> str:
    """The commented TOML of a preset.

    Raises:
        ConfigError: no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; choose from {', '.join(PRESETS)}")
    return (resources.files("nestevo_hw") / "data" / f"{name}.toml").read_text(encoding="utf-8")
