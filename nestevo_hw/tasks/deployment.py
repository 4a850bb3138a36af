"""A model as a camera gets it: a folder with an ONNX file, checked against the model, and a manifest."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from nestevo_hw.base.errors import NestEvoError
from nestevo_hw.models.checkpoint import ModelSpec
from nestevo_hw.models.onnx.export import open_session, unmatched
from nestevo_hw.models.onnx.frames import FrameModel, OnnxFrames, describe, write_frame_model
from nestevo_hw.models.onnx.manifest import (
    Colour,
    Layout,
    Manifest,
    ModelInput,
    Version,
    read_manifest,
    replacing_model,
)
from nestevo_hw.tasks.capabilities import CameraFrames
from nestevo_hw.tasks.task import Predictor, VisionTask

_LAYOUTS: dict[int, Layout] = {3: "CHW", 4: "NCHW"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """How a model is deployed."""

    version: Version
    colour: Colour = "rgb"
    """Order of the channels of the frames that it will be given; floats are always RGB."""
    score: float = 0.5
    """Least score of what it reports; floats come with all."""
    floats: bool = False
    """Let it take floats of one size in place of bytes of any; so it is where a task cannot do else."""


def deploy(
    task: VisionTask, model: nn.Module, spec: ModelSpec, folder: Path, example: Tensor, how: Deployment
) -> Manifest:
    """Write the folder that a camera gets; its manifest is the last file written.

    Args:
        task: of the model.
        model: in eval mode; it is moved to the CPU.
        spec: of the model.
        folder: to write into; a deployment in it is replaced.
        example: (3, h, w) uint8 RGB frame of the size that the network takes, on which file and model must agree.
        how: colour, threshold, version.

    Raises:
        NestEvoError: the file does not predict what the model predicts on the example.
        OutputError: the folder cannot be written.
    """
    model, example = model.cpu().eval(), example.cpu()
    taking = None if how.floats or not isinstance(task, CameraFrames) else task.frame_model(model)
    with replacing_model(folder) as (temporary, write_manifest):
        if taking is None:
            task.export(model, temporary, example)
            manifest = _of_floats(task, spec, temporary, example, how)
        else:
            how = replace(how, score=max(how.score, taking.least_score))
            batched = _write_frames(task, model, taking, temporary, example, how)
            manifest = _of_frames(task, spec, taking, example, how, batched=batched)
        describe(temporary, manifest)
        return write_manifest(manifest)


def open_deployed(task: VisionTask, folder: Path) -> Predictor:
    """What `deploy` wrote, as ONNX Runtime runs it, with detections and classes of any score.

    Raises:
        InputError: a file is missing or not as it was written.
    """
    manifest = read_manifest(folder)
    if manifest.input.dtype == "float32":
        return task.open_exported(folder / manifest.model)
    return OnnxFrames(folder / manifest.model, colour=manifest.input.colour, score=0.0)


def _write_frames(
    task: VisionTask, model: nn.Module, taking: FrameModel, path: Path, example: Tensor, how: Deployment
) -> bool:
    """Write the file; whether it takes any number of frames in one call."""
    for batched in (not taking.detects, False):
        write_frame_model(taking, path, example, colour=how.colour, score=how.score, batched=batched)
        exported = OnnxFrames(path, colour=how.colour, score=0.0)
        if not batched or exported.takes_two(example):
            break
    (expected,), (got,) = task.predict(model, example[None]), exported.predict(example[None])
    if missing := unmatched(expected, got) + unmatched(got, expected):
        raise NestEvoError(f"ONNX export and model disagree on {missing} predictions of the example frame")
    return batched


def _of_frames(
    task: VisionTask, spec: ModelSpec, taking: FrameModel, example: Tensor, how: Deployment, *, batched: bool
) -> Manifest:
    found = ModelInput(
        name=taking.input, layout="HWC" if taking.detects else "NHWC", dtype="uint8", range=(0, 255),
        colour=how.colour, size=None, scaled_to=_size(example), frames=None if batched else 1,
    )  # fmt: skip
    thresholds = {"score": how.score, **taking.thresholds}
    return _manifest(task, spec, found, taking.outputs, thresholds, how)


def _of_floats(task: VisionTask, spec: ModelSpec, path: Path, example: Tensor, how: Deployment) -> Manifest:
    """Of what a task itself exports, as far as the file tells."""
    session = open_session(path)
    (first, *_), outputs = session.get_inputs(), session.get_outputs()
    layout = _LAYOUTS.get(len(first.shape), "NCHW")
    several = layout == "NCHW" and not isinstance(first.shape[0], int)
    found = ModelInput(
        name=first.name, layout=layout, dtype="float32", range=(0, 1), colour="rgb", size=_size(example),
        scaled_to=_size(example), frames=None if several else 1,
    )  # fmt: skip
    words = {o.name: f"({', '.join(str(side) for side in o.shape)}) {o.type.removeprefix('tensor')}" for o in outputs}
    return _manifest(task, spec, found, words, {}, how)


def _manifest(
    task: VisionTask,
    spec: ModelSpec,
    found: ModelInput,
    outputs: dict[str, str],
    thresholds: dict[str, float],
    how: Deployment,
) -> Manifest:
    return Manifest(
        task=task.name, architecture=spec.architecture,
        classes={str(label + 1): name for label, name in enumerate(spec.classes)}, input=found, outputs=outputs,
        thresholds=thresholds, version=how.version,
    )  # fmt: skip


def _size(image: Tensor) -> tuple[int, int]:
    return int(image.shape[1]), int(image.shape[2])
