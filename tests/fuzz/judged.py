"""Judges how a command took a bad input."""

import json
import re
import sys
from pathlib import Path

from bad_inputs import BAD_INPUTS, BadInput
from faults import place
from forked import MOST_BYTES, MOST_S, Ending, import_everything, run_forked

LONGEST_LINE = 1100
PROGRESS = ("loading libraries", "starting workers", "reading frames")
"""Lines that say where a command is, ahead of what it found wrong there."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def verdict(bad: BadInput, folder: Path) -> tuple[Ending, str]:
    """How the command ended in this folder, and what is wrong with that; "" where it is as it should be."""
    from nestevo_hw.cli import main

    ending = run_forked(lambda: main(list(bad.words), prog_name="nestevo-hw"), folder)
    return ending, _fault(bad, ending)


def _fault(bad: BadInput, ending: Ending) -> str:
    if ending.left:
        return f"accepted: left {', '.join(sorted(ending.left)[:3])}"
    if ending.took_s > MOST_S:
        return f"took {ending.took_s:.1f} s"
    if ending.grown_bytes > MOST_BYTES:
        return f"took {ending.grown_bytes / 1e6:.0f} MB"
    if "Traceback" in ending.error or ending.status not in (1, 2):
        return f"exit status {ending.status}" + (", a traceback" if "Traceback" in ending.error else "")
    return _fault_of_message(bad, ending.error)


def _fault_of_message(bad: BadInput, text: str) -> str:
    lines = [line for line in text.removesuffix("\n").split("\n") if not line.startswith(("Warning: ", *PROGRESS))]
    if len(lines) != 1 or not lines[0].startswith("Error: "):
        return f"not one line of error but {text[:200]!r}"
    if len(lines[0]) > LONGEST_LINE:
        return f"a message of {len(lines[0])} characters"
    if _CONTROL.search(lines[0]):
        return "control characters in the message"
    if not re.search(bad.says, lines[0]):
        return f"the message does not say {bad.says!r}: {lines[0]}"
    return ""


def main() -> None:
    """Judge the inputs named on standard input, each in the folder named behind it; one JSON text for each.

    A process of its own, with one thread, because one with several must not fork.
    """
    import_everything()
    named = {bad.name: bad for bad in BAD_INPUTS}
    for line in sys.stdin:
        name, folder = json.loads(line)
        place(Path(folder), named[name].files)
        ending, fault = verdict(named[name], Path(folder))
        told = {"fault": fault, "status": ending.status, "error": ending.error[-2000:]}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
