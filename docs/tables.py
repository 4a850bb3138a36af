"""Tables of what can be named: devices, chips, kinds of drift, policies, methods, tasks and models, from the code."""

from collections.abc import Callable, Iterable
from dataclasses import fields

from nestevo_hw.crossbar.chips import CHIPS
from nestevo_hw.crossbar.chips.chip import Chip, Kind, load_chip
from nestevo_hw.crossbar.chips.cost import chip_cost
from nestevo_hw.crossbar.chips.estimates import PAPER_SIZE
from nestevo_hw.crossbar.chips.workload import count_workload
from nestevo_hw.crossbar.devices import PRESETS, DevicePreset
from nestevo_hw.crossbar.devices.preset import RASCH_LEAVES_OUT, RASCH_SOURCE
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.models.faster_rcnn import resnet50_fpn
from nestevo_hw.models.names import PRETRAINED
from nestevo_hw.scheduler.policies import POLICIES
from nestevo_hw.streams.drift_kinds import DRIFT_KINDS
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.names import TASKS

_LETTERS: dict[Kind, str] = {"silicon": "s", "design study": "d", "derived": "=", "assumption": "a"}
UPDATES_A_DAY = 24


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    named = list(headings)
    lines = [f"| {' | '.join(line)} |\n" for line in (named, *rows)]
    return "".join([lines[0], "|" + "---|" * len(named) + "\n", *lines[1:]])


def devices() -> str:
    """Crossbar devices with the source of their statistics and their limits."""
    rows = (
        [f"`{p.name}`", p.title, p.source.removesuffix(RASCH_SOURCE).rstrip(". "), _limits(p), f"`{p.chip}`"]
        for p in PRESETS.values()
    )
    return _table(("device", "technology", "statistics from", "limits", "costs as on"), rows)


def _limits(preset: DevicePreset) -> str:
    times = [f"{t:g} s" for t in preset.times_s or ()]
    found = [f"only at {', '.join(times)}"] if times else []
    found += [f"from {preset.earliest_s:g} s after programming"] if preset.earliest_s else []
    found += ["no drift compensation"] if preset.noise_law is not None and not preset.drift_compensation else []
    left_out = preset.leaves_out.removeprefix(RASCH_LEAVES_OUT).lstrip(", ")
    return "; ".join([*found, *([f"leaves out {left_out}"] if left_out else [])])


def chips() -> str:
    """Analog chips whose published figures model costs."""
    found = [load_chip(name) for name in CHIPS]
    return _table(("chip", "title", "memory"), ([f"`{chip.name}`", chip.title, chip.memory] for chip in found))


def figures() -> str:
    """Every figure of every chip with the letter of its kind."""
    found = [load_chip(name) for name in CHIPS]
    names = [entry.name for entry in fields(Chip) if any(entry.name in chip.figures for chip in found)]
    return _table(("figure", *CHIPS), ([f"`{name}`", *(_figure(chip, name) for chip in found)] for name in names))


def _figure(chip: Chip, name: str) -> str:
    figure = chip.figures.get(name)
    return "in arrays" if figure is None else f"{figure.value:g} {_LETTERS[figure.kind]}"


def costs() -> str:
    """The paper's detector on as many chips as hold it."""
    model = resnet50_fpn(11)
    report, workload = map_model(model, 256), count_workload(model, PAPER_SIZE)
    rows = []
    for name in CHIPS:
        needed = chip_cost(report, workload, load_chip(name)).chips_needed
        cost = chip_cost(report, workload, load_chip(name), chips=needed)
        writing = cost.programming
        rows.append(
            [f"`{name}`", str(needed), f"{cost.interval_s * 1e3:.3g}", f"{cost.energy.total:.2g}",
             f"{_with_unit(writing.time_s, 's')}, {_with_unit(writing.energy_j, 'J')}",
             f"{writing.lifetime_years(UPDATES_A_DAY):.3g} years"]
        )  # fmt: skip
    height, width = PAPER_SIZE
    title = f"Faster R-CNN ResNet-50 FPN, {width} x {height}"
    headings = ("chips that hold it", "ms a frame on these", "J a frame", "writing a new model", "life at one an hour")
    return _table((title, *headings), rows)


def _with_unit(value: float, unit: str) -> str:
    if value < 0.1:
        return f"{value * 1e3:.2g} m{unit}"
    return f"{value:.2g} {unit}" if value < 10 else f"{value:.0f} {unit}"


def drift_kinds() -> str:
    """Kinds of drift and the streams that may come under them."""
    rows = (
        [f"`{kind.name}`", kind.summary, kind.at_full, "any" if kind.change else "rendered street scenes"]
        for kind in DRIFT_KINDS.values()
    )
    return _table(("kind", "what it does", "at strength 1", "streams"), rows)


def policies() -> str:
    """Scheduling policies."""
    return _table(("policy", "what it does"), ([f"`{name}`", summary] for name, summary in POLICIES.items()))


def methods() -> str:
    """Methods of evolution."""
    return _table(("method", "what it does"), ([f"`{m.name}`", m.summary] for m in METHODS.values()))


def tasks() -> str:
    """What models may be for."""
    rows = (
        [f"`{name}`", summary, task_named(name).metric, _places(task_named(name).embedded.places)]
        for name, summary in TASKS.items()
    )
    return _table(("task", "what", "score", "places of embedded streams"), rows)


def _places(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "any name"


def models() -> str:
    """Checkpoints that ship."""
    return _table(("model", "weights", "classes", "network input"), (_model(name) for name in PRETRAINED))


def _model(name: str) -> list[str]:
    model, spec = load_model(pretrained_path(name))
    weights = sum(parameter.numel() for parameter in model.parameters())
    sides = " x ".join(str(side) for side in (spec.min_size, spec.max_size))
    return [f"`{name}`", f"{weights:,}", ", ".join(spec.classes), f"{sides} px"]


TABLES: dict[str, Callable[[], str]] = {
    "devices": devices,
    "chips": chips,
    "figures": figures,
    "costs": costs,
    "drift-kinds": drift_kinds,
    "policies": policies,
    "methods": methods,
    "tasks": tasks,
    "models": models,
}
"""Tables by the name with which a page asks for them."""
