"""The `nestevo-hw` command: a group whose commands stay thin and import torch only when they run."""

import click

from nestevo_hw import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nestevo-hw")
def main() -> None:
    """Evolve video models at the edge, with the teacher on an analog crossbar.

    \b
    Start here:
      nestevo-hw doctor              is this machine ready?
      nestevo-hw evolve              the whole loop on the embedded streams
      nestevo-hw map fasterrcnn-tiny place a model on crossbar tiles
    """
