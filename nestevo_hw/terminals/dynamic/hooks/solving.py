"""Cheaper ways through a stage, solved in closed form for what it gives on some frames; no labels, no gradients."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nestevo_hw.terminals.dynamic.hooks.ways import Floats, Narrow, Skip

if TYPE_CHECKING:
    from nestevo_hw.models.onnx.crops.narrowing import Inner

RIDGE = 1e-3
"""Of the squared change of weights, in units of the features' mean square."""
WIDTHS = (0.75, 0.5, 0.25)
"""Shares of the inner channels that are tried."""
MULTIPLE = 8
"""Of which a width is one: others are slow under ONNX Runtime."""
_CELLS = 400
"""Of a frame, that a sum takes."""


def skip_of(pairs: Iterable[tuple[Floats, Floats]]) -> Skip:
    """The scale and shift of each channel that give a stage's output best, by least squares.

    Args:
        pairs: (1, C, H, W) that it takes and gives, of each frame.
    """
    sums, floor = [], []
    for taken, given in pairs:
        x, y = (value[0].reshape(value.shape[1], -1).astype(np.float64) for value in (taken, given))
        sums.append(np.stack([x.mean(1), y.mean(1), (x * x).mean(1), (x * y).mean(1)]))
        floor.append(y.min(1))
    mean_x, mean_y, square, product = np.mean(sums, 0)
    spread = square - mean_x**2
    scale = np.where(spread > 1e-12, (product - mean_x * mean_y) / np.maximum(spread, 1e-12), 0.0)
    parts = (scale, mean_y - scale * mean_x, np.min(floor, 0))
    return Skip(*(part.astype(np.float32) for part in parts))


def widths_of(inner: "Inner") -> tuple[int, ...]:
    """Widths of a stage that are tried, the widest first."""
    rounded = {max(MULTIPLE, round(share * inner.width / MULTIPLE) * MULTIPLE) for share in WIDTHS}
    return tuple(sorted((width for width in rounded if width < inner.width), reverse=True))


def ranked(inner: "Inner", samples: Sequence[Floats]) -> NDArray[np.int64]:
    """Channels by the energy that they bring into what follows, the most first.

    Args:
        inner: of the stage.
        samples: (1, C, H, W) values of the channels, of each frame.
    """
    spread = np.concatenate([value[0].reshape(value.shape[1], -1) for value in samples], 1).var(1, dtype=np.float64)
    order: NDArray[np.int64] = np.argsort(-spread * np.square(inner.weights).sum((0, 2, 3)), kind="stable")
    return order


def narrow_of(
    inner: "Inner", order: NDArray[np.int64], pairs: Iterable[tuple[Floats, Floats]], draw: np.random.Generator
) -> dict[str, Narrow]:
    """For each width, the weights with which the channels that stay give best what all gave, by ridge regression.

    The ridge draws towards the weights that they had.

    Args:
        inner: of the stage.
        order: of `ranked`.
        pairs: (1, C, H, W) that the second convolution takes, and (1, O, H', W') that it gives, of each frame.
        draw: chooses cells.

    Returns:
        Ways by names such as "16/32".
    """
    widths = widths_of(inner)
    if not widths:
        return {}
    most = order[: widths[0]]
    cells = inner.weights.shape[2] * inner.weights.shape[3]
    squares, products = np.zeros((1, 1)), np.zeros((1, 1))
    for taken, given in pairs:
        x, y = _columns(inner, taken[0, most], given[0], draw)
        squares, products = squares + x.T @ x, products + x.T @ y
    found = {}
    for width in widths:
        kept, used = most[:width], np.r_[: width * cells, len(squares) - 1]
        before = np.concatenate([inner.weights[:, kept].reshape(len(inner.weights), -1).T, inner.bias[None]])
        a, b = squares[np.ix_(used, used)], products[used]
        ridge = RIDGE * np.trace(a) / len(a) * np.eye(len(a))
        solved = before + np.linalg.solve(a + ridge, b - a @ before)
        weights = solved[:-1].T.reshape(len(inner.weights), width, *inner.weights.shape[2:])
        found[f"{width}/{inner.width}"] = Narrow(kept, weights.astype(np.float32), solved[-1].astype(np.float32))
    return found


def _columns(
    inner: "Inner", taken: Floats, given: Floats, draw: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What some cells of the second convolution see, and 1, (N, K * kh * kw + 1); and what they give, (N, O)."""
    top, left, bottom, right = inner.pads
    rows, columns = inner.weights.shape[2:]
    (down, over), (step_y, step_x) = inner.dilations, inner.strides
    padded = np.pad(taken, ((0, 0), (top, bottom), (left, right)))
    window = ((rows - 1) * down + 1, (columns - 1) * over + 1)
    seen = sliding_window_view(padded, window, (1, 2))[:, ::step_y, ::step_x, ::down, ::over]
    height, width = given.shape[1:]
    chosen = draw.choice(height * width, min(_CELLS, height * width), replace=False)
    ys, xs = chosen // width, chosen % width
    x = seen[:, ys, xs].transpose(1, 0, 2, 3).reshape(len(chosen), -1).astype(np.float64)
    return np.concatenate([x, np.ones((len(x), 1))], 1), given[:, ys, xs].T.astype(np.float64)
