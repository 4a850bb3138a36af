"""Measures training tasks on this machine: what a step takes, and the true peak of its tensors."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from nestevo_hw.base.seeding import seeded
from nestevo_hw.profiler.fake_run import CLIP_NORM, StepWork, training_optimiser
from nestevo_hw.profiler.operations import ComputingTimer, Operation
from nestevo_hw.profiler.space import TrainingSpec, halved
from nestevo_hw.profiler.subject import Subject
from nestevo_hw.profiler.vector import StepTask

RUN_S = 0.2
"""A timed run takes as many steps as fill about this time, so that the clock and short pauses weigh little."""
MOST_STEPS = 12
OPERATION_STEPS = 3
"""Steps in which single operations are timed."""
FEWEST_RUNS, MOST_RUNS = 3, 7
LONGEST_STEP_S = 0.6
"""A task with longer steps is measured with half its batch."""
LIMIT_S = 1.5
"""Of timing one sample in one pass, once FEWEST_RUNS are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Repeated runs of a task in one pass over the samples."""

    steps: int
    """Steps of each run."""
    wall_s: tuple[float, ...]
    """Wall-clock time of each run."""
    cpu_s: tuple[float, ...]
    """Time this process really computed in each run."""
    reference_s: tuple[float, ...]
    """The same of `ReferenceStep` around each run: how fast the machine was just then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A measured training task."""

    spec: TrainingSpec
    held_out: bool
    """Kept out of training."""
    work: StepWork
    memory_bytes: int
    """True peak of allocated tensor bytes."""
    timings: tuple[Timing, ...]
    """One a pass."""
    computing: tuple[tuple[Operation, int, float], ...] = ()
    """Convolutions and products of a step, how often each is done, and the time of one in reference steps."""
    reference_s: float = 1.0
    """Time of the reference step on the free machine; `normalised` sets it. At 1 times are in units of that step."""

    @property
    def task(self) -> StepTask:
        """What a model predicts from."""
        height, width = self.spec.input_size
        return StepTask(
            work=self.work, batch_size=self.spec.batch_size, pixels=height * width,
            bfloat16=self.spec.precision == "bfloat16",
        )  # fmt: skip

    @property
    def step_s(self) -> float:
        """Median time of a step over all runs on the undisturbed machine: the target of the regressor.

        Each run's CPU time is divided by what the reference step took around it and multiplied by what that takes when
        the machine is free, because others who use caches and memory slow down both alike.
        """
        return statistics.median(self._runs())

    @property
    def wall_step_s(self) -> float:
        """Median wall-clock time of a step over all runs, as it was."""
        return statistics.median(run / t.steps for t in self.timings for run in t.wall_s)

    @property
    def spread(self) -> float:
        """Mean relative distance of single runs from their median: no predictor can be better for one run."""
        return statistics.mean(abs(run / self.step_s - 1) for run in self._runs())

    def _runs(self) -> list[float]:
        """Seconds of a step in each run, were the machine free."""
        return [
            cpu / t.steps / reference * self.reference_s
            for t in self.timings
            for cpu, reference in zip(t.cpu_s, t.reference_s, strict=True)
        ]

    def merged(self, other: "Sample") -> "Sample":
        """With the timings of another pass."""
        return replace(self, timings=(*self.timings, *other.timings), computing=other.computing)


def normalised(samples: Sequence[Sample]) -> list[Sample]:
    """The same samples with times in seconds of the free machine: that of the fastest tenth of all reference steps."""
    found = sorted(r for s in samples for t in s.timings for r in t.reference_s)
    free = found[len(found) // 10]
    return [replace(s, reference_s=free) for s in samples]


class ReferenceStep:
    """A fixed piece of training that tells how fast the machine is at the moment: convolutions, BatchNorm, a product.

    About 15 ms on one thread.
    """

    def __init__(self) -> None:
        with seeded(0, "reference step"):
            self._model = nn.Sequential(
                nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1),
                nn.ReLU(), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(32 * 36, 128),
            )  # fmt: skip
            self._images = torch.rand(6, 16, 48, 48)
        self.seconds()

    def seconds(self) -> float:
        """CPU time of one step."""
        began = time.process_time()
        for _ in range(2):
            self._model.zero_grad()
            self._model(self._images).square().mean().backward()
        return (time.process_time() - began) / 2


def measure(spec: TrainingSpec, *, seed: int = 0, held_out: bool = False, again: Sample | None = None) -> Sample:
    """Measure a task on the CPU with the threads torch has; one of too long steps with a smaller batch instead.

    Args:
        spec: the task.
        seed: of weights and frames.
        held_out: noted in the sample.
        again: a sample of the same task from an earlier pass, of which only the timing is repeated.
    """
    with seeded(seed, "profile", spec.key):
        subject = Subject(spec)
        run, optimiser = _training_step(subject)
        if again is None and _second_run_s(run) > LONGEST_STEP_S and halved(spec) != spec:
            return measure(halved(spec), seed=seed, held_out=held_out)
        timing = _timed(run)
        computing = _timed_operations(run, statistics.median(timing.reference_s))
        if again is not None:
            return again.merged(replace(again, timings=(timing,), computing=computing))
        optimiser.zero_grad(set_to_none=True)
        transient = max(allocated_peak(run), allocated_peak(run, before=lambda: optimiser.zero_grad(set_to_none=True)))
        held = sum(t.nbytes for m in subject.models for t in (*m.parameters(), *m.buffers()))
        states = (v for state in optimiser.state.values() for v in state.values())
        held += sum(v.nbytes for v in states if isinstance(v, Tensor))
        optimiser.zero_grad(set_to_none=True)
        work = subject.work()
    return Sample(
        spec=spec, held_out=held_out, work=work, memory_bytes=held + transient, timings=(timing,), computing=computing
    )


def allocated_peak(run: Callable[[], None], *, before: Callable[[], None] | None = None) -> int:
    """Most bytes alive at a time of those that `run` allocates on the CPU: torch's own record of every allocation."""
    if before is not None:
        before()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    live = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def _training_step(subject: Subject) -> tuple[Callable[[], None], torch.optim.Optimizer]:
    parameters = [p for model in subject.models for p in model.parameters() if p.requires_grad]
    optimiser = training_optimiser(subject.spec.optimiser, parameters)

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=subject.spec.precision == "bfloat16"):
            value = subject.loss()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimiser.step()

    return run, optimiser


def _timed_operations(run: Callable[[], None], reference_s: float) -> tuple[tuple[Operation, int, float], ...]:
    """Operations that compute in a step, how often, and the median time of one over three steps."""
    with ComputingTimer() as timer:
        for _ in range(OPERATION_STEPS):
            run()
    return tuple(
        (operation, max(1, round(len(times) / OPERATION_STEPS)), statistics.median(times) / reference_s)
        for operation, times in timer.seconds.items()
    )


def _second_run_s(run: Callable[[], None]) -> float:
    """Seconds of a warm step; in the first one libraries load and the optimiser's state comes into being."""
    run()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _timed(run: Callable[[], None]) -> Timing:
    once = _second_run_s(run)
    steps = max(1, min(MOST_STEPS, round(RUN_S / once)))
    wall: list[float] = []
    cpu: list[float] = []
    reference: list[float] = []
    measure_reference = ReferenceStep()
    while len(wall) < FEWEST_RUNS or (len(wall) < MOST_RUNS and sum(wall) < LIMIT_S):
        around = measure_reference.seconds()
        began, began_cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            run()
        cpu.append(time.process_time() - began_cpu)
        wall.append(time.perf_counter() - began)
        reference.append((around + measure_reference.seconds()) / 2)
    return Timing(steps=steps, wall_s=tuple(wall), cpu_s=tuple(cpu), reference_s=tuple(reference))
