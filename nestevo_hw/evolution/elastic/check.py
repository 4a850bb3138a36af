"""What can be found wrong with the elastic terminals of a configuration before anything runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.evolution.elastic.config import CPU_TIME, MEASURED, MODELLED, ElasticTerminalsConfig
from nestevo_hw.evolution.elastic.latency import budgets_of, given_times, modelled_times, shares_of_base
from nestevo_hw.evolution.own import try_model
from nestevo_hw.models.checkpoint import check_named
from nestevo_hw.models.elastic.parts import checked_parts
from nestevo_hw.models.elastic.store import load_supernet, read_supernet_spec
from nestevo_hw.models.elastic.supernet import Supernet
from nestevo_hw.tasks.named import task_named

if TYPE_CHECKING:
    from nestevo_hw.evolution.config import RunConfig


def checked_supernet(config: "RunConfig", models: Mapping[str, nn.Module]) -> tuple[nn.Module, tuple[str, ...]]:
    """The base of the supernet that terminals share, and its classes, if their paths can be timed and keep to budgets.

    Budgets of times that are still to be measured are checked once these are.

    Args:
        config: of a run.
        models: of terminals that have one, by name.

    Raises:
        ConfigError: a budget that no path keeps to, a terminal whose times cannot be had so, or code that is not named.
        InputError: the supernet, its parts or the table of times are missing, damaged, or of one another.
    """
    elastic = config.elastic
    _check_terminals(config)
    try:
        spec = read_supernet_spec(elastic.supernet_file)
        check_named(spec, elastic.supernet_file, config.model.factory, "[model] factory")
        supernet, _ = load_supernet(elastic.supernet_file)
        try_model(task_named(config.task), supernet.base, spec, config.frame_size)
        if elastic.latency in (MEASURED, CPU_TIME):
            _check_parts(elastic, supernet)
    except (ConfigError, InputError) as error:
        raise type(error)(f"elastic.supernet: {error}") from error
    _check_budgets(config, supernet, models)
    return supernet.base, spec.classes


def _check_terminals(config: "RunConfig") -> None:
    latency, named = config.elastic.latency, config.elastic_terminals
    measured = latency in (MEASURED, CPU_TIME)
    if measured and (remote := [name for name in config.remote if name in named]):
        raise ConfigError(
            f"elastic.latency: terminal {remote[0]!r} is remote, and its times are to be measured there; run "
            "`nestevo-hw elastic search` on its device and give the timing.json that this leaves"
        )
    if not config.elastic.in_place_of_models:
        return
    if not (measured or latency == MODELLED):
        raise ConfigError(
            f"elastic.in_place_of_models: {latency} does not say how long the terminals' models take; leave "
            "elastic.latency out, or give the terminals a latency_budget"
        )
    if all(terminal.model is None for terminal in config.terminals):
        raise ConfigError("elastic.in_place_of_models (NestEvo-elastic): no terminal has a model, all have budgets")


def _check_parts(elastic: ElasticTerminalsConfig, supernet: Supernet) -> None:
    if checked_parts(elastic.parts_folder).space != supernet.space:
        raise InputError(f"{elastic.parts_folder} is of another supernet than {elastic.supernet_file}; build it again")


def _check_budgets(config: "RunConfig", supernet: Supernet, models: Mapping[str, nn.Module]) -> None:
    """Against times that are known already."""
    match config.elastic.latency:
        case "measured" | "cpu-time":
            return
        case "macs":
            latency = modelled_times(supernet, torch.zeros(3, *config.frame_size))
        case file:
            try:
                latency = given_times(Path(file), supernet)
            except InputError as error:
                raise InputError(f"elastic.latency: {error}") from error
    replaced = models if config.elastic.in_place_of_models else {}
    shares = shares_of_base(config.elastic, supernet, replaced, config.frame_size)
    budgets_of(config.terminals, supernet.space, latency, shares)
