"""What a window costs the driver as terminals and windows grow: its own time, its memory, and the queue it fills.

    python benchmarks/evolution_scale.py [--quick] [--json]

Everything of the driver is real: loop, journal, predictions, scheduling decisions, files of results. The tasks
themselves are SIMULATED (`nestevo_hw.testing.simulated`): each returns at once what its like returned in a measured
run, and its duration on the simulated clock is a typical one, measured on one core with the embedded default. Training
a hundred terminals for this figure would be absurd.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import json_text
from nestevo_hw.evolution.config import RunConfig, load_preset, parse_config
from nestevo_hw.streams.rendered.place import KNOWN_STYLES
from nestevo_hw.testing.simulated import SimulatedExecutor, drive

TERMINALS = (3, 10, 30, 100)


def many_terminals(count: int, windows: int) -> RunConfig:
    """The embedded default with more terminals."""
    document = load_preset("quick").document()
    places = tuple(KNOWN_STYLES)
    kinds = ("fasterrcnn-tiny-m1", "fasterrcnn-tiny-m2", "fasterrcnn-tiny-m3")
    document["terminals"] = [
        {"name": f"t{k}", "model": kinds[k % 3], "place": places[k % len(places)]} for k in range(count)
    ]
    document["window"]["count"] = windows
    document["execution"]["keep_windows"] = 2
    return parse_config(document, source="benchmark")


def measure(count: int, windows: int) -> dict[str, Any]:
    """Driver's time, and the simulated clock's, a window."""
    with tempfile.TemporaryDirectory() as folder:
        executor = SimulatedExecutor()
        began = time.perf_counter()
        drive(many_terminals(count, windows), Path(folder), executor)
        driver_s = (time.perf_counter() - began) / windows
        return {
            "terminals": count,
            "windows": windows,
            "driver_s_per_window": driver_s,
            "simulated_s_per_window": executor.now_s / windows,
            "driver_share": driver_s / (executor.now_s / windows),
            "workers_busy": executor.busy_s / (executor.workers * executor.now_s),
        }


def memory_growth(windows: int) -> dict[str, Any]:
    """Largest resident set of the driver after a few windows and after many, three terminals."""
    found = {}
    for count in (windows // 10, windows):
        with tempfile.TemporaryDirectory() as folder:
            drive(many_terminals(3, count), Path(folder), SimulatedExecutor())
        found[count] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    few, many = found.values()
    return {"windows": list(found), "largest_bytes": [few, many], "grown_bytes_per_window": (many - few) / windows}


def main() -> None:
    """Measure, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 and 30 terminals, 20 windows")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    growth = memory_growth(20 if options.quick else 300)
    sizes = (3, 30) if options.quick else TERMINALS
    points = [measure(count, 2 if options.quick else 5) for count in sizes]
    document = {"tasks": "simulated", "workers": SimulatedExecutor.workers, "points": points, "memory": growth}
    if options.json:
        print(json_text(document))
        return
    print(f"tasks simulated, {SimulatedExecutor.workers} workers; the driver's own time is measured")
    print(
        f"{'terminals':>9} {'driver s/window':>16} {'tasks s/window (simulated)':>27} {'driver share':>13} {'busy':>6}"
    )
    for p in points:
        print(
            f"{p['terminals']:9d} {p['driver_s_per_window']:16.3f} {p['simulated_s_per_window']:27.1f} "
            f"{p['driver_share']:13.2%} {p['workers_busy']:6.0%}"
        )
    few, many = growth["windows"]
    print(
        f"driver's largest resident set after {few} windows {growth['largest_bytes'][0] / 1e6:.0f} MB, after {many} "
        f"{growth['largest_bytes'][1] / 1e6:.0f} MB ({growth['grown_bytes_per_window'] / 1e3:.1f} kB a window)"
    )


if __name__ == "__main__":
    main()
