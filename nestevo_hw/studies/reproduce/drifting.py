"""What drift does to models (figure 8) and to features (figures 9 and 10)."""

import math
from itertools import permutations

import torch
from torch import Tensor

from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.studies.reproduce.effort import Effort
from nestevo_hw.studies.reproduce.scenes import TASK, Camera, accuracy, mean_of, model_named, teacher
from nestevo_hw.tasks.supervision import LabelConfig, labelled_features

OWN = {"M1": ("campus", "night"), "M2": ("village", "fog"), "M3": ("downtown", "rain")}
"""Where each terminal's camera stands, and its drift: the first window of the embedded default."""
NEIGHBOURS = {"A": "campus", "B": "village", "C": "downtown", "D": "crossing"}
"""Four cameras by day."""
SEGMENTS = 3
"""Parts of the uploaded frames that are compared."""


def drift(effort: Effort, seed: int) -> dict[str, float]:
    """mAP@0.50 of the teacher and of every terminal, on its own camera by day and under drift."""
    found: dict[str, list[float]] = {"teacher/day": [], "teacher/drift": []}
    for name, (place, kind) in OWN.items():
        model = model_named(name)
        for when, camera in (
            ("day", Camera(name=place, place=place)),
            ("drift", Camera(name=place, place=place, kind=kind)),
        ):
            frames = camera.later(seed, effort)
            found[f"{name}/{when}"] = [accuracy(model, frames)]
            found[f"teacher/{when}"].append(accuracy(teacher(), frames))
    values = {key: mean_of(each) for key, each in found.items()}
    days, drifted = ([values[f"{name}/{when}"] for name in OWN] for when in ("day", "drift"))
    return values | {
        "best/day": max(days), "worst/drift": min(drifted), "best/drift": max(drifted),
        "least-loss": min(a - b for a, b in zip(days, drifted, strict=True)),
    }  # fmt: skip


def features(effort: Effort, seed: int) -> dict[str, float]:
    """How the objects' features of four cameras are distributed, and how far these distributions are apart.

    The box-head features of what the teacher detects are projected on their first principal component over all four
    cameras; each camera and part of its frames is a normal distribution, between which Kullback and Leibler's
    divergence is known: KL(p || q) = ln(s_q / s_p) + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) - 1/2.
    """
    parts = {name: _features(name, place, seed, effort) for name, place in NEIGHBOURS.items()}
    every = torch.cat([part for each in parts.values() for part in each])
    centre = every.mean(0)
    direction = torch.linalg.svd(every - centre, full_matrices=False).Vh[0]
    spread = float(((every - centre) @ direction).std())
    lines = {name: [(part - centre) @ direction / spread for part in each] for name, each in parts.items()}
    found: dict[str, float] = {}
    for name, each in lines.items():
        whole = torch.cat(each)
        found |= {f"{name}/mean": float(whole.mean()), f"{name}/deviation": float(whole.std())}
    for first, second in permutations(lines, 2):
        apart = [normal_divergence(p, q) for p, q in zip(lines[first], lines[second], strict=True)]
        known = [value for value in apart if math.isfinite(value)]
        found[f"{first}-{second}"] = max(known, default=math.nan)
    pairs = [value for key, value in found.items() if "-" in key and math.isfinite(value)]
    least = min(pairs, default=math.nan)
    return found | {"most": max(pairs, default=math.nan), "least": least, "tenfold": 10 * least}


def _features(name: str, place: str, seed: int, effort: Effort) -> list[Tensor]:
    """(N, D) features of the objects in each part of a camera's frames."""
    frames: FrameBatch = Camera(name=name, place=place).uploaded(seed, effort)
    parts = torch.tensor_split(frames.images, SEGMENTS)
    return [labelled_features(TASK.label(teacher(), part, LabelConfig()))[0] for part in parts]


def normal_divergence(p: Tensor, q: Tensor) -> float:
    """KL(p || q) in nats between normal distributions fitted to two samples; NaN where one has no spread."""
    if min(len(p), len(q)) < 2:
        return math.nan
    deviations = float(p.std()), float(q.std())
    if min(deviations) <= 0.0:
        return math.nan
    apart = float(p.mean() - q.mean())
    return math.log(deviations[1] / deviations[0]) + (deviations[0] ** 2 + apart**2) / (2 * deviations[1] ** 2) - 0.5
