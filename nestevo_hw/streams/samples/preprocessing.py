"""From pixels as they are stored to what a model takes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.sources import Pixels as Frame

Size = tuple[int, int]
"""(H, W) in pixels."""
Pixels = Literal["unit", "255", "uint8"]
"""How a model takes 8-bit pixels: as 0 to 1, as 0 to 255, or as the bytes that they are."""
_GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Geometry first, on stored values; then numbers, batch by batch."""

    size: Size | None = None
    resize: int | None = None
    channels: int | None = None
    converts: bool = True
    """Whether samples of other channels may be made to fit: images always, arrays only if it was asked for."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    pixels: Pixels = "unit"
    bicubic: bool = False
    origin: str = ""
    """Where it comes from, for people to read; "" for the options alone."""

    def image(self, frame: Frame) -> Tensor:
        """(C, h, w) uint8 of (H, W, 3) RGB pixels.

        Raises:
            InputError: the model takes neither grey nor coloured images.
        """
        if self.channels not in (None, 1, 3):
            raise InputError(f"image files have 1 or 3 channels, the model takes {self.channels}; give arrays (.npz)")
        shown = Image.fromarray(np.ascontiguousarray(frame))
        if self.size is not None:
            method = Image.Resampling.BICUBIC if self.bicubic else Image.Resampling.BILINEAR
            height, width = self.scaled((frame.shape[0], frame.shape[1]))
            top, left = self.corner((height, width))
            shown = shown.resize((width, height), method)
            shown = shown.crop((left, top, left + self.size[1], top + self.size[0]))
        if self.channels == 1:
            return torch.from_numpy(np.asarray(shown.convert("L")).copy())[None]
        return torch.from_numpy(np.asarray(shown).copy()).permute(2, 0, 1).contiguous()

    def array(self, sample: Tensor, source: str) -> Tensor:
        """(C, h, w) of a (C, H, W) array, its values as they are; a vector (F,) passes through.

        Raises:
            InputError: another number of channels than the model takes.
        """
        if sample.ndim != 3:
            return sample
        sample = self._recoloured(sample, source)
        if self.size is None or self.scaled((sample.shape[1], sample.shape[2])) == tuple(sample.shape[1:]) == self.size:
            return sample
        height, width = self.scaled((sample.shape[1], sample.shape[2]))
        top, left = self.corner((height, width))
        mode = "bicubic" if self.bicubic else "bilinear"
        resized = F.interpolate(sample[None].float(), (height, width), mode=mode, align_corners=False, antialias=True)
        cut = resized[0, :, top : top + self.size[0], left : left + self.size[1]]
        return cut.round().clamp(0, 255).to(torch.uint8) if sample.dtype == torch.uint8 else cut.contiguous()

    def values(self, batch: Tensor) -> Tensor:
        """What the model takes of stored samples (N, C, h, w) or (N, F); whole numbers but uint8 stay as they are."""
        if self.pixels == "uint8" or not (batch.dtype == torch.uint8 or batch.is_floating_point()):
            return batch
        pixels = batch.dtype == torch.uint8
        batch = batch.float()
        if pixels and self.pixels == "unit":
            batch = batch / 255
        for numbers, divide in ((self.mean, False), (self.std, True)):
            if numbers:
                each = torch.tensor(numbers).reshape(1, -1, *(1,) * (batch.ndim - 2))
                batch = batch / each if divide else batch - each
        return batch

    def scaled(self, size: Size) -> Size:
        """(H, W) of a sample of (H, W) `size` before anything is cut off."""
        if self.size is None or self.resize is None:
            return self.size or size
        short, long = min(size), max(size)
        other = int(self.resize * long / short)
        return (self.resize, other) if size[0] <= size[1] else (other, self.resize)

    def corner(self, scaled: Size) -> tuple[int, int]:
        """Top and left of what is cut out of the middle."""
        if self.size is None:
            return 0, 0
        return round((scaled[0] - self.size[0]) / 2), round((scaled[1] - self.size[1]) / 2)

    def check_numbers(self, channels: int) -> None:
        """Refuse means or deviations that are not one, or one a channel.

        Raises:
            ConfigError: another number of them.
        """
        for name, numbers in (("--mean", self.mean), ("--std", self.std)):
            if numbers and len(numbers) not in (1, channels):
                raise ConfigError(f"{name} has {len(numbers)} numbers, the samples have {channels} channels")

    @property
    def text(self) -> str:
        """In words, for people to read."""
        parts = []
        if self.size is not None:
            how = "stretched" if self.resize is None else f"shorter side {self.resize}, middle cut"
            parts.append(f"{how} to {self.size[0]} x {self.size[1]}")
        parts.append({"unit": "pixels as 0 to 1", "255": "pixels as 0 to 255", "uint8": "pixels as bytes"}[self.pixels])
        parts += [f"{name} {', '.join(f'{v:g}' for v in numbers)}"
                  for name, numbers in (("mean", self.mean), ("std", self.std)) if numbers]  # fmt: skip
        return ", ".join(parts) + (f" ({self.origin})" if self.origin else "")

    def _recoloured(self, sample: Tensor, source: str) -> Tensor:
        has, wanted = sample.shape[0], self.channels
        if wanted is None or has == wanted:
            return sample
        if self.converts and {has, wanted} == {1, 3}:
            if wanted == 3:
                return sample.expand(3, -1, -1)
            grey = (sample.float() * torch.tensor(_GREY).reshape(3, 1, 1)).sum(0, keepdim=True)
            return grey.round().to(torch.uint8) if sample.dtype == torch.uint8 else grey
        advice = f"; --channels {wanted} converts them" if {has, wanted} == {1, 3} else ""
        raise InputError(f"{source}: the samples have {has} channels, the model takes {wanted}{advice}")
