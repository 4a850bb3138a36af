"""What trainings take of a GPU's memory, predicted by fake runs and measured.

    python benchmarks/gpu_memory.py [--json] [--task NAME]
    python benchmarks/gpu_memory.py --quick

Twelve tasks, each in a process of its own, about three minutes on one GPU. The truth is what PyTorch's allocator has
reserved and the context that the process holds besides, by what the driver says is free. Goals: within 10 %, and more
than 5 % too low for at most 1 % of the tasks. `--quick` needs no GPU: it predicts the smallest task alone, and compares
it with the measurement of an H200 that is kept here.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from nestevo_hw.base.documents import json_text
from nestevo_hw.profiler.fake_run import CLIP_NORM, training_optimiser
from nestevo_hw.profiler.gpu_context import beside, target_of
from nestevo_hw.profiler.gpu_life import GpuLife
from nestevo_hw.profiler.specs import TrainingSpec
from nestevo_hw.profiler.target import CUDA_HOPPER, GpuMemory, TargetDevice
from nestevo_hw.profiler.training_models import TrainingModels
from nestevo_hw.profiler.training_step import surrogate_life
from nestevo_hw.tasks.detection import Detection

STEPS = 6
MOST_OFF, MOST_TOO_LOW, SHARE_TOO_LOW = 0.10, 0.05, 0.01
H200_CONTEXT_BYTES = 800_000_000
DETECTOR_SIZE = (720, 1280)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A training whose memory is known."""

    name: str
    spec: TrainingSpec | None = None
    """None for the detector of Faster R-CNN with ResNet-50."""
    batch_size: int
    allocated_mb: int
    """`max_memory_allocated` on an H200 with torch 2.11 and CUDA 13, of an earlier commit."""
    reserved_mb: int
    """`max_memory_reserved` of the same."""

    @property
    def h200_bytes(self) -> int:
        """All that the H200 counted."""
        return self.reserved_mb * 10**6 + H200_CONTEXT_BYTES

    def life(self) -> GpuLife:
        """By a fake run."""
        if self.spec is not None:
            return TrainingModels(self.spec).gpu_life()
        return surrogate_life(Detection(), [_detector()], frame_size=DETECTOR_SIZE, batch_size=self.batch_size)

    def training(self) -> tuple[Sequence[nn.Module], Callable[[], Tensor]]:
        """Models and loss of the training itself, on torch's default device."""
        if self.spec is not None:
            made = TrainingModels(self.spec)
            return made.models, made.loss
        detector = _detector()
        boxes = torch.tensor([[100.0, 100.0, 300.0, 400.0], [500.0, 200.0, 700.0, 600.0]])
        targets = [{"boxes": boxes, "labels": torch.tensor([1, 2])}] * self.batch_size

        def loss() -> Tensor:
            images = [torch.rand(3, *DETECTOR_SIZE) for _ in targets]
            return torch.stack(list(detector(images, targets).values())).sum()

        return [detector.train()], loss


def _task(name: str, architecture: str, *, known_mb: tuple[int, int], **settings: Any) -> Task:
    spec = TrainingSpec(architecture=architecture, frames=64, **settings)
    return Task(name=name, spec=spec, batch_size=spec.batch_size, allocated_mb=known_mb[0], reserved_mb=known_mb[1])


_TINY = {"architecture": "tiny/24-32-64-128", "height": 128, "width": 160, "batch_size": 8}
_FULL = {"height": 224, "width": 224, "batch_size": 64}
TASKS = (
    _task("tiny", **_TINY, known_mb=(127, 164)),
    _task("tiny-mutual", **_TINY, learning="mutual", pruning=0.5, known_mb=(163, 185)),
    _task("tiny-distil", "tiny/24-32-64-128", height=256, width=320, batch_size=16, learning="distil",
          known_mb=(432, 604)),
    _task("tiny-wide", "tiny/40-64-128-256", height=480, width=640, batch_size=8, known_mb=(1349, 1814)),
    _task("resnet18", "resnet/2-2-2-2", **_FULL, known_mb=(1677, 2710)),
    _task("resnet50-sgd", "bottleneck/3-4-6-3", **_FULL, optimiser="sgd-momentum", known_mb=(5831, 7017)),
    _task("resnet50-bfloat16", "bottleneck/3-4-6-3", **_FULL, precision="bfloat16", known_mb=(3263, 3783)),
    _task("mobilenet-v2", "mobilenet_v2/1.0", **_FULL, known_mb=(5154, 5776)),
    _task("mobilenet-v3", "mobilenet_v3_large/0.75", height=160, width=160, batch_size=128, known_mb=(2457, 2909)),
    _task("shufflenet-v2", "shufflenet_v2_x1_0", height=224, width=224, batch_size=32, known_mb=(766, 960)),
    Task(name="fasterrcnn-1", batch_size=1, allocated_mb=2733, reserved_mb=3169),
    Task(name="fasterrcnn-4", batch_size=4, allocated_mb=8976, reserved_mb=10324),
)  # fmt: skip
"""Classifiers and detectors; a table in docs/profiler.md says how well each is predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A task's predicted memory against the true one, bytes."""

    task: str
    predicted: GpuMemory
    true_bytes: int

    @property
    def error(self) -> float:
        """Relative; below 0 where too little was predicted."""
        return self.predicted.total_bytes / self.true_bytes - 1


def predicted(task: Task, device: TargetDevice = CUDA_HOPPER) -> GpuMemory:
    """What a task takes of a GPU, by a fake run."""
    return task.life().memory(device)


def document_of(rows: Sequence[Row], *, gpu: str, context: str) -> dict[str, Any]:
    """Rows, figures over all, and whether the goals are reached."""
    errors = [row.error for row in rows]
    too_low = sum(error < -MOST_TOO_LOW for error in errors) / len(errors)
    worst = max(errors, key=abs)
    return {
        "gpu": gpu,
        "context": context,
        "tasks": [
            {"task": r.task, "error": r.error, "true_bytes": r.true_bytes, "predicted_bytes": r.predicted.total_bytes}
            | asdict(r.predicted)
            for r in rows
        ],
        "worst_error": worst,
        "too_low": too_low,
        "goals": {"worst_error": abs(worst) <= MOST_OFF, "too_low": too_low <= SHARE_TOO_LOW},
    }


def main() -> None:
    """Predict, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="predict the smallest task alone, without a GPU")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--task", choices=[task.name for task in TASKS], help="one task alone")
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = [task for task in TASKS if options.task in (None, task.name)]
    if options.quick:
        rows = [Row(task=t.name, predicted=predicted(t), true_bytes=t.h200_bytes) for t in chosen[:1]]
        document = document_of(rows, gpu="H200, measured earlier", context=CUDA_HOPPER.source)
    elif not torch.cuda.is_available():
        sys.exit("gpu_memory: torch finds no CUDA device; --quick predicts without one")
    elif options.train:
        _train(chosen[0])
        return
    else:
        document = _measured(chosen)
    print(json_text(document) if options.json else _table(document))


def _measured(tasks: Sequence[Task]) -> dict[str, Any]:
    device, rows = torch.device("cuda", 0), []
    target = target_of(device)
    for task in tasks:
        found = beside([str(Path(__file__)), "--train", "--task", task.name], device)
        true_bytes = found["reserved_bytes"] + found["context_bytes"]
        rows.append(Row(task=task.name, predicted=predicted(task, target), true_bytes=true_bytes))
    return document_of(rows, gpu=torch.cuda.get_device_name(device), context=target.source)


def _detector() -> nn.Module:
    height, width = DETECTOR_SIZE
    made: nn.Module = fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=7, min_size=height, max_size=width
    )
    return made


def _train(task: Task) -> None:
    """A few steps in this process, then tell what its allocator holds and wait."""
    torch.set_default_device("cuda")
    models, loss = task.training()
    parameters = [p for model in models for p in model.parameters() if p.requires_grad]
    optimiser = training_optimiser("adamw" if task.spec is None else task.spec.optimiser, parameters)
    bfloat16 = task.spec is not None and task.spec.precision == "bfloat16"
    for _ in range(STEPS):
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=bfloat16):
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimiser.step()
    torch.cuda.synchronize()
    told = {"reserved_bytes": torch.cuda.max_memory_reserved(), "allocated_bytes": torch.cuda.max_memory_allocated()}
    print(json.dumps(told), flush=True)
    sys.stdin.read()


def _table(document: dict[str, Any]) -> str:
    lines = [f"{document['gpu']}; context {document['context']}"]
    lines.append(f"{'task':18} {'predicted':>10} {'true':>10} {'off':>7}")
    for row in document["tasks"]:
        foreseen, true = (f"{row[f'{which}_bytes'] / 1e6:7.0f} MB" for which in ("predicted", "true"))
        lines.append(f"{row['task']:18} {foreseen} {true} {row['error']:+7.1%}")
    reached = document["goals"]
    lines.append(f"furthest off {document['worst_error']:+.1%}: {'reached' if reached['worst_error'] else 'MISSED'}")
    lines.append(f"more than 5 % too low {document['too_low']:.0%}: {'reached' if reached['too_low'] else 'MISSED'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
