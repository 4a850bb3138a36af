"""How fast frames of a recording are read, by index, in a row and with gaps, beside PyAV in the same run.

    python benchmarks/decoding.py [--quick] [--json] [--seconds 60] [--repeats 5]

The clip is made here: 768 x 576, H.264, 10 frames a second. PyAV decodes it as its documentation does, on one thread as
a worker has it, and makes the same frames of (240, 320) or of full size by its own `to_ndarray`. Both sides take turns.
Reported is the ratio of the least processor times, PyAV's over ours, as what else the machine does only adds to them,
and the range of the ratios turn by turn: 1 is as fast, more is faster. Where frames between are left out PyAV still
decodes them, as it has to, and converts only the wanted ones.

Peak memory is that of a process that reads a clip, less what it takes before; a clip four times as long should take no
more.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter
from pathlib import Path
from typing import Any

import av
import numpy as np

from nestevo_hw.base.documents import json_text
from nestevo_hw.base.memory import forget_peak, peak_bytes
from nestevo_hw.streams.sources import Pixels, VideoFile

HEIGHT, WIDTH, FPS = 576, 768, 10
SMALL = (240, 320)
GOAL = 0.9
"""Least speed, of PyAV's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to read a clip."""

    name: str
    stride: int
    size: tuple[int, int]
    shuffled: bool = False
    """Frames are asked for one by one and out of order; PyAV's own way is to seek before each."""


WAYS = (
    Way(name="every frame, full size", stride=1, size=(HEIGHT, WIDTH)),
    Way(name="every frame, resized", stride=1, size=SMALL),
    Way(name="every fifth frame, resized", stride=5, size=SMALL),
    Way(name="single frames out of order, resized", stride=37, size=SMALL, shuffled=True),
)


def make_clip(path: Path, seconds: int) -> Path:
    """A street-like texture that moves under noise."""
    random = np.random.default_rng(0)
    texture = np.repeat(np.repeat(random.integers(0, 255, (200, 300, 3), np.uint8), 8, 0), 8, 1)
    noise = random.integers(0, 12, (HEIGHT, WIDTH, 3), np.uint8)
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=Fraction(FPS), options={"crf": "23", "preset": "veryfast"})
        track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(seconds * FPS):
            x, y = 3 * index % 1200, 2 * index % 800
            frame = texture[y : y + HEIGHT, x : x + WIDTH] // 2 + np.roll(noise, 7 * index, 1)
            container.mux(track.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(track.encode(None))
    return path


def ours(path: Path, way: Way, indices: Sequence[int]) -> Iterator[Pixels]:
    """Frames as streams read them."""
    file = VideoFile(path)
    for part in [[i] for i in indices] if way.shuffled else [indices]:
        yield from map(attrgetter("pixels"), file.frames(part, way.size))


def pyav(path: Path, way: Way, indices: Sequence[int]) -> Iterator[Pixels]:
    """Frames as PyAV's documentation reads them."""
    height, width = way.size
    wanted = set(indices)
    with av.open(str(path)) as container:
        track = container.streams.video[0]
        track.codec_context.thread_count = 1
        step = round(1 / (FPS * (track.time_base or Fraction(1))))
        for part in [[i] for i in indices] if way.shuffled else [list(indices)]:
            if way.shuffled:
                container.seek(part[0] * step, stream=track)
            for frame in container.decode(track):
                if (round((frame.pts or 0) / step) in wanted) if not way.shuffled else frame.pts >= part[0] * step:
                    yield frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
                    if way.shuffled:
                        break


def timed(
    read: Callable[[Path, Way, Sequence[int]], Iterator[Pixels]], path: Path, way: Way, indices: list[int]
) -> float:
    """Processor seconds to read all of the frames."""
    began = time.process_time()
    count = sum(1 for _ in read(path, way, indices))
    if count != len(indices):
        raise SystemExit(f"{read.__name__} gave {count} of {len(indices)} frames, {way.name}")
    return time.process_time() - began


def compare(path: Path, way: Way, frames: int, repeats: int) -> dict[str, Any]:
    """Both sides in turns on the same frames, which are equal pixel by pixel."""
    indices = list(range(0, frames, way.stride))
    if way.shuffled:
        indices = np.random.default_rng(1).permutation(indices).tolist()
    for own, other in zip(ours(path, way, indices[:20]), pyav(path, way, indices[:20]), strict=True):
        if not np.array_equal(own, other):
            raise SystemExit(f"frames differ, {way.name}")
    pairs = []
    for turn in range(repeats):
        sides = (ours, pyav) if turn % 2 else (pyav, ours)
        pairs.append({side.__name__: timed(side, path, way, indices) for side in sides})
    ratios = [pair["pyav"] / pair["ours"] for pair in pairs]
    best = {side: min(pair[side] for pair in pairs) for side in ("ours", "pyav")}
    return {
        "way": way.name, "frames": len(indices), "ratio": best["pyav"] / best["ours"], "least": min(ratios),
        "most": max(ratios), "ours_ms_a_frame": 1e3 * best["ours"] / len(indices),
    }  # fmt: skip


def peak_mb(path: Path) -> float:
    """What reading all of a clip adds to the memory of a new process, at most, MB."""
    done = subprocess.run([sys.executable, __file__, "--peak-of", path], capture_output=True, text=True, check=True)
    return float(done.stdout)


def own_peak_mb(path: Path) -> float:
    """The same, of this process."""
    before = forget_peak()
    file = VideoFile(path)
    for _ in file.frames(range(file.length), SMALL):
        pass
    return peak_bytes(shared=before) / 1e6


def measure(seconds: int, repeats: int) -> dict[str, Any]:
    """All ways, and peak memory over length."""
    with tempfile.TemporaryDirectory() as folder:
        short, long = (make_clip(Path(folder) / f"{k}.mp4", k * seconds) for k in (1, 4))
        return {
            "clip": {"frames": seconds * FPS, "size": [HEIGHT, WIDTH]}, "goal": GOAL,
            "ways": [compare(short, way, seconds * FPS, repeats) for way in WAYS],
            "peak_mb": {"once": peak_mb(short), "four times as long": peak_mb(long)},
        }  # fmt: skip


def main() -> None:
    """Measure, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a clip of 15 seconds, three repeats")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seconds", type=int, default=60, help="length of the clip")
    parser.add_argument("--repeats", type=int, default=5, help="of each side")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        print(own_peak_mb(options.peak_of))
        return
    if options.seconds < 5 or options.repeats < 1:
        parser.error("need --seconds of 5 or more and --repeats of 1 or more")
    found = measure(15, 3) if options.quick else measure(options.seconds, options.repeats)
    if options.json:
        print(json_text(found))
        return
    print(f"{found['clip']['frames']} frames of {WIDTH} x {HEIGHT}; speed of PyAV = 1, goal {GOAL}")
    for row in found["ways"]:
        print(
            f"{row['way']:36} {row['ratio']:5.2f} [{row['least']:.2f}, {row['most']:.2f}]  "
            f"{row['ours_ms_a_frame']:6.2f} ms of processor a frame"
        )
    print("peak memory: " + ", ".join(f"{name} {mb:.1f} MB" for name, mb in found["peak_mb"].items()))


if __name__ == "__main__":
    main()
