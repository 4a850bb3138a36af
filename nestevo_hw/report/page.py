"""The page of a run: one HTML file without anything outside it."""

from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from nestevo_hw.base.files import write_text
from nestevo_hw.pages.style import DARK, LIGHT, css_variables, save_png, save_svg
from nestevo_hw.report import sections, server_sections, terminal_sections
from nestevo_hw.report.events import Run, read_run
from nestevo_hw.report.overview import overview
from nestevo_hw.report.plots import teacher_panel, terminal_panel
from nestevo_hw.report.timing import delay_parts, gantt, prediction_scatter
from nestevo_hw.report.upkeep import upkeep, upkeep_panel


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
    page = run_dir / "report.html"
    write_text(page, page_text(run))
    save_png(overview(run, LIGHT), run_dir / "overview.png")
    _save_plots(run, run_dir / "plots")
    return page


def page_text(run: Run) -> str:
    """The HTML of a run's page."""
    template = Template((resources.files("nestevo_hw.report") / "page.html").read_text(encoding="utf-8"))
    parts = (
        sections.opening(run),
        sections.tiles(run),
        sections.method_steps(run),
        sections.terminals(run),
        server_sections.teacher(run),
        upkeep(run),
        server_sections.decisions(run),
        terminal_sections.knowledge(run),
        terminal_sections.troubles(run),
        server_sections.timing(run),
        sections.reproduce(run),
        sections.closing(),
    )
    return template.substitute(
        title=escape(f"{run.header.method} · {run.directory.resolve().name} · NestEvo-HW"),
        light=css_variables(LIGHT),
        dark=css_variables(DARK),
        body="\n".join(part for part in parts if part),
    )


def _save_plots(run: Run, folder: Path) -> None:
    figures = {f"terminal-{name}": terminal_panel(run, name, LIGHT) for name in run.terminals}
    figures |= {
        "teacher": teacher_panel(run, LIGHT),
        "upkeep": upkeep_panel(run, LIGHT),
        "trigger": terminal_sections.trigger_panel(run, LIGHT),
        "tasks": gantt(run, LIGHT),
        "delay": delay_parts(run, LIGHT),
        "predicted-time": prediction_scatter(run, LIGHT, memory=False),
        "predicted-memory": prediction_scatter(run, LIGHT, memory=True),
    }
    for name, figure in figures.items():
        save_svg(figure, folder / f"{name.replace('/', '_')}.svg")
