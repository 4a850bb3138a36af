"""What a benchmark found, in sentences computed from its points."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from nestevo_hw.base.stats import t_interval
from nestevo_hw.studies.data.scores import doubt, over_frames
from nestevo_hw.studies.noise.fidelity import is_agreement
from nestevo_hw.studies.noise.plan import AWARE, PLAIN
from nestevo_hw.studies.noise.points import SweepPoint
from nestevo_hw.studies.noise.results import Benchmark
from nestevo_hw.studies.noise.students import BEFORE, DIGITAL_TEACHER, TRUE_LABELS
from nestevo_hw.studies.noise.sweeps import SWEEPS, Sweep, moment

TOLERATED = 0.01
"""A loss up to here counts as none: one point."""
AGAINST_DIGITAL = ("mu", "time_s", "tile", "analog")
"""Sweeps whose losses are against the digital model; those of the others against the device as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a value costs, paired draw by draw."""

    mean: float
    low: float
    high: float
    agreement: bool = False
    """Whether it is agreement with the digital model that is lost, which is not counted in points."""

    @classmethod
    def of(cls, before: Sequence[float], after: Sequence[float], *, agreement: bool = False) -> "Loss":
        """Of two series of scores over the same draws."""
        differences = [b - a for b, a in zip(before, after, strict=True)]
        low, high = t_interval(differences)
        return cls(mean=fmean(differences), low=low, high=high, agreement=agreement)

    @property
    def certain(self) -> bool:
        """Whether all draws agree, as without noise."""
        return self.high - self.low < 1e-9

    @property
    def text(self) -> str:
        """In points, with its interval where the draws differ; of an agreement as a number."""
        return self._text(self.mean, self.low, self.high, "")

    @property
    def gain_text(self) -> str:
        """The same as a gain, with sign."""
        return self._text(-self.mean, -self.high, -self.low, "+")

    def _text(self, mean: float, low: float, high: float, sign: str) -> str:
        scale, form, unit = (1, f"{sign}.3f", "") if self.agreement else (100, f"{sign}.1f", " points")
        value = f"{scale * mean:{form}}{unit}"
        return value if self.certain else f"{value} ({scale * low:{form}} to {scale * high:{form}})"


def findings_of(found: Benchmark) -> dict[str, str]:
    """Every sentence about a benchmark, by what it is about."""
    sentences = {sweep: sweep_finding(found, sweep) for sweep in found.sweeps}
    for sweep in found.paired:
        for scene in found.scenes:
            sentences[pair_name(sweep, scene)] = pair_finding(found, sweep, scene)
    if found.taught_sweeps:
        sentences["students"] = student_overview(found)
    return sentences | {sweep: student_finding(found, sweep) for sweep in found.taught_sweeps}


def pair_name(sweep: str, scene: str) -> str:
    """Name of what was found of a sweep of both trainings in a scene."""
    return f"noise-aware, {sweep}, {scene}"


def conclusion(found: Benchmark) -> str:
    """The outcome in a sentence for each scene."""
    sentences = []
    for scene in found.scenes:
        digital, place = found.digital_score(scene), "" if scene == "all" else f"by {scene} "
        frames = over_frames(found.metric, digital, int(found.about.get("frames", 0)))
        parts = [f"the digital model scores {digital:.3f}{frames}"]
        if is_agreement(found.metric):
            parts = [f"agreement with the digital model, which is {digital:.3f} with itself"]
        unswept = found.unswept_in(scene)
        if unswept is not None:
            parts.append(f"{unswept.mean:.3f} on {found.about['analog']} {moment(found.age_s)}")
        ages = [p for p in found.of("time_s", scene) if p.value != 0]
        if ages:
            parts.append(f"{ages[-1].mean:.3f} after {SWEEPS['time_s'].text(ages[-1].value)}")
        noisy = [p for p in found.of("mu", scene) if p.value != 0]
        if unswept is None and noisy:
            parts.append(f"{noisy[-1].mean:.3f} with weight noise mu = {noisy[-1].value:g}")
        sentences.append(f"{place}{', '.join(parts)}")
    return " ".join([_capital("; ".join(sentences)) + ".", *doubts(found)])


def doubts(found: Benchmark) -> list[str]:
    """What to check where the digital model's score says little, as a sentence."""
    digital = max(found.digital_score(scene) for scene in found.scenes)
    text = doubt(found.metric, digital, found.about.get("classes"), found.about.get("one_class"))
    return [f"{_capital(text)}."] if text else []


def sweep_finding(found: Benchmark, name: str) -> str:
    """What one sweep found, scene by scene."""
    parts = [
        f"{scene}: {_sentence(found, SWEEPS[name], scene)}" if scene != "all" else _sentence(found, SWEEPS[name], scene)
        for scene in found.scenes
    ]
    return _capital("; ".join(parts)) + "."


def pair_finding(found: Benchmark, name: str, scene: str) -> str:
    """Where noise-aware training helps or harms in one sweep by more than chance, and by how much at most."""
    plain, aware = found.of(name, scene, PLAIN), found.of(name, scene, AWARE)
    agreement = is_agreement(found.metric)
    losses = {p.value: Loss.of(p.headline, a.headline, agreement=agreement) for p, a in zip(plain, aware, strict=True)}
    helped = [value for value, loss in losses.items() if loss.high < 0]
    harmed = [value for value, loss in losses.items() if loss.low > 0]
    text, when = SWEEPS[name].text, SWEEPS[name].when
    parts = []
    if helped:
        best = min(helped, key=lambda v: losses[v].mean)
        parts.append(f"helps at {', '.join(map(text, helped))}: {losses[best].gain_text} {when(best)}")
    if harmed:
        worst = max(harmed, key=lambda v: losses[v].mean)
        parts.append(f"harms at {', '.join(map(text, harmed))}: {losses[worst].gain_text} {when(worst)}")
    if not parts:
        best = min(losses, key=lambda v: losses[v].mean)
        parts.append(f"no difference beyond chance: at most {losses[best].gain_text} {when(best)}")
    where = "" if scene == "all" else f", {scene}"
    return f"{_capital(SWEEPS[name].title)}{where}: {'; '.join(parts)}."


def student_overview(found: Benchmark) -> str:
    """What distillation without noise does, and how students compare with their noisy teachers."""
    before, best, ideal = (found.student(name) for name in (BEFORE, DIGITAL_TEACHER, TRUE_LABELS))
    if before is None or best is None or ideal is None:
        return ""
    pairs = [
        (taught, taught_by)
        for name in found.taught_sweeps
        for student, teacher in zip(found.of(name, "student"), found.of(name, "teacher"), strict=True)
        for taught, taught_by in zip(student.headline, teacher.headline, strict=True)
    ]
    better = sum(student > teacher for student, teacher in pairs)
    return (
        f"Taught without noise the student goes from {before.mean:.3f} to {best.mean:.3f}, by true labels to "
        f"{ideal.mean:.3f}. In {better} of {len(pairs)} distillations it becomes better than the teacher was."
    )


def student_finding(found: Benchmark, name: str) -> str:
    """What the teacher's noise costs its students."""
    before, best = found.student(BEFORE), found.student(DIGITAL_TEACHER)
    if before is None or best is None:
        return ""
    sweep, students, teachers = SWEEPS[name], found.of(name, "student"), found.of(name, "teacher")
    clean = next(p for p in found.students if (p.value, p.scene) == (DIGITAL_TEACHER, "teacher"))
    costs = [
        f"the student loses {Loss.of(best.headline, student.headline).text} "
        f"and its teacher {Loss.of(clean.headline, teacher.headline).text} {sweep.when(student.value)}"
        for student, teacher in zip(students, teachers, strict=True)
    ]
    harmful = next((p for p in students if p.mean <= before.mean), None)
    if harmful is None:
        least = min(p.mean for p in students)
        end = f"distillation still helps at all of these: {before.mean:.3f} becomes {least:.3f} or more"
    else:
        where = sweep.phrase(harmful.value)
        end = f"distillation does harm from {where} on: {before.mean:.3f} becomes {harmful.mean:.3f}"
    return _capital("; ".join([*dict.fromkeys((costs[len(costs) // 2], costs[-1])), end])) + "."


def loss_at(found: Benchmark, point: SweepPoint) -> Loss:
    """What a value costs against the reference of its sweep."""
    before = _reference(found, point.sweep, point.scene, point.training, len(point.headline))
    return Loss.of(before, point.headline, agreement=is_agreement(found.metric))


def _reference(found: Benchmark, sweep: str, scene: str, training: str, draws: int) -> Sequence[float]:
    unswept = found.unswept_in(scene, training)
    if sweep in AGAINST_DIGITAL or unswept is None:
        return [found.digital_score(scene, training)] * draws
    return unswept.headline


def _sentence(found: Benchmark, sweep: Sweep, scene: str) -> str:
    if not is_agreement(found.metric) and found.digital_score(scene) <= 0:
        return "nothing to lose, as the digital model scores nothing"
    points = found.of(sweep.name, scene)
    if sweep.worse is None:
        best, worst = max(points, key=lambda p: p.mean), min(points, key=lambda p: p.mean)
        return (
            f"best {sweep.phrase(best.value)} with {best.mean:.3f}, "
            f"worst {sweep.phrase(worst.value)} with {worst.mean:.3f}"
        )
    ordered = sorted(points, key=lambda p: p.value, reverse=sweep.worse == "down")
    losses = {p.value: loss_at(found, p) for p in ordered}
    held = list(itertools.takewhile(lambda p: losses[p.value].mean <= TOLERATED, ordered))
    lost = [p for p in ordered if losses[p.value].mean > TOLERATED]
    parts = []
    # The first value is often the reference itself; that it costs nothing is no finding.
    if len(held) > 1 or not lost:
        within = "within 0.01" if is_agreement(found.metric) else "within a point"
        parts.append(f"{within} {'down' if sweep.worse == 'down' else 'up'} to {sweep.phrase(held[-1].value)}")
    if lost:
        loses = "falls by" if is_agreement(found.metric) else "loses"
        parts.append(f"{loses} {losses[lost[0].value].text} {sweep.when(lost[0].value)}")
    if len(lost) > 1:
        parts.append(f"{losses[lost[-1].value].text} {sweep.when(lost[-1].value)}")
    reference = fmean(_reference(found, sweep.name, scene, found.main_training, len(points[0].headline)))
    half = next((p for p in ordered if p.mean < reference / 2), None)
    if half is not None:
        parts.append(f"below half of {reference:.3f} from {sweep.phrase(half.value)} on")
    return ", ".join(parts)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
