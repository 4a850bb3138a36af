"""Run folders as the evolution loop writes them, with invented figures: only for tests of the report."""

import json
from pathlib import Path

import numpy as np
import torch

from nestevo_hw.pages.pictures import draw_detections

PLACES = (
    "campus",
    "village",
    "downtown",
    "crossing",
    "suburb",
    "station",
    "market",
    "harbour",
    "school",
    "park",
)
DRIFTS = ("night", "fog", "rain", "defocus", "dusk")
CLASSES = ("pedestrian", "car", "bicycle")
PARTS = ("communication_s", "labelling_s", "programming_s", "waiting_s", "training_s")
METRICS = {"detection": "mAP@0.50", "classification": "accuracy"}


def kinds_of(analog: str) -> dict[str, dict[str, str]]:
    """What the header says of each kind of task."""
    place, resource = ("digitally", "gpu") if analog == "digital" else ("on the crossbar", "crossbar")
    return {
        "prepare": {"wording": "prepares the teacher", "colour": "program", "resource": resource},
        "label": {"wording": f"labels frames {place}", "colour": "label", "resource": resource},
        "mutual": {"wording": "mutual learning of terminal and intermediate model", "colour": "mutual",
                   "resource": "gpu"},
        "distil": {"wording": "distils the teacher into a terminal", "colour": "distil", "resource": "gpu"},
        "export": {"wording": "exports a model as ONNX", "colour": "export", "resource": "cpu"},
        "evaluate": {"wording": "scores models", "colour": "evaluate", "resource": "cpu"},
    }  # fmt: skip


def origins_of(analog: str) -> dict[str, str]:
    """Where the parts of an evolution delay come from."""
    crossbar = "measured" if analog == "digital" else "modelled"
    return dict(zip(PARTS, ("modelled", crossbar, crossbar, "measured", "measured"), strict=True))


def fake_run(
    folder: Path,
    *,
    terminals: int = 3,
    windows: int = 2,
    complete: bool = True,
    pictures: bool = True,
    seed: int = 0,
    analog: str = "pcm",
    task: str = "detection",
) -> Path:
    """A run of `terminals` cameras over `windows` windows in which most evolutions help.

    `analog` is the device of the teacher, "digital" for none; `task` is detection or classification.
    """
    draw = np.random.default_rng(seed)
    names = [f"{PLACES[i % 10]}-{'abc'[i // 10]}" for i in range(terminals)]
    folder.mkdir(parents=True, exist_ok=True)
    events = _setup()
    if analog == "digital":
        events = events[:1]
    clock = 7.0
    for window in range(windows):
        clock = _window(events, draw, names, window, clock + 4.0)
    for event in events:
        if event["event"] == "lifecycle":
            event["origins"] = origins_of(analog)
            if analog == "digital":
                event["evolving_s"] -= event["parts"]["programming_s"]
                event["parts"]["programming_s"] = 0.0
    if analog == "digital":
        events = [e for e in events if e["event"] not in ("program", "refresh")]
    if not complete:
        events = events[: int(len(events) * 0.7)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    (folder / "run.json").write_text(json.dumps(_header(names, windows, analog, task, complete=complete), indent=2))
    if pictures:
        for window in range(windows if windows < 4 else 1):
            for name in names:
                _pictures(folder, draw, window, name)
    return folder


def _setup() -> list[dict[str, object]]:
    task = {"event": "task", "window": None, "name": "setup/prepare", "kind": "prepare", "terminal": None}
    times = {"submitted_s": 0.0, "started_s": 0.1, "ended_s": 7.0, "worker": 0}
    program = {"event": "program", "window": None, "generation": 0, "analog": "pcm", "tile": 256, "tiles": 35}
    costs = {"chip": "hermes", "time_s": 0.4, "energy_j": 0.002, "wear": 2e-6}
    told = {"weight_error": 0.0293, "age_s": 3600.0, "cause": "first", "score": 0.82, **costs}
    return [{**task, **times}, {**program, **told}]


def _window(events, draw, names, window, clock) -> float:
    teacher_before = 0.62 + 0.03 * (window % 5) - 0.05 * (window % 2)
    drifted = 0
    for name in names:
        score, threshold = float(draw.gamma(9, 2.0)), 14.0
        drifted += score > threshold
        left_out = ["bicycle"] if draw.random() < 0.2 else []
        events.append(
            {
                "event": "drift",
                "window": window,
                "terminal": name,
                "score": score,
                "threshold": threshold,
                "drifted": score > threshold,
                "left_out": left_out,
            }
        )
    joint = 2 * drifted > len(names)
    again = window % 2 == 1
    events.append(
        {
            "event": "refresh",
            "window": window,
            "policy": "threshold",
            "refreshed": again,
            "reason": f"lost {0.05 if again else 0.01:.3f} {'>' if again else '<='} margin 0.030",
            "generation": window,
            "age_s": 3600.0 + 600.0 * window,
            "score": 0.77 if again else 0.81,
            "fresh_score": 0.82,
        }
    )
    if again:
        events.append(_programming(window, "refresh", 0.82))
    events.append(
        {
            "event": "decision",
            "window": window,
            "drifted": drifted,
            "epsilon": len(names) // 2 + 1,
            "mode": "co-evolution" if joint else "terminals-only",
        }
    )
    if joint:
        events.append(
            {
                "event": "generator",
                "window": window,
                "label_loss": 0.34,
                "emd_before": 0.21,
                "emd_after": 0.08,
            }
        )
        events.append(
            {
                "event": "deploy",
                "window": window,
                "accepted": window % 3 != 2,
                "gate_before": 0.70,
                "gate_after": 0.72 if window % 3 != 2 else 0.66,
                "reason": "" if window % 3 != 2 else "worse",
            }
        )
        events.append(_programming(window, "new teacher", 0.83))
    end = _tasks(events, draw, names, window, clock, joint=joint)
    for index, name in enumerate(names):
        before = float(np.clip(0.36 + 0.05 * (index % 4) + draw.normal(0, 0.04), 0, 1))
        gain = float(draw.normal(0.13, 0.05))
        for stage, value in (("before", before), ("after", before + gain), ("onnx", before + gain - 0.0004)):
            events.append(_accuracy(window, name, name, stage, value))
        shift = float(draw.normal(0, 0.05))
        events.append(_accuracy(window, "teacher", name, "before", teacher_before + shift))
        if joint:
            events.append(_accuracy(window, "teacher", name, "after", teacher_before + 0.05 + shift))
        parts = {
            "communication_s": 4.4,
            "labelling_s": 2.0,
            "programming_s": 0.4,
            "waiting_s": float(draw.uniform(2, 30)),
            "training_s": 38.0,
        }
        evolving = sum(parts.values())
        lcp = (before * evolving + (before + gain) * (600 - evolving)) / 600
        events.append(
            {
                "event": "lifecycle",
                "window": window,
                "terminal": name,
                "lcp": lcp,
                "window_s": 600.0,
                "evolving_s": evolving,
                "parts": parts,
            }
        )
    return end


def _programming(window, cause, score) -> dict[str, object]:
    return {
        "event": "program",
        "window": window,
        "cause": cause,
        "generation": window + 1,
        "analog": "pcm",
        "tile": 256,
        "tiles": 35,
        "weight_error": 0.0293 + 0.001 * window,
        "age_s": 60.0,
        "score": score,
        "chip": "hermes",
        "time_s": 0.4,
        "energy_j": 0.002,
        "wear": 2e-6,
    }


def _accuracy(window, model, scene, stage, value) -> dict[str, object]:
    return {
        "event": "accuracy",
        "window": window,
        "model": model,
        "scene": scene,
        "stage": stage,
        "score": value,
        "metrics": {"map50": value, "map75": value * 0.55, "map": value * 0.52},
        "frames": 60,
    }


def _tasks(events, draw, names, window, clock, *, joint) -> float:
    free = [clock] * 4
    stages = [
        ("label", 3.0, 380e6),
        ("distil", 12.0, 620e6),
        ("export", 1.6, 300e6),
        ("evaluate", 2.5, 350e6),
    ]
    if joint:
        stages[1:1] = [("mutual", 19.0, 910e6)]
    for kind, seconds, size in stages:
        submitted = max(free) if kind in ("mutual", "distil") else min(free)
        for name in names:
            worker = int(np.argmin(free))
            start = max(free[worker], submitted) + 0.05
            took = float(seconds * draw.lognormal(0, 0.12))
            free[worker] = start + took
            events.append(
                {
                    "event": "task",
                    "window": window,
                    "name": f"{kind}-{name}",
                    "kind": kind,
                    "terminal": name,
                    "submitted_s": submitted,
                    "started_s": start,
                    "ended_s": free[worker],
                    "worker": worker,
                    "predicted_s": float(took * draw.lognormal(0, 0.1)),
                    "predicted_bytes": size,
                    "peak_bytes": float(size * draw.lognormal(0, 0.03)),
                }
            )
    return max(free)


def _header(names, windows, analog, task, *, complete) -> dict[str, object]:
    configs = [
        {
            "name": name,
            "model": f"{'fasterrcnn-tiny' if task == 'detection' else 'digits-cnn'}-m{i % 3 + 1}",
            "pruning": f"M{i % 3 + 1}",
            "place": name.split("-")[0],
            "drift": [
                {"window": 0, "kind": DRIFTS[i % 5], "strength": 0.7},
                {"window": max(1, windows // 2), "kind": DRIFTS[(i + 1) % 5], "strength": 0.9},
            ],
        }
        for i, name in enumerate(names)
    ]
    return {
        "format": 2,
        "status": "complete" if complete else "running",
        "method": "NestEvo",
        "seed": 0,
        "config": {
            "terminals": configs,
            "seed": 0,
            "window": {"count": windows, "length_s": 600.0},
            "task": task,
            "teacher": {"model": "fasterrcnn-tiny" if task == "detection" else "digits-cnn", "analog": analog},
            "execution": {"executor": "local"},
        },
        "versions": {"nestevo-hw": "0.1.0", "torch": "2.14.1", "aihwkit": "1.2.0"},
        "machine": {"cores": 4, "memory_bytes": 24_000_000_000, "device": "cpu", "platform": "Linux x86_64"},
        "classes": list(CLASSES),
        "metric": METRICS[task],
        "kinds": kinds_of(analog),
        "summary": None,
    }


def _pictures(folder: Path, draw: np.random.Generator, window: int, name: str) -> None:
    image = torch.zeros(3, 128, 160, dtype=torch.uint8)
    sky = torch.linspace(40, 90, 128).byte()
    image[:] = sky[None, :, None]
    image[:, 70:] //= 2
    boxes, labels = [], []
    for _ in range(6):
        x, y = float(draw.uniform(5, 125)), float(draw.uniform(55, 95))
        kind = int(draw.integers(1, 4))
        width, height = {1: (8, 20), 2: (30, 16), 3: (16, 14)}[kind]
        boxes.append([x, y, x + width, y + height])
        labels.append(kind)
        colour = torch.tensor(draw.integers(60, 220, 3), dtype=torch.uint8)
        image[:, int(y) : int(y) + height, int(x) : int(x) + width] = colour[:, None, None]
    (folder / "samples").mkdir(exist_ok=True)
    for stage, count in (("before", 2), ("after", 6)):
        scores = torch.tensor(draw.uniform(0.5, 0.99, count), dtype=torch.float32)
        picture = draw_detections(
            image, torch.tensor(boxes[:count]), torch.tensor(labels[:count]), scores, CLASSES, scale=3
        )
        picture.save(folder / "samples" / f"w{window}-{name}-{stage}.png")
