"""Text from outside on its way to people: shown as it is, without any power over where it is shown."""

import re
import shlex
from pathlib import Path

_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters, line separators, changes of direction, and what is not text at all."""
_INVISIBLE_IN_LINES = re.compile(_INVISIBLE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
LONGEST_LINE = 500


def visible(text: str, *, lines: bool = False) -> str:
    r"""Text with its control characters written out, "\x1b" for an escape, so that nothing obeys them.

    Args:
        text: of anybody.
        lines: leave line breaks and tabs, for a whole document.
    """
    pattern = _INVISIBLE_IN_LINES if lines else _INVISIBLE
    return pattern.sub(lambda found: ascii(found.group())[1:-1], text)


def one_line(text: str) -> str:
    """Text as a single visible line that a person will read; the middle of a very long one is left out."""
    line = visible(" ".join(text.split()))
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE * 2 // 3]} ... {line[-LONGEST_LINE // 4 :]}"
    return line


def pasteable(path: Path) -> str:
    """A path as a word of a command line that somebody may paste into a shell."""
    return shlex.quote(str(path))
