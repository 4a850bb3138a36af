"""Configuration values that are names out of a table."""

from collections.abc import Iterable

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from nestevo_hw.base.compute import LISTED, is_compute_device
from nestevo_hw.base.names import is_own


def own_name() -> AfterValidator:
    """Allow `package.module:name`: the second part of an `Annotated[str, ...]`."""

    def check(name: str) -> str:
        if not is_own(name):
            raise PydanticCustomError("own_name", "Input should be package.module:name")
        return name

    return AfterValidator(check)


def one_of(names: Iterable[str], *, suffix: str | None = None, own: bool = False) -> AfterValidator:
    """Allow what a table holds, and say what that is: the second part of an `Annotated[str, ...]`.

    Args:
        names: of the table.
        suffix: names of files that end so are allowed too.
        own: what `is_own` takes for the name of something of the user's is allowed too.
    """
    allowed = tuple(names)
    listed = ", ".join(allowed) + ("" if suffix is None else f" or a {suffix} file")
    listed += " or package.module:name" if own else ""

    def check(name: str) -> str:
        if name not in allowed and not (suffix is not None and name.endswith(suffix)) and not (own and is_own(name)):
            raise PydanticCustomError("choice", "Input should be one of {names}", {"names": listed})
        return name

    return AfterValidator(check)


def compute_name() -> AfterValidator:
    """Allow names of compute devices: the second part of an `Annotated[str, ...]`."""

    def check(name: str) -> str:
        if not is_compute_device(name):
            raise PydanticCustomError("compute", "Input should be {names}", {"names": LISTED})
        return name

    return AfterValidator(check)
