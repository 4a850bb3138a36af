"""`nestevo-hw elastic`: a terminal's model as one path of many through a supernet."""

import click

from nestevo_hw.commands.elastic_build import build


@click.group()
def elastic() -> None:
    """Make a model whose blocks can be changed on the terminal, and choose among them there (docs/elastic.md).

    \b
    Examples:
      nestevo-hw elastic build digits-mobilenet --out runs/elastic
    """


elastic.add_command(build)
