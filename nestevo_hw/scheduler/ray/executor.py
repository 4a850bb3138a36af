"""Tasks on the machines of a Ray cluster, under the same policies."""

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.memory import machine_memory
from nestevo_hw.scheduler.attempts import TaskEvent
from nestevo_hw.scheduler.devices import Device
from nestevo_hw.scheduler.dispatcher import Dispatcher
from nestevo_hw.scheduler.executor import DispatchedExecutor
from nestevo_hw.scheduler.forkserver import GRACE_S
from nestevo_hw.scheduler.machine import Machine, Policy
from nestevo_hw.scheduler.ray.connection import connect, import_ray
from nestevo_hw.scheduler.ray.mirror import files_named, unpack, version
from nestevo_hw.scheduler.ray.worker import perform
from nestevo_hw.scheduler.task import Task
from nestevo_hw.scheduler.workers import DeviceLost, Ended, Event, Started

_GPU_SHARE_DIGITS = 4
"""Ray counts shares of a GPU in ten-thousandths."""


class RayExecutor(DispatchedExecutor):
    """Nodes of a Ray cluster, shared by tasks as a policy chooses.

    The policy picks the node; Ray is told the task's memory, cores and share of a GPU, so that it keeps room for them
    beside other users of the cluster. Tasks of a node that dies run again elsewhere. Nodes are those that the cluster
    has when the executor starts. Every node needs this package, in the same version. What crosses between machines is
    text and bytes; Ray itself pickles its calls, so only trusted machines may join the cluster.

    Args:
        policy: chooses among waiting tasks, again whenever one ends.
        address: "host:port" of the cluster's head, "auto" for one that runs on this machine, "local" to start one here
            that ends with the executor. A program that is connected already keeps its connection.
        folder: run folder, if the nodes do not share it: files below it that a payload names go with the task through
            Ray's object store, and files that the task writes there come back the same way. Without it, paths in
            payloads must be valid on all nodes.
        node_memory_bytes: that tasks may reserve together on each node; by default what Ray offers.
        gpu_memory_bytes: of each GPU, for tasks whose predicted memory is a GPU's; 0 if they compute on CPUs.
        gpu_context_bytes: what a process takes of it besides what it asks PyTorch's allocator for.
        workers: tasks at a time on each node, or on each GPU; by default as many as it has cores.
        on_event: told of each start, end, retry, failure and task beyond its reservation, in this thread.
        timeout_s: longest a task may run, seconds; None for no limit.
        main_memory: whether tasks reserve main memory, so that they can be held to it once they have ended.

    Raises:
        ConfigError: Ray is not installed, no cluster answers at the address, or it has no node to run on.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        address: str = "auto",
        folder: Path | None = None,
        node_memory_bytes: int | None = None,
        gpu_memory_bytes: int = 0,
        gpu_context_bytes: int = 0,
        workers: int | None = None,
        on_event: Callable[[TaskEvent], None] | None = None,
        timeout_s: float | None = None,
        main_memory: bool = True,
    ) -> None:
        nodes = RayWorkers(address, folder, node_memory_bytes, gpu_memory_bytes, gpu_context_bytes, workers)
        machine = Machine(devices=nodes.devices)
        look = machine_memory if main_memory else None
        dispatcher = Dispatcher(
            policy=policy, machine=machine, workers=nodes, on_event=on_event, timeout_s=timeout_s, look=look
        )
        super().__init__(dispatcher, nodes)


class RayWorkers:
    """Attempts as Ray tasks, each on the node that was chosen for it."""

    def __init__(
        self,
        address: str,
        folder: Path | None,
        node_memory_bytes: int | None,
        gpu_memory_bytes: int,
        gpu_context_bytes: int,
        workers: int | None,
    ) -> None:
        self._ray = import_ray()
        self._folder = None if folder is None else folder.resolve()
        self._gpu_bytes, self._context_bytes = gpu_memory_bytes, gpu_context_bytes
        self._ours = not self._ray.is_initialized()
        if self._ours:
            connect(self._ray, address)
        self._nodes: list[str] = []
        """Of each device."""
        self.devices = self._find_devices(node_memory_bytes, workers)
        self._perform = self._ray.remote(perform)
        self._attempts: dict[Any, int] = {}
        """By the reference of the reply."""
        self._files: dict[int, Any] = {}
        """References of the files an attempt returns."""
        self._where: dict[int, int] = {}
        """Device of each attempt."""
        self._sent: dict[str, tuple[tuple[int, int, int], Any]] = {}
        """Version and reference of each file in the store."""
        self._lost: set[str] = set()
        self._events: list[Event] = []

    def _find_devices(self, node_memory_bytes: int | None, workers: int | None) -> tuple[Device, ...]:
        devices = []
        for node in sorted(self._ray.nodes(), key=lambda n: n["NodeManagerAddress"]):
            offered: dict[str, float] = node["Resources"]
            cores = int(offered.get("CPU", 0))
            gpus = int(offered.get("GPU", 0)) if self._gpu_bytes else 1
            if not node["Alive"] or cores < 1 or gpus < 1:
                continue
            memory = self._gpu_bytes or min(int(offered["memory"]), node_memory_bytes or math.inf)
            slots = max(cores // gpus, 1)
            for number in range(gpus):
                name = node["NodeManagerAddress"] + (f" GPU {number}" if self._gpu_bytes else "")
                gpu, slots_here = (number if self._gpu_bytes else None), min(slots, workers or slots)
                devices.append(
                    Device(
                        memory_bytes=int(memory), cores=slots_here, name=name, gpu=gpu,
                        context_bytes=self._context_bytes,
                    )
                )  # fmt: skip
                self._nodes.append(node["NodeID"])
        if not devices:
            self.close()
            what = "a GPU" if self._gpu_bytes else "a core"
            raise ConfigError(f"no node of the Ray cluster offers {what}; look at `ray status`")
        return tuple(devices)

    def start(self, attempt: int, task: Task, device: int) -> None:
        """See `Workers.start`."""
        names = [] if self._folder is None else files_named(task.payload, self._folder)
        request = {
            "function": task.function,
            "payload": dict(task.payload),
            "cores": task.cores,
            "gpu_bytes": self.devices[device].allocator_bytes(task.memory_bytes) if self._gpu_bytes else 0,
            "folder": None if self._folder is None else str(self._folder),
            "files": names,
        }
        affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        reply, files = self._perform.options(
            name=task.name,
            num_returns=2,
            num_cpus=task.cores,
            max_retries=0,
            scheduling_strategy=affinity(self._nodes[device], soft=False),
            **self._needs(task),
        ).remote(json.dumps(request), *self._contents(names))
        self._attempts[reply], self._files[attempt], self._where[attempt] = attempt, files, device
        self._events.append(Started(id=attempt, at_s=time.monotonic()))

    def _needs(self, task: Task) -> Mapping[str, float]:
        """Memory of the node, or share of a GPU."""
        if not self._gpu_bytes:
            return {"memory": task.memory_bytes}
        unit = 10**_GPU_SHARE_DIGITS
        return {"num_gpus": min(math.ceil(task.memory_bytes / self._gpu_bytes * unit) / unit, 1.0)}

    def _contents(self, names: Sequence[str]) -> list[Any]:
        """References of files of the folder; each version is put into the store once."""
        if self._folder is None:
            return []
        for name in names:
            path = self._folder / name
            now = version(path)
            if name not in self._sent or self._sent[name][0] != now:
                self._sent[name] = now, self._ray.put(path.read_bytes())
        return [self._sent[name][1] for name in names]

    def wait(self, timeout_s: float | None) -> Sequence[Event]:
        """See `Workers.wait`."""
        if not self._events:
            if not self._attempts:
                time.sleep(timeout_s or 0.0)
                return []
            ready, _ = self._ray.wait(list(self._attempts), num_returns=1, timeout=timeout_s)
            for reference in ready:
                self._finish(reference)
        told, self._events = self._events, []
        return told

    def _finish(self, reference: Any) -> None:  # noqa: ANN401 - ray.ObjectRef
        """Tell the end of an attempt, and of its node if that is why."""
        errors = self._ray.exceptions
        attempt = self._attempts.pop(reference)
        files, device = self._files.pop(attempt), self._where.pop(attempt)
        reply: dict[str, Any] | None = None
        lost = False
        try:
            reply = json.loads(self._ray.get(reference))
            if self._folder is not None and "value" in reply:
                unpack(self._ray.get(files), self._folder)
        except (errors.NodeDiedError, errors.TaskUnschedulableError, errors.ObjectLostError):
            reply, lost = None, True
            self._lose(self._nodes[device])
        except errors.OutOfMemoryError as error:
            reply = {"error": _description(error, out_of_memory=True)}
        except (errors.WorkerCrashedError, errors.TaskCancelledError):
            reply = None
        except errors.RayError as error:
            reply = {"error": _description(error, out_of_memory=False)}
        self._events.append(_ended(attempt, reply, self.devices[device], device_lost=lost))

    def _lose(self, node: str) -> None:
        """Tell that a node is gone, and with it all attempts on it: Ray may take many seconds to say so of each."""
        if node in self._lost:
            return
        self._lost.add(node)
        self._events += [DeviceLost(device=d) for d, id_ in enumerate(self._nodes) if id_ == node]
        for reference, attempt in list(self._attempts.items()):
            if self._nodes[self._where[attempt]] == node:
                del self._attempts[reference], self._files[attempt]
                device = self.devices[self._where.pop(attempt)]
                self._events.append(_ended(attempt, None, device, device_lost=True))

    def held(self) -> Mapping[int, int]:
        """See `Workers.held`: on other machines nobody looks before the end."""
        return {}

    def stop(self, attempts: Collection[int]) -> None:
        """See `Workers.stop`: they are interrupted, then after a grace of seconds killed."""
        self._events = [e for e in self._events if isinstance(e, DeviceLost) or e.id not in attempts]
        wanted = [reference for reference, attempt in self._attempts.items() if attempt in attempts]
        for force in (False, True):
            for reference in wanted:
                self._ray.cancel(reference, force=force, recursive=False)
            _, wanted = self._ray.wait(wanted, num_returns=len(wanted), timeout=GRACE_S) if wanted else ([], [])
        for reference in [r for r, attempt in self._attempts.items() if attempt in attempts]:
            attempt = self._attempts.pop(reference)
            del self._files[attempt], self._where[attempt]

    def close(self) -> None:
        """See `Workers.close`."""
        if self._ray.is_initialized():
            for reference in getattr(self, "_attempts", {}):
                self._ray.cancel(reference, force=True, recursive=False)
            if self._ours:
                self._ray.shutdown()
        self._attempts = {}


def _ended(attempt: int, reply: dict[str, Any] | None, device: Device, *, device_lost: bool) -> Ended:
    measured = reply or {}
    return Ended(
        id=attempt,
        at_s=time.monotonic(),
        reply=reply,
        status=1,
        peak_bytes=measured.get("peak_bytes", 0),
        shared_bytes=measured.get("shared_bytes", 0),
        gpu_bytes=device.gpu_taken(measured.get("gpu_reserved_bytes")),
        ran_s=measured.get("ran_s"),
        device_lost=device_lost,
    )


def _description(error: Exception, *, out_of_memory: bool) -> dict[str, Any]:
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": str(error),
        "out_of_memory": out_of_memory,
    }
