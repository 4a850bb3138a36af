"""How far off is the learned profile? Memory and time of training tasks on architectures held out of training.

    python benchmarks/profiler_error.py [--quick] [--json] [--samples runs/profile] [--cross] [--families]

Reads the samples that `nestevo-hw profile` has measured into the folder, or measures them first. Goals: memory within
5 % on average and more than 5 % too low for at most 1 % of the tasks, time within 7 % of the median of repeated runs,
90 % intervals that hold 85 to 95 %, one prediction in less than 5 ms. `--families` also leaves out whole families of
architectures, which is harder than any goal.
"""

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from nestevo_hw.base.documents import json_text
from nestevo_hw.profiler.model import ProfileModel, architecture_folds
from nestevo_hw.profiler.rates import DeviceFigures
from nestevo_hw.profiler.samples import Sample
from nestevo_hw.studies.profile.collect import SAMPLES, Collection, SampleFile, collect, read_samples
from nestevo_hw.studies.profile.evaluation import THREE_LAYERS, evaluate
from nestevo_hw.studies.profile.output import document_of, learn_and_judge

PREDICTION_GOAL_S = 5e-3
CROSS_FOLDS = 5


def main() -> None:
    """Measure what is missing, learn, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="24 samples to learn from and 8 to judge by, timed once")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--samples", type=Path, help="folder of a profile  [default: runs/profile, quick runs/profile-quick]"
    )
    parser.add_argument("--families", action="store_true", help="also hold out each family of architectures whole")
    parser.add_argument(
        "--cross", action="store_true", help="also judge every sample by a model of other architectures"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.samples or Path("runs/profile-quick" if options.quick else "runs/profile")
    if not (folder / SAMPLES).is_file():
        plan = Collection(samples=24, held_out=8, passes=1) if options.quick else Collection()
        collect(plan, SampleFile(folder, plan.seed, resume=False))
    machine, samples = read_samples(folder)
    model, found = learn_and_judge(samples, machine)
    document = document_of(model, found)
    document["prediction_s"] = _prediction_s(model, samples)
    document["goals"]["prediction_s"] = document["prediction_s"] < PREDICTION_GOAL_S
    if options.families:
        document["families"] = _families(samples, machine, DeviceFigures(**model.about["device"]))
    if options.cross:
        document["cross"] = _crossed(samples, machine, DeviceFigures(**model.about["device"]))
    print(json_text(document) if options.json else _table(document))


def _prediction_s(model: ProfileModel, samples: list[Sample]) -> float:
    """Median time of one prediction."""
    times = []
    for sample in samples[:100]:
        task = sample.task
        began = time.perf_counter()
        model.predict(task)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _crossed(samples: list[Sample], machine: dict[str, Any], device: DeviceFigures) -> dict[str, float]:
    """Figures over all samples, each predicted by one of five models that have not seen its architecture."""
    total: dict[str, float] = {}
    for known, left in architecture_folds(samples, CROSS_FOLDS):
        learned, judged = [samples[i] for i in known], [samples[i] for i in left]
        model = ProfileModel.fit(learned, machine=machine, device=device)
        figures = evaluate(model, learned, judged, device=device).figures()
        for name, value in figures.items():
            total[name] = total.get(name, 0.0) + value * (1 if name == "samples" else len(judged) / len(samples))
    return total


def _families(samples: list[Sample], machine: dict[str, Any], device: DeviceFigures) -> dict[str, Any]:
    """Figures with one family left out of training and judged alone, for each that has ten samples or more."""
    found = {}
    for family in sorted({s.spec.family for s in samples}):
        judged = [s for s in samples if s.spec.family == family]
        if len(judged) >= 10:
            known = [s for s in samples if s.spec.family != family]
            model = ProfileModel.fit(known, machine=machine, device=device)
            found[family] = evaluate(model, known, judged, device=device).figures()
    return found


def _table(document: dict[str, Any]) -> str:
    held_out = document["held_out"]
    lines = [f"{document['samples']} samples to learn from, {held_out['samples']} of other architectures to judge by"]
    lines += [f"{name:20} {value:8.4f}  {'reached' if document['goals'][name] else 'MISSED'}"
              for name, value in {**held_out, "prediction_s": document["prediction_s"]}.items()
              if name in document["goals"]]  # fmt: skip
    lines.append(f"{'single run to median':20} {held_out['run_to_run_noise']:8.4f}")
    lines.append(f"{'quantity':8} {'method':22} {'mean':>8} {'median':>8} {'90 %':>8} {'>5 % low':>8}")
    shown = {q: {THREE_LAYERS: None, **methods} for q, methods in document["baselines"].items()}
    for quantity, methods in shown.items():
        for name, score in methods.items():
            if score is None:
                lines.append(f"{quantity:8} {name:22} {held_out[f'{quantity}_mape']:8.1%}")
            else:
                values = (score["mape"], score["median"], score["p90"], score["under_rate"])
                lines.append(f"{quantity:8} {name:22} " + " ".join(f"{v:8.1%}" for v in values))
    if "cross" in document:
        lines.append("every sample by a model that has not seen its architecture:")
        lines += [f"  {name:20} {value:8.4f}" for name, value in document["cross"].items()]
    for family, figures in document.get("families", {}).items():
        lines.append(
            f"without {family:12} time {figures['time_mape']:.1%}, memory {figures['memory_mape']:.1%}, "
            f"intervals hold {figures['coverage90']:.0%} and {figures['coverage90_memory']:.0%}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
