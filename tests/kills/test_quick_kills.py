"""Killed at drawn moments, small works of `pretrain`, `profile` and `compare` end as if nothing had happened."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of all works, unbroken and killed."""
    root = tmp_path_factory.mktemp("works")
    paths = [TESTS / "kills", TESTS / "profiler", TESTS, TESTS.parent, os.environ.get("PYTHONPATH", "")]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [sys.executable, str(TESTS / "kills" / "works.py"), str(root)],
        env=settings, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    return root


def files(folder: Path) -> Mapping[str, bytes]:
    """Every file with its content, in which the folder's own name is left out."""
    name = re.compile(re.escape(str(folder)).encode())
    return {str(p.relative_to(folder)): name.sub(b"", p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("work", "made"),
    [
        (
            "pretraining",
            {f"digits-cnn{v}.safetensors" for v in ("", "-m1", "-m2", "-m3")} | {"digits-cnn-journal.jsonl"},
        ),
        ("profiling", {"samples.jsonl"}),
        ("comparing", {"comparison.json", "comparison.html", "A4-1/report.html", "NestEvo-0/report.html"}),
    ],
)
def test_killed_work_ends_as_if_nothing_had_happened(work: str, made: set[str], outcomes: Path) -> None:
    whole = files(outcomes / work / "whole")
    assert made <= whole.keys()
    assert len(list((outcomes / work).glob("[0-9]"))) == 3
    for folder in (outcomes / work).glob("[0-9]"):
        found = files(folder)
        assert found.keys() == whole.keys()
        assert [name for name in whole if found[name] != whole[name]] == []
