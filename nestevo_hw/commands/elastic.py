"""`nestevo-hw elastic`: a terminal's model as one path of many through a supernet."""

import click

from nestevo_hw.commands.elastic_adapt import adapt
from nestevo_hw.commands.elastic_build import build
from nestevo_hw.commands.elastic_search import search


@click.group(short_help="Models that change their blocks on the terminal.")
def elastic() -> None:
    """Make a model whose blocks can be changed on the terminal, and choose among them there (docs/elastic.md).

    \b
    Examples:
      nestevo-hw elastic build digits-mobilenet --out runs/elastic
      nestevo-hw elastic search runs/elastic --out runs/search
      nestevo-hw elastic adapt runs/elastic --search runs/search
    """


for _command in (build, search, adapt):
    elastic.add_command(_command)
