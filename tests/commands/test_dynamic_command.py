"""`nestevo-hw dynamic` on a hand-made model and a few images."""

import json

import av
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from nestevo_hw.cli import main
from nestevo_hw.models.elastic.parts import read_parts
from nestevo_hw.terminals.dynamic.hooks.ways import SKIP, save
from nestevo_hw.terminals.dynamic.preparing import prepare
from tests.terminals.dynamic.made_hooks import hooks_of, same
from tests.terminals.dynamic.made_parts import SIZE, made_parts


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dynamic")
    made_parts(folder / "parts")
    made_parts(folder / "classifier", "classification")
    (folder / "images").mkdir()
    draw = np.random.default_rng(0)
    frame = draw.integers(0, 256, (*SIZE, 3), np.uint8)
    for index in range(24):
        if index >= 12:
            frame[10:30, 4 * index : 4 * index + 20] = draw.integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(frame).save(folder / "images" / f"{index:03}.png")
    return folder


def ran(*words, code=0):
    done = CliRunner().invoke(main, ["dynamic", *map(str, words)])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.output


def test_run_writes_timings_and_an_overlay(made, tmp_path):
    out, overlay = tmp_path / "timings.json", tmp_path / "changed.mp4"
    text = ran("run", made / "parts", "--source", made / "images", "--out", out, "--overlay", overlay)
    assert "24 frames: 9 first" in text
    document = json.loads(out.read_text())
    assert len(document["frames"]) == document["profile"]["frames"] == 24
    assert document["frames"][10]["reason"] == "still"
    assert document["median_s"] <= document["p95_s"]
    with av.open(str(overlay)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 24
    still = pictures[10].astype(int)
    assert np.abs(still - still.mean(2, keepdims=True))[50:].max() < 40


def test_timings_stay_though_the_overlay_cannot_be_written(made, tmp_path):
    (tmp_path / "full").write_text("a file, not a folder")
    out, overlay = tmp_path / "timings.json", tmp_path / "full" / "last.png"
    told = ran("run", made / "parts", "--source", made / "images", "--out", out, "--overlay", overlay, code=1)
    assert f"Error: cannot write {overlay}: " in told
    assert len(json.loads(out.read_text())["frames"]) == 24


def test_run_takes_pictures_and_few_frames(made, tmp_path):
    picture = tmp_path / "last.png"
    found = json.loads(
        ran("run", made / "parts", "--source", made / "images", "--out", tmp_path / "t.json", "--overlay", picture,
            "--frames", 3, "--mode", "approximate", "--path", "0+1", "--json")
    )  # fmt: skip
    assert found["profile"]["frames"] == 3
    with Image.open(picture) as shown:
        assert shown.size == SIZE[::-1]


def test_profile_says_what_is_run_whole_and_fits_exits(made, tmp_path):
    exits = tmp_path / "exits.safetensors"
    text = ran("profile", made / "classifier", "--source", made / "images", "--exits", exits, "--agreement", 0.9)
    assert "classifier is never run on a part: it gives one answer for all of an image" in text
    ran("run", made / "classifier", "--source", made / "images", "--out", tmp_path / "t.json", "--exits", exits)
    text = ran("profile", made / "parts", "--source", made / "images", "--frames", 10)
    assert "finish is never run on a part: no regions are proposed in it" in text


def test_bench_compares_the_arms(made):
    found = json.loads(ran("bench", made / "parts", "--source", made / "images", "--json"))
    assert [row["arm"] for row in found["arms"]] == ["fused", "chained", "exact", "approximate"]
    assert found["arms"][1]["agreement"] == 1.0


def test_run_and_bench_take_hooks(made, tmp_path):
    parts = read_parts(made / "parts")
    prepared, out = prepare(made / "parts", parts, parts.space.base), tmp_path / "t.json"
    save(hooks_of(prepared, **{SKIP: same()}), made / "hooks.safetensors")
    words = ["--source", made / "images", "--hooks", made / "hooks.safetensors"]
    text = ran("run", made / "parts", *words, "--out", out, "--learner", "symba")
    assert "hook after start: " in text
    assert json.loads(out.read_text())["learning"]["learner"] == "symba"
    taken = json.loads(out.read_text())["profile"]["rungs"].get("rung 1", 0)
    assert sum(row["rung"] for row in json.loads(out.read_text())["frames"]) == taken
    assert (f"{taken} frames by rung 1" in text) is bool(taken)
    found = json.loads(ran("bench", made / "parts", *words, "--json"))
    assert [row["arm"] for row in found["arms"]] == ["fused", "chained", "exact", "approximate", "hooks"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["run", "nowhere", "--source", "images", "--out", "t.json"], 2, "nowhere"),
        (["run", "parts", "--source", "nothing.mp4", "--out", "t.json"], 2, "no source nothing.mp4"),
        (["run", "parts", "--source", "images", "--out", "t.json", "--path", "0+7"], 2, "no path through 2 blocks"),
        (["run", "parts", "--source", "images", "--out", "t.json", "--overlay", "a.gif"], 2, "ends in .mp4 or .png"),
        (["run", "parts", "--source", "images", "--out", "t.json", "--exits", "images/000.png"], 1, "no early exits"),
        (["profile", "parts", "--source", "images", "--exits", "e"], 1, "early exits are for classifiers"),
        (["profile", "parts", "--source", "images", "--hooks", "h"], 1, "hooks need 40 frames"),
        (["run", "parts", "--source", "images", "--out", "t.json", "--hooks", "images/000.png"], 1, "holds no hooks"),
        (["run", "parts", "--source", "images", "--out", "t.json", "--hooks", "h"], 2, "no file h; check the path"),
        (["run", "parts", "--source", "images", "--out", "t.json", "--exits", "h"], 2, "no file h; check the path"),
        (["bench", "parts", "--source", "images", "--learner", "symba"], 2, "--learner needs --hooks"),
        (["bench", "parts", "--source", "parts"], 1, "has no frames"),
    ],
)
def test_what_cannot_be_run_is_said_in_a_line(made, monkeypatch, words, code, told):
    monkeypatch.chdir(made)
    text = ran(*words, code=code)
    assert told in text
    assert len(text.strip().splitlines()) == 1
    assert not (made / "t.json").exists()
