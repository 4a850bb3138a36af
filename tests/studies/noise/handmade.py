"""A benchmark written by hand, so that every sentence about it can be checked."""

from collections.abc import Mapping, Sequence
from typing import Any

from nestevo_hw.studies.noise.bench import Scores
from nestevo_hw.studies.noise.plan import AWARE, DIGITAL, PLAIN, UNSWEPT, Trial
from nestevo_hw.studies.noise.results import Benchmark
from nestevo_hw.studies.noise.students import BEFORE, DIGITAL_TEACHER, REFERENCE, TRUE_LABELS
from nestevo_hw.studies.noise.sweeps import Value

ABOUT: dict[str, Any] = {
    "model": "net", "analog": "pcm", "task": "detection", "metric": "map50", "metrics": ["map50", "map75"],
    "weights": "made up", "perfect_io": False, "tile": [256, 256], "keep_digital": [], "backend": "auto", "seed": 0,
    "frames": 10, "note": "10 frames <of nothing>", "source": "nobody & nowhere", "leaves_out": "all",
    "left_out": ["ir_drop: no model"], "student": "small", "teaching_note": "a lesson", "pair_note": "a pair",
}  # fmt: skip


def trial(sweep: str, value: Value, draw: int, training: str, scores: Mapping[str, float]) -> tuple[Trial, Scores]:
    """A trial with scores by scene; the second metric is half the first."""
    by_scene = {scene: {"map50": score, "map75": score / 2} for scene, score in scores.items()}
    return Trial(sweep=sweep, value=value, repeat=draw, training=training), by_scene


def line(sweep: str, scores: Mapping[Value, Sequence[float]], training: str = "") -> list[tuple[Trial, Scores]]:
    """Trials of a sweep scored by day, and by night 0.1 lower."""
    return [
        trial(sweep, value, draw, training, {"day": score, "night": score - 0.1})
        for value, draws in scores.items() for draw, score in enumerate(draws)
    ]  # fmt: skip


def lesson(sweep: str, value: Value, teacher: Sequence[float], student: Sequence[float]) -> list[tuple[Trial, Scores]]:
    """Trials of lessons."""
    pairs = enumerate(zip(teacher, student, strict=True))
    return [trial(sweep, value, r, "", {"teacher": t, "student": s}) for r, (t, s) in pairs]


SWEPT = [
    *line(DIGITAL, {DIGITAL: [0.9]}),
    *line(UNSWEPT, {UNSWEPT: [0.80, 0.84]}),
    *line("mu", {0.0: [0.9, 0.9], 0.1: [0.5, 0.7]}),
    *line("time_s", {0.0: [0.80, 0.84], 86_400.0: [0.70, 0.76]}),
    *line("adc_bits", {4.0: [0.30, 0.38], 6.0: [0.70, 0.74], 7.0: [0.795, 0.835], 8.0: [0.80, 0.84]}),
    *line("read_noise", {0.0: [0.80, 0.84], 0.1: [0.80, 0.84]}),
    *line("analog", {"pcm": [0.70, 0.76], "reram-cmo": [0.4, 0.5]}),
]
TAUGHT = [
    *[trial(REFERENCE, BEFORE, 0, "", {"student": 0.40})],
    *[trial(REFERENCE, DIGITAL_TEACHER, r, "", {"teacher": 0.7, "student": s}) for r, s in enumerate((0.60, 0.64))],
    *[trial(REFERENCE, TRUE_LABELS, r, "", {"student": s}) for r, s in enumerate((0.70, 0.74))],
    *lesson("student_mu", 0.0, (0.7, 0.7), (0.60, 0.64)),
    *lesson("student_mu", 0.1, (0.1, 0.2), (0.30, 0.38)),
    *lesson("student_time_s", 86_400.0, (0.60, 0.66), (0.55, 0.61)),
]
PAIRED = [
    *line(DIGITAL, {DIGITAL: [0.9]}, PLAIN), *line(DIGITAL, {DIGITAL: [0.88]}, AWARE),
    *line("mu", {0.0: [0.9, 0.9], 0.1: [0.5, 0.7]}, PLAIN), *line("mu", {0.0: [0.88, 0.88], 0.1: [0.62, 0.82]}, AWARE),
]  # fmt: skip


def benchmark(*parts: Sequence[tuple[Trial, Scores]], **about: object) -> Benchmark:
    """The benchmark of these trials."""
    return Benchmark.of_trials({**ABOUT, **about}, dict(entry for part in parts for entry in part))


def only(*names: str) -> list[tuple[Trial, Scores]]:
    """The trials of some sweeps, with the digital model."""
    return [entry for entry in SWEPT if entry[0].sweep in (DIGITAL, *names)]
