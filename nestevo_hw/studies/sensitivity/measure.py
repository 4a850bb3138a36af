"""How much each layer hurts on the crossbar: analog one at a time, or digital one at a time."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from torch import nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.stats import Estimate, or_none
from nestevo_hw.crossbar.mapping import LayerMapping
from nestevo_hw.crossbar.partial import PartlyAnalog
from nestevo_hw.crossbar.signal import LayerSignal, OutputProbe, layer_signals, snr_db

Evaluate = Callable[[nn.Module], Mapping[str, float]]
"""Scores of a model by scene, higher is better."""
Losses = Mapping[str, tuple[float, ...]]
"""Score lost against the digital model by scene, one value a programming."""
Progress = Callable[[str], None]
"""Told what has just been evaluated."""


class ScoreLoss:
    """Score lost against the digital model with some layers digital and the rest on the crossbar; remembers all.

    Args:
        partly: the model.
        evaluate: scores it.
    """

    digital: Mapping[str, float]
    """Scores of the digital model by scene."""

    on_score: Progress | None = None
    """Told of every evaluation."""

    def __init__(self, partly: PartlyAnalog, evaluate: Evaluate) -> None:
        self._partly, self._evaluate = partly, evaluate
        self._names = frozenset(layer.name for layer in partly.layers)
        self._known: dict[tuple[frozenset[str], int], dict[str, float]] = {}
        self.digital = dict(evaluate(partly.model((), 0)))

    @property
    def evaluations(self) -> int:
        """Number of evaluations so far, beside that of the digital model."""
        return len(self._known)

    def __call__(self, digital: Collection[str], programming: int) -> Mapping[str, float]:
        """Loss by scene; negative where the crossbar happens to score better.

        Args:
            digital: names of the layers that stay digital.
            programming: which of the independent programmings.
        """
        key = frozenset(digital), programming
        if key not in self._known:
            model = self._partly.model(self._names - key[0], programming)
            scores = self._evaluate(model)
            self._known[key] = {scene: self.digital[scene] - scores[scene] for scene in self.digital}
            if self.on_score is not None:
                self.on_score(f"{len(self._names - key[0])} of {len(self._names)} layers analog")
        return self._known[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSensitivity:
    """What one layer costs on the crossbar, over independent programmings."""

    layer: LayerMapping
    signals: tuple[LayerSignal, ...]
    """Its own signal-to-noise ratio, one entry a programming."""
    losses: Losses | None
    """Score lost with this layer alone analog; None if not measured."""
    model_errors: tuple[float, ...]
    """Relative RMS error of the model's raw outputs with this layer alone analog (`OutputProbe`)."""
    rescues: Losses | None = None
    """Score won back with this layer alone digital, against all layers analog; None if not measured."""

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @property
    def drop(self) -> Estimate | None:
        """Score lost, averaged over scenes."""
        return None if self.losses is None else Estimate.of(over_scenes(self.losses))

    @property
    def rescue(self) -> Estimate | None:
        """Score won back, averaged over scenes."""
        return None if self.rescues is None else Estimate.of(over_scenes(self.rescues))

    @property
    def model_error(self) -> float:
        """RMS over programmings of `model_errors`."""
        return rms(self.model_errors)

    @property
    def weight_error(self) -> float | None:
        """RMS over programmings; None for a layer of zeros."""
        errors = [signal.weight_error for signal in self.signals if signal.weight_error is not None]
        return rms(errors) if errors else None

    @property
    def weight_snr_db(self) -> float | None:
        """Of `weight_error`."""
        return snr_db(self.weight_error)

    @property
    def output_snr_db(self) -> float | None:
        """Of the RMS output error over programmings; None if no input reached the layer."""
        errors = [signal.output_error for signal in self.signals if signal.output_error is not None]
        return snr_db(rms(errors)) if errors else None

    def document(self) -> dict[str, Any]:
        """The layer in the machine-readable report; a ratio without any noise is null."""
        drop, rescue = self.drop, self.rescue
        return {
            "name": self.layer.name,
            "kind": self.layer.kind,
            "shape": list(self.layer.shape),
            "weights": self.layer.parameters,
            "tiles": self.layer.tiles,
            "weight_error": self.weight_error,
            "weight_snr_db": or_none(self.weight_snr_db),
            "output_snr_db": or_none(self.output_snr_db),
            "model_output_error": self.model_error,
            "model_output_snr_db": or_none(snr_db(self.model_error)),
            "drop": None if drop is None else drop.document(),
            "drop_by_scene": None if self.losses is None else _listed(self.losses),
            "rescue": None if rescue is None else rescue.document(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityReport:
    """All layers of a model, and the model as a whole."""

    layers: tuple[LayerSensitivity, ...]
    """In the model's order."""
    digital: Mapping[str, float]
    """Scores of the digital model by scene."""
    losses: Losses
    """Score lost with all layers on the crossbar."""
    model_errors: tuple[float, ...]
    """Relative RMS error of the raw outputs with all layers on the crossbar."""

    @property
    def predicted_error(self) -> float:
        """RMS error of the raw outputs if the noise powers of the layers just added up."""
        return math.sqrt(sum(layer.model_error**2 for layer in self.layers))

    def ranked(self) -> list[LayerSensitivity]:
        """The layers that hurt most first: by score lost, and by the model's output error where no score tells."""

        def hurt(layer: LayerSensitivity) -> tuple[float, float]:
            return 0.0 if layer.drop is None else -layer.drop.mean, -layer.model_error

        return sorted(self.layers, key=hurt)

    def orders(self) -> list[tuple[str, ...]]:
        """Orders in which to keep layers digital, by what each weight kept digital is worth.

        By the noise power of the layer at the model's outputs: such powers of small independent errors add up, and
        they are measured far more finely than a score. If scores were measured, also by the one lost with the layer
        alone analog, by that won back with the layer alone digital, and the layers with the fewest weights first, which
        no unlucky measurement can mislead.
        """
        powers = self._by_worth([layer.model_error**2 for layer in self.layers])
        drops = [drop.mean for layer in self.layers if (drop := layer.drop) is not None]
        if not drops:
            return [powers]
        rescues = [rescue.mean for layer in self.layers if (rescue := layer.rescue) is not None]
        smallest = tuple(layer.name for layer in sorted(self.layers, key=lambda layer: layer.layer.parameters))
        return [powers, *(self._by_worth(harm) for harm in (drops, rescues) if harm), smallest]

    def _by_worth(self, harm: Sequence[float]) -> tuple[str, ...]:
        worth = {
            layer.name: (max(0.0, lost) / layer.layer.parameters, layer.model_error)
            for layer, lost in zip(self.layers, harm, strict=True)
        }
        return tuple(sorted(worth, key=lambda name: worth[name], reverse=True))

    def document(self) -> dict[str, Any]:
        """The machine-readable report."""
        ranks = {layer.name: rank for rank, layer in enumerate(self.ranked(), start=1)}
        return {
            "digital": dict(self.digital),
            "all_analog": {
                "drop": Estimate.of(over_scenes(self.losses)).document(),
                "drop_by_scene": _listed(self.losses),
                "model_output_error": rms(self.model_errors),
                "predicted_output_error": self.predicted_error,
            },
            "layers": [{**layer.document(), "rank": ranks[layer.name]} for layer in self.layers],
        }


def measure_sensitivity(
    partly: PartlyAnalog, loss: ScoreLoss, batches: Sequence[Any], *, repeats: int, scored: bool = True,
    rescues: bool = False,
) -> SensitivityReport:  # fmt: skip
    """Measure every layer alone on the crossbar, the rest digital.

    Args:
        partly: the model.
        loss: scores it; tells of each evaluation.
        batches: in-domain batches for the signal-to-noise ratios and the model's output error.
        repeats: programmings, numbered from 0.
        scored: whether each layer alone is scored too, which takes most of the time and needs labels.
        rescues: also the complement: each layer alone digital, the rest on the crossbar.

    Raises:
        ConfigError: fewer than two repeats.
    """
    if repeats < 2:
        raise ConfigError(f"need 2 repeats or more for an interval, got {repeats}")
    names = frozenset(layer.name for layer in partly.layers)
    probe = OutputProbe(partly.model((), 0), batches)
    signals: list[dict[str, LayerSignal]] = []
    errors: list[dict[str, float]] = []
    whole: list[float] = []
    for programming in range(repeats):
        signals.append(layer_signals(partly.programmed(programming), batches))
        errors.append({name: probe.error(partly.model((name,), programming)) for name in signals[-1]})
        whole.append(probe.error(partly.model(names, programming)))
        loss((), programming)
        for name in signals[-1] if scored else ():
            loss(names - {name}, programming)
        for name in signals[-1] if rescues else ():
            loss({name}, programming)
    drawn = range(repeats)
    together = losses_of(loss, frozenset(), drawn)
    layers = tuple(
        LayerSensitivity(
            layer=layer,
            signals=tuple(one[layer.name] for one in signals),
            losses=losses_of(loss, names - {layer.name}, drawn) if scored else None,
            model_errors=tuple(one[layer.name] for one in errors),
            rescues=_won_back(together, losses_of(loss, frozenset({layer.name}), drawn)) if rescues else None,
        )
        for layer in partly.layers
    )
    return SensitivityReport(layers=layers, digital=loss.digital, losses=together, model_errors=tuple(whole))


def losses_of(loss: Callable[[frozenset[str], int], Mapping[str, float]], digital: frozenset[str],
              programmings: range) -> Losses:  # fmt: skip
    """Losses by scene over several programmings."""
    each = [loss(digital, programming) for programming in programmings]
    return {scene: tuple(one[scene] for one in each) for scene in each[0]}


def over_scenes(losses: Losses) -> list[float]:
    """Mean over scenes of each programming."""
    return [fmean(values) for values in zip(*losses.values(), strict=True)]


def _listed(losses: Losses) -> dict[str, list[float]]:
    return {scene: list(values) for scene, values in losses.items()}


def rms(values: Sequence[float]) -> float:
    """Root mean square."""
    return math.sqrt(fmean(value * value for value in values))


def _won_back(before: Losses, after: Losses) -> Losses:
    return {scene: tuple(b - a for b, a in zip(before[scene], after[scene], strict=True)) for scene in before}
