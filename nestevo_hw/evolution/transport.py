"""Earth mover's distance between terminals, by POT: of their labels, and of the features they train on."""

import os
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from nestevo_hw.streams.sampling import evenly

MOST_POINTS = 256
"""Features of one terminal that enter a distance: exact transport takes the cube of their number."""


def _pot() -> ModuleType:
    # Without these POT imports every array library it finds, which takes seconds.
    for library in ("TENSORFLOW", "JAX", "CUPY", "PYTORCH"):
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{library}", "1")
    import ot

    module: ModuleType = ot
    return module


def label_distance(distributions: Sequence[Tensor]) -> float:
    """Mean earth mover's distance between all pairs of label distributions, 0 to 1.

    Every class is equally far from every other, at distance 1.

    Args:
        distributions: (C,) shares of each class, summing to 1, of each terminal.
    """
    ot = _pot()
    rows = [np.asarray(d, dtype=float) for d in distributions]
    cost = 1.0 - np.eye(len(rows[0]))
    return _mean([float(ot.emd2(a / a.sum(), b / b.sum(), cost)) for a, b in _pairs(rows)])


def feature_distance(features: Sequence[Tensor], *, unit: Sequence[Tensor] | None = None) -> float:
    """Mean 1-Wasserstein distance (Euclidean) between all pairs of feature sets.

    Two finite samples of one distribution are far from distance 0 in many dimensions, so only distances of sets of
    about equal size compare, and only in the same unit.

    Args:
        features: (N_i, D) features of each terminal; evenly thinned to `MOST_POINTS`.
        unit: sets whose spread, the RMS distance of all their features from the common mean, is distance 1; by default
            `features` themselves. Name the real features to judge sets that generated ones were added to: those would
            stretch the unit as well, and a generator far from the truth would seem to bring terminals together.

    Returns:
        0 where fewer than two sets have a feature.
    """
    sets = _scaled([f for f in features if len(f)], features if unit is None else unit)
    return _mean([_wasserstein(a, b) for a, b in _pairs(sets)])


def distance_to_overall(features: Sequence[Tensor], overall: Sequence[Tensor]) -> float:
    """Mean 1-Wasserstein distance between each terminal's features and the real features of all terminals together.

    This is what generated features are meant to lower. The distance between terminals alone cannot tell a good
    generator from a bad one: sets that share a part s of their features are 1 - s times as far apart, whatever it is.

    Args:
        features: (N_i, D) features that each terminal trains on, generated ones included.
        overall: (M_i, D) real features of each terminal; their spread is distance 1.

    Returns:
        0 where no terminal has a feature.
    """
    if not any(len(f) for f in overall):
        return 0.0
    everything = _scaled([torch.cat([f for f in overall if len(f)])], overall)[0]
    return _mean([_wasserstein(own, everything) for own in _scaled([f for f in features if len(f)], overall)])


def _scaled(sets: Sequence[Tensor], unit: Sequence[Tensor]) -> list[np.ndarray]:
    """Sets in units of the spread of `unit`; as they are where that has none."""
    spread = float(torch.cat([f for f in unit if len(f)]).double().var(0, correction=0).sum().sqrt()) if sets else 1.0
    return [f.detach().double().cpu().numpy() / (spread or 1.0) for f in sets]


def _wasserstein(first: np.ndarray, second: np.ndarray) -> float:
    ot = _pot()
    a, b = (points[evenly(range(len(points)), MOST_POINTS)] for points in (first, second))
    return float(ot.emd2(ot.unif(len(a)), ot.unif(len(b)), ot.dist(a, b, metric="euclidean")))


def _pairs(rows: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]


def _mean(distances: Sequence[float]) -> float:
    return sum(distances) / len(distances) if distances else 0.0
