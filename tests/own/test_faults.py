"""What is wrong with a user's own model, data or task is told in one line that names the key, before anything runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import your_task_page as page
from bad_nets import NETS
from click.testing import CliRunner

from nestevo_hw.cli import main
from nestevo_hw.evolution.check import check_inputs_kept, check_run
from nestevo_hw.evolution.config import RunConfig, load_config, parse_config
from nestevo_hw.evolution.own import data_warnings
from nestevo_hw.models.checkpoint import ModelSpec, load_detector, load_model, save_model
from nestevo_hw.models.zoo import open_model
from nestevo_hw.studies.compare.study import plan_study
from nestevo_hw.studies.compare.variants import choose
from nestevo_hw.tasks.named import task_named


@pytest.fixture
def mine(here: Path) -> dict[str, Any]:
    """A configuration in which nothing is wrong, and its files."""
    (here / "own_nets.py").write_text(NETS)
    for name in ("small", "wider"):
        spec = ModelSpec(architecture=f"own_nets:{name}", classes=page.SHAPES, min_size=32, max_size=32)
        save_model(spec.build(), spec, here / f"{name}.safetensors")
    images, labels = page.shapes(60, 0)
    np.savez(here / "north.npz", x=images, y=labels)
    np.savez(here / "reference.npz", x=images[:40], y=labels[:40])
    terminal = {"name": "north", "model": "small.safetensors", "data": "north.npz"}
    return {
        "task": "classification", "frame_size": [32, 32], "model": {"factory": "own_nets:small"},
        "teacher": {"model": "small.safetensors"}, "drift": {"gamma": 0.0}, "reference": {"data": "reference.npz"},
        "window": {"count": 2, "length_s": 30.0, "upload_frames": 8, "upload_spacing": 1, "test_frames": 8},
        "terminals": [terminal],
    }  # fmt: skip


def config(document: dict[str, Any], **changes: Any) -> RunConfig:
    """The document with values of its terminal, or of other sections, replaced."""
    for key, value in changes.items():
        section = document["terminals"][0] if key in ("data", "factory", "fps", "model", "start_frame") else document
        section[key] = value
    return parse_config(document, source="test")


def test_what_is_right_is_accepted(mine: dict[str, Any]) -> None:
    check_run(config(mine))
    check_inputs_kept(config(mine))
    assert data_warnings(config(mine)) == []


def _npz(name: str = "north.npz", **arrays: np.ndarray) -> None:
    np.savez(name, **arrays)


def _sorted() -> None:
    images, labels = page.shapes(60, 0)
    order = np.argsort(labels)
    _npz(x=images[order], y=labels[order])


IMAGES = np.zeros((60, 32, 32, 3), np.uint8)
THREE = np.arange(60) % 3
DATA = {
    "absent": (lambda: Path("north.npz").unlink(), "data of terminal 'north': no file north.npz; check the path"),
    "of one class": (lambda: _npz(x=IMAGES, y=THREE * 0), "terminal 'north': .* shows nothing but class 'circle'"),
    "of another model": (lambda: _npz(x=IMAGES, y=np.arange(60) % 5), "has label 4; the model knows 3 classes"),
    "too short": (lambda: _npz(x=IMAGES[:40], y=THREE[:40]), "north.npz has 40 frames but window 1 needs 60; lower"),
    "vectors": (lambda: _npz(x=IMAGES[:, 0, :, 0], y=THREE), "north.npz: sample 0 is no image; give"),
    "no pixels": (lambda: _npz(x=np.full((60, 8, 8), 7.5), y=THREE), "sample 0 holds torch.float32 from 7.5 to 7.5"),
    "two channels": (lambda: _npz(x=np.zeros((60, 2, 8, 8)), y=THREE), "have 2 channels, the model takes 3"),
    "text": (lambda: _npz(x=IMAGES, y=np.array(["a"] * 60)), "expected labels .N,. of whole numbers but got"),
    "objects": (lambda: _npz(x=np.array([{}] * 60, object), y=THREE), "array x is of type object; give uint8"),
    "no reference": (lambda: Path("reference.npz").unlink(), "reference.data: no file reference.npz"),
    "reference without a class": (
        lambda: _npz("reference.npz", x=IMAGES, y=np.arange(60) % 2), "reference.data: .* no sample of class 'square'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DATA)
def test_data_that_no_run_can_use(case: str, mine: dict[str, Any]) -> None:
    spoil, message = DATA[case]
    spoil()
    with pytest.raises(Exception, match=message) as caught:
        check_run(config(mine))
    assert "NestEvoError" in {kind.__name__ for kind in type(caught.value).__mro__}
    assert "\n" not in str(caught.value)


SETTINGS = {
    "no other code is run": ({"model_": None}, r"of own_nets:small; its code runs only if \[model\] factory"),
    "another factory": ({"factory": "own_nets:wider"}, "runs only if factory of terminal 'north' = \"own_nets:small\""),
    "another width": (
        {"factory": "own_nets:wider", "model": "wider.safetensors"},
        "generator.enabled: the last layer of terminal 'north' takes 9 features and that of the teacher 8",
    ),
    "no window for it": ({"fps": 0.1}, r"window.length_s = 30 at 0.1 frames a second are 3 frames, too few"),
    "nothing before": ({"reference": {}}, "there are no in-domain frames: .* give reference.data"),
    "unknown folder": ({"data": "images"}, "data of terminal 'north': images: folder 'star' is none of the 3 classes"),
    "nothing": ({"data": "nowhere"}, "data of terminal 'north': 'nowhere' is no data that can be read; give a folder"),
    "boxes": ({"data": "own_nets:boxes"}, "data of terminal 'north': own_nets:boxes gives boxes; give the class"),
    "no loader": ({"data": "own_nets:absent"}, "data of terminal 'north': cannot import 'absent' from module"),
    "two sources": ({"place": "campus", "data": "north.npz"}, "give either place, video, data or remote = true"),
    "no module name": ({"model_": {"factory": "../evil:x"}}, "model.factory: input should be package.module:name"),
    "no task": ({"task": "own_nets:Empty"}, "own_nets:Empty is no task: a Empty has no .*label, .*docs/your-task.md"),
    "inherited verbs": ({"task": "own_nets:Silent"}, "a Silent has no label, supervised_loss"),
    "absent task": ({"task": "own_nets:Absent"}, "cannot import 'Absent' from module 'own_nets'"),
    "unknown task": ({"task": "poses"}, "task: input should be one of detection, classification or package"),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_no_run_can_use(case: str, mine: dict[str, Any], here: Path) -> None:
    (here / "images" / "star").mkdir(parents=True)
    changes, message = SETTINGS[case]
    for key, value in changes.items():
        if key in ("place", "data", "factory", "model", "fps"):
            mine["terminals"][0][key] = value
        else:
            mine[key.rstrip("_")] = value or {}
    with pytest.raises(Exception, match=message) as caught:
        check_run(parse_config(mine, source="test"))
    assert "\n" not in str(caught.value)


def test_a_window_of_one_class_is_told(mine: dict[str, Any]) -> None:
    _sorted()
    first, second = data_warnings(config(mine))
    assert first.startswith(
        "terminal 'north' uploads nothing but class 'circle' in window 0; if that is not so in time"
    )
    assert "class 'cross' in window 1" in second


def test_a_checkpoint_runs_no_code_that_nobody_named(mine: dict[str, Any], here: Path) -> None:
    with pytest.raises(Exception, match="holds a own_nets:small, not a detector"):
        load_detector(here / "small.safetensors")
    with pytest.raises(Exception, match="holds a own_nets:small, not a digits-cnn"):
        open_model("digits-cnn", weights=here / "small.safetensors")
    again = open_model("own_nets:small", weights=here / "small.safetensors")
    wanted, _ = load_model(here / "small.safetensors")
    assert all((again.model.state_dict()[name] == tensor).all() for name, tensor in wanted.state_dict().items())
    assert config(mine).model.factory == "own_nets:small"


def test_a_task_may_be_a_class_a_function_or_the_task_itself(here: Path) -> None:
    (here / "own_tasks.py").write_text(
        "from nestevo_hw.tasks.classification import Classification\n"
        "class Mine(Classification):\n    name = 'mine'\n"
        "def make():\n    return Mine()\n"
        "made = Mine()\n"
    )
    tasks = [task_named(f"own_tasks:{name}") for name in ("Mine", "make", "made")]
    assert [task.name for task in tasks] == ["mine"] * 3
    assert task_named("own_tasks:make") is tasks[1]


def test_a_comparison_takes_ones_own_classifier_with_every_method(mine: dict[str, Any]) -> None:
    plan = plan_study(config(mine), choose(["NestEvo", "A1", "A4", "AdaBN"], ablations=False), 1)
    assert sorted(name for name, _ in plan.configs) == ["A1", "A4", "AdaBN", "NestEvo"]
    assert plan.left_out == {}


def test_a_comparison_says_what_a_task_of_ones_own_cannot_do(shown: Path) -> None:
    spec = ModelSpec(architecture="mytask:Grid", classes=("car", "person"), min_size=128, max_size=160)
    (shown / "grid").mkdir()
    for name in ("Grid", "Grid-m2"):
        save_model(spec.build(), spec, shown / "grid" / f"{name}.safetensors")
    plan = plan_study(load_config(shown / "grid.toml"), choose(["A1", "A4", "NestEvo"], ablations=False), 1)
    assert [name for name, _ in plan.configs] == ["A4"]
    assert plan.left_out["A1"].startswith("refused: task 'grid' has no adversarial adaptation, which method A1 needs")
    assert plan.left_out["NestEvo"].startswith("refused: task 'grid' has no feature generation, which")


@pytest.mark.usefixtures("mine")
def test_check_looks_and_runs_nothing(here: Path) -> None:
    _sorted()
    (here / "my.toml").write_text(
        'task = "classification"\nframe_size = [32, 32]\n[model]\nfactory = "own_nets:small"\n'
        '[teacher]\nmodel = "small.safetensors"\n[drift]\ngamma = 0.0\n[reference]\ndata = "reference.npz"\n'
        "[window]\nlength_s = 30.0\nupload_frames = 8\nupload_spacing = 1\ntest_frames = 8\n"
        '[[terminals]]\nname = "north"\nmodel = "small.safetensors"\ndata = "north.npz"\n'
    )
    done = CliRunner().invoke(main, ["evolve", "my.toml", "--check", "--json"])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["terminals"], found["windows"], len(found["warnings"])) == (0, 1, 2, 2)
    assert not (here / "runs").exists()
