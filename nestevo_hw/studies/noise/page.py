"""The page of a benchmark: one HTML file without anything outside it, in the style of a run's page."""

from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.pages.formats import DASH, interval, metric_text, score
from nestevo_hw.pages.parts import MEASURED, SIMULATED, Picture, Tile
from nestevo_hw.pages.style import THEMED
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.noise import plots
from nestevo_hw.studies.noise.findings import (
    conclusion,
    loss_at,
    pair_finding,
    student_finding,
    student_overview,
    sweep_finding,
)
from nestevo_hw.studies.noise.points import SweepPoint
from nestevo_hw.studies.noise.results import Benchmark
from nestevo_hw.studies.noise.students import BEFORE, DIGITAL_TEACHER, TRUE_LABELS
from nestevo_hw.studies.noise.sweeps import SWEEPS


def page_values(found: Benchmark) -> dict[str, object]:
    """What the template noise.html names."""
    return {
        "about": found.about,
        "on_device": found.on_device,
        "lede": conclusion(found),
        "tiles": _tiles(found),
        "metric": metric_text(found.metric),
        "repeats": max((len(p.headline) for p in found.points), default=0),
        "sweeps": _sweeps(found),
        "sweep_marks": plots.sweep_marks(found),
        "pairs": _pairs(found),
        "pair_marks": plots.PAIR_MARKS,
        "students": _students(found),
        "student_marks": plots.STUDENT_MARKS,
        "overview": student_overview(found) if found.taught_sweeps else "",
        "references": Table(
            heads=("student", metric_text(found.metric), "95 % interval"),
            rows=[
                (name, score(p.mean), interval_text(p))
                for name in (BEFORE, DIGITAL_TEACHER, TRUE_LABELS)
                if (p := found.student(name)) is not None
            ],
            note="to compare with",
        ),
        "facts": _facts(found),
        "figures": _figures(found),
    }


def interval_text(point: SweepPoint) -> str:
    """The 95 % interval of a point; a dash for a single score."""
    return interval(point.ci95 if len(point.headline) > 1 else None)


def _tiles(found: Benchmark) -> list[Tile]:
    tiles = []
    for scene in found.scenes:
        digital, programmed = score(found.digital_score(scene)), found.programmed(scene)
        where = "" if scene == "all" else f", {scene}"
        if programmed is None:
            tiles.append(Tile(name=f"digital{where}", origin=MEASURED, value=digital, hint="without any noise"))
        else:
            tiles.append(Tile(name=f"digital to programmed{where}", origin=SIMULATED, before=digital,
                              value=score(programmed.mean), hint=interval_text(programmed)))  # fmt: skip
    before = found.student(BEFORE)
    if before is not None:
        sweep = found.taught_sweeps[-1]
        last = found.of(sweep, "student")[-1]
        hint = f"{SWEEPS[sweep].title} {SWEEPS[sweep].text(last.value)}; {interval_text(last)}"
        tiles.append(Tile(name="student before and after its distillation", origin=MEASURED, before=score(before.mean),
                          value=score(last.mean), hint=hint))  # fmt: skip
    return tiles


def _sweeps(found: Benchmark) -> list[Picture]:
    return [
        Picture.of(plots.alone(draw, found.metric, THEMED), f"score against {SWEEPS[sweep].title}",
                   sweep_finding(found, sweep))
        for sweep, draw in plots.sweep_panels(found, THEMED).items()
    ]  # fmt: skip


def _pairs(found: Benchmark) -> list[Picture]:
    return [
        Picture.of(plots.alone(draw, found.metric, THEMED), f"{SWEEPS[sweep].title}, {scene}, both trainings",
                   pair_finding(found, sweep, scene))
        for (sweep, scene), draw in plots.pair_panels(found, THEMED).items()
    ]  # fmt: skip


def _students(found: Benchmark) -> list[Picture]:
    if not found.taught_sweeps:
        return []
    findings = {sweep: student_finding(found, sweep) for sweep in found.taught_sweeps}
    findings[plots.AGAINST_TEACHER] = "each dot is one student; above the line it is better than its teacher"
    return [
        Picture.of(plots.alone(draw, found.metric, THEMED), f"student and teacher: {name}", findings[name])
        for name, draw in plots.student_panels(found, THEMED).items()
    ]


def _facts(found: Benchmark) -> list[tuple[str, str]]:
    about = found.about
    swept = dict.fromkeys(str(p.value) for p in found.points if p.sweep == "device")
    device = [
        ("device", f"{about['device']}: {about['source']}"),
        *((f"device {name}", find_preset(name).source) for name in swept if name != about["device"]),
        ("left out", str(about["leaves_out"])),
        ("tile", " x ".join(str(side) for side in about["tile"])),
        ("backend", str(about["backend"])),
    ]
    return [
        *(device if found.on_device else []),
        ("weights", str(about["weights"])),
        ("seed", f"{about['seed']} for all noise; every repeat draws it anew"),
        ("intervals", "95 %, Student's t over the repeats: noise draws, not the choice of frames"),
        *((SWEEPS[sweep].title, SWEEPS[sweep].simulated) for sweep in (*found.sweeps, *found.taught_sweeps)),
        *(("not swept", text) for text in about["left_out"]),
    ]


def _figures(found: Benchmark) -> Table:
    metrics = tuple(found.about["metrics"])
    heads = ("sweep", "value", "on", *(metric_text(m) for m in metrics), "95 % interval", "loss", "repeats")
    rows = [
        (p.sweep, SWEEPS[p.sweep].text(p.value), p.variant,
         *(score(sum(p.scores[m]) / len(p.scores[m])) for m in metrics), interval_text(p),
         DASH if p.sweep in found.taught_sweeps else loss_at(found, p).text, str(len(p.headline)))
        for p in found.points
    ]  # fmt: skip
    return Table(heads=heads, rows=rows)
