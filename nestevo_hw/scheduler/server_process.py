"""The fork server as the executor's side sees it: started, spoken to, and ended."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import send_handle
from types import TracebackType
from typing import Any, Self

from nestevo_hw.base.errors import ConfigError, TaskError
from nestevo_hw.scheduler.forkserver import GRACE_S

SERVER_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "ORT_DISABLE_TELEMETRY": "1",
    **dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(1 << 30)),
}
"""A process with several threads must not fork. ONNX Runtime starts one for its telemetry as it is imported. glibc
keeps what a training step frees for the next one: else each takes thousands of page faults, 4 % of its time."""


class ServerProcess:
    """A process that imports modules, then forks workers (`nestevo_hw.scheduler.forkserver`).

    A context manager: leaving it ends the server and all its workers. Started before this program's own imports it is
    done with its own when they are.

    Args:
        preload: modules to import.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self.connection, theirs = Pipe()
        self.busy = False
        """Whether workers may be there that need time to clean up."""
        paths = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100 - the empty entry means here
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "nestevo_hw.scheduler.forkserver", str(theirs.fileno()), *preload],
            env={**os.environ, **SERVER_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,  # standard output belongs to the command's own document
        )
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fork(self, number: int, gpu: int | None) -> Connection:
        """A new worker, and the channel to it.

        Args:
            number: by which the server tells of it.
            gpu: on which it stays; None for one that takes a single task.

        Raises:
            TaskError: the server is gone.
        """
        channel, theirs = Pipe()
        with theirs:
            try:
                self.tell({"start": number, "gpu": gpu})
                send_handle(self.connection, theirs.fileno(), self._process.pid)
            except ConnectionError as error:
                channel.close()
                raise self._gone() from error
        return channel

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message.

        Raises:
            ConnectionError: the server is gone.
        """
        self.connection.send_bytes(json.dumps(message).encode())

    def event(self) -> dict[str, Any]:
        """The next thing it tells of a worker.

        Raises:
            ConfigError: it cannot import a module.
            TaskError: it is gone.
        """
        try:
            event: dict[str, Any] = json.loads(self.connection.recv_bytes())
        except (EOFError, ConnectionError) as error:
            raise self._gone() from error
        if event["event"] == "failed":
            raise ConfigError(f"workers cannot import {event['module']}: {event['why']}; run `nestevo-hw doctor`")
        return event

    def close(self) -> None:
        """End it; it stops its workers first."""
        self.connection.close()
        if not self.busy:
            self._process.kill()  # idle, or still importing: nothing to clean up
        try:
            self._process.wait(2 * GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _gone(self) -> TaskError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        return TaskError(
            f"the process that starts workers ended unexpectedly (exit status {self._process.returncode}); "
            "its messages are above; if memory ran out, use fewer workers"
        )
