"""IR drop: what the resistance of the wires takes from the current of a column.

The approximation of the steady state in aihwkit's C++ tile: inputs x and conductances w in units of full scale, n rows,
row 0 farthest from the ADC. With the current a = n / G * sum_j |w_j| |x_j| and the loss c = a (0.05 a^2 - 0.2 a + 0.5)
a column puts out sum_j w_j x_j - c * sum_j w_j x_j (1 - (1 - j / n)^2).
"""

import torch
from torch import Tensor

WIRE_TO_CELL_CONDUCTANCE = 1.0 / 0.35 / 5e-6
"""G: conductance of the wire between two cells / largest conductance of a cell: 0.35 Ohm, 5 microsiemens (aihwkit)."""


def loss(current: Tensor) -> Tensor:
    """Relative loss c of columns that carry the current a, both of any shape."""
    return current * current.mul(0.05).sub_(0.2).mul_(current).add_(0.5)


def seen_from_column_end(rows: int) -> Tensor:
    """(rows,) share of the loss that hits each row's input, 1 - (1 - j / n)^2."""
    return 1.0 - (1.0 - torch.arange(rows) / rows).square()
