"""Options for labelled data of the user's own, the same in every command that scores or calibrates."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import Range
from nestevo_hw.commands.options import Number, whole

if TYPE_CHECKING:
    from nestevo_hw.studies.data.spec import DataSpec

_SIDE, _CHANNELS, _BATCH, _SHARE = Range(1, 4096), Range(1, 64), Range(1, 1024), Range(0.01, 0.9)
_NUMBERS = Range(-1e9, 1e9)
_LONGEST_NUMBER = 40
_OPTIONS = (
    click.option("--data", "source", metavar="SOURCE",
                 help="Your labelled data: a COCO .json, a folder of Pascal VOC or YOLO files, a folder of class "
                 "folders of images, an .npz with arrays x and y, or package.module:loader (docs/bench-noise.md)."),
    click.option("--images", type=click.Path(), metavar="PATH",
                 help="Folder or video of labelled boxes.  [default: where their file names lead, or usually are]"),
    click.option("--size", metavar="HEIGHTxWIDTH",
                 help="Of a model's input.  [default: of the data, or as the model asks]"),
    click.option("--resize", type=whole(_SIDE), metavar="PIXELS",
                 help="Scale the shorter side to this, then cut --size out of the middle.  [default: stretch]"),
    click.option("--channels", type=whole(_CHANNELS), help="Of an image.  [default: as the model's first layer takes]"),
    click.option("--mean", metavar="A,B,..", help="Subtracted from each channel, after pixels became 0 to 1."),
    click.option("--std", metavar="A,B,..", help="Divides each channel afterwards."),
    click.option("--pixels", type=click.Choice(["unit", "255", "uint8"]),
                 help="How the model takes 8-bit pixels: as 0 to 1, 0 to 255, or as bytes.  [default: unit; as an ONNX "
                 "file asks]"),
    click.option("--transforms", metavar="WEIGHTS",
                 help="Size, mean and std of torchvision's weights of this name, such as "
                 "ResNet18_Weights.IMAGENET1K_V1."),
    click.option("--classes", metavar="A,B,..|FILE",
                 help="Of the model, in the order of its outputs; a file has one a line."),
    click.option("--first-class", type=whole(Range(0, 1)),
                 help="Number that a detector gives its first class.  [default: 1; 0 in rows of six numbers]"),
    click.option("--batch", type=whole(_BATCH), help="Samples of one call, if the model takes only so many."),
    click.option("--calibration-share", type=Number(_SHARE), default=0.2, show_default=True,
                 help="Of --data, held out to set input ranges and never scored."),
)  # fmt: skip
_NAMES = ("images", "resize", "channels", "pixels", "transforms", "first_class", "batch", "calibration_share")


def data_options(*, own_size: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options to a command body, which gets them as one dictionary `data` for `spec_of`.

    Args:
        own_size: the command has a --size already, as text or None, which means these samples too.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(*args: object, **options: Any) -> Any:  # noqa: ANN401 - as the command returns
            own = {"size": options["size"]} if own_size else {}
            names = (*_NAMES, "source", "size", "mean", "std", "classes")
            return command(*args, data={name: options.pop(name) for name in names}, **own, **options)

        found: Callable[..., Any] = run
        for option in reversed(_OPTIONS[:2] + _OPTIONS[3:] if own_size else _OPTIONS):
            found = option(found)
        return found

    return decorate


def spec_of(options: dict[str, Any]) -> "DataSpec":
    """What the options say together.

    Raises:
        ConfigError: a size or a list of numbers that is none, or options that contradict one another.
    """
    from nestevo_hw.base.sizes import parse_size
    from nestevo_hw.studies.data.spec import DataSpec

    size = None if options["size"] is None else parse_size(options["size"])
    return DataSpec(
        source=options["source"], size=size, mean=_numbers("--mean", options["mean"]),
        std=_numbers("--std", options["std"]), classes=named_classes(options["classes"]),
        **{name: options[name] for name in _NAMES},
    )  # fmt: skip


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    from nestevo_hw.base.errors import ConfigError

    if text is None:
        return ()
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or any(number not in _NUMBERS for number in numbers):
        shown = text if len(text) <= _LONGEST_NUMBER else f"{text[:_LONGEST_NUMBER]}..."
        raise ConfigError(f"{option}: need numbers separated by commas, such as 0.485,0.456,0.406, got {shown!r}")
    return numbers


def named_classes(text: str | None) -> tuple[str, ...]:
    """Classes separated by commas, or of a file that has one a line; none of no text.

    Raises:
        ConfigError: no name, or one twice.
    """
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.base.files import read_text

    if text is None:
        return ()
    lines = read_text(Path(text)).splitlines() if "," not in text and Path(text).is_file() else text.split(",")
    names = tuple(name.strip() for name in lines if name.strip())
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"--classes: need different names separated by commas, or a file of them, got {len(names)}")
    return names


def class_map_of(pairs: Sequence[str]) -> dict[str, str]:
    """What --class-map says, FROM=TO each.

    Raises:
        ConfigError: one is not of this form.
    """
    from nestevo_hw.base.errors import ConfigError

    found: dict[str, str] = {}
    for text in pairs:
        source, equals, target = text.partition("=")
        if not (source and equals and target):
            raise ConfigError(f"--class-map takes FROM=TO, got {text!r}")
        if found.setdefault(source, target) != target:
            raise ConfigError(f"--class-map names {source!r} twice, as {found[source]!r} and {target!r}; leave one out")
    return found
