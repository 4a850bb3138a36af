import json

from click.testing import CliRunner

from nestevo_hw.commands.report import report


def test_rebuilds_the_page(run_dir):
    result = CliRunner().invoke(report, [str(run_dir), "--json"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document == {
        "report": str(run_dir / "report.html"), "overview": str(run_dir / "overview.png"), "status": "complete",
    }  # fmt: skip
    assert (run_dir / "report.html").exists()


def test_a_folder_without_a_run_is_one_clear_line(tmp_path):
    result = CliRunner().invoke(report, [str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: no file {tmp_path / 'nowhere' / 'run.json'}; give the folder that")
    assert result.stderr.count("\n") == 1
