"""Life of a worker process: one task, or on a GPU one after another, so that its context is made once.

Its channel carries JSON. It reads {"function", "payload", "cores", "gpu_bytes"}: how much its allocator may reserve of
its GPU, 0 for a task that sees none, null where no GPU is shared. It writes its `Reply` with more in it:
    "file_bytes": pages of files that it has in memory at the task's end, and "gpu_reserved_bytes": the most that its
        allocator has reserved of its GPU.
    Of a worker that stays also "ran_s"; "peak_bytes" and "shared_bytes": most memory of its own in this task, and what
        it had before with the pages of files; "stays": whether it takes another task, else it ends; "idle_bytes": what
        it holds now.
A worker that stays first writes {"ready": true, "idle_bytes"}, once it has its context; it ends with its channel.
"""

import json
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from nestevo_hw.base.memory import file_bytes, forget_peak, peak_bytes
from nestevo_hw.scheduler.calling import call
from nestevo_hw.scheduler.gpu import gave_back, limit_gpu_memory, most_gpu_reserved, see_gpu, wake_gpu


def serve_one(channel: Connection) -> None:
    """One task, on the CPU."""
    request = _received(channel)
    if request["gpu_bytes"] is not None:
        see_gpu(None)
    _set_threads(request["cores"])
    reply = call(request["function"], request["payload"])
    _send(channel, {**reply, "file_bytes": file_bytes(), "gpu_reserved_bytes": 0})


def serve_many(channel: Connection, gpu: int) -> None:
    """Tasks of one GPU, until the channel ends or a task leaves something behind."""
    see_gpu(gpu)
    random = _RandomState()
    before_bytes = wake_gpu()
    gave_back(before_bytes)
    _send(channel, {"ready": True, "idle_bytes": forget_peak()})
    stays = True
    while stays:
        try:
            request = _received(channel)
        except EOFError:
            return
        began, idle_bytes = time.monotonic(), forget_peak()
        random.restore()
        _set_threads(request["cores"])
        limit_gpu_memory(request["gpu_bytes"])
        reply = call(request["function"], request["payload"])
        held = {
            "ran_s": time.monotonic() - began,
            "file_bytes": 0,
            "peak_bytes": peak_bytes(shared=idle_bytes),
            "shared_bytes": idle_bytes + file_bytes(),
            "gpu_reserved_bytes": most_gpu_reserved(),
        }
        short = "error" in reply and reply["error"]["out_of_memory"]
        stays = gave_back(before_bytes) and not short
        _send(channel, {**reply, **held, "stays": stays, "idle_bytes": forget_peak()})


def _received(channel: Connection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(channel.recv_bytes())
    return message


def _send(channel: Connection, message: dict[str, Any]) -> None:
    channel.send_bytes(json.dumps(message).encode())


def _set_threads(threads: int) -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


class _RandomState:
    """The libraries' own random generators as they were: each task finds them as if it had a process to itself."""

    def __init__(self) -> None:
        self._torch, self._numpy = sys.modules.get("torch"), sys.modules.get("numpy")
        if self._torch is not None:
            self._seed, self._cpu = self._torch.initial_seed(), self._torch.get_rng_state()
        if self._numpy is not None:
            self._legacy = self._numpy.random.get_state()

    def restore(self) -> None:
        """Put all back; the GPU's generator too."""
        if self._torch is not None:
            with suppress(RuntimeError):  # a GPU that has failed is found out by the task
                self._torch.manual_seed(self._seed)
            self._torch.set_rng_state(self._cpu)
        if self._numpy is not None:
            self._numpy.random.set_state(self._legacy)
