"""The way of docs/serve.md from nothing to two cameras, as it is written there."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def commands() -> list[list[str]]:
    """The command lines of the section, in order."""
    text = (ROOT / "docs" / "serve.md").read_text().split("## From nothing to two cameras")[1].split("\n## ")[0]
    blocks = [block.split("```")[0] for block in text.split("```console\n")[1:]]
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("nestevo-hw ")]


def film(path: Path) -> None:
    """Two seconds of something that moves."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        for number in range(20):
            pixels = np.full((128, 160, 3), 90, np.uint8)
            pixels[40:90, 5 * number : 5 * number + 40] = 200
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


@pytest.mark.slow
def test_two_cameras_run_a_model_after_the_lines_of_the_page(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for name in ("campus", "village"):
        film(tmp_path / f"{name}.mp4")
    running = list[subprocess.Popen[str]]()
    port = 0
    try:
        for words in commands():
            line = [sys.executable, "-m", "nestevo_hw", *words[1:]]
            if "--new-token" in words:
                subprocess.run(line, cwd=tmp_path, check=True)
                continue
            if words[1] == "serve":  # at any port, since other things may run here
                server = subprocess.Popen(
                    [*line, "--port", "0", "--json"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
                )
                running.append(server)
                assert server.stdout is not None
                port = json.loads(server.stdout.readline())["port"]
            else:
                here = [word.replace(":8650", f":{port}") for word in line]
                running.append(subprocess.Popen(here, cwd=tmp_path, text=True))
        assert len(running) == 3
        token, deadline = (tmp_path / "status.token").read_text().strip(), time.monotonic() + 240
        while True:
            told = httpx.get(f"http://127.0.0.1:{port}/api/status", auth=("", token), timeout=60).json()
            if all(t["runs"] is not None and t["waiting"] >= 24 for t in told["terminals"]):
                break
            assert all(process.poll() is None for process in running)
            assert time.monotonic() < deadline, told
            time.sleep(0.5)
    finally:
        for process in running:
            process.kill()
            process.communicate()
