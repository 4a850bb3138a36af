"""What is set in a configuration and changes nothing in its run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from nestevo_hw.crossbar.devices import DIGITAL
from nestevo_hw.evolution.config import RunConfig, load_preset
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.presets import PRESETS
from nestevo_hw.evolution.refresh import RefreshConfig
from nestevo_hw.tasks.confirmation import ConfirmationConfig


def idle_settings(config: RunConfig) -> list[str]:
    """What is set and changes nothing in this run, a line each; values that a preset has count as not set."""
    presets = [load_preset(name).document() for name in PRESETS]
    document = config.document()

    def is_set(key: str) -> bool:
        value = _value(document, key)
        return all(_value(preset, key) != value for preset in presets)

    found = [
        f"{', '.join(f'{key} = {_value(document, key)}' for key in mistaken)}: {why}, so nothing comes of it"
        for why, keys in _unused(config)
        if (mistaken := [key for key in keys if is_set(key)])
    ]
    return [*_beyond_the_end(config), *_never_enough(config), *found]


def _unused(config: RunConfig) -> list[tuple[str, Sequence[str]]]:
    """Settings that nothing reads in this run, and why."""
    method, kinds = METHODS[config.method], METHODS[config.method].kinds
    named, drift, update = f"method {method.name}", config.drift, config.teacher.update
    by_benefit, refresh, executor = drift.decision == "benefit", config.refresh.policy, config.execution.executor
    evolves, digital, read = method.co_evolves, config.teacher.analog == DIGITAL, _READ_BY.get(refresh, ())
    rows: tuple[tuple[bool, str, Sequence[str]], ...] = (
        (not evolves, f"the teacher of {named} does not evolve",
         ("drift.decision", *_DRIFT, *_MUTUAL, *_GATE, *_ADAPTERS)),
        (evolves and by_benefit, 'drift.decision is "benefit"', ("teacher.update", *_DRIFT, *_MUTUAL)),
        (evolves and not by_benefit and update == "adapt", 'teacher.update is "adapt"', (*_DRIFT, *_MUTUAL)),
        (evolves and not by_benefit and update == "program", 'teacher.update is "program"', _ADAPTERS),
        (not by_benefit, f'drift.decision is "{drift.decision}"', ("drift.sure_share",)),
        (evolves and drift.gamma is not None, "drift.gamma is given", ("drift.false_alarm_rate",)),
        ("adapt" not in kinds, f"{named} does not adapt adversarially",
         ("adversarial.weight", "adversarial.agreement")),
        ("relate" not in kinds, f"{named} replays no frames", ("replay.frames", "replay.neighbours", "replay.related")),
        ("choose" not in kinds, f"{named} reuses no earlier model", ("zoo.size", "zoo.margin", "zoo.frames")),
        ("select" not in kinds, f"{named} deploys its models untried", ("deployment.margin",)),
        ("select" in kinds and not config.deployment.held_back, "deployment.held_back is 0", ("deployment.margin",)),
        (config.trigger.mode == "off", 'trigger.mode is "off"', ("trigger.margin", "trigger.frames")),
        (config.groups.by not in ("place", "features"), f'groups.by is "{config.groups.by}"', ("groups.count",)),
        (not config.confirms, "no label is confirmed", _CONFIRMATION),
        (digital, "the teacher is digital", ("teacher.tile", "teacher.age_s", *_REFRESH)),
        (not digital, f'refresh.policy is "{refresh}"', [k for k in _REFRESH if k not in (*_ALWAYS_READ, *read)]),
        (executor == "inline", 'execution.executor is "inline"', ("execution.workers",)),
        (executor != "ray", f'execution.executor is "{executor}"', ("execution.address", "execution.shared_folder")),
    )  # fmt: skip
    return [(why, keys) for idle, why, keys in rows if idle]


_DRIFT = ("drift.gamma", "drift.false_alarm_rate", "drift.epsilon", "drift.min_samples")
_MUTUAL = ("mutual.alpha", "mutual.beta", "mutual.noise_mu", "mutual.replay_frames")
_GATE = ("gate.margin", "gate.total_margin")
_ADAPTERS = ("adapters.rank", "adapters.labelled", "adapters.unlabelled")
_CONFIRMATION = tuple(f"confirmation.{one.name}" for one in fields(ConfirmationConfig))
_REFRESH = tuple(f"refresh.{one.name}" for one in fields(RefreshConfig))
_ALWAYS_READ = ("refresh.policy", "refresh.chip")
_READ_BY = {
    "every": ("refresh.period_h",),
    "threshold": ("refresh.margin",),
    "cost-aware": ("refresh.doubt", "refresh.lifetime_years"),
}
"""Settings of [refresh] that its policies read."""


def _beyond_the_end(config: RunConfig) -> Iterator[str]:
    count = config.window.count
    for terminal in config.terminals:
        if terminal.joins >= count:
            yield (
                f"terminal {terminal.name!r} joins in window {terminal.joins}, after the last one ({count - 1}), and "
                "never takes part; lower joins or raise window.count"
            )
        for window in sorted({d.window for d in terminal.drift if d.window >= count}):
            yield (
                f"drift of terminal {terminal.name!r} begins in window {window}, after the last one ({count - 1}), and "
                "never comes; lower it or raise window.count"
            )


def _never_enough(config: RunConfig) -> Iterator[str]:
    """Limits that cannot be reached, and what there is no room for."""
    method, drift = METHODS[config.method], config.drift
    programs = method.co_evolves and drift.decision == "paper" and config.teacher.update == "program"
    sending = [t.name for t in config.terminals if config.uploads(t.name)]
    if programs and drift.epsilon is not None and drift.epsilon > len(sending):
        yield (
            f"drift.epsilon = {drift.epsilon} is more than the {len(sending)} terminals that send frames, so the "
            'teacher never evolves; lower it, or set method = "terminals-only"'
        )
    replayed, batch = config.mutual.replay_frames, config.mutual.plan.batch_size
    if programs and replayed > batch - 1:
        yield (
            f"mutual.replay_frames = {replayed} leaves no room for new frames in a batch of {batch}, so {batch - 1} "
            "are replayed; raise mutual.plan.batch_size or lower it"
        )
    if method.shares:
        return
    for name in (t.name for t in config.terminals if not config.uploads(t.name)):
        yield (
            f"terminal {name!r} sends no frames, and under method {method.name} none lends it any, so it keeps its "
            "model; raise upload_frames"
        )


def _value(document: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - of a JSON document
    section, _, name = key.partition(".")
    return document[section][name]
