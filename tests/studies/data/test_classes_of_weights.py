"""Labels go to the classes that the weights were trained on, not to those of what ships under the model's name."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from nestevo_hw.models.checkpoint import load_model, pretrained_path, save_model
from nestevo_hw.models.zoo import open_model
from nestevo_hw.streams.rendered.synthetic import CLASSES
from nestevo_hw.studies.data.calibrated import calibration_samples
from nestevo_hw.studies.data.dataset import open_data
from nestevo_hw.studies.data.spec import DataSpec
from nestevo_hw.studies.noise.evaluation import detects_embedded_classes

NAME = "fasterrcnn-tiny-m3"


@pytest.fixture
def weights(tmp_path):
    """The shipped network, of which a user calls the outputs otherwise."""
    model, spec = load_model(pretrained_path(NAME))

    def written(*classes):
        path = tmp_path / f"{'-'.join(classes)}.safetensors"
        save_model(model, replace(spec, classes=classes), path)
        return path

    return written


def labelled(folder, *names):
    """One box a class in each of five frames."""
    frames = folder / "frames"
    frames.mkdir()
    for k in range(5):
        Image.new("RGB", (160, 120), (40 * k, 90, 120)).save(frames / f"{k}.png")
    images = [{"id": k, "file_name": f"{k}.png", "width": 160, "height": 120} for k in range(5)]
    boxes = [
        {"id": 10 * k + c, "image_id": k, "category_id": c, "bbox": [20 * c, 20, 30, 40], "area": 1200, "iscrowd": 0}
        for k in range(5) for c in range(len(names))
    ]  # fmt: skip
    document = {
        "images": images, "annotations": boxes, "categories": [{"id": c, "name": n} for c, n in enumerate(names)],
    }  # fmt: skip
    (folder / "labels.json").write_text(json.dumps(document))
    return DataSpec(source=str(folder / "labels.json"), images=str(frames))


def test_labels_are_numbered_by_the_weights(tmp_path, weights):
    spec, turned = labelled(tmp_path, "pedestrian", "car"), weights("cyclist", "car", "pedestrian")
    for path, wanted in ((None, [1, 2]), (turned, [3, 2])):
        chosen = open_model(NAME, weights=path)
        data = open_data(spec, NAME, chosen.model, frames=4, seed=0, classes=chosen.classes)
        assert data.scored.targets[0].labels.tolist() == wanted


def test_classes_of_ones_own_are_no_reason_to_refuse(tmp_path, weights):
    chosen = open_model(NAME, weights=weights("person", "van", "dog"))
    found = calibration_samples(labelled(tmp_path, "person", "dog"), chosen, seed=0)
    assert found.data.calibration.targets[0].labels.tolist() == [1, 3]


def test_what_knows_other_classes_is_not_scored_on_the_embedded_ones(weights):
    assert detects_embedded_classes(open_model(NAME))
    assert detects_embedded_classes(open_model(NAME, weights=weights(*CLASSES)))
    assert not detects_embedded_classes(open_model(NAME, weights=weights("person", "van", "dog")))


def test_a_bare_state_dict_has_the_classes_of_what_ships_under_its_name(tmp_path):
    model, _ = load_model(pretrained_path("fasterrcnn-tiny"))
    torch.save(model.state_dict(), tmp_path / "bare.pt")
    assert detects_embedded_classes(open_model("fasterrcnn-tiny", weights=tmp_path / "bare.pt"))
