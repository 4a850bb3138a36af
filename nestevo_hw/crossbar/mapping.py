"""Model to tiles: which layer goes onto the crossbar, which stays digital, and why."""

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from nestevo_hw.base.errors import ConfigError, MappingError
from nestevo_hw.crossbar.devices import DevicePreset, LayerRule
from nestevo_hw.crossbar.placement import inside_attention, unmappable

Tile = tuple[int, int]
"""(rows, columns): inputs and outputs of one crossbar tile."""

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)


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
            "hardware": None if self.placement == "digital" else self._hardware(),
        }

    def _hardware(self) -> dict[str, Any]:
        """What the layer is on, which rules for single layers may have changed."""
        document: dict[str, Any] = {"tile": list(self.tile)}
        if self.device is not None:
            io = self.device.converters
            document |= {"device": self.device.name, "pairs": self.device.pairs, "cells_per_weight": self.digits}
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
        squares = [layer.parameters * layer.weight_error**2 for layer in analog if layer.weight_error is not None]
        return MappingTotals(
            analog_layers=len(analog),
            digital_layers=len(self.layers) - len(analog),
            tiles=tiles,
            utilisation=sum(layer.cells for layer in analog) / cells if tiles else 0.0,
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
    device: DevicePreset | None = None,
) -> MappingReport:
    """Place every layer of `model`, without converting or programming anything.

    Args:
        model: any module; it is only looked at.
        tile: rows and columns of a tile, or one number for both.
        keep_digital: names of layers, or of parents whose whole subtree stays digital.
        device: with its rules for single layers; with bit slicing an output takes several columns. None: only count.

    Raises:
        ConfigError: a name of `keep_digital` does not exist, a rule holds for no layer, or the tile size is impossible.
        MappingError: a layer cannot be mapped and should not silently stay digital (see `check_weights`),
            or nothing is left for the crossbar.
    """
    rows_columns = tile_size(tile)
    names = {name for name, _ in model.named_modules(remove_duplicate=False)}
    for name in keep_digital:
        if name not in names:
            close = difflib.get_close_matches(name, sorted(names), 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"keep_digital names {name!r}, which the model does not have{hint}")
    found = list(_weighted(model))
    if device is not None:
        _check_rules(device, [aliases[0] for _, aliases in found])
    layers = tuple(_place(module, aliases, rows_columns, keep_digital, model, device) for module, aliases in found)
    report = MappingReport(
        device="none" if device is None else device.name, tile=rows_columns, layers=layers,
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


def _weighted(model: nn.Module) -> Iterator[tuple[nn.Module, tuple[str, ...]]]:
    """Every module that owns a matrix of weights, with all its names."""
    found: dict[int, tuple[nn.Module, list[str]]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, (*_NORMS, ParametrizationList)) or not _matrices(module):
            continue
        found.setdefault(id(module), (module, []))[1].append(name)
    for module, aliases in found.values():
        yield module, tuple(aliases)


def _matrices(module: nn.Module) -> list[torch.Tensor]:
    """The module's own weights of two or more dimensions, also those computed from other parameters."""
    own = [parameter.detach() for parameter in module.parameters(recurse=False)]
    if is_parametrized(module):
        names = dict(module.get_submodule("parametrizations").named_children())
        own += [getattr(module, name).detach() for name in names]
    return [weight for weight in own if weight.ndim >= 2]


def _place(
    module: nn.Module,
    aliases: tuple[str, ...],
    tile: Tile,
    keep_digital: Sequence[str],
    model: nn.Module,
    device: DevicePreset | None,
) -> LayerMapping:
    matrices = _matrices(module)
    weight = max(matrices, key=torch.Tensor.numel)
    rule = None if device is None else device.rule(aliases[0])
    reason = _kept(aliases, keep_digital, rule) or inside_attention(aliases, model) or unmappable(module)
    if reason:
        return LayerMapping(
            name=aliases[0], kind=type(module).__name__, placement="digital", reason=reason,
            shape=tuple(weight.shape), parameters=sum(m.numel() for m in matrices), aliases=aliases[1:],
        )  # fmt: skip
    if device is not None and rule is not None:
        device, tile = device.at(aliases[0]), rule.tile or tile
    digits = 1 if device is None else device.digits
    inputs, outputs = weight[0].numel(), weight.shape[0]
    rows, columns = split_sizes(inputs, tile[0]), split_sizes(outputs * digits, tile[1])
    shared = f"; used under {len(aliases)} names, mapped once" if len(aliases) > 1 else ""
    return LayerMapping(
        name=aliases[0],
        kind=type(module).__name__,
        placement="analog",
        reason="matrix-vector product" + shared,
        shape=tuple(weight.shape),
        parameters=weight.numel(),
        row_splits=rows,
        column_splits=columns,
        utilisation=weight.numel() * digits / (len(rows) * len(columns) * tile[0] * tile[1]),
        aliases=aliases[1:],
        device=device,
        tile=tile,
    )


def _kept(aliases: Sequence[str], keep_digital: Sequence[str], rule: LayerRule | None) -> str:
    if rule is not None and rule.digital:
        return f"kept digital as asked (layers {rule.pattern})"
    for kept in keep_digital:
        if any(alias == kept or alias.startswith(kept + ".") or kept == "" for alias in aliases):
            return f"kept digital as asked ({kept})"
    return ""
