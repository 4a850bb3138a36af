"""Sessions of ONNX blocks: which are opened, which are closed, and what damage does."""

from functools import partial

import numpy as np
import pytest
from block_chain import file_of, open_block, run_block, save_block
from elastic_spaces import space_of

from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.terminals.elastic.reuse import outputs
from nestevo_hw.terminals.elastic.sessions import BranchSessions

SPACE = space_of(4, taps=(1,))
OTHER = (Branch(0, 2), Branch(2, 2))
FRAME = np.random.default_rng(0).normal(size=(1, 8, 12, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blocks")
    for branch in SPACE.branches:
        save_block(folder, branch)
    return folder


def test_only_branches_that_differ_are_loaded():
    opened = []
    sessions = BranchSessions(lambda branch: opened.append(branch) or branch.name)
    sessions.change_to(SPACE.base)
    changed = sessions.change_to((Branch(0), Branch(1, 1, 0.25), Branch(2, 2)))
    assert changed.loaded == (Branch(1, 1, 0.25), Branch(2, 2))
    assert sessions.change_to(SPACE.base).loaded == ()
    assert opened == [*SPACE.base, *changed.loaded]
    assert sessions[Branch(2, 2)] == "2-3"


def test_the_time_is_that_of_opening():
    now = [0.0]

    def slow(branch):
        now[0] += 0.25

    sessions = BranchSessions(slow, clock=lambda: now[0])
    assert sessions.change_to(SPACE.base).seconds == 1.0
    assert sessions.change_to((Branch(0, 2), *SPACE.base[2:])).seconds == 0.25


def test_of_few_sessions_the_oldest_are_closed_but_none_in_use():
    sessions = BranchSessions(Branch.__hash__, most=5)
    sessions.change_to(SPACE.base)
    sessions.change_to(OTHER)
    assert len(sessions) == 5
    assert sessions.change_to(SPACE.base).loaded == (Branch(0),)
    few = BranchSessions(Branch.__hash__, most=1)
    few.change_to(SPACE.base)
    assert len(few) == 4


def test_a_branch_that_cannot_be_opened_leaves_the_others_open(folder, tmp_path):
    for branch in SPACE.base:
        file_of(tmp_path, branch).write_bytes(file_of(folder, branch).read_bytes())
    file_of(tmp_path, Branch(2, 2)).write_bytes(b"no model")
    sessions = BranchSessions(partial(open_block, tmp_path))
    sessions.change_to(SPACE.base)
    with pytest.raises(Exception, match="block-"):
        sessions.change_to((*SPACE.base[:2], Branch(2, 2)))
    assert len(sessions) == 4
    assert run_block(sessions[Branch(3)], FRAME).shape == FRAME.shape


def test_many_paths_of_onnx_blocks_share_what_they_have_in_common_to_the_bit(folder):
    sessions = BranchSessions(partial(open_block, folder))
    sessions.change_to(SPACE.branches)
    paths = list(SPACE.paths())[::3]
    for _, number, output in outputs(paths, [FRAME], lambda branch, given: run_block(sessions[branch], given)):
        alone = FRAME
        for branch in paths[number]:
            alone = run_block(sessions[branch], alone)
        assert np.array_equal(output, alone)
