"""Ranges of numbers: what a configuration, an option or a file may say, checked where it is read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nestevo_hw.base.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `least` to `most`; NaN is in none.

    It is also the second part of an `Annotated[float, Range(0, 1)]`, which `base.documents` then holds a field to.
    Upper bounds lie far above all that makes sense: they keep a slip of the pen from filling the memory.
    """

    least: float
    most: float
    above: bool = False
    """Whether `least` itself is too little."""

    def __contains__(self, value: float) -> bool:
        return (self.least < value if self.above else self.least <= value) and value <= self.most

    def __str__(self) -> str:
        return (
            f"above {_text(self.least)} and up to {_text(self.most)}"
            if self.above
            else (f"from {_text(self.least)} to {_text(self.most)}")
        )

    def require(self, value: float, what: str) -> None:
        """Refuse a number out of this range.

        Args:
            value: to check.
            what: its name, with which the message begins.

        Raises:
            ConfigError: it lies outside.
        """
        if value not in self:
            raise ConfigError(f"{what}: need a number {self}, got {_text(value)}")

    def __get_pydantic_core_schema__(self, source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":  # noqa: ANN401 - any type
        """What pydantic reads a field with: texts and truth values are no numbers, and this range holds."""
        from pydantic_core import PydanticCustomError, core_schema

        def before(value: object) -> object:
            if isinstance(value, str | bool):
                raise PydanticCustomError("number", "Input should be a number {range}", {"range": str(self)})
            return value

        def after(value: float) -> float:
            if value not in self:
                raise PydanticCustomError("range", "Input should be a number {range}", {"range": str(self)})
            return value

        number = core_schema.no_info_after_validator_function(after, handler(source))
        return core_schema.no_info_before_validator_function(before, number)


SHARE = Range(0, 1)
POSITIVE = Range(0, 1e9, above=True)
NOT_NEGATIVE = Range(0, 1e9)
SEED = Range(-(2**63), 2**63 - 1)
MOST_WINDOWS = 10_000
"""More than a year of hourly windows."""
MOST_FRAMES = 10_000
"""Of one terminal and window, or of one benchmark: they are held in memory."""
FRAMES = Range(1, MOST_FRAMES)
WINDOW = Range(0, MOST_WINDOWS)
AGE_S = Range(0, 1e10)
"""Three centuries."""
STEPS = Range(1, 1_000_000)
LEARNING_RATE = Range(0, 10, above=True)
BATCH_SIZE = Range(1, 1024)
TRAINED_ON = Range(1, 100_000)
CLIP_DEVIATIONS = Range(0, 100)
DROP_CONNECT = Range(0, 0.9)
WIDTH = Range(1, 4096)
WEIGHT = Range(0, 1_000_000)
"""Of one loss beside others."""


def _text(value: float) -> str:
    """Whole numbers of usual size in full, the rest in six digits."""
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "a number of more than 20 digits"
    return f"{value:g}"
