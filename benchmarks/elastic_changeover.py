"""An elastic terminal on this machine: its latency model, shared beginnings, and a change-over when it becomes slower.

    python benchmarks/elastic_changeover.py [--quick] [--json] [--repeats 5] [--cpu-time] [--out DIR]

A chain of ONNX blocks with random weights, on one thread of one core, measured: nothing here says how accurate a path
is, so its accuracy is made up (the longer it takes the better).

- Latency: each branch alone and whole paths, p50; offset and scale are fitted on ten paths, errors are of others.
- Reuse: 50 paths of one population on one batch, each alone and with shared beginnings.
- Change-over: frames run at their own pace; then another process takes a third of the core (pinned to it, of a lower
  priority), so that everything takes 1.5 times as long. Counted are the late frames (over 1.1 of the budget) from there
  until the new path runs, and the seconds of the change, the first frame on the new blocks included.

Other load on the machine disturbs all of these; run it on a quiet one. With --cpu-time everything is measured in the
process's own seconds of CPU, which other load disturbs less; there the slow-down is modelled: times are multiplied.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nestevo_hw.base.documents import json_text
from nestevo_hw.models.elastic.space import Branch, BranchPath, PathSpace, all_branches
from nestevo_hw.pages.style import LIGHT, Mark, dress, legend, new_figure, save_png
from nestevo_hw.terminals.elastic.keeper import Keeper
from nestevo_hw.terminals.elastic.latency import FITTED_ON, LatencyModel, PathTime, errors, fit, measure
from nestevo_hw.terminals.elastic.pool import Candidate, Pool
from nestevo_hw.terminals.elastic.reuse import outputs, work
from nestevo_hw.terminals.elastic.sessions import BranchSessions
from nestevo_hw.terminals.elastic.window import LatencyWindow

SPACE = PathSpace(8, all_branches(8, taps=(3,)))
SIDES = (80, 80, 40, 40, 20, 20, 10, 10)
CHANNELS = (16, 16, 32, 32, 64, 64, 128, 128)
"""Of each block's output; every second block halves the side."""
SLOWER = 1.5
NICE = 3
"""Weights of the scheduler: 1024 at nice 0 and 526 at nice 3, so the burner takes 0.34 of the core."""
Floats = NDArray[np.float32]
Clock = Callable[[], float]


def save_block(folder: Path, branch: Branch) -> None:
    """Two convolutions, the first one with the stride and width of all blocks that the branch stands for."""
    draw = np.random.default_rng([branch.start, branch.span, int(100 * branch.shrink)])
    given = CHANNELS[max(0, branch.start - 1)]
    made = CHANNELS[branch.end - 1]
    inner = round(made * (1 - branch.shrink))
    stride = SIDES[max(0, branch.start - 1)] // SIDES[branch.end - 1]
    weights = [
        (draw.normal(size=(out, into, 3, 3)) / np.sqrt(9 * into)).astype(np.float32)
        for into, out in ((given, inner), (inner, made))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4, strides=[stride] * 2),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "h", "w"])
        for name, channels in (("x", given), ("y", made))
    ]
    constants = [numpy_helper.from_array(weight, f"w{number}") for number, weight in enumerate(weights)]
    graph = helper.make_graph(nodes, "block", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / f"block-{branch.name}.onnx")


def open_block(folder: Path, branch: Branch) -> onnxruntime.InferenceSession:
    """A session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    file = str(folder / f"block-{branch.name}.onnx")
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


class Device:
    """The chain of blocks, as a terminal runs it."""

    def __init__(self, folder: Path) -> None:
        self.sessions = BranchSessions(partial(open_block, folder))
        self.frame = np.random.default_rng(0).normal(size=(1, CHANNELS[0], SIDES[0], SIDES[0])).astype(np.float32)

    def run(self, branch: Branch, feature: Floats) -> Floats:
        """One block."""
        (output,) = self.sessions[branch].run(["y"], {"x": feature})
        return output  # type: ignore[no-any-return]

    def look(self, path: BranchPath) -> Floats:
        """A whole path on the frame."""
        feature = self.frame
        for branch in path:
            feature = self.run(branch, feature)
        return feature

    def given(self, branch: Branch) -> Floats:
        """What a block is given in the network."""
        return self.look(tuple(Branch(block) for block in range(branch.start)))


def latency_of(device: Device, rounds: int, others: int, clock: Clock) -> tuple[LatencyModel, dict[str, Any]]:
    """The measured model, and its errors on paths that it was not fitted on."""
    device.sessions.change_to(SPACE.branches)
    features = {branch: device.given(branch) for branch in SPACE.branches}
    table = measure({b: partial(device.run, b, x) for b, x in features.items()}, rounds=rounds, clock=clock)
    draw = Random(0)
    paths = [SPACE.base, *dict.fromkeys(SPACE.sample(draw) for _ in range(FITTED_ON + others))]
    times = measure({path: partial(device.look, path) for path in paths}, rounds=rounds, clock=clock)
    whole = [PathTime(path, seconds) for path, seconds in times.items()]
    model = fit(table, whole[:FITTED_ON])
    found = errors(model, whole[FITTED_ON:])
    figures = {"offset_ms": 1e3 * model.offset_s, "scale": model.scale, "base_ms": 1e3 * times[SPACE.base]}
    return model, figures | {"paths": found.paths, "p50": found.p50, "p95": found.p95, "worst": found.worst}


def reuse_of(device: Device, latency: LatencyModel, repeats: int, clock: Clock, population: int = 50) -> dict[str, Any]:
    """A population on one batch, with and without shared beginnings."""
    draw = Random(1)
    window = LatencyWindow.around(SPACE, latency, 0.7 * latency.time(SPACE.base))
    drawn = (window.draw(draw) for _ in range(100 * population))
    paths = list(dict.fromkeys(path for path in drawn if path is not None))[:population]
    alone_s, shared_s = [], []
    for _ in range(repeats):
        begin = clock()
        alone = [device.look(path) for path in paths]
        middle = clock()
        shared = {number: output for _, number, output in outputs(paths, [device.frame], device.run)}
        alone_s.append(middle - begin)
        shared_s.append(clock() - middle)
    return {
        "paths": len(paths),
        "same_to_the_bit": all(np.array_equal(one, shared[number]) for number, one in enumerate(alone)),
        "work_saved": work(paths, latency).saved,
        "measured": statistics.median(alone_s) / statistics.median(shared_s),
    }


def _burn(core: int, started: Any, end: Any) -> None:
    os.sched_setaffinity(0, {core})
    os.nice(NICE)
    started.set()
    while not end.is_set():
        for _ in range(100_000):
            pass


@contextmanager
def burner(core: int) -> Iterator[None]:
    """Another process on the same core, until the block ends."""
    context = multiprocessing.get_context("spawn")
    started, end = context.Event(), context.Event()
    process = context.Process(target=_burn, args=(core, started, end), daemon=True)
    process.start()
    try:
        started.wait()
        yield
    finally:
        end.set()
        process.join()


def changeover(folder: Path, latency: LatencyModel, core: int, seed: int, clock: Clock) -> dict[str, Any]:
    """One slow-down and what followed."""
    device = Device(folder)
    draw = Random(seed)
    paths = dict.fromkeys(SPACE.sample(draw) for _ in range(200))
    slowest = latency.time(SPACE.base)
    pool = Pool(tuple(Candidate(p, latency.time(p), 0.9 * latency.time(p) / slowest) for p in (SPACE.base, *paths)))
    budget = 1.02 * slowest
    keeper = Keeper(pool, budget)
    device.sessions.change_to(keeper.running.path)
    modelled = clock is not time.perf_counter
    trace = [_frame(device, keeper, clock) for _ in range(60)]
    slowed = len(trace)
    with nullcontext() if modelled else burner(core):
        trace += [_frame(device, keeper, clock, SLOWER if modelled else 1.0) for _ in range(60)]
    trace += [_frame(device, keeper, clock) for _ in range(120)]
    changes = [number for number, one in enumerate(trace) if one["change_ms"] is not None]
    during = [number for number in changes if slowed <= number < slowed + 60]
    return {
        "slow_down": "modelled" if modelled else "measured",
        "budget_ms": 1e3 * budget,
        "slowed_at": slowed,
        "false_changes": sum(number < slowed for number in changes),
        "late_frames": sum(one["ms"] > 1.1e3 * budget for one in trace[slowed : during[0] + 1]) if during else None,
        "change_ms": [trace[number]["change_ms"] for number in changes],
        "loaded": [trace[number]["loaded"] for number in changes],
        "kept_budget_after": sum(one["ms"] <= 1.1e3 * budget for one in trace[slowed + 3 : slowed + 60]) / 57,
        "trace": trace,
    }


def _frame(device: Device, keeper: Keeper, clock: Clock, slower: float = 1.0) -> dict[str, Any]:
    """One frame, and the change-over that it asked for, this one on the wall clock."""
    begin = clock()
    running = keeper.running
    device.look(running.path)
    took = slower * (clock() - begin)
    found = {"ms": 1e3 * took, "change_ms": None, "loaded": None}
    begin = time.perf_counter()
    if (change := keeper.frame(took)) is not None and change.to.path != running.path:
        found["loaded"] = len(device.sessions.change_to(change.to.path).loaded)
        device.look(change.to.path)
        found["change_ms"] = 1e3 * (time.perf_counter() - begin)
    return found


def plot(run: dict[str, Any], path: Path) -> None:
    """Time of each frame, the budget, and where the path changed."""
    figure = new_figure(7.5, 3.2, LIGHT)
    axes = figure.add_subplot()
    trace = run["trace"]
    axes.axvspan(run["slowed_at"], run["slowed_at"] + 60, color=LIGHT.band)
    axes.plot([one["ms"] for one in trace], color=LIGHT.mutual, lw=1.2)
    axes.axhline(run["budget_ms"], color=LIGHT.muted, lw=0.8, ls=":")
    for number, one in enumerate(trace):
        if one["change_ms"] is not None:
            axes.axvline(number + 0.5, color=LIGHT.alarm, lw=1.0)
    axes.set(xlabel="frame", ylabel="ms", ylim=(0, None))
    dress(axes, LIGHT)
    marks = [
        Mark(text="time of a frame", colour="mutual", shape="line"),
        Mark(text="change-over", colour="alarm", shape="line"),
        Mark(text="budget", colour="muted", shape="dotted"),
        Mark(text=f"device {SLOWER:g} times slower", colour="band"),
    ]
    legend(figure, marks, LIGHT, columns=4)
    save_png(figure, path)


def table(document: dict[str, Any]) -> str:
    """For people."""
    latency, reuse = document["latency"], document["reuse"]
    lines = [
        f"latency (measured): base model {latency['base_ms']:.2f} ms = {latency['offset_ms']:.2f} ms + "
        f"{latency['scale']:.3f} x sum; error on {latency['paths']} other paths p50 {latency['p50']:.1%}, "
        f"p95 {latency['p95']:.1%}, worst {latency['worst']:.1%}",
        f"reuse (measured): {reuse['paths']} paths {reuse['measured']:.2f} times faster, {reuse['work_saved']:.2f} "
        f"times less work by the table, {'the same' if reuse['same_to_the_bit'] else 'NOT the same'} to the bit",
    ]
    runs = document["changeovers"]
    took = [ms for run in runs for ms in run["change_ms"]]
    late = ["no change" if run["late_frames"] is None else str(run["late_frames"]) for run in runs]
    kept = statistics.fmean(run["kept_budget_after"] for run in runs)
    lines.append(
        f"change-over: {len(runs)} times {SLOWER:g} times slower ({runs[0]['slow_down']}); new path after "
        f"{', '.join(late)} late frames; {len(took)} changes in {statistics.median(took):.0f} ms, at most "
        f"{max(took):.0f} ms; {kept:.0%} of the slow frames after it within 1.1 of the budget; "
        f"{sum(run['false_changes'] for run in runs)} changes before it"
    )
    return "\n".join(lines)


def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds and one change-over")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--repeats", type=int, default=5, help="change-overs")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine: seconds of CPU")
    parser.add_argument("--out", type=Path, default=Path("runs/elastic-changeover"), help="folder of the plot")
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    rounds, others, repeats = (5, 10, 1) if options.quick else (30, 40, options.repeats)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for branch in SPACE.branches:
            save_block(folder, branch)
        device = Device(folder)
        model, figures = latency_of(device, rounds, others, clock)
        document = {
            "latency": figures,
            "reuse": reuse_of(device, model, 1 if options.quick else 5, clock),
            "changeovers": [changeover(folder, model, core, seed, clock) for seed in range(repeats)],
        }
    plot(document["changeovers"][0], options.out / "changeover.png")
    print(json_text(document) if options.json else table(document))


if __name__ == "__main__":
    main()
