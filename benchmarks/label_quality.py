"""What confirms a teacher's labels: precision, recall and AP of pseudo-labels, one part added at a time.

    python benchmarks/label_quality.py [--quick] [--json] [--seeds 2]

A teacher on simulated PCM tiles labels 96 frames of each scene (place and kind of drift at strength 0.6). AP and, at
the configured threshold, precision and recall are at IoU 0.50 against the truth of the same frames. Differences are
paired by scene; scenes of one seed share a programming of the crossbar, so intervals are somewhat optimistic.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.ops import box_iou

from nestevo_hw.base.documents import json_text
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.base.stats import Estimate
from nestevo_hw.evolution.cameras import reference_frames
from nestevo_hw.evolution.config import RunConfig, load_preset, override
from nestevo_hw.evolution.teacher import TeacherFiles, open_teacher, program_teacher
from nestevo_hw.models.checkpoint import load_detector, pretrained_path
from nestevo_hw.streams.background import amplify_foreground
from nestevo_hw.streams.frame import Annotation, FrameBatch
from nestevo_hw.streams.rendered.synthetic import CLASSES, SyntheticStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.tasks.confirmation import ConfirmationConfig
from nestevo_hw.tasks.faster_rcnn.tracking import rescored_by_tracks
from nestevo_hw.tasks.faster_rcnn.views import other_views
from nestevo_hw.tasks.fusion import weighted_boxes_fusion
from nestevo_hw.tasks.metrics import mean_average_precision
from nestevo_hw.tasks.named import task_named

TASK = task_named("detection")
TERMINALS = {"campus": "fasterrcnn-tiny-m1", "village": "fasterrcnn-tiny-m2", "downtown": "fasterrcnn-tiny-m3"}
KINDS = ("night", "fog", "rain", "defocus")
UPLOADED = range(0, 480, 5)
Detections = Sequence[Mapping[str, Tensor]]
PLAIN = "scene statistics"


def stream_of(seed: int, place: str, kind: str) -> SyntheticStream:
    """The camera of a scene."""
    drift = DriftScript(segments=(DriftSegment(start=0, kind=kind, strength=0.6),))
    return SyntheticStream(name=place, place=place, seed=derive_seed(seed, "stream", place), drift=drift)


def programmed(config: RunConfig, folder: Path) -> TeacherFiles:
    """The teacher on simulated tiles, written once for each seed."""
    files = TeacherFiles(
        weights=pretrained_path("fasterrcnn-tiny"), crossbar=folder / f"tiles-{config.seed}", age_s=config.teacher.age_s
    )
    if not files.crossbar.exists():
        images = reference_frames(config)[0].images
        program_teacher(TASK, config.teacher, files, images, seed=config.seed, generation=0, chip="hermes")
    return files


def labellers(config: RunConfig, files: TeacherFiles, place: str, images: Tensor) -> list[FasterRCNN]:
    """The teacher and the terminal of a place, with the statistics of its frames."""
    teacher = open_teacher(TASK, config.teacher, files, images)
    terminal = load_detector(pretrained_path(TERMINALS[place]))[0]
    TASK.re_estimate(terminal, images)
    return [teacher, terminal]  # type: ignore[list-item]


def detections(
    seed: int, folder: Path, place: str, kind: str
) -> tuple[dict[str, tuple[Detections, float]], FrameBatch]:
    """Detections of each stage of confirmation on a scene, with its threshold, and the frames."""
    config = override(load_preset("quick"), {"seed": seed, "reference.frames_per_segment": 2})
    files, frames = programmed(config, folder), stream_of(seed, place, kind).read(UPLOADED)
    alone, how = open_teacher(TASK, config.teacher, files, None), ConfirmationConfig()
    unamplified = TASK.predict(labellers(config, files, place, frames.images)[0], frames.images)
    amplified = amplify_foreground(frames.images, factor=how.amplify)
    models = labellers(config, files, place, amplified)
    plain, (mirrored, enlarged, other) = TASK.predict(models[0], amplified), other_views(models, amplified, how)

    def agreed(*views: Detections) -> list[dict[str, Tensor]]:
        return [weighted_boxes_fusion(frame, overlap=how.overlap) for frame in zip(*views, strict=True)]

    together = agreed(plain, mirrored, enlarged, other)
    single, several = config.labels.high_confidence, how.high_confidence
    stages: dict[str, tuple[Detections, float]] = {
        "own statistics (A4)": (TASK.predict(alone, frames.images), single),
        PLAIN: (unamplified, single),
        "+ amplified foreground": (plain, single),
        "+ mirrored": (agreed(plain, mirrored), several),
        "+ enlarged": (agreed(plain, mirrored, enlarged), several),
        "+ terminal": (together, several),
        "+ tracks": (rescored_by_tracks(together, share=how.tracking_share), several),
    }
    return stages, frames


def quality(found: Detections, truth: Sequence[Annotation], confidence: float) -> tuple[float, float, float]:
    """AP of all detections, and precision and recall of those at or above a score."""
    right = said = wanted = 0
    for detection, annotation in zip(found, truth, strict=True):
        sure = detection["scores"] >= confidence
        order = detection["scores"][sure].argsort(descending=True)
        boxes, labels = detection["boxes"][sure][order], detection["labels"][sure][order]
        free = torch.ones(len(annotation.labels), dtype=torch.bool)
        hits = (box_iou(boxes, annotation.boxes) >= 0.5) & (labels[:, None] == annotation.labels)
        for row in hits:
            match = torch.where(row & free)[0][:1]
            free[match] = False
            right += len(match)
        said, wanted = said + len(boxes), wanted + len(annotation.labels)
    ap = mean_average_precision(found, truth, len(CLASSES)).map50
    return ap, right / max(said, 1), right / max(wanted, 1)


def measure(seeds: int, *, quick: bool) -> dict[str, Any]:
    """Each stage over all scenes, against the scene's statistics alone."""
    scores: dict[str, list[tuple[float, float, float]]] = {}
    kinds, places = (KINDS[:1], ["campus"]) if quick else (KINDS, list(TERMINALS))
    with tempfile.TemporaryDirectory() as name:
        for seed in range(1 if quick else seeds):
            for kind in kinds:
                for place in places:
                    stages, frames = detections(seed, Path(name), place, kind)
                    for stage, (found, confidence) in stages.items():
                        scores.setdefault(stage, []).append(quality(found, frames.truth or (), confidence))
    rows = []
    for stage, found in scores.items():
        apart = Estimate.of([a[0] - b[0] for a, b in zip(found, scores[PLAIN], strict=True)])
        ap, precision, recall = (statistics.fmean(column) for column in zip(*found, strict=True))
        rows.append({
            "labels": stage, "ap": ap, "precision": precision, "recall": recall,
            "ap_difference": apart.mean, "ci95": apart.bounds if stage != PLAIN else None,
        })  # fmt: skip
    return {"scenes": len(scores[PLAIN]), "analog": "pcm (simulated)", "rows": rows}


def main() -> None:
    """Measure, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one scene")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seeds", type=int, default=2, help="programmings of the crossbar; 12 scenes each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(options.seeds, quick=options.quick)
    if options.json:
        print(json_text(found))
        return
    print(f"{found['scenes']} scenes, teacher on {found['analog']}")
    print(f"{'labels':22} {'AP':>6} {'precision':>10} {'recall':>7} {'difference of AP':>26}")
    for row in found["rows"]:
        interval = "" if row["ci95"] is None else " [{:+.3f}, {:+.3f}]".format(*row["ci95"])
        print(
            f"{row['labels']:22} {row['ap']:6.3f} {row['precision']:10.2f} {row['recall']:7.2f} "
            f"{row['ap_difference']:+8.3f}{interval}"
        )


if __name__ == "__main__":
    main()
