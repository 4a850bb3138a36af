"""Pre-training as a whole: what it starts from, what it refuses, and what is in its folder."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.tensors import read_header
from nestevo_hw.evolution.held_out import held_out
from nestevo_hw.evolution.pretrain import check_pretraining, pretrain
from nestevo_hw.evolution.pretrain_frames import embedded_source
from nestevo_hw.evolution.pretrain_job import PretrainConfig
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.models.checkpoint import ModelSpec, load_model, pretrained_path

CONFIG = PretrainConfig(
    task="classification", teacher=TrainingPlan(steps=1, learning_rate=1e-6), terminal=TrainingPlan(steps=1)
)
SOURCE = embedded_source("classification", seed=0, variants=1, frames_per_scene=1)
SPEC = ModelSpec(architecture="digits-cnn", classes=SOURCE.classes, min_size=32, max_size=32)
JOURNAL = "digits-cnn-journal.jsonl"


def made(
    folder: Path, *, start: Path | None = None, resume: bool = False, config: PretrainConfig = CONFIG
) -> list[str]:
    """Pre-train in this process; what it told."""
    told: list[str] = []
    pretrain(SPEC, SOURCE, folder, config, start=start, resume=resume, device="cpu", workers=0, advance=told.append)
    return told


def test_a_teacher_starts_from_a_checkpoint(tmp_path: Path) -> None:
    given = pretrained_path("digits-cnn")
    check_pretraining(SPEC, "classification", given, (32, 32))
    told: list[str] = []
    scores = pretrain(SPEC, SOURCE, tmp_path, CONFIG, start=given, device="cpu", workers=0, advance=told.append)
    names = [f"digits-cnn{variant}" for variant in ("", "-m1", "-m2", "-m3")]
    assert told == ["frames done", *(f"{name} done" for name in names)]
    assert {path.name for path in tmp_path.iterdir()} == {JOURNAL, *(f"{name}.safetensors" for name in names)}
    before, after = (load_model(path)[0].state_dict() for path in (given, tmp_path / "digits-cnn.safetensors"))
    for name, tensor in before.items():
        if tensor.is_floating_point() and "running_" not in name:  # one step of 1e-6 in float16 is next to none
            assert torch.allclose(after[name], tensor, atol=2e-3, rtol=2e-3), name
    assert len(read_header(tmp_path / "digits-cnn.safetensors")["from"]) == 32
    kept = [held_out(tmp_path / f"{name}.safetensors") for name in names]
    assert len({one.frames for one in kept if one}) == 1
    assert [one.score for one in kept if one] == [scores[name]["accuracy"] for name in names]


def test_what_is_there_is_not_made_again_and_other_wishes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no pre-training of digits-cnn to resume; leave --resume out"):
        made(tmp_path, resume=True)
    made(tmp_path)
    (tmp_path / "digits-cnn-m2.safetensors").unlink()
    told = made(tmp_path, resume=True)
    assert told[-2:] == ["frames done", "digits-cnn-m2 done"]
    other = replace(CONFIG, seed=1)
    with pytest.raises(ConfigError, match=r"another configuration \(config\.seed is 0 there and 1 here\)"):
        made(tmp_path, resume=True, config=other)
    (tmp_path / "digits-cnn-unfinished").mkdir()
    with pytest.raises(ConfigError, match="holds an unfinished pre-training of digits-cnn; add --resume to go on"):
        made(tmp_path)
    (tmp_path / "digits-cnn-unfinished").rmdir()
    with pytest.raises(ConfigError, match="holds checkpoints of another configuration"):
        made(tmp_path, config=other)
    assert made(tmp_path)[0] == "frames done"  # a finished one may be made again


@pytest.mark.parametrize(
    ("changes", "start", "message"),
    [
        ({"min_size": 15}, None, "shorter side of the frames, pixels: need a number from 16 to 4096, got 15"),
        ({"architecture": "none"}, None, "unknown architecture 'none'; choose from fasterrcnn-tiny"),
        ({"architecture": "fasterrcnn-tiny"}, None, "--model: fasterrcnn-tiny is no model for classification"),
        ({}, "fasterrcnn-tiny", "--from: .* holds a fasterrcnn-tiny, not a digits-cnn; name another"),
        ({}, "digits-cnn-m1", "--from: .* holds a pruned digits-cnn; name one that is not"),
        ({"classes": ("a", "b")}, "digits-cnn", "--from: .* knows the classes 0, 1, .* but the frames show a, b"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(changes: dict[str, object], start: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_pretraining(
            replace(SPEC, **changes), "classification", pretrained_path(start) if start else None, (32, 32)
        )
