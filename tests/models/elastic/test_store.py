"""A supernet, and the model of one path, come out of their files as they went in; damaged files are one line."""

import json

import pytest
import torch

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.models.checkpoint import load_model, read_spec
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.models.elastic.store import is_supernet, load_supernet, save_path, save_supernet
from nestevo_hw.models.elastic.supernet import as_inputs, expand
from tests.models.elastic.nets import SPECS, frames_for, net


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    file = tmp_path_factory.mktemp("supernet") / "supernet.safetensors"
    supernet = expand(net("mobilenet"), frames_for("mobilenet"), spans=(2,), rates=(0.5,))
    save_supernet(supernet, SPECS["mobilenet"], file)
    return supernet, file


def test_a_supernet_comes_back_with_all_its_paths(stored):
    supernet, file = stored
    assert is_supernet(file)
    again, spec = load_supernet(file)
    assert (spec, again.space, again.chain, again.size) == (
        SPECS["mobilenet"], supernet.space, supernet.chain, supernet.size
    )  # fmt: skip
    assert all(torch.equal(t, again.state_dict()[name]) for name, t in supernet.state_dict().items())
    assert not any(p.requires_grad for p in again.base.parameters())
    path = (Branch(0, 2), *(Branch(k, 1, 0.5) for k in range(2, 10)))
    with supernet.on(path) as one, again.on(path) as other, torch.no_grad():
        assert torch.equal(one(frames_for("mobilenet")), other(frames_for("mobilenet")))


@pytest.mark.parametrize("kind", ["mobilenet", pytest.param("detector", marks=pytest.mark.slow)])
@torch.no_grad()
def test_the_model_of_a_path_is_a_checkpoint(kind, tmp_path):
    supernet, frames = expand(net(kind), frames_for(kind), spans=(2,), rates=(0.5,)), frames_for(kind, 2)
    last = supernet.space.blocks - 2
    path = (*(Branch(k, 1, 0.5) for k in range(last)), Branch(last, 2))
    save_path(supernet, SPECS[kind], path, tmp_path / "path.safetensors")
    model, spec = load_model(tmp_path / "path.safetensors")
    assert spec.blocks is not None
    assert spec.blocks.path == path
    with supernet.on(path) as wanted:
        found, expected = model(as_inputs(model, frames)), wanted(as_inputs(wanted, frames))
    if kind == "detector":
        found, expected = (torch.cat([one["boxes"] for one in seen]) for seen in (found, expected))
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("entry", "change", "told"),
    [
        ("space", lambda text: text.replace('"blocks": 10', '"blocks": 9'), "branch 8-9 ends beyond the last of 9"),
        ("space", lambda text: text.replace('"start": 4, "span": 1', '"start": 4, "span": 7'),
         "span: input should be a number from 1 to 3"),
        ("chain", lambda text: text.replace("body.3", "body.77"), "has no basic block 'body.77'"),
        ("spec", lambda text: text.replace("digits-mobilenet", "digits-cnn"), "has no basic block"),
        ("format", lambda _: "other", "holds no supernet"),
    ],
)  # fmt: skip
def test_damaged_headers_are_one_line(stored, tmp_path, entry, change, told):
    header, tensors = read_tensors(stored[1])
    changed = header | {entry: change(header[entry])}
    assert changed != header
    write_tensors(tmp_path / "damaged.safetensors", tensors, changed)
    with pytest.raises(InputError, match=told) as caught:
        load_supernet(tmp_path / "damaged.safetensors")
    assert "\n" not in str(caught.value)


def test_a_path_that_is_none_is_refused(stored, tmp_path):
    supernet, _ = stored
    file = tmp_path / "path.safetensors"
    save_path(supernet, SPECS["mobilenet"], supernet.space.base, file)
    header, tensors = read_tensors(file)
    spec = json.loads(header["spec"])
    del spec["blocks"]["path"][3]
    write_tensors(file, tensors, header | {"spec": json.dumps(spec)})
    with pytest.raises(InputError, match="is no path through 10 blocks"):
        read_spec(file)
