import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import BAD_INPUTS, BadInput

Judge = Callable[[BadInput, Path], dict[str, Any]]
QUICK = BAD_INPUTS[::25]
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    """Asks a process that has imported everything, and forks for each input."""
    paths = [str(HERE), str(HERE.parent), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    settings = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
    with subprocess.Popen(
        [sys.executable, str(HERE / "judged.py")], env={**os.environ, **settings}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip

        def ask(bad: BadInput, folder: Path) -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            folder.mkdir()
            process.stdin.write(json.dumps([bad.name, str(folder)]) + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield ask
        process.kill()


@pytest.mark.parametrize("bad", QUICK, ids=lambda bad: ascii(bad.name))
def test_a_sample_is_refused_in_one_line(bad, judge, tmp_path):
    assert judge(bad, tmp_path / "case")["fault"] == ""


@pytest.mark.slow
@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: ascii(bad.name))
def test_every_bad_input_is_refused_in_one_line(bad, judge, tmp_path):
    assert judge(bad, tmp_path / "case")["fault"] == ""


def test_names_differ():
    names = [bad.name for bad in BAD_INPUTS]
    assert len(names) == len(set(names)) > 2000
