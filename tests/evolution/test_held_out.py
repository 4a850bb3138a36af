"""What checkpoints tell of held-out frames, and the warning that a run makes of it."""

from collections.abc import Mapping
from pathlib import Path
from shutil import copy

import pytest
import torch

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.evolution.check import teacher_warnings
from nestevo_hw.evolution.config import load_preset, parse_config
from nestevo_hw.evolution.held_out import HeldOut, held_out, note_held_out, weak_teacher
from nestevo_hw.models.checkpoint import load_model, pretrained_path

TEACHER, SMALL, LARGE = "digits-cnn", "digits-cnn-m1", "digits-cnn-m2"


def warned(folder: Path, told: Mapping[str, HeldOut], method: str = "NestEvo") -> list[str]:
    """By a run of two terminals, of whose checkpoints some tell a score."""
    files = {name: folder / f"{name}.safetensors" for name in (TEACHER, SMALL, LARGE)}
    for name, file in files.items():
        copy(pretrained_path(name), file)
        if name in told:
            note_held_out(file, told[name])
    document = load_preset("digits").document() | {"method": method}
    document["teacher"]["model"] = str(files[TEACHER])
    document["terminals"] = [
        terminal | {"model": str(files[name])}
        for terminal, name in zip(document["terminals"][:2], (SMALL, LARGE), strict=True)
    ]
    return teacher_warnings(parse_config(document, source="test"))


def test_a_teacher_that_knows_less_than_its_terminals_is_named() -> None:
    assert weak_teacher({"net": 0.381, "net-m1": 0.461, "net-m2": 0.514}).startswith(
        "teacher net has 0.381 on held-out frames and its terminal net-m2 0.514, so it"
    )
    alike = {"net": 0.921, "net-m1": 0.92, "net-m3": 0.936}
    assert weak_teacher(alike) == weak_teacher({"net": 0.5}) == ""
    assert weak_teacher({"net": float("nan"), "net-m1": float("nan")}) == ""


WEAK = {TEACHER: HeldOut(frames="a", score=0.49), LARGE: HeldOut(frames="a", score=0.95)}


def test_a_run_warns_of_a_weak_teacher(tmp_path: Path) -> None:
    """Of one such, all cameras became worse: every judge of the labels is the teacher itself."""
    (line,) = warned(tmp_path, WEAK)
    assert line.startswith(f"teacher {tmp_path / TEACHER}.safetensors has 0.490 on held-out frames and its terminal ")
    assert f"{tmp_path / LARGE}.safetensors 0.950" in line


@pytest.mark.parametrize(
    ("told", "method"),
    [
        ({}, "NestEvo"),
        ({LARGE: WEAK[LARGE]}, "NestEvo"),
        ({TEACHER: WEAK[TEACHER]}, "NestEvo"),
        (WEAK | {LARGE: HeldOut(frames="b", score=0.95)}, "NestEvo"),  # others: not comparable
        (WEAK | {LARGE: HeldOut(frames="a", score=None)}, "NestEvo"),
        (WEAK | {TEACHER: HeldOut(frames="a", score=0.94)}, "NestEvo"),
        (WEAK, "AdaBN"),  # nobody learns from the teacher
    ],
)
def test_else_nothing_is_said(tmp_path: Path, told: Mapping[str, HeldOut], method: str) -> None:
    assert warned(tmp_path, told, method) == []


def test_a_note_changes_nothing_else(tmp_path: Path) -> None:
    file = Path(copy(pretrained_path(SMALL), tmp_path / "model.safetensors"))
    before, spec = load_model(file)
    note_held_out(file, WEAK[TEACHER])
    after, same = load_model(file)
    assert (held_out(file), same) == (WEAK[TEACHER], spec)
    assert all(
        torch.equal(a, b) for a, b in zip(before.state_dict().values(), after.state_dict().values(), strict=True)
    )
    header, tensors = read_tensors(file)
    write_tensors(file, tensors, header | {"held_out": "{}"})
    with pytest.raises(InputError, match=r"model\.safetensors: held_out.*; pre-train it again"):
        held_out(file)
