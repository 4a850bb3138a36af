"""A server and three terminals as processes, each killed once during an evolution: nothing is lost."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conversation import digits
from PIL import Image

from nestevo_hw.evolution.inbox import read_inbox

NAMES = ("gate", "belt", "counter")
CONFIG = """
task = "classification"
frame_size = [32, 32]
[window]
length_s = 530.0
upload_frames = 16
test_frames = 8
[teacher]
model = "digits-cnn"
tile = 128
[reference]
frames_per_segment = 8
[drift]
gamma = 0.0
min_samples = 1
[generator]
steps = 20
[mutual.plan]
steps = 4
[distil.plan]
steps = 4
[deployment]
held_back = 0.0
[execution]
workers = 2
[serve]
least_frames = 16
gather_s = 600.0
keep_free_mb = 0.0
"""


class Cast:
    """All processes, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.running, self.port = folder, dict[str, subprocess.Popen[str]](), 0
        tables = (f'[[terminals]]\nname = "{n}"\nmodel = "digits-cnn-m3"\nremote = true\n' for n in NAMES)
        (folder / "office.toml").write_text(CONFIG + "".join(tables))
        for place, name in enumerate(NAMES):
            (folder / name).mkdir()
            for number, frame in enumerate(digits(40, 50 * place)):
                Image.fromarray(frame).save(folder / name / f"{number:03d}.png")
        self.status_token = self.token("@status")

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "nestevo_hw", *map(str, words)]

    def token(self, name: str, state: str = "state") -> str:
        words = self.command("serve", self.folder / "office.toml", "--state", self.folder / state, "--new-token", name)
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    def serve(self, state: str = "state") -> None:
        words = self.command("serve", self.folder / "office.toml", "--state", self.folder / state, "--windows", 1,
                             "--port", self.port, "--json")  # fmt: skip
        with (self.folder / "server.err").open("a") as errors:
            self.running["server"] = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True)
        line = self.running["server"].stdout.readline()
        assert line, (self.folder / "server.err").read_text()
        self.port = json.loads(line)["port"]

    def camera(self, name: str) -> None:
        words = self.command(
            "terminal", f"http://127.0.0.1:{self.port}", "--name", name, "--token-file", self.folder / f"{name}.token",
            "--source", self.folder / name, "--loop", "--folder", self.folder / f"of-{name}", "--every", 1,
            "--judged", 8, "--ask-every", 2, "--poll", 0.2,
        )  # fmt: skip
        with (self.folder / f"{name}.err").open("a") as told:
            self.running[name] = subprocess.Popen(words, stdout=told, stderr=told, text=True)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        assert process.poll() is None, f"{name} ended by itself"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()

    def status(self) -> dict[str, object]:
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/status", auth=("", self.status_token), timeout=30)
        return answer.raise_for_status().json()

    def until(self, what: Callable[[], object], seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            for name, process in self.running.items():
                assert process.poll() is None, f"{name} ended: {(self.folder / f'{name}.err').read_text()}"
            assert time.monotonic() < deadline, self.status()
            time.sleep(0.1)


@pytest.fixture
def cast(tmp_path):
    made = Cast(tmp_path)
    yield made
    for process in made.running.values():
        process.kill()
        process.communicate()


def outcome(run: Path) -> list[dict[str, object]]:
    """Everything a run found out, but not how long it took."""
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [e for e in events if e["event"] not in {"task", "lifecycle"}]


@pytest.mark.slow
def test_each_is_killed_once_during_an_evolution_and_nothing_is_lost(cast):
    results = cast.folder / "state" / "run" / "results"
    cast.serve()
    for name in NAMES:
        (cast.folder / f"{name}.token").write_text(cast.token(name))
        cast.camera(name)
    cast.until(lambda: cast.status()["windows"])
    cast.kill("gate")
    cast.camera("gate")
    cast.until(lambda: len(list(results.glob("w0.*"))) >= 5)
    cast.kill("server")
    cast.kill("belt")
    cast.serve()
    cast.camera("belt")
    cast.until(lambda: len(list(results.glob("w0.*"))) >= 12)
    cast.kill("counter")
    cast.camera("counter")
    cast.until(lambda: json.loads((cast.folder / "state/run/run.json").read_text())["status"] == "complete")
    cast.until(lambda: all(t["runs"] == t["offered"] for t in cast.status()["terminals"]))
    terminals = {t["name"]: t for t in cast.status()["terminals"]}
    for name in NAMES:
        deployed = cast.folder / "state" / "run" / "windows" / "000" / name / "deployed" / "model.onnx"
        assert terminals[name]["runs"] == hashlib.sha256(deployed.read_bytes()).hexdigest()
        folder = cast.folder / "state" / "run" / "windows" / "000" / name / "inbox"
        frames = read_inbox(folder).frames
        assert len(frames) >= 16
        assert all(hashlib.sha256((folder / f.file).read_bytes()).hexdigest() == f.sha256 for f in frames)
        assert terminals[name]["received"] > len(frames)
    for name in ("server", *NAMES):
        cast.kill(name)
    _once_more(cast)


def _once_more(cast: Cast) -> None:
    """The same sealed frames in another folder, without any kill, come to the same."""
    cast.status_token = cast.token("@status", "again")
    windows = cast.folder / "again" / "run" / "windows" / "000"
    for name in NAMES:
        shutil.copytree(cast.folder / "state/run/windows/000" / name / "inbox", windows / name / "inbox")
    shutil.copy(cast.folder / "state/run/windows/000/sealed.json", windows)
    shutil.copy(cast.folder / "state/run/run.json", cast.folder / "again" / "run")
    cast.serve("again")
    cast.until((cast.folder / "again" / "run" / "report.html").exists)
    assert outcome(cast.folder / "again" / "run") == outcome(cast.folder / "state" / "run")
