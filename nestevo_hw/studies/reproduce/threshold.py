"""What the drift threshold decides: accuracy and evolutions of the teacher against gamma (figure 11)."""

import tempfile
from pathlib import Path
from typing import Any

from nestevo_hw.base.stats import mean
from nestevo_hw.evolution.config import RunConfig, load_preset, override, parse_config
from nestevo_hw.evolution.run import evolve
from nestevo_hw.report.events import read_run
from nestevo_hw.report.records.teacher import Decision, Drift
from nestevo_hw.studies.compare.results import read_outcome
from nestevo_hw.studies.reproduce.effort import Effort

TERMINALS, EPSILON = 7, 4
KINDS = ("night", "fog", "dusk")
CO_EVOLUTION = "co-evolution"


def thresholds(effort: Effort, seed: int) -> dict[str, float]:
    """Mean accuracy of seven terminals and evolutions of their teacher, at each gamma."""
    found: dict[str, float] = {}
    for number, gamma in enumerate(effort.thresholds):
        with tempfile.TemporaryDirectory() as folder:
            evolve(_config(effort, gamma, seed), Path(folder) / "run", page=False)
            run = read_run(Path(folder) / "run")
        found[f"accuracy/{number}"] = mean(read_outcome(run).after.values())
        found[f"updates/{number}"] = sum(d.mode == CO_EVOLUTION for d in run.of(Decision))
        found[f"score/{number}"] = mean(d.score for d in run.of(Drift))
    last = len(effort.thresholds) - 1
    return found | {f"{what}/last": found[f"{what}/{last}"] for what in ("accuracy", "updates", "score")}


def _config(effort: Effort, gamma: float, seed: int) -> RunConfig:
    """Seven cameras over digits, whose drift grows from window to window and sooner for some than for others."""
    document = load_preset("digits").document()
    document["terminals"] = [_terminal(number, effort.windows) for number in range(TERMINALS)]
    changes: dict[str, Any] = {
        "seed": seed, "window.count": effort.windows, "drift.gamma": gamma, "drift.epsilon": EPSILON,
        "trigger.mode": "off", "execution.executor": "inline",
    }  # fmt: skip
    if effort.quick:
        changes |= {
            "window.upload_frames": 32, "window.test_frames": 60, "reference.frames_per_segment": 32,
            "reference.segments_per_place": 1, "generator.steps": 40, "mutual.plan.steps": 8, "distil.plan.steps": 8,
        }  # fmt: skip
    return override(parse_config(document, source="figure 11"), changes)


def _terminal(number: int, windows: int) -> dict[str, Any]:
    kind, place = KINDS[number % len(KINDS)], f"camera-{number}"
    growing = [min(1.0, (window + 1) / windows * (0.5 + number / (2 * TERMINALS))) for window in range(windows)]
    drift = [{"window": window, "kind": kind, "strength": strength} for window, strength in enumerate(growing)]
    return {"name": place, "model": "digits-cnn-m1", "place": place, "drift": drift}
