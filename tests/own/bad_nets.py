"""Networks, loaders and tasks that are one way or another wrong, as text of a module `own_nets`."""

NETS = """
from torch import nn

def small(num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, num_classes))

def wider(num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 9), nn.ReLU(), nn.Linear(9, num_classes))

def fails(num_classes):
    raise KeyError("no weights")

def leaves(num_classes):
    raise SystemExit(3)

def text(num_classes):
    return "no module"

def narrow(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(10, num_classes))

def few(num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes + 1))

def unused(num_classes):
    net = small(num_classes)
    net.register_module("spare", nn.Linear(2, 2))
    net.forward = lambda images: nn.Sequential(*list(net)[:5])(images)
    return net

class Softmax(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.net = small(num_classes)
    def forward(self, images):
        return self.net(images).softmax(-1)

class Aside(Softmax):
    def forward(self, images):
        return (self.net(images), None) if self.training else self.net(images)

class Convolutions(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.net = nn.Conv2d(3, num_classes, 1)
    def forward(self, images):
        return self.net(images).mean((2, 3))

def boxes():
    return [[[0.0] * 32] * 32] * 4, [{"boxes": [[0, 0, 4, 4]], "labels": [1]}] * 4

class Empty:
    pass

class Inherits:
    name = "inherits"

from nestevo_hw.tasks.task import VisionTask

class Silent(VisionTask):
    name = metric = "silent"
    second_metric, augmentation, embedded = ("a", "b"), None, None
"""
