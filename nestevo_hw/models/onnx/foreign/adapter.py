"""What is said of a detector that somebody else made: what goes in, what comes out, and which classes it knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from nestevo_hw.base.documents import forbid_unknown_keys, parse_toml
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.files import read_text
from nestevo_hw.base.ranges import SHARE, Range
from nestevo_hw.models.names import ADAPTERS
from nestevo_hw.models.onnx.foreign.heads import Head

_FOLDER = Path(__file__).parents[3] / "data" / "adapters"
_SIDE = Range(1, 65_535)
_VALUE = Range(-1e6, 1e6)
_DEVIATION = Range(0, 1e6, above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What goes in: one frame, scaled."""

    layout: Literal["NCHW", "NHWC", "CHW", "HWC"] = "NCHW"
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    size: tuple[Annotated[int, _SIDE], Annotated[int, _SIDE]] | None = None
    """(H, W) in pixels; None: as the file states, or the frame's own where it states none."""
    fit: Literal["letterbox", "stretch"] = "letterbox"
    """Whether a frame keeps its shape, with bars around it."""
    align: Literal["centre", "corner"] = "centre"
    """Where a letterboxed frame stands: between two bars, or before one."""
    pad: Annotated[int, Range(0, 255)] = 0
    """Value of the bars' pixels."""
    colour: Literal["rgb", "bgr"] = "rgb"
    white: Annotated[float, Range(0, 65_535, above=True)] = 255.0
    """Value of a white pixel, before `mean` and `std`."""
    mean: tuple[Annotated[float, _VALUE], ...] = ()
    """Subtracted from each channel."""
    std: tuple[Annotated[float, _DEVIATION], ...] = ()
    """Each channel is divided by it afterwards."""

    def __post_init__(self) -> None:
        """Refuse numbers that are not one a channel, and bytes that are to be changed.

        Raises:
            ConfigError: with the key.
        """
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers and len(numbers) != 3:
                raise ConfigError(f"input.{name}: need three numbers, one a channel, got {len(numbers)}")
        if self.dtype == "uint8" and (self.mean or self.std or self.white != 255.0):
            raise ConfigError("input: bytes go in as they are; leave white, mean and std out, or take a float dtype")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Which detections count."""

    score: Annotated[float, SHARE] = 0.4
    """From which on one becomes a label."""
    unsure: Annotated[float, SHARE] = 0.25
    """From which on it becomes a region that teaches nothing; below, it is background."""
    least_score: Annotated[float, SHARE] = 0.05
    """Below which it is nothing at all."""
    overlap: Annotated[float, SHARE] = 0.6
    """IoU from which on two of a class are one object; 1 for files that have suppressed them already."""
    detections: Annotated[int, Range(1, 10_000)] = 100
    """Most of a frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """How one kind of detector is read; from a TOML file."""

    title: str = ""
    input: Taken = field(default_factory=Taken)
    outputs: Annotated[Head, Field(discriminator="kind")]
    thresholds: Thresholds = field(default_factory=Thresholds)
    classes: tuple[str, ...] = ()
    """In the order of the outputs; empty: as the file's own metadata names them."""
    class_map: Mapping[str, str] = field(default_factory=dict)
    """Its classes to those of the labels; several may share one, unnamed ones are left out. Empty: as they are."""


forbid_unknown_keys(Adapter)


def load_adapter(name: str) -> Adapter:
    """An adapter by name, or from a TOML file.

    Args:
        name: one of `ADAPTERS`, or the path of a file that ends in .toml.

    Raises:
        ConfigError: no such adapter, or a key that is unknown, missing or of a wrong value.
        InputError: the file cannot be read.
    """
    if name in ADAPTERS:
        return parse_toml(adapter_text(name), Adapter, f"adapter {name}", error=ConfigError)
    if not name.endswith(".toml"):
        raise ConfigError(f"unknown adapter {name!r}; choose from {', '.join(ADAPTERS)} or give a .toml file")
    return parse_adapter(read_text(Path(name), advice="write one by docs/label.md"), name)


def parse_adapter(text: str, name: str) -> Adapter:
    """An adapter from the content of a TOML file of that name.

    Raises:
        ConfigError: a key that is unknown, missing or of a wrong value.
    """
    try:
        return parse_toml(text, Adapter, name, advice="docs/label.md has all keys", error=ConfigError)
    except ConfigError as error:
        raise error if str(error).startswith(name) else ConfigError(f"{name}: {error}") from error


def adapter_text(name: str) -> str:
    """The file of a shipped adapter, as a start for one of your own."""
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
