"""The global teacher as the loop uses it: on the crossbar or digital, at an age, with a scene's BatchNorm."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor, nn

from nestevo_hw.base.choices import one_of
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.ranges import AGE_S, Range
from nestevo_hw.base.seeding import seeded
from nestevo_hw.crossbar.chips.agreement import differences
from nestevo_hw.crossbar.chips.chip_file import load_chip
from nestevo_hw.crossbar.chips.cost import chip_cost
from nestevo_hw.crossbar.chips.workload import count_workload
from nestevo_hw.crossbar.devices import DIGITAL, PRESETS, AdcRange, DevicePreset, device_text, find_preset, is_file
from nestevo_hw.crossbar.mapping import MappingReport
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.crossbar.tile_sizes import tile_size
from nestevo_hw.evolution.labeller import LabellerConfig
from nestevo_hw.evolution.refresh import Programming
from nestevo_hw.models.adapters import layers_with_side_path, put_beside
from nestevo_hw.models.checkpoint import load_model, resolve_checkpoint
from nestevo_hw.models.onnx.foreign.labeller import Labeller
from nestevo_hw.tasks.task import Teaching

CPU = torch.device("cpu")
SHIPPED = "fasterrcnn-tiny"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherConfig:
    """The global teacher and the crossbar it lives on."""

    model: str = SHIPPED
    labeller: LabellerConfig | None = None
    """In place of `model` a detector of somebody else's, as ONNX: it labels and is never trained (docs/label.md)."""
    analog: Annotated[str, one_of((*PRESETS, DIGITAL), suffix=".toml")] = "pcm"
    """Device preset (docs/catalogue.md), a file of your own (docs/devices.md), relative to the configuration, or
    "digital", which leaves the crossbar out."""
    analog_text: str | None = None
    """Content of that file when the run started; leave it out, it is filled in and recorded with the run."""
    tile: Annotated[int, Range(1, 65_536)] = 256
    """Rows and columns of one crossbar tile."""
    adc_range: AdcRange | None = None
    """Full scale of the ADCs: "fixed" for all layers, or "calibrated" for each on in-domain frames; None: as the device
    has it."""
    backend: Literal["auto", "fold", "fused", "reference"] = "auto"
    age_s: Annotated[float, AGE_S] = 3600.0
    """Age of the first programming when the first window starts, seconds."""
    delay_s: Annotated[float, AGE_S] = 60.0
    """From any later programming to the first label, seconds."""
    update: Literal["program", "adapt"] = "program"
    """How it evolves: "program" writes the mean of the intermediate models onto the crossbar; "adapt" leaves the cells
    as they are, and trains digital adapters beside them for the scenes of each window (docs/adapters.md)."""
    scene_norm: bool | None = None
    """Re-estimate the digital BatchNorm statistics on each terminal's frames; None: where the method does (NestEvo and
    A2 do, the other baselines do not)."""

    def __post_init__(self) -> None:
        """Refuse what a labeller cannot do.

        Raises:
            ConfigError: with the key.
        """
        if self.labeller is None:
            return
        if self.model != SHIPPED:
            raise ConfigError(f"teacher.model: teacher.labeller is the teacher; leave {self.model!r} or it out")
        if self.scene_norm:
            raise ConfigError("teacher.scene_norm: a labeller has no BatchNorm of its own; leave scene_norm out")

    @property
    def named(self) -> Path:
        """File of the first teacher.

        Raises:
            ConfigError: no such checkpoint.
        """
        return resolve_checkpoint(self.model) if self.labeller is None else Path(self.labeller.file)

    def digital(self, weights: Path) -> nn.Module:
        """A teacher without its crossbar, in eval mode on the CPU.

        Args:
            weights: its file.
        """
        if self.labeller is not None:
            return self.labeller.open(layered=self.analog != DIGITAL)
        return load_model(weights)[0]

    @property
    def preset(self) -> DevicePreset | None:
        """The device; None for a digital teacher.

        Raises:
            ConfigError: what is wrong with its file, or it has no ADC whose range can be calibrated.
        """
        if self.analog == DIGITAL:
            return None
        return find_preset(self.analog, text=self.analog_text).with_adc_range(self.adc_range)

    def recorded(self, folder: Path) -> "TeacherConfig":
        """The same with what its files are now.

        Args:
            folder: in which a relative path names the device's file.
        """
        labeller = None if self.labeller is None else self.labeller.recorded()
        if not is_file(self.analog) or self.analog_text is not None:
            return replace(self, labeller=labeller)
        path = str((folder / self.analog).resolve())
        try:
            text = device_text(path)
        except (ConfigError, InputError) as error:
            raise type(error)(f"teacher.analog: {error}") from error
        return replace(self, analog=path, analog_text=text, labeller=labeller)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherFiles:
    """One teacher as stored: digital weights, tiles, and how long ago these were programmed."""

    weights: Path
    crossbar: Path
    age_s: float
    """Since the programming, seconds."""
    adapters: Path | None = None
    """What is put beside it digitally, its BatchNorm included; None: it is as it was programmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabellingTime:
    """How long a chip takes to label frames; modelled from its published figures, not measured."""

    first_s: float
    """From the first frame's arrival to its labels, while no other frame is in work."""
    interval_s: float
    """From one frame to the next."""

    def of(self, frames: int) -> float:
        """Seconds for a number of frames in a row."""
        return self.first_s + (frames - 1) * self.interval_s if frames else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Programmed:
    """A teacher as it came onto the crossbar."""

    tiles: int
    weight_error: float | None
    """Relative RMS error of the programmed weights; None where no layer is analog."""
    programming: Programming
    """What it cost; modelled."""
    labelling: LabellingTime
    differences: tuple[str, ...] = ()
    """What is simulated otherwise than the chip is costed, a line each."""


def program_teacher(
    task: Teaching,
    config: TeacherConfig,
    files: TeacherFiles,
    reference: Tensor,
    *,
    seed: int,
    generation: int,
    chip: str,
    rank: int = 0,
) -> Programmed | None:
    """Program a teacher onto the crossbar and write its tile state.

    Args:
        task: knows how frames enter the model.
        config: device, tile and backend.
        files: digital weights to read, tile state to write.
        reference: (N, 3, H, W) uint8 in-domain frames that calibrate the input ranges.
        seed: of the run.
        generation: counts the programmings of this run; each draws its own noise.
        chip: models what it costs.
        rank: of digital side paths that are to label beside its layers; 0: none.

    Returns:
        None for a digital teacher.
    """
    preset = config.preset
    if preset is None:
        return None
    model = config.digital(files.weights)
    teacher = AnalogTeacher(model, device=preset, tile=config.tile, seed=seed, backend=config.backend)
    with seeded(seed, "calibrate"):
        teacher.calibrate([task.inputs(chunk) for chunk in reference[:32].split(8)])
    teacher.program(generation=generation)
    teacher.save(files.crossbar)
    totals, size = teacher.report.totals, (reference.shape[2], reference.shape[3])
    programming, labelling = cost_on(teacher.report, model, chip, size, rank=rank)
    return Programmed(
        tiles=totals.tiles,
        weight_error=totals.weight_error,
        programming=programming,
        labelling=labelling,
        differences=tuple(one.note for one in differences(load_chip(chip), preset, tile_size(config.tile))),
    )


def cost_on(
    report: MappingReport, model: nn.Module, chip: str, size: tuple[int, int], *, rank: int = 0
) -> tuple[Programming, LabellingTime]:
    """What writing a model once onto a chip costs, and how long it takes there to label frames; modelled.

    As many chips work on them as hold the model, so that it stays there, with copies of busy layers where there is
    room: these are written, too.

    Args:
        report: placement of the model's layers.
        model: digital, in eval mode.
        chip: name of a chip, or the path of its .toml file.
        size: of the frames, (H, W) in pixels.
        rank: of digital side paths beside its layers; 0: none.
    """
    figures = load_chip(chip)
    if isinstance(model, Labeller):
        work = count_workload(model, inputs=torch.zeros(1, 3, *size, dtype=torch.uint8))
    else:
        work = count_workload(model, size).with_side_paths(layers_with_side_path(model), rank)
    needed = chip_cost(report, work, figures, frames=1).chips_needed
    cost = chip_cost(report, work, figures, frames=1, chips=needed)
    written = cost.programming
    programming = Programming(time_s=written.time_s, energy_j=written.energy_j, wear=written.wear)
    return programming, LabellingTime(first_s=cost.first_frame_s, interval_s=cost.interval_s)


def open_teacher(
    task: Teaching,
    config: TeacherConfig,
    files: TeacherFiles,
    scene: Tensor | None,
    *,
    device: torch.device = CPU,
) -> nn.Module:
    """The teacher ready to label, in eval mode.

    Its cells age on the CPU, so that they are the same to the last bit wherever they compute then.

    Args:
        task: knows how a scene's statistics enter the model.
        config: device.
        files: what `program_teacher` wrote, and its age.
        scene: (N, 3, H, W) uint8 frames whose BatchNorm statistics replace the stored ones, or None. BatchNorm is
            digital, so this costs no programming; it also takes up what drift does to a layer's mean and scale.
        device: where it is to compute.
    """
    opened = open_to_learn(config, files, device=device)
    if scene is not None:
        task.re_estimate(opened.module, scene.to(opened.device))
    return opened.module


class LearningTeacher(NamedTuple):
    """A teacher beside which something learns."""

    module: nn.Module
    """It computes as it labels, in eval mode."""
    digital: nn.Module
    """Its digital weights."""
    passing: AbstractContextManager[None]
    """Within which gradients pass through the module."""
    device: torch.device
    """Where it computes."""


def open_to_learn(config: TeacherConfig, files: TeacherFiles, *, device: torch.device = CPU) -> LearningTeacher:
    """The teacher, ready for something digital to learn beside its cells.

    Args:
        config: device.
        files: what `program_teacher` wrote, its age, and adapters.
        device: where it is to compute.
    """
    digital = model = config.digital(files.weights)
    passing: AbstractContextManager[None] = nullcontext()
    if (preset := config.preset) is not None:
        teacher = AnalogTeacher.load(files.crossbar, digital, device=preset)
        teacher.age(files.age_s)
        model, passing = teacher.module, teacher.with_gradients()
        if teacher.backend == "reference":  # aihwkit's own tiles stay where they were made
            device = CPU
    model = model.to(device)
    if files.adapters is not None:  # they go where the model is
        put_beside(model, digital, files.adapters)
    return LearningTeacher(model, digital, passing, device)
