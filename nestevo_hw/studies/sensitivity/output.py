"""The files of a sensitivity study, its page, and what it says on the console."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import write_json
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.files import write_text
from nestevo_hw.base.stats import Estimate
from nestevo_hw.crossbar.signal import snr_db
from nestevo_hw.pages.formats import counted, decibels, metric_text, plus_minus, signed
from nestevo_hw.pages.shell import render
from nestevo_hw.pages.style import LIGHT, THEMED, inline_svg, save_png
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.data.scores import over_frames
from nestevo_hw.studies.noise.sweeps import age_text
from nestevo_hw.studies.sensitivity.keep_digital import KeepDigitalPlan
from nestevo_hw.studies.sensitivity.measure import SensitivityReport, over_scenes, rms
from nestevo_hw.studies.sensitivity.plots import draw_sensitivity, sensitivity_marks

_RESULTS = "sensitivity.json"
_RATIOS = ("weight_snr_db", "output_snr_db", "model_output_snr_db")


def check_unwritten(folder: Path) -> None:
    """Refuse a folder that holds a study, which took minutes.

    Raises:
        ConfigError: it does.
    """
    if (folder / _RESULTS).exists():
        raise ConfigError(f"{folder} holds a sensitivity study already; choose another --out, or remove it")


def write_sensitivity(
    document: Mapping[str, Any], report: SensitivityReport, plan: KeepDigitalPlan | None, folder: Path
) -> list[str]:
    """Write sensitivity.json, .csv, .png and .html; returns their names.

    Args:
        document: the machine-readable report.
        report: what was measured.
        plan: which layers to keep digital, if one was looked for.
        folder: to write into.

    Raises:
        OutputError: a file cannot be written.
    """
    kept, metric = _kept(plan), metric_text(document["metric"])
    picture = draw_sensitivity(report, LIGHT, metric=metric, keep_digital=kept, title=_title(document))
    write_json(folder / _RESULTS, document)
    write_text(folder / "sensitivity.csv", _csv(document, kept))
    save_png(picture, folder / "sensitivity.png")
    write_text(folder / "sensitivity.html", page_text(document, report, plan))
    return [f"sensitivity.{kind}" for kind in ("json", "csv", "png", "html")]


def page_text(document: Mapping[str, Any], report: SensitivityReport, plan: KeepDigitalPlan | None) -> str:
    """The HTML of a study's page."""
    kept = _kept(plan)
    drawn = draw_sensitivity(report, THEMED, metric=metric_text(document["metric"]), keep_digital=kept)
    values = {
        "about": document,
        "title": _title(document),
        "report": report,
        "lost": _lost(Estimate.of(over_scenes(report.losses))),
        "plan": plan,
        "plan_lines": [] if plan is None else plan_lines(plan, doubtful=bool(document["doubt"])),
        "svg": inline_svg(drawn),
        "marks": sensitivity_marks(kept),
        "layers": layers_table(document, report, plan),
        "totals": totals_text(document, report),
    }
    return render("sensitivity.html", values)


def layers_table(document: Mapping[str, Any], report: SensitivityReport, plan: KeepDigitalPlan | None) -> Table:
    """All layers, the one that hurts most first; those that the plan keeps digital are marked."""
    ranked, metric = report.ranked(), metric_text(document["metric"])
    scored, complement = ranked[0].drop is not None, ranked[0].rescue is not None
    rows = [
        (str(rank), layer.name, f"{layer.layer.parameters:,}", decibels(layer.weight_snr_db),
         decibels(layer.output_snr_db), decibels(snr_db(layer.model_error)),
         *(_lost(estimate) for estimate in (layer.drop, layer.rescue) if estimate is not None))
        for rank, layer in enumerate(ranked, start=1)
    ]  # fmt: skip
    return Table(
        title=_title(document),
        heads=("#", "layer", "weights", "weight SNR dB", "output SNR dB", "model SNR dB",
               *([f"{metric} lost"] if scored else []), *(["won back"] if complement else [])),
        rows=rows,
        marked=frozenset(i for i, layer in enumerate(ranked) if layer.name in _kept(plan)),
    )  # fmt: skip


def totals_text(document: Mapping[str, Any], report: SensitivityReport) -> str:
    """The model as a whole, and whether the noise of its layers adds up."""
    metric, frames = document["metric"], int(document.get("frames", 0))
    scores = ", ".join(
        f"{'' if scene == 'all' else scene + ' '}{score:.3f}{over_frames(metric, score, frames)}"
        for scene, score in report.digital.items()
    )
    lost = _lost(Estimate.of(over_scenes(report.losses)))
    return (
        f"digital: {metric_text(metric)} {scores}; all layers on the crossbar: {lost} lost; error of the "
        f"model's raw outputs then: {rms(report.model_errors):.1%}; {report.predicted_error:.1%} if the noise of the "
        "layers just added up"
    )


_OUT_OF_REACH = "more --frames and --repeats tell more sharply what is lost; else allow a larger --target-loss"
_NOT_SHOWN = "whether everything may go onto the crossbar is not shown: the score says too little"


def plan_lines(plan: KeepDigitalPlan, *, doubtful: bool = False) -> list[str]:
    """The plan in sentences, and last as arguments of `nestevo-hw map`.

    Args:
        plan: which layers to keep digital.
        doubtful: the score says so little that nothing follows from one that is kept.
    """
    lost = ", ".join(f"{scene} {_lost(Estimate.of(values))}" for scene, values in plan.losses.items())
    heading = "plan" if plan.reached else "no plan keeps the target; the nearest found"
    everything = _NOT_SHOWN if doubtful else "everything may go onto the crossbar"
    return [
        f"{heading}: {counted(len(plan.layers), 'layer')} digital with {plan.share:.1%} of the crossbar's weights",
        f"loss on fresh programmings: {lost}; at most {plan.bound:.4f} with 95 % confidence, target {plan.target:g}",
        plan.reason,
        plan.arguments or (everything if plan.reached else _OUT_OF_REACH),
    ]


def _csv(document: Mapping[str, Any], kept: tuple[str, ...]) -> str:
    """One row a layer, the one that hurts most first."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("rank", "name", "weights", "tiles", *_RATIOS, "drop", "ci95_low", "ci95_high", "keep_digital"))
    for layer in sorted(document["layers"], key=lambda layer: int(layer["rank"])):
        drop = layer["drop"]
        lost = (None, None, None) if drop is None else (drop["mean"], *drop["ci95"])
        numbers = (*(layer[key] for key in _RATIOS), *lost)
        shown = ("" if number is None else f"{number:.6g}" for number in numbers)
        rows.writerow((layer["rank"], layer["name"], layer["weights"], layer["tiles"], *shown,
                       int(layer["name"] in kept)))  # fmt: skip
    return text.getvalue()


def _title(document: Mapping[str, Any]) -> str:
    age = "right after programming" if document["age_s"] == 0 else f"{age_text(document['age_s'])} after programming"
    return f"{document['model']} on {document['analog']} {age}: each layer alone on the crossbar (simulated)"


def _kept(plan: KeepDigitalPlan | None) -> tuple[str, ...]:
    return () if plan is None else plan.layers


def _lost(estimate: Estimate) -> str:
    return plus_minus(signed(estimate.mean, 3), estimate.half)
