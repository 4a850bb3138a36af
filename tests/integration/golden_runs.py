"""What a run came to, without how long it took: compared with values that were frozen once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parent / "golden"
MODELLED = ("communication_s", "programming_s", "labelling_s")
"""Parts of the evolution delay that follow from a cost model, where the teacher is analog."""
EVENTS = {
    "accuracy": (("window", "scene", "model", "stage"), ("score",)),
    "drift": (("window", "terminal"), ("score", "threshold", "drifted")),
    "decision": (("window", "group"), ("drifted", "epsilon", "mode")),
    "deploy": (("window", "group"), ("accepted", "gate_before", "gate_after", "gate_first")),
    "select": (("window", "terminal"), ("chosen",)),
    "program": (("window", "group", "cause"), ("weight_error", "score", "tiles", "time_s", "energy_j", "wear")),
    "generator": (("window", "group"), ("label_loss", "emd_before", "emd_after")),
    "sense": (("window", "terminal"), ("remains", "requests")),
}
"""Of each kind of event: what names it, and what it found."""


def figures(run: Path) -> dict[str, Any]:
    """All figures of a run folder that a seed fixes, by name."""
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    found = {}
    for event in events:
        kind = event["event"]
        if kind in EVENTS:
            names, values = EVENTS[kind]
            place = "/".join(str(event[name]) for name in names)
            found |= {f"{kind}/{place}/{value}": event[value] for value in values}
        if kind == "lifecycle":
            place = f"lifecycle/{event['window']}/{event['terminal']}"
            found |= {f"{place}/{part}": event["parts"][part] for part in MODELLED}
    return found


def check(run: Path, name: str) -> None:
    """Compare a run with its frozen values: to rounding on a processor like the one that froze them, else roughly.

    Other processors have other kernels, whose last bits training amplifies; what is decided there may differ.
    """
    frozen = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found = figures(run)
    assert set(found) == set(frozen["figures"])
    if torch.backends.cpu.get_cpu_capability() == frozen["cpu_capability"]:
        assert found == {k: _nearly(v, 1e-9) for k, v in frozen["figures"].items()}
    else:
        scores = _scores(frozen["figures"])
        assert _scores(found) == pytest.approx(scores, abs=0.15)


def freeze(run: Path, name: str) -> None:
    """Store a run's figures as the ones to hold to."""
    document = {"cpu_capability": torch.backends.cpu.get_cpu_capability(), "figures": figures(run)}
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _nearly(value: Any, tolerance: float) -> Any:
    return pytest.approx(value, rel=tolerance) if isinstance(value, float) else value


def _scores(figures: Mapping[str, Any]) -> dict[str, float]:
    return {k: v for k, v in figures.items() if k.startswith("accuracy/") and v is not None}
