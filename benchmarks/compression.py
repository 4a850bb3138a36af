"""What adaptive compression saves and costs: a terminal's distillation with it and without, on the same words.

    python benchmarks/compression.py [--quick] [--json] [--seeds 3] [--small-px 12 ...]

A teacher on simulated PCM tiles labels 96 frames of each scene (place and kind of drift at strength 0.6) once, with
labels confirmed as in `nestevo-hw evolve`. On these words the terminal of that place is distilled as in the loop,
without compression and with each limit of --small-px, from the same random numbers, in an order that changes from scene
to scene. Measured side by side: processor time of the whole training task, mAP@0.50 of the student on later frames and,
with the first seed, the peak of all tensors the task allocates (in a second, untimed run). `--small-px 0.001` pools
every frame: the most that can be saved.

Intervals are 95 % t-intervals of paired differences and ratios over scenes; scenes of one seed share a programming of
the crossbar, so they are somewhat optimistic.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from label_quality import TASK, TERMINALS, UPLOADED, labellers, programmed, stream_of

from nestevo_hw.base.documents import json_text
from nestevo_hw.base.stats import Estimate
from nestevo_hw.evolution.config import RunConfig, load_preset, override
from nestevo_hw.evolution.learning import distil_terminal
from nestevo_hw.models.checkpoint import load_detector, pretrained_path
from nestevo_hw.profiler.samples import allocated_peak
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.rendered.synthetic import CLASSES
from nestevo_hw.streams.storage import save_frames
from nestevo_hw.tasks.supervision import save_supervision
from nestevo_hw.tasks.task import headline

KINDS = ("night", "fog", "rain")
LATER = range(520, 6000, 46)
"""Frames of a window of 600 s at 10 frames a second that come after the uploaded ones, to score on."""
PAPER = {"time": "-30 %", "memory": "-12 to -5 %", "accuracy": "no loss"}
QUICK_STEPS = 4
WEIGHED_STEPS = 20
"""Most steps whose memory is recorded: more than a pass over the frames; the record itself takes up to a GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One terminal's window: what it learns from, as files of the loop, and what it is scored on."""

    seed: int
    place: str
    kind: str
    frames: Path
    words: Path
    later: FrameBatch

    @property
    def name(self) -> str:
        """Place and kind."""
        return f"{self.place}/{self.kind}"


def scenes(config: RunConfig, folder: Path, *, quick: bool) -> Iterator[Scene]:
    """Every place under every kind of drift, labelled by one programming of the teacher."""
    files = programmed(config, folder)
    for kind in KINDS[:1] if quick else KINDS:
        for place in list(TERMINALS)[: 1 if quick else None]:
            stream = stream_of(config.seed, place, kind)
            upload, later = stream.read(UPLOADED[:: 3 if quick else 1]), stream.read(LATER[:: 10 if quick else 1])
            models = labellers(config, files, place, upload.images)
            spacing_s = (upload.indices[1] - upload.indices[0]) / stream.fps
            said = TASK.refined(models, upload.images, config.labels, config.refinement, spacing_s=spacing_s).words
            frames, words = folder / "frames", folder / "words"
            save_frames(upload.unlabelled(), frames)
            save_supervision(said, words)
            yield Scene(seed=config.seed, place=place, kind=kind, frames=frames, words=words, later=later)


def distilled(preset: RunConfig, scene: Scene, small_px: float | None, steps: int, *, weigh: bool) -> dict[str, Any]:
    """Time, accuracy and, to be weighed, memory of one distillation; compressed unless `small_px` is None."""
    settings: dict[str, Any] = {"compression.enabled": small_px is not None}
    if small_px is not None:
        settings["compression.small_px"] = small_px
    chosen, out = override(preset, settings | {"seed": scene.seed}), scene.frames.with_name("student")
    trained: dict[str, Any] = {}

    def train(steps: int) -> None:
        trained.update(distil_terminal(
            chosen, terminal=pretrained_path(TERMINALS[scene.place]), frames=scene.frames, supervision=scene.words,
            terminal_out=out, steps=steps, random_name=f"compression/{scene.name}", device=torch.device("cpu"),
        ))  # fmt: skip

    began = time.process_time()
    train(steps)
    time_s = time.process_time() - began
    student = load_detector(out)[0]
    accuracy = headline(TASK.score(TASK.predict(student, scene.later.images), scene.later.truth or (), len(CLASSES)))
    memory = allocated_peak(lambda: train(min(steps, WEIGHED_STEPS))) if weigh else None
    return {"time_s": time_s, "memory_bytes": memory, "accuracy": accuracy, "pooled": trained["pooled_share"]}


def measure(seeds: Sequence[int], sizes: Sequence[float], *, quick: bool) -> dict[str, Any]:
    """Every setting on every scene, and each limit against no compression."""
    rows: list[dict[str, Any]] = []
    settings: list[float | None] = [None, *sizes]
    preset = override(load_preset("quick"), {"reference.frames_per_segment": 2})
    steps = QUICK_STEPS if quick else preset.distil.plan.steps
    with tempfile.TemporaryDirectory() as name:
        for seed in seeds:
            for scene in scenes(override(preset, {"seed": seed}), Path(name), quick=quick):
                if not rows:
                    distilled(preset, scene, None, 2, weigh=False)  # the first training of a process loads libraries
                turn = len(rows) % len(settings)
                found = {
                    px: distilled(preset, scene, px, steps, weigh=seed == seeds[0])
                    for px in (*settings[turn:], *settings[:turn])
                }
                rows.append({
                    "seed": seed, "place": scene.place, "kind": scene.kind, "whole": found[None],
                    "compressed": {f"{px:g}": found[px] for px in sizes},
                })  # fmt: skip
    return {
        "scenes": len(rows), "steps": steps, "paper": PAPER,
        "limits": [summary(rows, px) for px in sizes], "rows": rows,
    }  # fmt: skip


def summary(rows: Sequence[dict[str, Any]], small_px: float) -> dict[str, Any]:
    """One limit against no compression over scenes, in all and by kind."""
    pairs = [(row["kind"], row["compressed"][f"{small_px:g}"], row["whole"]) for row in rows]
    return {
        "small_px": small_px,
        "pooled": statistics.fmean(on["pooled"] for _, on, _ in pairs),
        "time_ratio": Estimate.of([on["time_s"] / off["time_s"] for _, on, off in pairs]).document(),
        "memory_ratio": Estimate.of(
            [on["memory_bytes"] / off["memory_bytes"] for _, on, off in pairs if off["memory_bytes"] is not None]
        ).document(),
        "accuracy": statistics.fmean(on["accuracy"] for _, on, _ in pairs),
        "accuracy_whole": statistics.fmean(off["accuracy"] for _, _, off in pairs),
        "accuracy_difference": Estimate.of([on["accuracy"] - off["accuracy"] for _, on, off in pairs]).document(),
        "by_kind": {
            kind: Estimate.of([on["accuracy"] - off["accuracy"] for k, on, off in pairs if k == kind]).document()
            for kind in dict.fromkeys(k for k, _, _ in pairs)
        },
    }


def shown(found: dict[str, Any], *, share: bool) -> str:
    """A difference with its interval: of a ratio in per cent, else in points of mAP."""
    low_high = found["ci95"] or ()
    if share:
        mean, *ends = (f"{value - 1:+.1%}" for value in (found["mean"], *low_high))
    else:
        mean, *ends = (f"{value:+.3f}" for value in (found["mean"], *low_high))
    return f"{mean} [{', '.join(ends)}]" if ends else mean


def main() -> None:
    """Measure, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"one scene, fewer frames and {QUICK_STEPS} steps")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seeds", type=int, default=3, help="programmings of the crossbar; 9 scenes each")
    parser.add_argument("--small-px", type=float, nargs="+", default=[12.0], help="limits of a small object to try")
    options = parser.parse_args()
    if options.seeds < 1 or min(options.small_px) <= 0:
        parser.error("need --seeds of 1 or more and each --small-px above 0")
    torch.set_num_threads(1)
    found = measure(range(1 if options.quick else options.seeds), options.small_px, quick=options.quick)
    if options.json:
        print(json_text(found))
        return
    print(f"{found['scenes']} scenes, {found['steps']} steps; differences to no compression")
    print(f"{'limit':>6} {'pooled':>6}  {'time':26} {'peak memory':26} mAP@0.50")
    for row in found["limits"]:
        print(
            f"{row['small_px']:3g} px {row['pooled']:6.0%}  {shown(row['time_ratio'], share=True):26} "
            f"{shown(row['memory_ratio'], share=True):26} {shown(row['accuracy_difference'], share=False)}"
        )
    print(f"{'paper':>6} {'':6}  {PAPER['time']:26} {PAPER['memory']:26} {PAPER['accuracy']}")


if __name__ == "__main__":
    main()
