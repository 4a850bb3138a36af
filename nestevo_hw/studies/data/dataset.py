"""Labelled samples as every study takes them: some to score on, others held out to calibrate with."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.files import require_file
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.models.checkpoint import read_spec, resolve_checkpoint
from nestevo_hw.models.names import PRETRAINED
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.label_folders import holds_labels, labels_of
from nestevo_hw.streams.samples.loader import Given
from nestevo_hw.streams.samples.opening import KINDS, open_samples
from nestevo_hw.streams.samples.preprocessing import Preprocessing
from nestevo_hw.streams.samples.source import Labelled, Sample, Source
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.studies.data.boxes import LabelledBoxes
from nestevo_hw.studies.data.preprocessing import preprocessing_of, torchvision_weights
from nestevo_hw.studies.data.spec import MOST_CALIBRATION, USUAL_SHARE, DataSpec

MOST_BYTES = 8_000_000_000
"""Of the samples that are kept in memory."""
_BATCH = 32
_BACKGROUND = "__background__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some samples of a container."""

    samples: tuple[Sample, ...]
    targets: tuple[int, ...] | tuple[Annotation, ...]
    indices: tuple[int, ...]
    """Their places in the container."""

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled samples, as stored, and how they become what a model takes."""

    name: str
    detection: bool
    """Whether boxes are scored, else classes."""
    classes: tuple[str, ...]
    """Names in the order of the labels; empty where they are not known."""
    complete: bool
    """Whether `classes` must be all of the model's."""
    highest: int
    """Largest class label, of samples that are not used too; -1 for boxes."""
    scored: Part
    calibration: Part
    """Never scored."""
    training: Part = Part(samples=(), targets=(), indices=())
    """Learned from and never scored, where something is learned."""
    total: int
    """Samples of the container."""
    preprocessing: Preprocessing
    first_class: int | None = None
    """Number of a detector's first class; None: 1 of labelled detections, 0 of rows of six numbers."""
    batch: int = _BATCH
    fixed: bool = False
    """Whether every batch has exactly `batch` samples."""

    @property
    def digest(self) -> str:
        """Fingerprint of all samples and labels that are used."""
        found = hashlib.blake2b(digest_size=16)
        for part in (self.scored, self.calibration, self.training):
            for value in (*part.samples, *part.targets):
                for tensor in _tensors(value):
                    found.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
                    found.update(tensor.contiguous().numpy().tobytes())
        return found.hexdigest()

    @property
    def shape(self) -> str:
        """Of a sample, for people to read."""
        first = self.calibration.samples[0]
        if isinstance(first, Mapping):
            return ", ".join(f"{key} {_sides(value)}" for key, value in first.items())
        return _sides(first)


def open_data(
    spec: DataSpec, name: str, model: nn.Module, *, frames: int, seed: int, training: int = 0,
    classes: tuple[str, ...] = (),
) -> Dataset:  # fmt: skip
    """The labelled samples that a user named.

    Args:
        spec: where they are, and how a model takes them.
        name: of the model, by which torchvision's weights are known.
        model: what is not in `spec` is seen from it.
        frames: at most so many are scored, evenly chosen.
        seed: of the calibration split.
        training: at most so many of those held out are there to learn from.
        classes: of the model, in the order of its outputs, where its weights say them; else those of what ships under
            its name, if anything does. `spec` goes before both.

    Raises:
        InputError: samples that cannot be read, or too few of them.
        ConfigError: options that do not fit them.
    """
    source = open_source(replace(spec, classes=spec.classes or classes or _of_checkpoint(name)))
    prepare = preprocessing_of(spec, name, model, detection=source.detection)
    return dataset_of(source, prepare, frames=frames, seed=seed, share=spec.calibration_share,
                      first_class=spec.first_class, batch=spec.batch, training=training)  # fmt: skip


def open_source(spec: DataSpec) -> Source:
    """The container that a user named, by what it is: folder of images or of label files, .npz, .json or a function.

    Raises:
        InputError: it is none of these, or cannot be read.
        ConfigError: classes that do not fit it.
    """
    name = spec.source or ""
    path = labels_of(Path(name))
    boxes = holds_labels(path) if path.is_dir() else path.suffix.lower() == ".json"
    if not boxes:
        return open_samples(name, spec.classes, kinds=f"a COCO .json, a folder of label files, {KINDS}")
    if not path.is_dir():
        require_file(path)
    return LabelledBoxes(path, None if spec.images is None else Path(spec.images), spec.classes or _known(spec))


def given_data(
    inputs: Tensor | Sequence[Any] | Mapping[str, Any], labels: Tensor | Sequence[Any], *,
    frames: int = 10_000, seed: int = 0, share: float = USUAL_SHARE, preprocessing: Preprocessing | None = None,
) -> Dataset:  # fmt: skip
    """Labelled samples that are in memory.

    Args:
        inputs: (N, C, H, W), (N, H, W), (N, H, W, C) or (N, F); uint8 pixels become 0 to 1, floats stay as they are.
        labels: (N,) classes from 0, or N dictionaries of boxes and labels.
        frames: at most so many are scored.
        seed: of the calibration split.
        share: held out for calibration.
        preprocessing: other than this.

    Raises:
        InputError: they do not fit together, or are too few.
    """
    return dataset_of(Given("the data", inputs, labels), preprocessing or Preprocessing(), frames=frames, seed=seed,
                      share=share)  # fmt: skip


def dataset_of(
    source: Source, prepare: Preprocessing, *, frames: int, seed: int, share: float, first_class: int | None = None,
    batch: int | None = None, training: int = 0,
) -> Dataset:  # fmt: skip
    """Choose samples of a container and read those alone.

    Raises:
        InputError: too few samples, or some that cannot be read.
    """
    scored, held_out = split(source.count, share, seed, source.name)
    chosen = {
        "scored": evenly(scored, frames), "calibration": evenly(held_out, MOST_CALIBRATION),
        "training": evenly(held_out, training),
    }  # fmt: skip
    # In one pass, which is what videos and archives can do.
    found: dict[int, Labelled] = {}
    taken = 0
    order = sorted({index for part in chosen.values() for index in part})
    for index, labelled in zip(order, source.read(order, prepare), strict=True):
        found[index] = labelled
        taken += sum(t.numel() * t.element_size() for t in _tensors(labelled.sample))
        if taken > MOST_BYTES:
            raise InputError(f"{source.name}: {len(order)} samples take more than {MOST_BYTES // 10**9} GB; use "
                             "fewer --frames or a smaller --size")  # fmt: skip
    parts = {name: _part(indices, found) for name, indices in chosen.items()}
    first = parts["calibration"].samples[0]
    if isinstance(first, Tensor):
        prepare.check_numbers(first.shape[0])
    used = [target for part in parts.values() for target in part.targets if isinstance(target, int)]
    return Dataset(
        name=source.name, detection=source.detection, classes=source.classes, complete=source.complete,
        highest=max([*(source.labels or ()), *used], default=-1), total=source.count, preprocessing=prepare,
        first_class=first_class, batch=batch or _BATCH, fixed=batch is not None, **parts,
    )  # fmt: skip


def split(count: int, share: float, seed: int, name: str) -> tuple[list[int], list[int]]:
    """Ascending indices to score on, and those held out: a share drawn from the seed.

    Raises:
        InputError: one of the two would be empty.
    """
    held_out = round(count * share)
    if held_out < 1 or held_out >= count:
        raise InputError(
            f"{name}: {count} samples are too few to hold out {share:g} of them for calibration; give more, or another "
            "--calibration-share"
        )
    order = torch.randperm(count, generator=torch_generator(seed, "calibration-split")).tolist()
    return sorted(order[held_out:]), sorted(order[:held_out])


def _part(indices: Sequence[int], found: Mapping[int, Labelled]) -> Part:
    targets: Any = tuple(found[index].target for index in indices)
    return Part(samples=tuple(found[index].sample for index in indices), targets=targets, indices=tuple(indices))


def _of_checkpoint(name: str) -> tuple[str, ...]:
    """Classes of a shipped model or a checkpoint, in the order of its outputs; none of any other."""
    if name not in PRETRAINED and not (name.endswith(".safetensors") and Path(name).is_file()):
        return ()
    return read_spec(resolve_checkpoint(name)).classes


def _known(spec: DataSpec) -> tuple[str, ...]:
    """Categories that the named weights were trained on, without background."""
    if spec.transforms is None:
        return ()
    names = tuple(torchvision_weights(spec.transforms).meta.get("categories", ()))
    return names[1:] if names[:1] == (_BACKGROUND,) else names


def _tensors(value: Sample | int | Annotation) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, int):
        return [torch.tensor(value)]
    if isinstance(value, Annotation):
        return [value.boxes, value.labels, value.ignore]
    return list(value.values())


def _sides(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "1"
