"""Memory of a benchmark: every score as it is found, so that an interrupted one can go on."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.files import write_text
from nestevo_hw.studies.noise.bench import Scores
from nestevo_hw.studies.noise.plan import Cell

JOURNAL = "journal.jsonl"
RESULTS = "results.json"


class ScoreJournal:
    """Scores by cell, each on a line of its own, behind a first line that says what they belong to.

    Args:
        folder: of the benchmark.
        identity: all that its scores depend on.
        resume: go on with what is there.

    Raises:
        ConfigError: the folder holds scores of another configuration, or an unfinished benchmark that is not
            to be resumed, or nothing to resume.
        InputError: the journal is damaged.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self._path = folder / JOURNAL
        self.scores: dict[Cell, Scores] = {}
        header = json.dumps({"identity": identity}) + "\n"
        identity = json.loads(header)["identity"]  # as it reads back: tuples are lists
        if not self._path.is_file():
            if resume:
                raise ConfigError(f"{folder} holds no benchmark to resume; leave --resume out")
            write_text(self._path, header)
            return
        lines = self._whole_lines()
        _check_identity(lines[0].get("identity", {}) if lines else identity, identity, folder)
        if resume and lines:
            self.scores = dict(_entry(line, self._path) for line in lines[1:])
        elif not resume and len(lines) > 1 and not (folder / RESULTS).is_file():
            raise ConfigError(f"{folder} holds an unfinished benchmark; add --resume to go on, or choose another --out")
        else:
            (folder / RESULTS).unlink(missing_ok=True)
            write_text(self._path, header)

    def keep(self, cell: Cell, scores: Scores) -> None:
        """Remember the scores of a cell, at once and for good."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asdict(cell), "scores": scores}) + "\n")
        self.scores[cell] = scores

    def _whole_lines(self) -> list[dict[str, Any]]:
        """Lines that were written to their end; a torn last one is cut off the file."""
        data = self._path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            with self._path.open("r+b") as file:
                file.truncate(end)
        lines = []
        for number, line in enumerate(data[:end].splitlines(), start=1):
            try:
                lines.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise InputError(
                    f"{self._path}, line {number} is damaged ({error}); delete it to start anew"
                ) from error
        return lines


def _entry(line: Mapping[str, Any], path: Path) -> tuple[Cell, Scores]:
    try:
        cell = Cell(sweep=line["sweep"], value=line["value"], repeat=line["repeat"], training=line["training"])
        return cell, line["scores"]
    except KeyError as error:
        raise InputError(f"{path} has a line without {error}; delete the file to start anew") from error


def _check_identity(there: Mapping[str, Any], here: Mapping[str, Any], folder: Path) -> None:
    old, new = _flat(there), _flat(here)
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            raise ConfigError(
                f"{folder} holds a benchmark of another configuration ({key} is {old.get(key)} there and "
                f"{new.get(key)} here); choose another --out"
            )


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
