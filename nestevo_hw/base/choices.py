"""Configuration values that are names out of a table."""

from collections.abc import Iterable

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError


def one_of(names: Iterable[str]) -> AfterValidator:
    """Allow what a table holds, and say what that is: the second part of an `Annotated[str, ...]`."""
    allowed = tuple(names)

    def check(name: str) -> str:
        if name not in allowed:
            raise PydanticCustomError("choice", "Input should be one of {names}", {"names": ", ".join(allowed)})
        return name

    return AfterValidator(check)
