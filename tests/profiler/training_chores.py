"""Training steps of a tiny detector, as tasks for workers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.documents import plain
from nestevo_hw.models.faster_rcnn import as_list, fasterrcnn_tiny
from nestevo_hw.profiler.dryrun import profile_step

Payload = dict[str, Any]


def tiny_training() -> tuple[FasterRCNN, Callable[[int], Tensor]]:
    """A detector and its training loss on a batch of random frames with two objects each."""
    torch.manual_seed(0)
    model = fasterrcnn_tiny(4)
    target = {"boxes": torch.tensor([[10.0, 10, 50, 50], [60.0, 30, 100, 90]]), "labels": torch.tensor([1, 2])}

    def loss(batch_size: int) -> Tensor:
        frames = torch.randint(0, 256, (batch_size, 3, 128, 160), dtype=torch.uint8)
        return torch.stack(list(model(as_list(frames), [target] * batch_size).values())).sum()

    return model, loss


def dry_run(payload: Payload) -> Payload:
    """The document of a step profile."""
    del payload
    model, loss = tiny_training()
    return plain(profile_step([model], loss))


def train(payload: Payload) -> Payload:
    """Some steps at a batch size."""
    model, loss = tiny_training()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for _ in range(payload["steps"]):
        optimiser.zero_grad(set_to_none=True)
        value = loss(payload["batch_size"])
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return {"loss": float(value.detach())}
