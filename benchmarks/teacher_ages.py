"""How a teacher's labels get worse with the age of its cells, with and without what repairs them.

    python benchmarks/teacher_ages.py [--quick] [--json] [--seeds 5] [--analog pcm --analog hermes ...] [--out DIR]

A teacher is programmed on a simulated crossbar, ages, and is scored: mAP@0.50 on frames by night, in fog and in rain
(mean of the three). Columns: without any repair; with drift compensation (where the device has it); with the scene's
BatchNorm statistics; with both, as in `nestevo-hw evolve`. Intervals are 95 % t-intervals over seeds.

Scores are kept in --out, so a stopped benchmark goes on where it was; `refresh_policy.py` shares them. Ages are rounded
to steps of 50 %, for drift is logarithmic in time.
"""

import argparse
import copy
import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nestevo_hw.base.documents import json_text, read_json, write_json
from nestevo_hw.base.seeding import seeded
from nestevo_hw.base.stats import Estimate
from nestevo_hw.crossbar.devices import DAY_S, find_preset
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.evolution.refresh import YEAR_S, Programming, RefreshConfig, chip_of
from nestevo_hw.evolution.teacher import cost_on
from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.pages.formats import duration
from nestevo_hw.streams.frame import Annotation, FrameBatch
from nestevo_hw.streams.rendered.synthetic import CLASSES, SyntheticStream
from nestevo_hw.streams.storage import concatenate
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.tasks.detection import Detection
from nestevo_hw.tasks.faster_rcnn.labelling import predict
from nestevo_hw.tasks.metrics import mean_average_precision
from nestevo_hw.tasks.predictions import pseudo_labels

DEVICES = ("pcm", "hermes", "reram-cmo")
PROGRAMMINGS = 4
"""Independent programmings of one device and seed; further ones go through these again."""
AGE_STEP = 1.5
DELAY_S = 60.0
"""From a programming to the first label."""
HIGH_CONFIDENCE = 0.6
"""Score from which on the digital twin's detections count as objects."""
SCENES = {"night": "campus", "fog": "village", "rain": "downtown"}
FAMILIAR = ("school", "park", "market", "harbour", "station")
AGES_S = (DELAY_S, 3600.0, DAY_S, 7 * DAY_S, 30 * DAY_S, YEAR_S)
QUICK_AGES_S = (DELAY_S, DAY_S)

Scores = Mapping[str, float]
"""drifted, in_domain, labels (the guard's score) and twin; mAP@0.50."""


class Frames:
    """What the teacher is scored on, for one seed."""

    def __init__(self, seed: int, count: int) -> None:
        self.scenes = {
            kind: (_stream(seed, place, kind, 0, min(48, 4 * count), 10), _stream(seed, place, kind, 1000, count, 40))
            for kind, place in SCENES.items()
        }
        each = math.ceil(count / len(FAMILIAR))
        parts = [concatenate([_stream(seed, p, None, 4000 * k, each, 40) for p in FAMILIAR]) for k in range(4)]
        self.calibration, self.statistics, self.held_out, self.in_domain = parts

    def score(self, model: Any, twin_truth: tuple[Annotation, ...]) -> Scores:
        """All scores of a detector."""
        drifted = [
            _map50(_adapted(model, upload.images), test.images, test.truth) for upload, test in self.scenes.values()
        ]
        familiar = _adapted(model, self.statistics.images)
        found = predict(familiar, self.held_out.images)
        return {
            "drifted": statistics.fmean(drifted),
            "in_domain": _map50(familiar, self.in_domain.images, self.in_domain.truth),
            "labels": mean_average_precision(found, self.held_out.truth or (), len(CLASSES)).map50,
            "twin": mean_average_precision(found, twin_truth, len(CLASSES)).map50,
        }

    def plain_score(self, model: Any) -> Scores:
        """Label quality with the BatchNorm statistics of the training data."""
        return {"drifted": statistics.fmean(_map50(model, t.images, t.truth) for _, t in self.scenes.values())}


class Cells:
    """Scores of one device and seed by (programming, age), measured when first asked for and kept in a file."""

    def __init__(self, device: str, seed: int, frames: int, folder: Path, *, compensated: bool = True) -> None:
        self.device, self._seed, self._count, self._compensated = device, seed, frames, compensated
        name = device if compensated else f"{device}-uncompensated"
        self._path = folder / f"{name}-{seed}-{frames}.json"
        self._known: dict[str, Scores] = read_json(self._path, dict[str, Scores]) if self._path.exists() else {}
        self._generation = -1

    def scores(self, programming: int, age_s: float, *, scene_norm: bool = True) -> Scores:
        """Scores at an age after the n-th programming."""
        generation = programming % PROGRAMMINGS
        step = round(math.log(age_s / DELAY_S) / math.log(AGE_STEP))
        key = f"{generation}/{step}" + ("" if scene_norm else "/plain")
        if key not in self._known:
            if self._generation != generation:
                self._teacher.program(generation=generation)
                self._generation = generation
            self._teacher.age(DELAY_S * AGE_STEP**step)
            model = self._teacher.module
            self._known[key] = (
                self._frames.score(model, self._twin_truth) if scene_norm else self._frames.plain_score(model)
            )
            write_json(self._path, self._known)
        return self._known[key]

    @cached_property
    def cost(self) -> Programming:
        """What one programming costs (modelled)."""
        height, width = self._frames.calibration.images.shape[2:]
        chip = chip_of(RefreshConfig(), find_preset(self.device))
        return cost_on(self._teacher.report, self._teacher.digital_twin(), chip, (height, width))[0]

    @cached_property
    def _frames(self) -> Frames:
        return _frames(self._seed, self._count)

    @cached_property
    def _teacher(self) -> AnalogTeacher:
        preset = find_preset(self.device)
        preset = replace(preset, drift_compensation=preset.drift_compensation and self._compensated)
        teacher = AnalogTeacher(load_pretrained("fasterrcnn-tiny"), device=preset, tile=256, seed=self._seed)
        with seeded(self._seed, "calibrate"):
            teacher.calibrate([as_list(chunk) for chunk in self._frames.calibration.images[:32].split(8)])
        return teacher

    @cached_property
    def _twin_truth(self) -> tuple[Annotation, ...]:
        twin = _adapted(self._teacher.digital_twin(), self._frames.statistics.images)
        return tuple(
            pseudo_labels(p, HIGH_CONFIDENCE, HIGH_CONFIDENCE) for p in predict(twin, self._frames.held_out.images)
        )


def mean_of(values: list[float]) -> dict[str, Any]:
    """Mean over seeds with its 95 % t-interval."""
    return {**Estimate.of(values).document(), "by_seed": values}


@cache
def _frames(seed: int, count: int) -> Frames:
    return Frames(seed, count)


def _adapted(model: Any, scene: Tensor) -> Any:
    own = copy.deepcopy(model)
    Detection().re_estimate(own, scene)
    return own


def _map50(model: Any, images: Tensor, truth: tuple[Annotation, ...] | None) -> float:
    return mean_average_precision(predict(model, images), truth or (), len(CLASSES)).map50


def _stream(seed: int, place: str, kind: str | None, first: int, count: int, spacing: int) -> FrameBatch:
    segments = () if kind is None else (DriftSegment(start=0, kind=kind, strength=0.6),)
    stream = SyntheticStream(name=place, place=place, seed=100 + seed, drift=DriftScript(segments=segments))
    return stream.read(range(first, first + count * spacing, spacing))


def text_of(figure: dict[str, Any]) -> str:
    """Mean and interval in few characters."""
    interval = "" if figure["ci95"] is None else " [{:.3f}, {:.3f}]".format(*figure["ci95"])
    return f"{figure['mean']:.3f}{interval}"


def columns(device: str) -> list[tuple[str, bool, bool]]:
    """Name, drift compensation and scene_norm of each column; compensation only where the device has it."""
    found = [("neither", False, False), ("scene_norm", False, True)]
    if find_preset(device).drift_compensation:
        found += [("compensation", True, False), ("both", True, True)]
    return found


def ages(device: str, seeds: range, frames: int, folder: Path, ages_s: tuple[float, ...]) -> dict[str, Any]:
    """Label quality of one device by age and column."""
    has = find_preset(device).drift_compensation
    found: dict[str, Any] = {"analog": device, "ages_s": list(ages_s), "columns": {}}
    for name, compensated, scene_norm in columns(device):
        cells = [Cells(device, seed, frames, folder, compensated=compensated or not has) for seed in seeds]
        found["columns"][name] = [
            mean_of([one.scores(0, age_s, scene_norm=scene_norm)["drifted"] for one in cells]) for age_s in ages_s
        ]
    return found


def _table(document: dict[str, Any]) -> Iterator[str]:
    for found in document["devices"]:
        yield f"\n{found['analog']}: mAP@0.50 on drifted scenes (simulated)"
        yield f"{'age':>10}" + "".join(f"{name:>24}" for name in found["columns"])
        for row, age_s in enumerate(found["ages_s"]):
            figures = "".join(f"{text_of(column[row]):>24}" for column in found["columns"].values())
            yield f"{duration(age_s):>10}{figures}"


def main() -> None:
    """Measure what is missing, and print all devices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one device, two seeds, few frames, two ages")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--analog", action="append", choices=DEVICES, help="may be repeated; default: all three")
    parser.add_argument("--frames", type=int, default=40, help="frames a scene to score on")
    parser.add_argument("--out", type=Path, default=Path("runs/refresh"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    devices = options.analog or (DEVICES[:1] if options.quick else DEVICES)
    seeds, frames = (range(2), 2) if options.quick else (range(options.seeds), options.frames)
    ages_s = QUICK_AGES_S if options.quick else AGES_S
    found = [ages(device, seeds, frames, options.out, ages_s) for device in devices]
    document = {"seeds": list(seeds), "frames": frames, "devices": found}
    print(json_text(document) if options.json else "\n".join(_table(document)))


if __name__ == "__main__":
    main()
