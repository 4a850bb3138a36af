"""A stream of handwritten digits from scikit-learn: each frame shows one, in the colours of its place.

The 1797 digits are split once: 55 % to pre-train on, 15 % for the server's in-domain frames, 30 % for terminals. A
terminal shows each of its 539 digits once before any comes again, so what one window tests was not uploaded in it, but
for a few where a window straddles two turns. Terminals share these digits, each in an order of its own, and a later
window tests digits that an earlier one uploaded, without labels.

There are few digits, so some come back where frames should be new, turned and placed otherwise: turns of a skewed
stream are shorter (79 digits with a skew of 0.7, so that of an upload of 96 frames half of what the window tests was
among them), neighbours upload what a terminal tests, and the validation gate scores digits that replay has shown.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.seeding import derive_seed, torch_generator
from nestevo_hw.streams.frame import Annotation, FrameBatch, Role, frame_box
from nestevo_hw.streams.weather import DriftScript, apply_weather

CLASSES = tuple(str(digit) for digit in range(10))
SHARES: dict[Role, tuple[float, float]] = {"training": (0.0, 0.55), "reference": (0.55, 0.7), "terminal": (0.7, 1.0)}
"""From where to where in a fixed random order each role's digits lie."""
SENSOR_NOISE = 0.02
"""Standard deviation of pixel noise, of full scale."""


class DigitStream:
    """An endless stream; frame i is a pure function of the arguments and i.

    The class satisfies `nestevo_hw.streams.frame.Stream`.
    """

    FPS = 1.0

    def __init__(
        self,
        *,
        name: str,
        place: str,
        seed: int,
        size: tuple[int, int] = (32, 32),
        drift: DriftScript | None = None,
        role: Role = "terminal",
        skew: float = 0.0,
    ) -> None:
        """Describe a stream.

        Args:
            name: of the terminal.
            place: decides colours.
            seed: of order, position and noise.
            size: (H, W), pixels.
            drift: conditions over time.
            role: which digits it may show.
            skew: share of the frames that show one class, drawn with the seed; 0: classes as they come. Of the other
                digits a turn has fewer then, each time others.

        Raises:
            ConfigError: a drift that only rendered street scenes can have.
        """
        self.name = name
        self.place = place
        self.seed = seed
        self.size = size
        self.fps = self.FPS
        self.drift = drift or DriftScript()
        self.drift.check_weather_only(name)
        self.classes: tuple[str, ...] = CLASSES
        self.length: int | None = None
        self._rows = _rows(role)
        self._favoured = self._rows[:0] if skew == 0.0 else self._drawn_class()
        kept = len(self._favoured) * (1 - skew) / skew if skew else len(self._rows)
        self._turn = len(self._favoured) + min(round(kept), len(self._rows) - len(self._favoured))

    def read(self, indices: Sequence[int]) -> FrameBatch:
        """Frames at `indices` with their truth.

        Raises:
            InputError: a negative index.
        """
        if indices and min(indices) < 0:
            raise InputError(f"stream {self.name!r} has no frame {min(indices)}; indices start at 0")
        frames = [self._frame(index) for index in indices]
        images = torch.stack([image for image, _ in frames]) if frames else torch.empty((0, 3, *self.size)).byte()
        return FrameBatch(images=images, indices=tuple(indices), truth=tuple(truth for _, truth in frames))

    def _frame(self, index: int) -> tuple[Tensor, Annotation]:
        turn, position = divmod(index, self._turn)
        row = int(self._shown(turn)[position])
        pixels, labels = _digits()
        random = torch_generator(self.seed, "digit", self.place, index)
        ink = _placed(pixels[row], self.size, random)
        paper, pen = _colours(self.place, self.seed)
        image = paper + ink * (pen - paper)
        image = image + SENSOR_NOISE * torch.randn(image.shape, generator=random)
        strengths = self.drift.strengths(index)
        if strengths:
            image = apply_weather(image.clamp(0, 1)[None], [strengths], [random])[0]
        truth = Annotation.of(frame_box(image), torch.tensor([int(labels[row]) + 1]))
        return (image * 255).round().clamp(0, 255).to(torch.uint8), truth

    def _drawn_class(self) -> np.ndarray:
        """Rows of the class that a skewed stream shows most."""
        labels = _digits()[1][self._rows]
        rows: np.ndarray = self._rows[labels == derive_seed(self.seed, "class", self.place) % len(CLASSES)]
        return rows

    def _shown(self, turn: int) -> np.ndarray:
        """Rows in the order in which a turn shows them."""
        rows: np.ndarray = self._rows[_order(self.seed, self.place, turn, len(self._rows))]
        if len(self._favoured):
            others = rows[~np.isin(rows, self._favoured)][: self._turn - len(self._favoured)]
            rows = rows[np.isin(rows, [*self._favoured, *others])]
        return rows


@lru_cache(maxsize=1)
def _digits() -> tuple[Tensor, np.ndarray]:
    """(1797, 1, 8, 8) ink in 0..1, and the digits they show."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return torch.from_numpy(digits.images / 16.0).float()[:, None], digits.target


@lru_cache(maxsize=8)
def _rows(role: Role) -> np.ndarray:
    count = len(_digits()[1])
    order = np.random.default_rng(20240531).permutation(count)
    first, last = (round(share * count) for share in SHARES[role])
    return order[first:last]


@lru_cache(maxsize=16)
def _order(seed: int, place: str, turn: int, count: int) -> np.ndarray:
    return np.random.default_rng(derive_seed(seed, "order", place, turn)).permutation(count)


def _placed(ink: Tensor, size: tuple[int, int], random: torch.Generator) -> Tensor:
    """A digit turned by up to 12 degrees, moved by up to a tenth of the frame: (1, H, W)."""
    angle, right, down, scale = (torch.rand(4, generator=random) * 2 - 1).tolist()
    turn, grow = math.radians(12 * angle), 1.15 + 0.1 * scale
    matrix = torch.tensor(
        [[grow * math.cos(turn), -grow * math.sin(turn), 0.2 * right],
         [grow * math.sin(turn), grow * math.cos(turn), 0.2 * down]]
    )  # fmt: skip
    grid = F.affine_grid(matrix[None], [1, 1, *size], align_corners=False)
    return F.grid_sample(ink[None], grid, mode="bicubic", align_corners=False)[0].clamp(0, 1)


@lru_cache(maxsize=16)
def _colours(place: str, seed: int) -> tuple[Tensor, Tensor]:
    """(3, 1, 1) colours of paper and pen, the paper light, the pen dark."""
    random = torch_generator(seed, "colours", place)
    paper = 0.7 + 0.3 * torch.rand(3, 1, 1, generator=random)
    return paper, 0.35 * torch.rand(3, 1, 1, generator=random)
