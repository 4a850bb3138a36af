"""Does co-evolution pay? NestEvo against distilling from the unchanged teacher (A4), same seeds, frames and steps.

    python benchmarks/evolution_gain.py [--quick] [--json] [--seeds 3] [--out runs/gain]

Accuracies are mAP@0.50 on frames nobody learned from, with a simulated crossbar, on the embedded streams. Intervals are
95 % t-intervals over seeds.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch

from nestevo_hw.config import load_preset, override
from nestevo_hw.evolution.run import evolve

METHODS = ("NestEvo", "A4")
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Student's t at 97.5 %, by degrees of freedom."""


def main() -> None:
    """Run all methods and seeds, and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, one window")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/gain"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(1 if options.quick else options.seeds)
    runs = {m: [_run(m, seed, options.out, quick=options.quick) for seed in seeds] for m in METHODS}
    document: dict[str, Any] = {
        "seeds": list(seeds),
        "methods": [_summary(m, found) for m, found in runs.items()],
        "nestevo_minus_a4": _difference(*(runs[m] for m in METHODS)),
    }
    print(json.dumps(document, indent=2) if options.json else _table(document))


def _run(method: str, seed: int, out: Path, *, quick: bool) -> dict[str, Any]:
    """One run, or what is left to do of it."""
    changes: dict[str, Any] = {"method": method, "seed": seed}
    if quick:
        changes |= {"window.count": 1}
    folder = out / f"{method}-{seed}{'-quick' if quick else ''}"
    return evolve(override(load_preset("quick"), changes), folder, resume=(folder / "run.json").exists())


def _summary(method: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    before = [statistics.mean(t["before"] for t in r["terminals"]) for r in runs]
    after = [statistics.mean(t["after"] for t in r["terminals"]) for r in runs]
    teachers = [r["teacher"] for r in runs]
    return {
        "name": method,
        "terminals": {
            "before": statistics.mean(before),
            "after": statistics.mean(after),
            "ci95": _interval(after),
        },
        "gain_relative": statistics.mean(after) / statistics.mean(before) - 1,
        "teacher": {
            stage: statistics.mean(t[stage] for t in teachers) if all(t[stage] is not None for t in teachers) else None
            for stage in ("before", "after")
        },
        "delay_s": statistics.mean(r["delay_s"]["mean"] for r in runs),
        "wall_s": statistics.mean(r["wall_s"] for r in runs),
    }


def _difference(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """Terminals' mean accuracy after evolving, paired by seed."""
    pairs = zip(ours, theirs, strict=True)
    apart = [
        statistics.mean(t["after"] for t in a["terminals"]) - statistics.mean(t["after"] for t in b["terminals"])
        for a, b in pairs
    ]
    return {"mean": statistics.mean(apart), "ci95": _interval(apart), "by_seed": apart}


def _interval(values: list[float]) -> list[float] | None:
    if len(values) < 2:
        return None
    mean, half = statistics.mean(values), T_975[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
    return [mean - half, mean + half]


def _table(document: dict[str, Any]) -> str:
    lines = [
        f"{'method':8} {'before':>7} {'after':>7} {'95 % interval':>16} {'gain':>7} {'teacher':>15} {'delay s':>8}"
    ]
    for m in document["methods"]:
        terminals, teacher = m["terminals"], m["teacher"]
        interval = "[{:.3f}, {:.3f}]".format(*terminals["ci95"]) if terminals["ci95"] else "one seed"
        change = f"{teacher['before']:.3f} -> " + (
            "unchanged" if teacher["after"] is None else f"{teacher['after']:.3f}"
        )
        lines.append(
            f"{m['name']:8} {terminals['before']:7.3f} {terminals['after']:7.3f} {interval:>16} "
            f"{m['gain_relative']:+7.1%} {change:>15} {m['delay_s']:8.1f}"
        )
    apart = document["nestevo_minus_a4"]
    interval = "[{:.3f}, {:.3f}]".format(*apart["ci95"]) if apart["ci95"] else "one seed"
    lines.append(f"NestEvo - A4, paired by seed: {apart['mean']:+.3f} {interval}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
