"""Small pieces of work that are killed and go on, for `test_quick_kills.py`: `python works.py FOLDER`.

In a process of its own, with one thread, because one with several must not fork.
"""

import json
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from killing import Work, changes_of, killed
from made_up_samples import made_up_samples
from small_run import SMALL

from nestevo_hw.base.documents import write_json
from nestevo_hw.base.files import write_text
from nestevo_hw.base.jsonlines import append_line
from nestevo_hw.base.locking import one_writer
from nestevo_hw.cli import main
from nestevo_hw.evolution import halfway
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.pretrain import pretrain
from nestevo_hw.evolution.pretrain_frames import embedded_source
from nestevo_hw.evolution.pretrain_job import PretrainConfig
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.models.checkpoint import ModelSpec
from nestevo_hw.studies.compare import output, study
from nestevo_hw.studies.profile import collect

KILLS = 3
"""Of each work; every other one is killed once more while it goes on."""


def pretraining(folder: Path) -> None:
    """A short pre-training of classifiers in this process, whose state is kept every other step."""
    config = PretrainConfig(
        task="classification", teacher=TrainingPlan(steps=7), terminal=TrainingPlan(steps=3, batch_size=4)
    )
    source = embedded_source("classification", seed=0, variants=1, frames_per_scene=2)
    spec = ModelSpec(architecture="digits-cnn", classes=source.classes, min_size=32, max_size=32)
    with patch.object(halfway.Halfway.__init__, "__kwdefaults__", {"every": 2}), one_writer(folder):
        resume = (folder / "digits-cnn-journal.jsonl").is_file()
        pretrain(spec, source, folder, config, resume=resume, device="cpu", workers=0)


def profiling(folder: Path) -> None:
    """The measurements of `profile`, on a made-up machine."""
    made = {side: made_up_samples(1, held_out=side)[0] for side in (False, True)}

    def measure(spec: Any, *, held_out: bool, again: Any, **_: object) -> Any:
        sample = replace(made[held_out], spec=spec)
        return sample if again is None else again.merged(sample)

    with patch.object(collect, "measure", measure), one_writer(folder):
        file = collect.SampleFile(folder, 0, resume=(folder / collect.SAMPLES).is_file())
        collect.collect(collect.Collection(samples=5, held_out=3, passes=2), file)


def comparing(folder: Path) -> None:
    """`compare`, with runs that write what real ones do and cost nothing."""

    def evolve(config: RunConfig, run: Path, *, resume: bool, **_: object) -> None:
        document = {"format": 2, "status": "running", "method": config.method, "config": config.document()}
        write_json(run / "run.json", document)
        if resume:
            (run / "metrics.jsonl").unlink(missing_ok=True)
        for stage, score in (("before", 0.3), ("after", 0.6 if config.method == "NestEvo" else 0.5)):
            append_line(run / "metrics.jsonl", {"event": "accuracy", "window": 0, "model": "campus", "scene": "campus",
                                                "stage": stage, "score": score})  # fmt: skip
        write_json(run / "run.json", document | {"status": "complete"})
        report(run)

    def report(run: Path) -> None:
        write_text(run / "report.html", f"of {run.name}")

    config = folder.with_name("small.toml")
    config.write_text(SMALL)
    again = ("--resume",) if any(path.is_dir() for path in folder.glob("*")) else ()
    words = ("compare", str(config), "--methods", "NestEvo,A4", "--seeds", "2", "--out", str(folder), "--json", *again)
    with (
        patch.multiple(study, evolve=evolve, write_report=report, check_run=lambda _: {}),
        patch.object(output, "save_png"),
    ):
        main(words, standalone_mode=False)


WORKS: Mapping[str, Work] = {work.__name__: work for work in (pretraining, profiling, comparing)}


def trial(work: Work, root: Path, draw: Callable[[int], int]) -> list[int]:
    """Do a work unbroken in ROOT/whole, then killed and to its end in ROOT/0, ROOT/1 ...; the moments of the kills."""
    root.mkdir()
    changes, moments = changes_of(work, root / "whole"), []
    for number in range(KILLS):
        folder = root / str(number)
        for _ in range(1 + number % 2):
            moments.append(draw(changes))
            killed(work, folder, moments[-1])
        changes_of(work, folder)
    return moments


if __name__ == "__main__":
    for name, chosen in WORKS.items():
        chance = random.Random(name)  # the same moments every time
        told = trial(chosen, Path(sys.argv[1]) / name, lambda most: chance.randint(1, most))  # noqa: B023
        print(json.dumps({name: told}), flush=True)
