"""Digital adapters raise a blinded teacher without a write; the loop uses them in place of programming."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy.stats import entropy
from torch import Tensor

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.crossbar.devices import PRESETS
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.evolution.adaptation import adapt_labelled, adapt_unlabelled, information_loss, minimise_entropy
from nestevo_hw.evolution.check import check_run
from nestevo_hw.evolution.config import RunConfig, load_preset, override, parse_config
from nestevo_hw.evolution.learning import Seed
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.models.adapters import Adapters
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.tasks.classification import TASK
from nestevo_hw.tasks.detection import TASK as DETECTION
from nestevo_hw.tasks.supervision import ground_truth_supervision
from nestevo_hw.testing import simulated

SEED = Seed(run=0, name="adaptation")
PLACES = ("counter", "belt", "gate")


def at_night(place: str, first: int, count: int) -> FrameBatch:
    drift = DriftScript(segments=(DriftSegment(start=0, kind="night", strength=0.9),))
    stream = TASK.embedded_stream(name=place, place=place, seed=3, size=(32, 32), drift=drift)
    return stream.read(range(first, first + count))


@pytest.fixture(scope="module")
def blinded() -> AnalogTeacher:
    """On PCM, a day old."""
    model, _ = load_model(pretrained_path("digits-cnn"))
    teacher = AnalogTeacher(model, device=PRESETS["pcm"])
    day = TASK.embedded_stream(name="day", place="yard", seed=3, size=(32, 32)).read(range(32)).images
    teacher.calibrate([TASK.inputs(day)])
    teacher.program()
    return teacher


def accuracy(teacher: AnalogTeacher, scenes: list[Tensor]) -> float:
    """On later frames of each scene, with the statistics of the adapted ones."""
    found = []
    for place, images in zip(PLACES, scenes, strict=True):
        TASK.re_estimate(teacher.module, images)
        later = at_night(place, 100, 60)
        assert later.truth is not None
        found.append(TASK.score(TASK.predict(teacher.module, later.images), later.truth, 10)["accuracy"])
    return sum(found) / len(found)


def test_the_loss_is_that_of_its_entropies() -> None:
    logits = torch.randn(7, 4, generator=torch_generator(0, "logits"))
    p = logits.double().softmax(-1).numpy()
    wanted = entropy(p, axis=1).mean() - entropy(p.mean(axis=0))
    assert float(information_loss(logits)) == pytest.approx(wanted, abs=1e-6)
    assert float(information_loss(100.0 * torch.eye(4))) == pytest.approx(-entropy([0.25] * 4), abs=1e-3)


def test_tent_makes_a_terminal_certain_of_its_frames_by_scale_and_shift_alone() -> None:
    model, _ = load_model(pretrained_path("digits-cnn-m1"))
    images = at_night("counter", 0, 24).images
    TASK.re_estimate(model, images)
    frozen = {name: value.clone() for name, value in model.named_parameters()}

    def unsure() -> float:
        p = model(images.float() / 255).detach().double().softmax(-1).numpy()
        return float(entropy(p, axis=1).mean())

    before = unsure()
    plan = TrainingPlan(steps=20, batch_size=24, learning_rate=1e-2)
    trained = minimise_entropy(TASK, model, images, plan, SEED)
    assert (trained.steps, unsure() < 0.7 * before) == (20, True)
    norms = {f"{n}.{p}" for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)
             for p in ("weight", "bias")}  # fmt: skip
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, frozen[name])}
    assert changed == norms


def test_a_detectors_entropy_is_that_of_its_regions_and_has_a_gradient() -> None:
    model, _ = load_model(pretrained_path("fasterrcnn-tiny-m3"))
    images = [torch.rand(3, 64, 80, generator=torch_generator(0, "frame")) for _ in range(2)]
    model.train()
    loss = DETECTION.prediction_entropy(model, images)
    loss.backward()
    assert 0.0 < float(loss.detach()) < float(entropy([0.25] * 4))
    assert all(m.weight.grad is not None for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_without_labels_scale_and_shift_raise_a_blinded_teacher_and_no_cell_changes(blinded: AnalogTeacher) -> None:
    blinded.age(86_400.0)
    scenes = [at_night(place, 0, 24).images for place in PLACES]
    cells = blinded.effective_weights
    before = accuracy(blinded, scenes)
    with blinded.with_gradients():
        plan = TrainingPlan(steps=40, batch_size=64, learning_rate=1e-2)
        assert adapt_unlabelled(TASK, blinded.module, scenes, plan, SEED).passes == 40 * 3 * 21
    after = accuracy(blinded, scenes)
    # Two shares of 180 frames: four standard errors of their difference, taken as independent, are at most 0.21.
    assert before < 0.62
    assert after > before + 0.08
    assert all(torch.equal(cells[name], weight) for name, weight in blinded.effective_weights.items())
    assert not any(parameter.requires_grad for parameter in blinded.module.parameters())


def test_side_paths_learn_labels_through_the_crossbar(blinded: AnalogTeacher) -> None:
    blinded.age(86_400.0)
    frames = [at_night(place, 0, 24) for place in PLACES]
    labels = [ground_truth_supervision(batch, 10) for batch in frames]
    adapters = Adapters(load_model(pretrained_path("digits-cnn"))[0], 4, torch_generator(0, "adapters"))
    plan = TrainingPlan(steps=30, batch_size=24, learning_rate=3e-3)
    scenes = [batch.images for batch in frames]
    with blinded.with_gradients():
        untaught = adapt_labelled(TASK, blinded.module, adapters, scenes, labels, replace(plan, steps=1), SEED)
        taught = adapt_labelled(TASK, blinded.module, adapters, scenes, labels, plan, SEED)
    assert taught.trained.loss < untaught.trained.loss / 2
    assert (untaught.passes, taught.passes) == (24, 30 * 24)
    assert taught.trained.trained_s > untaught.trained.trained_s > 0.0
    assert all(bool(path.up.any()) for path in adapters.paths)


def adapting(**changes: object) -> RunConfig:
    return override(load_preset("digits"), {"teacher.update": "adapt", **changes})


@pytest.mark.parametrize("task", ["quick", "digits"])
def test_in_the_loop_nothing_is_programmed_after_the_first_time(task: str, tmp_path: Path) -> None:
    config = override(load_preset(task), {"teacher.update": "adapt", "refresh.policy": "never"})
    asked = simulated.SimulatedExecutor()
    simulated.drive(config, tmp_path, asked)
    events = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [e["cause"] for e in events if e["event"] == "program"] == ["first"]
    kinds = {e["kind"] for e in events if e["event"] == "task"}
    assert ("adapt-unlabelled" if task == "digits" else "adapt-labelled") in kinds
    assert not kinds & {"mutual", "merge", "generate", "program"}


@pytest.mark.parametrize(("least", "mode"), [(0.7, "adaptation"), (0.6, "terminals-only")])
def test_by_benefit_an_unsure_teacher_adapts_and_labels_afresh(least: float, mode: str, tmp_path: Path) -> None:
    """Simulated tasks find 120 labels on 96 frames, where 2 a frame are usual: the teacher is sure of 0.625 of them."""
    changes = {"drift.decision": "benefit", "drift.sure_share": least, "window.count": 1, "refresh.policy": "never"}
    executor = simulated.SimulatedExecutor(remember=True)
    simulated.drive(override(load_preset("digits"), changes), tmp_path, executor)
    events = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = [e for e in events if e["event"] == "benefit"]
    assert [(e["sure"], e["least"], e["mode"]) for e in found] == [(pytest.approx(0.625), least, mode)]
    again = [a.request for a in executor.asked if a.id.kind == "relabel"]
    assert len(again) == (3 if mode == "adaptation" else 0)
    assert all(request.earlier is None and request.teacher.adapters is not None for request in again)
    kinds = {a.id.kind for a in executor.asked}
    assert ("adapt-unlabelled" in kinds) == (mode == "adaptation")
    assert not kinds & {"mutual", "merge", "generate", "program", "detect-drift"}


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("quick", {"teacher.update": "adapt"}),
        ("digits", {"drift.decision": "benefit", "drift.sure_share": 0.7}),
        ("digits", {"drift.decision": "benefit", "drift.sure_share": 0.7, "teacher.analog": "digital"}),
    ],
)
def test_every_window_begins_with_the_teacher_as_it_was_trained(
    preset: str, changes: dict[str, object], tmp_path: Path
) -> None:
    """What fits the scenes of one window must not label those of the next, nor say whether the teacher is unsure."""
    executor = simulated.SimulatedExecutor(remember=True)
    simulated.drive(
        override(load_preset(preset), {"window.count": 2, "refresh.policy": "never", **changes}), tmp_path, executor
    )
    teachers = {
        kind: [asked.request.teacher for asked in executor.asked if (asked.id.window, asked.id.kind) == (1, kind)]
        for kind in ("label", "relabel")
    }
    assert [teacher.adapters for teacher in teachers["label"]] == [None] * 3
    assert {teacher.adapters.parent.name for teacher in teachers["relabel"]} == {"001"}


def test_adapters_in_force_stay_on_the_disk_however_old(tmp_path: Path) -> None:
    """Those of a group whose camera has left, here; simulated tasks write nothing, so files are laid down."""
    document = adapting(**{"window.count": 6, "execution.keep_windows": 2, "groups.by": "name"}).document()
    for terminal, group in zip(document["terminals"], ("north", "south", "south"), strict=True):
        terminal["group"] = group
    document["terminals"][0]["leaves"] = 1

    def writing(asked: simulated.Asked) -> object:
        if asked.id.kind == "adapt-unlabelled":
            asked.request.adapters.parent.mkdir(parents=True, exist_ok=True)
            asked.request.adapters.touch()
        return simulated.typical(asked)

    config = parse_config(document, source="test")
    server = simulated.drive(config, tmp_path, simulated.SimulatedExecutor(answers=writing))
    old, new = (server.upkeep[group].teacher.adapters for group in ("north", "south"))
    assert old is not None
    assert new is not None
    assert (old.relative_to(tmp_path / "windows").parts[0], old.exists(), new.exists()) == ("000", True, True)
    assert sorted((tmp_path / "windows").rglob("adapters*")) == sorted({old, new, *_last(tmp_path, 2)})


def _last(run: Path, windows: int) -> list[Path]:
    return [path for window in range(6 - windows, 6) for path in (run / "windows" / f"{window:03d}").rglob("adapters*")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"method": "A4"}, "does not evolve"), ({"teacher.backend": "reference"}, "no gradient passes pcm")],
)
def test_what_cannot_adapt_is_refused_beforehand(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_run(adapting(**changes))


def test_deciding_by_benefit_is_refused_where_nothing_is_known_of_it_and_left_to_those_who_ask() -> None:
    detection = override(load_preset("quick"), {"drift.decision": "benefit"})
    with pytest.raises(ConfigError, match=r'no class logits, which drift.decision = "benefit" needs'):
        check_run(detection)
    check_run(override(detection, {"method": "A3"}))
