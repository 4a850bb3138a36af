"""A training spec made real: its models, its loss on random frames, and the loss's surrogate for a fake run."""

from collections.abc import Sequence

import torch
import torchvision.models as zoo
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.models.faster_rcnn import TinyWidths, fasterrcnn_tiny
from nestevo_hw.models.pruning import prune
from nestevo_hw.profiler.fake_run import StepWork, fake_copies, fake_step
from nestevo_hw.profiler.gpu_life import GpuLife, gpu_life
from nestevo_hw.profiler.specs import TrainingSpec
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.detection import Detection
from nestevo_hw.tasks.losses import classifier_loss
from nestevo_hw.tasks.supervision import Supervision

CLASSES = 4
"""Of every model, background included."""
SOFT_REGIONS = 48
"""Regions a frame that carry soft targets, in distillation."""
_DETECTION = Detection()
_CPU = torch.device("cpu")


class TrainingModels:
    """Models of a training spec with random weights, in training mode.

    Args:
        spec: of the training.
        device: where they are.

    Raises:
        ConfigError: no such architecture.
    """

    def __init__(self, spec: TrainingSpec, device: torch.device = _CPU) -> None:
        self.spec = spec
        count = 2 if spec.learning == "mutual" else 1
        self.models = [build(spec) for _ in range(count)]
        if spec.pruning:
            self.models[0] = prune(self.models[0], spec.pruning)
        for model in self.models:
            model.to(device).train()
        self._device = device
        self._supervision = _supervision(spec)

    def loss(self) -> Tensor:
        """Summed loss of a batch of random frames, with gradient: what such a training really does."""
        spec = self.spec
        if not spec.is_detector:
            batch = torch.rand(spec.batch_size, 3, *spec.input_size, device=self._device)
            return classifier_loss(self.models, batch, taught=self._taught)
        images = self._images(self._device)
        if spec.learning == "mutual":
            annotations = [s.annotation for s in self._supervision]
            terminal, intermediate = self.models
            losses = _DETECTION.mutual_losses(terminal, intermediate, images, annotations, alpha=0.5, beta=0.5)
            return torch.stack(losses).sum()
        share = 0.5 if self._taught else 0.0
        return _DETECTION.distillation_loss(
            self.models[0], images, self._supervision, temperature=2.0, soft_share=share
        )

    def work(self) -> StepWork:
        """The step's work by a fake run."""
        return fake_step(
            fake_copies(self.models), self._surrogate, optimiser=self.spec.optimiser, precision=self.spec.precision
        )

    def gpu_life(self) -> GpuLife:
        """What such a training would ask a GPU's allocator for, by a fake run."""
        return gpu_life(
            fake_copies(self.models), self._surrogate, optimiser=self.spec.optimiser, precision=self.spec.precision
        )

    def _surrogate(self, models: Sequence[nn.Module]) -> Tensor:
        spec = self.spec
        if not spec.is_detector:
            return classifier_loss(models, torch.rand(spec.batch_size, 3, *spec.input_size), taught=self._taught)
        return _DETECTION.surrogate_loss(models, self._images(), soft_regions=SOFT_REGIONS if self._taught else 0)

    def _images(self, device: torch.device = _CPU) -> list[Tensor]:
        return [torch.rand(3, *self.spec.input_size, device=device) for _ in range(self.spec.batch_size)]

    @property
    def _taught(self) -> bool:
        return self.spec.learning == "distil"


def build(spec: TrainingSpec) -> nn.Module:
    """A model of the task's architecture, unpruned, with random weights.

    Raises:
        ConfigError: no such architecture.
    """
    name, _, variant = spec.architecture.partition("/")
    model: nn.Module
    if spec.is_detector:
        model = _detector(variant, spec.input_size)
        return model
    if name in ("resnet", "bottleneck"):
        block = BasicBlock if name == "resnet" else Bottleneck
        model = ResNet(block, [int(n) for n in variant.split("-")], num_classes=CLASSES)
    elif not hasattr(zoo, name):
        raise ConfigError(f"unknown architecture {spec.architecture!r}; give one of torchvision's or tiny/24-32-64-128")
    elif variant:
        model = getattr(zoo, name)(num_classes=CLASSES, width_mult=float(variant))
    else:
        model = getattr(zoo, name)(num_classes=CLASSES)
    return model


def _detector(variant: str, size: tuple[int, int]) -> FasterRCNN:
    try:
        stem, stage, pyramid, hidden = (int(n) for n in variant.split("-"))
    except ValueError as error:
        raise ConfigError(f"expected tiny/STEM-STAGE-PYRAMID-HIDDEN but got tiny/{variant}") from error
    widths = TinyWidths(stem=stem, stages=(stage, 2 * stage, 4 * stage), fpn=pyramid, box_hidden=hidden)
    return fasterrcnn_tiny(CLASSES, min_size=min(size), max_size=max(size), widths=widths)


def _supervision(spec: TrainingSpec) -> list[Supervision]:
    """Made-up supervision of each frame: two objects, and soft targets on SOFT_REGIONS regions."""
    height, width = spec.input_size
    scale = torch.tensor([width, height, width, height], dtype=torch.float32)
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.3, 0.8, 0.9]]) * scale
    corner = torch.rand(SOFT_REGIONS, 2) * 0.6
    regions = torch.cat([corner, corner + 0.1 + 0.3 * torch.rand(SOFT_REGIONS, 2)], 1) * scale
    one = Supervision(
        annotation=Annotation.of(boxes, torch.tensor([1, 2])),
        regions=regions,
        logits=torch.randn(SOFT_REGIONS, CLASSES),
        deltas=torch.randn(SOFT_REGIONS, 4 * CLASSES),
        features=torch.zeros(2, 1),
    )
    return [one] * spec.batch_size
