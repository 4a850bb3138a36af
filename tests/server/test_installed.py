"""Models on a terminal: one in force at any moment, whatever is killed, and bad ones are turned down."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conversation import digits

from nestevo_hw.base.errors import InputError
from nestevo_hw.terminals.installed import Installed, RolledBackError, check_model
from nestevo_hw.terminals.runtime import Deployed, Found
from nestevo_hw.terminals.spool import Spool


def put(installed: Installed, folder: Path) -> str:
    version = Deployed(folder).version
    installed.put(version, (folder / "model.onnx").read_bytes(), (folder / "manifest.json").read_bytes())
    return version


def test_a_version_is_in_force_after_the_switch_and_not_before(tmp_path, models):
    installed = Installed(tmp_path)
    assert installed.open() is None
    first = put(installed, models["first"])
    assert installed.open() is None
    installed.switch(first)
    following = put(installed, models["next"])
    assert installed.open().version == first
    installed.switch(following)
    assert (installed.open().version, installed.current.before) == (following, first)


def test_a_refused_version_is_not_in_force_and_is_remembered(tmp_path, models):
    installed = Installed(tmp_path)
    first = put(installed, models["first"])
    installed.switch(first)
    following = put(installed, models["next"])
    installed.refuse(following)
    assert installed.open().version == first
    assert installed.refuses(following)
    assert not installed.folder(following).exists()
    put(installed, models["next"])
    installed.switch(following)
    installed.refuse(following)
    assert installed.open().version == first


def test_the_only_model_there_is_stays(tmp_path, models):
    installed = Installed(tmp_path)
    first = put(installed, models["first"])
    installed.switch(first)
    assert not installed.refuse(first)
    assert installed.open().version == first


def test_a_first_model_that_does_not_do_is_remembered_too(tmp_path, models):
    installed = Installed(tmp_path)
    spoiled = put(installed, models["spoiled"])
    assert installed.refuse(spoiled)
    assert (installed.open(), installed.refuses(spoiled)) == (None, True)
    first = put(installed, models["first"])
    installed.switch(first)
    assert (installed.open().version, Installed(tmp_path).refuses(spoiled)) == (first, True)


def test_who_turns_an_offer_down_can_still_go_back(tmp_path, models):
    installed = Installed(tmp_path)
    first, following = (put(installed, models[name]) for name in ("first", "next"))
    installed.switch(first)
    installed.switch(following)
    assert installed.refuse(put(installed, models["spoiled"]))
    assert (installed.open().version, installed.current.before) == (following, first)


def test_files_that_do_not_fit_their_version_are_refused(tmp_path, models):
    installed, manifest = Installed(tmp_path), (models["first"] / "manifest.json").read_bytes()
    version = Deployed(models["first"]).version
    for model, told in (((models["next"] / "model.onnx").read_bytes(), manifest), (b"", manifest), (b"x", b"{")):
        with pytest.raises(InputError):
            installed.put(version, model, told)
    with pytest.raises(InputError, match="of another model"):
        installed.put("0" * 64, (models["first"] / "model.onnx").read_bytes(), manifest)


def test_a_damaged_model_counts_as_none(tmp_path, models):
    installed = Installed(tmp_path)
    version = put(installed, models["first"])
    installed.switch(version)
    (installed.folder(version) / "model.onnx").write_bytes(b"half")
    assert installed.open() is None
    assert installed.current.version is None


def test_of_a_damaged_model_the_one_before_takes_the_place(tmp_path, models):
    installed = Installed(tmp_path)
    first, following = (put(installed, models[name]) for name in ("first", "next"))
    installed.switch(first)
    installed.switch(following)
    (installed.folder(following) / "model.onnx").write_bytes(b"half")
    assert installed.open().version == first
    assert (installed.current.version, installed.refuses(following)) == (first, False), "it may be fetched again"
    assert not installed.folder(following).exists()


def test_old_versions_leave_the_disk(tmp_path, models):
    installed = Installed(tmp_path)
    for name in ("first", "next", "spoiled", "first", "next"):
        installed.switch(put(installed, models[name]))
    assert len(list((tmp_path / "versions").iterdir())) <= 3


def test_a_better_model_passes_the_check_and_a_spoiled_one_does_not(models):
    first, following, spoiled = (Deployed(models[name]) for name in ("first", "next", "spoiled"))
    frames = digits(12)
    check_model(first, None, frames)
    check_model(following, first, frames)
    with pytest.raises(RolledBackError, match="of what the old model is sure of"):
        check_model(spoiled, first, frames)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Found(np.full((1, 4), np.nan, np.float32), np.array([1]), np.array([0.9])), "no numbers"),
        (Found(np.array([[0, 0, 9e9, 5]], np.float32), np.array([1]), np.array([0.9])), "outside the frame"),
        (Found(np.zeros((1, 4), np.float32), np.array([99]), np.array([0.9])), "classes"),
        (Found(np.zeros((500, 4), np.float32), np.full(500, 1), np.full(500, 0.9)), "500 objects"),
    ],
)
def test_absurd_outputs_are_turned_down(models, monkeypatch, found, reason):
    old, new = Deployed(models["first"]), Deployed(models["next"])
    monkeypatch.setattr(new, "reported", lambda _: found)
    with pytest.raises(RolledBackError, match=reason):
        check_model(new, old, digits(1))


def test_a_model_without_bytes_is_refused(tmp_path, models):
    shutil.copytree(models["first"], tmp_path / "floats")
    text = (tmp_path / "floats" / "manifest.json").read_text().replace('"uint8"', '"float32"')
    (tmp_path / "floats" / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="not the bytes of frames"):
        Deployed(tmp_path / "floats")


def test_the_spool_keeps_the_newest_and_outlasts_its_process(tmp_path):
    spool = Spool(tmp_path, 3)
    for number in range(5):
        spool.put(bytes([number]), 1000.0 + number)
    assert [f.taken_s for f in Spool(tmp_path, 3).waiting()] == [1002.0, 1003.0, 1004.0]
    assert spool.dropped == 2
    frame = spool.waiting()[0]
    spool.put(frame.path.read_bytes(), frame.taken_s)
    assert len(spool.waiting()) == 3
    spool.drop_until(frame)
    spool.drop_until(frame)
    assert len(spool.waiting()) == 2


def test_a_clock_that_is_put_back_does_not_make_frames_older(tmp_path):
    spool = Spool(tmp_path, 3)
    for number, taken_s in enumerate((2000.0, 2001.0, 2002.0, 1000.0, 1001.0)):
        spool.put(bytes([number]), taken_s)
    assert [frame.path.read_bytes()[0] for frame in spool.waiting()] == [2, 3, 4]
    assert [frame.taken_s for frame in spool.waiting()] == [2002.0, 2002.000001, 2002.000002]
    spool.drop_until(spool.waiting()[1])
    assert [frame.path.read_bytes()[0] for frame in spool.waiting()] == [4]


def test_a_version_that_leads_elsewhere_is_refused_and_nothing_is_removed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "current.json").write_text('{"version": "../../mine"}')
    with pytest.raises(InputError, match=r"current.json: version: .*pattern"):
        Installed(tmp_path / "state").open()
    assert (tmp_path / "mine").is_dir()


def test_a_manifest_that_does_not_name_its_model_is_refused(tmp_path, models):
    shutil.copytree(models["first"], tmp_path / "copy")
    path = tmp_path / "copy" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": {}}))
    with pytest.raises(InputError, match=r"sha256: names no 'model.onnx'"):
        Deployed(tmp_path / "copy")
