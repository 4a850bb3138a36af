"""Input ranges that a model has learned for the crossbar: in the header of its file, and with the model in memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from nestevo_hw.base.documents import json_line, parse_json
from nestevo_hw.base.ranges import POSITIVE

ENTRY = "input_ranges"
"""Of the header of a safetensors file."""
_ATTRIBUTE = "learned_input_ranges"


def ranges_entry(ranges: Mapping[str, float]) -> dict[str, str]:
    """What stands in a file's header: by layer, the magnitude of input at which its DAC clips; nothing of none."""
    return {ENTRY: json_line(dict(ranges))} if ranges else {}


def give_ranges(model: object, header: Mapping[str, str], path: Path) -> None:
    """Have a model, and copies of it, know the ranges that stand in the header of its file.

    Raises:
        InputError: the entry is damaged.
    """
    if ENTRY in header:
        kind = dict[str, Annotated[float, POSITIVE]]
        advice = "harden the model again, or take this entry out of the file"
        setattr(model, _ATTRIBUTE, parse_json(header[ENTRY], kind, f"{path}: {ENTRY}", advice=advice))


def learned_ranges(model: object) -> dict[str, float]:
    """By layer, the ranges that `give_ranges` gave; none of any other model."""
    found: dict[str, float] = getattr(model, _ATTRIBUTE, {})
    return found
