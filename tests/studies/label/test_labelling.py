"""Labels of a recording: right, readable by the project itself, and the same after a stop."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from colour_finder import COLOURS, adapter, colour_finder, frame
from PIL import Image

from nestevo_hw.base.errors import ConfigError, StoppedError
from nestevo_hw.base.locking import one_writer
from nestevo_hw.cli import main
from nestevo_hw.models.onnx.foreign.adapter import load_adapter
from nestevo_hw.models.onnx.foreign.detector import open_foreign
from nestevo_hw.streams.annotations import load_labels
from nestevo_hw.streams.video import VideoStream
from nestevo_hw.studies.data.boxes import LabelledBoxes
from nestevo_hw.studies.label import labelling
from nestevo_hw.studies.label.labelling import prepare
from nestevo_hw.studies.label.request import LabelRequest
from nestevo_hw.tasks.labeller.views import confirmed, parts
from tests.streams.clips import damage, write_clip

SIZE = (24, 40)
DATA = Path(os.environ.get("NESTEVO_DATA", "absent"))


def place(number):
    """Of the red rectangle in a frame; odd frames have a green one, too."""
    return (2 + 2 * number, 4, 12 + 2 * number, 16)


def scenes(count=6):
    for number in range(count):
        green = {"green": (24, 2, 34, 12)} if number % 2 else {}
        yield frame(SIZE, red=place(number), **green)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of six images, the detector and its adapter."""
    monkeypatch.chdir(tmp_path)
    Path("frames").mkdir()
    for number, image in enumerate(scenes()):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(f"frames/{number}.png")
    colour_finder(Path("finder.onnx"), (48, 80))
    adapter(Path("mine.toml"))
    return tmp_path


def request(out="labels.json", clip="frames", **changes):
    return LabelRequest(
        clip=Path(clip), labeller=Path("finder.onnx"), out=Path(out), **{"adapter": "mine.toml", **changes}
    )


def run(wanted, *, resume=False, advance=lambda _: None):
    ready = prepare(wanted)
    with ready.writing(resume=resume):
        return ready.run(resume=resume, advance=advance)


def ran(*words):
    return CliRunner().invoke(main, ["label", *map(str, words)])


USUAL = ("frames", "--labeller", "finder.onnx", "--adapter", "mine.toml", "--out", "labels.json")


def test_a_folder_is_labelled_as_the_project_reads_it(here):
    done = ran(*USUAL, "--stride", "2", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["frames"], told["labels"], told["classes"]) == (3, 3, {"red": {"labels": 3, "unsure": 0}})
    stream = VideoStream(name="a", path=Path("frames"), labels=Path("labels.json"), long_side=40)
    assert stream.labelled_indices == (0, 2, 4)
    for index, truth in zip((0, 2, 4), stream.read([0, 2, 4]).truth, strict=True):
        assert truth.boxes[0].tolist() == pytest.approx(place(index), abs=0.3)
    assert LabelledBoxes(Path("labels.json"), None).count == 3
    assert {path.name for path in here.iterdir()} == {"frames", "finder.onnx", "mine.toml", "labels.json"}


def test_damaged_frames_have_no_labels_and_are_told(here):
    write_clip(Path("whole.mp4"), 60)
    damage(Path("whole.mp4"), Path("bad.mp4"), [15])
    done = ran("bad.mp4", *USUAL[1:])
    assert done.exit_code == 0, done.output
    labelled = [image.index for image in load_labels(Path("labels.json")).images]
    assert 40 < len(labelled) < 60
    assert 15 not in labelled
    assert f"{60 - len(labelled)} of 60 frames are damaged and have no labels" in done.stderr


def test_a_video_is_labelled_by_frame(here):
    import av

    with av.open("clip.mkv", "w") as container:
        track = container.add_stream("ffv1", rate=10)
        track.width, track.height, track.pix_fmt = SIZE[1], SIZE[0], "bgr0"
        for image in scenes():
            container.mux(track.encode(av.VideoFrame.from_ndarray(image.permute(1, 2, 0).numpy(), format="rgb24")))
        container.mux(track.encode())
    Path("made").mkdir()
    run(request("made/labels.json", "clip.mkv", stride=3))
    assert [image.index for image in load_labels(Path("made/labels.json")).images] == [0, 3]
    assert LabelledBoxes(Path("made/labels.json"), None).count == 2  # it finds the video by the file's own word
    stream = VideoStream(name="a", path=Path("clip.mkv"), labels=Path("made/labels.json"), long_side=40)
    (truth,) = stream.read([3]).truth
    assert sorted(truth.labels.tolist()) == [1, 2]


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_what_is_stopped_goes_on_with_the_same_result(kept, here):
    run(request("whole.json"))

    def stop(what):
        if what == f"frame {kept}":
            raise KeyboardInterrupt

    with pytest.raises(StoppedError, match=f"after {kept + 1} of 6 frames, which are kept in labels.json.partial"):
        run(request(), advance=stop)
    assert not Path("labels.json").exists()
    with pytest.raises(ConfigError, match="holds labels already; add --resume"):
        run(request())
    with pytest.raises(ConfigError, match="holds labels of another configuration"):
        run(request(stride=2), resume=True)
    seen = []
    run(request(), resume=True, advance=seen.append)
    assert len(seen) == 6
    assert Path("labels.json").read_text() == Path("whole.json").read_text()
    assert not Path("labels.json.partial").exists()


def stopped_after_three(wanted):
    def stop(what):
        if what == "frame 2":
            raise KeyboardInterrupt

    with pytest.raises(StoppedError):
        run(wanted, advance=stop)


def test_labels_of_another_recording_under_the_same_names_are_not_mixed_in(here, monkeypatch):
    stopped_after_three(request())
    images = {path: path.read_bytes() for path in Path("frames").iterdir()}
    for path, other in zip(images, reversed(images.values()), strict=True):
        path.write_bytes(other)
    with pytest.raises(ConfigError, match=r"another configuration \(clip_sha256 is .* there and .* here\)"):
        run(request(), resume=True)
    for path, image in images.items():
        path.write_bytes(image)
    with monkeypatch.context() as patch:
        patch.setattr(labelling, "__version__", "9.0")
        with pytest.raises(ConfigError, match=r"version is '.*' there and '9.0' here"):
            run(request(), resume=True)
    assert len(run(request(), resume=True).frames) == 6


def test_a_video_in_place_of_another_is_another_recording(here):
    for name in ("clip.mp4", "other.mp4"):
        write_clip(Path(name), 8)
    stopped_after_three(request(clip="clip.mp4"))
    with Path("clip.mp4").open("ab") as file:
        file.write(b"\0\0\0\x08free")
    with pytest.raises(ConfigError, match="clip_sha256 is"):
        run(request(clip="clip.mp4"), resume=True)
    Path("clip.mp4").write_bytes(Path("other.mp4").read_bytes())
    assert len(run(request(clip="clip.mp4"), resume=True).frames) == 8


def test_nothing_is_written_over_and_nothing_to_go_on_with_is_said(here):
    Path("labels.json").write_text("mine")
    refused = ran(*USUAL)
    assert (refused.exit_code, Path("labels.json").read_text()) == (2, "mine")
    assert "labels.json exists" in refused.stderr
    refused = ran(*USUAL[:-1], "other.json", "--resume")
    assert refused.stderr == (
        "Error: no folder other.json.partial to go on in; leave --resume out, or correct the path\n"
    )
    with one_writer(Path("other.json.partial")):
        refused = ran(*USUAL[:-1], "other.json")
    assert refused.exit_code == 2
    assert "other.json.partial is in use" in refused.stderr


def truth(path, names=COLOURS, *, move=0, ignore=()):
    """Right labels of the six frames, moved by some pixels, as a file."""
    boxes = [(number, names[0], place(number)) for number in range(6)]
    boxes += [(number, names[1], (24, 2, 34, 12)) for number in (1, 3, 5)]
    rows = [
        {"image_id": n, "category_id": names.index(name) + 1, "bbox": [x1 + move, y1, x2 - x1, y2 - y1]}
        for n, name, (x1, y1, x2, y2) in boxes
    ]
    regions = [row for row in rows if row["image_id"] in ignore]
    path.write_text(json.dumps({
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, start=1)],
        "images": [{"id": n, "file_name": f"{n}.png", "width": SIZE[1], "height": SIZE[0]} for n in range(6)],
        "annotations": [row for row in rows if row not in regions], "ignore": regions,
    }))  # fmt: skip
    return path


def test_agreement_with_labels_that_exist(here):
    truth(Path("truth.json"))
    found = run(request(against=Path("truth.json"))).agreement
    assert (found.frames, found.map50) == (6, 1.0)
    assert [(c.name, c.objects, c.labels.right, c.labels.wrong, c.labels.missed) for c in found.classes] == [
        ("red", 6, 6, 0, 0), ("green", 3, 3, 0, 0)
    ]  # fmt: skip
    truth(Path("moved.json"), move=8)  # overlaps by a ninth
    found = run(request("b.json", against=Path("moved.json"))).agreement
    assert found.map50 == 0.0
    assert [(c.labels.right, c.labels.wrong, c.labels.missed) for c in found.classes] == [(0, 6, 6), (0, 3, 3)]
    truth(Path("region.json"), ignore=(1, 3, 5))
    found = run(request("c.json", against=Path("region.json"))).agreement
    assert [(c.name, c.objects, c.labels.wrong) for c in found.classes] == [("red", 3, 0)]


def test_classes_are_compared_by_the_class_map(here):
    truth(Path("truth.json"), names=("car", "van", "person"))
    refused = ran(*USUAL, "--against", "truth.json")
    assert refused.exit_code == 2
    assert "none of its categories (car, van, person) is a class of the labeller" in refused.stderr
    adapter(Path("mine.toml"), more='classes = ["car", "van", "bird"]\n')
    mapped = ("--class-map", "car=vehicle", "--class-map", "van=vehicle", "--against", "truth.json")
    done = ran(*USUAL, *mapped)
    assert done.exit_code == 0, done.output
    assert "the labeller does not know person" in done.stderr
    assert "vehicle" in done.stdout
    twice = ran(*USUAL[:-1], "x.json", *mapped, "--class-map", "car=person")
    assert twice.exit_code == 2
    assert "--class-map names 'car' twice, as 'vehicle' and 'person'; leave one out" in twice.stderr
    refused = ran(*USUAL[:-1], "x.json", *mapped, "--stride", "0")
    assert refused.exit_code == 2


def test_unsure_detections_are_regions(here):
    adapter(Path("mine.toml"), thresholds="score = 0.95\nunsure = 0.3")
    run(request("a.json"))
    told = json.loads(Path("a.json").read_text())
    assert (len(told["annotations"]), len(told["ignore"])) == (0, 9)
    assert all(box.ignore.all() for box in (image.annotation for image in load_labels(Path("a.json")).images))
    run(request("b.json", score=0.5))
    assert len(json.loads(Path("b.json").read_text())["annotations"]) == 9
    with pytest.raises(ConfigError, match="need least_score of the adapter <= --unsure <= --score"):
        run(request("c.json", score=0.5, unsure=0.6))


def test_parts_cover_a_frame_and_overlap():
    assert parts((100, 300)) == [(0, 0, 180, 100), (120, 0, 300, 100)]
    assert parts((300, 100)) == [(0, 0, 100, 180), (0, 120, 100, 300)]
    assert len(parts((100, 120))) == 4
    assert parts((1, 1)) == [(0, 0, 1, 1)] * 4


def test_views_have_to_agree(here):
    detector = open_foreign(Path("finder.onnx"), load_adapter("mine.toml"), told="mine")
    seen = confirmed(detector.predict, frame((30, 50), red=(22, 8, 29, 17), blue=(0, 0, 10, 10)))
    columns = [seen[key].tolist() for key in ("labels", "boxes", "scores")]
    found = {label: (box, score) for label, box, score in zip(*columns, strict=True)}
    assert found[1][0] == pytest.approx((22, 8, 29, 17), abs=0.7)
    assert found[1][1] == pytest.approx(0.9)
    assert found[3][1] == pytest.approx(0.9)
    assert torch.equal(seen["scores"], seen["scores"].sort(descending=True).values)
    empty = confirmed(detector.predict, frame((30, 50)))
    assert {key: len(value) for key, value in empty.items()} == {"boxes": 0, "labels": 0, "scores": 0}


def test_damaged_frames_and_journals_are_one_line(here):
    Path("frames/3.png").write_bytes(Path("frames/3.png").read_bytes()[:60])
    refused = ran(*USUAL)
    assert refused.exit_code == 1
    assert "3.png is not a readable image" in refused.stderr
    journal = Path("labels.json.partial/frames.jsonl")
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:2], '{"index": "x"}', ""]))
    refused = ran(*USUAL, "--resume")
    assert refused.exit_code == 1
    assert "line 3" in refused.stderr


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "models").is_dir(), reason="set NESTEVO_DATA to a folder with video/ and models/")
def test_agreement_with_checked_labels_of_a_real_clip(tmp_path):
    clip = DATA / "video" / "vtest.mp4"
    wanted = LabelRequest(
        clip=clip, labeller=DATA / "models" / "nanodet_coco80.onnx", out=tmp_path / "vtest.json", stride=4,
        against=clip.with_suffix(".json"), class_map={"person": "person"},
    )  # fmt: skip
    found = run(wanted).agreement
    assert found.classes[0].precision >= 0.9
    assert np.isclose(found.map50, found.classes[0].precision)
