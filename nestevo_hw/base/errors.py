"""Errors a user can act on: each message says what is wrong, where, and what to do."""

import errno
from pathlib import Path


class NestEvoError(Exception):
    """A failure with one clear line for the user; the command line exits with 1."""


class ConfigError(NestEvoError):
    """A configuration value, option or name that cannot be used; the command line exits with 2."""


class InputError(NestEvoError):
    """A file or stream that is missing, corrupt or of the wrong shape."""


class MissingFileError(InputError):
    """A file or folder that is named and not there; the command line exits with 2, as for any name that is wrong."""


class LostFileError(MissingFileError):
    """A file that is not there, though it was written or looked at before."""


class OutputError(NestEvoError):
    """A result that cannot be written: no space, no permission, a folder in its place."""

    @classmethod
    def of(cls, path: Path, error: Exception) -> "OutputError":
        """What is said of a file or folder that the system, or a library, could not write."""
        reason = getattr(error, "strerror", None) or str(error)
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, None)  # of None nobody knows
        return cls(f"cannot write {path}: {reason}; {'free space or ' if full else ''}choose another place")


class MappingError(NestEvoError):
    """A model that cannot be placed on the crossbar as asked."""


class TaskError(NestEvoError):
    """A training or inference task that failed in its worker."""


class StoppedError(NestEvoError):
    """Work that was stopped from outside; the command line exits with 128 + the number of the signal, as shells do."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number
