"""A model of which any set of layers computes on the crossbar, without converting it again for each set."""

import copy
from collections.abc import Collection
from typing import Any

from torch import nn

from nestevo_hw.crossbar.mapping import LayerMapping
from nestevo_hw.crossbar.teacher import AnalogTeacher

_KEPT_BYTES = 1 << 30
"""Weights of programmings that are kept in memory; further ones are programmed again when they are needed."""


class PartlyAnalog:
    """One model whose layers are switched between digital and analog one by one, in any of several programmings.

    It computes, bit for bit, what an `AnalogTeacher` of the same seed with the other layers in `keep_digital`
    computes right after `program(generation=programming, chip=programming)` and `age(age_s)`: a tile's noise depends on
    the seed, its own name, the generation, the chip and the age, and input ranges come from the digital model.

    Args:
        teacher: calibrated; this object programs it as it needs.
        age_s: seconds after programming.
    """

    layers: tuple[LayerMapping, ...]
    """The layers that can be switched, in the model's order."""

    def __init__(self, teacher: AnalogTeacher, *, age_s: float = 0.0) -> None:
        self._teacher, self._age_s = teacher, age_s
        self.layers = teacher.report.analog
        weights = sum(layer.parameters for layer in self.layers)
        self._most_kept = max(1, _KEPT_BYTES // (4 * weights))
        self._kept: dict[int, dict[str, nn.Module]] = {}
        twin = teacher.digital_twin()
        self._digital = {layer.name: twin.get_submodule(layer.name) for layer in self.layers}
        self._slots = {name: _Slot(layer) for name, layer in self._digital.items()}
        # deepcopy puts what its memo holds in place of each layer, at every place that refers to it.
        memo = {id(layer): self._slots[name] for name, layer in self._digital.items()}
        self._model: nn.Module = copy.deepcopy(twin, memo).eval()

    def programmed(self, programming: int) -> AnalogTeacher:
        """The whole teacher, programmed anew and aged."""
        self._teacher.program(generation=programming, chip=programming)
        self._teacher.age(self._age_s)
        return self._teacher

    def model(self, analog: Collection[str], programming: int) -> nn.Module:
        """The model with the layers `analog` on the crossbar and the others digital.

        Args:
            analog: names of `layers`.
            programming: which of the independent programmings (`generation` of `AnalogTeacher.program`).

        Returns:
            A model in eval mode, the same object at every call: what it computes changes with the next call.
        """
        cells = self._layers_of(programming) if analog else {}
        for name, slot in self._slots.items():
            # A copy, so that its converter noise begins where it begins after programming.
            slot.layer = copy.deepcopy(cells[name]) if name in analog else self._digital[name]
        return self._model

    def _layers_of(self, programming: int) -> dict[str, nn.Module]:
        if programming not in self._kept:
            module = self.programmed(programming).module
            while len(self._kept) >= self._most_kept:
                del self._kept[next(iter(self._kept))]
            # Copied before they compute: installed conductances, noise at its beginning.
            self._kept[programming] = {
                layer.name: copy.deepcopy(module.get_submodule(layer.name)) for layer in self.layers
            }
        return self._kept[programming]


class _Slot(nn.Module):
    """The place of a layer, which others may ask for the weight of whatever stands in it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the layer's
        """As the layer's."""
        return self.layer(*args, **kwargs)

    @property
    def weight(self) -> Any:  # noqa: ANN401 - a tensor, as the layer has it
        """The layer's."""
        return self.layer.weight

    @property
    def bias(self) -> Any:  # noqa: ANN401
        """The layer's."""
        return self.layer.bias
