"""A pair of models to compare: fine-tuned with weight noise (eq. 18-20), and without, on the same batches."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.seeding import derive_seed, seeded, torch_generator
from nestevo_hw.crossbar.noise import weight_noise
from nestevo_hw.evolution.learning import labelled
from nestevo_hw.evolution.pretrain_frames import PLACES
from nestevo_hw.evolution.training import TrainingPlan, draws, optimise
from nestevo_hw.models.checkpoint import BUILDERS, ModelSpec, load_detector, save_model
from nestevo_hw.streams.augment import MILD
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.rendered.synthetic import CLASSES, SyntheticStream
from nestevo_hw.streams.storage import concatenate
from nestevo_hw.studies.noise.plan import AWARE, PLAIN
from nestevo_hw.studies.placing import on_device
from nestevo_hw.tasks.faster_rcnn.losses import supervised_pass

_SPACING = 67
"""Frames of a stream between two that are trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning:
    """How both models of the pair are tuned."""

    mu: float
    """Weight noise of the noise-aware one, of each layer's weight range; the plain one has none."""
    steps: int = 200
    batch_size: int = 8
    learning_rate: float = 5e-4
    frames_per_place: int = 32
    """Labelled frames by day of each of the ten kinds of scenery."""

    def __post_init__(self) -> None:
        if self.mu <= 0:
            raise ConfigError(f"--noise-aware needs a mu above 0, got {self.mu:g}")

    @property
    def plan(self) -> TrainingPlan:
        """Length and step size."""
        return TrainingPlan(steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate)

    @property
    def note(self) -> str:
        """For people to read: how the pair came about."""
        return (
            f"Both models are the given one after {self.steps} further steps on the same batches of labelled frames by "
            f"day; the noise-aware one with weight noise mu = {self.mu:g} in every step, the plain one without."
        )


def tuned_pair(
    model: FasterRCNN,
    spec: ModelSpec,
    config: FineTuning,
    folder: Path,
    *,
    seed: int,
    size: tuple[int, int],
    on_model: Callable[[], None] = lambda: None,
) -> dict[str, FasterRCNN]:
    """Both models by training, on the device of the given one, from their checkpoints in `folder` where these exist.

    Args:
        model: to start from; not changed.
        spec: of the model, for the checkpoints.
        config: length, step size, noise.
        folder: for plain.safetensors and noise-aware.safetensors.
        seed: of the frames, the batches and the noise.
        size: (H, W) of the frames, pixels.
        on_model: called after each model.

    Raises:
        InputError: a checkpoint is damaged.
    """
    frames: FrameBatch | None = None
    pair = {}
    for training, mu in ((PLAIN, 0.0), (AWARE, config.mu)):
        path = folder / f"{training}.safetensors"
        if not path.is_file():
            frames = training_frames(config, seed, size) if frames is None else frames
            notes = {"mu": repr(mu), "steps": str(config.steps), "seed": str(seed)}
            save_model(fine_tuned(model, frames, config, mu, seed=seed), spec, path, notes=notes)
        pair[training] = load_detector(path)[0]
        on_device(pair[training], next(model.parameters()).device)
        on_model()
    return pair


def training_frames(config: FineTuning, seed: int, size: tuple[int, int]) -> FrameBatch:
    """Labelled frames by day, of other cameras than those that are scored."""
    batches = []
    for place in PLACES:
        stream = SyntheticStream(
            name=place, place=place, seed=derive_seed(seed, "bench", "fine-tuning", place), size=size
        )
        batches.append(stream.read([k * _SPACING for k in range(config.frames_per_place)]))
    return concatenate(batches)


def fine_tuned(model: FasterRCNN, frames: FrameBatch, config: FineTuning, mu: float, *, seed: int) -> FasterRCNN:
    """A copy of `model` trained on labelled frames; everything but the noise is the same for every `mu`."""
    tuned, truth = copy.deepcopy(model), frames.truth or ()
    device = next(tuned.parameters()).device
    batches = draws(frames.images, config.plan, MILD, torch_generator(seed, "fine-tuning"), device)
    noise = torch_generator(seed, "fine-tuning", "noise")

    def step() -> Tensor:
        return supervised_pass(tuned, *labelled(next(batches), truth)).loss

    def perturb() -> AbstractContextManager[None]:
        return weight_noise(tuned, mu, noise) if mu else nullcontext()

    with seeded(seed, "fine-tuning"):
        optimise([tuned], config.plan, step, perturb=perturb)
    return tuned


def spec_of(name: str, model: FasterRCNN) -> ModelSpec:
    """How to build a detector that the zoo knows by `name`.

    Raises:
        ConfigError: the zoo cannot build it.
    """
    architecture = max((known for known in BUILDERS if name.startswith(known)), key=len, default=None)
    if architecture is None:
        raise ConfigError(
            f"--noise-aware fine-tunes {', '.join(BUILDERS)} and their pruned variants, not {name}; "
            "train a copy with nestevo_hw.crossbar.noise.weight_noise and give it as --noise-aware-weights"
        )
    transform = model.transform
    return ModelSpec(
        architecture=architecture, classes=CLASSES, min_size=transform.min_size[0], max_size=transform.max_size
    )
