"""What the runs of a comparison came to, read from their folders."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nestevo_hw.base.stats import mean
from nestevo_hw.evolution.config import load_preset
from nestevo_hw.pages.formats import number
from nestevo_hw.pages.parts import origin_of
from nestevo_hw.report.events import Run, read_run, terminal_configs
from nestevo_hw.report.forgetting import backward_transfer
from nestevo_hw.report.records.terminal import TEACHER, Lifecycle, Select
from nestevo_hw.report.records.work import Failure
from nestevo_hw.report.summary import Evolution, evolutions, part_origins, pruning_of, section
from nestevo_hw.studies.compare.variants import Variant

TerminalWindow = tuple[str, int]
"""A terminal in a window."""
UNCHANGED = "none"
"""Name for terminals and windows in which no condition has drifted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run of one variant with one seed; accuracies are 0 to 1, NaN where not measured."""

    before: Mapping[TerminalWindow, float]
    """Of the model a terminal entered a window with, on test frames of that window."""
    after: Mapping[TerminalWindow, float]
    """Of the model it left the window with, on the same frames; equal to `before` where it did not evolve."""
    after_second: Mapping[TerminalWindow, float]
    """As `after`, by the second metric."""
    teacher: Sequence[Evolution]
    """The teacher's mean accuracy over scenes, of each window."""
    delay_s: float
    """Mean evolution delay; training measured, links modelled."""
    backward_transfer: float
    """Mean change of accuracy on earlier scenes since they were learned; NaN where nothing was scored again."""
    kept: int
    """Evolutions whose model was not deployed, as what it would replace did as well on held-back frames."""
    lcp: float
    """Mean life-cycle performance (eq. 6); of terminals that never evolve their accuracy."""
    wall_s: float = math.nan
    failures: tuple[str, ...] = ()
    """Tasks that failed for good; the terminals they served kept their model."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each part of the delay comes from."""

    @property
    def teacher_before(self) -> float:
        """Mean over all windows in which the teacher was scored after them, too; over all where it never was."""
        return mean(e.before for e in [e for e in self.teacher if math.isfinite(e.after)] or self.teacher)

    @property
    def teacher_after(self) -> float:
        """NaN where it was never scored so."""
        return mean(e.after for e in self.teacher if math.isfinite(e.after))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Variants that ran with the same seeds, and those that did not run."""

    variants: tuple[Variant, ...]
    """Those that ran."""
    left_out: Mapping[str, str]
    """Variants that did not run, and why."""
    seeds: tuple[int, ...]
    outcomes: Mapping[tuple[str, int], Outcome]
    """By name of the variant and seed."""
    config: Mapping[str, Any]
    """Of the base, as in run.json."""
    metric: str
    """Name of the headline score."""
    second_metric: str = ""
    """Name of the score beside it."""
    prunings: Mapping[str, str | None] = field(default_factory=dict)
    """Of each terminal."""
    devices: tuple[str, ...] = ()
    """What the runs computed on."""
    embedded: bool = True
    """Whether it is the comparison on the embedded default, for which goals are set."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variants that ran."""
        return tuple(v.name for v in self.variants)

    @property
    def terminals(self) -> tuple[str, ...]:
        """Names of the terminals."""
        return tuple(self.prunings)

    @property
    def terminal_windows(self) -> tuple[TerminalWindow, ...]:
        """Every terminal in every window."""
        windows = int(number(section(self.config, "window").get("count")))
        return tuple((terminal, window) for window in range(windows) for terminal in self.terminals)

    @property
    def kinds(self) -> dict[str, tuple[TerminalWindow, ...]]:
        """Terminals and windows in which each kind of drift is active; UNCHANGED last, where there are any."""
        scripts = {t["name"]: t.get("drift") or () for t in terminal_configs(self.config)}
        found: dict[str, list[TerminalWindow]] = {}
        for terminal, window in self.terminal_windows:
            for kind in active_kinds(scripts[terminal], window) or (UNCHANGED,):
                found.setdefault(kind, []).append((terminal, window))
        unchanged = found.pop(UNCHANGED, None)
        return {
            kind: tuple(places) for kind, places in [*found.items(), *([(UNCHANGED, unchanged)] if unchanged else [])]
        }

    def has(self, *names: str) -> bool:
        """Whether all these variants ran."""
        return set(names) <= set(self.names)

    @property
    def origins(self) -> dict[str, str]:
        """Where each part of the delays comes from, over all runs."""
        told = [outcome.origins for outcome in self.outcomes.values()]
        parts = dict.fromkeys(part for origins in told for part in origins)
        return {part: origin_of(origins[part] for origins in told if part in origins) for part in parts}

    @property
    def failures(self) -> dict[str, list[str]]:
        """What failed for good, by run."""
        return {f"{name}, seed {seed}": list(o.failures) for (name, seed), o in self.outcomes.items() if o.failures}

    def by_seed(self, name: str, value: Callable[[Outcome], float]) -> list[float]:
        """A value of every run of a variant, in the order of the seeds."""
        return [value(self.outcomes[name, seed]) for seed in self.seeds]


def of_terminal(found: Comparison, terminal: str) -> tuple[TerminalWindow, ...]:
    """Every window of one terminal."""
    return tuple(place for place in found.terminal_windows if place[0] == terminal)


def active_kinds(script: Iterable[Mapping[str, Any]], window: int) -> tuple[str, ...]:
    """Kinds of drift that hold in a window.

    Args:
        script: steps with window, kind and strength, in any order. A step sets the strength of its kind from its window
            on; the later of two steps of a kind wins, and strength 0 ends it.
        window: number of the window.
    """
    strengths: dict[str, float] = {}
    for step in sorted(script, key=lambda s: int(s["window"])):
        if step["window"] <= window:
            strengths[str(step["kind"])] = number(step["strength"])
    return tuple(kind for kind, strength in strengths.items() if strength > 0.0)


def read_outcome(run: Run) -> Outcome:
    """What one finished run came to."""
    before, after = _levels(run, None)
    _, after_second = _levels(run, run.header.second_metric[0])
    lives = run.of(Lifecycle)
    lived = {(life.terminal, life.window): life.lcp for life in lives}
    return Outcome(
        before=before,
        after=after,
        after_second=after_second,
        backward_transfer=backward_transfer(run),
        kept=sum(s.chosen != "evolved" for s in run.of(Select)),
        teacher=tuple(evolutions(run, TEACHER)),
        delay_s=mean(life.evolving_s for life in lives),
        lcp=mean(lived.get(place, level) for place, level in after.items()),
        wall_s=number((run.header.summary or {}).get("wall_s")),
        origins=part_origins(run),
        failures=tuple(
            f"window {f.window}, {' '.join(filter(None, (f.kind, f.terminal)))}: {f.reason}" for f in run.of(Failure)
        ),
    )


def _levels(run: Run, metric: str | None) -> tuple[dict[TerminalWindow, float], dict[TerminalWindow, float]]:
    """Every terminal's accuracy before and after each window; a model that did not evolve counts with what it had."""
    before: dict[TerminalWindow, float] = {}
    after: dict[TerminalWindow, float] = {}
    for name in run.terminals:
        for e in evolutions(run, name, scene=name, metric=metric):
            before[name, e.window] = e.before
            after[name, e.window] = e.after if math.isfinite(e.after) else e.before
    return before, after


def read_comparison(
    folders: Mapping[tuple[str, int], Path], variants: Sequence[Variant], left_out: Mapping[str, str]
) -> Comparison:
    """Read the folders of finished runs.

    Args:
        folders: of every variant and seed.
        variants: those that ran, in the order to show.
        left_out: those that did not, and why.

    Raises:
        InputError: a folder is not that of a run, or a file in it is corrupt.
    """
    runs = {key: read_run(folder) for key, folder in folders.items()}
    first = next(iter(runs.values()))
    return Comparison(
        variants=tuple(variants),
        left_out=dict(left_out),
        seeds=tuple(dict.fromkeys(seed for _, seed in folders)),
        outcomes={key: read_outcome(run) for key, run in runs.items()},
        config=first.header.config,
        metric=first.header.metric,
        second_metric=first.header.second_metric[1],
        devices=tuple(dict.fromkeys(str(run.header.machine.get("device", "not recorded")) for run in runs.values())),
        embedded=is_embedded(first.header.config),
        prunings={name: pruning_of(first, name) for name in first.terminals},
    )


def is_embedded(config: Mapping[str, Any]) -> bool:
    """Whether terminals and windows are those of the embedded default."""
    default = load_preset("quick").document()
    return _scenes(config) == _scenes(default)


def _scenes(config: Mapping[str, Any]) -> tuple[object, list[list[object]]]:
    keys = ("name", "model", "place", "video", "data", "drift")
    return section(config, "window").get("count"), [[t.get(key) for key in keys] for t in terminal_configs(config)]
