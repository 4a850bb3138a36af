import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nestevo_hw.scheduler.ray.mirror import files_named, rebase, unpack, version
from nestevo_hw.scheduler.ray.worker import perform


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    unpack({"a.txt": b"alpha", "deep/b.txt": b"beta", "deep/c.txt": b"gamma", "other.txt": b"no"}, tmp_path / "run")
    return tmp_path / "run"


def test_files_that_a_payload_names(folder: Path) -> None:
    payload = {
        "one": str(folder / "a.txt"),
        "nested": [{"folder": str(folder / "deep")}, 3, None],
        "to come": str(folder / "new.txt"),
        "elsewhere": "/etc/hostname",
        "text": "other.txt",
        "sibling": str(folder) + "-copy/a.txt",
    }
    assert files_named(payload, folder) == ["a.txt", "deep/b.txt", "deep/c.txt"]
    assert files_named({"all": str(folder)}, folder) == ["a.txt", "deep/b.txt", "deep/c.txt", "other.txt"]
    assert files_named({}, folder) == []


def test_paths_move_there_and_back(folder: Path) -> None:
    value = {"p": str(folder / "a.txt"), "q": [str(folder), "/elsewhere", str(folder) + "2"], "n": 1.5, "t": True}
    moved = rebase(value, folder, Path("/mirror"))
    assert moved == {"p": "/mirror/a.txt", "q": ["/mirror", "/elsewhere", str(folder) + "2"], "n": 1.5, "t": True}
    assert rebase(moved, Path("/mirror"), folder) == value


def test_new_version_of_a_file_is_told_from_the_old(folder: Path) -> None:
    before = version(folder / "a.txt")
    assert version(folder / "a.txt") == before
    unpack({"a.txt": b"alpha"}, folder)
    assert version(folder / "a.txt") != before


def request(folder: Path | None, chore: str, files: list[str], **payload: str | int) -> str:
    document = {
        "function": f"chores:{chore}",
        "payload": payload,
        "cores": 1,
        "gpu_bytes": 0,
        "folder": None if folder is None else str(folder),
        "files": files,
    }
    return json.dumps(document)


def test_task_works_in_a_copy_of_its_files(folder: Path) -> None:
    source, target = folder / "deep" / "b.txt", folder / "results" / "new" / "B.txt"
    text = request(folder, "copy_upper", ["deep/b.txt"], source=str(source), target=str(target))
    reply_json, files = perform(text, b"sent with the task")
    assert files == {"results/new/B.txt": b"SENT WITH THE TASK"}
    reply = json.loads(reply_json)
    assert reply["value"]["target"] == str(target)
    assert bytes.fromhex(reply["value"]["read_from"]).decode() != str(source.parent)  # it saw the copy only
    assert not target.exists()
    assert source.read_bytes() == b"beta"


def test_without_a_folder_files_stay_where_they_are(folder: Path) -> None:
    target = folder / "B.txt"
    reply_json, files = perform(
        request(None, "copy_upper", [], source=str(folder / "deep" / "b.txt"), target=str(target))
    )
    assert files == {}
    assert target.read_text() == "BETA"
    assert json.loads(reply_json)["ran_s"] >= 0.0


def test_peak_is_of_the_task_alone() -> None:
    """A worker that has served a large task does not blame the next one for it."""
    large, _ = perform(request(None, "allocate", [], bytes=150_000_000))
    small, _ = perform(request(None, "allocate", [], bytes=1000))
    excess = json.loads(large)["peak_bytes"] - json.loads(small)["peak_bytes"]
    assert excess == pytest.approx(150e6, rel=0.1)


def test_a_gpus_peak_is_of_the_task_alone_and_its_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray may have one process do several tasks."""
    calls: list[str] = []

    def told(name: str, value: object) -> Callable[..., object]:
        return lambda *_: calls.append(name) or value

    for name, value in (("gave_back", True), ("limit_gpu_memory", None), ("most_gpu_reserved", 7)):
        monkeypatch.setattr(f"nestevo_hw.scheduler.ray.worker.{name}", told(name, value))
    text = json.dumps({**json.loads(request(None, "allocate", [], bytes=1000)), "gpu_bytes": 10})
    assert json.loads(perform(text)[0])["gpu_reserved_bytes"] == 7
    assert calls == ["gave_back", "limit_gpu_memory", "most_gpu_reserved", "gave_back"]


def test_peak_counts_what_the_allocator_had_kept() -> None:
    """Blocks freed before a task began lie in the heap of the process, and the task's own may be taken from them."""
    freed = [b"x" * 100_000 for _ in range(3000)]
    above = b"x" * 100_000  # keeps the heap from shrinking by itself
    del freed
    large, _ = perform(request(None, "allocate", [], bytes=150_000_000))
    assert json.loads(large)["peak_bytes"] == pytest.approx(150e6, rel=0.1)
    assert len(above) == 100_000


def test_error_crosses_as_text(folder: Path) -> None:
    reply = json.loads(perform(request(folder, "fail", [], message="no such frame"))[0])
    assert reply["error"]["message"] == "no such frame"
    assert "chores.py" in reply["error"]["traceback"]
