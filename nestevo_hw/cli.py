"""The `nestevo-hw` command: a group whose commands stay thin and import torch only when they run."""

import os

import click

from nestevo_hw import __version__
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
from nestevo_hw.commands.pretrain import pretrain
from nestevo_hw.commands.profile import profile
from nestevo_hw.commands.record import record
from nestevo_hw.commands.report import report
from nestevo_hw.commands.reproduce import reproduce
from nestevo_hw.commands.schedule import schedule
from nestevo_hw.commands.sensitivity import sensitivity
from nestevo_hw.commands.serve import serve
from nestevo_hw.commands.terminal import terminal


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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
