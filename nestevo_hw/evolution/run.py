"""A run from its folder's point of view: start or resume, evolve, summarise, report."""

import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.files import write_json
from nestevo_hw.evolution.check import check_run
from nestevo_hw.evolution.config import RunConfig, parse_config
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.dispatch import Dispatch
from nestevo_hw.evolution.grouping import form_groups
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.loop import EvolutionLoop
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.training import training_device
from nestevo_hw.profiler.target import target_of
from nestevo_hw.report.events import read_run
from nestevo_hw.report.page import write_report
from nestevo_hw.report.summary import summarise
from nestevo_hw.scheduler.executor import Executor, LocalExecutor
from nestevo_hw.scheduler.policies import policy_named
from nestevo_hw.scheduler.task import Task
from nestevo_hw.tasks.named import task_named

FORMAT = 1
DISTRIBUTIONS = ("nestevo-hw", "torch", "torchvision", "aihwkit", "onnxruntime", "numpy")
MOST_WORKERS = 4


def evolve(
    config: RunConfig, run_dir: Path, *, resume: bool = False, on_task: Callable[[Task], None] = lambda _: None
) -> dict[str, Any]:
    """Run all evolution windows and write the run folder.

    Args:
        config: of the run.
        run_dir: folder to write; new or empty, unless a run is resumed in it.
        resume: go on with a run that was interrupted; finished tasks are not run again.
        on_task: called with each finished task.

    Returns:
        The summary, as in `evolve --json`.

    Raises:
        ConfigError: the folder holds another run, or the one to resume has another configuration.
    """
    check_run(config)
    layout, started = RunLayout(run_dir.resolve()), time.monotonic()
    document = _open_folder(config, layout, resume=resume)
    with _executor(config, layout) as executor:
        journal = Journal(layout, executor, on_task)
        costs = TaskCosts(config, target_of(training_device(config.execution.device)))
        dispatch = Dispatch(config, journal, costs)
        groups = form_groups(config, layout, dispatch)
        if len(groups) > 1:
            journal.event("groups", by=config.groups.by, groups={name: list(own) for name, own in groups.items()})
        server = Server(config, layout, journal, dispatch, costs, groups)
        EvolutionLoop(server, METHODS[config.method]).run()
    document |= {"classes": server.classes}
    write_json(layout.run_json, document)
    summary = summarise(read_run(run_dir)) | {"method": config.method, "seed": config.seed}
    summary["wall_s"] = time.monotonic() - started
    write_json(layout.run_json, document | {"status": "complete", "summary": summary})
    write_report(run_dir)
    return summary


def _executor(config: RunConfig, layout: RunLayout) -> Executor:
    """Worker processes of this machine, or the nodes of a Ray cluster."""
    execution = config.execution
    policy = policy_named(execution.policy, seed=config.seed)
    if execution.executor == "ray":
        from nestevo_hw.scheduler.ray.executor import RayExecutor

        return RayExecutor(
            policy=policy,
            address=execution.address,
            folder=None if execution.shared_folder else layout.root,
            workers=execution.workers or None,
            timeout_s=execution.timeout_s,
        )
    return LocalExecutor(
        policy=policy,
        memory_bytes=round(execution.memory_gb * 1e9),
        workers=execution.workers or min(os.cpu_count() or 1, MOST_WORKERS),
        timeout_s=execution.timeout_s,
    )


def most_tasks(config: RunConfig) -> int:
    """Tasks of a run in which every terminal has a teacher of its own, which evolves in every window."""
    terminals = groups = len(config.terminals)
    return 1 + 2 * terminals + config.window.count * (14 * terminals + 4 * groups)


def _open_folder(config: RunConfig, layout: RunLayout, *, resume: bool) -> dict[str, Any]:
    """Check the folder and write run.json, or read the one of the run to resume."""
    if resume:
        document = _read_run(layout)
        if parse_config(document["config"], source=str(layout.run_json)) != config:
            raise ConfigError(f"{layout.root} was started with another configuration; resume it without CONFIG")
        return document
    if layout.root.exists() and any(layout.root.iterdir()):
        raise ConfigError(f"{layout.root} is not empty; choose another --out, or --resume the run in it")
    document = {
        "format": FORMAT,
        "status": "running",
        "method": config.method,
        "config": config.document(),
        "seed": config.seed,
        "versions": {name: importlib.metadata.version(name) for name in DISTRIBUTIONS},
        "machine": {
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "device": config.execution.device,
        },
        "classes": [],
        "metric": task_named(config.task).metric,
        "summary": None,
    }
    write_json(layout.run_json, document)
    return document


def stored_config(run_dir: Path) -> dict[str, Any]:
    """The configuration document of a run folder.

    Raises:
        InputError: the folder holds no run.
    """
    config: dict[str, Any] = _read_run(RunLayout(run_dir))["config"]
    return config


def _read_run(layout: RunLayout) -> dict[str, Any]:
    if not layout.run_json.is_file():
        raise InputError(f"{layout.root} holds no run (no run.json); start one without --resume")
    try:
        document: dict[str, Any] = json.loads(layout.run_json.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{layout.run_json} is damaged ({error}); start a new run") from error
    return document
