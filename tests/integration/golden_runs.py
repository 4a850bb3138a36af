"""What a run came to, without how long it took: compared with values that were frozen once."""

import json
import platform
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
    """Compare a run with its frozen values: to rounding on processors that have frozen some, else roughly.

    Other processors have other kernels, whose last bits training amplifies; what is decided there may differ. Several
    sets may be there, of processors that differ.
    """
    sets = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found, here = figures(run), processor()
    if any(_same(found, one["figures"]) for one in sets):
        return
    own = [one["figures"] for one in sets if here in one["processors"]]
    for frozen in own:
        assert found == {k: _nearly(v) for k, v in frozen.items()}
    assert set(found) == set(sets[0]["figures"])
    assert _scores(found) == pytest.approx(_scores(sets[0]["figures"]), abs=0.15)


def freeze(run: Path, name: str) -> None:
    """Store a run's figures as the only ones to hold to."""
    sets = [{"processors": [processor()], "figures": figures(run)}]
    (FOLDER / f"{name}.json").write_text(json.dumps(sets, indent=1) + "\n", encoding="utf-8")


def processor() -> str:
    """What kernels are chosen by."""
    names = ("vendor_id", "cpu family", "model", "stepping")
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        known = platform.processor()
    else:
        told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        known = " ".join(told.get(name, "") for name in names)
    return f"{known}, {torch.backends.cpu.get_cpu_capability()}"


def _same(found: Mapping[str, Any], frozen: Mapping[str, Any]) -> bool:
    return bool(found == {k: _nearly(v) for k, v in frozen.items()})


def _nearly(value: Any) -> Any:
    return pytest.approx(value, rel=1e-9) if isinstance(value, float) else value


def _scores(figures: Mapping[str, Any]) -> dict[str, float]:
    return {k: v for k, v in figures.items() if k.startswith("accuracy/") and v is not None}
