"""Early answers of a classifier: linear heads on what its stages give, fitted to the model's own answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.files import replacing, require_file

Floats = NDArray[np.float64]
RIDGE = 1e-3
"""Of the squared weights, in units of the features' mean square."""
LEAST_AGREEMENT = 0.99
"""Share of early answers that must be the model's own, on frames that the heads were not fitted on."""
LEAST_FRAMES = 20
_FEWEST = 5
"""Frames that must end early for a head to be worth its time."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A head on one stage."""

    weights: Floats
    """(C + 1, K): of the means of the stage's channels, and of 1 last."""
    entropy: float
    """Of its answer, below which it is taken, nats."""

    def logits(self, features: NDArray[np.float32]) -> Floats:
        """(N, K) of (N, C, H, W)."""
        return pooled(features) @ self.weights


def pooled(features: NDArray[np.float32]) -> Floats:
    """(N, C + 1) means of channels of (N, C, H, W), and 1."""
    means = features.mean((2, 3), dtype=np.float64)
    return np.concatenate([means, np.ones((len(means), 1))], 1)


def entropy(logits: Floats) -> Floats:
    """(N,) of the softmax of (N, K), nats."""
    shifted = logits - logits.max(1, keepdims=True)
    shares = np.exp(shifted)
    total = shares.sum(1, keepdims=True)
    found: Floats = np.log(total[:, 0]) - (shares * shifted).sum(1) / total[:, 0]
    return found


def fit(
    features: Mapping[str, Sequence[Floats]], answers: NDArray[np.float32], *, least_agreement: float = LEAST_AGREEMENT
) -> dict[str, Exit]:
    """Heads by ridge regression, in closed form, on every other frame; thresholds on the frames between.

    A threshold is found on those that no earlier stage answers, which are the harder ones.

    Args:
        features: by stage, in order: of each frame what `pooled` gives.
        answers: (N, K) logits of the model for the same frames; no labels are needed.
        least_agreement: see `LEAST_AGREEMENT`.

    Returns:
        Heads by stage; stages of which no threshold agrees are left out.

    Raises:
        InputError: too few frames.
    """
    if len(answers) < LEAST_FRAMES:
        raise InputError(f"early exits need {LEAST_FRAMES} frames to fit on, got {len(answers)}; give a longer source")
    target = answers.astype(np.float64)
    right, left = target[1::2].argmax(1), np.ones(len(target[1::2]), bool)
    found = {}
    for name, rows in features.items():
        x = np.concatenate(list(rows))
        weights = _ridge(x[::2], target[::2])
        logits = x[1::2] @ weights
        threshold = _threshold(logits[left], right[left], least_agreement)
        if threshold is not None:
            found[name] = Exit(weights, threshold)
            left &= entropy(logits) >= threshold
    return found


def _ridge(x: Floats, y: Floats) -> Floats:
    squares = x.T @ x
    squares += RIDGE * np.trace(squares) / len(squares) * np.eye(len(squares))
    solved: Floats = np.linalg.solve(squares, x.T @ y)
    return solved


def _threshold(logits: Floats, right: NDArray[np.int64], least: float) -> float | None:
    """The entropy below which answers agree often enough; None where fewer than `_FEWEST` do."""
    sure = entropy(logits)
    order = np.argsort(sure, kind="stable")
    # As if the next one were wrong: of few frames, none that is says little.
    wrong = np.cumsum(logits.argmax(1)[order] != right[order]) + 1
    enough = np.flatnonzero(1 - wrong / np.arange(2, len(order) + 2) >= least)
    if not len(enough) or enough[-1] + 1 < _FEWEST:
        return None
    return float(sure[order[enough[-1]]])


_NO_HEADS = "none"
"""Name of the tensor of a file without any."""


def save(exits: Mapping[str, Exit], path: Path) -> None:
    """Write heads as safetensors, whole or not at all."""
    tensors = {f"{name}/weights": one.weights for name, one in exits.items()}
    tensors |= {f"{name}/entropy": np.array(one.entropy) for name, one in exits.items()}
    with replacing(path) as temporary:
        save_file(tensors or {_NO_HEADS: np.zeros(1)}, str(temporary))


def load(path: Path) -> dict[str, Exit]:
    """Read what `save` wrote.

    Raises:
        MissingFileError: it is not there.
        InputError: it is damaged, or holds something else.
    """
    require_file(path)
    try:
        tensors = load_file(path)
        names = [name.removesuffix("/weights") for name in tensors if name.endswith("/weights")]
        if not names and tensors.keys() != {_NO_HEADS}:
            raise KeyError("weights")
        return {name: Exit(tensors[f"{name}/weights"], float(tensors[f"{name}/entropy"])) for name in names}
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no early exits; make them with `nestevo-hw dynamic profile`") from error
