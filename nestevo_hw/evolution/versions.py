"""What a run computes with, by version, and how that differs from what computed another."""

import importlib.metadata
from collections.abc import Mapping
from functools import cache

DISTRIBUTIONS = ("nestevo-hw", "torch", "torchvision", "aihwkit", "onnxruntime", "numpy")


@cache
def versions() -> Mapping[str, str]:
    """Of all that figures depend on, as it is installed here."""
    return {name: importlib.metadata.version(name) for name in DISTRIBUTIONS}


def other_versions(there: Mapping[str, str]) -> str:
    """What a run names another version of, for people to read; "" where it names none."""
    here = versions()
    return ", ".join(
        f"{name} {version} (here {here[name]})" for name, version in there.items() if here.get(name, version) != version
    )
