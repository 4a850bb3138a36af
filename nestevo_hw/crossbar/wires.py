"""IR drop: what the resistance of the wires takes from the current of a column; two models of the same wires.

Inputs x and conductances w in units of full scale, n rows, row 0 nearest to the ADC. Inputs drive their cells directly:
only the wire of the column has resistance, and its end at the ADC is at ground.

*Approximation*, that of the steady state in aihwkit's C++ tile. With the current a = n / G * sum_j |w_j| |x_j| and the
loss c = a (0.05 a^2 - 0.2 a + 0.5) a column puts out sum_j w_j x_j - c * sum_j w_j x_j (1 - (1 - j / n)^2), in which
`ir_drop` multiplies c. For small currents of full-scale inputs it is the ladder; with smaller inputs its loss is too
small, because it counts a cell's loss in proportion to its own input, though the wire's voltage is there without it.

*Ladder*, exact: Kirchhoff's laws of a column of cells between n inputs and a wire of n equal resistors. The network is
linear, so it changes the weights and not what is done with them: w'_j = h_j w_j, where h solves one tridiagonal
system a column. `ir_drop` multiplies the resistance of the wire. The two conductances of a pair lie in columns of
their own.
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


def behind_ladder(weights: Tensor, strength: float, *, pairs: int) -> Tensor:
    """The weights that columns show behind the resistance of their wires.

    Costs one tridiagonal system a column in double precision whenever cells are programmed or aged, and nothing when
    they compute.

    Args:
        weights: (columns, rows) in units of full scale; each is the difference of `pairs` pairs of conductances, which
            are filled one after the other.
        strength: resistance of the wire in units of the standard one.
        pairs: columns of each sign that add up to a column of weights.
    """
    result = torch.zeros_like(weights, dtype=torch.float64)
    for pair in range(pairs):
        # Noise may lift the last pair above the largest conductance.
        share = (weights.abs().double() * pairs - pair).clamp(0.0, 1.0 if pair + 1 < pairs else None)
        for sign in (1.0, -1.0):
            conductance = torch.where(weights * sign > 0, share, 0.0)
            result += sign * conductance * transfer(conductance, strength / WIRE_TO_CELL_CONDUCTANCE) / pairs
    return result.to(weights)


def transfer(conductance: Tensor, resistance: float) -> Tensor:
    """Share of each cell's current without resistance that reaches the ADC, with all others driving at the same time.

    By reciprocity it is the voltage that 1 V at the ADC's end would put on each cell with all inputs at ground:
    G (2 h_j - h_{j-1} - h_{j+1}) + g_j h_j = 0 with h_{-1} = 1, and the wire ends after the last row. Solved from
    the far end: h_j = r_j h_{j-1}.

    Args:
        conductance: (columns, rows), not negative, row 0 nearest to the ADC.
        resistance: of the wire between two rows, in units of 1 / conductance.

    Returns:
        (columns, rows), 0 to 1.
    """
    load = conductance.double() * resistance
    ratios, beyond = [], torch.ones_like(load[:, 0])  # no current leaves the far end: h_n = h_{n-1}
    for row in reversed(range(load.shape[1])):
        beyond = 1.0 / (2.0 + load[:, row] - beyond)
        ratios.append(beyond)
    return torch.stack(ratios[::-1], dim=1).cumprod(dim=1)
