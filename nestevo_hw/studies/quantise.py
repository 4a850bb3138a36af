"""A deployed model in 8 bits: what its ranges are from, and what it is beside the float one, measured."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.models.checkpoint import ModelSpec
from nestevo_hw.models.onnx.frames import BATCH, OnnxFrames, as_given, describe
from nestevo_hw.models.onnx.manifest import (
    MODEL,
    Colour,
    Manifest,
    Quantised,
    QuantisedManifest,
    replacing_model,
)
from nestevo_hw.models.onnx.quantised import quantise
from nestevo_hw.streams.frame import Annotation, FrameBatch, Role, frame_box
from nestevo_hw.streams.images import SUFFIXES, native_frames, open_recording
from nestevo_hw.streams.samples.preprocessing import Preprocessing
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.studies.data.dataset import Part, dataset_of, open_source
from nestevo_hw.studies.data.spec import USUAL_SHARE, DataSpec
from nestevo_hw.tasks.capabilities import EmbeddedStreams
from nestevo_hw.tasks.predictions import Prediction, pseudo_labels
from nestevo_hw.tasks.task import VisionTask, headline

CALIBRATION, SCORED, TIMED = 32, 100, 30
"""Frames that set the ranges, that are scored on at most, and that are timed at most."""
_SPACING = 20
"""Frames of an embedded stream between two that are taken."""
_MOST_BYTES = 1_000_000_000
"""Of a recording's frames in memory."""
_LABELLED = (".json", ".npz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Frames (3, H, W) uint8 RGB of any size: some to calibrate with, others to score on."""

    calibration: tuple[Tensor, ...]
    scored: tuple[Tensor, ...]
    truth: tuple[Annotation, ...] | None
    """Of the scored ones; None without labels."""
    told: str
    """Where they are from, for people to read."""


def calibration_samples(
    source: str | None, task: VisionTask, spec: ModelSpec, example: Tensor, *, images: str | None = None
) -> Samples:
    """Frames to calibrate an 8-bit model with, and others to score it on.

    Args:
        source: a recording, labelled data, or None for the task's embedded stream.
        task: of the model.
        spec: of the model, whose classes labels must have.
        example: (3, h, w) frame of the size that the network sees.
        images: folder or video of labelled images that are not beside their labels.

    Raises:
        ConfigError: the model does not know the classes of the data, or no data were given and none are embedded.
        InputError: they cannot be read, or are too few.
    """
    if source is None:
        return _embedded(task, spec, (int(example.shape[1]), int(example.shape[2])))
    path = Path(source)
    recording = any(p.suffix.lower() in SUFFIXES for p in path.iterdir()) if path.is_dir() else path.is_file()
    if recording and path.suffix.lower() not in _LABELLED:
        return _recorded(path)
    return _labelled(source, spec, images)


def deploy_quantised(
    task: VisionTask, exported: Path, manifest: Manifest, samples: Samples, folder: Path
) -> QuantisedManifest:
    """Write the folder that a camera gets, with the model in 8 bits; its manifest is the last file written.

    Args:
        task: of the model.
        exported: folder of the float deployment, which takes frames as they are.
        manifest: of that deployment.
        samples: to calibrate with and to score on.
        folder: to write into; a deployment in it is replaced.

    Raises:
        ConfigError: the task's models take no frames as they are.
        InputError: the model cannot be quantised.
        OutputError: the folder cannot be written.
    """
    if manifest.input.dtype != "uint8":
        raise ConfigError(f"--int8 needs a model that takes frames as they are, which task {manifest.task} has not; "
                          "leave it out")  # fmt: skip
    taken = manifest.input
    frames = [as_given(image, taken.colour).numpy() for image in samples.calibration]
    with replacing_model(folder) as (temporary, write_manifest):
        layers, last = quantise(exported / MODEL, [f if taken.name != BATCH else f[None] for f in frames], temporary)
        found = _measured(task, exported / MODEL, temporary, manifest, samples)
        found = replace(found, layers=len(layers), float_layers=last)
        known = {entry.name: getattr(manifest, entry.name) for entry in fields(Manifest)}
        return write_manifest(_described(temporary, QuantisedManifest(**known, quantised=found)))


def told(found: Quantised) -> list[str]:
    """For people to read."""
    known = (found.score, found.float_score)
    score, before = ("not known" if value is None else f"{value:.3f}" for value in known)
    return [
        f"int8: {found.layers} layers, {len(found.float_layers)} stay float; ranges from {found.calibrated_on}",
        f"size: {found.bytes / 1e6:.2f} MB, float {found.float_bytes / 1e6:.2f} MB",
        f"{found.metric}: {score}, float {before}, on {found.scored_on}",
        f"speed: {found.milliseconds:.2f} ms a frame, float {found.float_milliseconds:.2f} ms "
        f"({found.milliseconds / found.float_milliseconds:.2f} times as long), measured on this machine",
    ]


def _measured(task: VisionTask, exported: Path, quantised: Path, manifest: Manifest, samples: Samples) -> Quantised:
    """Size, score and speed of both files; layers are filled in by the caller."""
    models = [OnnxFrames(path, colour=manifest.input.colour, score=0.0) for path in (exported, quantised)]
    before, after = ([_predicted(model, image) for image in samples.scored] for model in models)
    # Classes of images are what is likeliest, whatever the threshold.
    sure = manifest.thresholds["score"] if manifest.input.name != BATCH else 0.0
    truth = samples.truth or tuple(pseudo_labels(found, sure, sure) for found in before)
    classes = len(manifest.classes)
    scores = [headline(task.score(found, truth, classes)) for found in (before, after)]
    times = _times([exported, quantised], manifest.input.colour, evenly(samples.scored, TIMED))
    what = ("labels", task.metric) if samples.truth else ("what the float model finds", f"agreement, {task.metric}")
    return Quantised(
        layers=0, float_layers=(), calibrated_on=f"{len(samples.calibration)} frames of {samples.told}",
        bytes=quantised.stat().st_size, float_bytes=exported.stat().st_size,
        scored_on=f"{len(samples.scored)} other frames, against {what[0]}", metric=what[1],
        score=_finite(scores[1]), float_score=_finite(scores[0]), milliseconds=times[1], float_milliseconds=times[0],
    )  # fmt: skip


def _described(file: Path, manifest: QuantisedManifest) -> QuantisedManifest:
    """Write a manifest's facts into its file until the size among them is that of the file with them in it."""
    while True:
        describe(file, manifest)
        size = file.stat().st_size
        if size == manifest.quantised.bytes:
            return manifest
        manifest = replace(manifest, quantised=replace(manifest.quantised, bytes=size))


def _predicted(model: OnnxFrames, image: Tensor) -> Prediction:
    (found,) = model.predict(image[None])
    return found


def _times(paths: Sequence[Path], colour: Colour, frames: Sequence[Tensor]) -> list[float]:
    """Median milliseconds a frame of each file with its own threshold, taken in turns so that all see the same load."""
    models = [OnnxFrames(path, colour=colour) for path in paths]
    for model in models:
        _predicted(model, frames[0])
    taken: list[list[float]] = [[] for _ in models]
    for image in frames:
        for model, times in zip(models, taken, strict=True):
            started = time.perf_counter()
            _predicted(model, image)
            times.append(1e3 * (time.perf_counter() - started))
    return [median(times) for times in taken]


def _finite(score: float) -> float | None:
    return None if score != score else score  # noqa: PLR0124 - NaN is not itself


def _embedded(task: VisionTask, spec: ModelSpec, size: tuple[int, int]) -> Samples:
    """Of the task's embedded stream by day: in-domain frames, and others that no training saw."""
    advice = "the model knows other classes than the embedded stream; give frames of its own with --calibrate"
    if not isinstance(task, EmbeddedStreams):
        raise ConfigError(advice)
    place = (*task.embedded.places, "campus")[0]
    roles: tuple[tuple[Role, int], ...] = (("reference", CALIBRATION), ("terminal", SCORED))
    read: list[FrameBatch] = []
    for role, count in roles:
        seed = derive_seed(0, "int8", role)
        stream = task.embedded_stream(name="int8", place=place, seed=seed, size=size, role=role)
        if stream.classes != spec.classes:
            raise ConfigError(advice)
        read.append(stream.read(range(0, count * _SPACING, _SPACING)))
    calibration, scored = read
    return Samples(
        calibration=tuple(calibration.images), scored=tuple(scored.images), truth=scored.truth,
        told="the embedded stream",
    )  # fmt: skip


def _recorded(path: Path) -> Samples:
    """Of a recording without labels: every so many frames, those to calibrate with between those to score on."""
    source = open_recording(path)
    height, width = source.native_size
    chosen = evenly(range(source.length), min(CALIBRATION + SCORED, max(8, _MOST_BYTES // (3 * height * width))))
    if len(chosen) < 2:
        raise InputError(f"{path} has only {source.length} frame; give more to calibrate with")
    calibration = set(evenly(range(len(chosen)), min(CALIBRATION, len(chosen) // 2)))
    images = [torch.from_numpy(f.pixels.copy()).permute(2, 0, 1) for f in native_frames(source, chosen)]
    return Samples(
        calibration=tuple(image for row, image in enumerate(images) if row in calibration),
        scored=tuple(image for row, image in enumerate(images) if row not in calibration), truth=None, told=path.name,
    )  # fmt: skip


def _labelled(source: str, spec: ModelSpec, images: str | None) -> Samples:
    """Of labelled data whose classes the model knows."""
    data_spec = DataSpec(source=source, images=images)
    found = open_source(data_spec)
    strangers = [name for name in found.classes if name not in spec.classes]
    if strangers:
        raise ConfigError(f"--calibrate {source}: the model knows {', '.join(spec.classes)}, not {strangers[0]}; name "
                          "the classes so, or give the frames without labels")  # fmt: skip
    named = open_source(replace(data_spec, classes=spec.classes)) if found.classes else found
    data = dataset_of(named, Preprocessing(channels=3), frames=SCORED, seed=0, share=USUAL_SHARE)
    scored = _images(data.scored, source)
    targets: Sequence[int | Annotation] = data.scored.targets
    truth = (_truth(target, image) for target, image in zip(targets, scored, strict=True))
    return Samples(calibration=_images(data.calibration, source), scored=scored, truth=tuple(truth), told=source)


def _images(part: Part, source: str) -> tuple[Tensor, ...]:
    images = []
    for sample in part.samples:
        if not isinstance(sample, Tensor) or sample.dtype != torch.uint8 or sample.ndim != 3:
            raise InputError(f"--calibrate {source}: samples are no images of bytes; give frames as a camera does")
        images.append(sample)
    return tuple(images)


def _truth(target: int | Annotation, image: Tensor) -> Annotation:
    """Of a class counted from 0 what fills the image."""
    if isinstance(target, Annotation):
        return target
    return Annotation.of(frame_box(image), torch.tensor([target + 1]))
