"""A run that does not come to its end says why in its folder."""

import json

import pytest

from nestevo_hw.base.errors import ConfigError, OutputError, StoppedError, TaskError
from nestevo_hw.evolution import run as running
from nestevo_hw.evolution.config import load_preset
from nestevo_hw.report.events import read_run


def ended(monkeypatch, folder, error):
    """The header of a run that ends in this way before its first task."""

    def fail(*_):
        raise error

    monkeypatch.setattr(running, "_all_windows", fail)
    with pytest.raises(type(error) if isinstance(error, Exception) else StoppedError):
        running.evolve(load_preset("digits"), folder)
    return json.loads((folder / "run.json").read_text())


@pytest.mark.parametrize("error", [TaskError("task w0/label/a: worker\ndied"), RuntimeError("a bug"), OSError("full")])
def test_what_fails_is_said_with_its_reason_on_its_page_too(error, tmp_path, monkeypatch):
    header = ended(monkeypatch, tmp_path / "run", error)
    assert (header["status"], header["ended"]) == ("failed", " ".join(str(error).split()))
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The run failed: " in page
    assert f"evolve --resume {(tmp_path / 'run').resolve()}" in page


def test_what_is_stopped_is_said_with_how_to_go_on(tmp_path, monkeypatch):
    header = ended(monkeypatch, tmp_path / "run", KeyboardInterrupt())
    assert header["status"] == "stopped"
    assert header["ended"].startswith("stopped after 0 tasks, which are kept in ")
    assert "--resume" in header["ended"]
    assert read_run(tmp_path / "run").state == "stopped"


def test_what_goes_on_with_other_versions_says_so(tmp_path, monkeypatch):
    folder, warned = tmp_path / "run", []
    header = ended(monkeypatch, folder, KeyboardInterrupt())
    versions = header["versions"] | {"torch": "1.0", "gone": "1"}
    (folder / "run.json").write_text(json.dumps(header | {"versions": versions}))
    with pytest.raises(StoppedError):
        running.evolve(load_preset("digits"), folder, resume=True, on_warning=warned.append)
    here = header["versions"]["torch"]
    assert (
        warned[-1] == f"{folder} was begun with torch 1.0 (here {here}); what is left of it may differ for that alone"
    )


def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch):
    def full(*_):
        raise OutputError("no space")

    monkeypatch.setattr(running, "write_report", full)
    header = ended(monkeypatch, tmp_path / "run", TaskError("disk full"))
    assert header["ended"] == "disk full"


def test_what_is_refused_is_not_to_be_resumed(tmp_path, monkeypatch):
    header = ended(monkeypatch, tmp_path / "run", ConfigError("task setup/prepare failed: drift.min_samples = 9: .."))
    assert header["status"] == "refused"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The run was refused: task setup/prepare failed: drift.min_samples = 9" in page
    assert "into a new folder" in page
    assert "--resume" not in page
