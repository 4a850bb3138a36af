"""Pre-training of the teacher by day, and of its pruned terminals; killed, it goes on where it stood."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from nestevo_hw import __version__
from nestevo_hw.base.errors import ConfigError, InputError, NestEvoError, StoppedError
from nestevo_hw.base.interruption import resumable
from nestevo_hw.base.jsonlines import Journal
from nestevo_hw.base.stats import or_nan
from nestevo_hw.evolution import pretrain_job
from nestevo_hw.evolution.own import try_model
from nestevo_hw.evolution.pretrain_frames import FrameSource
from nestevo_hw.evolution.pretrain_job import Job, PretrainConfig, started
from nestevo_hw.evolution.pretrain_steps import told_steps
from nestevo_hw.evolution.rendering import Render, one_by_one, side_by_side
from nestevo_hw.models.checkpoint import SIDE, ModelSpec, digest, is_checkpoint, load_model, read_spec
from nestevo_hw.models.pruning import PRUNING_RATIOS, prune
from nestevo_hw.models.state import HEADS, load_body, load_state
from nestevo_hw.scheduler.executor import DEFAULT_PRELOAD, LocalExecutor
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.task import Task, TaskResult
from nestevo_hw.streams.storage import save_frames
from nestevo_hw.tasks.named import task_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A checkpoint that has been made."""

    name: str
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """On the held-out frames, by metric; None where there is nothing to find."""


def check_pretraining(
    spec: ModelSpec, task: str, start: Path | None, size: tuple[int, int], *, teacher_only: bool = False,
    new_classes: bool = False,
) -> None:  # fmt: skip
    """Refuse a model that cannot be pre-trained, before anything is computed.

    Args:
        spec: of the teacher.
        task: that it is to learn.
        start: checkpoint or bare state dict whose weights it starts from.
        size: (H, W) of the frames, pixels.
        teacher_only: whether no terminals are to be pruned from it.
        new_classes: whether the last layer of the checkpoint is to be left out.

    Raises:
        ConfigError: frames too small or large, an unknown architecture or one of another task, one that cannot be
            pruned, or a checkpoint of another one, with other classes, or pruned.
        InputError: a checkpoint that cannot be read, or a model of the user's own that fails.
    """
    for side, pixels in (("shorter", spec.min_size), ("longer", spec.max_size)):
        SIDE.require(pixels, f"{side} side of the frames, pixels")
    model = spec.build().eval()
    try:
        try_model(task_named(task), model, spec, size)
    except InputError as error:
        if spec.is_own:
            raise InputError(f"--model: {error}") from error
        raise ConfigError(
            f"--model: {spec.architecture} is no model for {task}; name another, or another --task"
        ) from None
    if start is not None:
        _check_start(model, spec, start, new_classes=new_classes)
    if spec.is_own and not teacher_only:
        try:
            prune(model, max(PRUNING_RATIOS.values()), size)
        except ConfigError as error:
            raise ConfigError(f"--model: {error}; --teacher-only leaves pruned ones out") from error


def check_architecture(start: Path, architecture: str) -> None:
    """Refuse a checkpoint of another architecture, before any frame is looked at.

    Raises:
        ConfigError: it is.
        InputError: the checkpoint cannot be read.
    """
    if is_checkpoint(start) and (found := read_spec(start).architecture) != architecture:
        raise ConfigError(f"--from: {start} holds a {found}, not a {architecture}; name another, or another --model")


def classes_of(start: Path) -> tuple[str, ...] | None:
    """The classes that a checkpoint knows; None of a bare state dict, which does not say it."""
    return read_spec(start).classes if is_checkpoint(start) else None


def _check_start(model: nn.Module, spec: ModelSpec, start: Path, *, new_classes: bool) -> None:
    if not is_checkpoint(start):
        load_body(model, start) if new_classes else load_state(model, start)
        return
    check_architecture(start, spec.architecture)
    found = read_spec(start)
    if found.classes != spec.classes and not new_classes:
        raise ConfigError(
            f"--from: {start} knows the classes {', '.join(found.classes)}, but the frames show "
            f"{', '.join(spec.classes)}; name another, map them with --class-map, or start its last layer afresh with "
            "--new-classes"
        )
    given, _ = load_model(start)
    body = (p for p in model.named_parameters() if not (new_classes and p[0].startswith(HEADS)))
    if any(given.get_parameter(name).shape != own.shape for name, own in body):
        raise ConfigError(f"--from: {start} holds a pruned {found.architecture}; name one that is not")


def pretrain(
    spec: ModelSpec,
    source: FrameSource,
    out: Path,
    config: PretrainConfig,
    *,
    start: Path | None = None,
    resume: bool = False,
    device: str,
    workers: int,
    teacher_only: bool = False,
    advance: Callable[[str], None] = lambda _: None,
    on_steps: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, float]]:
    """Train a teacher and its three pruned terminals, and write their checkpoints into a folder that nobody else uses.

    Args:
        spec: of the teacher, which `check_pretraining` has found fit.
        source: of the frames.
        out: folder for NAME.safetensors and NAME-m1 to -m3, NAME being that of the architecture or its factory.
        config: length and seed.
        start: checkpoint whose weights the teacher starts from; without it, fresh ones.
        resume: go on with what is there.
        device: cpu, cuda or cuda:N, for training and scoring.
        workers: terminals trained at a time.
        teacher_only: whether no terminals are pruned from the teacher.
        advance: told when the frames and each checkpoint are there.
        on_steps: told now and then how far the trainings are, and how long they still take.

    Returns:
        scores of each checkpoint on the held-out frames, by name and metric.

    Raises:
        ConfigError: the folder holds an unfinished pre-training or one of another configuration, or none to resume.
        StoppedError: stopped by Ctrl-C or a signal; what was trained is kept.
    """
    jobs = [
        Job(spec=spec, variant=variant, start=start, out=out.resolve(), config=config, device=device)
        for variant in ("", *(() if teacher_only else PRUNING_RATIOS))
    ]
    journal = _open_journal(jobs[0], source, resume=resume)
    made = {record.name: record for record in journal.records if (out / f"{record.name}.safetensors").is_file()}

    def keep(task: Task, result: TaskResult) -> None:
        made[task.name] = Trained(name=task.name, scores=result.value)
        journal.append(made[task.name])
        advance(f"{task.name} done")

    with resumable(out, lambda: f"{len(made)} of {len(jobs)} checkpoints"):
        for name in list(made):
            advance(f"{name} done")
        if len(made) < len(jobs):
            with _kept_if_begun(jobs, made):
                render = side_by_side(jobs[0].unfinished / "scenes") if workers else one_by_one
                _store_frames(jobs[0], source, render)
            advance("frames done")
            left = [job for job in jobs if job.name not in made]
            with _kept_if_begun(jobs, made), told_steps(left, on_steps):
                _train_all(left, workers, keep)
        shutil.rmtree(jobs[0].unfinished, ignore_errors=True)
    return {job.name: {metric: or_nan(value) for metric, value in made[job.name].scores.items()} for job in jobs}


@contextmanager
def _kept_if_begun(jobs: Sequence[Job], made: Mapping[str, Trained]) -> Iterator[None]:
    """Leave nothing of a pre-training that fails before anything of it is worth going on with."""
    try:
        yield
    except StoppedError:
        raise
    except NestEvoError:
        if not made and not any(job.state.is_file() for job in jobs):
            shutil.rmtree(jobs[0].unfinished, ignore_errors=True)
            jobs[0].journal.unlink(missing_ok=True)
        raise


def _open_journal(teacher: Job, source: FrameSource, *, resume: bool) -> Journal[Trained]:
    if resume and not teacher.journal.is_file():
        raise ConfigError(
            f"{teacher.out} holds no pre-training of {teacher.spec.architecture} to resume; leave --resume out"
        )
    if not resume and teacher.unfinished.exists():
        raise ConfigError(
            f"{teacher.out} holds an unfinished pre-training of {teacher.spec.architecture}; "
            "add --resume to go on, or choose another --out"
        )
    identity = {
        "spec": teacher.spec,
        "config": teacher.config,
        "frames": source.origin,
        "start": None if teacher.start is None else digest(started(teacher)),
        "version": __version__,
    }
    return Journal(teacher.journal, Trained, identity, holds="checkpoints", resume=resume, replace=True)


def _store_frames(teacher: Job, source: FrameSource, render: Render) -> None:
    """Write the frames for the workers; the last file says that both are there."""
    training, held_out = teacher.frames
    if not held_out.is_file():
        batches = source.read(render)
        save_frames(batches[0], training)
        save_frames(batches[1], held_out)


def _train_all(jobs: list[Job], workers: int, keep: Callable[[Task, TaskResult], None]) -> None:
    """The teacher, then its terminals."""
    memory, preload = 64 * 10**9, (*DEFAULT_PRELOAD, pretrain_job.__name__)
    with LocalExecutor(policy=KnapsackPolicy(), memory_bytes=memory, workers=workers, preload=preload) as executor:
        for of_terminals in (False, True):
            tasks = [job.task() for job in jobs if bool(job.variant) == of_terminals]
            if tasks:
                executor.run(tasks, on_result=keep)
