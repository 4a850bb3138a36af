"""Libraries that only some commands need, and that are installed on demand."""

from importlib.util import find_spec

from nestevo_hw.base.errors import ConfigError


def require_extra(extra: str, *modules: str) -> None:
    """Refuse to go on without the libraries of an extra.

    Args:
        extra: of `pip install nestevo-hw[extra]`.
        modules: that it brings.

    Raises:
        ConfigError: one is not installed.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{missing[0]} is not installed; pip install 'nestevo-hw[{extra}]'")
