"""Code of the user's own, named as `package.module:name`: whatever goes wrong in it is told as theirs, in one line."""

import importlib
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nestevo_hw.base.errors import ConfigError

_PACKAGE = Path(__file__).parents[1]
FAULTS: tuple[type[BaseException], ...] = (Exception, SystemExit)
"""What somebody's code may come to; Ctrl-C is not theirs."""


def imported(module_name: str, attribute: str) -> Any:  # noqa: ANN401 - whatever the module holds
    """What a module holds under a name. Modules in the current folder are found, as with `python -m`.

    Raises:
        ConfigError: no such module or name, or the module fails; it says in which line.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except SyntaxError as error:
        where = f"{Path(error.filename or module_name).name}, line {error.lineno}"
        raise ConfigError(f"module {module_name!r} is not valid Python: {error.msg} ({where}); correct it") from error
    except FAULTS as error:
        theirs = _place_in(error, module_name)
        if theirs is None and isinstance(error, (ImportError, AttributeError, ValueError, TypeError)):
            raise ConfigError(f"cannot import {attribute!r} from module {module_name!r}: {error}") from error
        where = theirs or module_name
        raise ConfigError(f"module {module_name!r} cannot be imported: {told(error)} ({where}); correct it") from error


def called(function: Callable[..., Any], name: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as it returns
    """What somebody's function returns.

    Args:
        function: to call.
        name: of it, `package.module:name`.
        arguments: by keyword.

    Raises:
        ConfigError: it cannot be called so, or fails; it says in which line.
    """
    try:
        return function(**arguments)
    except FAULTS as error:  # whatever somebody's code comes to is told as theirs
        where = _place_in(error, getattr(function, "__module__", "") or name.partition(":")[0])
        if where is None:
            raise ConfigError(f"{name} could not be called: {error}") from error
        raise ConfigError(f"{name} failed in your code: {told(error)} ({where}); correct the function") from error


def call_named(name: str, **arguments: object) -> Any:  # noqa: ANN401 - as it returns
    """What the function `package.module:function` returns; raises as `imported` and `called` do."""
    return called(imported(*name.split(":", 1)), name, arguments)


def place_outside(error: BaseException) -> str | None:
    """File and line where code that is neither this package's nor a library's last was when an error came up."""
    known = (str(_PACKAGE), sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    places = [(f.f_code.co_filename, line) for f, line in traceback.walk_tb(error.__traceback__)]
    theirs = [(file, line) for file, line in places if not file.startswith((*known, "<"))]
    return f"{Path(theirs[-1][0]).name}, line {theirs[-1][1]}" if theirs else None


def told(error: BaseException) -> str:
    """Kind and text of somebody else's error."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _place_in(error: BaseException, module_name: str) -> str | None:
    """File and line where a module's own code last was when the error came up; None if it was not running."""
    frames = traceback.walk_tb(error.__traceback__)
    theirs = [(f.f_code.co_filename, line) for f, line in frames if f.f_globals.get("__name__") == module_name]
    return f"{Path(theirs[-1][0]).name}, line {theirs[-1][1]}" if theirs else None
