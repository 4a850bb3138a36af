"""Earth mover's distance between terminals, by POT: of their labels, and of the features they train on."""

import os
from collections.abc import Sequence
from types import ModuleType

import numpy as np
from torch import Tensor

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
    return _mean_over_pairs([float(ot.emd2(a / a.sum(), b / b.sum(), cost)) for a, b in _pairs(rows)])


def feature_distance(features: Sequence[Tensor]) -> float:
    """Mean 1-Wasserstein distance (Euclidean) between all pairs of feature sets, in units of the features' spread.

    Args:
        features: (N_i, D) features of each terminal; evenly thinned to `MOST_POINTS`.
    """
    ot = _pot()
    sets = [f[:: -(-len(f) // MOST_POINTS)].double().numpy() for f in features if len(f)]
    if len(sets) < 2:
        return 0.0
    spread = np.concatenate(sets).std(0)
    sets = [s[:, spread > 0] / spread[spread > 0] / np.sqrt((spread > 0).sum()) for s in sets]
    distances = []
    for a, b in _pairs(sets):
        cost = ot.dist(a, b, metric="euclidean")
        distances.append(float(ot.emd2(ot.unif(len(a)), ot.unif(len(b)), cost)))
    return _mean_over_pairs(distances)


def _pairs(rows: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]


def _mean_over_pairs(distances: Sequence[float]) -> float:
    return sum(distances) / len(distances) if distances else 0.0
