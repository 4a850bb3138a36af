"""What a deployed model says of itself: what goes in, what comes out, which version it is, and its checksum.

Nothing here needs torch or onnx, so that a camera can read it.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from nestevo_hw import __version__
from nestevo_hw.base.documents import json_line, json_text, plain, read_json
from nestevo_hw.base.errors import InputError, OutputError
from nestevo_hw.base.files import replacing

MANIFEST, MODEL = "manifest.json", "model.onnx"
FORMAT = "nestevo-hw-deployment"
SCORE = "score_threshold"
"""Name of the constant that a file which takes frames holds its threshold in."""
Layout = Literal["HWC", "NHWC", "CHW", "NCHW"]
Colour = Literal["rgb", "bgr"]
"""Order of the channels of a pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """What goes in."""

    name: str
    layout: Layout
    """N frames or one, height, width and channels."""
    dtype: Literal["uint8", "float32"]
    range: tuple[float, float]
    """Values of a black and of a white pixel."""
    colour: Colour
    size: tuple[int, int] | None
    """(H, W) in pixels that a frame must have; None for any."""
    scaled_to: tuple[int, int]
    """(H, W) in pixels at which the network sees it; frames of another shape are stretched."""
    frames: int | None
    """Of one call; None for one or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Where a model comes from."""

    run: str
    """Of `nestevo-hw evolve` the digest of its configuration, of `nestevo-hw export` the digest of the checkpoint."""
    window: int | None
    """None for a model that no window has changed."""
    terminal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Of one deployment; the same facts, but for files, stand in the model's own metadata."""

    task: str
    architecture: str
    classes: Mapping[str, str]
    """Name of each label."""
    input: ModelInput
    outputs: Mapping[str, str]
    """What comes out, in words, by name."""
    thresholds: Mapping[str, float]
    """Already applied: the least score, and of a detector the IoU from which on two boxes of a class are one object,
    and the most detections of a frame."""
    version: Version
    tool: str = f"nestevo-hw {__version__}"
    format: str = FORMAT
    model: str = MODEL
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Of each other file of the folder, by name."""

    def metadata(self) -> dict[str, str]:
        """As an ONNX file holds it: texts, what is no text as JSON."""
        facts = {name: value for name, value in plain(self).items() if name not in ("model", "sha256")}
        return {name: value if isinstance(value, str) else json_line(value) for name, value in facts.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """What became of a model in 8 bits, beside its float version."""

    layers: int
    """In 8 bits: weights int8, activations uint8."""
    float_layers: tuple[str, ...]
    """That stay float, beside all that has no weights."""
    calibrated_on: str
    """In words."""
    bytes: int
    """Of the file, its metadata included."""
    float_bytes: int
    scored_on: str
    """In words."""
    metric: str
    score: float | None
    """Against labels, or without them against what the float model finds; None where there is nothing to find."""
    float_score: float | None
    milliseconds: float
    """A frame, measured on the machine that exported it, by ONNX Runtime on one thread; median."""
    float_milliseconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisedManifest(Manifest):
    """Of a deployment in 8 bits."""

    quantised: Quantised


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing_model[M: Manifest](folder: Path) -> Iterator[tuple[Path, Callable[[M], M]]]:
    """Yield where to write the model of a deployment, and what then writes its manifest, filled with the checksum.

    Both are written before either takes its place, the manifest last: on failure an earlier deployment is as before.

    Raises:
        OutputError: one of them cannot be written.
    """
    with replacing(folder / MANIFEST) as described, replacing(folder / MODEL) as temporary:

        def describe(manifest: M) -> M:
            full = replace(manifest, sha256={MODEL: sha256(temporary)})
            try:
                described.write_text(json_text(plain(full)) + "\n", encoding="utf-8")
            except OSError as error:
                raise OutputError.of(folder / MANIFEST, error) from error
            return full

        yield temporary, describe


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder whose files are as they were written.

    Raises:
        InputError: it is missing or damaged, or so is a file that it names.
    """
    advice = "export the model again"
    manifest = read_json(folder / MANIFEST, Manifest, advice=advice)
    if manifest.format != FORMAT:
        raise InputError(f"{folder / MANIFEST}: format: expected {FORMAT} (got {manifest.format!r}); {advice}")
    if manifest.model not in manifest.sha256:
        raise InputError(f"{folder / MANIFEST}: sha256: names no {manifest.model!r}; {advice}")
    for name, wanted in manifest.sha256.items():
        if Path(name).name != name or not (folder / name).is_file():
            raise InputError(f"{folder / MANIFEST}: no file {name!r} beside it; {advice}")
        if sha256(folder / name) != wanted:
            raise InputError(f"{folder / name} is not the file that its manifest describes; copy or {advice}")
    return manifest
