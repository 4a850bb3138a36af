"""The edge server during a run: which models are in force, and which teacher serves which terminals."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.dispatch import Batch, Dispatch
from nestevo_hw.evolution.inbox import FIRST_MODEL
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.paths import Paths
from nestevo_hw.evolution.steps.camera import SenseRequest, SenseResult
from nestevo_hw.evolution.steps.deploying import ExportRequest
from nestevo_hw.evolution.steps.table import BASELINE, DRY_RUN, EXPORT, PREPARE
from nestevo_hw.evolution.steps.teachers import Familiar, PrepareRequest
from nestevo_hw.evolution.steps.training import DryRunRequest, DryRunResult, ReplaySample
from nestevo_hw.evolution.teacher import LabellingTime, TeacherFiles
from nestevo_hw.evolution.upkeep import Upkeep
from nestevo_hw.models.checkpoint import resolve_checkpoint
from nestevo_hw.models.onnx.manifest import MODEL, Version
from nestevo_hw.report.records.teacher import Calibration
from nestevo_hw.report.records.terminal import Rollback
from nestevo_hw.streams.sampling import allocate
from nestevo_hw.wire.signals import Signals

MOST_SENT = 4
"""Models to one of which a remote terminal may go back."""
MOST_REPLAYED = 4
"""Earlier windows from which frames may be replayed."""


class Server:
    """What outlasts a window; everything in it follows from results of tasks, so a resumed run agrees."""

    def __init__(
        self,
        config: RunConfig,
        layout: RunLayout,
        journal: Journal,
        dispatch: Dispatch,
        costs: TaskCosts,
        groups: Mapping[str, tuple[str, ...]],
        on_warning: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.config = config
        self.layout = layout
        self.journal = journal
        self.dispatch = dispatch
        self.groups = groups
        """Terminals by group (eq. 3, 4); a single group is called ""."""
        self.group_of = {name: group for group, names in groups.items() for name in names}
        generations = count()
        self.upkeep = {g: Upkeep(config, layout, journal, self.dispatch, generations, group=g) for g in groups}
        self.paths = Paths(config, layout, journal, dispatch)
        """Of elastic terminals."""
        self.models = {name: resolve_checkpoint(model) for name, model in config.fixed_models.items()}
        """Checkpoint that each terminal runs; of elastic ones once they are prepared."""
        self.intermediates: dict[str, Path] = {
            name: self.upkeep[group].teacher.weights for name, group in self.group_of.items()
        }
        """Last state of each terminal's intermediate model."""
        self.familiar: dict[str, Familiar] = {}
        """What the drift of each group's frames is measured against."""
        self.drift: dict[str, float | None] = {}
        """Last drift score (eq. 11) of each terminal; None where no class could be compared."""
        self.deployed: dict[str, Path] = {}
        """Folder that each terminal was last sent; none for those that run their first model, read here."""
        self.sent: dict[str, deque[tuple[int, Path]]] = {name: deque(maxlen=MOST_SENT) for name in config.remote}
        """Checkpoints that each remote terminal may still run, by the window they are from, oldest first."""
        self.zoo: dict[str, deque[Path]] = {name: deque(maxlen=config.zoo.size) for name in self.group_of}
        """Earlier models of each terminal, oldest first."""
        self.replay: dict[str, deque[ReplaySample]] = {name: deque(maxlen=MOST_REPLAYED) for name in self.group_of}
        """What each terminal was taught in earlier windows, oldest first."""
        self.tests: dict[str, deque[int]] = {name: deque(maxlen=config.window.recalled) for name in self.group_of}
        """Windows after which each terminal's model is scored again, oldest first."""
        self.signals: dict[str, Signals] = {}
        """Of each terminal's model on frames it was last known to do well on."""
        self.classes: tuple[str, ...] = ()
        self._costs = costs
        self._on_warning = on_warning

    def prepare(self, *beside: Batch[Any, Any]) -> None:
        """Program each group's teacher for the first time, and measure the training steps.

        Args:
            *beside: what else can run meanwhile.
        """
        requests = {
            group: PrepareRequest(
                teacher=upkeep.at(0),
                generation=upkeep.teacher.generation,
                reference=upkeep.reference,
                moments=self.layout.moments(group),
            )
            for group, upkeep in self.upkeep.items()
        }
        self.paths.time()
        preparing = Batch(step=PREPARE, window=None, requests=requests)
        trying = self._dry_runs(self.models)
        self.dispatch.run_together(preparing, trying, *beside)
        for group, prepared in preparing.done.items():
            self.classes = prepared.value.classes
            if (known := prepared.value.familiar) is not None:
                self._remember_familiar(group, known)
            self.upkeep[group].programmed_first(prepared.value)
        self._learn_costs(trying)
        if found := self.paths.search(next(iter(self.upkeep.values())).reference):
            self.models |= found
            trying = self._dry_runs(found)
            self.dispatch.run_together(trying)
            self._learn_costs(trying)
        for name, sent in self.sent.items():
            sent.append((FIRST_MODEL, self.models[name]))
        familiar = {name: self.upkeep[group].reference for name, group in self.group_of.items()}
        signals = self.baseline(None, familiar)
        self.dispatch.run_together(signals)
        self.remember_signals(signals)
        self._export_first(familiar)

    def _remember_familiar(self, group: str, known: Familiar) -> None:
        self.familiar[group] = known
        found = Calibration(
            group=group,
            threshold=known.gamma,
            origin=known.origin,
            min_samples=known.min_samples,
            segments=len(known.scores),
            rate=known.rate,
        )
        self.journal.log(found)
        if found.trouble:
            self._on_warning(found.trouble)

    def _dry_runs(self, models: Mapping[str, Path]) -> Batch[DryRunRequest, DryRunResult]:
        """To measure the training steps of terminals' first models."""
        trained = self.config.teacher.labeller is None
        pairs = {
            name: DryRunRequest(terminal=path, intermediate=self.teacher_of(name, 0).weights if trained else None)
            for name, path in models.items()
        }
        return Batch(step=DRY_RUN, window=None, requests=pairs)

    def _learn_costs(self, tried: Batch[DryRunRequest, DryRunResult]) -> None:
        for name, measured in tried.done.items():
            self._costs.learn(name, measured.value.dry_run)

    def baseline(self, number: int | None, frames: Mapping[str, Path]) -> Batch[SenseRequest, SenseResult]:
        """To take each terminal's signals on frames that its model does well on.

        Args:
            number: of the window, None before the first.
            frames: file by terminal.
        """
        wanted = frames if self.config.trigger.mode != "off" else {}
        requests = {
            name: SenseRequest(model=self.models[name], frames=file)
            for name, file in wanted.items()
            if name not in self.config.remote  # which judge themselves
        }
        return Batch(step=BASELINE, window=number, requests=requests)

    def remember_signals(self, taken: Batch[SenseRequest, SenseResult]) -> None:
        """Keep what `baseline` has found."""
        self.signals |= {name: sensed.value.signals for name, sensed in taken.done.items()}

    def _export_first(self, frames: Mapping[str, Path]) -> None:
        """Write the model that each remote terminal begins with; of `frames` one is tried on it."""
        requests = {
            name: ExportRequest(
                terminal=self.models[name],
                upload=frames[name],
                folder=self.layout.first_deployed(name),
                version=Version(run=self.config.digest, window=None, terminal=name),
            )
            for name in self.config.remote
        }
        for name in self.dispatch.run(EXPORT, None, requests):
            self.deployed[name] = requests[name].folder

    def deploy(self, number: int, name: str, model: Path, folder: Path) -> None:
        """Bring a terminal's new model into force, which it is sent as what lies in a folder."""
        self.zoo[name].append(self.models[name])
        self.models[name], self.deployed[name] = model, folder
        if name in self.sent:
            self.sent[name].append((number, model))

    def go_back(self, number: int, name: str, window: int) -> None:
        """A remote terminal runs the model of an earlier window, because the last one did not do there."""
        model = dict(self.sent[name]).get(window)
        if model is None or model == self.models[name]:
            return
        self.models[name] = model
        origin = "its first model" if window == FIRST_MODEL else f"the model of window {window}"
        self.journal.log(Rollback(window=number, terminal=name, back_to=origin))

    def frames_of(self, names: Sequence[str]) -> dict[str, int]:
        """How many frames each terminal uploads: by its last drift, within D_max (eq. 5).

        A terminal whose drift could not be compared counts as the one that drifted most, a new one as their mean.
        """
        sampling, window = self.config.sampling, self.config.window
        if sampling.budget_frames is None:
            return {name: self.config.uploads(name) for name in names}
        known = [score for name in names if (score := self.drift.get(name)) is not None]
        usual, most_drifted = (sum(known) / len(known), max(known)) if known else (1.0, 1.0)
        scores = {name: self.drift.get(name, usual) for name in names}
        drift = {name: most_drifted if score is None else score for name, score in scores.items()}
        return allocate(drift, sampling.budget_frames, least=sampling.least_frames, most=window.segment_frames)

    def files_in_use(self) -> set[Path]:
        """Files of past windows that later ones may read."""
        files = {*self.models.values(), *self.intermediates.values()}
        files |= {folder / MODEL for folder in self.deployed.values()}
        files |= self.paths.files
        for upkeep in self.upkeep.values():
            files |= upkeep.teacher.files
        for name in self.models:
            files |= {model for _, model in self.sent.get(name, ())}
            files |= set(self.zoo[name]) | {f for s in self.replay[name] for f in (s.upload, s.supervision)}
            files |= {self.layout.window(window, name, "test.safetensors") for window in self.tests[name]}
        return files

    def teacher_of(self, name: str, window: int) -> TeacherFiles:
        """The teacher that serves a terminal, as it labels the frames of a window."""
        return self.upkeep[self.group_of[name]].at(window)

    def labelling_of(self, name: str) -> LabellingTime | None:
        """How long the crossbar takes to label a terminal's frames, modelled; None for a digital teacher."""
        return self.upkeep[self.group_of[name]].labelling
