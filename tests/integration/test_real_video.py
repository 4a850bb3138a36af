"""Evolution on a real labelled clip, where one is at hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(os.environ.get("NESTEVO_DATA", "absent")) / "video"
EXAMPLE = Path(__file__).parents[2] / "examples" / "vtest.toml"


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "vtest.mp4").exists(), reason="set NESTEVO_DATA to a folder with video/vtest.mp4")
def test_terminals_recover_on_a_real_clip(tmp_path):
    def run(*arguments: str) -> dict[str, object]:
        command = [sys.executable, "-m", "nestevo_hw", *arguments, "--json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    for name in ("vtest.mp4", "vtest.json"):
        (tmp_path / name).symlink_to(DATA / name)
    run(
        "pretrain", "--out", "checkpoints", "--video", "vtest.mp4", "--labels", "vtest.json",
        "--class-map", "person=person", "--until", "400", "--steps", "500", "--terminal-steps", "150",
    )  # fmt: skip
    summary = run("evolve", str(EXAMPLE), "--out", "run")
    assert summary["gain"]["terminals_relative"] > 0
