"""Functions of the user's own by `package.module:function`; what goes wrong in them is told as theirs, in one line."""

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from nestevo_hw.base.errors import ConfigError


def call_named(name: str, **arguments: object) -> object:
    """What a function of the user's own returns.

    Args:
        name: `package.module:function`; modules beside the user are found.
        arguments: handed on.

    Raises:
        ConfigError: there is no such function, or it fails; with file and line where that is in the user's code.
    """
    module_name, _, attribute = name.partition(":")
    # As `python -m` does: modules beside the user are found, the console script alone would not see them.
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    function = _imported(module_name, attribute)
    try:
        return function(**arguments)
    except (Exception, SystemExit) as error:  # whatever somebody's code comes to is told as theirs
        where = _place_in(error, getattr(function, "__module__", module_name))
        if where is None:
            raise ConfigError(f"{name} could not be called: {error}") from error
        raise ConfigError(f"{name} failed in your code: {told(error)} ({where}); correct the function") from error


def told(error: BaseException) -> str:
    """Kind and text of somebody else's error."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _imported(module_name: str, attribute: str) -> Callable[..., object]:
    """The function of a module; whatever goes wrong is said to be the module's."""
    try:
        module = importlib.import_module(module_name)
        factory: Callable[..., object] = getattr(module, attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        if (where := _place_in(error, module_name)) is None:
            raise ConfigError(f"cannot import {attribute!r} from module {module_name!r}: {error}") from error
        raise ConfigError(f"module {module_name!r} cannot be imported: {told(error)} ({where}); correct it") from error
    except SyntaxError as error:
        where = f"{Path(error.filename or module_name).name}, line {error.lineno}"
        raise ConfigError(f"module {module_name!r} is not valid Python: {error.msg} ({where}); correct it") from error
    except (Exception, SystemExit) as error:
        where = _place_in(error, module_name) or module_name
        raise ConfigError(f"module {module_name!r} cannot be imported: {told(error)} ({where}); correct it") from error
    return factory


def _place_in(error: BaseException, module_name: str) -> str | None:
    """File and line where a module's own code last was when the error came up; None if it was not running."""
    frames = traceback.walk_tb(error.__traceback__)
    theirs = [(f.f_code.co_filename, line) for f, line in frames if f.f_globals.get("__name__") == module_name]
    return f"{Path(theirs[-1][0]).name}, line {theirs[-1][1]}" if theirs else None
