"""Preprocessing against torchvision's own."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.streams.samples.preprocessing import Preprocessing
from nestevo_hw.studies.data.preprocessing import preprocessing_of
from nestevo_hw.studies.data.spec import DataSpec

RESNET, SWIN = "ResNet18_Weights.IMAGENET1K_V1", "Swin_V2_T_Weights.IMAGENET1K_V1"


@pytest.mark.parametrize("name", [RESNET, SWIN])
@pytest.mark.parametrize("size", [(300, 411), (260, 201)])
def test_what_torchvision_makes_of_an_image(name, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    prepare = preprocessing_of(DataSpec(source="d", transforms=name), "m", nn.Conv2d(3, 4, 3), detection=False)
    own = prepare.values(prepare.image(pixels)[None])[0]
    expected = torchvision.models.get_weight(name).transforms()(Image.fromarray(pixels))
    torch.testing.assert_close(own, expected)


def test_known_weights_are_those_of_the_models_name_unless_options_say_otherwise():
    model = nn.Conv2d(3, 4, 3)
    known = preprocessing_of(DataSpec(source="d"), "torchvision.models:vit_b_16", model, detection=False)
    assert (known.size, known.resize, known.mean) == ((224, 224), 256, (0.485, 0.456, 0.406))
    assert "ViT_B_16_Weights" in known.text
    spec = DataSpec(source="d", transforms=RESNET, size=(64, 64), mean=(0.0,))
    given = preprocessing_of(spec, "mine:net", model, detection=False)
    assert (given.size, given.resize, given.mean, given.std) == ((64, 64), None, (0.0,), (0.229, 0.224, 0.225))
    assert preprocessing_of(DataSpec(source="d"), "mine:net", model, detection=False).size is None
    with pytest.raises(ConfigError, match="torchvision has no weights 'None'"):
        preprocessing_of(DataSpec(source="d", transforms="None"), "mine:net", model, detection=False)


def test_numbers_of_pixels():
    batch = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    assert Preprocessing().values(batch).flatten().tolist() == [0, 1]
    assert Preprocessing(pixels="255").values(batch).flatten().tolist() == [0, 255]
    assert Preprocessing(pixels="uint8").values(batch) is batch
    assert Preprocessing(mean=(0.5,), std=(0.25,)).values(batch).flatten().tolist() == [-2, 2]
    assert Preprocessing(mean=(1.0, 3.0)).values(torch.tensor([[1.0, 1.0]])).tolist() == [[0, -2]]
    assert Preprocessing().values(torch.tensor([[7.5]])).tolist() == [[7.5]]  # floats stay as they are


def test_numbers_that_fit_no_channel():
    Preprocessing(mean=(0.1, 0.2, 0.3)).check_numbers(3)
    with pytest.raises(ConfigError, match="--std has 2 numbers, the samples have 3 channels"):
        Preprocessing(std=(1.0, 2.0)).check_numbers(3)


def test_colours_and_sizes_of_arrays():
    colour = torch.tensor([100, 150, 200], dtype=torch.uint8).reshape(3, 1, 1).expand(3, 2, 2)
    grey = Preprocessing(channels=1).array(colour, "d")
    assert (grey.shape, int(grey[0, 0, 0])) == ((1, 2, 2), round(0.299 * 100 + 0.587 * 150 + 0.114 * 200))
    pillow = Image.fromarray(colour.permute(1, 2, 0).numpy()).convert("L")
    assert int(Preprocessing(channels=1).image(colour.permute(1, 2, 0).numpy())[0, 0, 0]) == pillow.getpixel((0, 0))
    assert Preprocessing(channels=3).array(grey, "d").shape == (3, 2, 2)
    x = torch.rand(2, 8, 12)
    small = Preprocessing(size=(4, 4), resize=4).array(x, "d")
    assert torch.allclose(
        small, nn.functional.interpolate(x[None], (4, 6), mode="bilinear", antialias=True)[0, :, :, 1:5]
    )
    assert Preprocessing(size=(8, 12)).array(x, "d") is x
