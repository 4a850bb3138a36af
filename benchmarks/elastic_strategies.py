"""Searches for the best path of a supernet side by side, on accuracies that are measured: nothing is made up.

    python benchmarks/elastic_strategies.py FOLDER [--json] [--frames 32] [--file FILE] [--evaluations 100] [--seeds 3]
                                            [--budget 0.6] [--strategies refined,evolution,nearby,random] [--out DIR]

FOLDER is one of `nestevo-hw elastic build`. All searches have the same latency table, in seconds of the CPU, the same
frames and as many evaluations; a path that one has measured is known to all, and to the next call with the same --out.
Reported is the best path's accuracy after some of the evaluations, the mean over seeds, and what the best ones come to
on the other frames of the file, where no search can have been lucky.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from nestevo_hw import __version__
from nestevo_hw.base.documents import plain, read_json, write_json
from nestevo_hw.base.jsonlines import Journal
from nestevo_hw.models.onnx.manifest import sha256
from nestevo_hw.terminals.elastic.edge import Accuracies, EdgeFrames, Timing, time_blocks
from nestevo_hw.terminals.elastic.network import Network
from nestevo_hw.terminals.elastic.search.evaluation import Evaluated, Evaluations
from nestevo_hw.terminals.elastic.search.problem import Problem
from nestevo_hw.terminals.elastic.search.run import Limits, Outcome, search
from nestevo_hw.terminals.elastic.search.strategies import STRATEGIES

STOPS = (10, 25, 50, 75, 100, 150, 200)
UNSEEN = 100
"""Frames on which the chosen paths are compared."""


def best_after(outcome: Outcome, evaluations: int) -> float:
    """Accuracy of the best path that fits after so many evaluations; 0 before any."""
    return max((one.found.accuracy for one in outcome.history if one.evaluations <= evaluations), default=0.0)


def timed(network: Network, file: Path) -> Timing:
    """The latency table, measured once."""
    if not file.is_file():
        write_json(file, plain(time_blocks(network, 0, clock=time.thread_time)))
    return read_json(file, Timing, advice="delete it")


def row(name: str, outcomes: Sequence[Outcome], unseen: Evaluations, stops: Sequence[int]) -> dict[str, object]:
    """What a strategy came to on all seeds."""
    chosen = [outcome.best for outcome in outcomes if outcome.best is not None]
    there = [one.accuracy for one in unseen.of([one.path for one in chosen])]
    return {
        "strategy": name,
        "evaluations": [len(outcome.evaluated) for outcome in outcomes],
        "best": {stop: sum(best_after(one, stop) for one in outcomes) / len(outcomes) for stop in stops},
        "each": [one.accuracy for one in chosen],
        "unseen": there,
    }


def main() -> None:
    """Run all searches on one supernet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--file", type=Path, help="labelled frames; default: the held-out ones of the build")
    parser.add_argument("--frames", type=int, default=32, help="of them to measure accuracies on")
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=0.6, help="share of the base's time")
    parser.add_argument("--strategies", default="refined,evolution,nearby,random")
    parser.add_argument("--out", type=Path, default=Path("runs/elastic-strategies"))
    options = parser.parse_args()
    network = Network(options.folder / "parts")
    file = options.file or options.folder / "held-out.safetensors"
    frames, others = EdgeFrames.read(file).parted(options.frames)
    identity = {"parts": network.parts.sha256, "frames": sha256(file), "count": options.frames, "version": __version__}
    evaluations, unseen = (
        Evaluations(Accuracies(network, some), Journal(options.out / f"{name}.jsonl", Evaluated, identity,
                                                       holds="evaluations", resume=True))
        for name, some in (("searched", frames), ("unseen", others.parted(UNSEEN)[0]))
    )  # fmt: skip
    latency = timed(network, options.out / "timing.json").model
    problem = Problem(network.parts.space, latency, options.budget * latency.time(network.parts.space.base))
    stops = [stop for stop in STOPS if stop < options.evaluations] + [options.evaluations]
    rows = []
    for name in options.strategies.split(","):
        limits = Limits(evaluations=options.evaluations)
        outcomes = [search(STRATEGIES[name], problem, evaluations, limits, seed) for seed in range(options.seeds)]
        rows.append(row(name, outcomes, unseen, stops))
        if not options.json:
            print(rows[-1], flush=True)
    if options.json:
        print(json.dumps({"known": len(evaluations.known), "budget": options.budget, "strategies": rows}))


if __name__ == "__main__":
    main()
