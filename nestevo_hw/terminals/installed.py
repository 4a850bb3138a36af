"""Models on a terminal: each in a folder of its own, one of them in force, changed in a single step.

`current` is a small file that names a version and is replaced by rename: a kill or a power cut leaves the old model in
force, or the new one, and never half of one.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nestevo_hw.base.documents import forbid_unknown_keys, plain, read_json, write_json
from nestevo_hw.base.errors import InputError, NestEvoError, OutputError
from nestevo_hw.models.onnx.manifest import MANIFEST, MODEL, read_manifest
from nestevo_hw.terminals.judging import agreement, judge
from nestevo_hw.terminals.runtime import Deployed, Frame
from nestevo_hw.wire.documents import Digest
from nestevo_hw.wire.signals import SURE

VERSIONS, CURRENT = "versions", "current.json"
COLLAPSED = 0.5
"""Of the old model's agreement with itself, below which a new one is not taken."""
LEAST_SHARED = 0.15
"""Of what the old model is sure of, that a new one has to find as well: one that sees the same everywhere agrees with
itself, too."""
MOST_FOUND = 20.0
"""Times what the old model reports, above which the new one sees what is not there."""
KEPT = 3
"""Versions on the disk: the one in force, and those that an update may build on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """What is in force."""

    version: Digest | None = None
    """Of its file, and the name of its folder; None before the first model."""
    before: Digest | None = None
    """What was in force before, to go back to."""
    refused: tuple[Digest, ...] = ()
    """Versions that were tried here and rolled back."""


forbid_unknown_keys(Current)


class RolledBackError(NestEvoError):
    """A model that does not do on this terminal; the one before stays in force."""


class Installed:
    """The models of one terminal; only one process may have it.

    Args:
        folder: of the terminal's state.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / VERSIONS
        self._current = folder / CURRENT

    @property
    def current(self) -> Current:
        """What is in force."""
        there = os.path.lexists(self._current)
        return read_json(self._current, Current, advice="delete it") if there else Current()

    def folder(self, version: str) -> Path:
        """Of a version, there or not."""
        return self._folder / version

    def content(self, version: str) -> bytes:
        """The file of a version that is there."""
        return (self.folder(version) / MODEL).read_bytes()

    def open(self) -> Deployed | None:
        """The model in force; one whose file is damaged, as after a power cut, is removed for the one before.

        A removed one is not refused: the server may offer it again.
        """
        while (version := (current := self.current).version) is not None:
            try:
                return Deployed(self.folder(version))
            except InputError:
                shutil.rmtree(self.folder(version), ignore_errors=True)
                self._write(Current(version=current.before, refused=current.refused))
        return None

    def put(self, version: str, model: bytes, manifest: bytes) -> None:
        """Write a version beside the others; nothing is in force by that.

        Raises:
            InputError: files and version do not fit.
            OutputError: they cannot be written.
        """
        folder = self.folder(version)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True)
            for name, content in ((MODEL, model), (MANIFEST, manifest)):
                with (folder / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise OutputError.of(folder, error) from error
        found = read_manifest(folder)
        if found.sha256.get(found.model) != version:
            raise InputError("the manifest is of another model; fetch it again")

    def switch(self, version: str) -> None:
        """Bring a version into force."""
        old = self.current
        if old.version != version:
            self._write(Current(version=version, before=old.version, refused=old.refused))
        self._tidy()

    def refuse(self, version: str) -> bool:
        """Remember that a version does not do here; where it is in force, the one before is from now on.

        Returns:
            Whether it is out of force; it stays where nothing else is there to run.
        """
        current = self.current
        if current.version == version:
            if current.before is None:
                return False
            current = Current(version=current.before, refused=current.refused)
        self._write(replace(current, refused=(*current.refused[-KEPT:], version)))
        shutil.rmtree(self.folder(version), ignore_errors=True)
        return True

    def refuses(self, version: str) -> bool:
        """Whether a version was tried here and does not do."""
        return version in self.current.refused

    def _write(self, current: Current) -> None:
        write_json(self._current, plain(current))
        directory = os.open(self._current.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _tidy(self) -> None:
        current = self.current
        kept = {current.version, current.before}
        others = sorted((p for p in self._folder.iterdir() if p.name not in kept), key=lambda p: p.stat().st_mtime)
        for old in others[: max(0, len(others) + len(kept) - KEPT)]:
            shutil.rmtree(old, ignore_errors=True)


def check_model(new: Deployed, old: Deployed | None, frames: Sequence[Frame]) -> None:
    """Try a new model on the terminal's own frames, before it is in force.

    Args:
        new: to try.
        old: in force; None before the first.
        frames: of this camera.

    Raises:
        RolledBackError: outputs are no numbers or lie outside the frame, or it does far worse than the old one by what
            can be seen without labels.
    """
    count = 0
    for frame in frames:
        try:
            found = new.reported(frame)
        except InputError as error:
            raise RolledBackError(str(error)) from error
        numbers = (*found.boxes.ravel().tolist(), *found.scores.tolist())
        sides = (frame.shape[1], frame.shape[0]) * 2
        if any(not -1.0 <= n <= max(sides) + 1.0 for n in numbers):  # of NaN this is true as well
            raise RolledBackError("its outputs are no numbers, or lie outside the frame")
        if any(str(label) not in new.manifest.classes for label in found.labels.tolist()):
            raise RolledBackError("it reports classes that its manifest does not know")
        count += len(found.labels)
    if old is None or not frames:
        return
    usual = sum(len(old.reported(frame).labels) for frame in frames)
    if count > MOST_FOUND * max(usual, len(frames)):
        raise RolledBackError(f"it reports {count} objects where the old model reports {usual}")
    before, after = judge(old, frames).agreement, judge(new, frames).agreement
    if after < COLLAPSED * before:
        raise RolledBackError(f"it agrees with itself by {after:.2f}, the old model by {before:.2f}")
    shared = agreement(new, [old.look(frame).above(SURE) for frame in frames], [new.look(frame) for frame in frames])
    if before > 0 and shared < LEAST_SHARED:
        raise RolledBackError(f"it finds {shared:.2f} of what the old model is sure of")
