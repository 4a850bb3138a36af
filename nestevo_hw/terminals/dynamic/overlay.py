"""Pictures of what was computed anew: tinted, the rest grey."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from nestevo_hw.base.errors import ConfigError, OutputError
from nestevo_hw.base.files import replacing
from nestevo_hw.models.onnx.crops.spans import Rect, Span, whole
from nestevo_hw.terminals.dynamic.plan import Action, FrameDone, Reason, StageDone
from nestevo_hw.terminals.runtime import Found, Frame

_CHANGED, _DENSE, _BOX, _CHEAPER, _KEPT = (255, 96, 64), (255, 190, 60), (90, 220, 255), (90, 230, 120), (70, 70, 70)
_EDGE_PX, _BAR_PX = 2, 6
_FPS = 10
_QUALITY = {"crf": "23", "preset": "veryfast"}


def overlay(frame: Frame, done: FrameDone, found: Found, *, least_score: float) -> Frame:
    """A frame that is grey where nothing was computed: changed parts have an edge, a dense frame one around all.

    Where stages took cheaper ways, a bar at the bottom has a field for each stage, or one for all: these are green.
    """
    size = (frame.shape[0], frame.shape[1])
    dense = done.reason not in (Reason.STILL, Reason.CHANGED)
    grey = frame.mean(2, keepdims=True).astype(np.uint8)
    picture = np.repeat(grey // 2 + 48, 3, 2)
    for rect in (whole(size),) if dense else done.changed:
        rows, columns = slice(*rect.rows), slice(*rect.columns)
        picture[rows, columns] = frame[rows, columns]
        _edge(picture, rect, _DENSE if dense else _CHANGED)
    for left, top, right, bottom in found.above(least_score).boxes.round().astype(int).tolist():
        box = Rect(Span(top, bottom).within(size[0]), Span(left, right).within(size[1]))
        if box.area:
            _edge(picture, box, _BOX, width=1)
    if done.rung:
        _bar(picture, done.stages)
    return picture


def _bar(picture: Frame, stages: Sequence[StageDone]) -> None:
    """A field for each stage, by what it did; one field where the model was run as a whole."""
    if not stages:
        picture[-_BAR_PX:] = _CHEAPER
    colours = {Action.DENSE: _DENSE, Action.REGION: _CHANGED}
    borders = np.linspace(0, picture.shape[1], len(stages) + 1).astype(int)
    for stage, left, right in zip(stages, borders, borders[1:], strict=False):
        plan = stage.plan
        picture[-_BAR_PX:, left : right - 1] = _CHEAPER if plan.way else colours.get(plan.action, _KEPT)


def _edge(picture: Frame, rect: Rect, colour: tuple[int, int, int], *, width: int = _EDGE_PX) -> None:
    (top, bottom), (left, right) = rect
    picture[top : top + width, left:right] = picture[max(top, bottom - width) : bottom, left:right] = colour
    picture[top:bottom, left : left + width] = picture[top:bottom, max(left, right - width) : right] = colour


def check_overlay(path: Path) -> None:
    """Look whether pictures can go there.

    Raises:
        ConfigError: it is another kind of file.
    """
    if path.suffix.lower() not in (".mp4", ".png"):
        raise ConfigError(f"--overlay: need a name that ends in .mp4 or .png, got {path.name}")


@contextmanager
def overlay_writer(path: Path, size: tuple[int, int]) -> Iterator[Callable[[Frame], None]]:
    """A function that takes pictures of (H, W): a .mp4 has all of them, a .png the last one.

    Raises:
        ConfigError: another kind of file.
        OutputError: it cannot be written.
    """
    check_overlay(path)
    if path.suffix.lower() == ".png":
        last = list[Frame]()
        yield lambda picture: last.__setitem__(slice(None), [picture])
        if last:
            with replacing(path) as temporary:
                _png(temporary, last[0])
        return
    with replacing(path) as temporary:
        try:
            with av.open(str(temporary), "w", format="mp4") as container:
                track = container.add_stream("libx264", rate=Fraction(_FPS), options=_QUALITY)
                track.height, track.width, track.pix_fmt = size[0] // 2 * 2, size[1] // 2 * 2, "yuv420p"

                def write(picture: Frame) -> None:
                    even = np.ascontiguousarray(picture[: track.height, : track.width])
                    container.mux(track.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))

                yield write
                container.mux(track.encode(None))
        except av.FFmpegError as error:
            raise OutputError.of(path, error) from error


def _png(path: Path, picture: Frame) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path, format="PNG")
