"""Workers of the edge server: how many, where, under which policy."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch

from nestevo_hw.base.choices import compute_name, one_of
from nestevo_hw.base.compute import resolved
from nestevo_hw.base.cores import usable_cores
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.memory import machine_memory
from nestevo_hw.base.ranges import MOST_WINDOWS, POSITIVE, Range
from nestevo_hw.evolution.preload import PRELOAD
from nestevo_hw.profiler.gpu_context import memory_of
from nestevo_hw.profiler.target import TargetDevice
from nestevo_hw.scheduler.attempts import TaskEvent
from nestevo_hw.scheduler.devices import Device
from nestevo_hw.scheduler.executor import Executor, LocalExecutor
from nestevo_hw.scheduler.policies import POLICIES, policy_named
from nestevo_hw.scheduler.server_process import ServerProcess

MOST_WORKERS = 4
MAIN_MEMORY_BYTES = 4_000_000_000
SHARE_OF_ALL = 0.9
"""Of a GPU's memory, or of the main memory that is free beside it, where nobody says otherwise."""
MOST_PORTS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionConfig:
    """Workers of the edge server."""

    workers: Annotated[int, Range(0, 1024)] = 0
    """Worker processes of one thread each; 0: one a core, at most four, or four a GPU, and up to half as many again
    where the terminals then come out even."""
    memory_gb: Annotated[float, Range(0.001, 1e6)] | None = None
    """Memory that tasks may reserve together, GB: of each GPU where models compute on one, else of the machine. None:
    4 of the machine, nine tenths of a GPU."""
    policy: Annotated[str, one_of(POLICIES)] = "knapsack"
    """Which waiting tasks start; docs/scheduling.md says what each policy does."""
    profile: str | None = None
    """profile.safetensors of `nestevo-hw profile`, which predicts the time of trainings from the first one on."""
    executor: Literal["local", "inline", "ray"] = "local"
    """Worker processes of this machine, the run's own process, or the nodes of a Ray cluster. inline takes one task
    after another and starts nothing, which is cheapest for many small runs; a task that dies takes the run with it."""
    address: str = "auto"
    """Head of the Ray cluster, host:port; auto: the one that runs here, local: start one."""
    shared_folder: bool = False
    """Whether all nodes see the run folder; otherwise files travel with the tasks."""
    timeout_s: Annotated[float, POSITIVE] | None = None
    """Longest a task may run, seconds; None: no limit."""
    device: Annotated[str, compute_name()] = "auto"
    """What models compute on: auto, cpu, cuda or cuda:N."""
    gpus: Annotated[int, Range(0, 64)] = 1
    """GPUs of this machine that tasks are spread over, from `device` on; 0: all there are."""
    keep_windows: Annotated[int, Range(0, MOST_WINDOWS)] | None = None
    """Windows whose frames, labels and checkpoints stay on disk; older ones go unless still in use. None: all."""

    def __post_init__(self) -> None:
        host, _, port = self.address.rpartition(":")
        if self.address not in ("auto", "local") and not (host and port.isdecimal() and int(port) < MOST_PORTS):
            raise ConfigError(f"execution.address: need auto, local or HOST:PORT, got {self.address!r}")
        whys = {"ray": "Ray spreads tasks by itself", "inline": "one task runs at a time"}
        why = "device is cpu" if self.device == "cpu" else whys.get(self.executor)
        if self.gpus != 1 and why is not None:
            raise ConfigError(f"execution.gpus: {why}; leave gpus out")


def gpus_of(config: ExecutionConfig) -> list[torch.device]:
    """The GPUs that tasks are spread over; none where models compute on the CPU.

    Raises:
        ConfigError: there are not so many.
    """
    device = resolved(config.device)
    if device.type != "cuda":
        if config.gpus > 1:
            raise ConfigError(f"execution.gpus: {config.gpus} are wanted, but torch finds none here; leave gpus out")
        return []
    first, there = device.index or 0, torch.cuda.device_count()
    if first + config.gpus > there:
        raise ConfigError(f"execution.gpus: {config.gpus} from cuda:{first} on, but torch finds {there} here")
    return [torch.device("cuda", number) for number in range(first, first + config.gpus if config.gpus else there)]


def reservable_bytes(config: ExecutionConfig) -> int:
    """Memory that tasks may reserve together: of the machine, or of the smallest GPU, so that each can run any."""
    if config.memory_gb is not None:
        return round(config.memory_gb * 1e9)
    return min((_share_of(gpu) for gpu in gpus_of(config)), default=MAIN_MEMORY_BYTES)


def _share_of(gpu: torch.device) -> int:
    return round(SHARE_OF_ALL * memory_of(gpu))


def evened(cores: int, tasks: int) -> int:
    """Workers for equal tasks that are waited for together: one a core, or up to half as many again.

    Three tasks on two cores take as long as four where each has a core for itself, as the last one runs alone; three
    workers that share the cores end together, in three quarters of that.
    """
    rounds = max(tasks // cores, 1)
    even = math.ceil(tasks / rounds)
    return even if cores < even <= 1.5 * cores else cores


def open_executor(
    config: ExecutionConfig,
    folder: Path,
    *,
    seed: int,
    terminals: int,
    server: ServerProcess | None,
    on_event: Callable[[TaskEvent], None],
    target: TargetDevice,
) -> Executor:
    """Worker processes of this machine, or the nodes of a Ray cluster.

    Args:
        config: how many workers, where, under which policy.
        folder: of the run; its files travel with the tasks where nodes do not see it.
        seed: of a policy that draws at random.
        terminals: that a step has a task for.
        server: of workers that import `PRELOAD`, if one has been started; it ends with a local executor.
        on_event: told of what happens to tasks.
        target: what models compute on. On a CPU tasks reserve main memory and are held to it; on a GPU they reserve
            its memory, of which each worker sees no more than that, and main memory beside it.
    """
    policy, main_memory = policy_named(config.policy, seed=seed), target.kind == "cpu"
    if config.executor == "ray":
        from nestevo_hw.scheduler.ray.executor import RayExecutor

        if server is not None:
            server.close()
        return RayExecutor(
            policy=policy,
            address=config.address,
            folder=None if config.shared_folder else folder,
            workers=config.workers or None,
            timeout_s=config.timeout_s,
            on_event=on_event,
            gpu_memory_bytes=0 if main_memory else reservable_bytes(config),
            gpu_context_bytes=target.context_bytes,
            main_memory=main_memory,
        )
    found, memory = [] if main_memory else gpus_of(config), machine_memory()
    cores = min(usable_cores(), MOST_WORKERS * max(len(found), 1))
    workers = config.workers or evened(cores, terminals)
    if config.executor == "inline":
        workers = 0
        if server is not None:
            server.close()
    each = max(math.ceil(workers / max(len(found), 1)), 1)
    gpus = tuple(
        Device(
            memory_bytes=_share_of(gpu) if config.memory_gb is None else reservable_bytes(config),
            cores=each, name=f"GPU {gpu.index}", gpu=gpu.index, context_bytes=target.context_bytes,
        )
        for gpu in found
    )  # fmt: skip
    return LocalExecutor(
        policy=policy,
        memory_bytes=reservable_bytes(config),
        workers=workers,
        gpus=gpus,
        preload=PRELOAD,
        server=server,
        timeout_s=config.timeout_s,
        on_event=on_event,
        host_bytes=None if memory is None else round(SHARE_OF_ALL * memory.available_bytes),
    )
