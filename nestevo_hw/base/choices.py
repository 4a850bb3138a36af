"""Configuration values that are names out of a table."""

from collections.abc import Iterable

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError


def one_of(names: Iterable[str], *, suffix: str | None = None) -> AfterValidator:
    """Allow what a table holds, and say what that is: the second part of an `Annotated[str, ...]`.

    Args:
        names: of the table.
        suffix: names of files that end so are allowed too.
    """
    allowed = tuple(names)
    listed = ", ".join(allowed) + ("" if suffix is None else f" or a {suffix} file")

    def check(name: str) -> str:
        if name not in allowed and not (suffix is not None and name.endswith(suffix)):
            raise PydanticCustomError("choice", "Input should be one of {names}", {"names": listed})
        return name

    return AfterValidator(check)
