"""Small networks of each kind of basic block, with statistics as after some training."""

import torch
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

from nestevo_hw.base.seeding import seeded, torch_generator
from nestevo_hw.models.checkpoint import ModelSpec
from nestevo_hw.models.classifier import SlimMobileNet
from nestevo_hw.models.elastic.blocks import ending
from nestevo_hw.models.faster_rcnn import fasterrcnn_resnet18_slim


def images(count=8, size=(32, 32), seed=0):
    return torch.rand(count, 3, *size, generator=torch_generator(seed, "images"))


class Chained(nn.Module):
    """A stem, blocks, a head."""

    def __init__(self, channels, blocks):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(ending(self.blocks[-1]).conv.out_channels, 10)

    def forward(self, images):
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))


def _basic(inputs, outputs, stride=1):
    down = None if (inputs, stride) == (outputs, 1) else nn.Sequential(conv1x1(inputs, outputs, stride),
                                                                        nn.BatchNorm2d(outputs))  # fmt: skip
    return BasicBlock(inputs, outputs, stride, down)


def _bottleneck(inputs, planes, stride=1):
    outputs = planes * 4
    down = None if (inputs, stride) == (outputs, 1) else nn.Sequential(conv1x1(inputs, outputs, stride),
                                                                        nn.BatchNorm2d(outputs))  # fmt: skip
    return Bottleneck(inputs, planes, stride, down)


NETS = {
    "basic": lambda: Chained(8, [_basic(8, 8), _basic(8, 16, 2), _basic(16, 16), _basic(16, 24, 2)]),
    "bottleneck": lambda: Chained(16, [_bottleneck(16, 4), _bottleneck(16, 8, 2), _bottleneck(32, 8)]),
    "inverted": lambda: Chained(
        8,
        [
            InvertedResidual(8, 8, 1, 1),
            InvertedResidual(8, 12, 2, 4),
            InvertedResidual(12, 12, 1, 4),
            InvertedResidual(12, 16, 2, 4),
        ],
    ),
    "mobilenet": lambda: SlimMobileNet(10),
    "detector": lambda: fasterrcnn_resnet18_slim(4, min_size=64, max_size=64),
}


@torch.no_grad()
def net(kind):
    """A network with random weights, in eval mode, whose BatchNorm has seen frames."""
    with seeded(0, "net", kind):
        model = NETS[kind]()
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.3)
            norm.momentum = 1.0
        body = model.backbone if kind == "detector" else model
        body.train()(images(16, (64, 64) if kind == "detector" else (32, 32)))
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.momentum = 0.1
    return model.eval()


def frames_for(kind, count=8, seed=1):
    return images(count, (64, 64) if kind == "detector" else (32, 32), seed)


SPECS = {
    "mobilenet": ModelSpec(architecture="digits-mobilenet", classes=tuple("0123456789"), min_size=32, max_size=32),
    "detector": ModelSpec(architecture="fasterrcnn-resnet18-slim", classes=("a", "b", "c"), min_size=64, max_size=64),
}
