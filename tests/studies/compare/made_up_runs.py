"""Run folders as `evolve` writes them, with invented figures: only for tests of the comparison."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

from nestevo_hw.studies.compare.results import Comparison, read_comparison
from nestevo_hw.studies.compare.variants import choose

DRIFT = {
    "campus": [
        {"window": 0, "kind": "night", "strength": 0.6},
        {"window": 1, "kind": "night", "strength": 0.0},
        {"window": 1, "kind": "rain", "strength": 0.6},
    ],
    "village": [{"window": 0, "kind": "fog", "strength": 0.6}],
    "downtown": [{"window": 1, "kind": "night", "strength": 0.5}],
}
AFTER = {
    "NestEvo": 0.60, "A1": 0.49, "A2": 0.58, "A3": None, "A4": 0.50, "AdaBN": 0.48, "self-training": 0.46,
    "true-labels": 0.66, "naive-average": 0.01, "digital-teacher": 0.605, "without-mutual-learning": 0.57,
    "without-noise-training": 0.61, "terminals-only": 0.57,
}  # fmt: skip
"""Invented accuracy after evolving; None never evolves."""
SHAKE = (0.0, 0.012, -0.009, 0.004, 0.02)
"""What a seed adds to every method."""


def invented(name: str, seed: int, terminal: str, window: int) -> tuple[float, float | None]:
    """Accuracy before and after of one cell."""
    place = {"campus": 0.05, "village": 0.02, "downtown": -0.07}.get(terminal, 0.0)
    own = 0.0015 * (crc32(f"{name}{seed}{terminal}{window}".encode()) % 31 - 15)
    before = 0.33 + place + SHAKE[seed % 5] + 0.05 * window
    after = AFTER[name]
    return before, None if after is None else max(after + place + SHAKE[seed % 5] + own - 0.02 * window, 0.0)


def write_run(
    folder: Path,
    name: str,
    seed: int,
    *,
    config: Mapping[str, Any] | None = None,
    value: Callable[[str, int, str, int], tuple[float | None, float | None]] = invented,
    status: str = "complete",
    metric: tuple[str, str] = ("mAP@0.50", "mAP@0.50:0.95"),
) -> Path:
    """One run folder of a method; `value` gives the accuracy before and after of a cell."""
    document = config or {
        "terminals": [
            {"name": t, "model": f"fasterrcnn-tiny-m{i + 1}", "place": t, "drift": steps}
            for i, (t, steps) in enumerate(DRIFT.items())
        ],
        "window": {"count": 2, "length_s": 600.0},
        "teacher": {"analog": "pcm"},
        "mutual": {"plan": {"steps": 40}},
        "distil": {"plan": {"steps": 30}},
    }
    names, windows = [t["name"] for t in document["terminals"]], document["window"]["count"]
    analog = document["teacher"]["analog"]
    labelled = "measured" if "digital" in (analog, name.partition("-")[0]) else "modelled"
    events = []
    for window in range(windows):
        for terminal in names:
            before, after = value(name, seed, terminal, window)
            scores = [(terminal, "before", before), ("teacher", "before", 0.6 + 0.01 * seed)]
            if after is not None:
                scores.append((terminal, "after", after))
                lcp = None if before is None else 0.1 * before + 0.9 * after
                events.append({"event": "lifecycle", "window": window, "terminal": terminal, "lcp": lcp,
                               "window_s": 600.0, "evolving_s": 60.0 + seed,
                               "parts": {"labelling_s": 20.0, "training_s": 40.0 + seed},
                               "origins": {"labelling_s": labelled, "training_s": "measured"}})  # fmt: skip
            unchanged = ("A1", "A3", "A4", "AdaBN", "self-training", "true-labels", "naive-average", "terminals-only")
            if name not in unchanged and window == 0:
                scores.append(("teacher", "after", 0.72 + 0.01 * seed))
            events += [
                {"event": "accuracy", "window": window, "scene": terminal, "model": model, "stage": stage,
                 "score": score, "frames": 60,
                 "metrics": {"map50": score, "map": None if score is None else 0.5 * score}}
                for model, stage, score in scores
            ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    header = {"format": 2, "status": status, "method": name, "config": document, "seed": seed, "classes": [],
              "metric": metric[0], "second_metric": ["map", metric[1]],
              "summary": {"wall_s": 100.0 + seed} if status == "complete" else None}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(header))
    return folder


def comparison(
    root: Path,
    names: list[str] | None = None,
    seeds: int = 5,
    left_out: Mapping[str, str] | None = None,
    **options: Any,
) -> Comparison:
    """A comparison of made-up runs written below `root`, as of the embedded default."""
    variants = choose(names or list(AFTER), ablations=False)
    folders = {
        (v.name, seed): write_run(root / f"{v.name}-{seed}", v.name, seed, **options)
        for seed in range(seeds) for v in variants
    }  # fmt: skip
    return replace(read_comparison(folders, variants, left_out or {}), embedded=True)
