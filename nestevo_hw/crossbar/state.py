"""The state of an analog teacher in one safetensors file, and checks of state dicts."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import InputError, MappingError
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.crossbar.backend import Chosen
from nestevo_hw.crossbar.devices import DevicePreset, stored_preset
from nestevo_hw.crossbar.gpu.operands import Precision
from nestevo_hw.crossbar.tile_sizes import Tile

FORMAT = "nestevo-hw-analog-teacher-4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """How a teacher was made; the JSON metadata of its file."""

    preset: DevicePreset
    tile: Tile
    seed: int
    generation: int
    chip: int
    age_s: float
    backend: Chosen
    keep_digital: tuple[str, ...]
    grouped: bool = False
    precision: Precision = "fixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Contents of a teacher's file."""

    header: Header
    tiles: dict[str, dict[str, Tensor]]
    """Tensors of each analog layer's tiles."""
    input_ranges: dict[str, float]
    output_bounds: dict[str, float]
    """Full scale of each layer's ADCs; empty in files of earlier versions, whose bounds are the preset's."""
    digital: dict[str, Tensor]
    """State dict of the model without the analog weights."""


def write(
    path: Path,
    *,
    tiles: Mapping[str, Mapping[str, Tensor]],
    input_ranges: Mapping[str, float],
    output_bounds: Mapping[str, float],
    digital: Mapping[str, Tensor],
    header: Header,
) -> None:
    """Write a teacher's state, whole or not at all."""
    tensors = {f"tiles/{name}/{key}": t for name, layer in tiles.items() for key, t in layer.items()}
    for kind, values in (("input_range", input_ranges), ("output_bound", output_bounds)):
        tensors |= {f"{kind}/{name}": torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    tensors |= {f"digital/{key}": value for key, value in digital.items()}
    # clone: safetensors refuses tensors that share memory, as aliased layers do
    stored = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    document = {f.name: getattr(header, f.name) for f in fields(header)} | {"preset": header.preset.document()}
    write_tensors(path, stored, {"format": FORMAT, "header": json_line(plain(document))})


def read(path: Path, own: DevicePreset | None = None) -> Stored:
    """Read what `write` wrote.

    Args:
        path: file.
        own: device of the user's own; its noise law counts as known.

    Raises:
        InputError: the file is missing, corrupt or of another program, or follows a noise law that is not known.
    """
    metadata, tensors = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is a safetensors file but not an analog teacher; write it with save()")
    header = _header(metadata.get("header", ""), path, own)
    tiles: dict[str, dict[str, Tensor]] = {}
    for key, tensor in _under(tensors, "tiles/").items():
        layer, _, entry = key.rpartition("/")
        tiles.setdefault(layer, {})[entry] = tensor
    ranges, bounds = (
        {name: float(value) for name, value in _under(tensors, prefix).items()}
        for prefix in ("input_range/", "output_bound/")
    )
    return Stored(
        header=header, tiles=tiles, input_ranges=ranges, output_bounds=bounds, digital=_under(tensors, "digital/")
    )


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _header(text: str, path: Path, own: DevicePreset | None) -> Header:
    document = parse_json(text, dict[str, Any], f"{path}: header", advice="write it again")
    if document.get("precision", "fixed") not in get_args(Precision):
        raise InputError(f"{path}: header: precision: need one of {', '.join(get_args(Precision))}; write it again")
    try:
        preset = stored_preset(document["preset"], own=own, source=str(path))
        lists = {key: tuple(document[key]) for key in ("tile", "keep_digital")}
        return Header(**{**document, **lists, "preset": preset})
    except KeyError as error:
        raise InputError(f"{path}: header: {error.args[0]}: field required; write it again") from error
    except TypeError as error:
        raise InputError(f"{path} is not a readable analog teacher ({error}); write it again") from error


def with_targets(model: nn.Module, stored: Stored, path: Path) -> nn.Module:
    """A copy of `model` that holds the stored targets and digital state.

    Raises:
        InputError: the file belongs to another architecture.
    """
    model = copy.deepcopy(model)
    state = dict(stored.digital)
    own = model.state_dict()
    for name, layer in stored.tiles.items():
        weight = f"{name}.weight" if name else "weight"
        if weight not in own or own[weight].numel() != layer["target"].numel():
            raise InputError(f"{path}: {weight} does not fit the model; the file is of another architecture")
        state[weight] = layer["target"].reshape(own[weight].shape)
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise InputError(f"{path} is of another architecture ({error})") from error
    # Another name of an analog layer is missing in the file but shares its tensor in the model.
    pointers = {own[key].data_ptr() for key in state if key in own}
    lost = [key for key in missing if own[key].data_ptr() not in pointers]
    if lost or unexpected:
        raise InputError(f"{path}: {(lost or unexpected)[0]} does not fit; the file is of another architecture")
    return model


def check_layers(stored: Stored, layers: set[str], path: Path) -> None:
    """Refuse a file whose analog layers differ from the model's.

    Raises:
        InputError: they differ.
    """
    if set(stored.tiles) != layers:
        first = sorted(set(stored.tiles) ^ layers)[0]
        raise InputError(f"{path}: analog layer {first} does not fit; the file is of another architecture")


def check_state(weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a state dict with other keys, other shapes or values that are not finite.

    Raises:
        MappingError: naming the first tensor that does not fit.
    """
    for key, shape in shapes.items():
        if key not in weights:
            raise MappingError(f"weights lack {key}; give the whole state dict of the digital model")
        if tuple(weights[key].shape) != shape:
            raise MappingError(f"{key} expected shape {shape} but got {tuple(weights[key].shape)}")
        if weights[key].is_floating_point() and not bool(torch.isfinite(weights[key]).all()):
            raise MappingError(f"{key} holds NaN or infinite values; train or load the model again")
    left_over = sorted(set(weights) - set(shapes))
    if left_over:
        raise MappingError(f"weights hold {left_over[0]}, which the model does not have")
