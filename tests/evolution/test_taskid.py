"""Names of tasks: random numbers and files of results depend on them."""

import pytest

from nestevo_hw.evolution.taskid import TaskId


@pytest.mark.parametrize(
    ("id_", "name", "file"),
    [
        (TaskId(None, "prepare"), "setup/prepare", "setup.prepare.json"),
        (TaskId(0, "mutual", "campus"), "w0/mutual/campus", "w0.mutual.campus.json"),
        (TaskId(12, "merge"), "w12/merge", "w12.merge.json"),
    ],
)
def test_names(id_, name, file):
    assert (str(id_), id_.file_name) == (name, file)
