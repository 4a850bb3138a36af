"""Training tasks to measure: their architectures, sizes and settings, spread evenly over the space."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch

from nestevo_hw.base.compute import Precision
from nestevo_hw.profiler.fake_run import Optimiser

Learning = Literal["single", "distil", "mutual"]

DETECTOR = "tiny"
WIDTHS = (12, 16, 20, 24, 28, 32, 40)
"""Channels of a detector's first stage, in training; the later ones have twice and four times as many."""
HELD_OUT_WIDTHS = (14, 18, 22, 26, 36)
CLASSIFIERS = (
    "resnet/1-1-1-1", "resnet/2-2-2-2", "resnet/2-1-3-1", "resnet/1-2-2-2", "bottleneck/1-1-1-1", "bottleneck/2-2-2-2",
    "mobilenet_v2/0.35", "mobilenet_v2/0.5", "mobilenet_v2/1.0", "mobilenet_v3_small/0.75", "mobilenet_v3_small/1.0",
    "mobilenet_v3_large/0.5", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "squeezenet1_0", "mnasnet0_5", "mnasnet1_0",
)  # fmt: skip
"""Families with a variant, or torchvision's names."""
HELD_OUT_CLASSIFIERS = (
    "resnet/3-4-6-3", "resnet/1-1-2-2", "bottleneck/1-2-2-1", "mobilenet_v2/0.75", "mobilenet_v3_small/1.5",
    "mobilenet_v3_large/0.75", "shufflenet_v2_x1_5", "squeezenet1_1", "mnasnet0_75",
)  # fmt: skip
FAMILIES = (DETECTOR, "resnet", "bottleneck", "mobilenet", "shufflenet", "squeezenet", "mnasnet")
DETECTOR_SHARE = 0.55
"""Of all tasks; evolution trains detectors."""
PRUNING = (0.0, 0.3, 0.5, 0.7)
DETECTOR_SIDES_PX = (96, 128, 160, 192, 256)
CLASSIFIER_SIDES_PX = (32, 48, 64, 80, 96, 128, 160)
GPU_DETECTOR_SIDES_PX = (96, 128, 192, 256, 384, 512, 720)
GPU_CLASSIFIER_SIDES_PX = (32, 64, 96, 128, 160, 224)
DIMENSIONS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpec:
    """A training task by all that its memory and time depend on."""

    architecture: str
    """"tiny/STEM-STAGE-PYRAMID-HIDDEN" for a detector, else one of CLASSIFIERS' form."""
    pruning: float = 0.0
    """Share of channels taken from the detector, or in mutual learning from the terminal's."""
    learning: Learning = "single"
    """From labels, from a teacher's soft targets too, or two models from one another."""
    height: int
    """Of a captured frame, pixels."""
    width: int
    compression: int = 1
    """Factor by which frames are pooled before they are learned from, in each direction."""
    batch_size: int
    frames: int
    """Different frames to learn from."""
    epochs: int = 1
    optimiser: Optimiser = "adamw"
    precision: Precision = "float32"

    @property
    def steps(self) -> int:
        """Optimiser steps of the task."""
        return math.ceil(self.frames * self.epochs / self.batch_size)

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) the network sees, pixels."""
        return self.height // self.compression, self.width // self.compression

    @property
    def is_detector(self) -> bool:
        """Whether it is a detector or a classifier."""
        return self.architecture.startswith(f"{DETECTOR}/")

    @property
    def family(self) -> str:
        """Architectures of one family differ in width or depth alone."""
        return next((f for f in FAMILIES if self.architecture.startswith(f)), "other")

    @property
    def key(self) -> str:
        """Tells tasks apart."""
        return " ".join(str(value) for value in asdict(self).values())


def spread_specs(
    seed: int, *, held_out: bool = False, bfloat16: bool = True, gpu: bool = False
) -> Iterator[TrainingSpec]:
    """Endless different tasks that fill the space evenly (scrambled Sobol sequence).

    Args:
        seed: of the scrambling.
        held_out: only architectures that the other ones do not hold.
        bfloat16: whether the device computes in it natively.
        gpu: frames as large as a GPU trains on, instead of those that a CPU does.
    """
    engine = torch.quasirandom.SobolEngine(DIMENSIONS, scramble=True, seed=2 * seed + held_out)
    seen: set[TrainingSpec] = set()
    while True:
        spec = spec_at(engine.draw(1)[0].tolist(), held_out=held_out, bfloat16=bfloat16, gpu=gpu)
        if spec not in seen:
            seen.add(spec)
            yield spec


def spec_at(
    place: Sequence[float], *, held_out: bool = False, bfloat16: bool = True, gpu: bool = False
) -> TrainingSpec:
    """The task at a place of the unit cube of DIMENSIONS axes."""
    of_detector, a, b, c, d, prune, learn, side, aspect, batch, pool, optimiser, precise, length = place
    detector = of_detector < DETECTOR_SHARE
    if detector:
        stage = _pick(HELD_OUT_WIDTHS if held_out else WIDTHS, a)
        stem, pyramid, hidden = _pick((12, 16, 24, 32), b), _pick((32, 48, 64), c), _pick((64, 128, 192), d)
        architecture = f"{DETECTOR}/{stem}-{stage}-{pyramid}-{hidden}"
    else:
        architecture = _pick(HELD_OUT_CLASSIFIERS if held_out else CLASSIFIERS, a)
    sides = (DETECTOR_SIDES_PX, CLASSIFIER_SIDES_PX) if not gpu else (GPU_DETECTOR_SIDES_PX, GPU_CLASSIFIER_SIDES_PX)
    short = _pick(sides[0] if detector else sides[1], side)
    compression = 2 if pool > 0.75 and short >= 96 else 1
    batch_size = round(2 ** (_between(0.0, 4.3, batch) if detector else _between(1.0, 5.5, batch)))
    optimisers: tuple[Optimiser, ...] = ("adamw", "adamw", "sgd", "sgd-momentum")
    learnings: tuple[Learning, ...] = ("single", "distil", "mutual")
    return TrainingSpec(
        architecture=architecture,
        pruning=_pick(PRUNING, prune) if detector else 0.0,
        learning=_pick(learnings, learn),
        height=short,
        width=round(short * _pick((1.0, 1.25, 1.5), aspect) / 16) * 16,
        compression=compression,
        batch_size=batch_size,
        frames=round(_between(32, 256, length)),
        epochs=1 + int(length * 7919) % 4,
        optimiser=_pick(optimisers, optimiser),
        precision="bfloat16" if bfloat16 and precise > 0.75 else "float32",
    )


def halved(spec: TrainingSpec) -> TrainingSpec:
    """The same task with half its batch, for one that would take too long to measure."""
    # BatchNorm over one image of one pixel has no variance, which a small classifier would come to.
    return replace(spec, batch_size=max(1 if spec.is_detector else 2, spec.batch_size // 2))


def _pick[T](choices: Sequence[T], share: float) -> T:
    return choices[min(int(share * len(choices)), len(choices) - 1)]


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share
