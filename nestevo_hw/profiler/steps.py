"""The step of a detector's training task as a profile predicts it, from the models that will learn."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.profiler.fake_run import Optimiser, Precision, fake_copies, fake_step
from nestevo_hw.profiler.surrogate import detector_loss, mutual_detector_loss
from nestevo_hw.profiler.vector import StepTask


def detector_step(
    models: Sequence[FasterRCNN],
    *,
    frame_size: tuple[int, int],
    batch_size: int,
    soft_regions: int = 0,
    optimiser: Optimiser = "adamw",
    precision: Precision = "float32",
) -> StepTask:
    """Fake run of one step; about a second, no memory, and the models stay as they are.

    Args:
        models: one detector, or terminal and intermediate model that learn from one another.
        frame_size: (H, W) of the frames, pixels.
        batch_size: frames a step.
        soft_regions: regions a frame on which a single detector also learns a teacher's stored words.
        optimiser: of the training.
        precision: of the training.
    """

    def loss(copies: Sequence[torch.nn.Module]) -> Tensor:
        images = [torch.rand(3, *frame_size) for _ in range(batch_size)]
        if len(copies) == 1:
            return detector_loss(copies[0], images, soft_regions=soft_regions)
        terminal, intermediate = copies
        return mutual_detector_loss(terminal, intermediate, images)

    work = fake_step(fake_copies(models), loss, optimiser=optimiser, precision=precision)
    pixels = frame_size[0] * frame_size[1]
    return StepTask(work=work, batch_size=batch_size, pixels=pixels, bfloat16=precision == "bfloat16")
