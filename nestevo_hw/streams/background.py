"""Background subtraction where the camera stands still: the foreground is amplified, streaks of rain or snow go."""

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_FRAMES = 8
"""Fewer frames do not show what the background is; they stay as they are."""
LEAST_S = 5.0
"""Seconds between the first and the last frame, for the background to be known: what stops for a moment is none."""
STREAK_WIDTH = 1 / 128
"""Half the width of a streak, of the frame's height."""
ANISOTROPY = 1.5
"""Ratio of thin bright upright detail to lying detail, or the reverse, from which on it is streaks, not noise."""
STILL_SHARE = 0.7
"""Of frames that have not moved against the others, from which on the camera stands still. Of cameras that do, all have
not, in every weather; of those that move, or of several scenes, at most 40 %."""
_STILL_COLUMNS = 80
"""To which frames are reduced to look for movement; smaller movements than one of these are none."""


def stands_still(images: Tensor) -> bool:
    """Whether frames are of a camera that did not move, whatever moves before it, and however dark or wet it is.

    Each frame is registered by phase correlation against the background, the median of frames, of the other half of the
    time: a cut in the middle leaves nothing in common, and a frame's own noise does not count.

    Args:
        images: (N, 3, H, W) uint8 frames in order of time; fewer than `MIN_FRAMES` count as still.
    """
    if len(images) < MIN_FRAMES:
        return True
    step = max(1, round(images.shape[-1] / _STILL_COLUMNS))
    small = F.avg_pool2d(images.float().mean(1, keepdim=True), step)
    detail = (small - F.avg_pool2d(small, 7, 1, 3, count_include_pad=False))[:, 0]
    first, second = detail.tensor_split(2)
    others = torch.stack([second.median(0).values, first.median(0).values])
    halves = torch.tensor([len(first), len(second)], device=images.device)
    height, width = detail.shape[1:]
    window = torch.hann_window(height, device=images.device)[:, None] * torch.hann_window(width, device=images.device)
    spectrum = torch.fft.rfft2(detail * window)
    cross = spectrum * torch.fft.rfft2(others * window).conj().repeat_interleave(halves, 0)
    peak = torch.fft.irfft2(cross / cross.abs().clamp(min=1e-6), s=(height, width)).flatten(1).argmax(1)
    rows, columns = peak // width, peak % width
    moved = torch.maximum(torch.minimum(rows, height - rows), torch.minimum(columns, width - columns)) > 1
    return float((~moved).float().mean()) >= STILL_SHARE


def amplify_foreground(images: Tensor, *, factor: float, batch_size: int = 16) -> Tensor:
    """Frames whose difference from the background is amplified, without thin bright streaks if it holds any.

    The background is each pixel's median over the frames, as bright as the frame at hand. An object that fog or
    defocus has made faint gains contrast; what stands still, parked objects too, stays as it is. Streaks of rain or
    snow are found by their direction, as noise has none, and removed from the difference by a morphological opening
    across them. Only the frames themselves are used.

    Args:
        images: (N, 3, H, W) uint8 frames of one fixed camera, spread over more time than objects stay in place.
        factor: of the difference; 1 only removes streaks.
        batch_size: frames at a time.

    Returns:
        (N, 3, H, W) uint8; fewer than `MIN_FRAMES` frames as they came.
    """
    if len(images) < MIN_FRAMES:
        return images
    # torch (2.14) takes a wrong median of expanded integers.
    background = images.contiguous().median(0).values.float() / 255
    size = 2 * max(1, round(STREAK_WIDTH * images.shape[-2])) + 1
    kernel = _across_streaks([_subtracted(chunk, background)[1] for chunk in images[::4].split(batch_size)], size)
    out = []
    for chunk in images.split(batch_size):
        lit, foreground = _subtracted(chunk, background)
        kept = foreground if kernel is None else _opened(foreground, kernel)
        out.append(((lit + factor * kept).clamp(0, 1) * 255).round().to(torch.uint8))
    return torch.cat(out)


def _subtracted(images: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """The background in each frame's light, and the foreground: what differs from it."""
    frames = images.float() / 255
    usual = background.flatten(1).median(1).values.clamp(min=1 / 255)
    light = frames.flatten(2).median(2).values / usual
    lit = background * light[:, :, None, None]
    return lit, frames - lit


def _across_streaks(foreground: list[Tensor], size: int) -> tuple[int, int] | None:
    """Rows and columns of the line that lies across the streaks; None if there are none."""
    lying, upright = (1, size), (size, 1)
    removed = [sum(float((f - _opened(f, kernel)).sum()) for f in foreground) for kernel in (lying, upright)]
    if removed[0] > ANISOTROPY * removed[1]:
        return lying
    return upright if removed[1] > ANISOTROPY * removed[0] else None


def _opened(foreground: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Morphological opening: bright detail in which the line does not fit is gone."""
    padding = (kernel[0] // 2, kernel[1] // 2)
    eroded = -F.max_pool2d(-foreground, kernel, 1, padding)
    return F.max_pool2d(eroded, kernel, 1, padding)
