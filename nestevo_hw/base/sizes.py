"""Sizes of frames as text."""

import re

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.ranges import Range

Size = tuple[int, int]
"""(H, W), pixels."""
SIDE = Range(1, 8192)
"""Of a frame, pixels."""


def parse_size(text: str) -> Size:
    """(H, W) from text such as "720x1280".

    Raises:
        ConfigError: it is not two positive numbers.
    """
    found = re.fullmatch(r" *([0-9]{1,9}) *x *([0-9]{1,9}) *", text.lower())
    if found is None or int(found[1]) not in SIDE or int(found[2]) not in SIDE:
        raise ConfigError(f"need a size as HEIGHTxWIDTH, such as 720x1280, each {SIDE}, got {text!r}")
    return int(found[1]), int(found[2])
