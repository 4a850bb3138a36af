"""A clip of five seconds goes through the whole loop as `init --video` configures it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from nestevo_hw.commands.init import init
from nestevo_hw.evolution.config import load_config, override
from nestevo_hw.evolution.run import evolve
from tests.streams.clips import write_clip


@pytest.mark.slow
def test_five_seconds_without_labels(tmp_path: Path) -> None:
    clip, path = write_clip(tmp_path / "gate.mp4", 50), tmp_path / "gate.toml"
    done = CliRunner().invoke(init, [str(path), "--video", str(clip)])
    assert done.exit_code == 0, done.output
    config = override(load_config(path), {"mutual.plan.steps": 2, "distil.plan.steps": 2, "execution.workers": 1})
    summary = evolve(config, tmp_path / "run")
    assert not summary["failures"]
    assert (tmp_path / "run" / "report.html").is_file()
