"""The page's sections on the outcome and the terminals; a section without data is an empty string."""

import json
import math
from html import escape

from nestevo_hw.base.stats import mean
from nestevo_hw.pages.markup import (
    MEASURED,
    MODELLED,
    SIMULATED,
    card,
    cards,
    facts,
    heading,
    legend,
    note,
    pill,
    tile,
)
from nestevo_hw.pages.style import THEMED, inline_svg
from nestevo_hw.report.events import Run
from nestevo_hw.report.plots import terminal_panel
from nestevo_hw.report.records import Lifecycle
from nestevo_hw.report.samples import data_uri, latest_pair, load_picture
from nestevo_hw.report.summary import number, pruning_of, relative_gain, section, summarise
from nestevo_hw.report.wording import (
    ARROW,
    DASH,
    change,
    counted,
    duration,
    headline,
    lede,
    memory,
    percent,
    score,
    signed,
    teacher_place,
)


def opening(run: Run) -> str:
    """Status, headline and the outcome in a sentence."""
    state = pill("complete", "good") if run.complete else pill(f"unfinished: {run.header.status}", "wait")
    about = (
        f"method {run.header.method}",
        counted(run.windows, "evolution window"),
        counted(len(run.terminals), "terminal"),
        teacher_place(run),
    )
    name = escape(run.directory.resolve().name)
    return (
        f'<p class="eyebrow"><b>NestEvo-HW</b> <span>run <code>{name}</code></span> {state}</p>'
        f'<h1>{escape(headline(run))}</h1><p class="lede">{escape(lede(run))}</p>'
        f"{note(' · '.join(about))}"
    )


def tiles(run: Run) -> str:
    """The run's main figures, one a tile, each with where it comes from."""
    document = summarise(run)
    rows = [t for t in document.get("terminals") or () if isinstance(t, dict)]
    before, after, onnx, lcp = (
        mean(number(t.get(key)) for t in rows) for key in ("before", "after", "onnx_after", "lcp")
    )
    scores, gain = section(document, "teacher"), section(document, "gain")
    delay = number(section(document, "delay_s").get("mean"))
    window = mean(e.window_s for e in run.of(Lifecycle))
    cores, device = run.header.machine.get("cores"), run.header.machine.get("device")
    metric = run.header.metric
    terminals_gain, teacher_gain = gain.get("terminals_relative"), gain.get("teacher_relative")
    contents = (
        tile(f"Terminals, {metric}", MEASURED, _change(before, after),
             f"{percent(terminals_gain)} relative, mean of {counted(len(rows), 'terminal')}"),
        tile(f"Teacher, {metric}", SIMULATED, _change(scores.get("before"), scores.get("after")),
             f"{percent(teacher_gain)} relative, mean over all scenes"),
        tile("As deployed (ONNX)", MEASURED, score(onnx),
             f"{metric}, {signed(onnx - after)} against PyTorch"),
        tile("Evolution delay", MODELLED, duration(delay),
             f"of a {duration(window)} window; links and crossbar modelled, queue and training measured"),
        tile("Life-cycle accuracy", MODELLED, score(lcp),
             f"{metric} over a whole window, the time before the new model included"),
        tile("Wall time", MEASURED, duration(document.get("wall_s")),
             f"on {cores} cores, {device}" if cores and device else "of the whole run"),
    )  # fmt: skip
    return f'<div class="tiles">{"".join(contents)}</div>'


def method_steps(run: Run) -> str:
    """What such a run does, for a first-time visitor."""
    digital = section(run.header.config, "teacher").get("device") == "digital"
    place = "on the edge server" if digital else "on a simulated analog crossbar"
    steps = (
        (
            "Conditions change",
            "Night or fog falls; the small detector on each camera starts to miss objects.",
        ),
        ("The teacher labels", f"A large model {place} labels the frames that each camera uploads."),
        (
            "Models learn together",
            "If many cameras drifted, the teacher evolves with them; else only they do.",
        ),
        ("Better models return", "A new teacher must pass a guard; terminals get their new model as ONNX."),
    )
    items = "".join(f"<li><b>{escape(name)}</b>{escape(text)}</li>" for name, text in steps)
    return f'{heading("What happens in an evolution window")}<ol class="steps">{items}</ol>'


def terminals(run: Run) -> str:
    """One card a terminal: accuracy, drift, and a frame before and after."""
    if not run.terminals:
        return ""
    key = (
        ("dot", "before", "old model"),
        ("dot", "export", "old model with the new frames' BatchNorm, until it has evolved"),
        ("dot", "after", "evolved model"),
        ("ring", "ink", "evolved model in ONNX Runtime"),
        ("bar", "before", "drifted"),
        ("bar", "other", "not drifted"),
        ("line", "alarm", "drift threshold"),
    )
    return (
        heading("Every terminal, window by window", MEASURED)
        + note(
            "Upper chart: accuracy on unseen frames of the same window, before and after evolving; a dotted "
            "line leads to the next window, where conditions may have changed again. Lower chart: how far "
            "the terminal's frames lie from the training data. All terminals share one accuracy axis."
        )
        + legend(key)
        + cards([_terminal_card(run, name) for name in run.terminals])
    )


def reproduce(run: Run) -> str:
    """Everything needed to run it again: seed, machine, versions, configuration."""
    machine, versions = run.header.machine, sorted(run.header.versions.items())
    rows = (
        ("method", run.header.method),
        ("seed", DASH if run.header.seed is None else str(run.header.seed)),
        ("machine", str(machine.get("platform", DASH))),
        ("cores, memory", f"{machine.get('cores', DASH)}, {memory(machine.get('memory_bytes'))}"),
        ("training device", str(machine.get("device", DASH))),
        ("classes", ", ".join(run.header.classes) or DASH),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions) or DASH),
    )
    config = escape(json.dumps(run.header.config, indent=2, ensure_ascii=False))
    return (
        heading("To run it again")
        + card(facts(rows))
        + f"<details><summary>Configuration</summary><pre>{config}</pre></details>"
    )


def closing() -> str:
    """What the labels mean."""
    return (
        f"<footer><p>{MEASURED} observed on this machine in this run. {SIMULATED} the crossbar's devices are "
        f"noise models of published chips; no hardware was involved. {MODELLED} at least partly computed "
        "from a stated formula, such as upload time from a link's bandwidth.</p><p>mAP@0.50 is mean average "
        "precision, where a detection counts if it overlaps its object by half; 1 is perfect. Raw data: "
        "<code>run.json</code> and <code>metrics.jsonl</code> beside this page.</p></footer>"
    )


def _terminal_card(run: Run, name: str) -> str:
    rows = [t for t in summarise(run).get("terminals") or () if isinstance(t, dict) and t.get("name") == name]
    before, after = (number(rows[0].get(key)) if rows else math.nan for key in ("before", "after"))
    gain = relative_gain(before, after)
    badge = "" if gain is None else pill(percent(gain), "good" if gain > 0 else "bad")
    svg = inline_svg(terminal_panel(run, name, THEMED), f"Accuracy and drift of terminal {name}")
    title = f"{escape(name)} <small>{escape(pruning_of(run, name) or '')}</small>"
    return (
        f'<article class="card"><header><h3>{title}</h3><span><b>{change(before, after)}</b> {badge}</span>'
        f"</header>{svg}{_pictures(run, name)}</article>"
    )


def _pictures(run: Run, name: str) -> str:
    pair = latest_pair(run, name)
    if pair is None:
        return ""
    figures = "".join(
        f'<figure><img src="{data_uri(load_picture(path))}" alt="{escape(name)} {stage} evolving">'
        f'<figcaption><b class="{stage}">{stage}</b>, window {pair.window}</figcaption></figure>'
        for stage, path in (("before", pair.before), ("after", pair.after))
    )
    return f'<div class="pair">{figures}</div>'


def _change(before: object, after: object) -> str:
    return f'<span class="from">{score(before)} {ARROW}</span> {score(after)}'
