"""What hooks of a dynamic terminal save, and which learner decides best: every learner on the same measured frames.

    python benchmarks/dynamic_hooks.py [--quick] [--json] [--parts FOLDER] [--seeds 3] [--frames 960]

Streams and model are those of benchmarks/dynamic_terminal.py. For each seed, ways through the stages are fitted on 100
frames of a still camera in daylight. Then each stream: "static", "drift" (dusk falls over all of it), "night" (falls
after a third), "occlusion" and "moving". Every eighth frame is run densely, as one session, and in two sessions, the
second on each rung of the ladder; what a rung takes and how it agrees is written down. Each learner is then led over
what was written down as a terminal would lead it: it decides by what it knows, and one frame in fifty is tried.

Reported are means over seeds, with 95 % intervals: processor time saved of the dense model as one session, decisions
counted and learning not; F1 with the dense model, share of the frames whose F1 is 0.95 or more, the longest that the
mean F1 of the last 80 frames stayed below 0.95, in frames; what a decision takes of a frame, and what trying and
learning takes. "never" takes no rung, "always" the last one, "best" the cheapest that agrees, which nobody can know.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from dynamic_terminal import export_default, rendered

from nestevo_hw.base.documents import json_text
from nestevo_hw.base.stats import t_interval
from nestevo_hw.models.elastic.parts import read_parts
from nestevo_hw.terminals.dynamic.agreement import f1
from nestevo_hw.terminals.dynamic.hooks.calibrating import fit_hooks
from nestevo_hw.terminals.dynamic.hooks.config import HookSettings, LearnerName
from nestevo_hw.terminals.dynamic.hooks.hook import Hook, pooled
from nestevo_hw.terminals.dynamic.hooks.learners import Try
from nestevo_hw.terminals.dynamic.hooks.ways import Hooks, Ways
from nestevo_hw.terminals.dynamic.model import DynamicModel
from nestevo_hw.terminals.dynamic.preparing import Prepared, prepare
from nestevo_hw.terminals.dynamic.profile import Profile
from nestevo_hw.terminals.dynamic.proposing import Regions
from nestevo_hw.terminals.runtime import Found

STREAMS = ("static", "drift", "night", "occlusion", "moving")
STEP, FITTED_ON, RECENT = 8, 100, 10
"""Frames from one that is measured to the next; that ways are fitted on; and measured ones that a mean is of."""
LEARNERS = get_args(LearnerName)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A stream, measured."""

    hooks: Hooks
    rungs: tuple[Ways, ...]
    """Of the model's stages."""
    looked: np.ndarray
    """(N, C) descriptors."""
    f1: np.ndarray
    """(N, rungs + 1), of dense first."""
    seconds: np.ndarray
    """(N, rungs + 1) of processor time, as two sessions."""
    fused_s: float
    """Median of the model as one session."""
    features: np.ndarray
    """That the hook looks at, of one frame."""


def write_down(prepared: Prepared, hooks: Hooks, images: np.ndarray) -> Written:
    """Run some frames in every way."""
    model = DynamicModel(prepared, clock=time.process_time)
    learning = model.use_hooks(hooks)
    halves, regions = learning.halves, Regions(prepared.most_regions)
    looked, scores, seconds, fused = [], [], [], []
    draw = np.random.default_rng(0)
    for frame in images:
        image = model.chain.load(frame)
        found, times = dict[int, Found](), np.empty(len(hooks.rungs) + 1)
        for rung in draw.permutation(len(times) + 1) - 1:  # -1: as one session
            began = time.process_time()
            if rung < 0:
                model._whole(frame)
                fused.append(time.process_time() - began)
                continue
            between = halves.first(image)
            found[int(rung)] = halves.second(between, rung, regions)
            times[rung] = time.process_time() - began
        looked.append(pooled(between[hooks.after]))
        scores.append([f1(found[rung], found[0]) for rung in range(len(times))])
        seconds.append(times)
    return Written(
        hooks=hooks, rungs=learning.hook.rungs, looked=np.array(looked), f1=np.array(scores), seconds=np.array(seconds),
        fused_s=float(np.median(fused)), features=between[hooks.after],
    )  # fmt: skip


def led(written: Written, learner: LearnerName) -> tuple[np.ndarray, float, float]:
    """Rungs that a learner takes of each frame, 0 dense; seconds of a decision; and of trying and learning a frame."""
    settings = HookSettings(learner=learner)
    profile = Profile(stage for rung in written.rungs for stage in rung)
    hook = Hook(written.hooks, written.rungs, settings, profile, 0.05, time.process_time)
    taken, deeper, learn_s = np.zeros(len(written.looked), int), False, 0.0
    began = time.process_time()
    for _ in written.looked:
        hook.allowed(hook.seen(written.features))
    decide_s = (time.process_time() - began) / len(written.looked)
    every = -(-settings.learn_every // STEP)
    for k, row in enumerate(written.looked):
        seen = hook.scaled(row)
        taken[k] = hook.allowed(seen)
        if k % every == every - 1:
            rung = min(max(1, taken[k] + deeper), len(written.rungs))
            deeper = not deeper
            began = time.process_time()
            hook.learner.learn(Try(seen, rung - 1, bool(written.f1[k, rung] >= settings.agreement)))
            learn_s += time.process_time() - began + written.seconds[k, 0] + written.seconds[k, rung]
    return taken, decide_s, learn_s / (STEP * len(taken))


def figures(written: Written, taken: np.ndarray, decide_s: float = 0.0, learn_s: float = 0.0) -> dict[str, float]:
    """What taking some rungs comes to."""
    rows = np.arange(len(taken))
    # Medians, as single times on a busy machine say little.
    typical = np.median(written.seconds, 0)
    took = float(typical[taken].mean()) + decide_s
    scores = written.f1[rows, taken]
    return {
        "saved": 1 - took / written.fused_s, "f1": float(scores.mean()), "agreeing": float((scores >= 0.95).mean()),
        "back_after": float(back_after(scores)), "decision": decide_s / written.fused_s,
        "learning": learn_s / written.fused_s, "rung": float(taken.mean()),
    }  # fmt: skip


def back_after(scores: np.ndarray) -> int:
    """Longest stretch of frames in which the mean of the last ones is below 0.95."""
    means = np.convolve(scores, np.ones(RECENT) / RECENT, "valid")
    longest = now = 0
    for low in means < 0.95:
        now = now + 1 if low else 0
        longest = max(longest, now)
    return longest * STEP


def measured(prepared: Prepared, hooks: Hooks, stream: str, seed: int, frames: int) -> dict[str, dict[str, float]]:
    """All learners on a stream."""
    written = write_down(prepared, hooks, images_of(stream, seed, frames, prepared.parts.image[1:]))
    rungs = len(hooks.rungs)
    good = np.cumprod(written.f1 >= 0.95, 1).sum(1) - 1
    found = {name: figures(written, np.full(len(good), rung)) for name, rung in (("never", 0), ("always", rungs))}
    found["best"] = figures(written, good)
    return found | {name: figures(written, *led(written, name)) for name in LEARNERS}


def images_of(stream: str, seed: int, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Every eighth frame of a stream."""
    images, _ = rendered(stream, seed, frames, size, STEP)
    if stream == "night":
        day = len(images) // 3
        images[:day] = rendered("static", seed, STEP * day, size, STEP)[0]
    return images


def summed_up(runs: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Means and 95 % intervals over seeds."""
    found: dict[str, Any] = {}
    for arm in runs[0]:
        for name in runs[0][arm]:
            values = [run[arm][name] for run in runs]
            low, high = t_interval(values) if len(values) > 1 else (None, None)
            found.setdefault(arm, {})[name] = {"mean": float(np.mean(values)), "low": low, "high": high}
    return found


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All seeds and streams."""
    parts = options.parts or folder / "parts"
    if options.parts is None:
        export_default(parts)
    manifest = read_parts(parts)
    base = manifest.space.base
    blocks = prepare(parts, manifest, base)
    runs: dict[str, list[dict[str, dict[str, float]]]] = {stream: [] for stream in options.streams}
    ladders = []
    for seed in range(options.seeds):
        day, _ = rendered("static", seed, FITTED_ON, manifest.image[1:])
        hooks = fit_hooks(DynamicModel(blocks), day)
        if hooks is None:
            raise SystemExit(f"seed {seed}: no way through this model saves time")
        ladders.append({"after": hooks.after, "rungs": hooks.rungs, "f1": hooks.agreed.mean(0).tolist()})
        prepared = prepare(parts, manifest, base, join=True, cut=hooks.after)
        for stream in options.streams:
            runs[stream].append(measured(prepared, hooks, stream, seed, options.frames))
            print(f"seed {seed}, {stream}: measured", file=sys.stderr, flush=True)
    return {"parts": str(parts), "frames": options.frames, "seeds": options.seeds, "ladders": ladders,
            "streams": {stream: summed_up(found) for stream, found in runs.items()}, "runs": runs}  # fmt: skip


def show(found: dict[str, Any]) -> None:
    """A table."""
    titles = ("saved", "F1", "agreeing", "back after", "decision", "learning")
    print(f"{'stream':10} {'learner':10} " + " ".join(f"{title:>22}" for title in titles))
    for stream, arms in found["streams"].items():
        for arm, row in arms.items():
            names = ("saved", "f1", "agreeing", "back_after", "decision", "learning")
            print(f"{stream:10} {arm:10} " + " ".join(f"{_cell(row[name], name):>22}" for name in names))


def _cell(value: dict[str, float | None], name: str) -> str:
    digits = 0 if name == "back_after" else 4 if name == "decision" else 3
    text = f"{value['mean']:.{digits}f}"
    return text if value["low"] is None else f"{text} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def main() -> None:
    """Measure, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, 320 frames, two streams")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--parts", type=Path, help="folder of `nestevo-hw elastic build`, parts/")
    parser.add_argument("--streams", default=",".join(STREAMS), help="which of them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=960)
    options = parser.parse_args()
    options.streams = [name for name in options.streams.split(",") if name]
    if unknown := set(options.streams) - set(STREAMS):
        parser.error(f"unknown stream {sorted(unknown)[0]}; choose from {', '.join(STREAMS)}")
    if options.quick:
        options.seeds, options.frames, options.streams = 1, 320, ["static", "night"]
    if options.seeds < 1 or options.frames < 180:
        parser.error("need --seeds of 1 or more and --frames of 180 or more")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    print(json_text(found)) if options.json else show(found)


if __name__ == "__main__":
    main()
