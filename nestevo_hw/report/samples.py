"""Sample pictures of a run folder: the same frame, as the old and the evolved model see it, and as it is."""

import base64
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from nestevo_hw.base.errors import InputError
from nestevo_hw.report.events import Run

_MAX_PIXELS = 720
"""Longest side of an embedded picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFrame:
    """One frame with the detections of the old and of the evolved model."""

    window: int
    before: Path
    after: Path
    truth: Path | None
    """The same with its true objects, where they are known."""


def sample_path(run_dir: Path, window: int, terminal: str, stage: str) -> Path:
    """Where a sample picture of a run lies; `stage` is before, after or truth."""
    return run_dir / "samples" / f"w{window}-{terminal}-{stage}.png"


def latest_sample(run: Run, terminal: str) -> SampleFrame | None:
    """Pictures of a terminal's last window that has those of both models; None where no window has."""
    for window in reversed(range(run.windows)):
        before, after, truth = (
            sample_path(run.directory, window, terminal, stage) for stage in ("before", "after", "truth")
        )
        if before.is_file() and after.is_file():
            return SampleFrame(window=window, before=before, after=after, truth=truth if truth.is_file() else None)
    return None


def load_picture(path: Path) -> Image.Image:
    """A picture as RGB, reduced to at most 720 pixels a side.

    Raises:
        InputError: the file is not a picture.
    """
    try:
        with warnings.catch_warnings():  # Pillow warns of half as many pixels as it refuses
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            stored = Image.open(path)
        with stored:
            picture = stored.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path} is not a readable picture: delete it and rebuild the report") from error
    picture.thumbnail((_MAX_PIXELS, _MAX_PIXELS))
    return picture


def data_uri(picture: Image.Image) -> str:
    """A picture as a data URI for an <img> element."""
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=88)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
