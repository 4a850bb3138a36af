"""How much sooner terminals get their better model with crossbar, scheduling and compression than without.

    python benchmarks/evolution_delay.py [--quick] [--json] [--repeats 3] [--preset NAME | --config FILE]

One window of a configuration, once with all three and once with a digital teacher, tasks one after another (B2) and
without compression; then with each of the three alone. Without --preset or --config it is the embedded default; the
paper's scale is `--preset paper-embedded`, on a GPU, after `nestevo-hw pretrain` as that preset says. Training, waiting
and a digital teacher's labels are MEASURED on this machine; communication and the crossbar's labelling and programming
are MODELLED from published figures; the table says which part is which. The paper reports 51.98 % less.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import json_text
from nestevo_hw.base.errors import NestEvoError
from nestevo_hw.evolution.config import RunConfig, load_config, load_preset, override
from nestevo_hw.evolution.presets import PRESETS
from nestevo_hw.evolution.run import checked, evolve

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


def measure(
    config: RunConfig, repeats: int, *, quick: bool, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Mean delay and its parts for each variant, repeats interleaved.

    Args:
        config: what is run, but for its number of windows, triggers and drift threshold.
        repeats: runs of each variant.
        quick: few optimiser steps.
        tell: told of each run before it begins.

    Raises:
        NestEvoError: the configuration cannot be run here.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    common: dict[str, Any] = {"window.count": 1, "drift.gamma": 0.0, "trigger.mode": "off"}
    if quick:
        common |= {"mutual.plan.steps": 4, "distil.plan.steps": 4, "reference.frames_per_segment": 6}
    for seed in range(repeats):
        for name, changes in VARIANTS.items():
            tell(f"{name}, run {seed + 1} of {repeats}")
            with tempfile.TemporaryDirectory() as folder:
                variant = override(config, {**common, **changes, "seed": seed})
                found[name].append(evolve(variant, Path(folder) / "run"))
    delays = {name: [run["delay_s"] for run in runs] for name, runs in found.items()}
    means = {name: statistics.fmean(d["mean"] for d in own) for name, own in delays.items()}
    return {
        "repeats": repeats,
        "device": config.execution.device,
        "frame_size": list(config.frame_size),
        "terminals": len(config.terminals),
        "variants": [
            {
                "name": name,
                "delay_s": means[name],
                "less": 1 - means[name] / means["none"],
                "parts": {p: statistics.fmean(d["parts"][p] for d in own) for p in own[0]["parts"]},
                "origins": own[0]["origins"],
            }
            for name, own in delays.items()
        ],
        "goal": GOAL,
        "paper": PAPER,
    }


def show(document: dict[str, Any]) -> None:
    """Tables of the delay, and of which part of it was measured."""
    height, width = document["frame_size"]
    print(f"{document['terminals']} terminals, frames of {height} x {width}, device {document['device']}")
    parts = list(document["variants"][0]["parts"])
    heading = " ".join(f"{p.removesuffix('_s'):>16}" for p in parts)
    print(f"{'variant':17} {'delay s':>8} {'less':>7} {heading}")
    for v in document["variants"]:
        cells = " ".join(f"{v['parts'][p]:16.1f}" for p in parts)
        print(f"{v['name']:17} {v['delay_s']:8.1f} {v['less']:7.1%} {cells}")
    for v in document["variants"]:
        print(f"{v['name']:17} {'':8} {'':7} " + " ".join(f"{v['origins'].get(p, '-'):>16}" for p in parts))
    print(f"goal: all three at least {GOAL:.0%} less than none; the paper reports {PAPER:.2%}")


def main() -> None:
    """Measure, and print tables or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one repeat, few optimiser steps")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each variant (3)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--preset", choices=sorted(PRESETS), default="quick", help="what is run (quick)")
    source.add_argument("--config", type=Path, help="a configuration file in its place")
    options = parser.parse_args()
    try:
        config = load_config(options.config) if options.config else load_preset(options.preset)
        checked(config)  # before anything takes its time
        document = measure(config, 1 if options.quick else options.repeats, quick=options.quick,
                           tell=lambda line: print(line, file=sys.stderr, flush=True))  # fmt: skip
    except NestEvoError as error:
        sys.exit(f"Error: {error}")
    if options.json:
        print(json_text(document))
        return
    show(document)


if __name__ == "__main__":
    main()
