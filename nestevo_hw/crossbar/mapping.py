"""Model to tiles: which layer goes onto the crossbar, which stays digital, and why."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from nestevo_hw.base.errors import ConfigError, MappingError
from nestevo_hw.crossbar.geometry import Geometry, Layer
from nestevo_hw.crossbar.opening import opened
from nestevo_hw.crossbar.placement import inside_attention, kept_digital, matrices_of, unmappable, weighted_modules

Tile = tuple[int, int]
"""(rows, columns): inputs and outputs of one crossbar tile."""


def tile_size(tile: int | Tile) -> Tile:
    """(rows, columns) from one number or two.

    Raises:
        ConfigError: a side is not between 1 and 65536.
    """
    rows, columns = (tile, tile) if isinstance(tile, int) else tile
    if not (1 <= rows <= 65_536 and 1 <= columns <= 65_536):
        raise ConfigError(f"need a tile of 1 to 65536 rows and columns, got {rows} x {columns}")
    return rows, columns


def parse_tile(text: str) -> Tile:
    """(rows, columns) from text such as "256" or "256x128".

    Raises:
        ConfigError: it is neither one number nor two, or a side is impossible.
    """
    found = re.fullmatch(r" *([0-9]{1,9}) *(?:x *([0-9]{1,9}) *)?", text.lower())
    if found is None:
        raise ConfigError(f"need a tile such as 256 or 256x128, got {text!r}")
    return tile_size((int(found[1]), int(found[2] or found[1])))


def split_sizes(size: int, limit: int) -> tuple[int, ...]:
    """Cut `size` lines into as few parts of at most `limit` as possible, equal to within one line."""
    parts = math.ceil(size / limit)
    base, extra = divmod(size, parts)
    return tuple(base + (i < extra) for i in range(parts))


def tile_splits(geometry: Geometry, tile: Tile, digits: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Inputs of each tile along the rows and outputs along the columns, band after band.

    A layer without groups puts its digits side by side into the same tiles; with groups every digit of a band has
    tiles of its own.
    """
    inputs, outputs = (geometry.banded * side for side in geometry.group)
    rows = split_sizes(inputs, tile[0])
    if geometry.bands == 1:
        return rows, split_sizes(outputs * digits, tile[1])
    return rows, split_sizes(outputs, tile[1]) * (geometry.bands * digits)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMapping:
    """Where one layer with weights is computed."""

    name: str
    kind: str
    """Class name of the layer."""
    placement: Literal["analog", "digital"]
    reason: str
    """Why the layer is where it is."""
    shape: tuple[int, ...]
    """Shape of the weight."""
    parameters: int
    """Number of weights, bias not counted."""
    row_splits: tuple[int, ...] = ()
    """Inputs of each tile along the rows; empty for a digital layer."""
    column_splits: tuple[int, ...] = ()
    """Outputs of each tile along the columns."""
    utilisation: float | None = None
    """Cells that hold a weight / cells of the tiles used, 0 to 1."""
    weight_error: float | None = None
    """RMS of (effective weight - target) / RMS of the target; None before programming."""
    aliases: tuple[str, ...] = ()
    """Further names of the same layer; it is mapped once."""
    groups: int = 1
    """Matrices on the diagonal: of a grouped convolution."""
    matrix: tuple[int, int] = (0, 0)
    """(inputs, outputs) of the matrix of one group; nothing for a digital layer."""

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return len(self.row_splits) * len(self.column_splits)

    def document(self) -> dict[str, Any]:
        """The layer in the machine-readable report."""
        return {
            "name": self.name,
            "kind": self.kind,
            "placement": self.placement,
            "reason": self.reason,
            "shape": list(self.shape),
            "tiles": self.tiles,
            "utilisation": self.utilisation,
            "weight_error": self.weight_error,
            "row_splits": list(self.row_splits),
            "column_splits": list(self.column_splits),
            "aliases": list(self.aliases),
            "groups": self.groups,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingTotals:
    """Sums over the layers of a model."""

    analog_layers: int
    digital_layers: int
    tiles: int
    utilisation: float
    """Cells that hold a weight / cells of all tiles, 0 to 1."""
    analog_weight_share: float
    """Share of the model's weights that is on the crossbar, 0 to 1."""
    weight_error: float | None
    """RMS over all analog weights of the layers' relative error; None before programming."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingReport:
    """Placement of every layer of a model."""

    device: str
    tile: Tile
    layers: tuple[LayerMapping, ...]
    digits: int = 1
    """Cells that hold one weight."""
    backend: str = "none"
    """How the crossbar is simulated: fold, fused or reference; none if only counted."""
    backend_reason: str = "tiles counted only, nothing programmed"

    @property
    def analog(self) -> tuple[LayerMapping, ...]:
        """Layers on the crossbar, in the model's order."""
        return tuple(layer for layer in self.layers if layer.placement == "analog")

    @property
    def totals(self) -> MappingTotals:
        """Sums over the layers."""
        analog, rows_columns = self.analog, self.tile[0] * self.tile[1]
        weights = sum(layer.parameters for layer in analog)
        tiles = sum(layer.tiles for layer in analog)
        everything = sum(layer.parameters for layer in self.layers)
        squares = [layer.parameters * layer.weight_error**2 for layer in analog if layer.weight_error is not None]
        return MappingTotals(
            analog_layers=len(analog),
            digital_layers=len(self.layers) - len(analog),
            tiles=tiles,
            utilisation=weights * self.digits / (tiles * rows_columns) if tiles else 0.0,
            analog_weight_share=weights / everything if everything else 0.0,
            weight_error=math.sqrt(sum(squares) / weights) if len(squares) == len(analog) > 0 else None,
        )

    def with_errors(self, errors: Mapping[str, float]) -> "MappingReport":
        """The report with the measured relative weight error of each analog layer."""
        layers = tuple(replace(layer, weight_error=errors.get(layer.name, layer.weight_error)) for layer in self.layers)
        return replace(self, layers=layers)

    def document(self) -> dict[str, Any]:
        """The machine-readable report, without the model's name."""
        return {
            "device": self.device,
            "tile": list(self.tile),
            "cells_per_weight": self.digits,
            "backend": self.backend,
            "backend_reason": self.backend_reason,
            "layers": [layer.document() for layer in self.layers],
            "totals": asdict(self.totals),
        }


def map_model(
    model: nn.Module,
    tile: int | Tile = 256,
    *,
    keep_digital: Sequence[str] = (),
    grouped: bool = False,
    device: str = "none",
    digits: int = 1,
) -> MappingReport:
    """Place every layer of `model`, without converting or programming anything.

    Args:
        model: any module; it is only looked at. Attention and recurrent modules count as the layers that they are
            opened into (`crossbar.opening.opened`).
        tile: rows and columns of a tile, or one number for both.
        keep_digital: names of layers, or of parents whose whole subtree stays digital.
        grouped: put grouped and depthwise convolutions onto tiles too, though they leave most cells empty.
        device: name for the report.
        digits: columns that hold one output, more than one with bit slicing (`DevicePreset.digits`).

    Raises:
        ConfigError: a name of `keep_digital` does not exist, or the tile size is impossible.
        MappingError: a layer cannot be mapped and should not silently stay digital (see `check_weights`),
            or nothing is left for the crossbar.
    """
    rows_columns, model = tile_size(tile), opened(model)
    names = {name for name, _ in model.named_modules(remove_duplicate=False)}
    for name in keep_digital:
        if name not in names:
            close = difflib.get_close_matches(name, sorted(names), 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"keep_digital names {name!r}, which the model does not have{hint}")
    owners: dict[int, list[str]] = {}
    placed = []
    for module, aliases in weighted_modules(model):
        reason = (
            kept_digital(aliases, keep_digital)
            or inside_attention(aliases, model)
            or unmappable(module, grouped=grouped)
        )
        if reason:
            placed.append(_digital(module, aliases, reason))
            continue
        layer: Any = module
        sharing = owners.setdefault(id(layer.weight), [])
        placed.append(_analog(layer, aliases, rows_columns, digits, sharing[0] if sharing else ""))
        sharing.append(aliases[0])
    layers = tuple(placed)
    report = MappingReport(device=device, tile=rows_columns, layers=layers, digits=digits)
    if not report.analog:
        raise MappingError(
            "no layer of the model can be placed on the crossbar: "
            + ("; ".join(f"{layer.name}: {layer.reason}" for layer in layers[:3]) or "it has no weights")
        )
    return report


def _digital(module: nn.Module, aliases: tuple[str, ...], reason: str) -> LayerMapping:
    matrices = matrices_of(module)
    return LayerMapping(
        name=aliases[0],
        kind=type(module).__name__,
        placement="digital",
        reason=reason,
        shape=tuple(max(matrices, key=torch.Tensor.numel).shape) if matrices else (),
        parameters=sum(matrix.numel() for matrix in matrices),
        aliases=aliases[1:],
    )


def _analog(layer: Layer, aliases: tuple[str, ...], tile: Tile, digits: int, sharing: str) -> LayerMapping:
    geometry = Geometry.of(layer).on_tiles(*tile)
    rows, columns = tile_splits(geometry, tile, digits)
    reason = "matrix-vector product" if geometry.groups == 1 else f"block-diagonal matrix of {geometry.groups} groups"
    if len(aliases) > 1:
        reason += f"; used under {len(aliases)} names, mapped once"
    if sharing:
        reason += f"; has the weight of {sharing}, on tiles of its own"
    return LayerMapping(
        name=aliases[0],
        kind=type(layer).__name__,
        placement="analog",
        reason=reason,
        shape=geometry.shape,
        parameters=layer.weight.numel(),
        row_splits=rows,
        column_splits=columns,
        utilisation=layer.weight.numel() * digits / (len(rows) * len(columns) * tile[0] * tile[1]),
        aliases=aliases[1:],
        groups=geometry.groups,
        matrix=geometry.group,
    )
