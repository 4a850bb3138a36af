"""Commands run torch on one thread unless the user says otherwise."""

import os
import subprocess
import sys

import pytest

PROBE = """
import click
from nestevo_hw.cli import main

@main.command()
def probe():
    import torch
    click.echo(torch.get_num_threads())

main(["probe"])
"""


@pytest.mark.parametrize(("given", "expected"), [(None, 1), ("2", 2)])
def test_threads_of_a_command(given: str | None, expected: int) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    if given is not None:
        environment["OMP_NUM_THREADS"] = given
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == expected
