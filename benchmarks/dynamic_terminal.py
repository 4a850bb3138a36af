"""What a dynamic terminal saves, and what it loses: the dense model, its chained stages and the dynamic model in turns.

    python benchmarks/dynamic_terminal.py [--quick] [--json] [--parts FOLDER] [--video FILE ..] [--seeds 5]
                                          [--processes 3] [--frames 400] [--threads 1,2] [--hooks]

The model is that of a folder of `nestevo-hw elastic build`; without one, the shipped eight-block detector (random
weights where none ship, which says nothing of accuracy), exported here for frames of 256 x 320. Each seed renders its
own scenery, as video: a camera that stands still where people and cars are always on their way ("static"), the same
where for seven of ten seconds nothing moves but the sensor's noise ("quiet"), dusk that falls slowly ("drift"), night,
something large that passes close by ("occlusion"), and a camera that pans ("moving"). Every arm runs every frame, in an
order drawn for each; a frame's time begins with its decoding and ends with objects after NMS, gates and copies
included. Calibration is left out.

Stages are those of `nestevo-hw dynamic`: a detector's blocks up to one that its pyramid, or a hook, reads are one. With
--hooks, cheaper ways through the blocks are fitted on 80 frames before the others, and an arm takes them where its
hook is sure; what that learns from is tried between its frames, and counted apart.
benchmarks/dynamic_hooks.py compares what decides.

Reported are wall and processor time as ratios to the dense model as one session, with 95 % intervals over seeds (each
the mean of its processes), and mAP@0.50 against the rendered truth (for videos: against what the dense model is sure
of). The dynamic arms decide by processor time, which is what there is to go by on a busy machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from nestevo_hw.base.documents import json_text
from nestevo_hw.base.stats import t_interval
from nestevo_hw.models.elastic.parts import read_parts
from nestevo_hw.terminals.dynamic.bench import FUSED, compare
from nestevo_hw.terminals.dynamic.config import DynamicSettings
from nestevo_hw.terminals.dynamic.fitting import fitted
from nestevo_hw.terminals.dynamic.hooks.calibrating import fit_hooks
from nestevo_hw.terminals.dynamic.hooks.ways import load, save
from nestevo_hw.terminals.dynamic.model import DynamicModel
from nestevo_hw.terminals.dynamic.preparing import Prepared, prepare
from nestevo_hw.terminals.runtime import Found, Frame
from nestevo_hw.terminals.source import open_source

STREAMS = ("quiet", "static", "drift", "night", "occlusion", "moving")
ARCHITECTURE, SIZE = "fasterrcnn-resnet18-slim", (256, 320)
QUIET_FROM, SENSOR_NOISE = 30, 0.008
"""Of a hundred frames, those that go on; and the noise of the embedded streams, of full scale."""
FITTED_ON = 80
"""Frames that hooks are fitted on."""
PAN_PX = 2
"""Of the moving camera, a frame."""


def rendered(
    stream: str, seed: int, frames: int, size: tuple[int, int], step: int = 1
) -> tuple[np.ndarray, list[Found]]:
    """(N, H, W, 3) frames of an embedded stream, every `step`-th of so many, and what is on them."""
    from nestevo_hw.streams.rendered.synthetic import SyntheticStream
    from nestevo_hw.streams.weather import DriftScript, DriftSegment

    segments = {
        "drift": (DriftSegment(start=0, kind="dusk", strength=0.6, ramp=frames),),
        "night": (DriftSegment(start=0, kind="night", strength=0.6),),
    }.get(stream, ())
    wide = (size[0], size[1] + size[1] // 2) if stream == "moving" else size
    source = SyntheticStream(name=stream, place="campus", seed=seed, size=wide, drift=DriftScript(segments=segments))
    batch = source.read(range(0, frames, step))
    images = np.ascontiguousarray(batch.images.numpy().transpose(0, 2, 3, 1))
    truth = [
        Found(one.boxes.numpy()[~one.ignore.numpy()], one.labels.numpy()[~one.ignore.numpy()],
              np.ones(int((~one.ignore).sum()), np.float32))
        for one in batch.truth or ()
    ]  # fmt: skip
    if stream == "moving":
        return _panned(images, truth, size[1], step)
    if stream == "occlusion":
        _covered(images, seed, step)
    if stream == "quiet":
        _stopped(images, truth, seed)
    return images, truth


def _panned(images: np.ndarray, truth: list[Found], width: int, step: int) -> tuple[np.ndarray, list[Found]]:
    """A window that goes to and fro over wider frames."""
    room = images.shape[2] - width
    shown, seen = [], []
    for index, (image, found) in enumerate(zip(images, truth, strict=True)):
        left = abs((index * step * PAN_PX + room) % (2 * room) - room)
        shown.append(image[:, left : left + width])
        boxes = found.boxes - np.array([left, 0, left, 0], np.float32)
        boxes[:, ::2] = boxes[:, ::2].clip(0, width)
        inside = boxes[:, 2] - boxes[:, 0] > 4
        seen.append(Found(boxes[inside], found.labels[inside], found.scores[inside]))
    return np.stack(shown), seen


def _stopped(images: np.ndarray, truth: list[Found], seed: int) -> None:
    """Of every hundred frames, thirty go on and seventy stay, but for the sensor's noise, in place."""
    draw = np.random.default_rng(seed)
    for index in range(len(images)):
        if index % 100 >= QUIET_FROM:
            stays = index - index % 100 + QUIET_FROM - 1
            noise = draw.normal(0, 255 * SENSOR_NOISE, images[index].shape)
            images[index] = (images[stays] + noise).round().clip(0, 255)
            truth[index] = truth[stays]


def _covered(images: np.ndarray, seed: int, step: int) -> None:
    """Something large and textured passes every ten seconds, in place."""
    height, width = images.shape[1:3]
    texture = np.random.default_rng(seed).integers(40, 120, (height // 2 // 8 + 1, width // 3 // 8 + 1, 3), np.uint8)
    thing = texture.repeat(8, 0).repeat(8, 1)[: height // 2, : width // 3]
    for index, image in enumerate(images):
        left = (index * step % 100) * 12 - thing.shape[1]
        first, last = max(0, left), min(width, left + thing.shape[1])
        if first < last:
            image[height // 3 : height // 3 + len(thing), first:last] = thing[:, first - left : last - left]


def write_video(images: np.ndarray, path: Path) -> None:
    """H.264 as a camera sends it."""
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=Fraction(10), options={"crf": "20", "preset": "veryfast"})
        track.height, track.width, track.pix_fmt = images.shape[1], images.shape[2], "yuv420p"
        for image in images:
            container.mux(track.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(track.encode(None))


def export_default(folder: Path) -> None:
    """Parts of the shipped detector, originals alone."""
    import torch

    from nestevo_hw.models.checkpoint import ModelSpec
    from nestevo_hw.models.elastic.chain import find_chain
    from nestevo_hw.models.elastic.export import export_parts
    from nestevo_hw.models.elastic.supernet import Supernet, as_inputs
    from nestevo_hw.models.zoo import open_model

    opened = open_model(ARCHITECTURE)
    print(f"{ARCHITECTURE}: {opened.origin}", file=sys.stderr)
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    supernet = Supernet(opened.model, find_chain(opened.model, as_inputs(opened.model, image)), {})
    spec = ModelSpec(
        architecture=ARCHITECTURE, classes=("pedestrian", "car", "cyclist"), min_size=SIZE[0], max_size=SIZE[1]
    )
    export_parts(supernet, spec, folder, image[0])


def one(
    parts: Path, video: Path, truth: Path | None, threads: int, hooks: Path | None, *, processor: bool
) -> list[dict[str, Any]]:
    """All arms on one video, without the frames that hooks were fitted on."""
    manifest = read_parts(parts)
    path = manifest.space.base
    ways = load(hooks, manifest, path) if hooks else None
    prepared: Prepared = prepare(parts, manifest, path, join=True, cut=ways.after if ways else "")
    known = None
    if truth is not None:
        rows = json.loads(truth.read_text())
        known = [
            Found(np.array(b, np.float32).reshape(-1, 4), np.array(k, np.int64), np.ones(len(k), np.float32))
            for b, k in rows
        ]
    skipped = FITTED_ON if hooks else 0
    shown: Iterator[Frame] = fitted(open_source(str(video), pace=False, loop=False), manifest.image[1:])
    rows = compare(
        prepared, islice(shown, skipped, None), DynamicSettings(threads=threads), truth=known and known[skipped:],
        hooks=ways, clock=time.process_time if processor else time.perf_counter,
    )  # fmt: skip
    return [asdict(row) for row in rows]


def hooks_for(parts: Path, video: Path) -> Path | None:
    """A file of hooks fitted on the first frames of a video; None where no way saves time."""
    manifest = read_parts(parts)
    prepared = prepare(parts, manifest, manifest.space.base)
    shown = open_source(str(video), pace=False, loop=False)
    hooks = fit_hooks(DynamicModel(prepared), islice(shown, FITTED_ON))
    if hooks is None:
        return None
    path = video.with_suffix(".safetensors")
    save(hooks, path)
    return path


def measured(
    parts: Path, video: Path, truth: Path | None, threads: int, hooks: Path | None, processes: int
) -> list[list[dict[str, Any]]]:
    """`one` in so many processes, one after the other."""
    command = [sys.executable, __file__, "--one", video, "--parts", parts, "--threads", threads]
    command += ["--truth", truth] if truth else []
    command += ["--hooks-file", hooks] if hooks else []
    found = []
    for _ in range(processes):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr.strip().splitlines()[-1])
        found.append(json.loads(done.stdout))
    return found


MEASURES = tuple(f"{clock}{name}_s" for clock in ("", "processor_") for name in ("mean", "median", "p95"))


def summed_up(runs: Sequence[list[list[dict[str, Any]]]]) -> dict[str, Any]:
    """Arms of some seeds, each in some processes: ratios to the fused arm, scores; means and intervals over seeds."""
    rows = {}
    arms = [row["arm"] for row in runs[0][0]]
    base = arms.index(FUSED)
    for index, arm in enumerate(arms):
        values: dict[str, list[float]] = {}
        for processes in runs:
            for name in MEASURES:
                ratio = np.mean([run[index][name] / run[base][name] for run in processes])
                values.setdefault(f"{name[:-2]}_ratio", []).append(float(ratio))
            medians = [1e3 * run[index]["median_s"] for run in processes]
            values.setdefault("median_ms", []).append(float(np.mean(medians)))
            for name in ("agreement", "score"):
                values.setdefault(name, []).append(float(np.mean([run[index][name] for run in processes])))
            learning = np.mean([run[index]["learning_s"] / run[base]["processor_mean_s"] for run in processes])
            values.setdefault("learning_ratio", []).append(float(learning))
            loss = np.mean([run[base]["score"] - run[index]["score"] for run in processes])
            values.setdefault("score_loss", []).append(float(loss))
        rows[arm] = {name: _interval(found) for name, found in values.items()}
        rows[arm]["reasons"] = runs[0][0][index]["reasons"]
    return rows


def _interval(values: list[float]) -> dict[str, float | None]:
    low, high = t_interval(values) if len(values) > 1 else (None, None)
    return {"mean": float(np.mean(values)), "low": low, "high": high}


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All streams, seeds, processes and numbers of threads."""
    parts = options.parts
    if parts is None:
        parts = folder / "parts"
        export_default(parts)
    size = read_parts(parts).image[1:]
    results: dict[str, Any] = {}
    extra = FITTED_ON if options.hooks else 0
    for stream in [*(path.stem for path in options.video), *options.streams]:
        found = _videos(stream, options, folder, size, options.frames + extra)
        videos = [(one_of, hooks_for(parts, one_of[0]) if options.hooks else None) for one_of in found]
        if options.hooks and any(hooks is None for _, hooks in videos):
            print(f"{stream}: no way through a stage saves time; measured without hooks", file=sys.stderr)
            videos = [(one_of, None) for one_of in found]
        for threads in options.threads:
            runs = [measured(parts, *video, threads, hooks, options.processes) for video, hooks in videos]
            results.setdefault(str(threads), {})[stream] = summed_up(runs)
            print(f"{stream}, {threads} threads: measured", file=sys.stderr)
    return {"parts": str(parts), "size": list(size), "frames": options.frames, "seeds": options.seeds,
            "processes": options.processes, "threads": results}  # fmt: skip


def _videos(
    stream: str, options: argparse.Namespace, folder: Path, size: tuple[int, int], frames: int
) -> list[tuple[Path, Path | None]]:
    """A given video, or one for each seed of a stream with a file of its truth."""
    if given := [path for path in options.video if path.stem == stream]:
        return [(given[0], None)]
    found = list[tuple[Path, Path | None]]()
    for seed in range(options.seeds):
        images, truth = rendered(stream, seed, frames, size)
        video = folder / f"{stream}-{seed}.mp4"
        write_video(images, video)
        known = video.with_suffix(".json")
        known.write_text(json.dumps([[one.boxes.tolist(), one.labels.tolist()] for one in truth]))
        found.append((video, known))
    return found


SHOWN = {
    "mean_ratio": "mean, wall", "p95_ratio": "p95, wall", "processor_mean_ratio": "mean, processor",
    "processor_median_ratio": "median, processor", "processor_p95_ratio": "p95, processor",
}  # fmt: skip
"""Columns of the table."""


def show(found: dict[str, Any]) -> None:
    """A table for each number of threads."""
    for threads, streams in found["threads"].items():
        print(f"\n{threads} threads; ratios to the dense model as one session, 95 % intervals over seeds")
        titles = " ".join(f"{title:>18}" for title in SHOWN.values())
        print(f"{'stream':10} {'arm':12} {titles} {'mAP loss':>9} {'F1':>6} {'learning':>9}")
        for stream, arms in streams.items():
            for arm, row in arms.items():
                cells = [_cell(row[name]) for name in SHOWN]
                loss = f"{100 * row['score_loss']['mean']:9.2f} {row['agreement']['mean']:6.3f}"
                loss += f" {row['learning_ratio']['mean']:9.3f}"
                print(f"{stream:10} {arm:12} " + " ".join(f"{cell:>18}" for cell in cells) + f" {loss}")


def _cell(value: dict[str, float | None]) -> str:
    if value["low"] is None:
        return f"{value['mean']:.2f}"
    return f"{value['mean']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"


def main() -> None:
    """Measure, and print tables or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed and process, 80 frames, two streams, one thread")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--parts", type=Path, help="folder of `nestevo-hw elastic build`, parts/")
    parser.add_argument(
        "--video", type=Path, action="append", default=[], help="a video beside the streams; repeatable"
    )
    parser.add_argument("--streams", default=",".join(STREAMS), help="which of them")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--threads", default="1,2", help="of ONNX Runtime")
    parser.add_argument("--hooks", action="store_true", help="an arm with hooks, fitted on 80 frames before the others")
    parser.add_argument("--hooks-file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--truth", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.threads = [int(part) for part in str(options.threads).split(",")]
    if options.one:
        rows = one(options.parts, options.one, options.truth, options.threads[0], options.hooks_file, processor=True)
        print(json.dumps(rows))
        return
    options.streams = [name for name in options.streams.split(",") if name]
    if unknown := set(options.streams) - set(STREAMS):
        parser.error(f"unknown stream {sorted(unknown)[0]}; choose from {', '.join(STREAMS)}")
    if options.quick:
        options.seeds, options.processes, options.frames, options.threads = 1, 1, 80, [1]
        options.streams = ["static", "moving"]
    if min(options.seeds, options.processes) < 1 or options.frames < 40:
        parser.error("need --seeds and --processes of 1 or more and --frames of 40 or more")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    print(json_text(found)) if options.json else show(found)


if __name__ == "__main__":
    main()
