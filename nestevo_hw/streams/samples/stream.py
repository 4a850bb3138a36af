"""Images with one class each, in order of time, as a terminal's stream."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.streams.frame import Annotation, FrameBatch, frame_box
from nestevo_hw.streams.samples.class_folders import ClassFolders
from nestevo_hw.streams.samples.preprocessing import Preprocessing
from nestevo_hw.streams.samples.source import Labelled, Source
from nestevo_hw.streams.weather import DriftScript, apply_weather

FPS = 1.0
"""Samples a second, where nobody says otherwise."""
_CHECKED = 64
"""Samples in memory at a time while they are looked at."""


class LabelledStream:
    """Frames of a container of labelled images; satisfies `nestevo_hw.streams.frame.Stream`.

    The order of time is that of the rows of arrays; of class folders that of the images' time stamps or names, whatever
    folder they are in.
    """

    def __init__(
        self,
        *,
        name: str,
        source: Source,
        classes: Sequence[str],
        size: tuple[int, int],
        fps: float | None = None,
        drift: DriftScript | None = None,
        seed: int = 0,
    ) -> None:
        """Look at a container without reading its images.

        Args:
            name: of the terminal.
            source: of the images and their classes.
            classes: of the model, in the order of its outputs.
            size: (H, W) to which images are stretched, pixels.
            fps: images a second; None for FPS.
            drift: weather over time, added to the images.
            seed: of the weather's noise.

        Raises:
            InputError: its labels are boxes, are none of the classes, or are all the same.
            ConfigError: a drift that only rendered street scenes can have.
        """
        self.name, self.classes, self.size = name, tuple(classes), size
        self.fps = fps or FPS
        self.length: int | None = source.count
        self.drift, self._seed = drift or DriftScript(), seed
        self.drift.check_weather_only(name)
        self._source, self._prepare = source, Preprocessing(size=size, channels=3)
        check_classes(source, self.classes)
        self._order = source.in_order_of_time() if isinstance(source, ClassFolders) else range(source.count)

    def shown(self, indices: Sequence[int]) -> set[str] | None:
        """Classes that frames show; None where that is known only when they are read."""
        labels = self._source.labels
        return None if labels is None else {self.classes[labels[self._order[index]]] for index in indices}

    def check(self, indices: Sequence[int]) -> None:
        """Read frames once, before a run relies on them.

        Raises:
            InputError: as `read`.
        """
        wanted = sorted(set(indices))
        for first in range(0, len(wanted), _CHECKED):
            self.read(wanted[first : first + _CHECKED])

    def read(self, indices: Sequence[int]) -> FrameBatch:
        """Frames at `indices` with their classes.

        Raises:
            InputError: a frame does not exist, cannot be read, is no image, or has a class the model does not know.
        """
        odd = next((index for index in indices if not 0 <= index < self._source.count), None)
        if odd is not None:
            raise InputError(f"stream {self.name!r}: {self._source.name} has frames 0 to {self._source.count - 1}, "
                             f"not {odd}")  # fmt: skip
        rows = sorted({self._order[index] for index in indices})
        found = dict(zip(rows, self._source.read(rows, self._prepare), strict=True))
        images = [self._drifted(self._image(found[self._order[i]], i), i) for i in indices]
        truth = tuple(self._truth(found[self._order[i]], i) for i in indices)
        empty = torch.empty((0, 3, *self.size), dtype=torch.uint8)
        return FrameBatch(images=torch.stack(images) if images else empty, indices=tuple(indices), truth=truth)

    def _image(self, labelled: Labelled, index: int) -> Tensor:
        sample = labelled.sample
        if not isinstance(sample, Tensor) or sample.ndim != 3:
            raise InputError(f"{self._source.name}: sample {index} is no image; give (C, H, W), (H, W, C) or (H, W)")
        if sample.dtype == torch.uint8:
            return sample
        low, high = float(sample.min()), float(sample.max())
        if not sample.is_floating_point() or low < 0.0 or high > 1.0:
            raise InputError(
                f"{self._source.name}: sample {index} holds {sample.dtype} from {low:g} to {high:g}; give pixels as "
                "uint8, or as floats of 0 to 1"
            )
        return (sample * 255).round().to(torch.uint8)

    def _truth(self, labelled: Labelled, index: int) -> Annotation:
        label = labelled.target
        if not isinstance(label, int) or label >= len(self.classes):
            raise InputError(f"{self._source.name}: sample {index} has {_label(label)}; {_known(self.classes)}")
        return Annotation.of(frame_box(torch.empty(self.size)), torch.tensor([label + 1]))

    def _drifted(self, image: Tensor, index: int) -> Tensor:
        strengths = self.drift.strengths(index)
        if not strengths:
            return image
        generator = torch_generator(self._seed, "frame", self.name, index)
        changed = apply_weather(image[None].float() / 255, [strengths], [generator])
        return (changed[0] * 255).round().to(torch.uint8)


def check_classes(source: Source, classes: Sequence[str]) -> None:
    """Refuse samples whose labels no classifier of these classes can be scored on.

    Raises:
        InputError: boxes, a class that the model does not know, or one class alone.
    """
    if source.detection:
        raise InputError(f"{source.name} gives boxes; give the class of each image")
    if source.labels is None:
        return
    shown = set(source.labels)
    if max(shown) >= len(classes):
        raise InputError(f"{source.name} has label {max(shown)}; {_known(classes)}")
    if len(shown) == 1:
        raise InputError(f"{source.name} shows nothing but class {classes[shown.pop()]!r}; give two classes or more")


def _label(label: int | Annotation) -> str:
    return f"label {label}" if isinstance(label, int) else "boxes"


def _known(classes: Sequence[str]) -> str:
    return f"the model knows {len(classes)} classes, 0 ({classes[0]}) to {len(classes) - 1} ({classes[-1]})"
