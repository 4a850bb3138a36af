"""Runs tasks as a policy chooses: reservations, second attempts, time-outs and cancelling, wherever the workers are."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from nestevo_hw.base import errors
from nestevo_hw.base.errors import TaskError
from nestevo_hw.base.memory import MachineMemory, machine_memory
from nestevo_hw.scheduler.attempts import Attempt, EventKind, TaskEvent
from nestevo_hw.scheduler.deaths import ADVICE, death_of, last_words
from nestevo_hw.scheduler.machine import Machine, Policy, Queued, Reservation
from nestevo_hw.scheduler.reservations import complaint, exceeds, is_short, shortage
from nestevo_hw.scheduler.task import Excess, Task, TaskFailure, TaskResult
from nestevo_hw.scheduler.workers import DeviceLost, Ended, Started, Workers

MOST_ATTEMPTS = 2
MOST_LOSSES = 5
"""Of the devices a task ran on; after that something about the task itself is suspect."""
POLL_S = 0.25
"""Between two looks at who was cancelled and what memory is taken."""

OnResult = Callable[[Task, TaskResult], None]
OnFailure = Callable[[Task, TaskFailure], None]


class Dispatcher:
    """Devices shared by tasks as a policy chooses; one run at a time.

    Args:
        policy: chooses among waiting tasks, again whenever one arrives or ends.
        machine: what they share.
        workers: where attempts run.
        on_event: told of each start, end, retry and failure, in the thread of `run`.
        timeout_s: longest a task may run, seconds; None for no limit.
        look: at the memory of this machine; None where its memory is not what tasks reserve.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        machine: Machine,
        workers: Workers,
        on_event: Callable[[TaskEvent], None] | None,
        timeout_s: float | None,
        look: Callable[[], MachineMemory | None] | None = machine_memory,
    ) -> None:
        self._policy = policy
        self._machine = machine
        self._workers = workers
        self._on_event = on_event
        self._timeout_s = timeout_s
        self._look = look
        self._epoch = time.monotonic()
        self._attempts = 0
        self._lost: set[int] = set()
        self._cancelled: set[str] = set()
        self._waiting: list[Attempt] = []
        self._running: dict[int, Attempt] = {}
        self._considered: object = None
        """What the policy chose from last: it chooses again only when something has arrived or ended."""

    def cancel(self, names: Sequence[str]) -> None:
        """See `Executor.cancel`; may be called from any thread."""
        self._cancelled.update(names)

    def run(
        self, tasks: Sequence[Task], on_result: OnResult | None, on_failure: OnFailure | None
    ) -> dict[str, TaskResult]:
        """See `Executor.run`."""
        self._machine.check(tasks)
        now_s = self._now()
        self._cancelled.clear()
        self._waiting = [Attempt(task=t, original=t, submitted_s=now_s + t.arrives_s) for t in tasks]
        self._running, self._considered = {}, None
        results: dict[str, TaskResult] = {}
        try:
            while self._waiting or self._running:
                self._admit()
                for event in self._workers.wait(self._patience_s()):
                    if isinstance(event, DeviceLost):
                        self._lost.add(event.device)
                    elif event.id in self._running:
                        self._follow(event, results, on_result, on_failure)
                self._check_memory(on_failure)
                self._check_time(on_failure)
                self._check_cancelled(on_failure)
                self._check_devices(on_failure)
        except Exception:
            self._workers.stop(self._running)
            raise
        return {task.name: results[task.name] for task in tasks if task.name in results}

    def _follow(
        self,
        event: Started | Ended,
        results: dict[str, TaskResult],
        on_result: OnResult | None,
        on_failure: OnFailure | None,
    ) -> None:
        """What a start or an end means for its task."""
        if isinstance(event, Started):
            self._running[event.id].started_s = event.at_s - self._epoch
            self._tell("started", self._running[event.id].task)
            return
        attempt = self._running.pop(event.id)
        outcome = self._conclude(attempt, event)
        if isinstance(outcome, TaskResult):
            results[outcome.name] = outcome
            self._tell("ended", attempt.task)
            if on_result is not None:
                on_result(attempt.original, outcome)
        elif outcome is not None:
            self._fail(attempt, outcome, on_failure)

    def _admit(self) -> None:
        """Start what the policy chooses; lowest free slots first."""
        now_s = self._now()
        here = {a.task.name: a for a in self._waiting if a.submitted_s <= now_s}
        situation = (frozenset(here), frozenset(self._running), frozenset(self._lost), self._attempts)
        if situation == self._considered:
            return
        self._considered = situation
        running = [Reservation(task=a.task, device=a.device, started_s=a.admitted_s) for a in self._running.values()]
        queue = [Queued(task=a.task, arrived_s=a.submitted_s) for a in here.values()]
        chosen = self._machine.admit(self._policy, queue, running, now_s, self._lost)
        if here and not running and not chosen:
            raise TaskError(f"policy {self._policy.name!r} starts none of {len(here)} tasks on an idle machine")
        for placement in chosen:
            attempt = here[placement.task.name]
            attempt.device, attempt.admitted_s = placement.device, now_s
            attempt.slot = self._machine.free_slot(placement.device, [a.slot for a in self._running.values()])
            self._attempts += 1
            self._waiting.remove(attempt)
            self._running[self._attempts] = attempt
            self._workers.start(self._attempts, attempt.task, placement.device)

    def _conclude(self, attempt: Attempt, end: Ended) -> TaskResult | TaskFailure | None:
        """The result or the failure of an attempt that ended; None if the task waits again."""
        task, reply = attempt.task, end.reply or {}
        error = reply.get("error")
        if end.device_lost:
            return self._again_elsewhere(attempt)
        if reply and self._is_watched(attempt):
            self._note(attempt, end.peak_bytes)
        if error is not None and not error["out_of_memory"]:
            kind = "" if hasattr(errors, error["type"]) else f"{error['type']}: "  # ours are one clear line
            reason = f"task {task.name} failed: {kind}{error['message']}"
            return attempt.failure(reason, error_type=error["type"], traceback=error["traceback"])
        if "value" not in reply:
            return self._again_with_more(attempt, end)
        ended_s = end.at_s - self._epoch
        started_s = ended_s if attempt.started_s is None else attempt.started_s
        if end.ran_s is not None:
            started_s = max(started_s, ended_s - end.ran_s)
        return TaskResult(
            name=task.name,
            value=reply["value"],
            submitted_s=attempt.submitted_s,
            started_s=started_s,
            ended_s=ended_s,
            worker=attempt.slot,
            peak_memory_bytes=end.peak_bytes,
            shared_memory_bytes=end.shared_bytes,
            gpu_peak_bytes=end.gpu_bytes,
            attempts=attempt.number + attempt.losses,
            excess=attempt.excess or attempt.earlier,
        )

    def _again_with_more(self, attempt: Attempt, end: Ended) -> TaskFailure | None:
        """Put the task back in front of the queue with a larger reservation, unless that was tried."""
        task, gpu = attempt.task, self._on_gpu(attempt)
        if attempt.number >= MOST_ATTEMPTS:
            return attempt.failure(last_words(task, attempt.number, end, gpu=gpu))
        able = [d.memory_bytes for d in self._machine.remaining(self._lost) if d.could_hold(task)]
        most = max(able, default=task.memory_bytes)
        wanted = max(2 * task.memory_bytes, 0 if gpu else end.peak_bytes * 5 // 4)
        if gpu and end.reply is not None:  # it was kept to its reservation, so nobody knows what it needs
            wanted = most
        larger = replace(task, memory_bytes=min(wanted, most))
        self._requeue(attempt, larger, number=attempt.number + 1, why=death_of(task, end, gpu=gpu))
        return None

    def _again_elsewhere(self, attempt: Attempt) -> TaskFailure | None:
        """Put the task back in front of the queue as it was: its device is gone, which is not its fault."""
        name = self._machine.devices[attempt.device].name
        if attempt.losses >= MOST_LOSSES:
            return attempt.failure(
                f"task {attempt.task.name} was lost with {attempt.losses + 1} devices, {name} the last"
            )
        attempt.losses += 1
        self._requeue(attempt, attempt.task, number=attempt.number, why=f"{name}, on which it ran, is gone")
        return None

    def _requeue(self, attempt: Attempt, task: Task, *, number: int, why: str) -> None:
        again = Attempt(
            task=task,
            original=attempt.original,
            submitted_s=attempt.submitted_s,
            number=number,
            losses=attempt.losses,
            earlier=attempt.excess or attempt.earlier,
        )
        self._waiting.insert(0, again)
        self._tell("retried", task, why)

    def _fail(self, attempt: Attempt, failure: TaskFailure, on_failure: OnFailure | None) -> None:
        """Hand a failure over.

        Raises:
            TaskError: nobody takes it.
        """
        self._tell("failed", attempt.task, failure.reason)
        if on_failure is not None:
            on_failure(attempt.original, failure)
            return
        error = TaskError(failure.reason)
        if failure.traceback:
            error.add_note(f"Traceback of the worker:\n{failure.traceback}")
        raise error

    def _patience_s(self) -> float:
        """How long nothing needs to be looked after, seconds."""
        now_s, moments = self._now(), [POLL_S]
        moments += [a.submitted_s - now_s for a in self._waiting if a.submitted_s > now_s]
        if self._timeout_s is not None:
            started = [a.started_s for a in self._running.values() if a.started_s is not None]
            moments += [s + self._timeout_s - now_s for s in started]
        return max(min(moments), 0.0)

    def _check_time(self, on_failure: OnFailure | None) -> None:
        if self._timeout_s is None:
            return
        for number, attempt in list(self._running.items()):
            ran_s = self._now() - attempt.started_s if attempt.started_s is not None else 0.0
            if ran_s > self._timeout_s:
                reason = (
                    f"task {attempt.task.name} was stopped after {ran_s:.0f} s, predicted were "
                    f"{attempt.task.duration_s:.0f} s; allow more than {self._timeout_s:.0f} s or make it smaller"
                )
                self._stop(number, reason, on_failure)

    def _check_cancelled(self, on_failure: OnFailure | None) -> None:
        names = set(self._cancelled)
        for attempt in [a for a in self._waiting if a.task.name in names]:
            self._waiting.remove(attempt)
            self._fail(attempt, attempt.failure(f"task {attempt.task.name} was cancelled"), on_failure)
        for number, attempt in [(n, a) for n, a in self._running.items() if a.task.name in names]:
            self._stop(number, f"task {attempt.task.name} was cancelled", on_failure)

    def _check_devices(self, on_failure: OnFailure | None) -> None:
        """Give up tasks that no remaining device could hold."""
        if not self._lost:
            return
        remaining = self._machine.remaining(self._lost)
        for attempt in [a for a in self._waiting if not any(d.could_hold(a.task) for d in remaining)]:
            self._waiting.remove(attempt)
            reason = (
                f"task {attempt.task.name} fits on none of the {len(remaining)} devices left "
                f"({len(self._lost)} were lost); bring machines back and resume"
            )
            self._fail(attempt, attempt.failure(reason), on_failure)

    def _check_memory(self, on_failure: OnFailure | None) -> None:
        """Note who takes more than it reserved, and where the machine runs out, stop who does so most."""
        beyond: dict[int, int] = {}
        for number, taken_bytes in self._workers.held().items():
            attempt = self._running.get(number)
            if attempt is not None and self._is_watched(attempt):
                self._note(attempt, taken_bytes)
                # A retry may reserve a whole device; what its first reservation did not foresee is still the trouble.
                foreseen_bytes = self._main_bytes(attempt, attempt.original)
                if exceeds(taken_bytes, foreseen_bytes):
                    beyond[number] = taken_bytes - foreseen_bytes
        memory = self._look() if self._look is not None and beyond else None
        if memory is not None and is_short(memory):
            worst = max(beyond, key=lambda number: beyond[number])
            foreseen_bytes = self._main_bytes(self._running[worst], self._running[worst].original)
            self._relieve(worst, beyond[worst] + foreseen_bytes, memory, on_failure)

    def _relieve(self, number: int, taken_bytes: int, memory: MachineMemory, on_failure: OnFailure | None) -> None:
        """Stop a task, and have it wait until it can have a whole device to itself, unless that was tried."""
        attempt = self._running.pop(number)
        self._workers.stop([number])
        reserved_bytes = self._main_bytes(attempt, attempt.task)
        attempt.excess = Excess(reserved_bytes=reserved_bytes, peak_bytes=taken_bytes, stopped=True)
        why = shortage(attempt.excess, memory)
        if attempt.number >= MOST_ATTEMPTS:
            reason = f"task {attempt.task.name} failed {attempt.number} times; the last time {why}; {ADVICE}"
            self._fail(attempt, attempt.failure(reason), on_failure)
        else:
            alone = replace(attempt.task, memory_bytes=self._machine.devices[attempt.device].memory_bytes)
            if self._on_gpu(attempt):
                alone = replace(attempt.task, host_bytes=max(self._machine.host_bytes or 0, taken_bytes))
            self._requeue(attempt, alone, number=attempt.number + 1, why=why)

    def _is_watched(self, attempt: Attempt) -> bool:
        """Whether it has reserved main memory and is held to it."""
        return self._look is not None and (not self._on_gpu(attempt) or attempt.task.host_bytes > 0)

    def _on_gpu(self, attempt: Attempt) -> bool:
        """Whether the memory that it reserves is a GPU's, or would be if it needed any."""
        return self._machine.devices[attempt.device].gpu is not None

    def _main_bytes(self, attempt: Attempt, task: Task) -> int:
        """Main memory that its task reserves."""
        return task.host_bytes if self._on_gpu(attempt) else task.memory_bytes

    def _note(self, attempt: Attempt, taken_bytes: int) -> None:
        """Keep in mind, and tell once, that an attempt takes more than it reserved."""
        known, reserved_bytes = attempt.excess, self._main_bytes(attempt, attempt.task)
        if not exceeds(taken_bytes, reserved_bytes) or (known is not None and taken_bytes <= known.peak_bytes):
            return
        attempt.excess = Excess(reserved_bytes=reserved_bytes, peak_bytes=taken_bytes)
        if known is None:
            self._tell("exceeded", attempt.task, complaint(attempt.task, attempt.excess))

    def _stop(self, number: int, reason: str, on_failure: OnFailure | None) -> None:
        attempt = self._running.pop(number)
        self._workers.stop([number])
        self._fail(attempt, attempt.failure(reason), on_failure)

    def _now(self) -> float:
        return time.monotonic() - self._epoch

    def _tell(self, kind: EventKind, task: Task, message: str = "") -> None:
        if self._on_event is not None:
            self._on_event(TaskEvent(kind=kind, task=task, at_s=self._now(), message=message))
