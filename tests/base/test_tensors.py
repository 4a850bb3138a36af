"""Tensors survive their files; what is damaged is one clear line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nestevo_hw.base.errors import InputError, OutputError
from nestevo_hw.base.tensors import read_header, read_tensors, write_tensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.tensor(3, dtype=torch.int64)}
HEADER = {"format": "x", "spec": '{"k": 1}'}


def test_tensors_and_header_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "below" / "t.safetensors"
    write_tensors(path, {**TENSORS, "p": torch.nn.Parameter(torch.ones(2))}, HEADER)
    header, tensors = read_tensors(path)
    assert (header, read_header(path)) == (HEADER, HEADER)
    assert sorted(tensors) == ["a", "b", "p"]
    assert torch.equal(tensors["a"], TENSORS["a"])
    assert torch.equal(load_file(path)["b"], TENSORS["b"])
    write_tensors(path, TENSORS)
    assert read_tensors(path)[0] == read_header(path) == {}


@pytest.mark.parametrize("read", [read_tensors, read_header])
def test_damaged_files_are_named(tmp_path: Path, read) -> None:
    path = tmp_path / "t.safetensors"
    with pytest.raises(InputError, match=r"no file .*t\.safetensors; check the path"):
        read(path)
    with pytest.raises(InputError, match="no file"):
        read(tmp_path)  # a folder
    write_tensors(path, TENSORS, HEADER)
    whole = path.read_bytes()
    lost = whole[:20], whole[:-1], b"\xff" * 8 + whole[8:], whole[:8] + b"\xff" + whole[9:]
    for damaged in (b"", b"not tensors", *lost):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"t\.safetensors is not a readable .* \(.*\); write it again") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        write_tensors(tmp_path / "file" / "t.safetensors", TENSORS)


def test_the_same_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = {f"{k}": f'"{k}\\ \n\t\x01\x7f é \u2028 /' for k in range(20)}
    paths = [tmp_path / f"{k}.safetensors" for k in range(5)]
    for path in paths:
        write_tensors(path, TENSORS, dict(reversed(texts.items())))
    assert read_header(paths[0]) == texts
    assert len({path.read_bytes() for path in paths}) == 1
