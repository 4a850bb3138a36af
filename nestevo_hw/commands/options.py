"""What commands share: --json, --debug, errors as one clear line, and options with names from tables."""

import functools
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, get_args

import click
from click.shell_completion import CompletionItem

from nestevo_hw.base.compute import AUTO, LISTED, NAMES, is_compute_device
from nestevo_hw.base.errors import ConfigError, MissingFileError, NestEvoError, StoppedError
from nestevo_hw.base.interruption import signals_as_ctrl_c, stopped
from nestevo_hw.base.names import is_own
from nestevo_hw.base.ranges import AGE_S, FRAMES, MOST_WINDOWS, SEED, Range
from nestevo_hw.base.text import one_line
from nestevo_hw.commands import completion
from nestevo_hw.commands.pulse import beating
from nestevo_hw.crossbar.devices import PRESETS, AdcRange

COMPLETED_WITH_FAILURES = 3
"""Exit code of a command that reached its end, but not with all of its tasks."""
_LONGEST_QUOTE = 40
"""Characters of a refused value that are shown."""
Command = Callable[..., dict[str, Any] | None]


def crossbar_option(default: str | None, told: str) -> Callable[[Command], Command]:
    """The option --analog; `told` says in its help what is taken where it is not given."""
    return click.option(
        "--analog", default=default, metavar="NAME|FILE.toml", shell_complete=completion.devices,
        help=f"Of the crossbar: {', '.join(PRESETS)}, or your own (docs/devices.md).  [default: {told}]",
    )  # fmt: skip


analog_option = crossbar_option("pcm", "pcm")


class ComputeDevice(click.ParamType[str]):
    """The name of a compute device; those of the crossbar's devices are told apart."""

    name = "device"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - as click calls it
        """See `click.ParamType.get_metavar`."""
        return f"[{'|'.join(NAMES)}|cuda:N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 - as click's
        """See `click.ParamType.convert`."""
        if value in PRESETS or str(value).endswith(".toml"):
            self.fail(
                f"{value!r} is a device of the crossbar, which is --analog, or teacher.analog of a configuration; this "
                f"option is what computes: {LISTED}", param, ctx,
            )  # fmt: skip
        if not is_compute_device(value):
            self.fail(f"{value!r} is not {LISTED}", param, ctx)
        return str(value)

    def shell_complete(self, _ctx: click.Context, _param: click.Parameter, incomplete: str, /) -> list[CompletionItem]:
        """See `click.ParamType.shell_complete`."""
        return [CompletionItem(name) for name in NAMES if name.startswith(incomplete)]


compute_option = click.option(
    "--device", type=ComputeDevice(), default=AUTO, show_default=True,
    help="What models and the simulated crossbar compute on; auto is the first GPU, or the CPU without one.",
)  # fmt: skip
compute_override = click.option(
    "--device", type=ComputeDevice(), help="Override what models and the simulated crossbar compute on."
)
model_argument = click.argument("model", shell_complete=completion.models)
weights_option = click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE",
    help="The model's weights: safetensors, or a state dict of PyTorch (.pt, .pth).",
)  # fmt: skip
adc_range_option = click.option(
    "--adc-range", type=click.Choice(get_args(AdcRange)),
    help="Full scale of the ADCs: one for all layers, or each layer's own from calibration frames.  [default: as the "
    "device has it]",
)  # fmt: skip
grouped_option = click.option(
    "--grouped", is_flag=True,
    help="Put grouped and depthwise convolutions on tiles too, though they leave most cells empty.",
)  # fmt: skip


class Number(click.ParamType[float]):
    """A number within a range, which its refusal names.

    Args:
        allowed: the range.
        whole: only whole numbers.
    """

    def __init__(self, allowed: Range, *, whole: bool = False) -> None:
        self.name = "integer" if whole else "number"
        self._allowed, self._whole = allowed, whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click's
        """See `click.ParamType.convert`."""
        try:
            number = int(value) if self._whole else float(value)
        except ValueError:
            number = math.nan
        if number not in self._allowed:
            text = str(value)
            got = text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."
            self.fail(f"need {'a whole' if self._whole else 'a'} number {self._allowed}, got {got}", param, ctx)
        return number


def age_option(but: str = "") -> Callable[[Command], Command]:
    """The option --age; `but` says in its help where it does not hold."""
    return click.option(
        "--age", "age_s", type=Number(AGE_S), metavar="SECONDS",
        help=f"Time after programming{but}; 0 is before the first read.  [default: the first read: 1 s, or where the "
        "device's model begins]",
    )  # fmt: skip


class NameOrOwn(click.ParamType[str]):
    """One of some names, or `package.module:name` of something in the user's own code."""

    name = "name"

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - as click calls it
        """See `click.ParamType.get_metavar`."""
        return f"[{'|'.join(self._names)}|MODULE:NAME]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 - as click's
        """See `click.ParamType.convert`."""
        if value not in self._names and not is_own(value):
            self.fail(f"{value!r} is not one of {', '.join(self._names)} or package.module:name", param, ctx)
        return str(value)


def whole(allowed: Range) -> Number:
    """The type of an option that takes a whole number of this range."""
    return Number(allowed, whole=True)


REPEATS = whole(Range(2, 1000))
SEED_NUMBER = whole(SEED)
FRAME_COUNT = whole(FRAMES)
WINDOW_COUNT = whole(Range(1, MOST_WINDOWS))
WORKERS = whole(Range(1, 1024))


def machine_readable(command: Command) -> Callable[..., None]:
    """Add --json and --debug to a command body.

    The body returns its machine-readable document and prints its human-readable one only when its
    `as_json` argument is false. Expected failures become one line on stderr: exit code 2 for a
    ConfigError or a MissingFileError, 1 for any other NestEvoError or OSError; --debug shows the traceback
    instead. Ctrl-C, SIGTERM and SIGHUP are one line too, and exit code 130, 143 or 129. A document with
    "failures" is a command that reached its end without some of its tasks: exit code 3. A command that
    takes longer than a minute says what it is at.
    """

    @click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON document on stdout, nothing else; an error is one, too, as the last line of stderr.",
    )
    @click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
    @functools.wraps(command)
    def run(*args: object, as_json: bool, debug: bool, **options: object) -> None:
        try:
            with signals_as_ctrl_c(), beating("at work", quiet=as_json):
                document = command(*args, as_json=as_json, **options)
        except (NestEvoError, OSError, KeyboardInterrupt) as error:
            if debug:
                raise
            end_with(error, as_json=as_json)
        if as_json and document is not None:
            from nestevo_hw.base.documents import json_text

            click.echo(json_text(document))
        if document and document.get("failures"):
            sys.exit(COMPLETED_WITH_FAILURES)

    return run


def refuse_preset_beside(config: Path | None, preset: str | None) -> None:
    """Refuse a preset beside a configuration, which would be used in its place.

    Raises:
        ConfigError: both are given.
    """
    if config is not None and preset is not None:
        raise ConfigError(f"--preset {preset} is what runs without a configuration; leave it or {config} out")


def warn(line: str) -> None:
    """Say on stderr what the command can do with, but should be looked at."""
    click.echo(f"Warning: {line}", err=True)


def listed(title: str, meanings: Mapping[str, str]) -> str:
    """Names and what they mean, as the end of a command's help; lines stay as they are."""
    width = max(map(len, meanings)) + 2
    return "\n".join(["\b", f"{title}:", *(f"  {name:<{width}}{text}" for name, text in meanings.items())])


def end_with(error: NestEvoError | OSError | KeyboardInterrupt, *, as_json: bool) -> NoReturn:
    """Say in one line, or one JSON document, what went wrong, and leave with the code of its kind."""
    if isinstance(error, KeyboardInterrupt):
        error = stopped(error, "", "run the same command again")
    _report(error, as_json=as_json)
    if isinstance(error, StoppedError):
        sys.exit(128 + error.number)
    sys.exit(2 if isinstance(error, ConfigError | MissingFileError) else 1)


def _report(error: Exception, *, as_json: bool) -> None:
    message = one_line(str(error))
    if as_json:
        click.echo(json.dumps({"error": {"type": type(error).__name__, "message": message}}), err=True)
    else:
        click.echo(f"Error: {message}", err=True)
