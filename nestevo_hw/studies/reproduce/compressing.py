"""What adaptive compression saves and costs (figures 13 and 14, table 5)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from nestevo_hw.evolution.config import load_preset
from nestevo_hw.evolution.learning import Seed, learn_mutually
from nestevo_hw.models.checkpoint import BUILDERS
from nestevo_hw.profiler.fake_run import fake_step
from nestevo_hw.streams.compression import FACTOR, CompressionConfig
from nestevo_hw.studies.reproduce.effort import Effort
from nestevo_hw.studies.reproduce.scenes import TASK, Camera, accuracy, model_named, teacher
from nestevo_hw.tasks.supervision import LabelConfig

BATCHES = (1, 2, 3)
WEIGHED = (1, 3)
"""Batches of which the paper prints the memory."""
CAMERA = Camera(name="downtown", place="downtown", kind="rain")
FAMILIAR = Camera(name="village", place="village")
_PAPERS_MODEL, _CLASSES = "fasterrcnn-resnet50-fpn", 4
_PAPERS_FRAME = (720, 1280)


def memory(_effort: Effort, _seed: int) -> dict[str, float]:
    """Peak of a step of mutual learning of two of the paper's models on its frames, GB, by batch size."""
    height, width = _PAPERS_FRAME
    found: dict[str, float] = {}
    for batch in WEIGHED:
        for name, factor in (("whole", 1), ("pooled", FACTOR)):
            frames = [torch.empty(3, height // factor, width // factor)] * batch
            work = fake_step(_pair, _loss(frames, factor), optimiser="sgd-momentum")
            found[f"{batch}/{name}"] = work.peak_bytes / 1e9
    return found


def _pair() -> Sequence[nn.Module]:
    height, width = _PAPERS_FRAME
    build = BUILDERS[_PAPERS_MODEL]
    return [build(_CLASSES, min_size=height, max_size=width) for _ in range(2)]


def _loss(frames: list[Tensor], factor: int) -> Callable[[Sequence[nn.Module]], Tensor]:
    def loss(models: Sequence[nn.Module]) -> Tensor:
        with TASK.smaller_input(models, factor):
            return TASK.surrogate_loss(models, [torch.rand(frame.shape) for frame in frames], soft_regions=0)

    return loss


def compression(effort: Effort, seed: int) -> dict[str, float]:
    """Processor time of mutual learning over all frames, and mAP@0.50 of the terminal, with and without compression.

    Only without it where every frame has an object too small for its frame to be pooled.
    """
    config = load_preset("quick")
    frames, later, familiar = (
        CAMERA.uploaded(seed, effort), CAMERA.later(seed, effort), FAMILIAR.uploaded(seed, effort)
    )  # fmt: skip
    annotations = [s.annotation for s in TASK.label(teacher(), frames.images, LabelConfig())]
    found: dict[str, float] = {}
    for batch in BATCHES:
        steps = -(-effort.passes * len(annotations) // batch)
        plan = replace(config.mutual.plan, steps=steps, batch_size=batch)
        for name, enabled in (("whole", False), ("compressed", True)):
            terminal, intermediate = model_named("M2"), model_named("teacher")
            began = time.process_time()
            trained = learn_mutually(
                TASK, terminal, intermediate, frames=frames, annotations=annotations, familiar=familiar, generated=None,
                config=replace(config.mutual, plan=plan, replay_frames=0),
                compression=CompressionConfig(enabled=enabled),
                seed=Seed(run=seed, name=f"reproduce/compression/{batch}"),
            )  # fmt: skip
            found[f"{batch}/{name}/time"] = time.process_time() - began
            found[f"{batch}/{name}/accuracy"] = accuracy(terminal.eval(), later)
            found["pooled"] = trained.pooled_share
    # Where no frame is pooled, both trainings are the same, and what they differ by is noise.
    return {key: value for key, value in found.items() if found["pooled"] or "compressed" not in key}
