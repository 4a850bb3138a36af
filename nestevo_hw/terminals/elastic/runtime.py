"""A path as it runs: one ONNX session for each branch, opened when it is first needed."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.elastic.parts import block_file, check_digest
from nestevo_hw.models.elastic.space import Branch, BranchPath, PathSpace

Feature = NDArray[np.float32]
"""(N, C, H, W)."""


def file_of(folder: Path, branch: Branch) -> Path:
    """Where the model of a branch lies: one input, one output."""
    return folder / block_file(branch)


class BranchSessions:
    """Sessions of branches, by branch.

    Args:
        folder: with a file for each branch.
        digests: SHA-256 of each, by name; None: nobody has said.
        most: sessions to keep open; those that were used longest ago are closed first, never ones in use. None: all.
    """

    def __init__(self, folder: Path, most: int | None = None, *, digests: Mapping[str, str] | None = None) -> None:
        self._folder, self._most, self._digests = folder, most, digests
        self._open: OrderedDict[Branch, Any] = OrderedDict()

    def require(self, branches: Iterable[Branch]) -> tuple[Branch, ...]:
        """Have the sessions of some branches open, at once.

        Returns:
            Those that had to be loaded.

        Raises:
            InputError: a file is missing or damaged; what was open stays so.
        """
        wanted = list(branches)
        loaded = {branch: self._load(branch) for branch in wanted if branch not in self._open}
        self._open |= loaded
        for branch in wanted:
            self._open.move_to_end(branch)
        while self._most is not None and len(self._open) > max(self._most, len(wanted)):
            self._open.popitem(last=False)
        return tuple(loaded)

    def run(self, branch: Branch, feature: Feature) -> Feature:
        """One branch on what came out of the last one.

        Raises:
            InputError: it fails on it.
        """
        session = self._open[branch]
        try:
            (output,) = session.run(None, {session.get_inputs()[0].name: feature})
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise InputError(f"{file_of(self._folder, branch)} fails on {feature.shape}: {error}") from error
        result: Feature = output
        return result

    def _load(self, branch: Branch) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
        file = file_of(self._folder, branch)
        if self._digests is not None:
            check_digest(file, self._digests.get(file.name))
        return open_model(file)


def open_model(file: Path) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """A session of ONNX Runtime on one thread.

    Raises:
        InputError: the file is missing or damaged.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
        raise InputError(f"{file}: ONNX Runtime cannot open it; fetch the supernet again") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Changeover:
    """What going over to another path came to."""

    loaded: tuple[Branch, ...]
    """Branches whose files had to be read."""
    seconds: float
    """Until the new path could run."""


class ElasticModel:
    """The blocks of a supernet along the path that is in force.

    Args:
        space: of its paths.
        sessions: of its branches.
        path: to begin with.
        taps: blocks whose outputs are read too.

    Raises:
        InputError: a file is missing or damaged.
    """

    def __init__(
        self, space: PathSpace, sessions: BranchSessions, path: BranchPath, *, taps: Sequence[int] = ()
    ) -> None:
        self._space, self._sessions = space, sessions
        self._read_at = {*(tap + 1 for tap in taps), space.blocks}
        self.path: BranchPath = ()
        self.change_to(path)

    def change_to(self, path: BranchPath) -> Changeover:
        """Run another path from now on; only branches that were not open are loaded.

        Raises:
            InputError: a file is missing or damaged, and the path in force stays so.
            ValueError: no path of the space.
        """
        if not self._space.holds(path):
            raise ValueError(f"no path of this supernet: {' '.join(branch.name for branch in path)}")
        begin = time.perf_counter()
        loaded = self._sessions.require(path)
        self.path = path
        return Changeover(loaded=loaded, seconds=time.perf_counter() - begin)

    def run(self, feature: Feature) -> list[Feature]:
        """The outputs of tapped blocks, in order, and of the last one."""
        read = list[Feature]()
        for branch in self.path:
            feature = self._sessions.run(branch, feature)
            if branch.end in self._read_at:
                read.append(feature)
        return read
