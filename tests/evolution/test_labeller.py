"""A detector of somebody else's as the teacher: it labels, digital or on tiles, and what would train it is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from colour_finder import adapter, colour_finder, frame
from small_run import SMALL

from nestevo_hw.base.errors import ConfigError, InputError, LostFileError
from nestevo_hw.evolution.check import check_inputs_kept, check_run, teacher_warnings
from nestevo_hw.evolution.config import RunConfig, load_preset, override, parse_config
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.steps import labels, scoring, teachers
from nestevo_hw.evolution.steps.step import Context
from nestevo_hw.evolution.steps.training import DryRunRequest
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.evolution.teacher import TeacherFiles, open_teacher, program_teacher
from nestevo_hw.evolution.teaching import teaching_of
from nestevo_hw.models.checkpoint import pretrained_path
from nestevo_hw.report.wording import teacher_name, teacher_place
from nestevo_hw.streams.frame import Annotation, FrameBatch
from nestevo_hw.streams.storage import save_frames
from nestevo_hw.tasks.supervision import load_supervision
from nestevo_hw.testing import simulated

SIZE = (128, 160)
MAP = {"red": "pedestrian", "green": "car", "blue": "cyclist"}
RED, BLUE = (20, 20, 40, 60), (100, 60, 140, 100)
SCENES = torch.stack([frame(SIZE, red=RED, blue=BLUE), frame(SIZE, red=RED), frame(SIZE)])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the detector and its adapter."""
    monkeypatch.chdir(tmp_path)
    colour_finder(Path("finder.onnx"), SIZE, layered=True)
    adapter(Path("mine.toml"))
    return tmp_path


def config(**changes) -> RunConfig:
    document = override(load_preset("quick"), {"method": "terminals-only", **changes}).document()
    document["teacher"]["labeller"] = {"file": "finder.onnx", "adapter": "mine.toml", "class_map": MAP}
    return parse_config(document, source="test")


def changed(**changes) -> RunConfig:
    """With another labeller."""
    settings = config()
    return replace(settings, teacher=replace(settings.teacher, labeller=replace(settings.teacher.labeller, **changes)))


def files(age_s=60.0):
    return TeacherFiles(weights=Path("finder.onnx"), crossbar=Path("tiles.safetensors"), age_s=age_s)


def context(settings, kind="label"):
    return Context(id=TaskId(0, kind, "campus"), config=settings)


@pytest.mark.parametrize("analog", ["pcm", "digital"])
def test_it_detects_by_onnx_runtime_and_on_tiles_that_age(here, analog):
    settings = config(**{"teacher.analog": analog})
    teaching = teaching_of(settings)
    written = program_teacher(
        teaching, settings.teacher, files(), SCENES, seed=0, generation=0, chip="hermes"
    )  # fmt: skip
    if analog == "digital":
        assert written is None
    else:
        assert (written.tiles, 0 < written.weight_error < 0.3) == (1, True)
        assert written.labelling.first_s >= written.labelling.interval_s > 0
    for age_s in (60.0, 1e5):
        found = teaching.predict(open_teacher(teaching, settings.teacher, files(age_s), None), SCENES)
        assert [one["labels"].tolist() for one in found] == [[1, 3], [1], []]
        assert torch.equal(found[0]["boxes"], torch.tensor([RED, BLUE], dtype=torch.float32))


def test_classes_that_no_terminal_knows_are_dropped(here):
    settings = changed(class_map={"red": "cyclist", "blue": "tram"})
    (found, _, _) = teaching_of(settings).predict(settings.teacher.digital(Path("finder.onnx")), SCENES)
    assert found["labels"].tolist() == [3]


@pytest.mark.parametrize("confirm", [False, True])
def test_labels_are_hard_and_confirmed_where_that_is_wanted(here, confirm):
    """The colours are found in every view; by the terminal's model, which knows none of them, they are not."""
    settings = config(**{"labels.confirm": confirm, "teacher.analog": "pcm", "confirmation.amplify": 1.0})
    program_teacher(teaching_of(settings), settings.teacher, files(), SCENES, seed=0, generation=0, chip="hermes")
    save_frames(FrameBatch(images=SCENES, truth=None, indices=(0, 1, 2)), Path("upload"))
    request = labels.LabelRequest(
        teacher=files(), upload=Path("upload"), ensemble=(pretrained_path("fasterrcnn-tiny-m3"),), spacing_s=1.0,
        earlier=None, moves=None, out=labels.LabelFiles(supervision=Path("labels"), views=Path("views")),
    )  # fmt: skip
    result = labels.label(context(settings), request)
    first, second, last = load_supervision(Path("labels"))
    assert first.annotation.labels.tolist() == [1, 3]
    assert torch.allclose(first.annotation.boxes, torch.tensor([RED, BLUE], dtype=torch.float32), atol=1.0)
    assert (second.annotation.labels.tolist(), len(last.annotation.labels)) == ([1], 0)
    assert result.counts == {1: 2, 3: 1}
    # Plain, mirrored, and two by two parts of each frame; the terminal's model is on no crossbar.
    assert result.crossbar_frames == len(SCENES) * (1 + 1 + 4 if confirm else 1)


def test_thresholds_of_the_adapter_hold_unless_labels_are_confirmed(here):
    adapter(Path("mine.toml"), thresholds="score = 0.95\nunsure = 0.85")
    settings = config(**{"teacher.analog": "digital"})
    model = settings.teacher.digital(Path("finder.onnx"))
    (first, *_) = teaching_of(settings).label(model, SCENES, settings.labels)
    assert first.annotation.ignore.tolist() == [True, True]


def test_the_gate_and_the_scores_measure_it(here):
    settings = config(**{"teacher.analog": "digital"})
    truth = (
        Annotation.of(torch.tensor([RED, BLUE], dtype=torch.float32), torch.tensor([1, 3])),
        Annotation.of(torch.tensor([RED], dtype=torch.float32), torch.tensor([1])),
        Annotation.of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)),
    )
    frames = FrameBatch(images=SCENES, truth=truth, indices=(0, 1, 2))
    save_frames(frames, Path("reference"))
    inspected = teachers.inspect(
        context(settings, "inspect"), teachers.InspectRequest(teacher=files(), reference=Path("reference"))
    )
    assert (inspected.score, inspected.crossbar_frames) == (1.0, None)
    scored = scoring.Scored(model="teacher", stage="before", weights=Path("finder.onnx"), teacher=files())
    request = scoring.EvaluateRequest(upload=Path("reference"), test=Path("reference"), models=(scored,))
    (score,) = scoring.evaluate(context(settings, "evaluate"), request).scores
    assert score.score == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_train_their_teacher_are_refused_and_all_others_run(here, method, tmp_path):
    settings = config(method=method, **{"window.count": 2})
    if METHODS[method].co_evolves:
        with pytest.raises(
            ConfigError, match=rf"method {method} trains its teacher, .* \(finder.onnx\) cannot be trai"
        ):
            check_run(settings)
        return
    executor = simulated.SimulatedExecutor(remember=True)
    simulated.drive(settings, tmp_path / "run", executor)
    kinds = {asked.id.kind for asked in executor.asked}
    assert not kinds & {"mutual", "merge", "generate", "detect-drift", "relabel"}
    assert {request.intermediate for request in executor.requests(DryRunRequest)} == {None}
    assert settings.soft_share == 0.0
    assert not settings.scene_norm


REFUSED = {
    "class": ({"class_map": {"red": "tram"}}, {}, "the terminals know no 'tram', but pedestrian, car, cyclist"),
    "missing": ({"class_map": {"red": "car"}}, {}, "nothing is labelled 'pedestrian', so that terminals, which know"),
    "no class map": ({"class_map": {}}, {}, "nothing is labelled 'pedestrian'"),
    "its class": ({"class_map": {"pink": "car"}}, {}, "teacher.labeller: class map: the detector has no class 'pink'"),
    "adapter": ({"adapter": "magic"}, {}, "teacher.labeller: unknown adapter 'magic'; choose from"),
    "shapes": ({"adapter": "rows"}, {}, "teacher.labeller: finder.onnx is no detector as adapter rows has it"),
    "groups": ({}, {"groups.by": "features"}, "teacher.labeller gives detections and no features; group by"),
    "adapt": ({}, {"teacher.update": "adapt"}, "the teacher of method terminals-only does not evolve"),
    "task": ({}, {"task": "classification"}, "it finds boxes, which task 'classification' has not"),
}


@pytest.mark.parametrize(("labeller", "others", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(here, labeller, others, why):
    settings = changed(**labeller)
    document = override(settings, others).document()
    if others.get("task"):
        document["terminals"] = load_preset("digits").document()["terminals"]
    with pytest.raises((ConfigError, InputError), match=why):
        check_run(parse_config(document, source="test"))


def test_a_labeller_and_a_teacher_are_not_both_given(here):
    for changes, why in (({"model": "mine.safetensors"}, "teacher.labeller is the teacher; leave 'mine.safetensors'"),
                         ({"scene_norm": True}, "a labeller has no BatchNorm of its own")):  # fmt: skip
        document = config().document()
        document["teacher"] |= changes
        with pytest.raises(ConfigError, match=why):
            parse_config(document, source="test")


def test_a_run_records_its_files_and_notices_a_change(here):
    settings = config()
    recorded = replace(settings, teacher=settings.teacher.recorded(Path()))
    assert recorded.teacher.labeller.adapter_text == Path("mine.toml").read_text()
    stored = parse_config(json.loads(json.dumps(recorded.document())), source="run.json")
    assert stored.teacher.recorded(Path()) == stored.teacher
    assert teacher_warnings(stored) == []
    adapter(Path("mine.toml"), thresholds="score = 0.9")
    colour_finder(Path("finder.onnx"), SIZE, layered=True, certainty=0.8)
    told = teacher_warnings(stored)
    assert told[0] == "finder.onnx has changed since this run started; what it labels from now on may differ"
    assert told[1].startswith("mine.toml has changed since this run started; the run goes on with the adapter")
    assert stored.teacher.labeller.open(layered=False).thresholds.score == 0.4
    Path("finder.onnx").unlink()
    with pytest.raises(LostFileError, match=r"teacher.labeller.file: finder.onnx was there when the run started"):
        check_inputs_kept(stored)
    with pytest.raises(InputError, match=r"teacher.labeller.file: no ONNX file finder.onnx; correct the path"):
        settings.teacher.recorded(Path())


def test_the_page_says_what_the_teacher_is(here):
    told = config(**{"teacher.analog": "digital"}).document()
    assert teacher_place(told) == "digital labeller as teacher"
    assert teacher_name(told) == "The labeller finder.onnx, which is never trained,"
    assert teacher_name(load_preset("quick").document()) == "fasterrcnn-tiny"


@pytest.mark.slow
def test_a_whole_run_with_a_labeller_on_the_crossbar(here):
    pairs = ", ".join(f"{ours} = '{theirs}'" for ours, theirs in MAP.items())
    labeller = f'labeller = {{ file = "finder.onnx", adapter = "mine.toml", class_map = {{ {pairs} }} }}\n'
    Path("small.toml").write_text(
        'method = "terminals-only"\n' + SMALL.replace("[teacher]\n", f"[teacher]\n{labeller}")
    )
    done = subprocess.run(
        [sys.executable, "-m", "nestevo_hw", "evolve", "small.toml", "--out", "run", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    header = json.loads(Path("run/run.json").read_text())
    assert len(header["config"]["teacher"]["labeller"]["sha256"]) == 64
    kinds = {json.loads(line)["event"] for line in Path("run/metrics.jsonl").read_text().splitlines()}
    assert {"program", "refresh", "select", "accuracy", "lifecycle"} <= kinds
    assert not kinds & {"drift", "decision", "generator", "deploy"}
    assert "The labeller finder.onnx, which is never trained," in Path("run/report.html").read_text()
