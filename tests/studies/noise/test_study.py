"""A whole benchmark: an interrupted one ends like an unbroken one, and trains nothing twice."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import ConfigError, InputError, NestEvoError
from nestevo_hw.models.checkpoint import digest, load_detector, pretrained_path, save_model
from nestevo_hw.studies.noise import noise_aware
from nestevo_hw.studies.noise.journal import ScoreJournal
from nestevo_hw.studies.noise.noise_aware import FineTuning
from nestevo_hw.studies.noise.plan import AWARE, PLAIN
from nestevo_hw.studies.noise.request import Request
from nestevo_hw.studies.noise.students import BEFORE, DIGITAL_TEACHER, TRUE_LABELS, Teaching
from nestevo_hw.studies.noise.study import Study
from nestevo_hw.studies.noise.subject import MODELS, Setup

NET = """
from torch import nn

def build():
    convolutional = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
    return nn.Sequential(convolutional, nn.Flatten(), nn.Linear(128, 9))
"""


@pytest.fixture
def classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    """A benchmark of a small network of the user's own."""
    (tmp_path / "study_net.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    sweeps = ("mu=0,0.1", "time_s=0,86400", "adc_bits=4")
    return Request(model="study_net:build", sweeps=sweeps, repeats=2, frames=16)


def _stop_after(calls: int) -> Callable[[str], None]:
    def advance(_: str) -> None:
        nonlocal calls
        calls -= 1
        if calls == 0:
            raise KeyboardInterrupt

    return advance


def _ignore(_: str) -> None:
    """No progress bar."""


@pytest.mark.parametrize("stop", [1, 4, 9])
def test_an_interrupted_benchmark_ends_like_an_unbroken_one(classifier: Request, tmp_path: Path, stop: int) -> None:
    study = classifier.study()
    whole = study.run(tmp_path / "whole", resume=False, advance=_ignore)
    with pytest.raises(NestEvoError, match=f"stopped after {stop} of 13 scores.*run the same command with --resume"):
        study.run(tmp_path / "broken", resume=False, advance=_stop_after(stop))
    calls: list[str] = []
    resumed = classifier.study().run(tmp_path / "broken", resume=True, advance=calls.append)
    assert resumed == whole
    assert len(calls) == study.steps == 13


def test_a_finished_benchmark_can_be_extended(classifier: Request, tmp_path: Path) -> None:
    classifier.study().run(tmp_path, resume=False, advance=_ignore)
    longer = replace(classifier, repeats=3, sweeps=(*classifier.sweeps, "tile=64"))
    extended = longer.study().run(tmp_path, resume=True, advance=_ignore)
    assert extended == longer.study().run(tmp_path / "fresh", resume=False, advance=_ignore)


def test_other_weights_are_another_configuration(classifier: Request, tmp_path: Path) -> None:
    classifier.study().run(tmp_path, resume=False, advance=_ignore)
    with pytest.raises(ConfigError, match="another configuration \\(frames is 16 there and 17 here"):
        replace(classifier, frames=17).study().run(tmp_path, resume=True, advance=_ignore)
    study = classifier.study()
    with torch.no_grad():
        study.subject.given.model[0][0].weight[0, 0, 0, 0] += 1e-3
    with pytest.raises(ConfigError, match="weights_digest is"):
        study.run(tmp_path, resume=True, advance=_ignore)


def test_a_student_of_other_weights_is_another_configuration(tmp_path: Path) -> None:
    student, spec = load_detector(pretrained_path("fasterrcnn-tiny-m2"))
    path = tmp_path / "student.safetensors"
    save_model(student, spec, path)
    subject = Request(model="fasterrcnn-tiny", students=True, student=str(path), frames=4).study().subject
    ScoreJournal(tmp_path / "out", subject.identity(), resume=False)
    ScoreJournal(tmp_path / "out", subject.identity(), resume=True)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(1e-3)
    save_model(student, spec, path)
    with pytest.raises(ConfigError, match=r"another configuration \(student_digest is"):
        ScoreJournal(tmp_path / "out", subject.identity(), resume=True)


def test_students_need_a_detector_of_the_embedded_classes(classifier: Request) -> None:
    with pytest.raises(ConfigError, match="no trained detector of the embedded classes"):
        replace(classifier, students=True).study()
    with pytest.raises(ConfigError, match="no trained detector of the embedded classes"):
        replace(classifier, noise_aware=0.1).study()


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ("fasterrcnn-tiny-m9", "no checkpoint 'fasterrcnn-tiny-m9'"),
        ("digits-cnn-m1", "holds a digits-cnn, not a detector"),
    ],
)
def test_a_student_that_cannot_learn_is_refused_before_any_work(student: str, message: str) -> None:
    request = Request(model="fasterrcnn-tiny", student=student)
    with pytest.raises(NestEvoError, match=message):
        replace(request, students=True).study()
    with pytest.raises(ConfigError, match="--student is for --students"):
        request.study()


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda _: {}["scores"], "nets:net .*scores"),
        (lambda _: {"scores": 1}, "nets:net: expected one or several float tensors .* but got {scores: int}"),
    ],
)
def test_a_model_that_does_not_run_is_refused_before_any_work(
    forward: Callable[[torch.Tensor], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, batch: torch.Tensor) -> object:
            return forward(batch)

    monkeypatch.setitem(sys.modules, "nets", SimpleNamespace(net=Net))
    with pytest.raises(InputError, match=message):
        Request(model="nets:net").study()


def _small(study: Study) -> Study:
    """The same study with distillations and fine-tuning of a few steps."""
    teaching = Teaching(cameras=1, upload_frames=6, test_frames=6, steps=2)
    tuning = FineTuning(mu=0.1, steps=2, batch_size=2, frames_per_place=1)
    setup = replace(
        study.setup,
        teaching=teaching if study.setup.teaching else None,
        noise_aware=tuning if study.setup.noise_aware else None,
    )
    return Study(setup, study.plan)


def test_students_are_taught_and_compared(tmp_path: Path) -> None:
    request = Request(model="fasterrcnn-tiny", sweeps=("student_mu=0,0.2",), repeats=2, frames=4)
    with pytest.raises(NestEvoError, match="stopped after 5 of"):
        _small(request.study()).run(tmp_path, resume=False, advance=_stop_after(5))
    found = _small(request.study()).run(tmp_path, resume=True, advance=_ignore)
    assert found.taught_sweeps == ("student_mu",)
    assert found.sweeps == ()
    before = found.student(BEFORE)
    assert before is not None
    assert len(before.headline) == 1
    for name in (DIGITAL_TEACHER, TRUE_LABELS):
        student = found.student(name)
        assert student is not None
        assert len(student.headline) == 2
    clean, noisy = found.of("student_mu", "student")
    digital = found.student(DIGITAL_TEACHER)
    assert digital is not None
    assert clean.scores == digital.scores  # no noise is no noise under either name
    assert noisy.scores != clean.scores
    teachers = found.of("student_mu", "teacher")
    assert teachers[1].mean < teachers[0].mean - 0.1


@pytest.mark.slow
def test_the_pair_differs_by_its_noise_alone_and_is_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(model="fasterrcnn-tiny", sweeps=("mu=0,0.1", "tile=256"), repeats=2, frames=4, noise_aware=0.1)
    with pytest.raises(NestEvoError, match="stopped after 2 of"):  # two models, then two scores
        _small(request.study()).run(tmp_path, resume=False, advance=_stop_after(4))
    files = [tmp_path / MODELS / f"{name}.safetensors" for name in (PLAIN, AWARE)]
    plain, aware = (digest(load_detector(path)[0]) for path in files)
    assert len({plain, aware, digest(load_detector(pretrained_path("fasterrcnn-tiny"))[0])}) == 3
    with monkeypatch.context() as patch:
        patch.setattr(noise_aware, "fine_tuned", None)  # a resumed benchmark may not train again
        found = _small(request.study()).run(tmp_path, resume=True, advance=_ignore)
    assert found.paired == ("mu",)
    assert {p.variant for p in found.points if p.sweep == "mu"} == {
        "day", "night", "day plain", "night plain", "day noise-aware", "night noise-aware",
    }  # fmt: skip
    assert {p.variant for p in found.points if p.sweep == "tile"} == {"day", "night"}


def test_without_noise_both_copies_of_the_pair_are_one() -> None:
    model, _ = load_detector(pretrained_path("fasterrcnn-tiny"))
    config = FineTuning(mu=0.1, steps=2, batch_size=2, frames_per_place=1)
    frames = noise_aware.training_frames(config, 0, (128, 160))
    before = digest(model)
    first, again = (noise_aware.fine_tuned(model, frames, config, 0.0, seed=3) for _ in range(2))
    tiny = noise_aware.fine_tuned(model, frames, config, 1e-12, seed=3)
    assert digest(first) == digest(again)
    for a, b in zip(first.parameters(), tiny.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert digest(model) == before


def test_a_pair_of_the_users_own(classifier: Request, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = classifier.study().subject.given.model.state_dict()
    path = tmp_path / "aware.safetensors"
    save_file({name: tensor + 0.01 for name, tensor in state.items()}, path)
    found = replace(classifier, noise_aware_weights=path).study().run(tmp_path / "out", resume=False, advance=_ignore)
    assert {p.variant for p in found.points if p.sweep == "mu"} == {"all plain", "all noise-aware"}
    assert [p.mean for p in found.digital] == [1.0, 1.0]  # each agrees with its own digital self
    with pytest.raises(ConfigError, match="not both"):
        replace(classifier, noise_aware_weights=path, noise_aware=0.1).study()


def test_a_setup_survives_json() -> None:
    setup = replace(
        Request(model="fasterrcnn-tiny", students=True, noise_aware=0.1, keep_digital=("rpn",)).study().setup
    )
    assert parse_json(json_line(plain(setup)), Setup, "setup") == setup


def test_the_journal_can_be_read_by_anyone(classifier: Request, tmp_path: Path) -> None:
    classifier.study().run(tmp_path, resume=False, advance=_ignore)
    first, second, *_ = (json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines())
    assert first["identity"]["model"] == "study_net:build"
    assert second == {
        "sweep": "digital", "value": "digital", "repeat": 0, "training": "", "scores": {"all": {"top1_agreement": 1.0}},
    }  # fmt: skip
