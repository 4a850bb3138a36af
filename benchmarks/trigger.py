"""How well a terminal judges itself without labels: its signals against its true accuracy.

    python benchmarks/trigger.py [--quick] [--json]

Each shipped terminal detector looks at several places under each kind of drift at two strengths, and by day. Truth:
mAP@0.50 on later frames of the same scene. The estimate is what `evolve` makes of it: the terminal's accuracy by day
times the share that seems left. A terminal that does not ask for evolution saves its upload.
"""

import argparse
import statistics
from typing import Any

import numpy as np
import torch

from nestevo_hw.base.documents import json_text
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.evolution.trigger import TriggerConfig, sense_accuracy
from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.streams.rendered.synthetic import CLASSES, SyntheticStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.task import headline
from nestevo_hw.wire.signals import remaining_accuracy

TASK = task_named("detection")
MODELS = ("fasterrcnn-tiny-m1", "fasterrcnn-tiny-m2", "fasterrcnn-tiny-m3")
PLACES = ("campus", "village", "downtown")
CONDITIONS = (("day", 0.0), *((kind, s) for kind in ("night", "fog", "rain", "defocus") for s in (0.3, 0.6)))


def measure(*, quick: bool) -> dict[str, Any]:
    """Signals, estimates and truths of every combination, and how they go together."""
    rows = [
        row
        for name in (MODELS[1:2] if quick else MODELS)
        for place in (PLACES[:2] if quick else PLACES)
        for row in _scenes(name, place, CONDITIONS[::3] if quick else CONDITIONS)
    ]
    true = np.array([row["true"] for row in rows])
    margin = TriggerConfig().margin
    calm = [row for row in rows if row["remains"] >= 1 - margin]
    return {
        "scenes": len(rows),
        "correlation": {
            name: float(np.corrcoef(true, [row[name] for row in rows])[0, 1])
            for name in ("agreement", "confidence", "estimate")
        },
        "mean_absolute_error": float(np.abs(true - [row["estimate"] for row in rows]).mean()),
        "bias": float((np.array([row["estimate"] for row in rows]) - true).mean()),
        "uploads_saved": len(calm) / len(rows),
        "lost_where_silent": statistics.fmean(row["by_day"] - row["true"] for row in calm) if calm else None,
        "lost_where_asking": statistics.fmean(r["by_day"] - r["true"] for r in rows if r["remains"] < 1 - margin),
        "rows": rows,
    }


def _scenes(name: str, place: str, conditions: tuple[tuple[str, float], ...]) -> list[dict[str, Any]]:
    """One model at one place under each condition, the first of which is the day."""
    model, rows = load_pretrained(name), []
    known, by_day = None, 0.0
    for kind, strength in conditions:
        segments = (DriftSegment(start=0, kind=kind, strength=strength),) if strength else ()
        seed = derive_seed(0, "trigger", place)
        stream = SyntheticStream(name=place, place=place, seed=seed, drift=DriftScript(segments=segments))
        recent, later = stream.read(range(0, 160, 5)), stream.read(range(200, 1800, 40))
        signals = sense_accuracy(TASK, model, recent.images, len(CLASSES))
        true = headline(TASK.score(TASK.predict(model, later.images), later.truth or (), len(CLASSES)))
        known, by_day = (signals, true) if known is None else (known, by_day)
        remains = remaining_accuracy(signals, known)
        rows.append({
            "model": name, "place": place, "kind": kind, "strength": strength, "true": true, "by_day": by_day,
            "agreement": signals.agreement, "confidence": signals.confidence, "remains": remains,
            "estimate": by_day * remains,
        })  # fmt: skip
    return rows


def main() -> None:
    """Measure, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one model, two places, three conditions")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(quick=options.quick)
    if options.json:
        print(json_text(found))
        return
    print(f"{found['scenes']} scenes; correlation with true mAP@0.50:")
    for name, value in found["correlation"].items():
        print(f"  {name:11} {value:.2f}")
    print(f"estimate: mean error {found['mean_absolute_error']:.3f}, bias {found['bias']:+.3f}")
    silent = "-" if found["lost_where_silent"] is None else f"{found['lost_where_silent']:.3f}"
    print(
        f"uploads saved {found['uploads_saved']:.0%}; lost against the day where silent {silent}, "
        f"where asking {found['lost_where_asking']:.3f}"
    )


if __name__ == "__main__":
    main()
