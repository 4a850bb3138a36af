"""The `nestevo-hw` command: a group whose commands stay thin and import torch only when they run."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from nestevo_hw import __version__
from nestevo_hw.base.errors import ConfigError, OutputError
from nestevo_hw.commands.bench_noise import bench_noise
from nestevo_hw.commands.compare import compare
from nestevo_hw.commands.doctor import doctor
from nestevo_hw.commands.dynamic import dynamic
from nestevo_hw.commands.elastic import elastic
from nestevo_hw.commands.evolve import evolve
from nestevo_hw.commands.export import export
from nestevo_hw.commands.harden import harden
from nestevo_hw.commands.init import init
from nestevo_hw.commands.init_device import init_device
from nestevo_hw.commands.label import label
from nestevo_hw.commands.map import map_command
from nestevo_hw.commands.options import end_with
from nestevo_hw.commands.pretrain import pretrain
from nestevo_hw.commands.profile import profile
from nestevo_hw.commands.record import record
from nestevo_hw.commands.report import report
from nestevo_hw.commands.reproduce import reproduce
from nestevo_hw.commands.schedule import schedule
from nestevo_hw.commands.sensitivity import sensitivity
from nestevo_hw.commands.serve import serve
from nestevo_hw.commands.stdout import named_stdout
from nestevo_hw.commands.terminal import terminal


class _Program(click.Group):
    """Says what is wrong with a command line as what is wrong otherwise is said: in one line, or as JSON."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        as_json, debug = "--json" in args, "--debug" in args
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="replace")  # what the terminal's encoding lacks is shown as ?
        with _in_one_line(as_json=as_json, debug=debug):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[_ASKED] = {"as_json": as_json, "debug": debug}
        return context

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - whatever a command returns
        with _in_one_line(**ctx.meta[_ASKED]):
            return super().invoke(ctx)


_ASKED = f"{__name__}.asked"


@contextmanager
def _in_one_line(*, as_json: bool, debug: bool) -> Iterator[None]:
    """Leave out the usage that click puts before an error, which `--help` shows, and say which stream is full."""
    try:
        with named_stdout():
            yield
    except OutputError as error:  # of --help, --version and documents; commands say their own
        if debug:
            raise
        end_with(error, as_json=as_json)
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        program = "nestevo-hw" if error.ctx is None else error.ctx.command_path
        end_with(ConfigError(f"{error.format_message().rstrip('.')}; see `{program} --help`"), as_json=as_json)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nestevo-hw")
def main() -> None:
    """Evolve video models at the edge, with the teacher on an analog crossbar.

    \b
    Start here:
      nestevo-hw doctor              is this machine ready?
      nestevo-hw evolve --quick      an impression of the whole loop, about a minute
      nestevo-hw evolve              the whole loop on the embedded streams
      nestevo-hw map fasterrcnn-tiny place a model on crossbar tiles
    """
    # Before torch is imported: on a busy machine its threads wait for one another and run many times slower.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


for _command in (
    doctor,
    init,
    init_device,
    label,
    record,
    pretrain,
    evolve,
    serve,
    terminal,
    export,
    compare,
    reproduce,
    report,
    map_command,
    sensitivity,
    bench_noise,
    harden,
    elastic,
    dynamic,
    schedule,
    profile,
):
    main.add_command(_command)
