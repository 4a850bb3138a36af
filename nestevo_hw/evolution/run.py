"""A run from its folder's point of view: start or resume, evolve, summarise, report."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from nestevo_hw.base.compute import device_name, resolved
from nestevo_hw.base.cores import usable_cores
from nestevo_hw.base.documents import plain, write_json
from nestevo_hw.base.errors import ConfigError, NestEvoError, StoppedError
from nestevo_hw.base.interruption import resumable
from nestevo_hw.base.locking import is_unused, one_writer, require_folder
from nestevo_hw.base.text import one_line, pasteable
from nestevo_hw.evolution.check import (
    Review,
    check_inputs_kept,
    check_run,
    input_warnings,
    teacher_warnings,
)
from nestevo_hw.evolution.config import RunConfig, parse_config
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.dispatch import Dispatch
from nestevo_hw.evolution.execution import ExecutionConfig, gpus_of, open_executor
from nestevo_hw.evolution.grouping import form_groups
from nestevo_hw.evolution.idle import idle_settings
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.loop import EvolutionLoop, Windows, every_window
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.own import data_warnings
from nestevo_hw.evolution.retry import forget_deaths
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.steps.table import STEPS
from nestevo_hw.evolution.versions import other_versions, versions
from nestevo_hw.pages.formats import counted
from nestevo_hw.profiler.gpu_context import target_of
from nestevo_hw.report.events import FORMAT, Header, Status, TaskKind, read_header, read_run
from nestevo_hw.report.page import write_report
from nestevo_hw.report.records.recording import Damage, Labels
from nestevo_hw.report.records.teacher import Groups
from nestevo_hw.report.summary import summarise
from nestevo_hw.scheduler.attempts import TaskEvent
from nestevo_hw.scheduler.server_process import ServerProcess
from nestevo_hw.scheduler.task import Task
from nestevo_hw.tasks.named import task_named


def evolve(
    config: RunConfig,
    run_dir: Path,
    *,
    resume: bool = False,
    quick: bool = False,
    page: bool = True,
    on_task: Callable[[Task], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    server: ServerProcess | None = None,
    windows: Windows | None = None,
) -> dict[str, Any]:
    """Run all evolution windows and write the run folder.

    Args:
        config: of the run.
        run_dir: folder to write; new or empty, unless a run is resumed in it.
        resume: go on with a run that was interrupted; finished tasks are not run again, those whose worker died are.
            Only its [execution] may differ from before.
        quick: the configuration is an impression of another, which is said wherever its figures stand.
        page: write report.html at the end; `nestevo-hw report` can do that later.
        on_task: called with each finished task.
        on_warning: called with each line about what the run can do with, but should be looked at.
        server: of worker processes, if one has been started with `preload.PRELOAD`; a local run ends it.
        windows: says when windows begin, for terminals whose frames arrive; by default all, one after another.

    Returns:
        The summary, as in `evolve --json`.

    Raises:
        ConfigError: the folder is in use, holds another run, or the one to resume has another configuration.
        LostFileError: a file that the configuration of the run to resume names is gone.
        StoppedError: stopped by Ctrl-C or a signal; what has finished is kept.
    """
    if windows is None and config.remote:
        raise ConfigError(
            f"terminal {config.remote[0]!r} is remote: its frames arrive at `nestevo-hw serve`; run that instead"
        )
    if resume:
        check_inputs_kept(config)
    config, reviews = checked(config, on_warning)
    with one_writer(run_dir):
        header = _open_folder(config, RunLayout(run_dir.resolve()), resume=resume, quick=quick)
        if resume and (other := other_versions(header.versions)):
            on_warning(f"{run_dir} was begun with {other}; what is left of it may differ for that alone")
        return _evolve(
            config, run_dir, header, reviews, server, windows or every_window,
            page=page, on_task=on_task, on_warning=on_warning,
        )  # fmt: skip


def checked(
    config: RunConfig, on_warning: Callable[[str], None] = lambda _: None
) -> tuple[RunConfig, Mapping[str, Review]]:
    """A configuration in which nothing wrong has been found, with its device as it is now; nothing is run or written.

    Returns:
        the configuration, and what was found in the recording of each terminal that has one.

    Raises:
        ConfigError, InputError: as `check_run`.
    """
    config = replace(config, teacher=config.teacher.recorded(Path()))
    reviews = check_run(config)
    for line in (*idle_settings(config), *input_warnings(reviews), *teacher_warnings(config), *data_warnings(config)):
        on_warning(line)
    return config, reviews


def _evolve(
    config: RunConfig,
    run_dir: Path,
    header: Header,
    reviews: Mapping[str, Review],
    server: ServerProcess | None,
    windows: Windows,
    *,
    page: bool,
    on_task: Callable[[Task], None],
    on_warning: Callable[[str], None],
) -> dict[str, Any]:
    layout, started = RunLayout(run_dir.resolve()), time.monotonic()
    again = f"go on with `nestevo-hw evolve --resume {pasteable(run_dir)}`"
    advice = again if windows is every_window else "start the server again to go on"
    with _end_recorded(layout), resumable(run_dir, lambda: _kept(layout), advice=advice):
        classes, earlier_s = _all_windows(config, layout, reviews, server, windows, on_task, on_warning)
        header = replace(header, classes=classes)
        summary = _close_folder(layout, header, run_dir, wall_s=earlier_s + time.monotonic() - started)
        if page:
            write_report(run_dir)
    return summary


def _kept(layout: RunLayout) -> str:
    return counted(len(list(layout.results.glob("*.json"))), "task")


@contextmanager
def _end_recorded(layout: RunLayout) -> Iterator[None]:
    """Say in run.json, and on the page, how a run ended that did not come to its end."""
    try:
        yield
    except Exception as error:
        kinds: dict[type[Exception], Status] = {StoppedError: "stopped", ConfigError: "refused"}
        status: Status = next((known for kind, known in kinds.items() if isinstance(error, kind)), "failed")
        with suppress(NestEvoError, OSError):  # a full disk, say, that is the error itself
            header = replace(read_header(layout.root), status=status, ended=one_line(str(error)).removesuffix("."))
            write_json(layout.run_json, plain(header))
            if status != "stopped":
                write_report(layout.root)
        raise


def _all_windows(
    config: RunConfig,
    layout: RunLayout,
    reviews: Mapping[str, Review],
    workers: ServerProcess | None,
    windows: Windows,
    on_task: Callable[[Task], None],
    on_warning: Callable[[str], None],
) -> tuple[tuple[str, ...], float]:
    """Run what has not run yet; returns the classes that the teacher knows, and the seconds of earlier sessions."""

    def on_event(event: TaskEvent) -> None:
        if event.kind == "exceeded":
            on_warning(event.message)

    target = target_of(resolved(config.execution.device))
    with open_executor(
        config.execution,
        layout.root,
        seed=config.seed,
        terminals=len(config.terminals),
        server=workers,
        on_event=on_event,
        target=target,
    ) as executor:
        journal = Journal(layout, executor, on_task)
        for name, review in reviews.items():
            if review.labels is not None:
                journal.log(Labels(terminal=name, **plain(review.labels)))
            if review.damage is not None:
                journal.log(Damage(terminal=name, **plain(review.damage)))
        costs = TaskCosts(config, target)
        dispatch = Dispatch(config, journal, costs)
        groups = form_groups(config, layout, dispatch)
        if len(groups) > 1:
            journal.log(Groups(by=config.groups.by, groups=groups))
        server = Server(config, layout, journal, dispatch, costs, groups, on_warning)
        EvolutionLoop(server, METHODS[config.method]).run(windows)
    return server.classes, journal.earlier_s


def _close_folder(layout: RunLayout, header: Header, run_dir: Path, *, wall_s: float) -> dict[str, Any]:
    """Write the summary into run.json, and return it."""
    write_json(layout.run_json, plain(header))
    told = {"method": header.method, "seed": header.seed, "impression": header.impression, "wall_s": wall_s}
    summary = summarise(read_run(run_dir)) | told
    write_json(layout.run_json, plain(replace(header, status="complete", summary=summary)))
    return summary


def _open_folder(config: RunConfig, layout: RunLayout, *, resume: bool, quick: bool) -> Header:
    """Check the folder and write run.json, new or as that of the run to resume."""
    if resume:
        return _resumed(config, layout)
    if not is_unused(layout.root):
        raise ConfigError(f"{layout.root} is not empty; choose another --out, or --resume the run in it")
    task = task_named(config.task)
    header = Header(
        format=FORMAT,
        status="running",
        method=config.method,
        config=config.document(),
        seed=config.seed,
        impression=quick,
        versions=dict(versions()),
        machine={
            "platform": platform.platform(),
            "cores": usable_cores(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            **computed_on(config.execution),
        },
        metric=task.metric,
        second_metric=task.second_metric,
        kinds={s.kind: TaskKind(wording=s.wording, colour=s.colour, resource=s.needs) for s in STEPS.values()},
    )
    write_json(layout.run_json, plain(header))
    return header


def _resumed(config: RunConfig, layout: RunLayout) -> Header:
    """The header of a run that goes on; where and how fast it does may have changed."""
    header, stored = require_same(config, layout)
    machine = header.machine | computed_on(config.execution)
    header = replace(header, status="running", ended="", config=config.document(), machine=machine, summary=None)
    write_json(layout.run_json, plain(header))
    forget_deaths(layout, files_kept=stored.execution.keep_windows is None)
    return header


def require_same(
    config: RunConfig, layout: RunLayout, *, advice: str = "resume it without CONFIG"
) -> tuple[Header, RunConfig]:
    """Refuse to go on with a run that another configuration began, but for its [execution].

    Returns:
        what the run says of itself, and the configuration that it was last run with.

    Raises:
        ConfigError: it differs.
        InputError: what the folder holds is damaged.
    """
    header = read_header(layout.root)
    stored = parse_config(header.config, source=str(layout.run_json))
    if replace(stored, execution=config.execution) != config:
        raise ConfigError(f"{layout.root} was started with another configuration; {advice}")
    return header, stored


def computed_on(config: ExecutionConfig) -> dict[str, Any]:
    """What models compute on: cpu, or the name of the GPU and what a process takes of it besides its tensors.

    On a Ray cluster, what each node finds.
    """
    if config.executor == "ray":
        return {"device": f"{config.device} of each node"}
    device = resolved(config.device)
    if device.type != "cuda":
        return {"device": device_name(device)}
    target = target_of(device)
    context = {"context_bytes": target.context_bytes, "blas_bytes": target.blas_bytes, "source": target.source}
    return {"device": ", ".join(map(device_name, gpus_of(config))), "gpu": context}


def config_to_resume(run_dir: Path) -> RunConfig:
    """The configuration of a run that is to go on.

    Raises:
        ConfigError: there is no such folder, it holds no run, or its configuration is impossible.
        InputError: what it holds is damaged.
    """
    require_folder(run_dir)
    if not RunLayout(run_dir).run_json.is_file():
        raise ConfigError(f"{run_dir} holds no run to resume; leave --resume out, or correct the path")
    return parse_config(stored_config(run_dir), source=str(run_dir))


def stored_config(run_dir: Path) -> dict[str, Any]:
    """The configuration document of a run folder.

    Raises:
        InputError: the folder holds no run.
    """
    return read_header(run_dir).config
