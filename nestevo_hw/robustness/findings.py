"""What a benchmark found, in sentences computed from its points."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from nestevo_hw.robustness.plan import AWARE, PLAIN
from nestevo_hw.robustness.points import SweepPoint, t_interval
from nestevo_hw.robustness.results import Benchmark
from nestevo_hw.robustness.students import BEFORE, DIGITAL_TEACHER, TRUE_LABELS
from nestevo_hw.robustness.sweeps import SWEEPS, Sweep

TOLERATED = 0.01
"""A loss up to here counts as none: one point."""
AGAINST_DIGITAL = ("mu", "time_s", "tile", "device")
"""Sweeps whose losses are against the digital model; those of the others against the device as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a value costs, paired draw by draw."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, before: Sequence[float], after: Sequence[float]) -> "Loss":
        """Of two series of scores over the same draws."""
        differences = [b - a for b, a in zip(before, after, strict=True)]
        low, high = t_interval(differences)
        return cls(mean=fmean(differences), low=low, high=high)

    @property
    def text(self) -> str:
        """In points, with its interval."""
        return f"{100 * self.mean:.1f} points ({100 * self.low:.1f} to {100 * self.high:.1f})"

    @property
    def gain_text(self) -> str:
        """The same as a gain, with sign."""
        return f"{-100 * self.mean:+.1f} points ({-100 * self.high:+.1f} to {-100 * self.low:+.1f})"


def conclusion(found: Benchmark) -> str:
    """The outcome in a sentence for each scene."""
    sentences = []
    for scene in found.scenes:
        digital, place = found.digital_score(scene), _where(scene)
        parts = [f"the digital model scores {digital:.3f}"]
        programmed = found.programmed(scene)
        if programmed is not None:
            parts.append(f"{programmed.mean:.3f} on {found.about['device']} right after programming")
        ages = [p for p in found.of("time_s", scene) if p.value != 0]
        if ages:
            parts.append(f"{ages[-1].mean:.3f} after {SWEEPS['time_s'].text(ages[-1].value)}")
        noisy = [p for p in found.of("mu", scene) if p.value != 0]
        if programmed is None and noisy:
            parts.append(f"{noisy[-1].mean:.3f} with weight noise mu = {noisy[-1].value:g}")
        sentences.append(f"{place}{', '.join(parts)}")
    text = "; ".join(sentences) + "."
    return text[0].upper() + text[1:]


def sweep_findings(found: Benchmark, name: str) -> list[str]:
    """A sentence on one sweep for each scene."""
    return [_where(scene, capital=True) + _sentence(found, SWEEPS[name], scene) + "." for scene in found.scenes]


def pair_findings(found: Benchmark) -> list[str]:
    """What noise-aware training changed, sweep by sweep, and whether that is more than chance."""
    sentences = []
    for name in found.paired:
        for scene in found.scenes:
            plain, aware = found.of(name, scene, PLAIN), found.of(name, scene, AWARE)
            gains = {a.value: Loss.of(p.headline, a.headline) for p, a in zip(plain, aware, strict=True)}
            first, last = plain[0], plain[-1]
            text = SWEEPS[name].text
            sentences.append(
                f"{SWEEPS[name].title}, {scene}: {gains[first.value].gain_text} at {text(first.value)}, "
                f"{gains[last.value].gain_text} at {text(last.value)}: {_verdict(gains[last.value])}."
            )
    return sentences


def student_findings(found: Benchmark) -> list[str]:
    """What the teacher's noise costs its students."""
    before, best, ideal = (found.student(name) for name in (BEFORE, DIGITAL_TEACHER, TRUE_LABELS))
    if before is None or best is None or ideal is None:
        return []
    sentences = [
        f"Without noise the student rises from {before.mean:.3f} to {best.mean:.3f}; taught by true labels it reaches "
        f"{ideal.mean:.3f}."
    ]
    for name in found.lessons:
        students, teachers = found.of(name, "student"), found.of(name, "teacher")
        text, worst = SWEEPS[name].text, students[-1]
        taught = Loss.of(best.headline, worst.headline)
        clean = teachers[0] if name == "student_mu" and teachers[0].value == 0 else None
        cost = f", the teacher {Loss.of(clean.headline, teachers[-1].headline).text}" if clean is not None else ""
        label = "mu = " if name == "student_mu" else ""
        sentences.append(f"At {label}{text(worst.value)} the student loses {taught.text}{cost}.")
        useless = next((p for p in students if p.mean <= before.mean), None)
        sentences.append(
            f"Up to {label}{text(worst.value)} a lesson still helps: the student ends at {worst.mean:.3f}."
            if useless is None
            else f"From {label}{text(useless.value)} on a lesson does harm: the student ends at {useless.mean:.3f}, "
            f"below its {before.mean:.3f} before."
        )
    return sentences


def loss_at(found: Benchmark, point: SweepPoint) -> Loss:
    """What a value costs against the reference of its sweep."""
    return Loss.of(_reference(found, point.sweep, point.scene, point.training, len(point.headline)), point.headline)


def _reference(found: Benchmark, sweep: str, scene: str, training: str, draws: int) -> Sequence[float]:
    programmed = found.programmed(scene, training)
    if sweep in AGAINST_DIGITAL or programmed is None:
        return [found.digital_score(scene, training)] * draws
    return programmed.headline


def _sentence(found: Benchmark, sweep: Sweep, scene: str) -> str:
    points = found.of(sweep.name, scene)
    if sweep.worse is None:
        best, worst = max(points, key=lambda p: p.mean), min(points, key=lambda p: p.mean)
        return (
            f"best {sweep.text(best.value)} with {best.mean:.3f}, worst {sweep.text(worst.value)} with {worst.mean:.3f}"
        )
    ordered = sorted(points, key=lambda p: p.value, reverse=sweep.worse == "down")
    losses = [loss_at(found, p) for p in ordered]
    harmless = [p for p, loss in zip(ordered, losses, strict=True) if loss.mean <= TOLERATED]
    harmful = [(p, loss) for p, loss in zip(ordered, losses, strict=True) if loss.mean > TOLERATED]
    direction = "down to" if sweep.worse == "down" else "up to"
    parts = []
    if harmless:
        parts.append(f"within a point {direction} {sweep.text(harmless[-1].value)}")
    if harmful:
        (first, cost), (last, most) = harmful[0], harmful[-1]
        parts.append(f"loses {cost.text} at {sweep.text(first.value)}")
        if last is not first:
            parts.append(f"{most.text} at {sweep.text(last.value)}")
    reference = fmean(_reference(found, sweep.name, scene, found.main_training, len(points[0].headline)))
    half = next((p for p in ordered if p.mean < reference / 2), None)
    if half is not None:
        parts.append(f"below half of {reference:.3f} from {sweep.text(half.value)} on")
    return ", ".join(parts)


def _verdict(gain: Loss) -> str:
    if gain.high < 0:
        return "it helps"
    return "it harms" if gain.low > 0 else "no difference beyond chance"


def _where(scene: str, *, capital: bool = False) -> str:
    if scene == "all":
        return ""
    return f"{'By' if capital else 'by'} {scene} "
