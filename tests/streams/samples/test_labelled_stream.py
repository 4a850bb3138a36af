"""Images with a class each as a terminal's stream."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.samples.loader import Given
from nestevo_hw.streams.samples.opening import open_samples
from nestevo_hw.streams.samples.stream import LabelledStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment

CLASSES = ("cat", "dog", "owl")


def stream(source: str | Given, **settings) -> LabelledStream:
    """Of 16 x 16 images, unless said otherwise."""
    opened = open_samples(source, CLASSES) if isinstance(source, str) else source
    return LabelledStream(**{"name": "t", "source": opened, "classes": CLASSES, "size": (16, 16), **settings})


def given(images: np.ndarray, labels) -> Given:
    """Samples of a function."""
    return Given("mine:loader", images, np.asarray(labels))


def test_images_of_class_folders_come_in_the_order_of_their_names_whatever_the_class(tmp_path: Path) -> None:
    for number, (name, label) in enumerate([("2", "dog"), ("10", "cat"), ("1", "cat"), ("11", "dog")]):
        (tmp_path / label).mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / label / f"{name}.png")
    own = stream(str(tmp_path))
    batch = own.read([0, 1, 2, 3])
    assert batch.images[:, 0, 0, 0].tolist() == [2, 0, 1, 3]
    assert [int(truth.labels) for truth in batch.truth] == [1, 2, 1, 2]
    assert own.shown([0, 2]) == {"cat"}
    assert (own.length, own.fps, own.classes) == (4, 1.0, CLASSES)
    own.check([0, 3])


def test_rows_are_read_in_any_order_and_repeat(tmp_path: Path) -> None:
    pixels = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "d.npz", x=pixels, y=[0, 1, 2, 0, 1, 2])
    batch = stream(str(tmp_path / "d.npz"), fps=5.0).read([4, 0, 4])
    assert batch.images[:, 0, 0, 0].tolist() == [4, 0, 4]
    assert batch.indices == (4, 0, 4)
    assert [truth.labels.tolist() for truth in batch.truth] == [[2], [1], [2]]
    assert batch.truth[0].boxes.tolist() == [[0.0, 0.0, 16.0, 16.0]]


def test_floats_grey_images_and_other_sizes_become_pixels() -> None:
    grey = np.full((4, 8, 8), 0.5, np.float32)
    batch = stream(given(grey, [0, 1, 0, 1])).read([0])
    assert batch.images.shape == (1, 3, 16, 16)
    assert batch.images.dtype == torch.uint8
    assert batch.images.unique().tolist() == [128]


def test_weather_comes_over_them_in_its_time_and_the_same_each_time() -> None:
    light = np.full((40, 3, 16, 16), 200, np.uint8)
    night = DriftScript(segments=(DriftSegment(start=20, kind="night", strength=1.0),))
    own = stream(given(light, [0, 1] * 20), drift=night, seed=3)
    batch = own.read([0, 39])
    assert batch.images[0].unique().tolist() == [200]
    assert batch.images[1].float().mean() < 120
    assert torch.equal(batch.images[1], own.read([39]).images[0])
    with pytest.raises(ConfigError, match="'t'"):
        stream(
            given(light, [0, 1] * 20), drift=DriftScript(segments=(DriftSegment(start=0, kind="scene", strength=1.0),))
        )


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            np.zeros((4, 3, 16, 16), np.int16),
            [0, 1, 0, 1],
            "sample 0 holds torch.int64 from 0 to 0; give pixels as uint8",
        ),
        (np.zeros((4, 5)), [0, 1, 0, 1], "sample 0 is no image"),
        (np.zeros((4, 3, 8, 8), np.uint8), [0, 3, 0, 1], "has label 3; the model knows 3 classes, 0 .cat. to 2 .owl."),
        (np.zeros((4, 3, 8, 8), np.uint8), [1, 1, 1, 1], "shows nothing but class 'dog'; give two classes or more"),
    ],
)
def test_what_is_no_stream_of_classes(images: np.ndarray, labels: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stream(given(images, labels)).read([0])


def test_a_frame_that_is_not_there() -> None:
    with pytest.raises(InputError, match="has frames 0 to 3, not 4"):
        stream(given(np.zeros((4, 3, 8, 8), np.uint8), [0, 1, 0, 1])).read([4])
