"""Supernets in and out of safetensors files, and the model of one path as a checkpoint like any other."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import InputError
from nestevo_hw.base.tensors import read_header, read_tensors, write_tensors
from nestevo_hw.models.checkpoint import ModelSpec, load_weights, save_model
from nestevo_hw.models.elastic.chain import Chain
from nestevo_hw.models.elastic.space import BranchPath, PathSpace
from nestevo_hw.models.elastic.structure import Blocks, blocks_named, fresh_block
from nestevo_hw.models.elastic.supernet import Supernet

FORMAT = "nestevo-hw-supernet"
_ADVICE = "build the supernet again"


def save_supernet(supernet: Supernet, spec: ModelSpec, path: Path, *, notes: Mapping[str, str] | None = None) -> None:
    """Write base and branches, with the space of their paths in the header.

    Args:
        supernet: its base built from `spec`.
        spec: of the base.
        path: file to write, whole or not at all.
        notes: further header entries.
    """
    header = {
        "format": FORMAT, "spec": json_line(plain(spec)), "chain": json_line(plain(supernet.chain)),
        "space": json_line(plain(supernet.space)),
    }  # fmt: skip
    write_tensors(path, supernet.state_dict(), {**header, **(notes or {})})


def is_supernet(path: Path) -> bool:
    """Whether `save_supernet` wrote a file.

    Raises:
        InputError: it is missing or no safetensors file.
    """
    return read_header(path).get("format") == FORMAT


def read_supernet_spec(path: Path) -> ModelSpec:
    """The spec of a supernet's base, from the file's header alone.

    Raises:
        InputError: the file is missing, its header damaged, or of another program.
    """
    return _spec(read_header(path), path)


def _spec(header: Mapping[str, str], path: Path) -> ModelSpec:
    if header.get("format") != FORMAT:
        raise InputError(f"{path} holds no supernet; make one with `nestevo-hw elastic build`")
    return parse_json(header.get("spec", ""), ModelSpec, f"{path}: spec", advice=_ADVICE)


def load_supernet(path: Path) -> tuple[Supernet, ModelSpec]:
    """Read what `save_supernet` wrote, in eval mode on the CPU.

    Raises:
        InputError: the file is missing, damaged, of another program, or holds NaN.
    """
    header, state = read_tensors(path)
    spec = _spec(header, path)
    chain = parse_json(header.get("chain", ""), Chain, f"{path}: chain", advice=_ADVICE)
    space = parse_json(header.get("space", ""), PathSpace, f"{path}: space", advice=_ADVICE)
    base = spec.build()
    blocks = blocks_named(base, chain.names)
    if len(blocks) != space.blocks:
        raise InputError(f"{path}: space has {space.blocks} blocks and chain {len(blocks)}; {_ADVICE}")
    new = {b: fresh_block(blocks[b.start : b.end]) for b in space.branches if not b.original}
    supernet = Supernet(base, chain, new)
    load_weights(supernet, state, source=str(path))
    return supernet.eval(), spec


def save_path(supernet: Supernet, spec: ModelSpec, path: BranchPath, file: Path) -> None:
    """Write the model of a path as a checkpoint, such as a terminal's model is.

    Raises:
        ConfigError: it is no path of this supernet.
    """
    spec = replace(spec, blocks=Blocks(names=supernet.chain.names, path=path))
    save_model(supernet.model(path), spec, file)
