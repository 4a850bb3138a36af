"""The process that forks workers: `python -m nestevo_hw.scheduler.forkserver FD MODULE...`.

Importing torch, torchvision and aihwkit takes seconds and hundreds of megabytes. This process does it once, with one
thread, and forks: a worker is there in 20 ms and shares those pages. It differs from `multiprocessing`'s fork server in
what the executor needs: nothing is pickled, the user's main module is not imported again, the kernel's account of each
worker (exit status, largest resident set) is passed on even of one that was killed, and it ends with its executor. It
never uses CUDA, so each worker can.

It reads JSON messages from the executor on the connection FD, and answers on it:
    {"start": id, "gpu": n}, then a file descriptor -> {"event": "started", "id", "at_s", "pid", "inherited_bytes"};
        the worker talks over that descriptor as `nestevo_hw.scheduler.worker` says: once, or with a GPU's number as
        long as it is open.
    {"stop": [id, ...]}: ask these workers to end, insist after GRACE_S.
    When a worker has ended -> {"event": "ended", "id", "at_s", "status", "peak_bytes"}.
    End of file: the executor is gone; stop all workers and end.
Times are `time.monotonic()`, one clock for all processes of a machine.
"""

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any, NoReturn

from nestevo_hw.base.memory import RSS_UNIT_BYTES, unshared_bytes
from nestevo_hw.scheduler.worker import serve_many, serve_one

GRACE_S = 5.0
"""From SIGTERM, which lets a task remove its temporary files, to SIGKILL."""
_PR_SET_PDEATHSIG = 1
_LOOK_MS = 50
"""Between two looks whether the imports are over."""


class ForkServer:
    """Forks workers as the executor asks, and reports their ends."""

    def __init__(self, executor: Connection) -> None:
        self._executor = executor
        self._ids: dict[int, int] = {}
        """Number of each worker process."""
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._wake = wake

    def serve(self) -> None:
        """Until the executor closes its connection."""
        while True:
            ready = wait([self._executor, self._woken])
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()
            if self._executor in ready:
                try:
                    message = json.loads(self._executor.recv_bytes())
                    if "start" in message:
                        self._fork(message["start"], message["gpu"], recv_handle(self._executor))
                except (EOFError, ConnectionError):
                    self._stop(self._ids.values())
                    return
                if "stop" in message:
                    self._stop(message["stop"])

    def _fork(self, id_: int, gpu: int | None, channel: int) -> None:
        server, at_s, inherited_bytes = os.getpid(), time.monotonic(), unshared_bytes() or 0
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._executor.close()
            os.close(self._woken)
            os.close(self._wake)
            _work(channel, gpu, server)
        os.close(channel)
        self._ids[pid] = id_
        self._tell({"event": "started", "id": id_, "at_s": at_s, "pid": pid, "inherited_bytes": inherited_bytes})

    def _reap(self) -> None:
        for pid in list(self._ids):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if not ended:
                continue
            self._tell(
                {
                    "event": "ended",
                    "id": self._ids.pop(pid),
                    "at_s": time.monotonic(),
                    "status": os.waitstatus_to_exitcode(status),
                    "peak_bytes": usage.ru_maxrss * RSS_UNIT_BYTES,
                }
            )

    def _stop(self, ids: Collection[int]) -> None:
        for signal_number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, float("inf"))):
            wanted = [pid for pid, id_ in self._ids.items() if id_ in ids]
            for pid in wanted:
                os.kill(pid, signal_number)
            deadline = time.monotonic() + patience_s
            while not self._ids.keys().isdisjoint(wanted) and time.monotonic() < deadline:
                time.sleep(0.005)
                self._reap()

    def _tell(self, event: dict[str, Any]) -> None:
        with suppress(ConnectionError):  # the executor is gone: its end of file is read next
            self._executor.send_bytes(json.dumps(event).encode())


def _work(channel_fd: int, gpu: int | None, server: int) -> NoReturn:
    """Life of a worker."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, _leave)
        _die_with(server)
        with suppress(OSError):  # if memory runs out, a worker shall go before its executor
            Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
        channel = Connection(channel_fd)
        if gpu is None:
            serve_one(channel)
        else:
            serve_many(channel, gpu)
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)  # whatever happened, never go back into the server's loop


def _leave(*_: object) -> None:
    """On SIGTERM: unwind, so that `finally` blocks of the task run."""
    raise SystemExit(128 + signal.SIGTERM)


def _die_with(server: int) -> None:
    """Have the kernel kill this worker when its fork server dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != server:
        raise SystemExit(1)


@contextmanager
def _leaving_with(executor_fd: int) -> Iterator[None]:
    """Leave during a block as soon as the executor is gone; nothing has been forked yet, and no thread stays."""
    over, hangup = threading.Event(), select.poll()
    hangup.register(executor_fd, 0)  # only its end; messages are read later

    def watch() -> None:
        while not over.is_set():
            if hangup.poll(_LOOK_MS):
                os._exit(1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def main(executor_fd: int, modules: Collection[str]) -> None:
    """Import the modules, then serve."""
    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C and a closed terminal reach the whole group
        signal.signal(number, signal.SIG_IGN)  # the executor decides
    executor = Connection(executor_fd)
    with _leaving_with(executor_fd):
        for module in modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                executor.send_bytes(json.dumps({"event": "failed", "module": module, "why": str(error)}).encode())
                return
    # Keeps the collector from writing to, and so copying, every shared page in every worker.
    gc.collect()
    gc.freeze()
    ForkServer(executor).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
