"""Pre-training of classifiers: the shipped plan is the default, and both kinds of checkpoint come out."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from nestevo_hw.base.tensors import read_tensors
from nestevo_hw.commands.pretrain import pretrain
from nestevo_hw.evolution.pretrain_job import PretrainConfig
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.models.classifier import FEATURE_WIDTH, SmallClassifier
from nestevo_hw.tasks.names import TASKS

NAMES = {"classification": "digits-cnn", "detection": "fasterrcnn-tiny"}
HELD_OUT = 200
"""Frames that checkpoints are scored on: 20 of each of ten places."""


@pytest.mark.parametrize("task", sorted(NAMES))
def test_the_default_plan_is_the_one_in_the_headers_of_shipped_checkpoints(task: str) -> None:
    plan = PretrainConfig.shipped(task, seed=4)
    assert (plan.task, plan.seed) == (task, 4)
    for variant, steps in (("", plan.teacher.steps), ("-m1", plan.terminal.steps), ("-m3", plan.terminal.steps)):
        assert read_tensors(pretrained_path(NAMES[task] + variant))[0]["steps"] == str(steps)
    assert set(TASKS) == set(NAMES)


@pytest.mark.slow
def test_few_steps_write_four_classifiers_of_one_feature_width(tmp_path: Path) -> None:
    wanted = ["--out", str(tmp_path), "--task", "classification", "--frames", "1000"]
    wanted += ["--steps", "120", "--terminal-steps", "20"]
    result = CliRunner().invoke(pretrain, [*wanted, "--workers", "1", "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)["scores"]
    assert list(scores) == ["digits-cnn", "digits-cnn-m1", "digits-cnn-m2", "digits-cnn-m3"]
    chance, spread = 0.1, (0.1 * 0.9 / HELD_OUT) ** 0.5
    assert scores["digits-cnn"]["accuracy"] > chance + 5 * spread
    sizes = []
    for name in scores:
        model, spec = load_model(tmp_path / f"{name}.safetensors")
        assert isinstance(model, SmallClassifier)
        assert len(spec.classes) == 10
        assert model.features(torch.zeros(2, 3, 32, 32)).shape == (2, FEATURE_WIDTH)
        sizes.append(sum(p.numel() for p in model.parameters()))
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.slow
def test_the_shipped_classifiers_are_made_again(tmp_path: Path) -> None:
    wanted = ["--out", str(tmp_path), "--task", "classification", "--device", "cpu", "--json"]
    assert CliRunner().invoke(pretrain, wanted).exit_code == 0
    for path in sorted(tmp_path.glob("*.safetensors")):
        made, shipped = read_tensors(path)[1], read_tensors(pretrained_path(path.stem))[1]
        assert all(torch.allclose(made[k].float(), shipped[k].float(), atol=1e-2, rtol=1e-2) for k in shipped), path
