"""Cheaper ways through stages, the ladder that they make, and the file that holds both."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import InputError
from nestevo_hw.base.files import replacing, require_file
from nestevo_hw.models.elastic.parts import FINISH, STEM, Parts, block_file
from nestevo_hw.models.elastic.space import BranchPath

SKIP = "skip"
"""Name of the way that runs nothing of a stage."""
Ways = Mapping[str, str]
"""Names of the ways that stages take, by stage; a stage that is not named is run as it is."""
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Skip:
    """In place of a stage: each channel of what it takes, scaled and shifted."""

    scale: Floats
    """(C,)"""
    shift: Floats
    floor: Floats
    """(C,) least value of what the stage gives."""


@dataclass(frozen=True, slots=True)
class Narrow:
    """A stage with some of its inner channels; see `nestevo_hw.models.onnx.crops.narrowing.narrowed`."""

    kept: NDArray[np.int64]
    weights: Floats
    bias: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What was fitted for one model on one camera's frames."""

    model: str
    """Checksum of its files."""
    after: str
    """The tensor that is looked at: what the block before the first that a rung changes gives."""
    rungs: tuple[dict[str, str], ...]
    """Ways by block, from those that cost most to those that cost least; without the dense one."""
    ways: Mapping[str, Mapping[str, Skip | Narrow]]
    """By block and name."""
    looked: NDArray[np.float64]
    """(N, C) descriptors of frames that the ways were not fitted on."""
    agreed: NDArray[np.float64]
    """(N, rungs) F1 of each rung on these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    format: str
    model: str
    after: str
    rungs: tuple[dict[str, str], ...]


_FORMAT = "nestevo-hw-hooks"
_ADVICE = "fit them with `nestevo-hw dynamic profile --hooks`"
_FIELDS: Mapping[type[Skip | Narrow], tuple[str, ...]] = {
    Skip: ("scale", "shift", "floor"), Narrow: ("kept", "weights", "bias"),
}  # fmt: skip


def checksum(parts: Parts, path: BranchPath) -> str:
    """Of a path's files, which hooks are fitted for."""
    files = (STEM, *map(block_file, path), FINISH)
    return sha256("".join(f"{file} {parts.sha256[file]}\n" for file in files).encode()).hexdigest()


def save(hooks: Hooks, path: Path) -> None:
    """Write them as safetensors, whole or not at all."""
    tensors: dict[str, NDArray[Any]] = {"looked": hooks.looked, "agreed": hooks.agreed}
    for stage, ways in hooks.ways.items():
        for name, way in ways.items():
            for field in _FIELDS[type(way)]:
                tensors[f"{stage}|{name}|{field}"] = np.ascontiguousarray(getattr(way, field))
    header = _Header(format=_FORMAT, model=hooks.model, after=hooks.after, rungs=hooks.rungs)
    with replacing(path) as temporary:
        save_file(tensors, str(temporary), {"hooks": json_line(plain(header))})


def load(file: Path, parts: Parts, path: BranchPath) -> Hooks:
    """Read what `save` wrote for this path of a folder of parts.

    Raises:
        MissingFileError: it is not there.
        InputError: it is damaged, or of another model.
    """
    require_file(file)
    try:
        with safe_open(file, framework="numpy") as opened:
            text = (opened.metadata() or {}).get("hooks", "{}")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} holds no hooks; {_ADVICE}") from error
    header = parse_json(text, _Header, str(file), advice=_ADVICE)
    if header.format != _FORMAT:
        raise InputError(f"{file} holds no hooks; {_ADVICE}")
    if header.model != checksum(parts, path):
        raise InputError(f"{file}: these hooks are of another model or path; {_ADVICE}")
    try:
        ways = {
            stage: {name: _way(tensors, f"{stage}|{name}") for rung in header.rungs if (name := rung.get(stage))}
            for stage in {stage for rung in header.rungs for stage in rung}
        }
        looked, agreed = tensors["looked"].astype(np.float64), tensors["agreed"].astype(np.float64)
    except KeyError as error:
        raise InputError(f"{file}: no tensor {error.args[0]!r}; {_ADVICE}") from error
    whole = looked.ndim == 2 and looked.size and agreed.shape == (len(looked), len(header.rungs))
    finite = all(np.isfinite(tensor).all() for tensor in tensors.values())
    nested = all(header.rungs) and all(one.keys() <= next_.keys() for one, next_ in pairwise(header.rungs))
    if not (header.rungs and whole and finite and nested):
        raise InputError(f"{file}: its parts do not fit together; {_ADVICE}")
    return Hooks(model=header.model, after=header.after, rungs=header.rungs, ways=ways, looked=looked, agreed=agreed)


def _way(tensors: Mapping[str, NDArray[Any]], name: str) -> Skip | Narrow:
    kind = Skip if name.endswith(f"|{SKIP}") else Narrow
    return kind(*(tensors[f"{name}|{field}"] for field in _FIELDS[kind]))
