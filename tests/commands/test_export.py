"""`nestevo-hw export` writes what a camera runs, and over nothing else."""

import errno
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nestevo_hw.commands.export import export
from nestevo_hw.models.checkpoint import load_model, pretrained_path, save_model


def ran(*words):
    return CliRunner().invoke(export, [str(word) for word in words])


def test_a_shipped_model_in_both_voices(tmp_path):
    told = ran("digits-cnn-m3", "--out", tmp_path / "d", "--colour", "bgr", "--score", "0.7")
    assert told.exit_code == 0, told.output
    assert "in:  frames, NHWC uint8 0 to 255, bgr, any size, seen at 32 x 32" in told.output
    again = ran("digits-cnn-m3", "--out", tmp_path / "d", "--size", "32x48", "--json")
    document = json.loads(again.stdout)
    assert document.pop("folder") == str(tmp_path / "d")
    assert document == json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert (document["input"]["colour"], document["input"]["scaled_to"]) == ("rgb", [32, 48])
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"model.onnx", "manifest.json"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nowhere.safetensors",), "no checkpoint 'nowhere.safetensors'"),
        (("digits-cnn-m3", "--task", "detection"), "expected a Faster R-CNN"),
        (("digits-cnn-m3", "--size", "40x48"), "cannot be written as ONNX"),
        (("digits-cnn-m3", "--size", "8"), "need a size as HEIGHTxWIDTH"),
        (("digits-cnn-m3", "--score", "2"), "need a number from 0 to 1"),
        (("digits-cnn-m3", "--factory", "mine:make"), "--factory is for a checkpoint of your own code"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(words, why, tmp_path, capfd):
    refused = ran(*words, "--out", tmp_path / "d")
    assert refused.exit_code in (1, 2)
    assert why in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("Error: ")
    assert (refused.stdout, *capfd.readouterr()) == ("", "", "")  # libraries print past Python's streams
    assert not (tmp_path / "d").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    refused = ran("digits-cnn-m3", "--out", tmp_path)
    assert (refused.exit_code, [path.name for path in tmp_path.iterdir()]) == (2, ["mine.txt"])
    assert "holds something else than a deployment" in refused.stderr


@pytest.mark.parametrize("deployed", [False, True])
def test_a_disk_that_is_full_after_the_model_leaves_what_was_there(deployed, tmp_path, monkeypatch):
    folder, usual = tmp_path / "d", Path.write_text
    if deployed:
        assert ran("digits-cnn-m3", "--out", folder).exit_code == 0
    before = {path.name: path.read_bytes() for path in folder.glob("*")}

    def full(path, *args, **kwargs):
        if "manifest.json" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return usual(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    refused = ran("digits-cnn-m2", "--out", folder)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"Error: cannot write {folder / 'manifest.json'}: No space left on device")
    assert {path.name: path.read_bytes() for path in folder.glob("*")} == before
    assert folder.exists() == deployed


def test_code_of_a_checkpoint_runs_only_if_it_is_named(tmp_path):
    model, spec = load_model(pretrained_path("digits-cnn-m3"))
    own = type(spec)(architecture="evil.module:make", classes=spec.classes, min_size=32, max_size=32)
    save_model(model, own, tmp_path / "own.safetensors")
    refused = ran(tmp_path / "own.safetensors", "--out", tmp_path / "d")
    assert refused.exit_code == 2
    assert 'its code runs only if --factory = "evil.module:make"' in refused.stderr
