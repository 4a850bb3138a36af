"""The embedded stream: rendered street scenes with scripted drift and free ground truth."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.seeding import derive_seed, torch_generator
from nestevo_hw.streams.drift_kinds import WEATHER
from nestevo_hw.streams.frame import Annotation, FrameBatch
from nestevo_hw.streams.rendered.place import make_place
from nestevo_hw.streams.rendered.scene import Rendered, Scene
from nestevo_hw.streams.weather import DriftScript, apply_weather

CLASSES = ("pedestrian", "car", "cyclist")
SENSOR_NOISE = 0.008
"""Standard deviation of the day's pixel noise, of full scale."""


class SyntheticStream:
    """An endless stream of one fixed camera; frame i is a pure function of the arguments and i.

    The class satisfies `nestevo_hw.streams.frame.Stream`.
    """

    FPS = 10.0

    def __init__(
        self,
        *,
        name: str,
        place: str,
        seed: int,
        size: tuple[int, int] = (128, 160),
        fps: float = FPS,
        drift: DriftScript | None = None,
    ) -> None:
        """Describe a stream; nothing is painted before the first read.

        Args:
            name: of the terminal.
            place: any text; decides the scenery together with the seed.
            seed: of scenery, road users and noise.
            size: (H, W), pixels.
            fps: frames a second.
            drift: conditions over time; clear day without it.

        Raises:
            ConfigError: a frame smaller than 64 x 64 or a frame rate that is not positive.
        """
        if min(size) < 64:
            raise ConfigError(f"stream {name!r}: need a size of at least 64 x 64 pixels, got {size}")
        if not fps > 0:
            raise ConfigError(f"stream {name!r}: need fps above 0, got {fps}")
        self.name = name
        self.place = place
        self.seed = seed
        self.size = size
        self.fps = fps
        self.drift = drift or DriftScript()
        self.classes: tuple[str, ...] = CLASSES
        self.length: int | None = None

    def read(self, indices: Sequence[int]) -> FrameBatch:
        """Frames at `indices` with their truth.

        Raises:
            InputError: a negative index.
        """
        if indices and min(indices) < 0:
            raise InputError(f"stream {self.name!r} has no frame {min(indices)}; indices start at 0")
        frames = [self._frame(index) for index in indices]
        if not frames:
            return FrameBatch(images=torch.empty((0, 3, *self.size), dtype=torch.uint8), indices=(), truth=())
        images, truth = zip(*frames, strict=True)
        return FrameBatch(images=torch.stack(images), indices=tuple(indices), truth=truth)

    def _frame(self, index: int) -> tuple[Tensor, Annotation]:
        strengths = self.drift.strengths(index)
        scene = self._scene(strengths.get("scene", 0.0))
        rendered = scene.render(
            index / self.fps, novelty=strengths.get("mix", 0.0), lit=strengths.get("night", 0.0) > 0
        )
        return self._exposed(rendered, strengths, index, scene), rendered.truth

    def _scene(self, unusual: float) -> Scene:
        # A ramp of "scene" would repaint the place at each frame; tenths are enough.
        tenths = math.ceil(10 * unusual)
        name = f"{self.place} (elsewhere)" if tenths else self.place
        return _scene(name, self.seed, self.size, tenths)

    def _exposed(self, rendered: Rendered, strengths: Mapping[str, float], index: int, scene: Scene) -> Tensor:
        image = torch.from_numpy(np.ascontiguousarray(rendered.pixels.transpose(2, 0, 1))).float() / 255
        image = image * self._daylight(index)
        generator = torch_generator(self.seed, "frame", self.place, index)
        image += SENSOR_NOISE * torch.randn(image.shape, generator=generator)
        if any(kind in strengths for kind in WEATHER):
            lights = None if rendered.lights is None else torch.from_numpy(rendered.lights)[None, None]
            horizon = scene.place.camera.horizon_px / self.size[0]
            image = apply_weather(image.clamp(0, 1)[None], [strengths], [generator], horizon=horizon, lights=lights)[0]
        return (image * 255).round().clamp(0, 255).to(torch.uint8)

    def _daylight(self, index: int) -> Tensor:
        """Slow change of sun and cloud: (3, 1, 1) gain within about 0.8 to 1.15, warmer when brighter."""
        time_s = index / self.fps
        phase = derive_seed(self.seed, "daylight", self.place) % 1000 / 1000 * 2 * math.pi
        sun = 0.6 * math.sin(time_s / 37 + phase) + 0.4 * math.sin(time_s / 11 + 2.3 * phase)
        gain = 0.98 + 0.14 * sun
        return torch.tensor((gain * (1 + 0.03 * sun), gain, gain * (1 - 0.04 * sun))).view(3, 1, 1)


@lru_cache(maxsize=16)
def _scene(name: str, seed: int, size: tuple[int, int], tenths: int) -> Scene:
    return Scene(make_place(name, seed, size, unusual=tenths / 10))
