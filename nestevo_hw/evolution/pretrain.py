"""Pre-training of the teacher by day, and of its pruned terminals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.errors import ConfigError, InputError
from nestevo_hw.evolution.learning import labelled
from nestevo_hw.evolution.training import TrainingPlan, draws, optimise
from nestevo_hw.models.checkpoint import DetectorSpec, load_detector, save_detector
from nestevo_hw.models.pruning import PRUNING_RATIOS, prune
from nestevo_hw.seeding import seeded, torch_generator
from nestevo_hw.streams.augment import MILD, Augmentation
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.detection import detection_loss, predict
from nestevo_hw.tasks.metrics import mean_average_precision


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """Length of the pre-training."""

    teacher: TrainingPlan = TrainingPlan(steps=2600, learning_rate=2e-3)
    terminal: TrainingPlan = TrainingPlan(steps=700, learning_rate=1e-3)
    seed: int = 0


def terminal_name(architecture: str, variant: str) -> str:
    """Name of a pruned variant, such as fasterrcnn-tiny-m1."""
    return f"{architecture}-{variant}"


def train_supervised(
    model: FasterRCNN,
    frames: FrameBatch,
    plan: TrainingPlan,
    how: Augmentation,
    *,
    seed: int,
    name: str,
    device: torch.device,
    on_step: Callable[[int], None] | None = None,
) -> float:
    """Train a detector on labelled frames, in place.

    Args:
        model: detector.
        frames: with truth.
        plan: length and step size.
        how: augmentation.
        seed: of the whole pre-training.
        name: separates the random draws of different trainings under one seed.
        device: where to train.
        on_step: called after each step.

    Returns:
        Mean late loss.

    Raises:
        InputError: the frames have no labels.
    """
    truth = frames.truth
    if truth is None:
        raise InputError("pre-training needs labelled frames, but these have no labels")
    batches = draws(frames.images, plan, how, torch_generator(seed, name), device)

    def step() -> Tensor:
        return detection_loss(model, *labelled(next(batches), truth))

    model.to(device)
    with seeded(seed, name):
        return optimise([model], plan, step, on_step=on_step)


def pretrain_teacher(
    spec: DetectorSpec,
    training: Path,
    held_out: Path,
    out: Path,
    config: PretrainConfig,
    *,
    device: torch.device,
    on_step: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Train a teacher from scratch on stored frames and write it.

    Returns:
        mAP of the written checkpoint on the held-out frames, by metric name.
    """
    with seeded(config.seed, "initialise"):
        model = spec.build()
    train_supervised(
        model, load_frames(training), config.teacher, MILD, seed=config.seed, name="teacher", device=device,
        on_step=on_step,
    )  # fmt: skip
    notes = {"seed": str(config.seed), "steps": str(config.teacher.steps)}
    save_detector(model.cpu(), spec, out, notes=notes, half=True)
    return score_checkpoint(out, held_out)


def pretrain_terminal(
    teacher: Path,
    variant: str,
    training: Path,
    held_out: Path,
    out: Path,
    config: PretrainConfig,
    *,
    device: torch.device,
    on_step: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Prune a teacher, fine-tune the result without photometric augmentation, and write it.

    Raises:
        ConfigError: the variant is not one of m1, m2, m3.
    """
    if variant not in PRUNING_RATIOS:
        raise ConfigError(f"unknown terminal variant {variant!r}; choose from {', '.join(PRUNING_RATIOS)}")
    model, spec = load_detector(teacher)
    prune(model, PRUNING_RATIOS[variant])
    train_supervised(
        model, load_frames(training), config.terminal, Augmentation(), seed=config.seed, name=variant,
        device=device, on_step=on_step,
    )  # fmt: skip
    notes = {
        "seed": str(config.seed),
        "steps": str(config.terminal.steps),
        "pruning": str(PRUNING_RATIOS[variant]),
    }
    save_detector(model.cpu(), spec, out, notes=notes, half=True)
    return score_checkpoint(out, held_out)


def score_checkpoint(path: Path, frames: Path) -> dict[str, float]:
    """mAP of a stored detector on stored labelled frames."""
    model, spec = load_detector(path)
    batch = load_frames(frames)
    if batch.truth is None:
        raise InputError(f"{frames} has no labels to score against")
    score = mean_average_precision(predict(model, batch.images), batch.truth, len(spec.classes))
    return {"map50": score.map50, "map75": score.map75, "map": score.map}


Results = Mapping[str, Mapping[str, float]]
