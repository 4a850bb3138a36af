"""How stored pixels are turned and mirrored so that a frame is upright, as viewers and labelling tools show it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.base.errors import InputError

OBLIQUE = 0.01
"""Share of a display matrix off its axes that counts as rounding."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways in which a picture can be stored."""

    transposed: bool = False
    """Rows and columns are exchanged, before anything is mirrored."""
    mirrored: bool = False
    """Left and right are exchanged."""
    upside_down: bool = False
    """Top and bottom are exchanged."""

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) upright of (H, W) as stored, and the other way round."""
        return (size[1], size[0]) if self.transposed else size

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Upright (H, W, 3) pixels of those as stored."""
        turned = pixels.swapaxes(0, 1) if self.transposed else pixels
        turned = turned[:, ::-1] if self.mirrored else turned
        return turned[::-1] if self.upside_down else turned


EXIF = {
    2: Turn(mirrored=True),
    3: Turn(mirrored=True, upside_down=True),
    4: Turn(upside_down=True),
    5: Turn(transposed=True),
    6: Turn(transposed=True, mirrored=True),
    7: Turn(transposed=True, mirrored=True, upside_down=True),
    8: Turn(transposed=True, upside_down=True),
}
"""Values of the EXIF tag Orientation that ask for something."""


def turn_of_matrix(matrix: tuple[int, ...], source: str) -> Turn:
    """What a video's display matrix asks for: of its nine numbers, stored x goes to (0, 1) and stored y to (3, 4).

    Raises:
        InputError: it turns the picture by something else than quarter turns.
    """
    a, b, c, d = (matrix[k] for k in (0, 1, 3, 4))
    straight, across = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(straight, across) > OBLIQUE * max(straight, across):
        raise InputError(f"{source} is to be shown at an oblique angle; encode it again, upright")
    if across > straight:
        return Turn(transposed=True, mirrored=c < 0, upside_down=b < 0)
    return Turn(mirrored=a < 0, upside_down=d < 0)
