"""The global teacher as the loop uses it: on the crossbar or digital, at an age, with a scene's BatchNorm."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.config import TeacherConfig
from nestevo_hw.crossbar.chips import load_chip
from nestevo_hw.crossbar.mapping import MappingReport
from nestevo_hw.crossbar.programming_cost import programming_cost
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.evolution.aggregate import re_estimate_batch_norm
from nestevo_hw.evolution.refresh import Programming
from nestevo_hw.models.checkpoint import load_detector
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.seeding import seeded

DIGITAL = "digital"
"""Value of `TeacherConfig.device` that leaves the crossbar out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherFiles:
    """One teacher as stored: digital weights, tiles, and how long ago these were programmed."""

    weights: Path
    crossbar: Path
    age_s: float

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> "TeacherFiles":
        """From the entries "weights", "crossbar" and "age_s" of a task's payload."""
        return cls(weights=Path(payload["weights"]), crossbar=Path(payload["crossbar"]), age_s=payload["age_s"])


def program_teacher(
    config: TeacherConfig, files: TeacherFiles, reference: Tensor, *, seed: int, generation: int, chip: str
) -> dict[str, Any]:
    """Program a teacher onto the crossbar and write its tile state.

    Args:
        config: device, tile and backend.
        files: digital weights to read, tile state to write.
        reference: (N, 3, H, W) uint8 in-domain frames that calibrate the input ranges.
        seed: of the run.
        generation: counts the programmings of this run; each draws its own noise.
        chip: models what it costs.

    Returns:
        "tiles", the relative RMS "weight_error" after programming, and "programming": what it costs (modelled),
        the fields of `refresh.Programming`. Empty for a digital teacher.
    """
    if config.device == DIGITAL:
        return {}
    model, _ = load_detector(files.weights)
    teacher = AnalogTeacher(model, device=config.device, tile=config.tile, seed=seed, backend=config.backend)
    with seeded(seed, "calibrate"):
        teacher.calibrate([as_list(chunk) for chunk in reference[:32].split(8)])
    teacher.program(generation=generation)
    teacher.save(files.crossbar)
    totals = teacher.report.totals
    cost = asdict(programming_on(teacher.report, chip))
    return {"tiles": totals.tiles, "weight_error": totals.weight_error, "programming": cost}


def programming_on(report: MappingReport, chip: str) -> Programming:
    """What writing a model once onto a chip costs, modelled from the chip's published figures.

    Args:
        report: placement of the model's layers.
        chip: name of a chip, or the path of its .toml file.
    """
    cost = programming_cost(report, load_chip(chip))
    return Programming(time_s=cost.time_s, energy_j=cost.energy_j, wear=cost.wear)


def open_teacher(config: TeacherConfig, files: TeacherFiles, scene: Tensor | None) -> FasterRCNN:
    """The teacher ready to label, in eval mode.

    Args:
        config: device.
        files: what `program_teacher` wrote, and its age.
        scene: (N, 3, H, W) uint8 frames whose BatchNorm statistics replace the stored ones, or None. BatchNorm is
            digital, so this costs no programming; it also takes up what drift does to a layer's mean and scale.
    """
    model, _ = load_detector(files.weights)
    if config.device != DIGITAL:
        teacher = AnalogTeacher.load(files.crossbar, model)
        teacher.age(files.age_s)
        model = teacher.module
    if scene is not None:
        adapt_to_scene(model, scene)
    return model


@torch.no_grad()
def adapt_to_scene(model: FasterRCNN, scene: Tensor, *, batch_size: int = 16) -> None:
    """Re-estimate a detector's BatchNorm statistics on (N, 3, H, W) uint8 frames, in place."""
    batches = [model.transform(as_list(chunk), None)[0].tensors for chunk in scene.split(batch_size)]
    re_estimate_batch_norm(model, model.backbone, batches)
