"""Deployed models of one structure, made once."""

from pathlib import Path

import pytest
import torch
from conversation import digits

from nestevo_hw.models.checkpoint import load_model, resolve_checkpoint
from nestevo_hw.models.onnx.manifest import Version
from nestevo_hw.tasks.deployment import Deployment, deploy
from nestevo_hw.tasks.named import task_named


def deployed(folder: Path, window: int | None, noise: float) -> Path:
    """A classifier of digits whose weights were moved by noise, or whose output says nothing any more."""
    model, spec = load_model(resolve_checkpoint("digits-cnn-m3"))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * parameter.std(correction=0) * torch.randn(parameter.shape, generator=generator))
    example = torch.from_numpy(digits(1)[0]).permute(2, 0, 1)
    how = Deployment(version=Version(run="a", window=window, terminal="gate"))
    deploy(task_named("classification"), model, spec, folder, example, how)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    """Three deployments: the first model, a little better one, and one that knows nothing."""
    root = tmp_path_factory.mktemp("models")
    return {
        "first": deployed(root / "first", None, 0.0),
        "next": deployed(root / "next", 0, 0.01),
        "spoiled": deployed(root / "spoiled", 0, 30.0),
    }
