"""Paths of ONNX blocks: what they give, which files they read, and what damage does."""

import time

import numpy as np
import onnxruntime
import pytest
from block_chain import save_block
from elastic_spaces import space_of

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.terminals.elastic.reuse import outputs
from nestevo_hw.terminals.elastic.runtime import BranchSessions, ElasticModel, file_of

SPACE = space_of(4, taps=(1,))
FRAME = np.random.default_rng(0).normal(size=(1, 8, 12, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blocks")
    for branch in SPACE.branches:
        save_block(folder, branch)
    return folder


def alone(folder, path):
    """Each block in a session of its own."""
    feature = FRAME
    for branch in path:
        session = onnxruntime.InferenceSession(str(file_of(folder, branch)), providers=["CPUExecutionProvider"])
        (feature,) = session.run(["y"], {"x": feature})
        yield feature


def test_a_path_gives_what_its_blocks_give_one_after_another(folder):
    model = ElasticModel(SPACE, BranchSessions(folder), SPACE.base, taps=(1,))
    for path in (SPACE.base, (Branch(0, 2), Branch(2, 1, 0.5), Branch(3)), (Branch(0), Branch(1), Branch(2, 2))):
        model.change_to(path)
        by_end = {branch.end: feature for branch, feature in zip(path, alone(folder, path), strict=True)}
        tapped, last = model.run(FRAME)
        assert np.array_equal(tapped, by_end[2])
        assert np.array_equal(last, by_end[4])


def test_only_blocks_that_differ_are_loaded(folder):
    model = ElasticModel(SPACE, BranchSessions(folder), SPACE.base)
    changed = model.change_to((Branch(0), Branch(1, 1, 0.25), Branch(2, 2)))
    assert set(changed.loaded) == {Branch(1, 1, 0.25), Branch(2, 2)}
    assert model.change_to(SPACE.base).loaded == ()


def test_of_few_sessions_the_oldest_are_closed_but_none_in_use(folder):
    sessions = BranchSessions(folder, most=5)
    model = ElasticModel(SPACE, sessions, SPACE.base)
    model.change_to((Branch(0, 2), Branch(2, 2)))
    assert set(model.change_to(SPACE.base).loaded) == {Branch(0)}
    model.run(FRAME)
    few = ElasticModel(SPACE, BranchSessions(folder, most=1), SPACE.base)
    assert few.run(FRAME)


def test_many_paths_share_what_they_have_in_common_to_the_bit(folder):
    sessions = BranchSessions(folder)
    sessions.require(SPACE.branches)
    paths = list(SPACE.paths())
    for _, number, output in outputs(paths, [FRAME], sessions.run):
        *_, last = alone(folder, paths[number])
        assert np.array_equal(output, last)


def test_a_damaged_or_missing_block_is_named_and_the_path_in_force_goes_on(folder, tmp_path):
    for branch in SPACE.base:
        file_of(tmp_path, branch).write_bytes(file_of(folder, branch).read_bytes())
    model = ElasticModel(SPACE, BranchSessions(tmp_path), SPACE.base)
    before = model.run(FRAME)
    file_of(tmp_path, Branch(0, 2)).write_bytes(b"no model")
    for path, name in (((Branch(0, 2), *SPACE.base[2:]), "0-1"), ((Branch(0, 1, 0.5), *SPACE.base[1:]), "0@0.5")):
        with pytest.raises(InputError, match=f"block-{name}.onnx: ONNX Runtime cannot open it"):
            model.change_to(path)
        assert model.path == SPACE.base
        assert np.array_equal(model.run(FRAME)[0], before[0])
    with pytest.raises(ValueError, match="no path of this supernet: 0 1"):
        model.change_to(SPACE.base[:2])
    with pytest.raises(InputError, match=r"block-0.onnx fails on"):
        model.run(FRAME[:, :3])


def test_changing_over_takes_less_than_a_second(folder):
    model = ElasticModel(SPACE, BranchSessions(folder), SPACE.base)
    begin = time.perf_counter()
    changed = model.change_to((Branch(0, 2), Branch(2, 2)))
    assert changed.seconds <= time.perf_counter() - begin
    assert changed.seconds < 1
