"""How good students become when a noisy teacher labels their frames, by the very functions of `evolve`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from torch import nn
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.evolution.config import RunConfig, load_preset
from nestevo_hw.evolution.learning import Seed, distil
from nestevo_hw.models.batch_norm import kept_batch_norm
from nestevo_hw.models.checkpoint import load_detector, resolve_checkpoint
from nestevo_hw.pages.formats import counted
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.rendered.synthetic import CLASSES, SyntheticStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.studies.noise.bench import Keep, Rig, Scores, setting_of
from nestevo_hw.studies.noise.evaluation import score_detector
from nestevo_hw.studies.noise.plan import BenchPlan, Trial
from nestevo_hw.studies.noise.sweeps import TEACHING, Hardware, Setting
from nestevo_hw.tasks.detection import Detection
from nestevo_hw.tasks.faster_rcnn.labelling import label_frames, re_estimate
from nestevo_hw.tasks.supervision import Supervision, ground_truth_supervision

REFERENCE = "student"
"""Name of the sweep of students to compare with."""
BEFORE, DIGITAL_TEACHER, TRUE_LABELS = "before", "digital teacher", "true labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """One student's distillation."""

    student: str = "fasterrcnn-tiny-m2"
    """A shipped terminal detector, or the path of a checkpoint."""
    kind: str = "night"
    """Drift of the scene."""
    strength: float = 0.6
    cameras: int = 2
    """Scenes; a score is the mean over them."""
    upload_frames: int = 96
    """Unlabelled frames the teacher labels, of each camera."""
    upload_spacing: int = 5
    """Frames of the stream between two uploaded ones."""
    test_frames: int = 60
    """Later frames of the same scene with truth."""
    test_spacing: int = 20
    steps: int = 40
    """Of distillation."""

    @property
    def config(self) -> RunConfig:
        """The configuration of `evolve` that teacher and student follow."""
        return load_preset("quick")

    @property
    def note(self) -> str:
        """For people to read: what a distillation is."""
        return (
            f"The teacher labels {self.upload_frames} unlabelled frames of {counted(self.cameras, 'drifted scene')} "
            f"each ({self.kind} {self.strength:g}), after re-estimating its digital BatchNorm statistics on them as "
            f"evolve does; {self.student} learns from its labels for {self.steps} steps and is scored on "
            f"{self.test_frames} other frames of the same scene. Repeats draw other noise and other batches."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Frames of one scene."""

    name: str
    upload: FrameBatch
    """With truth, which only the student of true labels reads."""
    test: FrameBatch


def check_student(name: str) -> None:
    """Refuse a student that cannot learn from frames of the embedded streams, before any work.

    Args:
        name: a shipped terminal detector, or the path of a checkpoint.

    Raises:
        ConfigError: there is no such checkpoint, or it knows other classes.
        InputError: it cannot be read, or is no detector.
    """
    classes = load_detector(resolve_checkpoint(name))[1].classes
    if classes != CLASSES:
        raise ConfigError(
            f"--student {name} knows the classes {', '.join(classes)}, but the embedded streams show "
            f"{', '.join(CLASSES)}; choose another"
        )


def teaching_trials(plan: BenchPlan) -> list[Trial]:
    """Every distillation of a plan: the students to compare with, and one a value and repeat."""
    if not plan.teaching:
        return []
    repeats = range(plan.repeats)
    references = [Trial(sweep=REFERENCE, value=BEFORE, repeat=0)]
    references += [Trial(sweep=REFERENCE, value=name, repeat=r) for name in (DIGITAL_TEACHER, TRUE_LABELS)
                   for r in repeats]  # fmt: skip
    return references + [
        Trial(sweep=sweep.name, value=value, repeat=r)
        for sweep, values in plan.sweeps if sweep.name in TEACHING
        for value in values for r in repeats
    ]  # fmt: skip


def is_distillation(trial: Trial) -> bool:
    """Whether a trial's score is that of a student."""
    return trial.sweep == REFERENCE or trial.sweep in TEACHING


@dataclass(frozen=True, slots=True, kw_only=True)
class School:
    """A teacher, its hardware, and the scenes in which it teaches."""

    teacher: nn.Module
    """Digital, in eval mode."""
    calibration: Sequence[object]
    hardware: Hardware
    teaching: Teaching
    seed: int = 0

    def run(self, trials: Sequence[Trial], known: Mapping[Trial, Scores], keep: Keep) -> None:
        """Distil for every trial that is not known yet; `keep` is told of each, in order."""
        memo: dict[tuple[Setting, int], Scores] = {}
        for trial, scores in known.items():
            if self._taught(trial):
                memo[self._setting(trial), trial.repeat] = scores
        rig = Rig(self.teacher, self.calibration, seed=self.seed)
        for trial in trials:
            if trial in known:
                continue
            if not self._taught(trial):
                keep(trial, self._reference(trial))
                continue
            key = self._setting(trial), trial.repeat
            if key not in memo:
                with rig.under(*key) as teacher:
                    memo[key] = self.distil(teacher, trial.repeat)
            keep(trial, memo[key])

    def distil(self, teacher: nn.Module, repeat: int) -> Scores:
        """Scores of a teacher and of the students it teaches, each the mean over the cameras."""
        if not isinstance(teacher, FasterRCNN):
            raise ConfigError(f"only a Faster R-CNN teaches students, not a {type(teacher).__name__}")
        taught, teaching = [], []
        for camera in cameras(self.teaching, self.seed):
            with kept_batch_norm(teacher):
                re_estimate(teacher, camera.upload.images)
                supervision = label_frames(teacher, camera.upload.images, self.teaching.config.labels)
                teaching.append(score_detector(teacher, camera.test))
            taught.append(self._learn(supervision, camera, repeat, self.teaching.config.distil.soft_share))
        return {"teacher": _mean(teaching), "student": _mean(taught)}

    def _reference(self, trial: Trial) -> Scores:
        scores = []
        for camera in cameras(self.teaching, self.seed):
            if trial.value == BEFORE:
                scores.append(score_detector(self._student(), camera.test))
            else:
                truth = ground_truth_supervision(camera.upload, len(CLASSES))
                scores.append(self._learn(truth, camera, trial.repeat, 0.0))
        return {"student": _mean(scores)}

    def _learn(
        self, supervision: Sequence[Supervision], camera: Camera, repeat: int, soft_share: float
    ) -> dict[str, float]:
        """Score of the student that learns from `supervision`; repeats differ in their batches."""
        config = self.teaching.config
        student = self._student()
        distil(
            Detection(),
            student,
            camera.upload.images,
            supervision,
            plan=replace(config.distil.plan, steps=self.teaching.steps),
            temperature=config.distil.temperature,
            soft_share=soft_share,
            compression=config.compression,
            seed=Seed(run=config.seed, name=f"student/{camera.name}/{repeat}"),
        )
        return score_detector(student, camera.test)

    def _student(self) -> FasterRCNN:
        """The student as it is before it learns, on the teacher's device."""
        student, _ = load_detector(resolve_checkpoint(self.teaching.student))
        return student.to(next(self.teacher.parameters()).device)

    def _taught(self, trial: Trial) -> bool:
        return trial.sweep in TEACHING or (trial.sweep == REFERENCE and trial.value == DIGITAL_TEACHER)

    def _setting(self, trial: Trial) -> Setting:
        return Setting(mu=0.0) if trial.sweep == REFERENCE else setting_of(trial, self.hardware)


@lru_cache(maxsize=2)
def cameras(teaching: Teaching, seed: int) -> tuple[Camera, ...]:
    """Rendered frames of every scene."""
    found = []
    for number in range(teaching.cameras):
        name = f"camera {number + 1}"
        script = DriftScript(segments=(DriftSegment(start=0, kind=teaching.kind, strength=teaching.strength),))
        size = teaching.config.frame_size
        stream = SyntheticStream(
            name=name, place=name, seed=derive_seed(seed, "bench", "students", number), size=size, drift=script
        )
        last = teaching.upload_frames * teaching.upload_spacing
        upload = stream.read(range(0, last, teaching.upload_spacing))
        first = last + 10 * teaching.test_spacing
        test = stream.read(range(first, first + teaching.test_frames * teaching.test_spacing, teaching.test_spacing))
        found.append(Camera(name=name, upload=upload, test=test))
    return tuple(found)


def _mean(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {metric: sum(s[metric] for s in scores) / len(scores) for metric in scores[0]}
