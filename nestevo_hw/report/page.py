"""The page of a run: one HTML file without anything outside it, and its pictures as files beside it."""

import json
from pathlib import Path

from matplotlib.figure import Figure

from nestevo_hw.base.files import write_text
from nestevo_hw.base.names import file_part
from nestevo_hw.base.stats import mean
from nestevo_hw.pages.parts import origin_of
from nestevo_hw.pages.shell import render
from nestevo_hw.pages.style import LIGHT, THEMED, Mark, Palette, inline_svg, save_png, save_svg
from nestevo_hw.report import forgetting, knowledge, tables, timing, upkeep, wording
from nestevo_hw.report.events import Run, read_run
from nestevo_hw.report.overview import overview
from nestevo_hw.report.plots import DRIFT_MARKS, accuracy_limits, has_scores, stage_marks, teacher_panel, terminal_panel
from nestevo_hw.report.records.teacher import Drift, Groups
from nestevo_hw.report.records.terminal import TEACHER, Accuracy, Lifecycle
from nestevo_hw.report.samples import data_uri, latest_sample, load_picture
from nestevo_hw.report.summary import Summary, evolutions, part_origins, summary_of


def write_report(run_dir: Path) -> Path:
    """Write report.html, overview.png and plots/*.svg of a run, complete or so far, into its folder.

    Args:
        run_dir: folder with run.json and metrics.jsonl.

    Returns:
        Path of report.html.

    Raises:
        InputError: the folder is not that of a run, or a file in it is corrupt.
    """
    run = read_run(run_dir)
    summary = summary_of(run)
    page = run_dir / "report.html"
    save_png(overview(run, summary, LIGHT), run_dir / "overview.png")
    for name, figure in figures(run, LIGHT).items():
        save_svg(figure, run_dir / "plots" / f"{file_part(name)}.svg")
    write_text(page, page_text(run, summary))  # last: where it is, the pictures are
    return page


def figures(run: Run, palette: Palette) -> dict[str, Figure]:
    """All pictures of a run by name, those without data empty."""
    limits = accuracy_limits(run)
    return {f"terminal-{name}": terminal_panel(run, name, palette, limits) for name in run.terminals} | {
        "teacher": teacher_panel(run, palette, limits),
        "upkeep": upkeep.upkeep_panel(run, palette),
        "trigger": knowledge.trigger_panel(run, palette),
        "tasks": timing.gantt(run, palette),
        "delay": timing.delay_parts(run, palette),
        "predicted-time": timing.prediction_scatter(run, palette, memory=False),
        "predicted-memory": timing.prediction_scatter(run, palette, memory=True),
    }


def page_text(run: Run, summary: Summary) -> str:
    """The HTML of a run's page."""
    config, origins = run.header.config, part_origins(run)
    values = {
        "run": run,
        "name": run.directory.resolve().name,
        "summary": summary,
        "headline": wording.headline(run, summary),
        "lede": wording.lede(run, summary),
        "unfinished": wording.unfinished(run),
        "impression": wording.IMPRESSION if run.header.impression else "",
        "place": wording.teacher_place(config),
        "teacher_name": wording.teacher_name(config),
        "teacher_origin": wording.teacher_origin(config),
        "delay_origin": origin_of(origins.values()),
        "delay_origins": wording.origins_text(origins),
        "window_s": mean(e.window_s for e in run.of(Lifecycle)),
        "svg": {name: inline_svg(figure) for name, figure in figures(run, THEMED).items()},
        "gantt_px": round(timing.gantt_width_in(run) * 96) if run.windows > 4 else 760,
        "marks": _marks(run),
        "drift": bool(run.of(Drift)),
        "scored": has_scores(run),
        "teacher_norms": {e.stage: e.scene_norm for e in run.of(Accuracy) if e.model == TEACHER},
        "samples": {name: _samples(run, name) for name in run.terminals},
        "programmings": tables.programmings_table(run),
        "refreshes": tables.refreshes_table(run),
        "decisions": tables.decisions_table(run),
        "trigger": knowledge.trigger_text(run),
        "paths": tables.paths_table(run),
        "selections": tables.selections_table(run),
        "related": tables.related_table(run),
        "cameras": tables.cameras_table(run),
        "recall": forgetting.recall_table(run),
        "groups": [(event, tables.groups_table(event)) for event in run.of(Groups)],
        "troubles": tables.troubles_table(run),
        "on_crossbar": any(run.kind(t.kind).resource == "crossbar" for t in timing.timed(run)),
        "errors": {name: timing.error_text(run, memory=name == "memory") for name in ("time", "memory")},
        "time_factor": timing.typical_factor(timing.predictions(run, memory=False)),
        "memory_name": wording.memory_name(run),
        "config": json.dumps(config, indent=2, ensure_ascii=False),
    }
    return render("run.html", values)


def _marks(run: Run) -> dict[str, list[Mark]]:
    """Keys of the pictures: of what there is in this run."""
    tasks = timing.timed(run)
    scored = [e for name in run.terminals for e in evolutions(run, name, scene=name)]
    windows = [[t for t in tasks if t.window == window] for window in range(run.windows)]
    fullest = max(windows, key=lambda own: len({t.kind for t in own}), default=[])
    during = sorted(fullest, key=lambda t: t.started_s)
    return {
        "terminals": [*stage_marks(scored), *(DRIFT_MARKS if run.of(Drift) else ())],
        "teacher": stage_marks(evolutions(run, TEACHER), "teacher"),
        "upkeep": list(upkeep.MARKS) if upkeep.readings(run) else [],
        "trigger": list(knowledge.MARKS.values()),
        "kinds": timing.kind_marks(run, dict.fromkeys(t.kind for t in tasks)),
        "steps": timing.kind_marks(run, dict.fromkeys(t.kind for t in during if t.kind in run.header.kinds)),
        "delay": timing.part_marks(run),
    }


def _samples(run: Run, terminal: str) -> dict[str, object] | None:
    """The same frame as the old and as the evolved model see it, and as it is, for the page to embed."""
    found = latest_sample(run, terminal)
    if found is None:
        return None
    pictures = {"before": found.before, "after": found.after, "truth": found.truth}
    shown = {stage: data_uri(load_picture(path)) for stage, path in pictures.items() if path is not None}
    return {"window": found.window, "pictures": shown}
