"""A whole benchmark: find every score, remember it in a folder, go on after an interruption."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nestevo_hw.base.compute import device_name
from nestevo_hw.base.interruption import resumable
from nestevo_hw.studies.noise.bench import Scores
from nestevo_hw.studies.noise.evaluation import BenchTask
from nestevo_hw.studies.noise.journal import ScoreJournal
from nestevo_hw.studies.noise.parallel import score_in_workers
from nestevo_hw.studies.noise.plan import AWARE, PLAIN, BenchPlan, Trial
from nestevo_hw.studies.noise.results import Benchmark
from nestevo_hw.studies.noise.students import teaching_trials
from nestevo_hw.studies.noise.subject import MODELS, Setup, Subject

Advance = Callable[[str], None]


class Study:
    """A benchmark that is ready to run.

    Args:
        setup: model, device, frames.
        plan: what is swept.

    Raises:
        ConfigError: the model cannot do what the setup asks of it.
        InputError: weights that cannot be read, or a model that does not run.
        MappingError: no layer of the model can be placed on the crossbar.
    """

    def __init__(self, setup: Setup, plan: BenchPlan) -> None:
        self.setup, self.plan, self.subject = setup, plan, Subject(setup)
        self.trials = plan.trials(setup.trainings) + teaching_trials(plan)

    @property
    def steps(self) -> int:
        """How often `advance` is called."""
        return len(self.trials) + (2 if self.setup.noise_aware is not None else 0)

    def run(self, folder: Path, *, resume: bool, advance: Advance, workers: int = 1) -> Benchmark:
        """Find all scores, those of an interrupted run from its journal.

        Args:
            folder: for the journal and the tuned models.
            resume: go on with what is there.
            advance: called with what has just ended, `steps` times.
            workers: processes that score; 1 = this one. The scores are the same.

        Raises:
            ConfigError: the folder holds something else, or nothing to resume.
            StoppedError: stopped by Ctrl-C or a signal; what was found is kept.
        """
        journal = ScoreJournal(folder, self.subject.identity(), resume=resume)
        if not resume:
            for training in (PLAIN, AWARE):
                (folder / MODELS / f"{training}.safetensors").unlink(missing_ok=True)

        def keep(trial: Trial, scores: Scores) -> None:
            journal.keep(trial, scores)
            advance(f"{trial.sweep} {trial.training}".strip())

        def kept() -> str:
            return f"{sum(trial in journal.scores for trial in self.trials)} of {len(self.trials)} scores"

        with resumable(folder, kept):
            for trial in self.trials:
                if trial in journal.scores:
                    advance(trial.sweep)
            ready = self.subject.prepare(folder, lambda: advance("fine-tuning"))
            if workers > 1:
                score_in_workers(self.setup, folder, self.trials, journal.scores, keep, workers=workers)
            ready.score(self.trials, journal.scores, keep)
        return Benchmark.of_trials(self._about(ready.task), {trial: journal.scores[trial] for trial in self.trials})

    def _about(self, task: BenchTask) -> dict[str, Any]:
        setup, preset = self.setup, self.setup.hardware.preset
        about = {
            "model": setup.model, "analog": preset.name, "task": task.task, "metric": task.metric,
            "metrics": list(task.metrics), "weights": self.subject.given.origin,
            "perfect_io": preset.converters is None, "adc_range": preset.adc_range, "tile": list(setup.tile),
            "keep_digital": list(setup.keep_digital), "backend": setup.backend, "seed": setup.seed,
            "device": device_name(torch.device(setup.device)),
            "frames": task.frames, "classes": task.classes, "one_class": task.one_class,
            "data": setup.data.source, "note": task.note,
            "age_s": setup.age_s, "source": preset.source, "leaves_out": preset.leaves_out,
            "left_out": list(self.plan.left_out),
        }  # fmt: skip
        if setup.teaching is not None:
            about |= {"student": setup.teaching.student, "teaching_note": setup.teaching.note}
        if setup.noise_aware is not None:
            about |= {"noise_aware_mu": setup.noise_aware.mu, "pair_note": setup.noise_aware.note}
        elif setup.noise_aware_weights is not None:
            about |= {"pair_note": f"The noise-aware model is that of {setup.noise_aware_weights}."}
        return about
