"""Runs every variant with every seed, one after another, and goes on after an interruption."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nestevo_hw.base.documents import first_difference
from nestevo_hw.base.errors import ConfigError, TaskError
from nestevo_hw.base.interruption import resumable
from nestevo_hw.base.locking import is_unused, require_unused_or_started
from nestevo_hw.evolution.check import check_run, input_warnings
from nestevo_hw.evolution.config import RunConfig, override, parse_config
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.outlook import most_tasks
from nestevo_hw.evolution.own import data_warnings
from nestevo_hw.evolution.retry import deaths
from nestevo_hw.evolution.run import evolve
from nestevo_hw.evolution.versions import other_versions
from nestevo_hw.report.events import Header, read_header
from nestevo_hw.report.page import write_report
from nestevo_hw.scheduler.task import Task
from nestevo_hw.studies.compare.results import Comparison, read_comparison
from nestevo_hw.studies.compare.variants import A3, Variant

Advance = Callable[[str], None]
Warn = Callable[[str], None]
KEPT = ("terminal.safetensors", "teacher.safetensors")
"""Tensors of a finished run that stay; frames, labels and crossbar states take ten times their space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What will run, and what will not."""

    configs: Mapping[tuple[str, int], RunConfig]
    """By name of the variant and seed; seed by seed, so that a stopped study holds whole seeds."""
    variants: tuple[Variant, ...]
    """Those that will run."""
    left_out: Mapping[str, str]
    """Those that will not, and why."""
    warnings: tuple[str, ...] = ()
    """What should be looked at before, one line each."""

    @property
    def folders(self) -> dict[tuple[str, int], str]:
        """Where each run lies, below the folder of the study."""
        return {(name, seed): f"{name}-{seed}" for name, seed in self.configs}

    @property
    def steps(self) -> int:
        """How often `run_study` calls `advance`."""
        return sum(most_tasks(config) for config in self.configs.values())


def plan_study(base: RunConfig, variants: Sequence[Variant], seeds: int) -> StudyPlan:
    """Check everything before anything runs.

    A variant that equals one before it is left out, and so is one that this configuration cannot run, such as a plain
    average of terminals whose structures differ.

    Args:
        base: the configuration; its method is replaced by each variant's.
        variants: to run.
        seeds: how many, counted up from the base's seed.

    Raises:
        ConfigError: the base itself cannot run, or none of the variants can.
        InputError: a video or its labels cannot be read.
    """
    # Never evolving asks nothing of the terminals, so what is wrong now is wrong with the configuration itself.
    reviews = check_run(override(base, {"method": A3}))
    chosen: dict[str, RunConfig] = {}
    left_out: dict[str, str] = {}
    for variant in variants:
        try:
            config = variant.config(base, base.seed)
            check_run(config)
        except ConfigError as error:
            left_out[variant.name] = f"refused: {error}"
            continue
        equal = next((name for name, other in chosen.items() if other == config), None)
        if equal is not None:
            left_out[variant.name] = f"skipped: in this configuration it is the same as {equal}"
        else:
            chosen[variant.name] = config
    if not chosen:
        raise ConfigError("nothing to compare: " + "; ".join(f"{name} {why}" for name, why in left_out.items()))
    running = tuple(v for v in variants if v.name in chosen)
    configs = {(v.name, seed): v.config(base, seed) for seed in range(base.seed, base.seed + seeds) for v in running}
    warnings = (*input_warnings(reviews), *data_warnings(base))
    return StudyPlan(configs=configs, variants=running, left_out=left_out, warnings=warnings)


def run_study(
    plan: StudyPlan,
    folder: Path,
    *,
    resume: bool,
    keep_files: bool,
    advance: Advance,
    on_warning: Warn = lambda _: None,
) -> Comparison:
    """Run what has not finished yet, each run into FOLDER/VARIANT-SEED, and read all of it.

    Args:
        plan: what to run.
        folder: of the comparison.
        resume: reuse finished runs in the folder and go on with unfinished ones; else the folder must be new or empty.
        keep_files: keep all tensors of every run; else only KEPT stay once it has finished.
        advance: called with what has just ended, `plan.steps` times.
        on_warning: called with a line about runs that are there and should be looked at.

    Raises:
        ConfigError: the folder holds a run of another configuration, or none to resume.
        TaskError: a run failed.
        StoppedError: stopped by Ctrl-C or a signal; what has finished is kept.
    """
    started = any(folder.glob("*/run.json")) or any((folder / name).exists() for name in plan.folders.values())
    require_unused_or_started(folder, resume=resume, started=started, holds="comparison")
    check_runs(plan, folder, on_warning)
    advice = "run the same command with --resume to go on, or with fewer --seeds to see what is there"
    with counted_runs(folder, len(plan.configs), advice=advice) as ended:
        return run_all(plan, folder, keep_files=keep_files, advance=advance, ended=ended)


@contextmanager
def counted_runs(
    folder: Path, runs: int, *, advice: str = "run the same command with --resume to go on"
) -> Iterator[Callable[[], None]]:
    """Run a block that calls what it is given after each of its runs; who stops it is told how many are kept.

    Args:
        folder: where they are kept.
        runs: how many there will be.
        advice: how to go on.

    Raises:
        StoppedError: stopped by Ctrl-C or a signal.
    """
    done = 0

    def ended() -> None:
        nonlocal done
        done += 1

    with resumable(folder, lambda: f"{done} of {runs} runs", advice=advice):
        yield ended


def check_runs(plan: StudyPlan, folder: Path, on_warning: Warn) -> None:
    """Refuse what lies where a plan's runs are to lie, before anything runs; name those of other versions.

    Raises:
        ConfigError: a run of another configuration, or no run at all.
    """
    ran: dict[str, list[str]] = {}
    for key, config in plan.configs.items():
        stored = _checked_stored(folder / plan.folders[key], config)
        if stored is not None and (other := other_versions(stored.versions)):
            ran.setdefault(other, []).append(plan.folders[key])
    if ran:
        told = "; ".join(f"{', '.join(names)} ran with {versions}" for versions, names in ran.items())
        on_warning(f"{folder}: {told}; runs may differ for that alone, choose another --out to run all anew")


def run_all(
    plan: StudyPlan, folder: Path, *, keep_files: bool, advance: Advance, ended: Callable[[], None], pages: bool = True
) -> Comparison:
    """Run what has not finished yet, whatever else the folder holds, and read all of it.

    Args:
        plan: what to run.
        folder: of the comparison.
        keep_files: as for `run_study`.
        advance: as for `run_study`.
        ended: called after each run.
        pages: write the page of every run; `nestevo-hw report` can do that later.

    Raises:
        TaskError: a run failed.
    """
    for (name, seed), config in plan.configs.items():
        own = folder / plan.folders[name, seed]
        _run(config, own, f"{name}, seed {seed}", keep_files=keep_files, advance=advance, pages=pages)
        ended()
    folders = {key: folder / name for key, name in plan.folders.items()}
    return read_comparison(folders, plan.variants, plan.left_out)


def _run(config: RunConfig, folder: Path, title: str, *, keep_files: bool, advance: Advance, pages: bool) -> None:
    """One run, or what is left of it."""
    left = most_tasks(config)

    def tell(task: Task) -> None:
        nonlocal left
        left -= 1
        advance(f"{title}: {task.name}")

    if not _finished(folder):
        try:
            evolve(config, folder, resume=(folder / "run.json").is_file(), page=pages, on_task=tell)
        except TaskError as error:
            raise TaskError(f"{title}: {error}; --resume goes on from here") from error
        except ConfigError as error:
            raise ConfigError(f"{title}: {error}; start with another configuration into a new --out") from error
        if not keep_files and _finished(folder):
            _tidy(folder)
    elif pages and not _has_page(folder):
        write_report(folder)
        if not keep_files:
            _tidy(folder)
    # A run in which the teacher does not evolve has fewer tasks than it might have had.
    for _ in range(left):
        advance(title)


def _tidy(folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        if path.name not in KEPT:
            path.unlink()


def _finished(folder: Path) -> bool:
    """Whether nothing is left to do: the run is complete, and no worker died that could be tried again."""
    if not (folder / "run.json").is_file() or _header(folder).status != "complete":
        return False
    return not deaths(RunLayout(folder))


def _header(folder: Path) -> Header:
    return read_header(folder, advice=f"delete {folder} and --resume")


def _has_page(folder: Path) -> bool:
    """Whether the page of a complete run is the one of its end, and not missing or of an earlier look at it."""
    page = folder / "report.html"
    return page.is_file() and page.stat().st_mtime_ns >= (folder / "run.json").stat().st_mtime_ns


def _checked_stored(folder: Path, config: RunConfig) -> Header | None:
    """The header of the run in a folder, if there is one; refused where it had another configuration.

    Where and how fast it runs does not matter.
    """
    if not (folder / "run.json").is_file():
        if not is_unused(folder):
            raise ConfigError(f"{folder} holds files but no run.json, so no run; delete it or choose another --out")
        return None
    header = _header(folder)
    stored = parse_config(header.config, source=str(folder))
    stored = replace(stored, execution=config.execution)
    if stored != config:
        difference = first_difference(stored.document(), config.document())
        raise ConfigError(f"{folder} was run with another configuration ({difference}); choose another --out")
    return header
