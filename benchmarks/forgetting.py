"""What a terminal forgets when its scene changes and comes back, and what replay and the model zoo do about it.

    python benchmarks/forgetting.py [--quick] [--json] [--seeds 3]

Three windows: night, fog, and night again, in another order at each of three places. Terminals evolve by themselves
(drift.gamma is out of reach), so that the same teacher, on simulated PCM tiles, speaks in all runs. With replay,
`--frames` of a terminal's earlier frames and their labels are part of each distillation. Figures are mAP@0.50 on unseen
frames, means over the terminals of a seed; differences to neither remedy are paired by seed.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import json_text
from nestevo_hw.base.stats import Estimate
from nestevo_hw.evolution.config import RunConfig, load_preset, override, parse_config
from nestevo_hw.evolution.run import evolve
from nestevo_hw.report.events import read_run
from nestevo_hw.report.records.terminal import Accuracy, Recall

KINDS = {"campus": ("night", "fog"), "village": ("fog", "night"), "downtown": ("night", "fog")}
"""At each place first and again, and in between."""
NEITHER = "neither"
REMEDIES: dict[str, tuple[bool, bool]] = {NEITHER: (False, False), "replay": (True, False), "zoo": (False, True)}
"""Whether replay and zoo are on."""
FIGURES = {
    "learned": "the first scene, when learned",
    "kept": "the first scene, after the second",
    "other": "the second scene",
    "again": "the first scene, evolved again",
}


def settings(seed: int, remedy: str, frames: int, *, quick: bool) -> RunConfig:
    """Configuration of one run."""
    replays, keeps = REMEDIES[remedy]
    changes: dict[str, Any] = {
        "seed": seed, "window.count": 3, "window.recalled": 2, "drift.gamma": 1e9, "trigger.mode": "off",
        "execution.workers": 1, "refresh.policy": "never", "reference.frames_per_segment": 4,
        "window.batch_norm_adaptation": False,
        "replay.frames": frames if replays else 0, "zoo.size": 3 if keeps else 0,
    }  # fmt: skip
    if quick:
        changes |= {"distil.plan.steps": 2, "mutual.plan.steps": 2, "window.upload_frames": 12, "labels.confirm": False}
    document = override(load_preset("quick"), changes).document()
    for terminal in document["terminals"]:
        first, other = KINDS[terminal["place"]]
        terminal["drift"] = [
            {"window": 0, "kind": first, "strength": 0.6},
            {"window": 1, "kind": first, "strength": 0.0},
            {"window": 1, "kind": other, "strength": 0.6},
            {"window": 2, "kind": other, "strength": 0.0},
            {"window": 2, "kind": first, "strength": 0.6},
        ]
    return parse_config(document, source="benchmark")


def outcome(config: RunConfig, folder: Path) -> dict[str, float]:
    """The figures of one run, means over its terminals."""
    evolve(config, folder)
    run = read_run(folder)
    after = {(a.window, a.model): a.score for a in run.of(Accuracy) if a.stage == "after"}
    recalled = {(r.window, r.terminal): r.scores for r in run.of(Recall)}
    found = [
        (after[0, name], recalled[1, name][0], after[1, name], after[2, name])
        for name in (t.name for t in config.terminals)
    ]
    return {figure: statistics.fmean(column) for figure, column in zip(FIGURES, zip(*found, strict=True), strict=True)}


def measure(seeds: int, frames: int, *, quick: bool) -> dict[str, Any]:
    """Each remedy beside none of them."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in REMEDIES}
    for seed in range(1 if quick else seeds):
        for name, done in found.items():
            with tempfile.TemporaryDirectory() as folder:
                done.append(outcome(settings(seed, name, frames, quick=quick), Path(folder) / "run"))
    return {
        "seeds": len(found[NEITHER]),
        "frames": frames,
        "analog": "pcm (simulated)",
        "remedies": [{"name": name, **_figures(done, found[NEITHER])} for name, done in found.items()],
    }


def _figures(done: Sequence[Mapping[str, float]], neither: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    out = {}
    for figure in FIGURES:
        apart = Estimate.of([a[figure] - b[figure] for a, b in zip(done, neither, strict=True)])
        out[figure] = {
            "mean": statistics.fmean(d[figure] for d in done),
            "minus_neither": apart.mean,
            "ci95": apart.bounds,
        }
    return out


def main() -> None:
    """Measure, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, two optimiser steps: shows only that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each remedy (3)")
    parser.add_argument("--frames", type=int, default=32, help="earlier frames in a distillation with replay (32)")
    options = parser.parse_args()
    document = measure(options.seeds, options.frames, quick=options.quick)
    if options.json:
        print(json_text(document))
        return
    print(f"mAP@0.50, {document['seeds']} seeds; in brackets minus {NEITHER}, with its 95 % interval")
    for figure, meaning in FIGURES.items():
        print(meaning)
        for row in document["remedies"]:
            value = row[figure]
            interval = " [{:+.3f}, {:+.3f}]".format(*value["ci95"]) if value["ci95"] else ""
            print(f"  {row['name']:10} {value['mean']:.3f}  ({value['minus_neither']:+.3f}{interval})")


if __name__ == "__main__":
    main()
