"""The files of a hardening, its table and what it says on the console."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nestevo_hw.base.documents import write_json
from nestevo_hw.base.files import replacing
from nestevo_hw.pages.formats import DASH, counted, interval, metric_text, plus_minus, score, share, signed
from nestevo_hw.pages.style import LIGHT, Mark, Palette, colour_of, dress, legend, new_figure, save_png
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.harden.results import AS_GIVEN, HARDENED, NOISE_AWARE, Outcome, training_name
from nestevo_hw.studies.harden.study import MODELS
from nestevo_hw.studies.noise.journal import RESULTS
from nestevo_hw.studies.noise.plan import DIGITAL
from nestevo_hw.studies.noise.sweeps import Value, age_text

CHECKPOINT, PICTURE = "hardened.safetensors", "results.png"
_COLOURS = {AS_GIVEN: "before", NOISE_AWARE: "generator", HARDENED: "after"}


def write_hardening(found: Outcome, folder: Path) -> list[str]:
    """Write the checkpoint of the first training, the picture and, when all else is there, results.json.

    Returns:
        Names of the files.
    """
    with replacing(folder / CHECKPOINT) as temporary:
        shutil.copyfile(folder / MODELS / f"{training_name(HARDENED, 0)}.safetensors", temporary)
    save_png(draw_hardening(found, LIGHT), folder / PICTURE)
    write_json(folder / RESULTS, document_of(found, folder))
    return [CHECKPOINT, PICTURE, RESULTS]


def document_of(found: Outcome, folder: Path) -> dict[str, Any]:
    """The machine-readable report with the place of the checkpoint and its sentences."""
    return {**found.document(), "checkpoint": str(folder / CHECKPOINT), "findings": sentences(found)}


def scores_table(found: Outcome) -> Table:
    """Scene by scene: every kind of model, digital and on the device."""
    about = found.about
    rows = [
        (scene, _name(about, kind), *(_score(found, kind, scene, moment) for moment in found.moments),
         DASH if kind == AS_GIVEN else share(found.won_back(kind, scene).mean))
        for scene in found.scenes for kind in found.kinds
    ]  # fmt: skip
    return Table(
        title=f"{about['model']} ({about['weights']}), {about['analog']}: {metric_text(found.metric)} (simulated)",
        heads=("on", "model", *(_moment(moment) for moment in found.moments), "won back"),
        rows=rows,
        note=f"mean of {counted(about['seeds'], 'training')} and {counted(about['repeats'], 'programming')}, with 95 % "
        f"intervals over programmings (digital: {'over trainings' if about['seeds'] > 1 else 'one training has none'})",
    )


def sentences(found: Outcome) -> list[str]:
    """What was won and what it cost, scene by scene."""
    when = age_text(found.age_s)
    lines = []
    for kind in found.kinds[1:]:
        for scene in found.scenes:
            won, gain, cost = (
                found.won_back(kind, scene), found.gain(kind, scene, found.age_s), found.gain(kind, scene, DIGITAL)
            )  # fmt: skip
            where = "" if scene == "all" else f"{scene}: "
            back = f", {share(won.mean)} of what the device takes" if won.known else f", where {_taken(found, scene)}"
            spread = "" if won.bounds is None else f" ({' to '.join(map(share, won.bounds))} over trainings)"
            lines.append(
                f"{where}{_name(found.about, kind)}: {plus_minus(signed(gain.mean, 3), gain.half)} at {when}{back}"
                f"{spread}; digital {plus_minus(signed(cost.mean, 3), cost.half)}"
            )
    return lines


def _taken(found: Outcome, scene: str) -> str:
    """Why there is nothing that could be won back."""
    taken = found.taken(scene)
    if taken.mean <= 0.0:
        return "the device takes nothing"
    return f"too little is lost to tell ({plus_minus(score(taken.mean), taken.half)} over programmings)"


def marks(found: Outcome) -> list[Mark]:
    """The key of the picture."""
    return [Mark(text=_name(found.about, kind), colour=_COLOURS[kind]) for kind in found.kinds]


def draw_hardening(found: Outcome, palette: Palette) -> Figure:
    """A panel a scene: bars of every kind of model, digital and on the device, with their intervals."""
    figure = new_figure(4.6 * max(2, len(found.scenes)), 3.2, palette)
    panels = figure.subplots(1, len(found.scenes), sharey=True, squeeze=False)[0]
    for axes, scene in zip(panels, found.scenes, strict=True):
        _draw_scene(axes, found, scene, palette)
    panels[0].set_ylabel(metric_text(found.metric))
    about = found.about
    title = f"{about['model']} on {about['analog']}, hardened (simulated)"
    legend(figure, marks(found), palette, columns=4, title=title)
    return figure


def _draw_scene(axes: Axes, found: Outcome, scene: str, palette: Palette) -> None:
    width = 0.8 / len(found.kinds)
    for number, kind in enumerate(found.kinds):
        estimates = [found.score(kind, scene, moment) for moment in found.moments]
        places = [place - 0.4 + width * (number + 0.5) for place in range(len(estimates))]
        axes.bar(places, [e.mean for e in estimates], width * 0.92, color=colour_of(palette, _COLOURS[kind]))
        for place, estimate in zip(places, estimates, strict=True):
            if estimate.ci95 is not None:
                axes.plot((place, place), estimate.ci95, color=palette.ink, lw=0.9, alpha=0.7)
    axes.set_xticks(range(len(found.moments)), [_moment(moment) for moment in found.moments])
    axes.set_ylim(0.0, 1.0)
    axes.set_title("" if scene == "all" else scene)
    dress(axes, palette)


def _score(found: Outcome, kind: str, scene: str, moment: Value) -> str:
    estimate = found.score(kind, scene, moment)
    return score(estimate.mean) if estimate.ci95 is None else f"{score(estimate.mean)} ({interval(estimate.ci95)})"


def _moment(moment: Value) -> str:
    return moment if isinstance(moment, str) else age_text(moment)


def _name(about: Mapping[str, Any], kind: str) -> str:
    names = {AS_GIVEN: "as given", NOISE_AWARE: f"weight noise {about['compared_mu']:g} (eq. 18-20)"}
    return names.get(kind, kind)
