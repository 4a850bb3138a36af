"""Model to tiles: which layer goes onto the crossbar, which stays digital, and why."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from statistics import fmean
from typing import Any, Literal

import torch
from torch import nn

from nestevo_hw.base.errors import ConfigError, MappingError
from nestevo_hw.crossbar.devices import DevicePreset, LayerRule
from nestevo_hw.crossbar.geometry import Geometry, Layer
from nestevo_hw.crossbar.opening import opened
from nestevo_hw.crossbar.placement import inside_attention, kept_digital, matrices_of, unmappable, weighted_modules
from nestevo_hw.crossbar.tile_sizes import Tile, tile_size, tile_splits


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
    device: DevicePreset | None = None
    """What its cells and converters are; None where only tiles were counted."""
    tile: Tile = (0, 0)
    """Rows and columns of each of its tiles; none of a digital layer."""
    groups: int = 1
    """Matrices on the diagonal: of a grouped convolution."""
    matrix: tuple[int, int] = (0, 0)
    """(inputs, outputs) of the matrix of one group; nothing for a digital layer."""

    @property
    def digits(self) -> int:
        """Cells that hold one weight."""
        return 1 if self.device is None else self.device.digits

    @property
    def cells(self) -> int:
        """Cells that hold its weights."""
        return self.parameters * self.digits

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
            "hardware": None if self.placement == "digital" else self._hardware(),
        }

    def _hardware(self) -> dict[str, Any]:
        """What the layer is on, which rules for single layers may have changed."""
        document: dict[str, Any] = {"tile": list(self.tile)}
        if self.device is not None:
            io = self.device.converters
            document |= {"analog": self.device.name, "pairs": self.device.pairs, "cells_per_weight": self.digits}
            document["converters"] = None if io is None else asdict(io)
        return document


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
    """RMS over all analog weights of the layers' relative error, without layers of zeros; None before programming."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingReport:
    """Placement of every layer of a model."""

    preset: str
    tile: Tile
    layers: tuple[LayerMapping, ...]
    digits: int = 1
    """Cells that hold one weight."""
    backend: str = "none"
    """How the crossbar is simulated: fold, fused, triton or reference; none if only counted."""
    backend_reason: str = "tiles counted only, nothing programmed"

    @property
    def analog(self) -> tuple[LayerMapping, ...]:
        """Layers on the crossbar, in the model's order."""
        return tuple(layer for layer in self.layers if layer.placement == "analog")

    @property
    def uniform(self) -> bool:
        """Whether all layers on the crossbar have the same device and tile."""
        return len({(layer.device, layer.tile) for layer in self.analog}) <= 1

    @property
    def totals(self) -> MappingTotals:
        """Sums over the layers."""
        analog = self.analog
        cells = sum(layer.tiles * layer.tile[0] * layer.tile[1] for layer in analog)
        weights = sum(layer.parameters for layer in analog)
        tiles = sum(layer.tiles for layer in analog)
        everything = sum(layer.parameters for layer in self.layers)
        errors = [(layer.parameters, layer.weight_error) for layer in analog if layer.weight_error is not None]
        square = fmean((error**2 for _, error in errors), [count for count, _ in errors]) if errors else None
        return MappingTotals(
            analog_layers=len(analog),
            digital_layers=len(self.layers) - len(analog),
            tiles=tiles,
            utilisation=sum(layer.cells for layer in analog) / cells if tiles else 0.0,
            analog_weight_share=weights / everything if everything else 0.0,
            weight_error=None if square is None else math.sqrt(square),
        )

    def with_errors(self, errors: Mapping[str, float | None]) -> "MappingReport":
        """The report with the measured relative weight error of each analog layer."""
        layers = tuple(replace(layer, weight_error=errors.get(layer.name, layer.weight_error)) for layer in self.layers)
        return replace(self, layers=layers)

    def document(self) -> dict[str, Any]:
        """The machine-readable report, without the model's name."""
        return {
            "analog": self.preset,
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
    device: DevicePreset | None = None,
) -> MappingReport:
    """Place every layer of `model`, without converting or programming anything.

    Args:
        model: any module; it is only looked at. Attention and recurrent modules count as the layers that they are
            opened into (`crossbar.opening.opened`).
        tile: rows and columns of a tile, or one number for both.
        keep_digital: names of layers, or of parents whose whole subtree stays digital.
        grouped: put grouped and depthwise convolutions onto tiles too, though they leave most cells empty.
        device: with its rules for single layers; with bit slicing an output takes several columns. None: only count.

    Raises:
        ConfigError: a name of `keep_digital` does not exist, a rule holds for no layer, or the tile size is impossible.
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
    found = list(weighted_modules(model))
    if device is not None:
        _check_rules(device, [aliases[0] for _, aliases in found])
    owners: dict[int, list[str]] = {}
    placed = []
    for module, aliases in found:
        rule = LayerRule(pattern=aliases[0]) if device is None else device.rule(aliases[0])
        reason = (
            (f"kept digital as asked (layers {rule.pattern})" if rule.digital else "")
            or kept_digital(aliases, keep_digital)
            or inside_attention(aliases, model)
            or unmappable(module, grouped=grouped)
        )
        if reason:
            placed.append(_digital(module, aliases, reason))
            continue
        layer: Any = module
        sharing = owners.setdefault(id(layer.weight), [])
        own = None if device is None else device.at(aliases[0])
        placed.append(_analog(layer, aliases, rule.tile or rows_columns, own, sharing[0] if sharing else ""))
        sharing.append(aliases[0])
    layers = tuple(placed)
    report = MappingReport(
        preset="none" if device is None else device.name, tile=rows_columns, layers=layers,
        digits=1 if device is None else device.digits,
    )  # fmt: skip
    if not report.analog:
        raise MappingError(
            "no layer of the model can be placed on the crossbar: "
            + (
                "; ".join(f"{layer.name or 'the model itself'}: {layer.reason}" for layer in layers[:3])
                or "it has no weights"
            )
        )
    return report


def _check_rules(device: DevicePreset, names: Sequence[str]) -> None:
    """Every rule for single layers holds for one."""
    used = {id(device.rule(name)) for name in names}
    for rule in device.layers:
        if id(rule) not in used:
            matched = any(fnmatchcase(name, rule.pattern) for name in names)
            close = difflib.get_close_matches(rule.pattern, names, 1, cutoff=0.0)
            why = (
                "matches only layers that earlier patterns take" if matched
                else f"matches no layer with weights, such as {close[0]}" if close
                else "matches nothing: the model has no layer with weights"
            )  # fmt: skip
            raise ConfigError(f"device {device.name}: layers: pattern {rule.pattern!r} {why}")


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


def _analog(
    layer: Layer, aliases: tuple[str, ...], tile: Tile, device: DevicePreset | None, sharing: str
) -> LayerMapping:
    digits = 1 if device is None else device.digits
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
        device=device,
        tile=tile,
        groups=geometry.groups,
        matrix=geometry.group,
    )
