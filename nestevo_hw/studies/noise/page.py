"""The page of a benchmark: one HTML file without anything outside it, in the style of a run's page."""

from html import escape
from importlib import resources
from string import Template

from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.pages.markup import MEASURED, SIMULATED, card, cards, facts, heading, legend, note, pill, table, tile
from nestevo_hw.pages.style import DARK, LIGHT, THEMED, css_variables, inline_svg
from nestevo_hw.report.wording import DASH
from nestevo_hw.studies.noise.findings import (
    conclusion,
    loss_at,
    pair_finding,
    student_finding,
    student_overview,
    sweep_finding,
)
from nestevo_hw.studies.noise.plan import AWARE, PLAIN
from nestevo_hw.studies.noise.plots import draw_lesson, draw_pair_panel, draw_sweep, metric_text
from nestevo_hw.studies.noise.points import SweepPoint
from nestevo_hw.studies.noise.results import Benchmark
from nestevo_hw.studies.noise.students import BEFORE, DIGITAL_TEACHER, TRUE_LABELS
from nestevo_hw.studies.noise.sweeps import SWEEPS

_SCENE_ROLES = ("before", "teacher", "after", "aggregate")


def page_text(found: Benchmark) -> str:
    """The HTML of a benchmark's page."""
    parts = (_opening(found), _tiles(found), _sweeps(found), _pair(found), _students(found), _simulated(found),
             _numbers(found), _closing())  # fmt: skip
    return whole_page(f"Noise benchmark · {found.about['model']} · NestEvo-HW", parts)


def whole_page(title: str, parts: tuple[str, ...]) -> str:
    """A page of the house with these parts; empty ones are left out."""
    template = Template((resources.files("nestevo_hw.report") / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title), light=css_variables(LIGHT), dark=css_variables(DARK),
        body="\n".join(part for part in parts if part),
    )  # fmt: skip


def _opening(found: Benchmark) -> str:
    about = found.about
    device = f"{about['device']} crossbar" + (", perfect input and output" if about["perfect_io"] else "")
    return (
        f'<p class="eyebrow"><b>NestEvo-HW</b> <span>noise benchmark</span> {pill("simulated devices", "wait")}</p>'
        f"<h1>{escape(about['model'])} on a {escape(device)}</h1>"
        f'<p class="lede">{escape(conclusion(found))}</p>{note(str(about["note"]))}'
    )


def _tiles(found: Benchmark) -> str:
    tiles = []
    for scene in found.scenes:
        digital, programmed = found.digital_score(scene), found.programmed(scene)
        where = "" if scene == "all" else f", {scene}"
        if programmed is not None:
            value = f'<span class="from">{digital:.3f} →</span> {programmed.mean:.3f}'
            tiles.append(tile(f"digital to programmed{where}", SIMULATED, value, interval_text(programmed)))
        else:
            tiles.append(tile(f"digital{where}", MEASURED, f"{digital:.3f}", "without any noise"))
    before = found.student(BEFORE)
    if before is not None:
        sweep = found.taught_sweeps[-1]
        last = found.of(sweep, "student")[-1]
        value = f'<span class="from">{before.mean:.3f} →</span> {last.mean:.3f}'
        hint = f"{SWEEPS[sweep].title} {SWEEPS[sweep].text(last.value)}; {interval_text(last)}"
        tiles.append(tile("student before and after its lesson", SIMULATED, value, hint))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _sweeps(found: Benchmark) -> str:
    if not found.sweeps:
        return ""
    entries = [("line", role, scene) for role, scene in zip(_SCENE_ROLES, found.scenes, strict=False) if scene != "all"]
    drawn = [
        card(
            inline_svg(draw_sweep(found, sweep, THEMED), f"{metric_text(found.metric)} against {SWEEPS[sweep].title}"),
            sweep_finding(found, sweep),
        )
        for sweep in found.sweeps
    ]
    text = (
        f"{metric_text(found.metric)}, mean over {_repeats(found)} programmings with its 95 % interval (band or bar). "
        "Dashed: the digital model. Dotted: the device as it is, right after programming."
    )
    return heading("What each imperfection costs", SIMULATED) + note(text) + legend(entries) + cards(drawn)


def _pair(found: Benchmark) -> str:
    if not found.paired:
        return ""
    text = (
        f"{found.about['pair_note']} Gains of the noise-aware model over the plain one are paired by draw and stand "
        "with their 95 % interval."
    )
    drawn = [
        card(
            inline_svg(draw_pair_panel(found, sweep, scene, THEMED), f"{SWEEPS[sweep].title}, {scene}, both trainings"),
            pair_finding(found, sweep, scene),
        )
        for scene in found.scenes for sweep in found.paired
    ]  # fmt: skip
    key = legend([("line", "before", PLAIN), ("line", "after", AWARE)])
    return heading("With and without noise-aware training", SIMULATED) + note(text) + key + cards(drawn)


def _students(found: Benchmark) -> str:
    if not found.taught_sweeps:
        return ""
    drawn = [
        card(inline_svg(draw_lesson(found, sweep, THEMED), f"student and teacher against {SWEEPS[sweep].title}"),
             student_finding(found, sweep))
        for sweep in found.taught_sweeps
    ]  # fmt: skip
    drawn.append(card(inline_svg(draw_lesson(found, None, THEMED), "student against teacher"),
                      "each dot is one lesson; above the line the student is better than its teacher"))  # fmt: skip
    rows = [
        (name, f"{p.mean:.3f}", interval_text(p)) for name in (BEFORE, DIGITAL_TEACHER, TRUE_LABELS)
        for p in [found.student(name)] if p is not None
    ]  # fmt: skip
    key = legend([("line", "teacher", "teacher"), ("line", "after", "student it teaches")])
    return (
        heading("How good students become", SIMULATED)
        + note(str(found.about["teaching_note"]))
        + note(student_overview(found))
        + key
        + cards(drawn)
        + cards([card(table(("student", metric_text(found.metric), "95 % interval"), rows), "to compare with")])
    )  # fmt: skip


def _simulated(found: Benchmark) -> str:
    about = found.about
    rows = [
        ("device", f"{about['device']}: {about['source']}"),
        *((f"device {name}", find_preset(name).source) for name in _other_devices(found)),
        ("left out", str(about["leaves_out"])),
        ("tile", " x ".join(str(side) for side in about["tile"])),
        ("backend", str(about["backend"])),
        ("weights", str(about["weights"])),
        ("seed", f"{about['seed']} for all noise; every repeat programs anew"),
        ("intervals", "95 %, Student's t over the repeats: noise draws, not the choice of frames"),
        *((SWEEPS[sweep].title, SWEEPS[sweep].simulated) for sweep in (*found.sweeps, *found.taught_sweeps)),
        *(("not swept", text) for text in about["left_out"]),
    ]
    return heading("What is simulated, and where the figures come from") + card(facts(rows))


def _other_devices(found: Benchmark) -> list[str]:
    values = dict.fromkeys(str(p.value) for p in found.points if p.sweep == "device")
    return [name for name in values if name != found.about["device"]]


def _numbers(found: Benchmark) -> str:
    metrics = tuple(found.about["metrics"])
    heads = ("sweep", "value", "on", *(metric_text(m) for m in metrics), "95 % interval", "loss", "repeats")
    rows = [
        (p.sweep, SWEEPS[p.sweep].text(p.value), p.variant,
         *(f"{sum(p.scores[m]) / len(p.scores[m]):.3f}" for m in metrics), interval_text(p), _loss(found, p),
         str(len(p.headline)))
        for p in found.points
    ]  # fmt: skip
    return heading("All figures", SIMULATED) + card(table(heads, rows))


def _closing() -> str:
    return (
        "<footer>Written by <code>nestevo-hw bench-noise</code>; results.csv and results.json hold the same.</footer>"
    )


def _loss(found: Benchmark, point: SweepPoint) -> str:
    return DASH if point.sweep in found.taught_sweeps else loss_at(found, point).text


def interval_text(point: SweepPoint) -> str:
    """The 95 % interval of a point; a dash for a single score."""
    if len(point.headline) < 2:
        return DASH
    low, high = point.ci95
    return f"{low:.3f} to {high:.3f}"


def _repeats(found: Benchmark) -> int:
    return max(len(p.headline) for p in found.points)
