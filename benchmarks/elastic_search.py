"""Searches for the best path through a supernet under a latency budget, side by side on made-up networks.

    python benchmarks/elastic_search.py [--quick] [--json] [--seeds 10] [--blocks 12] [--budget 0.6] [--out DIR]

Everything is synthetic: no network is trained or run, so the figures compare searches, not networks. Each seed is a
network of its own, small enough to evaluate all of its paths:

- a block takes 1 to 3 ms, its shrunk forms less by their rate, a merged block 1.2 times the slowest that it replaces;
- a block matters by s ~ 0.01 LogNormal(0, 0.6); pruned at rate r it loses 4 s r^1.5, a merge loses 0.8 times the sum of
  s over its blocks, each times LogNormal(0, 0.2);
- losses do not add up: two changed branches with no more than one between them lose N(0, 0.5) times the geometric mean
  of their losses besides, and the whole loss L becomes L + 2 L^2.

"Gain" is accuracy above the uniformly pruned model of the same budget, as a share of the gain of the best path of all:
1 is what exhaustive search finds. Seconds are 64 frames of every path at its predicted time, beginnings that a batch of
paths shares counted once, and the strategy's own thinking as measured here. Every search may
use 5 % of the evaluations of the exhaustive one, or 120 s. Populations, temperatures and trust are tuned on five other
networks. Intervals are 95 % t-intervals over networks. "Saved" is how many times less work its shared beginnings made.
"""

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from nestevo_hw.base.documents import json_text
from nestevo_hw.base.stats import Estimate
from nestevo_hw.models.elastic.space import Branch, BranchPath, PathSpace, all_branches
from nestevo_hw.pages.style import LIGHT, Mark, dress, legend, new_figure, save_png
from nestevo_hw.terminals.elastic.latency import BranchTime, LatencyModel
from nestevo_hw.terminals.elastic.reuse import work
from nestevo_hw.terminals.elastic.search.additive import ADDITIVE, REFINED
from nestevo_hw.terminals.elastic.search.baselines import Annealing, exhaustive, random_paths, uniform_pruning
from nestevo_hw.terminals.elastic.search.evaluation import Evaluations
from nestevo_hw.terminals.elastic.search.evolution import ARTIFACT, NEARBY, PLAIN, Evolution
from nestevo_hw.terminals.elastic.search.problem import Problem, Strategy
from nestevo_hw.terminals.elastic.search.run import Limits, Outcome, search

FRAMES = 64
TUNED_ON = 5
GOAL = 0.95


@dataclass(frozen=True)
class World:
    """One made-up network and its budget."""

    problem: Problem
    losses: Mapping[Branch, float]
    pairs: Mapping[tuple[Branch, Branch], float]

    def accuracy(self, path: BranchPath) -> float:
        """Of a path, 0 to 1."""
        changed = [branch for branch in path if not branch.original]
        lost = sum(self.losses[branch] for branch in changed)
        for at, one in enumerate(changed):
            lost += sum(self.pairs.get((one, other), 0.0) for other in changed[at + 1 : at + 3])
        return max(0.0, 0.8 - lost - 2 * lost * abs(lost))


def made_up(seed: int, blocks: int, share: float) -> World:
    """The network of a seed, and a share of its base model's time as its budget."""
    draw = Random(seed)
    space = PathSpace(blocks, all_branches(blocks, taps=(blocks // 2,)))
    block_s = [draw.uniform(1e-3, 3e-3) for _ in range(blocks)]
    matters = [0.01 * draw.lognormvariate(0, 0.6) for _ in range(blocks)]
    times, losses = list[BranchTime](), dict[Branch, float]()
    for branch in space.branches:
        its = range(branch.start, branch.end)
        slowest = max(block_s[i] for i in its) * (1.2 if branch.span > 1 else 1 - branch.shrink)
        times.append(BranchTime(branch, slowest * draw.uniform(0.95, 1.05)))
        pruned, merged = 4 * matters[branch.start] * branch.shrink**1.5, 0.8 * sum(matters[i] for i in its)
        losses[branch] = (pruned if branch.span == 1 else merged) * draw.lognormvariate(0, 0.2)
    changed = [branch for branch in space.branches if not branch.original]
    near = [(a, b) for a in changed for b in changed if 0 <= b.start - a.end <= 1]
    pairs = {(a, b): draw.gauss(0, 0.5) * math.sqrt(losses[a] * losses[b]) for a, b in near}
    latency = LatencyModel(tuple(times), offset_s=2e-3)
    return World(Problem(space, latency, share * latency.time(space.base)), losses, pairs)


class Meter:
    """Evaluates paths of a world on a clock that adds modelled seconds of the terminal to measured thinking."""

    def __init__(self, world: World) -> None:
        self._world, self._modelled = world, 0.0
        self.alone_s = self.shared_s = 0.0
        """Of blocks, in all, for one frame."""

    def __call__(self) -> float:
        """Seconds so far."""
        return time.process_time() + self._modelled

    def measure(self, paths: Sequence[BranchPath]) -> list[float]:
        """Accuracies; what computing them takes here does not count."""
        begin = time.process_time()
        latency = self._world.problem.latency
        blocks = work(paths, latency)
        self.alone_s, self.shared_s = self.alone_s + blocks.alone_s, self.shared_s + blocks.shared_s
        accuracies = [self._world.accuracy(path) for path in paths]
        self._modelled += FRAMES * (blocks.shared_s + latency.offset_s * len(paths)) - (time.process_time() - begin)
        return accuracies


@dataclass(frozen=True)
class Known:
    """What all paths of a world come to."""

    world: World
    best: float
    uniform: float
    fitting: int

    def gain(self, accuracy: float) -> float:
        """Above the uniformly pruned model, as a share of the best path's."""
        return (accuracy - self.uniform) / (self.best - self.uniform)

    def limits(self, share: float) -> Limits:
        """So much of the evaluations of an exhaustive search."""
        return Limits(evaluations=max(1, round(share * self.fitting)))


def solved(world: World) -> Known:
    """The exhaustive optimum and the uniformly pruned model."""
    everything = _run(exhaustive, world, Limits(evaluations=1_000_000), 0)
    uniform = _run(uniform_pruning, world, Limits(), 0)
    if everything.best is None or uniform.best is None:
        raise SystemExit("no uniformly pruned model fits: choose a larger --budget")
    return Known(world, everything.best.accuracy, uniform.best.accuracy, len(everything.evaluated))


def _run(strategy: Strategy, world: World, limits: Limits, seed: int, meter: Meter | None = None) -> Outcome:
    meter = meter or Meter(world)
    return search(strategy, world.problem, Evaluations(meter.measure, clock=meter), limits, seed, clock=meter)


def below(strategy: Strategy) -> Strategy:
    """A strategy whose window ends at the budget: no evaluation is spent on what cannot be chosen."""
    return lambda problem, generator: strategy(replace(problem, above=0.0), generator)


def choices(name: str, evaluations: int) -> list[tuple[str, Strategy]]:
    """Settings of a strategy to choose from, by what to call them."""
    evolutions: dict[str, Evolution] = {"nearby": NEARBY, "nearby below": NEARBY, "artifact": ARTIFACT, "plain": PLAIN}
    if name in evolutions:
        sized = [(f"population {n}", replace(evolutions[name], population=n)) for n in (10, 20, 50)]
        return [(label, below(s) if name == "nearby below" else s) for label, s in sized]
    if name == "annealing":
        return [
            (f"{hot:g} to {hot / ratio:g} in {steps}", Annealing(hot, hot / ratio, steps))
            for hot in (0.1, 0.03, 0.01) for ratio in (10, 100) for steps in (evaluations // 3, evaluations)
        ]  # fmt: skip
    if name == "additive refined":
        return [(f"trust {trust:g}", replace(REFINED, trust=trust)) for trust in (1.0, 3.0)]
    return [("", below(random_paths) if name == "random" else ADDITIVE)]


NAMES = ("random", "plain", "annealing", "artifact", "nearby", "nearby below", "additive", "additive refined")
COLOURS = ("other", "choose", "alarm", "before", "mutual", "after", "teacher", "distil")


def tuned(name: str, worlds: Sequence[Known], share: float) -> tuple[str, Strategy]:
    """The settings with the best mean gain on some worlds."""

    def mean_gain(choice: tuple[str, Strategy]) -> float:
        found = [gain_at(known, _run(choice[1], known.world, known.limits(share), 77)) for known in worlds]
        return sum(found) / len(found)

    options = choices(name, sum(known.limits(share).evaluations for known in worlds) // len(worlds))
    return max(options, key=mean_gain) if len(options) > 1 else options[0]


def gain_at(known: Known, outcome: Outcome, *, evaluations: float = math.inf, seconds: float = math.inf) -> float:
    """Gain of the best path up to some moment of a search, 0 before any is better than the uniformly pruned model."""
    found = [b.found.accuracy for b in outcome.history if b.evaluations <= evaluations and b.seconds <= seconds]
    return max(0.0, known.gain(found[-1])) if found else 0.0


def until(known: Known, outcome: Outcome, gain: float) -> float:
    """Evaluations until a gain is reached; infinite if it is not."""
    reached = (b.evaluations for b in outcome.history if known.gain(b.found.accuracy) >= gain)
    return next(reached, math.inf)


def compare(worlds: Sequence[Known], tuning: Sequence[Known], share: float, seconds: float) -> list[dict[str, Any]]:
    """All strategies on all worlds: once to a share of the exhaustive evaluations, once to a number of seconds."""
    rows = []
    for name in NAMES:
        label, strategy = tuned(name, tuning, share)
        meters = [Meter(known.world) for known in worlds]
        by_count = [_run(strategy, k.world, k.limits(share), 1, meter) for k, meter in zip(worlds, meters, strict=True)]
        by_time = [_run(strategy, k.world, Limits(evaluations=k.fitting, seconds=seconds), 1) for k in worlds]
        pairs = list(zip(worlds, by_count, strict=True))
        in_time = [gain_at(*pair, seconds=seconds) for pair in zip(worlds, by_time, strict=True)]
        shares = [len(outcome.evaluated) / known.fitting for known, outcome in pairs]
        reached = sorted(until(known, outcome, GOAL) / known.fitting for known, outcome in pairs)
        rows.append({
            "strategy": name,
            "settings": label,
            "evaluations": Estimate.of(len(outcome.evaluated) for outcome in by_count).document(),
            "share_of_exhaustive": Estimate.of(shares).document(),
            "gain": Estimate.of(gain_at(*pair) for pair in pairs).document(),
            "reached_goal": sum(gain_at(*pair) >= GOAL for pair in pairs) / len(pairs),
            "median_share_to_goal": None if math.isinf(middle := reached[len(reached) // 2]) else middle,
            "seconds": Estimate.of(outcome.seconds for outcome in by_count).document(),
            "gain_at_seconds": Estimate.of(in_time).document(),
            "saved": Estimate.of(meter.alone_s / meter.shared_s for meter in meters).document(),
            "curve": curve(pairs, max(known.limits(share).evaluations for known in worlds)),
        })  # fmt: skip
    return rows


def curve(pairs: Sequence[tuple[Known, Outcome]], end: int) -> list[dict[str, Any]]:
    """Mean gain with its interval after 1, 2, 3, 5, .. up to `end` evaluations."""
    points = sorted({round(end ** (n / 24)) for n in range(25)})
    gains = [Estimate.of(gain_at(*pair, evaluations=at) for pair in pairs).document() for at in points]
    return [{"evaluations": at, **gain} for at, gain in zip(points, gains, strict=True)]


def reuse(worlds: Sequence[Known], population: int = 50) -> dict[str, Any]:
    """How many times less work drawn paths are whose beginnings are shared, in seconds of blocks."""
    saved = []
    for number, known in enumerate(worlds):
        generator = Random(number)
        drawn = (known.world.problem.window.draw(generator) for _ in range(100 * population))
        paths = list(dict.fromkeys(path for path in drawn if path is not None))[:population]
        saved.append(work(paths, known.world.problem.latency).saved)
    return {"population": population, "saved": Estimate.of(saved).document(), "least": min(saved), "most": max(saved)}


def plot(document: dict[str, Any], path: Path) -> None:
    """Gain over evaluations, with intervals."""
    figure = new_figure(7.5, 4.2, LIGHT)
    axes = figure.add_subplot()
    for row, colour in zip(document["strategies"], COLOURS, strict=True):
        at = [point["evaluations"] for point in row["curve"]]
        axes.plot(at, [point["mean"] for point in row["curve"]], color=getattr(LIGHT, colour), lw=1.8)
        bands = [point["ci95"] or [point["mean"]] * 2 for point in row["curve"]]
        axes.fill_between(at, *zip(*bands, strict=True), color=getattr(LIGHT, colour), alpha=0.10, lw=0)
    axes.axhline(GOAL, color=LIGHT.muted, lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="evaluations", ylabel="gain, 1 = best of all paths", ylim=(0, 1.02))
    axes.xaxis.set_major_formatter("{x:g}")
    dress(axes, LIGHT)
    marks = [Mark(text=name, colour=colour, shape="line") for name, colour in zip(NAMES, COLOURS, strict=True)]
    legend(figure, marks, LIGHT, columns=4)
    save_png(figure, path)


def table(document: dict[str, Any]) -> str:
    """For people."""
    lines = [
        f"{document['networks']} synthetic networks of {document['blocks']} blocks, of whose paths "
        f"{document['fitting']['mean']:.0f} keep to {document['budget']:g} of the base model's time",
        "gain: 0 uniformly pruned, 1 the best of all paths",
        f"{'strategy':17} {'gain':>20} {'>= 0.95':>8} {'evaluations':>11} {'of all':>7} {'0.95 after':>10} "
        f"{'seconds':>8} {'saved':>6} {'gain in ' + format(document['seconds'], '.0f') + ' s':>20}  settings",
    ]
    for row in document["strategies"]:
        to_goal = row["median_share_to_goal"]
        lines.append(
            f"{row['strategy']:17} {_text(row['gain']):>20} {row['reached_goal']:8.0%} "
            f"{row['evaluations']['mean']:11.0f} {row['share_of_exhaustive']['mean']:7.2%} "
            f"{'never' if to_goal is None else format(to_goal, '.2%'):>10} "
            f"{row['seconds']['mean']:8.0f} {row['saved']['mean']:6.2f} {_text(row['gain_at_seconds']):>20}  "
            f"{row['settings']}"
        )
    shared = document["reuse"]
    lines.append(
        f"sharing beginnings, population {shared['population']}: {_text(shared['saved'])} times less work "
        f"({shared['least']:.2f} to {shared['most']:.2f})"
    )
    return "\n".join(lines)


def _text(found: dict[str, Any]) -> str:
    low, high = found["ci95"] or (found["mean"], found["mean"])
    return f"{found['mean']:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Compare all searches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two networks of eight blocks")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seeds", type=int, default=10, help="networks")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--budget", type=float, default=0.6, help="share of the base model's time")
    parser.add_argument("--share", type=float, default=0.05, help="of the evaluations of an exhaustive search")
    parser.add_argument("--seconds", type=float, default=120.0, help="of a search, modelled and thought")
    parser.add_argument("--out", type=Path, default=Path("runs/elastic-search"), help="folder of the plot")
    options = parser.parse_args()
    seeds, blocks, tuning = (2, 8, 1) if options.quick else (options.seeds, options.blocks, TUNED_ON)
    budget = 0.7 if options.quick else options.budget
    worlds = [solved(made_up(seed, blocks, budget)) for seed in range(seeds)]
    others = [solved(made_up(1000 + seed, blocks, budget)) for seed in range(tuning)]
    document = {
        "networks": seeds, "blocks": blocks, "budget": budget, "share": options.share, "seconds": options.seconds,
        "fitting": Estimate.of(known.fitting for known in worlds).document(),
        "strategies": compare(worlds, others, options.share, options.seconds),
        "reuse": reuse(worlds),
    }  # fmt: skip
    plot(document, options.out / "gain.png")
    print(json_text(document) if options.json else table(document))


if __name__ == "__main__":
    main()
