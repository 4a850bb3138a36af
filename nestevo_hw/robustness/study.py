"""A whole benchmark: open the model, tune the pair, score everything, and remember it in a folder."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torchvision.models.detection import FasterRCNN

from nestevo_hw import __version__
from nestevo_hw.crossbar.mapping import Tile
from nestevo_hw.crossbar.teacher import Backend
from nestevo_hw.errors import ConfigError, NestEvoError
from nestevo_hw.models.zoo import ZooModel, open_model
from nestevo_hw.robustness.bench import Bench, Scores
from nestevo_hw.robustness.evaluation import BenchTask, detects_embedded_classes, prepare_task
from nestevo_hw.robustness.journal import ScoreJournal
from nestevo_hw.robustness.noise_aware import FineTuning, spec_of, tuned_pair
from nestevo_hw.robustness.plan import AWARE, GIVEN, PLAIN, Cell, Plan
from nestevo_hw.robustness.results import Benchmark
from nestevo_hw.robustness.students import School, Teaching, teaching_cells
from nestevo_hw.robustness.sweeps import Hardware

Advance = Callable[[str], None]
MODELS = "models"
"""Subfolder of the tuned pair."""
FRAME_SIZE = (128, 160)
"""(H, W) of the embedded frames, pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """All that a score depends on beside its cell."""

    model: str
    weights: str | None
    device: str
    perfect_io: bool
    tile: Tile
    keep_digital: tuple[str, ...]
    backend: Backend
    seed: int
    frames: int
    """Scored on, of each scene."""
    noise_aware: FineTuning | None
    noise_aware_weights: str | None
    teaching: Teaching | None


class Study:
    """A benchmark that is ready to run.

    Args:
        setup: model, device, frames.
        plan: what is swept.
        hardware: what `setup` describes.

    Raises:
        ConfigError: the model cannot do what the setup asks of it.
        InputError: weights that cannot be read.
    """

    def __init__(self, setup: Setup, plan: Plan, hardware: Hardware) -> None:
        self.setup, self.plan, self.hardware = setup, plan, hardware
        self.chosen = open_model(setup.model, weights=None if setup.weights is None else Path(setup.weights))
        self._aware: ZooModel | None = None
        if setup.noise_aware_weights is not None:
            self._aware = open_model(setup.model, weights=Path(setup.noise_aware_weights))
        embedded = self.chosen.trained and detects_embedded_classes(self.chosen.model)
        if not embedded and (plan.teaching or setup.noise_aware is not None):
            raise ConfigError(
                f"{setup.model} is no trained detector of the embedded classes, so there are no labelled frames "
                "for --students or --noise-aware; try fasterrcnn-tiny, or give --noise-aware-weights"
            )
        if setup.noise_aware is not None and isinstance(self.chosen.model, FasterRCNN):
            self._spec = spec_of(setup.model, self.chosen.model)

    @property
    def trainings(self) -> tuple[str, ...]:
        """Of the model: as given, or the pair that is compared."""
        if self.setup.noise_aware is not None:
            return (GIVEN, PLAIN, AWARE)
        return (PLAIN, AWARE) if self._aware is not None else (GIVEN,)

    @property
    def cells(self) -> list[Cell]:
        """Every score to find, the lessons last."""
        return self.plan.cells(self.trainings) + teaching_cells(self.plan)

    @property
    def steps(self) -> int:
        """How often `advance` is called."""
        return len(self.cells) + (2 if self.setup.noise_aware is not None else 0)

    def identity(self) -> dict[str, Any]:
        """All that the scores depend on, as JSON values."""
        digests = {"weights_digest": digest(self.chosen.model), "version": __version__}
        if self._aware is not None:
            digests["noise_aware_digest"] = digest(self._aware.model)
        return {**asdict(self.setup), **digests}

    def run(self, folder: Path, *, resume: bool, advance: Advance) -> Benchmark:
        """Find all scores, those of an interrupted run from its journal.

        Args:
            folder: for the journal and the tuned models.
            resume: go on with what is there.
            advance: called with what has just ended, `steps` times.

        Raises:
            ConfigError: the folder holds something else, or nothing to resume.
            NestEvoError: interrupted by Ctrl-C; what was found is kept.
        """
        journal = ScoreJournal(folder, self.identity(), resume=resume)
        if not resume:
            for training in (PLAIN, AWARE):
                (folder / MODELS / f"{training}.safetensors").unlink(missing_ok=True)
        cells = self.cells
        for cell in cells:
            if cell in journal.scores:
                advance(cell.sweep)
        try:
            return self._score(cells, journal, folder, advance)
        except KeyboardInterrupt:
            done = sum(cell in journal.scores for cell in cells)
            raise NestEvoError(
                f"stopped after {done} of {len(cells)} scores, which are kept in {folder}; "
                "run the same command with --resume to go on"
            ) from None

    def _score(self, cells: Sequence[Cell], journal: ScoreJournal, folder: Path, advance: Advance) -> Benchmark:
        def keep(cell: Cell, scores: Scores) -> None:
            journal.keep(cell, scores)
            advance(f"{cell.sweep} {cell.training}".strip())

        task = prepare_task(self.chosen, frames=self.setup.frames, seed=self.setup.seed)
        measures = dict.fromkeys(self.trainings, task.measure)
        if self._aware is not None:
            measures[AWARE] = prepare_task(self._aware, frames=self.setup.frames, seed=self.setup.seed).measure
        bench = Bench(
            models=self._models(folder, advance), measures=measures, calibration=task.calibration,
            hardware=self.hardware, seed=self.setup.seed,
        )  # fmt: skip
        lessons = teaching_cells(self.plan)
        bench.run([cell for cell in cells if cell not in lessons], journal.scores, keep)
        if self.setup.teaching is not None:
            school = School(
                teacher=self.chosen.model, calibration=task.calibration, hardware=self.hardware,
                teaching=self.setup.teaching, seed=self.setup.seed,
            )  # fmt: skip
            school.run(lessons, journal.scores, keep)
        return Benchmark.of_cells(self._about(task), {cell: journal.scores[cell] for cell in cells})

    def _about(self, task: BenchTask) -> dict[str, Any]:
        setup, preset = self.setup, self.hardware.preset
        about = {
            "model": setup.model, "device": setup.device, "task": task.task, "metric": task.metric,
            "metrics": list(task.metrics), "weights": self.chosen.origin, "perfect_io": preset.converters is None,
            "tile": list(setup.tile), "keep_digital": list(setup.keep_digital), "backend": setup.backend,
            "seed": setup.seed, "frames": setup.frames, "note": task.note, "source": preset.source,
            "leaves_out": preset.leaves_out, "left_out": list(self.plan.left_out),
        }  # fmt: skip
        if setup.teaching is not None:
            about |= {"student": setup.teaching.student, "teaching_note": setup.teaching.note}
        if setup.noise_aware is not None:
            about |= {"noise_aware_mu": setup.noise_aware.mu, "pair_note": setup.noise_aware.note}
        elif setup.noise_aware_weights is not None:
            about |= {"pair_note": f"The noise-aware model is that of {setup.noise_aware_weights}."}
        return about

    def _models(self, folder: Path, advance: Advance) -> dict[str, nn.Module]:
        given = self.chosen.model
        if self._aware is not None:
            return {PLAIN: given, AWARE: self._aware.model}
        tuning = self.setup.noise_aware
        if tuning is None or not isinstance(given, FasterRCNN):
            return {GIVEN: given}
        pair = tuned_pair(
            given, self._spec, tuning, folder / MODELS, seed=self.setup.seed, size=FRAME_SIZE,
            on_model=lambda: advance("fine-tuning"),
        )  # fmt: skip
        return {GIVEN: given, **pair}


def digest(model: nn.Module) -> str:
    """Fingerprint of a model's weights and buffers."""
    found = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
