"""Whole runs on a GPU that is not there: each step moves what it has to, and comes to what it comes to on the CPU."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nestevo_hw.crossbar.gaussian import NoiseSource
from nestevo_hw.evolution.config import RunConfig, load_preset, override
from nestevo_hw.evolution.impression import impression
from nestevo_hw.evolution.run import evolve
from nestevo_hw.evolution.steps.step import Context
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.evolution.training import TrainingPlan, optimise
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.models.elastic.store import save_supernet
from nestevo_hw.models.elastic.supernet import expand
from nestevo_hw.models.faster_rcnn import fasterrcnn_tiny
from nestevo_hw.models.onnx.export import export_detector
from nestevo_hw.streams.digits import DigitStream
from nestevo_hw.studies.compare.variants import choose
from nestevo_hw.tasks.faster_rcnn.shapes import fixed_shapes
from tests.pretended_gpu import pretended_gpu

SMALLEST = {
    "window.upload_frames": 8, "window.test_frames": 4, "reference.frames_per_segment": 4,
    "reference.segments_per_place": 1, "generator.steps": 2, "mutual.plan.steps": 2, "distil.plan.steps": 2,
    "mutual.plan.batch_size": 4, "distil.plan.batch_size": 4, "mutual.noise_mu": 0.0, "drift.gamma": 0.0,
    "drift.min_samples": 1, "gate.margin": 1.0, "gate.total_margin": 1.0, "execution.executor": "inline",
}  # fmt: skip
"""So few frames that both have them in the same batches, and without weight noise, which each device draws anew."""
DEVICES = {"cpu": "cpu", "cuda": "pretended GPU"}


def smallest(preset: str, variant: str = "NestEvo", **changes: object) -> RunConfig:
    """A run of seconds of one terminal, or of two that are averaged."""
    (chosen,) = choose([variant], ablations=False)
    base = impression(load_preset(preset))
    return chosen.config(override(base, {**SMALLEST, **changes}), 0)


class DrawnAsThere(NoiseSource):
    """The noise of a GPU, with the numbers of the CPU: which the pretended one has, too."""

    def like(self, values: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(self._bits.random_raw()) >> 1)
        return torch.randn(values.shape, generator=generator)

    def add_scaled(self, values: Tensor, sigma: float | Tensor) -> Iterator[Tensor]:
        yield values.addcmul_(self.like(values), torch.as_tensor(sigma))


@contextmanager
def as_there() -> Iterator[None]:
    """On the CPU what a GPU computes: its shapes and its noise."""
    with pytest.MonkeyPatch.context() as patch, fixed_shapes():
        patch.setattr("nestevo_hw.crossbar.layers.NoiseSource", DrawnAsThere)
        yield


def ran(config: RunConfig, folder: Path, device: str) -> dict[str, Any]:
    """What each task came to, but for dry runs, which measure the device."""
    config = override(config, {"execution.device": device})
    with as_there() if device == "cpu" else pretended_gpu():
        evolve(config, folder, page=False)
    assert json.loads((folder / "run.json").read_text())["machine"]["device"] == DEVICES[device]
    files = [file for file in sorted((folder / "results").iterdir()) if ".dry-run." not in file.name]
    return {file.stem: timeless(json.loads(file.read_text())["value"]) for file in files}


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        left_out = ("trained_s", "beside_s", "download_bytes")  # a traced graph may differ
        return {k: timeless(v) for k, v in value.items() if k not in left_out}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def same(config: RunConfig, folder: Path) -> None:
    here, there = (ran(config, folder / device, device) for device in DEVICES)
    assert there.keys() == here.keys()
    for name, value in here.items():
        assert there[name] == value, name


def test_a_run_on_a_gpu_comes_to_what_it_comes_to_on_the_cpu(tmp_path: Path) -> None:
    same(smallest("digits"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    [
        "A1", "A2", "A3", "A4", "A4-confirmed", "AdaBN", "Tent", "adapters", "all-neighbours", "by-benefit",
        "model-reuse", "self-training", "terminals-only", "true-labels", "with-compression",
    ],
)  # fmt: skip
def test_every_method_comes_to_the_same(variant: str, tmp_path: Path) -> None:
    steps = {f"adapters.{kind}.steps": 2 for kind in ("labelled", "unlabelled")}
    same(smallest("digits", variant, **steps), tmp_path)


@pytest.mark.slow
def test_a_run_of_detectors_comes_to_the_same(tmp_path: Path) -> None:
    few = {"reference.places": ["campus", "park"], "confirmation.zoom": 1.0, "terminals": [
        {"name": "downtown", "model": "fasterrcnn-tiny-m3", "place": "downtown",
         "drift": [{"window": 0, "kind": "rain", "strength": 0.6}]},
    ]}  # fmt: skip
    same(smallest("quick", **few), tmp_path)


@pytest.mark.slow
def test_elastic_terminals_come_to_the_same(tmp_path: Path) -> None:
    base, spec = load_model(pretrained_path("digits-mobilenet"))
    frames = DigitStream(name="a", place="campus", seed=0, role="training").read(range(24))
    supernet = expand(base, frames.images.float() / 255, spans=(2,), rates=(0.5,))
    save_supernet(supernet, spec, tmp_path / "supernet.safetensors")
    elastic = {"supernet": str(tmp_path), "latency": "macs", "evaluations": 4, "frames": 4, "candidates": 2}
    terminals = [{"name": name, "place": name, "latency_budget": 0.7} for name in ("counter", "belt")]
    config = smallest(
        "digits", **{f"elastic.{key}": value for key, value in elastic.items()},
        **{"teacher.model": "digits-mobilenet", "terminals": terminals},
    )  # fmt: skip
    same(config, tmp_path / "runs")


@pytest.mark.parametrize(("executor", "expected"), [("inline", "cuda:1"), ("local", "cuda"), ("ray", "cuda")])
def test_a_worker_sees_one_gpu_alone_and_the_runs_own_process_all(executor: str, expected: str) -> None:
    config = override(load_preset("digits"), {"execution.device": "cuda:1", "execution.executor": executor})
    context = Context(id=TaskId(window=0, kind="label", subject="a"), config=config)
    assert str(context.device) == expected


def test_a_training_ends_with_its_last_step() -> None:
    """Which on a GPU may be under way when its last loss is known; times of trainings count it."""
    done: list[torch.device] = []
    with pretended_gpu() as gpu, pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "synchronize", done.append)
        model = nn.Linear(2, 1).to(gpu)
        optimise([model], TrainingPlan(steps=2), lambda: model(torch.ones(3, 2, device=gpu)).square().mean())
        assert done == [gpu]


def test_an_example_for_export_may_lie_on_the_gpu(tmp_path: Path) -> None:
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    with pretended_gpu() as gpu:
        export_detector(fasterrcnn_tiny(3, min_size=64, max_size=64).to(gpu), tmp_path / "model.onnx", image.to(gpu))
    assert (tmp_path / "model.onnx").is_file()
