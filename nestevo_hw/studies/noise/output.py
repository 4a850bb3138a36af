"""The files of a benchmark."""

from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import write_json
from nestevo_hw.base.files import write_text
from nestevo_hw.pages.formats import metric_text, score
from nestevo_hw.pages.style import LIGHT, save_png
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.noise.findings import conclusion, findings_of
from nestevo_hw.studies.noise.journal import RESULTS
from nestevo_hw.studies.noise.page import interval_text, page_text
from nestevo_hw.studies.noise.plots import draw_pair, draw_students, draw_sweeps
from nestevo_hw.studies.noise.points import write_csv
from nestevo_hw.studies.noise.results import Benchmark
from nestevo_hw.studies.noise.sweeps import SWEEPS


def write_benchmark(found: Benchmark, folder: Path) -> list[str]:
    """Write results.csv, the pictures, report.html and, when all else is there, results.json.

    Returns:
        Names of the files.
    """
    pictures = {
        "results.png": draw_sweeps if found.sweeps else None,
        "noise-aware.png": draw_pair if found.paired else None,
        "students.png": draw_students if found.taught_sweeps else None,
    }
    written = ["results.csv"]
    write_text(folder / "results.csv", write_csv(found.points))
    for name, draw in pictures.items():
        if draw is not None:
            save_png(draw(found, LIGHT), folder / name)
            written.append(name)
    write_text(folder / "report.html", page_text(found))
    write_json(folder / RESULTS, document_of(found))
    return [*written, "report.html", RESULTS]


def document_of(found: Benchmark) -> dict[str, Any]:
    """The machine-readable report with its sentences."""
    return {
        **found.document(),
        "conclusion": conclusion(found),
        "findings": findings_of(found),
    }


def scores_table(found: Benchmark) -> Table:
    """Every value of every sweep with its score."""
    about = found.about
    where = about["analog"] if found.on_device else "weight noise"
    return Table(
        title=f"{about['model']} ({about['weights']}), {where}: {metric_text(found.metric)} (simulated)",
        heads=("sweep", "value", "on", "mean", "95 % interval"),
        rows=[
            (p.sweep, SWEEPS[p.sweep].text(p.value), p.variant, score(p.mean), interval_text(p)) for p in found.points
        ],
    )


def sentences(found: Benchmark) -> list[str]:
    """What was found, one line each."""
    return [conclusion(found), *(f"{name}: {sentence}" for name, sentence in findings_of(found).items())]
