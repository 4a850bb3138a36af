"""Running tasks: what every executor offers, and the one that uses worker processes of this machine."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.memory import MachineMemory, machine_memory
from nestevo_hw.scheduler.attempts import TaskEvent
from nestevo_hw.scheduler.devices import Device
from nestevo_hw.scheduler.dispatcher import Dispatcher, OnFailure, OnResult
from nestevo_hw.scheduler.forked import ForkedWorkers
from nestevo_hw.scheduler.machine import Machine, Policy
from nestevo_hw.scheduler.server_process import ServerProcess
from nestevo_hw.scheduler.task import Task, TaskResult
from nestevo_hw.scheduler.workers import InlineWorkers, Workers

__all__ = ["DEFAULT_PRELOAD", "Executor", "LocalExecutor", "TaskEvent"]

DEFAULT_PRELOAD = ("torch", "torchvision", "aihwkit.nn")
"""What every worker starts with unless told otherwise; a task may import more."""


class Executor(Protocol):
    """Runs tasks as a policy chooses. A context manager: leaving it ends every process it started."""

    def __enter__(self) -> Self:
        """The executor itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...

    def run(
        self, tasks: Sequence[Task], on_result: OnResult | None = None, on_failure: OnFailure | None = None
    ) -> dict[str, TaskResult]:
        """Run tasks and wait for all of them.

        Args:
            tasks: in order of arrival; `arrives_s` counts from this call.
            on_result: told of each task and its result as it comes, in this thread.
            on_failure: told of each task that failed for good, in this thread; the others go on. Without it, the first
                such task ends the run.

        Returns:
            Results by task name, in the order of `tasks`; without those that failed.

        Raises:
            ConfigError: a task can never run here, or two share a name.
            TaskError: a task failed and there is no `on_failure`; the others were stopped first. Its note holds the
                worker's traceback. Or no task can run any more.
        """
        ...

    def cancel(self, names: Sequence[str]) -> None:
        """Stop tasks of the present run, or have them never start; they fail as cancelled. From any thread."""
        ...

    def close(self) -> None:
        """End every process of this executor; it cannot run tasks any more."""
        ...


class DispatchedExecutor:
    """A dispatcher and its workers as an `Executor`; leaving it ends every process that the workers started."""

    def __init__(self, dispatcher: Dispatcher, workers: Workers) -> None:
        self._dispatcher = dispatcher
        self._workers = workers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(
        self, tasks: Sequence[Task], on_result: OnResult | None = None, on_failure: OnFailure | None = None
    ) -> dict[str, TaskResult]:
        """See `Executor.run`."""
        try:
            return self._dispatcher.run(tasks, on_result, on_failure)
        except BaseException as error:
            if not isinstance(error, Exception):
                # Ctrl-C may have cut a message in half, so nothing more can be said to the workers: end them.
                self.close()
            raise

    def cancel(self, names: Sequence[str]) -> None:
        """See `Executor.cancel`; has no effect on a task that runs in this process (workers=0)."""
        self._dispatcher.cancel(names)

    def close(self) -> None:
        """See `Executor.close`."""
        self._workers.close()


class LocalExecutor(DispatchedExecutor):
    """Worker slots of this machine, shared by tasks as a policy chooses.

    Leaving it, also by an exception or Ctrl-C, ends every process it started; if this program is killed, they notice
    and end too. A worker that dies or runs out of memory is tried once more with a larger reservation. A task that
    takes more memory than it reserved is told of; where the machine runs out, the one that does so most is stopped, and
    tried once more alone.

    Args:
        policy: chooses among waiting tasks, again whenever one ends.
        memory_bytes: that running tasks may reserve together.
        workers: processes at a time, each with as many threads as its task has cores; 0 runs tasks one after another
            in this process.
        on_event: told of each start, end, retry, failure and task beyond its reservation, in this thread.
        timeout_s: longest a task may run, seconds; None for no limit. Not applied in this process (workers=0).
        preload: modules imported once for all workers; takes effect while this program goes on with its own start.
        look: at the memory that is left; None if tasks do not reserve this machine's main memory.
        gpus: devices to use in place of `memory_bytes` and `workers`, for tasks whose predicted memory is a GPU's. Each
            worker sees only its GPU, and no more of its memory than its task has reserved; it stays for further tasks.
        server: that has been started with `preload`; None starts one. It ends with the executor.
        host_bytes: main memory that tasks on GPUs may reserve together; None for no limit.

    Raises:
        ConfigError: memory or workers are not positive.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        memory_bytes: int,
        workers: int,
        on_event: Callable[[TaskEvent], None] | None = None,
        timeout_s: float | None = None,
        preload: Sequence[str] = DEFAULT_PRELOAD,
        gpus: Sequence[Device] = (),
        host_bytes: int | None = None,
        server: ServerProcess | None = None,
        look: Callable[[], MachineMemory | None] | None = machine_memory,
    ) -> None:
        if workers < 0:
            raise ConfigError(f"workers must be 0 (in this process) or more, got {workers}")
        machine = Machine.single(memory_bytes, max(workers, 1))
        if gpus and workers:
            machine = Machine(devices=tuple(gpus), host_bytes=host_bytes)
        backing: Workers = ForkedWorkers(preload, machine.devices, server) if workers else InlineWorkers()
        limit_s = timeout_s if workers else None
        dispatcher = Dispatcher(
            policy=policy, machine=machine, workers=backing, on_event=on_event, timeout_s=limit_s, look=look
        )
        super().__init__(dispatcher, backing)
