from pathlib import Path

import pytest
from fake_runs import fake_run

from nestevo_hw.report.page import write_report


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A complete run of three terminals over two windows."""
    return fake_run(tmp_path / "run")


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run with its report."""
    folder = fake_run(tmp_path_factory.mktemp("written") / "run")
    write_report(folder)
    return folder
