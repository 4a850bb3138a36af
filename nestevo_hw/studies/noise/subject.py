"""What is benchmarked: the model in its trainings, how it is scored, and what it is programmed onto."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN

from nestevo_hw import __version__
from nestevo_hw.base.documents import plain
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.backend import Backend
from nestevo_hw.crossbar.devices import AdcRange, find_preset
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.crossbar.placement import check_weights
from nestevo_hw.crossbar.tile_sizes import Tile
from nestevo_hw.models.checkpoint import digest, load_detector, resolve_checkpoint
from nestevo_hw.models.zoo import ZooModel
from nestevo_hw.studies.data.dataset import Dataset, open_data
from nestevo_hw.studies.data.spec import DataSpec
from nestevo_hw.studies.noise.bench import Bench, Keep, Scores
from nestevo_hw.studies.noise.evaluation import BenchTask, detects_embedded_classes, prepare_task
from nestevo_hw.studies.noise.noise_aware import FineTuning, spec_of, tuned_pair
from nestevo_hw.studies.noise.plan import AWARE, GIVEN, PLAIN, Trial
from nestevo_hw.studies.noise.students import School, Teaching, is_distillation
from nestevo_hw.studies.noise.sweeps import DeviceFile, Hardware
from nestevo_hw.studies.opening import open_layers

MODELS = "models"
"""Subfolder of the tuned pair."""
FRAME_SIZE = (128, 160)
"""(H, W) of the embedded frames, pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """All that a score depends on beside its trial, as plain values: it means the same in any process."""

    model: str
    weights: str | None
    analog: str
    analog_text: str | None
    """Content of the file that `analog` names; None where it names a preset."""
    perfect_io: bool
    adc_range: AdcRange | None
    age_s: float
    """Time after programming at which every property but time is swept, seconds."""
    tile: Tile
    keep_digital: tuple[str, ...]
    grouped: bool
    backend: Backend
    device: str
    """What everything computes on: cpu, cuda or cuda:N."""
    seed: int
    frames: int
    """Scored on at most, of each scene."""
    data: DataSpec = DataSpec()
    """Labelled samples of the user's own, or what made-up inputs look like."""
    noise_aware: FineTuning | None
    noise_aware_weights: str | None
    teaching: Teaching | None
    device_files: tuple[DeviceFile, ...] = ()
    """Of the devices that are swept."""

    @property
    def hardware(self) -> Hardware:
        """What the model is programmed onto.

        Raises:
            ConfigError: unknown device.
        """
        return Hardware(
            preset=find_preset(self.analog, perfect_io=self.perfect_io, text=self.analog_text).with_adc_range(
                self.adc_range
            ),
            tile=self.tile, keep_digital=self.keep_digital, grouped=self.grouped, backend=self.backend, seed=self.seed,
            age_s=self.age_s, device_files=self.device_files,
        )  # fmt: skip

    @property
    def trainings(self) -> tuple[str, ...]:
        """Of the model: as it was given, or the pair that is compared."""
        if self.noise_aware is not None:
            return (GIVEN, PLAIN, AWARE)
        return (GIVEN,) if self.noise_aware_weights is None else (PLAIN, AWARE)


class Subject:
    """The opened models of a setup.

    Raises:
        ConfigError: the model cannot do what the setup asks of it.
        InputError: weights or samples that cannot be read, or a model that does not run on them.
        MappingError: no layer of it can be placed on the crossbar, or weights that no conductance can hold.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup, labelled = setup, setup.data.source is not None
        self._device = torch.device(setup.device)
        self.given = open_layers(setup.model, weights=_path(setup.weights), data=setup.data, device=self._device)
        self._aware: ZooModel | None = None
        if setup.noise_aware_weights is not None:
            self._aware = open_layers(
                setup.model, weights=_path(setup.noise_aware_weights), data=setup.data, device=self._device
            )
        self._embedded = setup.data == DataSpec() and self.given.trained and detects_embedded_classes(self.given)
        if not self._embedded and (setup.teaching is not None or setup.noise_aware is not None):
            raise ConfigError(
                "students learn on embedded frames, of which --data has none; leave --data or --students and "
                "--noise-aware out"
                if labelled
                else f"{setup.model} is no trained detector of the embedded classes, so there are no labelled frames "
                "for --students or --noise-aware; try fasterrcnn-tiny, or give --noise-aware-weights"
            )
        mapped = map_model(
            self.given.model, setup.tile, keep_digital=setup.keep_digital, grouped=setup.grouped,
            device=setup.hardware.preset,
        )  # fmt: skip
        for entry in mapped.analog:
            layer: Any = self.given.model.get_submodule(entry.name)
            check_weights(f"{entry.name}.weight", layer.weight)
        self._data: Dataset | None = None
        if labelled:
            self._data = open_data(
                setup.data, setup.model, self.given.model, frames=setup.frames, seed=setup.seed,
                classes=self.given.classes,
            )  # fmt: skip
        # Frames are rendered later, when there is a progress bar; of all others what does not fit is said at once.
        self._task = None if self._embedded else self._prepared(self.given)
        if setup.noise_aware is not None and isinstance(self.given.model, FasterRCNN):
            self._spec = spec_of(setup.model, self.given.model)

    def identity(self) -> dict[str, Any]:
        """All that the scores depend on, as JSON values; ask before `prepare`."""
        identity = {
            **plain(self.setup),
            "device": self._device.type,
            "weights_digest": digest(self.given.model),
            "preset": self.setup.hardware.preset.document(),
            "version": __version__,
        }
        if self._data is not None:
            identity["data_digest"] = self._data.digest
        if self._aware is not None:
            identity["noise_aware_digest"] = digest(self._aware.model)
        if self.setup.teaching is not None:
            identity["student_digest"] = digest(load_detector(resolve_checkpoint(self.setup.teaching.student))[0])
            config = self.setup.teaching.config.document()
            identity["distillation"] = {"labels": config["labels"], "distil": config["distil"]}
        return identity

    def prepare(self, folder: Path, on_model: Callable[[], None] = lambda: None) -> "ReadySubject":
        """Render the frames and tune the pair, or read it from `folder` where it was tuned before.

        Args:
            folder: of the benchmark.
            on_model: called after each model of a pair that the setup wants tuned.
        """
        setup = self.setup
        task = self._task or self._prepared(self.given)
        measures = dict.fromkeys(setup.trainings, task.measure)
        models: dict[str, nn.Module] = {setup.trainings[0]: self.given.model}
        if self._aware is not None:
            models[AWARE] = self._aware.model
            measures[AWARE] = self._prepared(self._aware).measure
        elif setup.noise_aware is not None and isinstance(self.given.model, FasterRCNN):
            models |= tuned_pair(
                self.given.model, self._spec, setup.noise_aware, folder / MODELS, seed=setup.seed, size=FRAME_SIZE,
                on_model=on_model,
            )  # fmt: skip
        bench = Bench(
            models=models, measures=measures, calibration=task.calibration, hardware=setup.hardware, seed=setup.seed
        )
        school = None
        if setup.teaching is not None:
            school = School(
                teacher=self.given.model, calibration=task.calibration, hardware=setup.hardware,
                teaching=setup.teaching, seed=setup.seed,
            )  # fmt: skip
        return ReadySubject(task=task, bench=bench, school=school)

    def _prepared(self, chosen: ZooModel) -> BenchTask:
        """How one of the models is scored."""
        setup = self.setup
        return prepare_task(chosen, frames=setup.frames, seed=setup.seed, data=self._data, size=setup.data.size,
                            channels=setup.data.channels)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadySubject:
    """A subject whose frames are rendered and whose models are trained."""

    task: BenchTask
    bench: Bench
    school: School | None

    def score(self, trials: Sequence[Trial], known: Mapping[Trial, Scores], keep: Keep) -> None:
        """Find the scores of trials that are not known yet, distillations last; `keep` is told of each."""
        self.bench.run([trial for trial in trials if not is_distillation(trial)], known, keep)
        if self.school is not None:
            self.school.run([trial for trial in trials if is_distillation(trial)], known, keep)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
