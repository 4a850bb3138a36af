"""When to program the teacher again: policies side by side over the life of one teacher on a simulated crossbar.

    python benchmarks/refresh_policy.py [--quick] [--json] [--seeds 5] [--analog pcm --analog hermes ...] [--out DIR]

Nothing is trained. A teacher is programmed, ages, and is scored at the windows of three lives: every ten minutes for a
day, daily for 90 days, weekly for a year. Label quality is its mAP@0.50 with the scene's BatchNorm statistics, as it
labels in `nestevo-hw evolve`: on frames by night, in fog and in rain (mean of the three), and on in-domain frames.
Policies see what `evolve` shows them: the score on other in-domain frames, against labels or against the digital twin.
The net gain takes labels as worthless while they wait for a programming. Intervals are 95 % t-intervals over seeds;
differences are paired by seed.

Scores come from `teacher_ages.py` and are kept in --out, so a stopped benchmark goes on where it was. Ages are rounded
to steps of 50 %, and a life of more than four programmings goes through these again. Programming time, energy and wear
are modelled from a chip's published figures.
"""

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from teacher_ages import DELAY_S, DEVICES, Cells, Scores, mean_of, text_of

from nestevo_hw.base.documents import json_text
from nestevo_hw.crossbar.devices import DAY_S
from nestevo_hw.evolution.refresh import (
    YEAR_S,
    Condition,
    Every,
    Never,
    RefreshConfig,
    RefreshPolicy,
    Threshold,
    refresh_policy,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """Windows of one teacher."""

    name: str
    windows: int
    interval_s: float


LIVES = (
    Life(name="a day, every 10 minutes", windows=144, interval_s=600.0),
    Life(name="90 days, daily", windows=90, interval_s=DAY_S),
    Life(name="a year, weekly", windows=52, interval_s=7 * DAY_S),
)
QUICK = Life(name="3 hours, hourly", windows=3, interval_s=3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A policy and the score it sees."""

    name: str
    policy: RefreshPolicy
    signal: str = "labels"
    """labels or twin."""


def candidates(life: Life) -> list[Candidate]:
    """Policies to compare; the fixed periods are counted in windows, so that each life has its own."""
    found = [
        Candidate(name="never", policy=Never()),
        Candidate(name="always", policy=Every(period_s=0.0)),
        *(Candidate(name=f"every {n} windows", policy=Every(period_s=n * life.interval_s)) for n in (3, 10)),
    ]
    for margin, signal in ((0.02, "labels"), (0.05, "labels"), (0.05, "twin")):
        name = f"threshold {margin:g}, {signal}"
        found.append(Candidate(name=name, policy=Threshold(margin=margin), signal=signal))
    return [*found, Candidate(name="cost-aware", policy=refresh_policy(RefreshConfig(policy="cost-aware")))]


def live(life: Life, candidate: Candidate, cells: Cells) -> dict[str, float]:
    """One teacher's life under one policy: mean scores and what its programmings came to."""
    programmings, programmed_s = 1, -DELAY_S
    seen: list[Scores] = []
    net: list[float] = []
    for window in range(life.windows):
        now_s = window * life.interval_s
        condition = Condition(
            age_s=now_s - programmed_s,
            score=cells.scores(programmings - 1, now_s - programmed_s)[candidate.signal],
            fresh_score=cells.scores(programmings - 1, DELAY_S)[candidate.signal],
            interval_s=life.interval_s,
            in_service_s=now_s + DELAY_S,
            programmings=programmings,
            programming=cells.cost,
        )
        again = window > 0 and candidate.policy.decide(condition).refresh
        if again:
            programmings, programmed_s = programmings + 1, now_s - DELAY_S
        seen.append(cells.scores(programmings - 1, now_s - programmed_s))
        waiting = min(cells.cost.time_s / life.interval_s, 1.0) if again else 0.0
        net.append(seen[-1]["drifted"] * (1.0 - waiting))
    years = life.windows * life.interval_s / YEAR_S
    return {
        "drifted": statistics.fmean(s["drifted"] for s in seen),
        "net": statistics.fmean(net),
        "in_domain": statistics.fmean(s["in_domain"] for s in seen),
        "worst_drifted": min(s["drifted"] for s in seen),
        "programmings": programmings,
        "time_s": programmings * cells.cost.time_s,
        "energy_j": programmings * cells.cost.energy_j,
        "wear": programmings * cells.cost.wear,
        "lifetime_years": years / (programmings * cells.cost.wear),
    }


def compare(life: Life, runs: list[Cells]) -> dict[str, Any]:
    """All policies on one device over one life, one run a seed."""
    by_name = {c.name: [live(life, c, cells) for cells in runs] for c in candidates(life)}
    rows = []
    for name, lives in by_name.items():
        row: dict[str, Any] = {"policy": name}
        for key in lives[0]:
            row[key] = mean_of([one[key] for one in lives])
        gains = [a["net"] - b["net"] for a, b in zip(lives, by_name["never"], strict=True)]
        row["net_minus_never"] = mean_of(gains)
        rows.append(row)
    return {"analog": runs[0].device, "life": life.name, "windows": life.windows, "policies": rows}


def _table(document: dict[str, Any]) -> Iterator[str]:
    for found in document["comparisons"]:
        yield f"\n{found['analog']}, {found['life']}: {found['windows']} windows (accuracies simulated, costs modelled)"
        yield (
            f"{'policy':24} {'drifted scenes':>22} {'gain over never':>22} {'in-domain':>9} {'worst':>6} "
            f"{'programmed':>10} {'time':>8} {'energy':>9} {'wear':>8} {'cells last':>10}"
        )
        for row in found["policies"]:
            yield (
                f"{row['policy']:24} {text_of(row['drifted']):>22} {text_of(row['net_minus_never']):>23} "
                f"{row['in_domain']['mean']:9.3f} {row['worst_drifted']['mean']:6.3f} "
                f"{row['programmings']['mean']:10.1f} {row['time_s']['mean']:6.1f} s {row['energy_j']['mean']:7.2g} J "
                f"{row['wear']['mean']:8.1e} {row['lifetime_years']['mean']:8.0f} y"
            )


def main() -> None:
    """Measure what is missing, and print all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one device, two seeds, few frames, three windows")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--analog", action="append", choices=DEVICES, help="may be repeated; default: all three")
    parser.add_argument("--frames", type=int, default=40, help="frames a scene to score on")
    parser.add_argument("--out", type=Path, default=Path("runs/refresh"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    devices = options.analog or (DEVICES[:1] if options.quick else DEVICES)
    seeds, frames = (range(2), 2) if options.quick else (range(options.seeds), options.frames)
    document: dict[str, Any] = {"seeds": list(seeds), "frames": frames, "programming": {}, "comparisons": []}
    for device in devices:
        runs = [Cells(device, seed, frames, options.out) for seed in seeds]
        document["programming"][device] = asdict(runs[0].cost)
        document["comparisons"] += [compare(life, runs) for life in ((QUICK,) if options.quick else LIVES)]
    print(json_text(document) if options.json else "\n".join(_table(document)))


if __name__ == "__main__":
    main()
