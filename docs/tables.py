"""Tables of what can be named: devices, chips, kinds of drift, policies, methods, tasks and models, from the code."""

from collections.abc import Callable, Iterable
from dataclasses import fields

import torch
from torch import nn
from torchvision.models import mobilenet_v2, resnet18, vit_b_16

from nestevo_hw.crossbar.chips import CHIPS
from nestevo_hw.crossbar.chips.chip import Chip, Kind
from nestevo_hw.crossbar.chips.chip_file import load_chip
from nestevo_hw.crossbar.chips.cost import chip_cost
from nestevo_hw.crossbar.chips.estimates import PAPER_SIZE, in_other_modes
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
    found = [chip for name in CHIPS for chip in (load_chip(name), *load_chip(name).others)]
    names = [entry.name for entry in fields(Chip) if any(entry.name in chip.figures for chip in found)]
    heads = ("figure", *(f"{chip.name}, {chip.mode}" if chip.mode else chip.name for chip in found))
    return _table(heads, ([f"`{name}`", *(_figure(chip, name) for chip in found)] for name in names))


def _figure(chip: Chip, name: str) -> str:
    figure = chip.figures.get(name)
    if figure is None:
        return "in arrays" if name.endswith("_energy_pj") else "-"
    return f"{figure.value:g} {_LETTERS[figure.kind]}"


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
            [f"`{name}`", str(needed), f"{cost.interval_s * 1e3:.3g}", _milliseconds(cost.first_frame_s),
             f"{cost.energy.total:.2g}", f"{cost.energy_range_j[0]:.2g}",
             f"{_with_unit(writing.time_s, 's')}, {_with_unit(writing.energy_j, 'J')}",
             f"{writing.lifetime_years(UPDATES_A_DAY):.3g} years"]
        )  # fmt: skip
    height, width = PAPER_SIZE
    title = f"Faster R-CNN ResNet-50 FPN, {width} x {height}"
    headings = ("chips that hold it", "ms between frames on these", "ms to the first frame", "J a frame",
                "J if unused rows and columns took nothing", "writing a new model", "life at one an hour")  # fmt: skip
    return _table((title, *headings), rows)


def reading_modes() -> str:
    """The paper's detector in every reading mode of a chip that has several."""
    model = resnet50_fpn(11)
    report, workload = map_model(model, 256), count_workload(model, PAPER_SIZE)
    rows = []
    for chip in (load_chip(name) for name in CHIPS if load_chip(name).others):
        needed = chip_cost(report, workload, chip).chips_needed
        cost = chip_cost(report, workload, chip, chips=needed)
        rows += [
            [f"`{chip.name}`, {one.chip.mode}", "yes" if one.chip.mode == chip.default_mode else "no",
             f"{one.chip.peak_tops:g} TOPS", f"{one.chip.peak_tops_per_w:g} TOPS/W", f"{one.interval_s * 1e3:.3g}",
             _milliseconds(one.first_frame_s), f"{one.energy.total:.2g}"]
            for one in (cost, *in_other_modes(report, cost))
        ]  # fmt: skip
    heads = ("reading mode", "accuracy simulated", "published peak", "published efficiency", "ms between frames",
             "ms to the first frame", "J a frame")  # fmt: skip
    return _table(heads, rows)


def digital_shares() -> str:
    """What stays digital of networks with depthwise convolutions and attention, on one chip."""
    built: tuple[tuple[str, Callable[[], nn.Module], bool], ...] = (
        ("ResNet-18", resnet18, False),
        ("ViT-B/16", vit_b_16, False),
        ("MobileNetV2", mobilenet_v2, False),
        ("MobileNetV2, `--grouped`", mobilenet_v2, True),
    )
    rows = []
    for label, build, grouped in built:
        with torch.device("meta"):
            model = build()
        report, work = map_model(model, 256, grouped=grouped), count_workload(model, (224, 224))
        needed = chip_cost(report, work, load_chip("hermes")).chips_needed
        cost = chip_cost(report, work, load_chip("hermes"), chips=needed)
        rows.append(
            [label, str(needed), *(f"{part:.1%}".replace("%", " %") for part in (
                cost.digital.macs_share, cost.digital.time_share, cost.digital.energy_share, cost.filling.cells)),
             f"{cost.interval_s * 1e3:.3g}" + (" (digital)" if cost.digital.sets_interval else ""),
             f"{cost.energy.total * 1e3:.3g}"]
        )  # fmt: skip
    heads = ("224 x 224 on `hermes`", "chips", "digital MACs", "digital time of a frame alone", "digital energy",
             "cells that hold weights", "ms between frames", "mJ a frame")  # fmt: skip
    return _table(heads, rows)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


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
    "reading-modes": reading_modes,
    "digital-shares": digital_shares,
    "drift-kinds": drift_kinds,
    "policies": policies,
    "methods": methods,
    "tasks": tasks,
    "models": models,
}
"""Tables by the name with which a page asks for them."""
