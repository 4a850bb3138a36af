"""What does a training step ask of a GPU: launches, waits, copies, and, on one, milliseconds?

    python benchmarks/training_step.py [--quick] [--json]

Faster R-CNN, tiny and ResNet-50, on made-up labelled frames. Anywhere: operations (each one launch or more), points at
which the host would wait for the GPU, and tensors made on the host, by kind of training and part of the step, counted
in a step on the CPU as a GPU would run it. On a GPU also milliseconds by part, beside a bare loop of torchvision's own
detector. `--quick` takes fewer rounds; both take less than two minutes and need neither network nor files.
"""

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.models.detection import FasterRCNN

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nestevo_hw.base.documents import json_text
from nestevo_hw.evolution.learning import labelled
from nestevo_hw.evolution.training import Draw, TrainingPlan, draws, optimiser_of
from nestevo_hw.models.faster_rcnn import fasterrcnn_tiny, resnet50_fpn
from nestevo_hw.streams.augment import MILD
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.adversarial import SOURCE, TARGET, AdversarialConfig
from nestevo_hw.tasks.detection import Detection
from nestevo_hw.tasks.faster_rcnn.shapes import fixed_shapes
from nestevo_hw.tasks.supervision import Supervision
from nestevo_hw.testing.waits import asked_for_values

CLASSES, FRAMES, SOFT_REGIONS, WARMING = 4, 32, 48, 3
TASK = Detection()
KINDS = ("supervised", "distillation", "mutual", "adversarial")
PARTS = ("batch", "loss", "backward", "optimiser")
_VIEWS = {
    "alias", "as_strided", "detach", "diagonal", "empty", "empty_like", "expand", "lift_fresh", "new_empty", "permute",
    "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze",
    "view", "_reshape_alias", "_unsafe_view",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A detector and its frames."""

    name: str
    build: Callable[[], FasterRCNN]
    size: tuple[int, int]
    batch_size: int


def settings() -> list[Setting]:
    """What is measured on a GPU; the first is counted."""
    tiny = Setting(name="tiny", build=lambda: fasterrcnn_tiny(CLASSES), size=(128, 160), batch_size=8)
    return [tiny, *(
        Setting(name="resnet50", build=lambda: resnet50_fpn(CLASSES, min_size=720, max_size=1280), size=(720, 1280),
                batch_size=count)
        for count in (1, 4)
    )]  # fmt: skip


class Counting(TorchDispatchMode):
    """Counts launches and waits of what runs under it."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        if asked_for_values(name, args, kwargs or {}) is not None:
            self.waits[name] += 1
        if name not in _VIEWS:
            self.launches[name] += 1
        return func(*args, **(kwargs or {}))


class Copying(TorchFunctionMode):
    """Counts tensors that are made from values of the host for a device: each a copy for which the host may wait."""

    def __init__(self) -> None:
        super().__init__()
        self.copies = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None
        elsewhere = any(isinstance(a, (torch.device, str)) for a in tree_leaves((args[1:], kwargs)))
        if made or (func is Tensor.to and elsewhere and args[0].dim()):  # norms of gradients are where they belong
            self.copies += 1
        return func(*args, **kwargs)


class Training:
    """One kind of training of a setting, step by step."""

    def __init__(self, setting: Setting, kind: str, device: torch.device) -> None:
        self.setting, self.kind, self.device = setting, kind, device
        torch.manual_seed(0)
        count = 2 if self.kind == "mutual" else 1
        self.models: list[nn.Module] = [setting.build().to(self.device).train() for _ in range(count)]
        if self.kind == "adversarial":
            self.models.append(TASK.domain_classifiers(self.models[0], AdversarialConfig()).to(self.device))
        self.parameters = [p for model in self.models for p in model.parameters() if p.requires_grad]
        self.optimiser = optimiser_of(self.parameters, TrainingPlan())
        self.supervision = supervision_of(setting.size)
        images = torch.randint(0, 256, (FRAMES, 3, *setting.size), dtype=torch.uint8)
        plan = TrainingPlan(steps=1, batch_size=setting.batch_size)
        generator = torch.Generator().manual_seed(1)
        self.batches: Iterator[Draw] = draws(images, plan, MILD, generator, self.device)

    def parts(self) -> list[tuple[str, Callable[[], None]]]:
        """The parts of the next step, to be called in order."""
        held: dict[str, Any] = {}

        def batch() -> None:
            held["draw"] = next(self.batches)

        def loss() -> None:
            held["loss"] = self._loss(held["draw"])

        def backward() -> None:
            held["loss"].backward()

        def optimise() -> None:
            nn.utils.clip_grad_norm_(self.parameters, 5.0, foreach=True)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)

        return list(zip(PARTS, (batch, loss, backward, optimise), strict=True))

    def _loss(self, draw: Draw) -> Tensor:
        model = self.models[0]
        images, labels = labelled(draw, [s.annotation for s in self.supervision])
        if self.kind == "supervised":
            return TASK.supervised_loss(model, images, labels)
        if self.kind == "mutual":
            return torch.stack(TASK.mutual_losses(*self.models, images, labels, alpha=0.7, beta=0.7)).sum()
        if self.kind == "adversarial":
            classifiers: Any = self.models[1]
            loss, view = TASK.source_features(model, images, labels)
            other = TASK.target_features(model, images)
            return loss + 0.1 * (classifiers.loss(view, SOURCE, 0.5) + classifiers.loss(other, TARGET, 0.5))
        width = self.setting.size[1]
        chosen = [self.supervision[r] for r in draw.rows]
        chosen = [s.mirrored(width) if flip else s for s, flip in zip(chosen, draw.flips, strict=True)]
        return TASK.distillation_loss(model, images, chosen, temperature=2.0, soft_share=0.5)


class Bare(Training):
    """Torchvision's own detector and loss on the same batches, with the same optimiser."""

    def _loss(self, draw: Draw) -> Tensor:
        chosen = [self.supervision[row].annotation for row in draw.rows]
        targets = [{"boxes": a.boxes.to(self.device), "labels": a.labels.to(self.device)} for a in chosen]
        return torch.stack(list(self.models[0](draw.images, targets).values())).sum()


def supervision_of(size: tuple[int, int]) -> list[Supervision]:
    """Made-up labels and soft targets of each frame."""
    random = torch.Generator().manual_seed(2)
    scale = torch.tensor([size[1], size[0]] * 2)
    found = []
    for number in range(FRAMES):
        corners = torch.rand(SOFT_REGIONS + 6, 2, generator=random) * 0.6
        sides = 0.08 + 0.3 * torch.rand(SOFT_REGIONS + 6, 2, generator=random)
        boxes = torch.cat([corners, corners + sides], 1) * scale
        count = 1 + number % 6
        labels = torch.randint(1, CLASSES, (count,), generator=random)
        ignore = torch.tensor([number % 5 == 4 and k == 0 for k in range(count)])
        found.append(Supervision(
            annotation=Annotation(boxes=boxes[:count], labels=labels, ignore=ignore),
            regions=boxes[6:],
            logits=torch.randn(SOFT_REGIONS, CLASSES, generator=random),
            deltas=torch.randn(SOFT_REGIONS, 4 * CLASSES, generator=random),
            features=torch.zeros(int((~ignore).sum()), 1),
        ))  # fmt: skip
    return found


def counted(setting: Setting, kind: str) -> list[dict[str, Any]]:
    """Launches, waits and copies of each part of a warm step."""
    training, rows = Training(setting, kind, torch.device("cpu")), []
    with fixed_shapes():
        for _, part in training.parts():
            part()
        for name, part in training.parts():
            with ExitStack() as stack:
                copying, counting = stack.enter_context(Copying()), stack.enter_context(Counting())
                part()
            rows.append({
                "detector": setting.name, "batch": setting.batch_size, "training": kind, "part": name,
                "launches": counting.launches.total(), "waits": counting.waits.total(), "copies": copying.copies,
            })  # fmt: skip
    return rows


def timed(training: Training, rounds: int) -> dict[str, float]:
    """Median milliseconds of a step and of each part of it; on a GPU by its own clock, steps close together."""
    gpu = training.device.type == "cuda"
    steps = []
    for _ in range(rounds + WARMING):
        marks = [_mark(gpu)]
        for _, part in training.parts():
            part()
            marks.append(_mark(gpu))
        steps.append(marks)
    if gpu:
        torch.cuda.synchronize()
    spans = [[_span_ms(a, b) for a, b in pairwise(marks)] for marks in steps[WARMING:]]
    found = {part: statistics.median(column) for part, column in zip(PARTS, zip(*spans, strict=True), strict=True)}
    return found | {"step": statistics.median(_span_ms(marks[0], marks[-1]) for marks in steps[WARMING:])}


def _mark(gpu: bool) -> Any:
    if not gpu:
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _span_ms(start: Any, end: Any) -> float:
    return (end - start) * 1e3 if isinstance(start, float) else float(start.elapsed_time(end))


def milliseconds(setting: Setting, device: torch.device, rounds: int) -> list[dict[str, Any]]:
    """Time of each kind of training, and of a bare torchvision loop."""
    rows = []
    for kind in ("torchvision", *KINDS):
        training = (Bare if kind == "torchvision" else Training)(setting, kind, device)
        found = timed(training, rounds)
        rows.append({"detector": setting.name, "batch": setting.batch_size, "training": kind, "ms": found})
        del training
    return rows


def show(found: dict[str, Any]) -> None:
    """Tables of counts and times."""
    console = Console()
    table = Table(title="A training step, counted", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("detector", "training", "part", "launches", "waits", "copies"):
        table.add_column(heading, justify="right" if heading in ("launches", "waits", "copies") else "left")
    for row in found["counts"]:
        table.add_row(f"{row['detector']}, {row['batch']} frames", *(str(row[k]) for k in list(row)[2:]))
    console.print(table)
    title = f"Milliseconds of a training step on {found['device']}, measured"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for heading in ("detector", "training", *PARTS, "step"):
        table.add_column(heading, justify="left" if heading in ("detector", "training") else "right")
    for row in found["times"]:
        spans = [f"{row['ms'][name]:.1f}" for name in (*PARTS, "step")]
        table.add_row(f"{row['detector']}, {row['batch']} frames", row["training"], *spans)
    console.print(table)


@click.command()
@click.option("--quick", is_flag=True, help="Few rounds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def main(quick: bool, as_json: bool) -> None:
    """Count a training step's operations, and time it."""
    gpu = torch.cuda.is_available()
    every = settings()
    device = torch.device("cuda", 0) if gpu else torch.device("cpu")
    counts = [row for kind in KINDS for row in counted(every[0], kind)]
    times = []
    for setting in every if gpu else every[:1]:
        times += milliseconds(setting, device, (10 if quick else 30) if gpu else 3)
    name = torch.cuda.get_device_name(device) if gpu else "the CPU"
    found = {"device": name, "torch": torch.__version__, "counts": counts, "times": times}
    if as_json:
        click.echo(json_text(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
