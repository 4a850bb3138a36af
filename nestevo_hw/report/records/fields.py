"""Values of records as metrics.jsonl has them: null for what was not measured, and for the window before the first."""

import math
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from nestevo_hw.base.ranges import MOST_WINDOWS, Range


def _nan_if_missing(value: object) -> object:
    return math.nan if value is None else value


def _setup_if_missing(value: object) -> object:
    return SETUP if value is None else value


def _within(least: float, most: float) -> AfterValidator:
    """Hold what was measured to a range; NaN, which was not, passes."""

    def check(value: float) -> float:
        if value < least or value > most:
            limits = {"least": f"{least:g}", "most": f"{most:g}"}
            raise PydanticCustomError("range", "Input should be a number from {least} to {most}", limits)
        return value

    return AfterValidator(check)


SETUP = -1
"""Window of what happens before the first one; null in the file."""
MOST = 1e18
"""Above all that can be measured in bytes, seconds or joules."""
Window = Annotated[int, Range(SETUP, MOST_WINDOWS), BeforeValidator(_setup_if_missing)]
"""Number of an evolution window, from 0, or SETUP."""
Number = Annotated[float, Field(strict=True), _within(-MOST, MOST), BeforeValidator(_nan_if_missing)]
"""A float that is NaN where the file says null: not measured, or not defined."""
Score = Annotated[float, Field(strict=True), _within(0.0, 1.0), BeforeValidator(_nan_if_missing)]
"""The same of a score."""
