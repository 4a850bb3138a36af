"""Measures training tasks on this machine, its CPU or a GPU: what a step takes, and its true peak of memory."""

import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from nestevo_hw.base.compute import computing_in
from nestevo_hw.base.seeding import seeded
from nestevo_hw.profiler.clock import Clock
from nestevo_hw.profiler.fake_run import CLIP_NORM, StepWork, training_optimiser
from nestevo_hw.profiler.operations import ComputingTimer, Operation
from nestevo_hw.profiler.specs import TrainingSpec, halved
from nestevo_hw.profiler.target import CPU, TargetDevice
from nestevo_hw.profiler.training_models import TrainingModels
from nestevo_hw.profiler.training_step import TrainingStep

RUN_S = 0.2
"""A timed run takes as many steps as fill about this time, so that the clock and short pauses weigh little."""
MOST_STEPS = 12
MEMORY_STEPS = 3
"""After which a training reserves no more of a GPU."""
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
    """Time this process really computed in each run; on a GPU, which others do not share, the wall-clock time."""
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
    """True peak of allocated tensor bytes; on a GPU what the allocator reserved, and the context."""
    timings: tuple[Timing, ...]
    """One a pass."""
    computing: tuple[tuple[Operation, int, float], ...] = ()
    """Convolutions and products of a step, how often each is done, and the time of one in reference steps."""
    gpu_bytes: int | None = None
    """What the fake run of the training's life takes of a GPU, all parts; None for a sample of a CPU."""
    reference_s: float = 1.0
    """Time of the reference step on the free machine; `normalised` sets it. At 1 times are in units of that step."""

    @property
    def step(self) -> TrainingStep:
        """What a model predicts from."""
        height, width = self.spec.input_size
        return TrainingStep(
            work=self.work, batch_size=self.spec.batch_size, pixels=height * width,
            bfloat16=self.spec.precision == "bfloat16", gpu_bytes=self.gpu_bytes,
        )  # fmt: skip

    @property
    def step_s(self) -> float:
        """Median time of a step over all runs on the undisturbed machine: the target of the regressor.

        Each run's CPU time is divided by what the reference step took around it and multiplied by what that takes when
        the machine is free, because others who use caches and memory slow down both alike.
        """
        return statistics.median(self._runs())

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

    About 15 ms on one thread of a CPU.
    """

    def __init__(self, clock: Clock) -> None:
        with seeded(0, "reference step"):
            self._model = nn.Sequential(
                nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1),
                nn.ReLU(), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(32 * 36, 128),
            ).to(clock.device)  # fmt: skip
            self._images = torch.rand(6, 16, 48, 48).to(clock.device)
        self._clock = clock
        self.seconds()

    def seconds(self) -> float:
        """Computing time of one step."""
        began = self._clock.computed_s()
        for _ in range(2):
            self._model.zero_grad()
            self._model(self._images).square().mean().backward()
        return (self._clock.computed_s() - began) / 2


def measure(
    spec: TrainingSpec,
    *,
    target: TargetDevice = CPU,
    device: torch.device = torch.device("cpu"),  # noqa: B008 - a value
    seed: int = 0,
    held_out: bool = False,
    again: Sample | None = None,
) -> Sample:
    """Measure a task with the threads torch has; one of too long steps with a smaller batch instead.

    Args:
        spec: the task.
        target: what is known of the device's memory.
        device: where it trains.
        seed: of weights and frames.
        held_out: noted in the sample.
        again: a sample of the same task from an earlier pass, of which only the timing is repeated.
    """
    clock = Clock(device)
    with seeded(seed, "profile", spec.key):
        training = TrainingModels(spec, device)
        run, optimiser = _training_step(training, device)
        if again is None and _second_run_s(run, clock) > LONGEST_STEP_S and halved(spec) != spec:
            return measure(halved(spec), target=target, device=device, seed=seed, held_out=held_out)
        timing = _timed(run, clock)
        computing = _timed_operations(run, statistics.median(timing.reference_s), clock)
        if again is not None:
            return again.merged(replace(again, timings=(timing,), computing=computing))
        optimiser.zero_grad(set_to_none=True)
        memory_bytes = 0 if device.type == "cuda" else _peak_on_cpu(training, run, optimiser)
        work = training.work()
        gpu_bytes = None if target.kind == "cpu" else training.gpu_life().memory(target).total_bytes
    if device.type == "cuda":
        del training, run, optimiser
        memory_bytes = target.context_bytes + _reserved_peak(spec, device, seed)
    return Sample(
        spec=spec, held_out=held_out, work=work, memory_bytes=memory_bytes, timings=(timing,), computing=computing,
        gpu_bytes=gpu_bytes,
    )  # fmt: skip


def _peak_on_cpu(training: TrainingModels, run: Callable[[], None], optimiser: torch.optim.Optimizer) -> int:
    """Peak of the tensors of a training whose gradients are gone."""
    transient = max(allocated_peak(run), allocated_peak(run, before=lambda: optimiser.zero_grad(set_to_none=True)))
    held = sum(t.nbytes for m in training.models for t in (*m.parameters(), *m.buffers()))
    states = (v for state in optimiser.state.values() for v in state.values())
    held += sum(v.nbytes for v in states if isinstance(v, Tensor))
    optimiser.zero_grad(set_to_none=True)
    return transient + held


def _reserved_peak(spec: TrainingSpec, device: torch.device, seed: int) -> int:
    """Most bytes that the allocator reserves for a training from its beginning, in this process, which has done others.

    What these left is given back first: their blocks, and the workspaces of cuBLAS.
    """
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()  # no public function does it
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved(device)
    torch.cuda.reset_peak_memory_stats(device)
    with seeded(seed, "profile", spec.key):
        run, _ = _training_step(TrainingModels(spec, device), device)
        for _ in range(MEMORY_STEPS):
            run()
    return torch.cuda.max_memory_reserved(device) - before


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


def _training_step(training: TrainingModels, device: torch.device) -> tuple[Callable[[], None], torch.optim.Optimizer]:
    parameters = [p for model in training.models for p in model.parameters() if p.requires_grad]
    optimiser = training_optimiser(training.spec.optimiser, parameters)

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        with computing_in(training.spec.precision, device):
            value = training.loss()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimiser.step()

    return run, optimiser


def _timed_operations(
    run: Callable[[], None], reference_s: float, clock: Clock
) -> tuple[tuple[Operation, int, float], ...]:
    """Operations that compute in a step, how often, and the median time of one over three steps."""
    with ComputingTimer(clock.wall_s) as timer:
        for _ in range(OPERATION_STEPS):
            run()
    return tuple(
        (operation, max(1, round(len(times) / OPERATION_STEPS)), statistics.median(times) / reference_s)
        for operation, times in timer.seconds.items()
    )


def _second_run_s(run: Callable[[], None], clock: Clock) -> float:
    """Seconds of a warm step; in the first one libraries load and the optimiser's state comes into being."""
    run()
    began = clock.wall_s()
    run()
    return clock.wall_s() - began


def _timed(run: Callable[[], None], clock: Clock) -> Timing:
    once = _second_run_s(run, clock)
    steps = max(1, min(MOST_STEPS, round(RUN_S / once)))
    wall: list[float] = []
    cpu: list[float] = []
    reference: list[float] = []
    measure_reference = ReferenceStep(clock)
    while len(wall) < FEWEST_RUNS or (len(wall) < MOST_RUNS and sum(wall) < LIMIT_S):
        around = measure_reference.seconds()
        began, began_cpu = clock.wall_s(), clock.computed_s()
        for _ in range(steps):
            run()
        cpu.append(clock.computed_s() - began_cpu)
        wall.append(clock.wall_s() - began)
        reference.append((around + measure_reference.seconds()) / 2)
    return Timing(steps=steps, wall_s=tuple(wall), cpu_s=tuple(cpu), reference_s=tuple(reference))
