"""Pre-training of a user's own network on images of the user's: what is refused, and weights that are given."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import your_task_page as page
from bad_nets import NETS
from click.testing import CliRunner

from nestevo_hw.cli import main
from nestevo_hw.evolution.pretrain import check_pretraining, pretrain
from nestevo_hw.evolution.pretrain_frames import data_source
from nestevo_hw.evolution.pretrain_job import PretrainConfig
from nestevo_hw.evolution.rendering import one_by_one
from nestevo_hw.models.checkpoint import ModelSpec, load_model

MODELS = {
    "fails": "own_nets:fails failed in your code: KeyError: 'no weights' (own_nets.py, line 11)",
    "leaves": "own_nets:leaves failed in your code: SystemExit: 3 (own_nets.py, line 14)",
    "text": "own_nets:text returned str, expected a torch.nn.Module",
    "narrow": "--model: own_nets:narrow does not take images (N, 3, 32, 32): RuntimeError: mat1 and mat2",
    "few": "--model: own_nets:few: expected logits (2, 3) of two images but got (2, 4) in eval mode",
    "unused": "does not use its last linear layer spare; remove it",
    "Softmax": "--model: own_nets:Softmax: its output is not that of its last linear layer net.4; return the logits",
    "Aside": "expected logits (2, 3) of two images but got a tuple in training mode",
    "Convolutions": "a Convolutions has no linear layer to make logits; end it with an nn.Linear",
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_no_run_can_use(name: str, here: Path) -> None:
    (here / "own_nets.py").write_text(NETS)
    page.folders(here / "images", *page.shapes(30, 0))
    words = ["pretrain", "--task", "classification", "--model", f"own_nets:{name}", "--data", "images", "--out", "made"]
    done = CliRunner().invoke(main, words)
    assert MODELS[name] in done.stderr, done.output
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.exit_code in (1, 2)
    assert not (here / "made").exists()
    debugged = CliRunner().invoke(main, [*words, "--debug"])
    assert debugged.exception is not None
    if name == "fails":
        assert isinstance(debugged.exception.__cause__, KeyError)


PRETRAINING = {
    "boxes": (["--task", "detection", "--data", "d.npz"], "--data has one class an image and no boxes; add --task"),
    "nothing": (["--data", "none"], "--data: 'none' is no data that can be read; give a folder of class folders"),
    "a gap": (["--data", "gap.npz"], "--data: gap.npz shows too few samples of class '1' to train on; add some"),
    "a huge label": (["--data", "huge.npz"], "--data: huge.npz has label 2000000000000 in"),
    "few": (["--data", "few.npz"], "--data: few.npz holds 6 samples; need at least 10 to train and score on"),
    "unnamed": (["--data", "own_nets:items"], "--data: own_nets:items does not say how many classes there are; name"),
    "more labels": (["--data", "d.npz", "--classes", "a,b"], "--data: d.npz has label 2; the model knows 2 classes"),
    "no size": (["--data", "d.npz", "--size", "big"], "big"),
    "tiny": (["--data", "d.npz", "--size", "8x8"], "shorter side of the frames, pixels: need a number from 16"),
    "no data": (["--classes", "a,b"], "--classes is for --data; leave it out, or give it"),
    "frames of data": (["--data", "d.npz", "--frames", "9"], "--frames is for the embedded streams; leave it out"),
    "two sources": (["--data", "d.npz", "--until", "4"], "are of a video; leave them out beside --data"),
    "nothing to take": (["--data", "d.npz", "--steps", "0"], "--steps 0 takes the teacher as it is; give it"),
    "other weights": (["--data", "d.npz", "--from", "w.pt", "--steps", "0"], "w.pt: tensor 2.weight is missing"),
    "outer space": (["--data", "d.npz", "--model", "../x:y"], "unknown architecture '../x:y'; choose from"),
}  # fmt: skip


@pytest.mark.parametrize("case", PRETRAINING)
def test_what_nothing_can_be_learned_from(case: str, here: Path) -> None:
    (here / "own_nets.py").write_text(NETS + "\ndef items():\n    return [([[[0.0]]], 0)] * 20\n")
    images, labels = page.shapes(30, 0)
    np.savez("d.npz", x=images, y=labels)
    np.savez("gap.npz", x=images, y=labels * 2 % 4)
    np.savez("huge.npz", x=images, y=labels.astype(np.int64) * 10**12)
    np.savez("few.npz", x=images[:6], y=labels[:6])
    torch.save({"0.weight": torch.zeros(1)}, here / "w.pt")
    words, message = PRETRAINING[case]
    usual = ["pretrain", "--task", "classification", "--model", "own_nets:small", "--out", "made"]
    done = CliRunner().invoke(main, [*usual, *words])
    assert message in done.stderr
    assert done.exit_code in (1, 2)
    assert not (here / "made").exists()


def test_a_teacher_that_is_given_keeps_its_weights_and_its_terminals_learn(here: Path) -> None:
    (here / "own_nets.py").write_text(NETS)
    page.folders(here / "images", *page.shapes(30, 0))
    source = data_source("images", size=(32, 32))
    assert (source.classes, source.size, source.count) == (page.SHAPES, (32, 32), 24)
    spec = ModelSpec(architecture="own_nets:small", classes=source.classes, min_size=32, max_size=32)
    trained = spec.build()
    torch.save(trained.state_dict(), here / "net.pt")
    check_pretraining(spec, "classification", here / "net.pt", source.size)
    plan = PretrainConfig(task="classification", given=True)
    plan = replace(plan, terminal=replace(plan.terminal, steps=1))
    scores = pretrain(spec, source, here / "made", plan, start=here / "net.pt", device="cpu", workers=0)
    assert list(scores) == ["small", "small-m1", "small-m2", "small-m3"]
    made, _ = load_model(here / "made" / "small.safetensors")
    for name, tensor in trained.state_dict().items():
        assert torch.equal(made.state_dict()[name], tensor)


def test_every_fifth_image_is_scored_on_and_no_other(here: Path) -> None:
    images = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)
    np.savez(here / "d.npz", x=images, y=np.arange(20) % 3)
    training, held_out = data_source("d.npz", classes=("a", "b", "c")).read(one_by_one)
    assert held_out.images[:, 0, 0, 0].tolist() == [4, 9, 14, 19]
    assert sorted(training.images[:, 0, 0, 0].tolist()) == [i for i in range(20) if i % 5 != 4]
    assert [int(truth.labels) for truth in held_out.truth or ()] == [2, 1, 3, 2]
