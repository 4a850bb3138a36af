"""The parts of a supernet, chained by ONNX Runtime, say what torch says of the whole path."""

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nestevo_hw.base.errors import ConfigError, InputError, StoppedError
from nestevo_hw.base.tensors import write_tensors
from nestevo_hw.models.elastic.export import export_parts
from nestevo_hw.models.elastic.parts import block_file, read_parts
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.models.elastic.supernet import as_inputs, expand
from nestevo_hw.streams.frame import Annotation, FrameBatch, frame_box
from nestevo_hw.streams.storage import save_frames
from nestevo_hw.terminals.elastic import adapting, selecting
from nestevo_hw.terminals.elastic.adapting import AdaptConfig, adapt_pool, run_frames
from nestevo_hw.terminals.elastic.edge import Accuracies, EdgeFrames
from nestevo_hw.terminals.elastic.network import Network
from nestevo_hw.terminals.elastic.pool import Candidate, Pool
from nestevo_hw.terminals.elastic.search.strategies import STRATEGIES
from nestevo_hw.terminals.elastic.selecting import SearchConfig, read_selected, select
from tests.models.elastic.nets import SPECS, frames_for, net


def parts_of(kind, folder):
    supernet = expand(net(kind), frames_for(kind), spans=(2,), rates=(0.5,) if kind == "inverted" else ())
    spec = replace(SPECS["detector" if kind == "detector" else "mobilenet"])
    export_parts(supernet, spec, folder, frames_for(kind, 1)[0])
    return supernet


@pytest.fixture(scope="module", params=["inverted", "detector"])
def built(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, parts_of(request.param, folder), folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Parts and frames of a classifier whose labels are what the base says, but for every fourth."""
    folder = tmp_path_factory.mktemp("home")
    supernet, frames = parts_of("inverted", folder / "parts"), (frames_for("inverted", 24, seed=6) * 255).byte()
    with torch.no_grad():
        labels = supernet.base(frames.float() / 255).argmax(1) + 1
    labels[::4] = labels[::4] % 10 + 1
    box = frame_box(frames)
    truth = tuple(Annotation(boxes=box, labels=k[None], ignore=torch.tensor([False])) for k in labels)
    save_frames(FrameBatch(images=frames, indices=tuple(range(24)), truth=truth), folder / "held-out.safetensors")
    return folder


def test_parts_say_what_the_model_of_the_path_says(built):
    kind, supernet, folder = built
    network = Network(folder)
    image = frames_for(kind, 1, seed=4)
    for path in (supernet.space.base, *(supernet.space.sample(random.Random(k)) for k in range(3))):
        with supernet.on(path) as model, torch.no_grad():
            wanted = model(as_inputs(model, image))
        network.sessions.change_to(path)
        (found,) = network.look(path, image.numpy())
        if kind == "inverted":
            assert found.labels.tolist() == [int(wanted.argmax()) + 1]
            assert found.scores[0] == pytest.approx(float(wanted.softmax(-1).max()), abs=1e-4)
            continue
        sure = wanted[0]["scores"].numpy()
        assert len(sure) == len(found.scores)
        assert np.allclose(np.sort(found.scores), np.sort(sure), atol=1e-3)


def test_what_is_not_as_it_was_written_is_refused(built, tmp_path):
    _, _, folder = built
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damaged = tmp_path / block_file(Branch(0))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"block-0\.onnx is not the file that elastic\.json describes"):
        Network(tmp_path)  # before anything runs, whether a path needs the block or not
    damaged.unlink()
    with pytest.raises(InputError, match=r"no file block-0\.onnx beside it"):
        read_parts(tmp_path)


def test_accuracies_are_those_of_each_path_by_itself(home):
    network, edge = Network(home / "parts"), EdgeFrames.read(home / "held-out.safetensors")
    space = network.parts.space
    paths = [space.base, *(space.sample(random.Random(k)) for k in range(4))]
    found = Accuracies(network, edge)(paths)
    assert found[0] == 0.75
    images = edge.images.astype(np.float32) / 255
    for path, accuracy in zip(paths, found, strict=True):
        labels = [int(seen.labels[0]) for seen in network.look(path, images)]
        wanted = [int(true.labels[0]) for true in edge.truth]
        assert accuracy == sum(a == b for a, b in zip(labels, wanted, strict=True)) / 24


def test_frames_of_another_size_are_refused(home):
    with pytest.raises(InputError, match="frames of 64 x 40 pixels, but the supernet takes 32 x 32"):
        Network(home / "parts").start(np.zeros((1, 3, 64, 40), np.float32))


def test_frames_are_read_as_they_were_written_and_evenly_chosen(home):
    whole = EdgeFrames.read(home / "held-out.safetensors")
    some, others = whole.parted(6)
    assert np.array_equal(np.sort(np.concatenate([some.images, others.images]), 0), np.sort(whole.images, 0))
    assert whole.images.shape == (24, 3, 32, 32)
    assert np.array_equal(some.images, whole.images[::4])
    assert [t.labels.tolist() for t in some.truth] == [t.labels.tolist() for t in whole.truth[::4]]
    most, left = whole.parted(15)
    assert np.array_equal(most.images, whole.images[[k * 24 // 15 for k in range(15)]]), "not the first fifteen"
    assert len(left.images) == 9
    with pytest.raises(InputError, match="holds no labelled frames"):
        EdgeFrames.read(home / "parts" / "stem.onnx")


@pytest.mark.parametrize(
    ("frames", "label", "size", "told"),
    [
        (0, 1, 32, "holds 0 frames and labels of 0"),
        (2, 0, 32, "its 2 frames show nothing to find"),
        (2, 11, 32, "has label 11, but the supernet knows 10 classes"),
        (2, 1, 48, "has frames of 48 x 48 pixels, but the supernet takes 32 x 32"),
    ],
)
def test_frames_that_tell_nothing_are_refused_before_anything_is_measured(home, tmp_path, frames, label, size, told):
    images = torch.zeros(frames, 3, size, size, dtype=torch.uint8)
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]])[: bool(label)]
    truth = (Annotation.of(boxes, torch.tensor([label] if label else [], dtype=torch.int64)),) * frames
    file = tmp_path / "frames.safetensors"
    if frames:
        save_frames(FrameBatch(images=images, indices=tuple(range(frames)), truth=truth), file)
    else:
        none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "ignore": torch.zeros(0).bool()}
        write_tensors(file, {"images": images, "counts": torch.zeros(0).long(), **none}, {})
    with pytest.raises(InputError, match=f"{told}.*; give labelled frames such as held-out.safetensors"):
        select(home / "parts", file, tmp_path / "out", SearchConfig())
    assert not (tmp_path / "out").exists()


def test_a_stopped_search_goes_on_with_what_it_measured_and_leaves_a_pool(home, tmp_path, monkeypatch):
    config = SearchConfig(budget=1.0, frames=8, evaluations=8, strategy="exhaustive")
    measured = []

    class Watched(Accuracies):
        def __call__(self, paths):
            if len(measured) == 1 and not (tmp_path / "resumed").exists():
                (tmp_path / "resumed").touch()
                raise KeyboardInterrupt
            measured.append(paths)
            return super().__call__(paths)

    monkeypatch.setattr(selecting, "Accuracies", Watched)
    where = home / "parts", home / "held-out.safetensors", tmp_path
    with pytest.raises(StoppedError, match="after 1 evaluations"):
        select(*where, config)
    timing = (tmp_path / "timing.json").read_bytes()
    with pytest.raises(ConfigError, match=r"config\.seed is 0 there and 1 here"):
        select(*where, replace(config, seed=1), resume=True)
    selected = select(*where, config, resume=True)
    assert (tmp_path / "timing.json").read_bytes() == timing
    asked = [path for paths in measured for path in paths]
    assert len(asked) == len({*asked}) == 8
    again, pool = read_selected(tmp_path)
    assert again == selected
    assert len(pool.candidates) == selected.evaluated == 8
    assert selected.best.accuracy == max(one.accuracy for one in pool.candidates)
    assert json.loads((tmp_path / "result.json").read_text())["base"]["accuracy"] == selected.base.accuracy


def test_a_budget_below_all_paths_is_refused(home, tmp_path):
    with pytest.raises(ConfigError, match=r"no path takes as little as 1e-06 ms; the fastest one takes [\d.]+ ms"):
        select(home / "parts", home / "held-out.safetensors", tmp_path, SearchConfig(budget_ms=1e-6))
    with pytest.raises(ConfigError, match="no search 'magic'"):
        SearchConfig(strategy="magic")


def test_the_command_offers_the_strategies_that_there_are():
    from nestevo_hw.commands.elastic_search import STRATEGY_NAMES

    assert tuple(STRATEGIES) == STRATEGY_NAMES


def test_frames_run_on_the_path_in_force_and_what_differs_is_loaded(home, monkeypatch):
    """On made-up times: from the fourth frame on everything takes twice as long."""
    network, edge = Network(home / "parts"), EdgeFrames.read(home / "held-out.safetensors").parted(4)[0]
    space = network.parts.space
    fast = (Branch(0, 2), Branch(2, 2))
    pool = Pool((Candidate(space.base, 0.010, 0.9), Candidate(fast, 0.004, 0.8)))
    ran = []
    monkeypatch.setattr(network, "look", lambda path, _: ran.append(path))

    def now():
        took = {space.base: 0.010, fast: 0.004}
        return sum(took[path] * (2 if number >= 3 else 1) for number, path in enumerate(ran))

    monkeypatch.setattr(adapting.time, "perf_counter", now)
    adapted = run_frames(network, edge, pool, AdaptConfig(budget_s=0.012, frames=10))
    assert [(change.path, change.loaded, change.fits) for change in adapted.changes] == [(fast, 2, True)]
    assert adapted.changes[0].frame <= 3 + 2
    assert ran[-1] == fast
    assert adapted.late == adapted.changes[0].frame - 3


def test_a_process_burdens_the_processor_and_is_gone_afterwards(home):
    network, edge = Network(home / "parts"), EdgeFrames.read(home / "held-out.safetensors").parted(4)[0]
    pool = Pool((Candidate(network.parts.space.base, 0.010, 0.9),))
    before, others = os.sched_getaffinity(0), len(children())
    seen = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(network, "look", lambda *_: seen.append(len(children()) - others))
        run_frames(network, edge, pool, AdaptConfig(budget_s=1.0, frames=6, burden=(2, 4)))
    assert seen == [0, 0, 1, 1, 0, 0]
    assert os.sched_getaffinity(0) == before


def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_after_drift_the_pool_is_scored_again(home):
    network, edge = Network(home / "parts"), EdgeFrames.read(home / "held-out.safetensors")
    pool = Pool((Candidate(network.parts.space.base, 0.010, 0.1),))
    assert adapt_pool(network, edge, pool, 0.02).candidates[0].accuracy == 0.75
