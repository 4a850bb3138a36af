"""The parts of a supernet, chained by ONNX Runtime, say what torch says of the whole path."""

import random

import numpy as np
import pytest
import torch

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.checkpoint import ModelSpec
from nestevo_hw.models.elastic.export import export_parts
from nestevo_hw.models.elastic.parts import block_file, read_parts
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.models.elastic.supernet import as_inputs, expand
from nestevo_hw.terminals.elastic.network import Network
from tests.models.elastic.nets import frames_for, net

SPECS = {
    "mobilenet": ModelSpec(architecture="digits-mobilenet", classes=tuple("0123456789"), min_size=32, max_size=32),
    "detector": ModelSpec(architecture="fasterrcnn-resnet18-slim", classes=("a", "b", "c"), min_size=64, max_size=64),
}


@pytest.fixture(scope="module", params=SPECS)
def built(request, tmp_path_factory):
    kind = request.param
    supernet = expand(net(kind), frames_for(kind), spans=(2,), rates=(0.5,))
    folder = tmp_path_factory.mktemp(kind)
    export_parts(supernet, SPECS[kind], folder, frames_for(kind, 1)[0])
    return kind, supernet, folder


def test_parts_say_what_the_model_of_the_path_says(built):
    kind, supernet, folder = built
    network = Network(folder)
    image = frames_for(kind, 1, seed=4)
    for path in (supernet.space.base, *(supernet.space.sample(random.Random(k)) for k in range(5))):
        with supernet.on(path) as model, torch.no_grad():
            wanted = model(as_inputs(model, image))
        network.sessions.change_to(path)
        (found,) = network.look(path, image.numpy())
        if kind == "mobilenet":
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
    with pytest.raises(InputError, match="is not the file that elastic.json describes"):
        Network(tmp_path).sessions.change_to((Branch(0),))
    damaged.unlink()
    with pytest.raises(InputError, match=r"no file block-0\.onnx beside it"):
        read_parts(tmp_path)
