"""How a server bears a hundred terminals: uploads a second, latency, and whether its memory stays flat.

    python benchmarks/serve_load.py [--quick] [--json] [--terminals 100] [--seconds 20]

The HTTP part of `nestevo-hw serve` runs in a process of its own and evolves nothing; the terminals are one process with
a connection each, on the same machine, over loopback without TLS. Each sends JPEG frames of 128 x 160 pixels, other
ones every time. First every terminal sends one frame a second (paced), then each as fast as the server answers
(saturated). Inboxes hold 200 frames, so that the oldest are dropped. All figures are measured on this machine; the
terminals' own work is in the latencies.
"""

import argparse
import asyncio
import base64
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from nestevo_hw.base.documents import json_text, write_json
from nestevo_hw.base.memory import unshared_bytes
from nestevo_hw.evolution.config import load_preset, parse_config
from nestevo_hw.server.config import ServeConfig
from nestevo_hw.server.serve import listening, opened
from nestevo_hw.server.tokens import new_token

PICTURES = 64
"""Different frames; a number at their end makes each one new."""
PAUSE_S = 1.0
"""Between two frames of a paced terminal."""


def serve(state: Path, terminals: int) -> None:
    """The server's process: say the port, and serve until stdin ends."""
    document = load_preset("quick").document()
    document["terminals"] = [{"name": name(k), "model": "fasterrcnn-tiny-m3", "remote": True} for k in range(terminals)]
    config = parse_config(document, source="benchmark")
    limits = ServeConfig(
        port=0, inbox_frames=200, requests_per_s=1e5, mb_per_hour=1e6, connections_per_address=2 * terminals + 10,
        connections=2 * terminals + 10, keep_free_mb=0.0,
    )  # fmt: skip
    with opened(config, limits, state) as served, listening(served, limits) as port:
        print(port, flush=True)
        sys.stdin.read()


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def name(number: int) -> str:
    """Of a terminal."""
    return f"camera{number}"


def pictures() -> list[bytes]:
    """JPEG frames."""
    random, made = np.random.default_rng(0), []
    for _ in range(PICTURES):
        rough = Image.fromarray(random.integers(0, 255, (16, 20, 3), dtype=np.uint8))
        file = io.BytesIO()
        rough.resize((160, 128), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        made.append(file.getvalue())
    return made


async def terminal(
    client: httpx.AsyncClient, who: int, token: str, until: float, pause_s: float, frames: list[bytes]
) -> list[float]:
    """Latencies of one terminal's uploads, seconds."""
    latencies, number = [], 0
    if pause_s:
        await asyncio.sleep(pause_s * who / 100)  # terminals do not send at the same moment
    while time.perf_counter() < until:
        picture = frames[(who + number) % PICTURES] + number.to_bytes(4) + os.urandom(8)
        digest = base64.b64encode(hashlib.sha256(picture).digest()).decode()
        began = time.perf_counter()
        answer = await client.put(
            f"/terminals/{name(who)}/frames/f{time.time_ns()}?taken_s=1", content=picture,
            headers={"authorization": f"Bearer {token}", "content-digest": f"sha-256=:{digest}:"},
        )  # fmt: skip
        answer.raise_for_status()
        latencies.append(time.perf_counter() - began)
        number += 1
        await asyncio.sleep(max(0.0, pause_s - latencies[-1]))
    return latencies


async def load(port: int, tokens: list[str], seconds: float, pause_s: float, frames: list[bytes]) -> dict[str, float]:
    """What all terminals saw together."""
    limits, began = httpx.Limits(max_connections=None), time.perf_counter()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60) as client:
        until = began + seconds
        each = await asyncio.gather(
            *(terminal(client, k, token, until, pause_s, frames) for k, token in enumerate(tokens))
        )
    latencies, took = np.array([value for own in each for value in own]), time.perf_counter() - began
    p50, p95, p99 = (1e3 * np.percentile(latencies, [50, 95, 99])).tolist()
    return {
        "uploads": len(latencies), "uploads_per_s": len(latencies) / took,
        "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "fewest_of_a_terminal": min(map(len, each)),
    }  # fmt: skip


def measure(terminals: int, seconds: float) -> dict[str, Any]:
    """Both loads against one server."""
    frames = pictures()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        write_json(state / "tokens.json", {})
        tokens = [new_token(state, name(k)) for k in range(terminals)]
        words = [sys.executable, __file__, "--serve", str(state), "--terminals", str(terminals)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port, memory = int(server.stdout.readline()), []
            loads = {}
            asyncio.run(load(port, tokens, min(5.0, seconds), 0.0, frames))  # until caches are warm
            memory.append(unshared_bytes(server.pid) or 0)
            for kind, pause_s in (("paced", PAUSE_S), ("saturated", 0.0)):
                before_s = cpu_s(server.pid)
                loads[kind] = asyncio.run(load(port, tokens, seconds, pause_s, frames))
                loads[kind]["server_cpu_ms"] = 1e3 * (cpu_s(server.pid) - before_s) / loads[kind]["uploads"]
                memory.append(unshared_bytes(server.pid) or 0)
            server.communicate("")
    return {
        "terminals": terminals, "seconds": seconds, "frame_bytes": len(frames[0]), "cores": os.cpu_count(), **loads,
        "memory_bytes": dict(zip(("before", "after paced", "after saturated"), memory, strict=True)),
        "origin": "measured on this machine",
    }  # fmt: skip


def main() -> None:
    """Measure, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="five seconds of each load")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--terminals", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options.terminals)
        return
    found = measure(options.terminals, 5.0 if options.quick else options.seconds)
    if options.json:
        print(json_text(found))
        return
    print(f"{found['terminals']} terminals, frames of {found['frame_bytes']} bytes, {found['cores']} cores (measured)")
    for kind in ("paced", "saturated"):
        row = found[kind]
        print(f"{kind:<10} {row['uploads_per_s']:7.0f} uploads/s   p50 {row['p50_ms']:.0f} ms   "
              f"p95 {row['p95_ms']:.0f} ms   p99 {row['p99_ms']:.0f} ms   "
              f"{row['server_cpu_ms']:.1f} ms of the server's processor each")  # fmt: skip
    print("server's memory: " + ", ".join(f"{k} {v / 1e6:.0f} MB" for k, v in found["memory_bytes"].items()))


if __name__ == "__main__":
    main()
