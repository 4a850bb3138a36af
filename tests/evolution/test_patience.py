"""Trainings that end early, how far they are, and what a pre-training starts from and leaves behind."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.cli import main
from nestevo_hw.evolution.halfway import Halfway
from nestevo_hw.evolution.patience import Patience
from nestevo_hw.evolution.pretrain import check_architecture, check_pretraining, pretrain
from nestevo_hw.evolution.pretrain_frames import embedded_source, video_source
from nestevo_hw.evolution.pretrain_job import Job, PretrainConfig, started, train_supervised
from nestevo_hw.evolution.pretrain_steps import Steps
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.models import coco
from nestevo_hw.models.checkpoint import ModelSpec, load_model, pretrained_path
from nestevo_hw.streams.augment import Augmentation
from nestevo_hw.tasks.named import task_named
from tests.commands.test_init_video import coco as write_labels
from tests.streams.clips import write_clip

SOURCE = embedded_source("classification", seed=0, variants=1, frames_per_scene=1)
DIGITS = ModelSpec(architecture="digits-cnn", classes=SOURCE.classes, min_size=32, max_size=32)
TINY = ModelSpec(architecture="fasterrcnn-tiny", classes=("person",), min_size=96, max_size=128)


@pytest.mark.parametrize(
    ("scores", "patience", "ended", "best"),
    [
        ([0.1, 0.3, 0.2, 0.3, 0.4], 200, 400, 200),
        ([0.1, 0.3, 0.2, 0.3, 0.4], 300, None, 500),
        ([0.5, 0.4, 0.3], 100, 200, 100),
        ([0.5, math.nan, math.nan, 0.4], 100, 400, 100),
        ([0.1, 0.2, 0.3], 1, None, 300),
    ],
)
@pytest.mark.parametrize("killed", [False, True])
def test_a_training_ends_after_its_patience_with_its_best_weights(tmp_path, scores, patience, ended, best, killed):
    """Killed, it is scored again at the step that it goes on from."""
    model, known = nn.Linear(1, 1), dict(enumerate(scores, start=1))
    found = None
    for step in range(50, 50 * (2 * len(scores) + 1), 50):
        nn.init.constant_(model.weight, step)
        for _ in range(2 if killed else 1):
            watch = Patience(tmp_path / "best.safetensors", patience, lambda _, step=step: known[step // 100])
            over = watch.over(model, step)
        if over:
            found = step
            break
    assert found == ended
    watch.restore(model)
    assert float(model.weight.detach()) == best


def test_optimising_stops_and_goes_on_where_it_would_have(tmp_path):
    """Bit for bit the same weights, whether or not the training was killed after a state was kept."""
    task, (frames, _) = task_named("classification"), SOURCE.read(lambda shots: [s.read() for s in shots])
    plan = TrainingPlan(steps=1000, learning_rate=1e-3)

    def run(folder: Path, *, killed: bool) -> tuple[dict[str, torch.Tensor], int]:
        scored: list[float] = []

        def score(model: nn.Module) -> float:
            scored.append(1.0 if len(scored) < 1 else 0.5)
            if killed and len(scored) == 2:
                raise KeyboardInterrupt
            return scored[-1]

        folder.mkdir()
        while True:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = DIGITS.build()
            try:
                train_supervised(
                    task, model, frames, plan, Augmentation(), seed=0, name="a", device=torch.device("cpu"),
                    state=folder / "state", patience=Patience(folder / "best", 200, score),
                )  # fmt: skip
            except KeyboardInterrupt:
                continue
            return model.state_dict(), Halfway.step_of(folder / "state")

    (plain, end), (resumed, again) = run(tmp_path / "a", killed=False), run(tmp_path / "b", killed=True)
    assert (end, again) == (300, 300)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in plain.items())


def job_of(out: Path, spec: ModelSpec, start: Path | None = None, **config) -> Job:
    return Job(spec=spec, variant="", start=start, out=out, config=PretrainConfig(**config), device="cpu")


def test_how_long_trainings_still_take(tmp_path):
    now_s, job = [0.0], job_of(tmp_path, DIGITS, teacher=TrainingPlan(steps=400))
    job.unfinished.mkdir()
    model = nn.Linear(1, 1)
    optimiser, state = torch.optim.SGD(model.parameters()), Halfway(job.state, torch.Generator())
    state.save(100, [], [model], optimiser)
    steps = Steps([job], clock=lambda: now_s[0])
    assert steps.text() is None
    now_s[0] = 30.0
    state.save(250, [], [model], optimiser)
    assert steps.text() == "250 of at most 400 steps, about 30 s left"
    assert steps.text() is None, "nothing has happened since"


def test_other_classes_start_with_a_last_layer_of_their_own(tmp_path):
    start = pretrained_path("fasterrcnn-tiny")
    with pytest.raises(
        ConfigError, match=r"map them with --class-map, or start its last layer afresh with --new-class"
    ):
        check_pretraining(TINY, "detection", start, (96, 128))
    check_pretraining(TINY, "detection", start, (96, 128), new_classes=True)
    model = started(job_of(tmp_path, TINY, start, new_classes=True))
    given = load_model(start)[0].state_dict()
    for name, tensor in model.state_dict().items():
        if not name.startswith("roi_heads.box_predictor"):
            assert torch.equal(tensor, given[name]), name
    assert model.roi_heads.box_predictor.cls_score.out_features == 2
    again = started(job_of(tmp_path, TINY, start, new_classes=True)).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())
    bare = tmp_path / "w.pt"
    torch.save(given, bare)
    check_pretraining(TINY, "detection", bare, (96, 128), new_classes=True)
    with pytest.raises(InputError, match="belongs to another model"):
        check_pretraining(replace(TINY, architecture="fasterrcnn-mobilenet-v3"), "detection", bare, (96, 128),
                          new_classes=True)  # fmt: skip


def test_a_video_is_labelled_with_the_classes_that_the_start_knows(tmp_path):
    clip, labels = write_clip(tmp_path / "a.mp4", 30), write_labels(tmp_path / "a.json", range(30), ("person", "dog"))
    known = ("pedestrian", "car", "cyclist")
    for mapping, expected in (
        ({"person": "pedestrian"}, known),
        ({"person": "human"}, ("human",)),
        ({}, ("person", "dog")),
    ):
        source = video_source(clip, labels, mapping, long_side=64, until=None, classes=known)
        assert source.classes == expected


def test_what_is_wrong_with_the_start_is_said_before_a_frame_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    usual = ["pretrain", "--out", "made", "--video", "gone.mp4", "--labels", "gone.json"]
    for words, message in (
        (["--from", "digits-cnn"], "holds a digits-cnn, not a fasterrcnn-tiny; name another, or another --model"),
        (["--from", "coco"], "--from coco: torchvision has no fasterrcnn-tiny trained on COCO; choose --model faster"),
        (["--new-classes"], "--new-classes is for --from; leave it out, or give one"),
        (["--from", "fasterrcnn-tiny", "--steps", "0", "--new-classes"], "--steps 0 takes the teacher as it is, so"),
        (["--patience", "0"], "need a whole number from 1"),
    ):
        done = CliRunner().invoke(main, [*usual, *words])
        assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "made").exists()
    check_architecture(pretrained_path("digits-cnn"), "digits-cnn")


def test_coco_weights_are_fetched_once(tmp_path, monkeypatch):
    (tmp_path / "w.pth").write_bytes(b"weights")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(coco, "URLS", {"fasterrcnn-tiny": (tmp_path / "w.pth").as_uri(), "gone": "file:///gone.pth"})
    path = coco.coco_weights("fasterrcnn-tiny")
    assert path.read_bytes() == b"weights"
    (tmp_path / "w.pth").unlink()
    assert coco.coco_weights("fasterrcnn-tiny") == path
    with pytest.raises(InputError, match=r"cannot fetch file:///gone\.pth .* give the file: --from FILE\.pth --new-c"):
        coco.coco_weights("gone")


def test_a_failed_one_leaves_nothing_that_is_in_the_way(tmp_path):
    def broken(_):
        raise InputError("frame 7 cannot be read")

    config = PretrainConfig(task="classification", teacher=TrainingPlan(steps=1), terminal=TrainingPlan(steps=1))
    with pytest.raises(InputError, match="frame 7"):
        pretrain(DIGITS, replace(SOURCE, read=broken), tmp_path, config, device="cpu", workers=0, teacher_only=True)
    assert list(tmp_path.iterdir()) == []
    pretrain(DIGITS, SOURCE, tmp_path, config, device="cpu", workers=0, teacher_only=True)
    assert (tmp_path / "digits-cnn.safetensors").is_file()
