"""What is hardened: the model, what it learns on, how it is scored, and the device."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nestevo_hw import __version__
from nestevo_hw.base.documents import plain
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.learned_ranges import ranges_entry
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.base.tensors import read_header, write_tensors
from nestevo_hw.crossbar.backend import choose_backend
from nestevo_hw.crossbar.devices import AdcRange, find_preset
from nestevo_hw.crossbar.opening import closed_state
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.crossbar.tile_sizes import Tile
from nestevo_hw.models.checkpoint import FORMATS, ModelSpec, digest, pretrained_path, read_spec, save_model
from nestevo_hw.models.classifier import SmallClassifier
from nestevo_hw.models.names import PRETRAINED
from nestevo_hw.models.state import is_torch_file
from nestevo_hw.models.zoo import ZooModel
from nestevo_hw.streams.digits import CLASSES as DIGITS
from nestevo_hw.streams.frame import Role
from nestevo_hw.studies.data.dataset import Dataset, open_data
from nestevo_hw.studies.data.feeding import feed_for
from nestevo_hw.studies.data.spec import MOST_CALIBRATION, DataSpec
from nestevo_hw.studies.harden.config import HardeningConfig
from nestevo_hw.studies.harden.lessons import Lessons, OwnLessons, embedded_lessons
from nestevo_hw.studies.harden.training import Hardened
from nestevo_hw.studies.noise.evaluation import BenchTask, detects_embedded_classes, labelled_task, prepare_task
from nestevo_hw.studies.noise.sweeps import Hardware
from nestevo_hw.studies.opening import open_layers
from nestevo_hw.tasks.capabilities import EmbeddedStreams, require
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.task import VisionTask

_SCORED: Role = "terminal"
_REFERENCE: Role = "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """All that a hardening depends on beside its seed, as plain values."""

    model: str
    weights: str | None
    analog: str
    analog_text: str | None
    """Content of the file that `analog` names; None where it names a preset."""
    adc_range: AdcRange | None
    tile: Tile
    keep_digital: tuple[str, ...]
    grouped: bool
    device: str
    """What everything computes on: cpu, cuda or cuda:N."""
    seed: int
    frames: int
    """Scored on at most, of each scene."""
    data: DataSpec
    config: HardeningConfig

    @property
    def hardware(self) -> Hardware:
        """What the model is programmed onto.

        Raises:
            ConfigError: unknown device.
        """
        preset = find_preset(self.analog, text=self.analog_text).with_adc_range(self.adc_range)
        return Hardware(preset=preset, tile=self.tile, keep_digital=self.keep_digital, grouped=self.grouped,
                        seed=self.seed)  # fmt: skip


class Subject:
    """The opened model of a setup.

    Raises:
        ConfigError: nothing can be learned or scored, or the device has no model for the age.
        InputError: weights or samples that cannot be read, or a model that does not run on them.
        MappingError: no layer of it can be placed on the crossbar, or weights that no conductance can hold.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.hardware = setup.hardware
        choose_backend(self.hardware.preset, "auto")
        self.hardware.preset.check_time(setup.config.age_s)
        weights = None if setup.weights is None else Path(setup.weights)
        if setup.model.lower().endswith(".onnx"):
            raise ConfigError(
                f"{setup.model} brings its own weights, which cannot be learned; give the model as "
                "package.module:factory with --weights"
            )
        self._device = torch.device(setup.device)
        self.given = open_layers(setup.model, weights=weights, data=setup.data, device=self._device)
        if not self.given.trained:
            raise ConfigError(f"{setup.model} has {self.given.origin}, which there is no point in hardening; give "
                              "--weights")  # fmt: skip
        self._spec = _spec_of(setup.model, weights)
        self._embedded = None if setup.data.source is not None else _embedded_task(self.given)
        self._data: Dataset | None = None
        if self._embedded is None:
            self._data = open_data(
                setup.data, setup.model, self.given.model, frames=setup.frames, seed=setup.seed,
                training=setup.config.samples, classes=self.given.classes,
            )  # fmt: skip
            check_batches(self._data, setup.config.batch_size)
        self._teacher = AnalogTeacher(
            self.given.model, device=self.hardware.preset, tile=setup.tile, seed=setup.seed,
            keep_digital=setup.keep_digital, grouped=setup.grouped,
        )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """All that trainings and scores depend on, as JSON values."""
        identity = {
            **plain(self.setup), "device": self._device.type, "weights_digest": digest(self.given.model),
            "preset": self.hardware.preset.document(), "version": __version__,
        }  # fmt: skip
        return identity if self._data is None else identity | {"data_digest": self._data.digest}

    def prepare(self) -> "ReadySubject":
        """Render the frames and calibrate the device."""
        task, lessons = self._task_and_lessons()
        self._teacher.calibrate(task.calibration)
        return ReadySubject(task=task, lessons=lessons, teacher=self._teacher, clean=self.given.model)

    def _task_and_lessons(self) -> tuple[BenchTask, Lessons]:
        setup, name, model = self.setup, self.setup.model, self.given.model
        if self._data is not None:
            feed = feed_for(name, model, self._data)
            note = f"learned from {len(self._data.training)} others without their labels"
            return labelled_task(name, model, self._data), OwnLessons(feed=feed, part=self._data.training, note=note)
        assert self._embedded is not None
        lessons = embedded_lessons(self._embedded, setup.config.samples, setup.seed, self._device)
        if self._embedded.name == "detection":
            return prepare_task(self.given, frames=setup.frames, seed=setup.seed), lessons
        return _digits_task(self._embedded, setup.frames, setup.seed), lessons

    def save(self, hardened: Hardened, path: Path, notes: dict[str, str]) -> None:
        """Write a trained model so that `--weights` takes it."""
        notes = {**notes, **ranges_entry(hardened.input_ranges)}
        if self._spec is not None:
            save_model(hardened.model, self._spec, path, notes=notes)
            return
        state = closed_state(hardened.model, hardened.model.state_dict())
        write_tensors(path, {name: tensor.clone() for name, tensor in state.items()}, notes)

    def load(self, path: Path) -> nn.Module:
        """A model that `save` wrote."""
        opened = open_layers(self.setup.model, weights=path, data=self.setup.data, device=self._device)
        return opened.model.requires_grad_(requires_grad=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadySubject:
    """A subject whose frames are rendered and whose device is calibrated."""

    task: BenchTask
    lessons: Lessons
    teacher: AnalogTeacher
    clean: nn.Module


def check_batches(data: Dataset, size: int) -> None:
    """Refuse steps that a model which takes so many samples at a time would have to fill up.

    Raises:
        ConfigError: the steps are no whole number of its batches.
    """
    if data.fixed and size % data.batch:
        raise ConfigError(
            f"--batch-size: {size} samples of a step are no whole number of batches of {data.batch} (--batch); give "
            f"{-(-size // data.batch) * data.batch}"
        )


def _spec_of(name: str, weights: Path | None) -> ModelSpec | None:
    """How to build a model of this program's own checkpoints; None of any other, which has a bare state dict."""
    if weights is None:
        return read_spec(pretrained_path(name)) if name in PRETRAINED else None
    own = not is_torch_file(weights) and read_header(weights).get("format") in FORMATS
    return read_spec(weights) if own else None


def _embedded_task(chosen: ZooModel) -> VisionTask:
    """The task whose embedded stream a model fits.

    Raises:
        ConfigError: none.
    """
    if detects_embedded_classes(chosen):
        return task_named("detection")
    if isinstance(chosen.model, SmallClassifier) and chosen.model.head.out_features == len(DIGITS):
        return task_named("classification")
    raise ConfigError(
        f"{chosen.name} fits no embedded stream, so there is nothing to learn or to score on; give --data"
    )


def _digits_task(task: VisionTask, frames: int, seed: int) -> BenchTask:
    """Handwritten digits that no training ever showed; input ranges from others."""
    size = task.embedded.frame_size
    embedded = require(task, EmbeddedStreams, "hardening without --data")
    streams = {
        role: embedded.embedded_stream(
            name="bench", place="bench", seed=derive_seed(seed, "bench", "stream"), size=size, role=role
        )
        for role in (_SCORED, _REFERENCE)
    }
    shown, others = streams[_SCORED].read(range(frames)), streams[_REFERENCE].read(range(MOST_CALIBRATION))
    truth = shown.truth or ()

    def measure(model: nn.Module) -> dict[str, dict[str, float]]:
        return {"all": task.score(task.predict(model, shown.images), truth, len(DIGITS))}

    return BenchTask(
        task="classification", metrics=("accuracy", "mean_recall"), measure=measure, frames=frames,
        classes=len(DIGITS), calibration=(task.inputs(others.images),),
        note=f"accuracy on {frames} handwritten digits that no training showed; input ranges from "
        f"{MOST_CALIBRATION} others",
    )  # fmt: skip
