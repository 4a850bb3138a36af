"""--device: which one computes, and that everything does compute there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from pydantic import TypeAdapter

from nestevo_hw.base.compute import compute_device, device_name
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.cli import main
from nestevo_hw.evolution.pretrain_job import Job, PretrainConfig, train
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.models.checkpoint import pretrained_path, read_spec
from nestevo_hw.streams.storage import save_frames
from nestevo_hw.tasks.named import task_named
from tests.pretended_gpu import pretended_gpu

FEW = ("--frames", "8", "--repeats", "2", "--quick", "--json")
STUDIES = {
    "map": ("map", "digits-cnn", "--age", "60", "--json"),
    "bench-noise": ("bench-noise", "digits-cnn", "--sweep", "mu=0.1", "--sweep", "time_s=60", *FEW),
    "bench-noise detector": ("bench-noise", "fasterrcnn-tiny", "--sweep", "mu=0.1", "--sweep", "time_s=60", *FEW),
    "sensitivity": ("sensitivity", "digits-cnn", "--no-plan", *FEW),
    "harden": ("harden", "digits-cnn", "--steps", "2", "--samples", "10", *FEW),
    "harden detector": ("harden", "fasterrcnn-tiny", "--steps", "1", "--batch-size", "2", "--samples", "10", *FEW),
}


def run(*words: str, device: str, out: Path) -> dict[str, Any]:
    writes = () if words[0] == "map" else ("--out", str(out))
    done = CliRunner().invoke(main, [*words, "--device", device, *writes], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def scores(document: dict[str, Any]) -> list[float]:
    """Of the digital model, which no noise reaches."""
    found = document.get("digital")
    if isinstance(found, dict):
        return [value for value in found.values() if isinstance(value, float)]
    return [] if not isinstance(found, list) else [one["mean"] for one in found if "mean" in one]


QUICK, NOT_PRETENDED = ("map", "bench-noise"), "harden detector"
"""Of the latter autograd makes zeros of its own where it believes a pretended tensor to be: on the CPU."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in STUDIES if name != NOT_PRETENDED],
)
def test_a_study_computes_on_the_gpu_and_says_so(name: str, tmp_path: Path) -> None:
    here = run(*STUDIES[name], device="cpu", out=tmp_path / "cpu")
    with pretended_gpu():
        there = run(*STUDIES[name], device="cuda", out=tmp_path / "cuda")
    assert (here["device"], there["device"]) == ("cpu", "pretended GPU")
    assert scores(there) == scores(here)


@pytest.mark.gpu
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_gives_on_a_gpu_what_it_gives_on_the_cpu(name: str, tmp_path: Path) -> None:
    """Of the digital model; all else is drawn anew (docs/gpu.md)."""
    here = run(*STUDIES[name], device="cpu", out=tmp_path / "cpu")
    there = run(*STUDIES[name], device="cuda", out=tmp_path / "cuda")
    assert there["device"] == device_name(torch.device("cuda"))
    assert scores(there) == pytest.approx(scores(here), abs=0.13), "one frame of eight"


def job(folder: Path, device: str) -> Job:
    """A training of two steps."""
    plan = TrainingPlan(steps=2, batch_size=4)
    spec = read_spec(pretrained_path("digits-cnn"))
    config = PretrainConfig(task="classification", teacher=plan, terminal=plan)
    made = Job(spec=spec, variant="", start=None, out=folder, config=config, device=device)
    task, size = task_named("classification"), task_named("classification").embedded.frame_size
    stream = task.embedded_stream(name="a", place="a", seed=0, size=size, role="training")  # type: ignore[attr-defined]
    for path in made.frames:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_frames(stream.read(range(8)), path)
    return made


def trained(folder: Path, device: str) -> dict[str, float | None]:
    return train(TypeAdapter(Job).dump_python(job(folder, device), mode="json"))


def test_pretraining_trains_and_scores_on_the_gpu(tmp_path: Path) -> None:
    here = trained(tmp_path / "cpu", "cpu")
    with pretended_gpu():
        there = trained(tmp_path / "cuda", "cuda")
    assert there == here


@pytest.mark.gpu
def test_pretraining_on_a_gpu(tmp_path: Path) -> None:
    assert trained(tmp_path, "cuda").keys() == {"accuracy", "mean_recall"}


@pytest.mark.parametrize(
    "command", ["map digits-cnn", "bench-noise digits-cnn", "sensitivity digits-cnn", "harden digits-cnn", "evolve",
                "compare", "pretrain --out made"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("device", "count", "said"),
    [
        ("cuda", 0, "torch finds no GPU here; use cpu, or auto"),
        ("cuda:2", 2, "torch finds 2 here, cuda:0 to cuda:1; name one"),
        ("pcm", 1, "'pcm' is a device of the crossbar, which is --analog"),
        ("mine.toml", 1, "'mine.toml' is a device of the crossbar, which is --analog"),
        ("gpu", 1, "'gpu' is not auto, cpu, cuda or cuda:N"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(
    command: str, device: str, count: int, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    done = CliRunner().invoke(main, [*command.split(), "--device", device])
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    ("wanted", "count", "expected"), [("auto", 0, "cpu"), ("auto", 1, "cuda"), ("cuda:1", 2, "cuda:1")]
)
def test_names_and_what_they_stand_for(wanted: str, count: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert str(compute_device(wanted)) == expected


@pytest.mark.parametrize("wanted", ["", "CUDA", "cuda:", "cuda:-1", "cuda:01", "mps"])
def test_other_names_are_refused(wanted: str) -> None:
    with pytest.raises(ConfigError, match="need auto, cpu, cuda or cuda:N"):
        compute_device(wanted)


def test_gpus_are_told_by_name_and_by_number_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    name: Callable[[torch.device], str] = lambda _device: "NVIDIA H200"  # noqa: E731
    monkeypatch.setattr(torch.cuda, "get_device_name", name)
    for count, told in ((1, "NVIDIA H200"), (2, "NVIDIA H200 (cuda:1)")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert device_name(torch.device("cuda:1")) == told
