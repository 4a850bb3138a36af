"""What a user says of labelled data and of what a model takes, as plain values."""

from dataclasses import dataclass, fields
from typing import Annotated

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.ranges import Range
from nestevo_hw.streams.samples.preprocessing import Pixels, Size

CALIBRATION_SHARE = Range(0.01, 0.9)
USUAL_SHARE = 0.2
"""Of the samples, held out for calibration."""
MOST_CALIBRATION = 32
"""Samples that set the input ranges; more of the held-out ones are not read."""
SIDE = Range(1, 4096)
BATCH = Range(1, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Where labelled samples are, and how a model takes them; None where the model or the data decides."""

    source: str | None = None
    """COCO JSON, folder of Pascal VOC or YOLO files or of class folders, .npz, or `package.module:loader`; None for
    made-up inputs."""
    images: str | None = None
    """Folder or video of labelled boxes; None for where their file names lead, or usually are."""
    size: Size | None = None
    """(H, W) of a model's input."""
    resize: Annotated[int, SIDE] | None = None
    """Shorter side before the middle of `size` is cut out; None: stretched to `size`."""
    channels: Annotated[int, Range(1, 64)] | None = None
    mean: tuple[float, ...] = ()
    """Subtracted from each channel."""
    std: tuple[float, ...] = ()
    """Each channel is divided by it afterwards."""
    pixels: Pixels | None = None
    transforms: str | None = None
    """Weights of torchvision whose preprocessing is meant, such as ResNet18_Weights.IMAGENET1K_V1."""
    classes: tuple[str, ...] = ()
    """Of the model, in the order of its outputs."""
    first_class: Annotated[int, Range(0, 1)] | None = None
    """Number of a detector's first class."""
    batch: Annotated[int, BATCH] | None = None
    """Samples of one call; None for any number."""
    calibration_share: Annotated[float, CALIBRATION_SHARE] = USUAL_SHARE

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: an option that needs another, or contradicts it.
        """
        if self.source is None:
            self._check_alone()
        if self.resize is not None and (self.size is None or self.resize < max(self.size)):
            raise ConfigError(f"--resize {self.resize} needs a --size that is no larger, to cut out of the middle")
        if self.pixels == "uint8" and (self.mean or self.std):
            raise ConfigError("--pixels uint8 leaves the bytes as they are; leave --mean and --std out")
        if any(value == 0 for value in self.std):
            raise ConfigError("--std divides, so none of its numbers may be 0")

    def _check_alone(self) -> None:
        """Only size and channels mean something for made-up inputs."""
        usual = {field.name: field.default for field in fields(DataSpec)}
        for name, value in usual.items():
            if name not in ("size", "channels") and getattr(self, name) != value:
                raise ConfigError(f"--{name.replace('_', '-')} says how samples of --data are read; give --data too")
