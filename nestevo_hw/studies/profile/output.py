"""From samples to a profile in its folder: learn, judge, write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nestevo_hw.base.documents import write_json
from nestevo_hw.base.errors import InputError
from nestevo_hw.profiler.model import ProfileModel
from nestevo_hw.profiler.rates import measure_device
from nestevo_hw.profiler.samples import Sample
from nestevo_hw.studies.profile.evaluation import Evaluation, evaluate
from nestevo_hw.studies.profile.page import write_page

PROFILE = "profile.safetensors"


def learn_and_judge(
    samples: Sequence[Sample], machine: dict[str, Any], *, device: torch.device, seed: int = 0
) -> tuple[ProfileModel, Evaluation]:
    """Learn from the samples that are not held out, and judge on those that are.

    Args:
        samples: of the machine.
        machine: what their times depend on.
        device: where they were measured.
        seed: of the networks.

    Raises:
        InputError: too few samples of either sort.
    """
    known, judged = ([s for s in samples if s.held_out is side] for side in (False, True))
    if not judged:
        raise InputError("no sample of a held-out architecture was measured in time; go on with --resume")
    figures = measure_device(device)
    model = ProfileModel.fit(known, machine=machine, device=figures, seed=seed)
    return model, evaluate(model, known, judged, device=figures, seed=seed)


def document_of(model: ProfileModel, found: Evaluation) -> dict[str, Any]:
    """What the command prints with --json."""
    return {
        "samples": model.about["samples"],
        "held_out": found.figures(),
        "goals": found.goals(),
        "baselines": found.baselines(),
        "about": model.about,
    }


def write_profile(model: ProfileModel, found: Evaluation, folder: Path) -> dict[str, Any]:
    """Write model, figures, page and pictures; returns the document.

    Raises:
        OutputError: a file cannot be written.
    """
    document = document_of(model, found)
    model.save(folder / PROFILE)
    write_json(folder / "profile.json", document)
    write_page(found, model.about, folder)
    return document
