"""`nestevo-hw profile` on samples that are there already."""

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner
from web_pages import read_page

from nestevo_hw.commands.profile import profile

# Beside the tests of the profiler, which pytest only finds by itself when it runs those, too.
sys.path.append(str(Path(__file__).parents[1] / "profiler"))
from made_up_samples import write_made_up_samples


def run(*arguments):
    return CliRunner().invoke(profile, [str(a) for a in arguments])


def test_learns_from_what_is_there_and_writes_all_files(tmp_path):
    write_made_up_samples(tmp_path, known=24, held_out=8)
    result = run("--out", tmp_path, "--resume", "--samples", 24, "--held-out", 8, "--passes", 1, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["samples"] == 24
    assert {"memory_mape", "memory_under_rate", "time_mape", "coverage90"} <= document["held_out"].keys()
    assert document["held_out"]["samples"] == 8
    assert set(document["baselines"]) == {"time", "memory"}
    assert {"linear", "gradient boosting", "analytic formula"} <= document["baselines"]["time"].keys()
    assert document == json.loads((tmp_path / "profile.json").read_text())
    page = read_page(tmp_path / "report.html")
    assert "paper's formula" in page.text
    assert page.tags.count("svg") == 4
    for name in ("time-scatter.png", "memory-scatter.png", "time-errors.png", "memory-errors.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "profile.safetensors").is_file()
    second = run("--out", tmp_path)
    assert second.exit_code == 2
    assert "add --resume to go on" in second.stderr


def test_out_of_time_before_there_is_enough(tmp_path):
    result = run("--out", tmp_path, "--minutes", "1e-9")
    assert result.exit_code == 1
    assert "holds no samples; go on with" in result.stderr


def test_help_is_instant():
    code = (
        "import sys; from click.testing import CliRunner; from nestevo_hw.commands.profile import profile; "
        "print(CliRunner().invoke(profile, ['--help']).output, 'torch' in sys.modules)"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "nestevo-hw profile --out runs/profile --resume" in text
    told = " ".join(text.split())
    assert "learn from, 16 or more." in told
    assert "judge by, 4 or more, measured" in told
    assert "where it is 16 samples or more, and --resume" in told
    assert text.rstrip().endswith("False")
