"""What a Ray worker does for one task; it needs this package on its machine, and not Ray itself."""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nestevo_hw.base.memory import file_bytes, forget_peak, peak_bytes
from nestevo_hw.scheduler.calling import Reply, call
from nestevo_hw.scheduler.gpu import gave_back, limit_gpu_memory, most_gpu_reserved
from nestevo_hw.scheduler.ray.mirror import Files, changed, make_places, rebase, snapshot, unpack


def perform(request_json: str, *contents: bytes) -> tuple[str, Files]:
    """Run a task: one call, one reply.

    Args:
        request_json: {"function", "payload", "cores", "gpu_bytes", "folder", "files"}; "folder" is null if the files
            are shared, else the run folder on the sender's machine, of which "files" names the contents.
        contents: of the files.

    Returns:
        The `Reply` as JSON, with "ran_s", "peak_bytes", "shared_bytes" and "gpu_reserved_bytes" added, and the files
        that the task wrote below the folder.
    """
    request, started = json.loads(request_json), time.monotonic()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(request["cores"])
    if request["gpu_bytes"]:
        gave_back(0)  # starts the peak anew where Ray has this process do one task after another
        limit_gpu_memory(request["gpu_bytes"])
    idle_bytes = forget_peak()
    if request["folder"] is None:
        reply, files = call(request["function"], json.dumps(request["payload"])), Files()
    else:
        reply, files = _perform_in_mirror(request, dict(zip(request["files"], contents, strict=True)))
    needed = {
        "ran_s": time.monotonic() - started,
        "peak_bytes": peak_bytes(shared=idle_bytes),
        "shared_bytes": idle_bytes + file_bytes(),
        "gpu_reserved_bytes": most_gpu_reserved(),
    }
    if request["gpu_bytes"]:
        gave_back(0)  # others may reserve what this task's allocator has kept
    return json.dumps({**reply, **needed}), files


def _perform_in_mirror(request: dict[str, Any], files: Files) -> tuple[Reply, Files]:
    """Run a task in a private copy of the files it names; paths are rewritten on the way in and out."""
    folder = Path(request["folder"])
    with tempfile.TemporaryDirectory(prefix="nestevo-hw-") as name:
        mirror = Path(name)
        unpack(files, mirror)
        payload = rebase(request["payload"], folder, mirror)
        make_places(payload, mirror)
        before = snapshot(mirror)
        reply = call(request["function"], json.dumps(payload))
        return rebase(reply, mirror, folder), changed(mirror, before)
