"""Tasks for the executor's tests; light enough that a worker needs no torch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

Payload = dict[str, Any]


def square(payload: Payload) -> Payload:
    return {"square": payload["x"] ** 2, "threads": os.environ.get("OMP_NUM_THREADS")}


def identify(payload: Payload) -> Payload:
    del payload
    return {"pid": os.getpid(), "parent": os.getppid(), "main": sys.modules["__main__"].__file__}


def meet(payload: Payload) -> Payload:
    """Wait until the other party is there too: returns only if both run at the same time."""
    here, other = Path(payload["here"]), Path(payload["other"])
    here.touch()
    deadline = time.monotonic() + 30.0
    while not other.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{other.name} never came")
        time.sleep(0.005)
    return {}


def die_once(payload: Payload) -> Payload:
    """Be killed the first time, as by the kernel when memory runs out."""
    mark = Path(payload["mark"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"survived": True}


def die(payload: Payload) -> Payload:
    os.kill(os.getpid(), getattr(signal, payload["signal"]))
    return {}


def run_out_of_memory(payload: Payload) -> Payload:
    del payload
    raise MemoryError("no room")


def allocate(payload: Payload) -> Payload:
    """Touch every page of a block."""
    block = b"x" * payload["bytes"]
    return {"length": len(block)}


def fail(payload: Payload) -> Payload:
    raise ValueError(payload["message"])


def sleep(payload: Payload) -> Payload:
    """Sleep for a minute; leave a file behind if asked to end meanwhile."""
    Path(payload["begun"]).write_text(str(os.getpid()), encoding="ascii")
    try:
        time.sleep(60.0)
    finally:
        Path(payload["cleaned"]).touch()
    return {}


def chatter(payload: Payload) -> Payload:
    print("a stray print")
    subprocess.run(["echo", "a stray child"], check=True)
    return {"text": "x" * payload["length"]}


def return_a_list(payload: Payload) -> list[int]:
    del payload
    return [1]


def fail_after(payload: Payload) -> Payload:
    """Fail once another task has begun."""
    while not Path(payload["file"]).exists() or not Path(payload["file"]).read_text(encoding="ascii"):
        time.sleep(0.005)
    raise RuntimeError("boom")


def count_server_threads(payload: Payload) -> Payload:
    del payload
    return {"threads": len(list(Path(f"/proc/{os.getppid()}/task").iterdir()))}


def nap(payload: Payload) -> Payload:
    time.sleep(payload["seconds"])
    return {"slept": payload["seconds"]}


def copy_upper(payload: Payload) -> Payload:
    """Read one file, write another, and say where both lay."""
    text = Path(payload["source"]).read_text(encoding="utf-8")
    Path(payload["target"]).write_text(text.upper(), encoding="utf-8")
    return {"target": payload["target"], "read_from": str(Path(payload["source"]).parent.resolve()).encode().hex()}


def whereabouts(payload: Payload) -> Payload:
    del payload
    return {"visible": os.environ.get("CUDA_VISIBLE_DEVICES", "")}


def hold(payload: Payload) -> Payload:
    """Touch every page of a block, say so, and keep it until a file is there."""
    block = b"x" * payload["bytes"]
    Path(payload["holds"]).touch()
    deadline = time.monotonic() + 30.0
    while not Path(payload["until"]).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("nobody let go")
        time.sleep(0.005)
    return {"length": len(block)}
