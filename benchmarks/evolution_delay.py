"""How much sooner terminals get their better model with crossbar, scheduling and compression than without.

    python benchmarks/evolution_delay.py [--quick] [--json] [--repeats 3]

The embedded default in one window, once with all three and once with a digital teacher, tasks one after another (B2)
and without compression; then with each of the three alone. Training, waiting and a digital teacher's labels are
MEASURED on this machine; communication and the crossbar's labelling and programming are MODELLED from published
figures. The paper reports 51.98 % less.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import json_text
from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.run import evolve

GOAL, PAPER = 0.55, 0.5198
DIGITAL = {"teacher.analog": "digital"}
SERIAL = {"execution.policy": "serial"}
COMPRESSED = {"compression.enabled": True}
VARIANTS: dict[str, dict[str, Any]] = {
    "all three": COMPRESSED,
    "none": DIGITAL | SERIAL,
    "crossbar only": SERIAL,
    "scheduling only": DIGITAL,
    "compression only": DIGITAL | SERIAL | COMPRESSED,
}


def measure(repeats: int, *, quick: bool) -> dict[str, Any]:
    """Mean delay and its parts for each variant, repeats interleaved."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    common: dict[str, Any] = {"window.count": 1, "drift.gamma": 0.0, "trigger.mode": "off"}
    if quick:
        common |= {"mutual.plan.steps": 4, "distil.plan.steps": 4, "reference.frames_per_segment": 6}
    for seed in range(repeats):
        for name, changes in VARIANTS.items():
            with tempfile.TemporaryDirectory() as folder:
                config = override(load_preset("quick"), {**common, **changes, "seed": seed})
                found[name].append(evolve(config, Path(folder) / "run")["delay_s"])
    means = {name: statistics.fmean(d["mean"] for d in delays) for name, delays in found.items()}
    return {
        "repeats": repeats,
        "variants": [
            {
                "name": name,
                "delay_s": means[name],
                "less": 1 - means[name] / means["none"],
                "parts": {p: statistics.fmean(d["parts"][p] for d in delays) for p in delays[0]["parts"]},
            }
            for name, delays in found.items()
        ],
        "goal": GOAL,
        "paper": PAPER,
    }


def main() -> None:
    """Measure, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one repeat, few optimiser steps")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each variant (3)")
    options = parser.parse_args()
    document = measure(1 if options.quick else options.repeats, quick=options.quick)
    if options.json:
        print(json_text(document))
        return
    parts = list(document["variants"][0]["parts"])
    print(f"{'variant':17} {'delay s':>8} {'less':>7} " + " ".join(f"{p.removesuffix('_s'):>13}" for p in parts))
    for v in document["variants"]:
        cells = " ".join(f"{v['parts'][p]:13.1f}" for p in parts)
        print(f"{v['name']:17} {v['delay_s']:8.1f} {v['less']:7.1%} {cells}")
    print(f"goal: all three at least {GOAL:.0%} less than none; the paper reports {PAPER:.2%}")


if __name__ == "__main__":
    main()
