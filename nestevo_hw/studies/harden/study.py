"""A whole hardening: train, score, remember all of it in a folder, go on after an interruption."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from nestevo_hw.base.compute import device_name
from nestevo_hw.base.documents import json_line, plain
from nestevo_hw.base.interruption import resumable
from nestevo_hw.studies.harden.config import Effort
from nestevo_hw.studies.harden.results import AS_GIVEN, HARDENED, NOISE_AWARE, Outcome, training_name
from nestevo_hw.studies.harden.subject import ReadySubject, Setup, Subject
from nestevo_hw.studies.harden.training import harden
from nestevo_hw.studies.noise.bench import Bench, Scores
from nestevo_hw.studies.noise.journal import ScoreJournal
from nestevo_hw.studies.noise.plan import DIGITAL, Trial

MODELS = "models"
"""Subfolder of the trained models."""
Advance = Callable[[str], None]


class Study:
    """A hardening that is ready to run.

    Args:
        setup: model, data, device, training.
        effort: how many trainings and programmings.

    Raises:
        ConfigError: nothing can be learned or scored, or the device has no model for the age.
        InputError: weights or samples that cannot be read, or a model that does not run.
        MappingError: no layer of the model can be placed on the crossbar.
    """

    def __init__(self, setup: Setup, effort: Effort) -> None:
        self.setup, self.effort, self.subject = setup, effort, Subject(setup)
        self.trainings = [(HARDENED, k) for k in range(effort.seeds)]
        if effort.compared_mu:
            self.trainings += [(NOISE_AWARE, k) for k in range(effort.seeds)]
        self.trials = [
            trial for name in (AS_GIVEN, *(training_name(kind, k) for kind, k in self.trainings))
            for trial in self._trials(name)
        ]  # fmt: skip

    @property
    def steps(self) -> int:
        """How often `advance` is called."""
        return len(self.trainings) * self.setup.config.steps + len(self.trials)

    def run(self, folder: Path, *, resume: bool, advance: Advance) -> Outcome:
        """Train and score all that is not there yet.

        Args:
            folder: for models and scores.
            resume: go on with what is there.
            advance: called with what has just ended, `steps` times.

        Raises:
            ConfigError: the folder holds something else, or nothing to resume.
            StoppedError: stopped by Ctrl-C or a signal; what was found is kept.
        """
        identity = {**self.subject.identity(), "compared_mu": self.effort.compared_mu}
        journal = ScoreJournal(folder, identity, resume=resume)
        (folder / MODELS).mkdir(exist_ok=True)
        if not resume:
            for path in (folder / MODELS).glob("*.safetensors"):
                path.unlink()

        def keep(trial: Trial, scores: Scores) -> None:
            journal.keep(trial, scores)
            advance(f"scored {trial.training}")

        def kept() -> str:
            models = sum(self._path(folder, kind, k).is_file() for kind, k in self.trainings)
            return f"{models} of {len(self.trainings)} trainings"

        with resumable(folder, kept):
            ready = self.subject.prepare()
            for kind, number in self.trainings:
                self._train(ready, folder, kind, number, advance)
            for trial in self.trials:
                if trial in journal.scores:
                    advance(f"scored {trial.training}")
            self._bench(ready, folder).run(self.trials, journal.scores, keep)
        found = {trial: journal.scores[trial] for trial in self.trials}
        return Outcome(about=self._about(ready), scores=found, age_s=self.setup.config.age_s)

    def _trials(self, training: str) -> Iterator[Trial]:
        """Scores of one model: digital, and on each programming at both ages."""
        yield Trial(sweep=DIGITAL, value=DIGITAL, repeat=0, training=training)
        for repeat in range(self.effort.repeats):
            for age_s in dict.fromkeys((0.0, self.setup.config.age_s)):
                yield Trial(sweep="time_s", value=age_s, repeat=repeat, training=training)

    def _path(self, folder: Path, kind: str, number: int) -> Path:
        return folder / MODELS / f"{training_name(kind, number)}.safetensors"

    def _train(self, ready: ReadySubject, folder: Path, kind: str, number: int, advance: Advance) -> None:
        path, done, config = self._path(folder, kind, number), 0, self.setup.config
        name = training_name(kind, number)

        def on_step() -> None:
            nonlocal done
            done += 1
            advance(f"training {name}")

        if not path.is_file():
            seed, state = self.setup.seed + number, path.with_name(f"unfinished-{path.name}")
            mu = self.effort.compared_mu if kind == NOISE_AWARE else 0.0
            hardened = harden(
                ready.clean, ready.teacher, ready.lessons, config, seed=seed, mu=mu, state=state, on_step=on_step
            )
            notes = {"hardening": json_line(plain(config)), "seed": str(seed), "analog": self.setup.analog,
                     "mu": repr(mu), "loss": repr(hardened.loss)}  # fmt: skip
            self.subject.save(hardened, path, notes)
            state.unlink(missing_ok=True)
        for _ in range(config.steps - done):  # those of an earlier run
            advance(f"training {name}")

    def _bench(self, ready: ReadySubject, folder: Path) -> Bench:
        models = {AS_GIVEN: ready.clean}
        models |= {training_name(kind, k): self.subject.load(self._path(folder, kind, k)) for kind, k in self.trainings}
        return Bench(
            models=models, measures=dict.fromkeys(models, ready.task.measure), calibration=ready.task.calibration,
            hardware=self.subject.hardware, seed=self.setup.seed,
        )  # fmt: skip

    def _about(self, ready: ReadySubject) -> dict[str, Any]:
        setup, preset, task = self.setup, self.subject.hardware.preset, ready.task
        return {
            "model": setup.model, "weights": self.subject.given.origin, "analog": preset.name,
            "device": device_name(torch.device(setup.device)), "task": task.task,
            "metric": task.metric, "metrics": list(task.metrics), "adc_range": preset.adc_range,
            "tile": list(setup.tile), "keep_digital": list(setup.keep_digital), "seed": setup.seed,
            "seeds": self.effort.seeds, "repeats": self.effort.repeats, "compared_mu": self.effort.compared_mu,
            "frames": task.frames, "data": setup.data.source, "age_s": setup.config.age_s,
            "training": plain(setup.config), "note": f"{task.note}; {ready.lessons.note}",
            "source": preset.source, "leaves_out": preset.leaves_out,
        }  # fmt: skip
