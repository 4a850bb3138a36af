"""A checkpoint as a camera gets it."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.locking import is_unused
from nestevo_hw.models.checkpoint import ModelSpec, check_origin, load_model, resolve_checkpoint
from nestevo_hw.models.inputs import example_inputs
from nestevo_hw.models.onnx.manifest import MANIFEST, Colour, Manifest, Version, sha256
from nestevo_hw.models.zoo import task_of
from nestevo_hw.studies.quantise import calibration_samples, deploy_quantised
from nestevo_hw.tasks.capabilities import EmbeddedStreams
from nestevo_hw.tasks.deployment import Deployment, deploy
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.task import VisionTask

COLOUR: Colour = "rgb"
SCORE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to export, and how."""

    checkpoint: str
    """A shipped name or a path."""
    out: Path
    task: str | None = None
    """None: detection for detectors, else classification."""
    factory: str | None = None
    """`package.module:factory` whose code may run to build the model."""
    size: tuple[int, int] | None = None
    """(H, W) at which the network sees frames, pixels; None: that of its training."""
    colour: Colour = COLOUR
    score: float = SCORE
    floats: bool = False
    int8: bool = False
    calibrate: str | None = None
    """Recording or labelled data that an 8-bit model's ranges are from; None: the task's embedded stream."""
    images: str | None = None
    """Of that data, where they are elsewhere than its labels."""

    def __post_init__(self) -> None:
        if self.int8 and self.floats:
            raise ConfigError("--int8 is of a model that takes frames as they are; leave --floats out")
        if self.calibrate is not None and not self.int8:
            raise ConfigError("--calibrate is for --int8; add it, or leave both out")
        if self.images is not None and self.calibrate is None:
            raise ConfigError("--images is where those of --calibrate are; add it, or leave both out")
        if self.floats and (self.colour, self.score) != (COLOUR, SCORE):
            raise ConfigError(
                "--colour and --score are of a model that takes frames as they are; leave them or --floats out"
            )


def export_checkpoint(request: ExportRequest) -> Manifest:
    """Write the folder, in which an earlier deployment is replaced.

    Raises:
        ConfigError: no such checkpoint or task, a model whose code is not named, a folder that holds something else, or
            8 bits of a model that cannot have them.
        InputError: a damaged checkpoint, or a model of another task.
        NestEvoError: the exported file does not do what the model does.
    """
    if not is_unused(request.out) and not (request.out / MANIFEST).is_file():
        raise ConfigError(f"{request.out} holds something else than a deployment; choose another folder")
    path = resolve_checkpoint(request.checkpoint)
    if not check_origin(path, request.factory, "--factory").is_own and request.factory is not None:
        raise ConfigError(f"--factory is for a checkpoint of your own code, which {path.name} is not; leave it out")
    model, spec = load_model(path)
    task = task_named(request.task or task_of(model))
    example = _example(task, model, spec, request.size or (spec.min_size, spec.max_size))
    version = Version(run=sha256(path)[:12], window=None, terminal=path.stem)
    how = Deployment(version=version, colour=request.colour, score=request.score, floats=request.floats)
    if not request.int8:
        return deploy(task, model, spec, request.out, example, how)
    with tempfile.TemporaryDirectory() as folder:
        exported = deploy(task, model, spec, Path(folder), example, how)
        samples = calibration_samples(request.calibrate, task, spec, example, images=request.images)
        return deploy_quantised(task, Path(folder), exported, samples, request.out)


def _example(task: VisionTask, model: nn.Module, spec: ModelSpec, size: tuple[int, int]) -> Tensor:
    """(3, H, W) uint8: of the task's embedded stream where the model knows its classes, else made up."""
    if isinstance(task, EmbeddedStreams):
        place = (*task.embedded.places, "campus")[0]
        with suppress(ConfigError):  # a stream may not come in every size
            stream = task.embedded_stream(name="export", place=place, seed=0, size=size)
            if stream.classes == spec.classes:
                return stream.read([0]).images[0]
    (made_up, *_) = example_inputs(model, count=1, size=size, channels=3)
    return (made_up * 255).byte()
