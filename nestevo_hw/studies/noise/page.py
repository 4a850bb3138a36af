"""The page of a benchmark: one HTML file without anything outside it, in the style of a run's page."""

from collections.abc import Mapping

from markupsafe import Markup

from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.pages.formats import DASH, interval, metric_text, score
from nestevo_hw.pages.shell import render
from nestevo_hw.pages.style import THEMED, inline_svg
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.noise import plots
from nestevo_hw.studies.noise.findings import conclusion, findings_of, loss_at
from nestevo_hw.studies.noise.points import SweepPoint
from nestevo_hw.studies.noise.results import Benchmark
from nestevo_hw.studies.noise.students import BEFORE, DIGITAL_TEACHER, TRUE_LABELS
from nestevo_hw.studies.noise.sweeps import SWEEPS


def page_text(found: Benchmark) -> str:
    """The HTML of a benchmark's page."""
    captions = findings_of(found)
    captions[plots.AGAINST_TEACHER] = "each dot is one student; above the line it is better than its teacher"
    swept = dict.fromkeys(str(p.value) for p in found.points if p.sweep == "analog")
    values = {
        "found": found,
        "about": found.about,
        "lede": conclusion(found),
        "captions": captions,
        "before": found.student(BEFORE),
        "last": found.of(found.taught_sweeps[-1], "student")[-1] if found.taught_sweeps else None,
        "catalogue": SWEEPS,
        "repeats": max((len(p.headline) for p in found.points), default=0),
        "sweeps": drawn(plots.sweep_panels(found, THEMED), found.metric),
        "pairs": drawn(plots.pair_panels(found, THEMED), found.metric),
        "students": drawn(plots.student_panels(found, THEMED), found.metric),
        "marks": {"sweeps": plots.sweep_marks(found), "pairs": plots.PAIR_MARKS, "students": plots.STUDENT_MARKS},
        "references": _references(found),
        "sources": [(f"device {n}", find_preset(n).source) for n in swept if n != found.about["analog"]],
        "simulated": [
            *(
                (SWEEPS[sweep].title, SWEEPS[sweep].described(found.age_s))
                for sweep in (*found.sweeps, *found.taught_sweeps)
            ),
            *(("not swept", text) for text in found.about["left_out"]),
        ],
        "figures": _figures(found),
    }
    return render("noise.html", values)


def drawn(panels: Mapping[str, plots.Draw], metric: str) -> dict[str, Markup]:
    """Panels as pictures of a page, by name."""
    return {name: inline_svg(plots.alone(draw, metric, THEMED)) for name, draw in panels.items()}


def interval_text(point: SweepPoint) -> str:
    """The 95 % interval of a point; a dash for a single score."""
    return interval(point.ci95 if len(point.headline) > 1 else None)


def _references(found: Benchmark) -> Table:
    """Students to compare with."""
    known = [(name, found.student(name)) for name in (BEFORE, DIGITAL_TEACHER, TRUE_LABELS)]
    rows = [(name, score(p.mean), interval_text(p)) for name, p in known if p is not None]
    return Table(heads=("student", metric_text(found.metric), "95 % interval"), rows=rows, note="to compare with")


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
