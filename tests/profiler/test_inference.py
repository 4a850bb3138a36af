"""Memory of forward passes, by hand."""

import pytest
import torch
from torch import nn

from nestevo_hw.profiler.inference import MARGIN, MODELS_AT_ONCE, WORKSPACE_BYTES, inference_memory
from nestevo_hw.profiler.target import CUDA
from nestevo_hw.tasks.batches import frames_at_once


def test_each_frame_takes_what_is_alive_at_a_time() -> None:
    """Float frames, and the outputs of two layers of which the first is freed as the third begins."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 1), nn.Conv2d(16, 1, 1)).eval()

    def predict(asked: nn.Module, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            result: torch.Tensor = asked(images.float())
            return result

    found = inference_memory([model], predict, (10, 20))
    assert found.model_bytes == 4 * (3 * 8 + 8 + 8 * 16 + 16 + 16 + 1)
    uint8, floats, first, second = 200 * 3, 200 * 12, 200 * 32, 200 * 64
    assert found.frame_bytes == uint8 + floats + first + second
    taken = found.on(CUDA, 5000)
    tensors = MODELS_AT_ONCE * found.model_bytes + MARGIN * 5000 * found.frame_bytes
    rest = CUDA.context_bytes + 2 * CUDA.blas_bytes + WORKSPACE_BYTES
    assert 0 <= taken - rest - tensors <= 2 << 20, "in whole segments"


@pytest.mark.parametrize(
    ("size", "device", "frames"),
    [((128, 160), "cpu", 16), ((128, 160), "cuda", 64), ((320, 320), "cuda", 20), ((800, 1333), "cuda", 1)],
)
def test_a_gpu_takes_more_small_frames_at_once_and_few_large_ones(
    size: tuple[int, int], device: str, frames: int
) -> None:
    assert frames_at_once(16, size, torch.device(device)) == frames
