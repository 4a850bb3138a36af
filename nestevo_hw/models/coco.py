"""Detectors that torchvision's authors have trained on COCO, where there is a network to fetch them from."""

from pathlib import Path
from urllib.parse import urlsplit

import torch
from torchvision.models.detection import FasterRCNN_MobileNet_V3_Large_320_FPN_Weights, FasterRCNN_ResNet50_FPN_Weights

from nestevo_hw.base.errors import ConfigError, InputError

COCO = "coco"
"""The name under which they are asked for."""
URLS = {
    "fasterrcnn-resnet50-fpn": FasterRCNN_ResNet50_FPN_Weights.COCO_V1.url,
    "fasterrcnn-mobilenet-v3": FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1.url,
}


def coco_weights(architecture: str) -> Path:
    """The file of an architecture's COCO weights, fetched once into PyTorch's cache.

    Raises:
        ConfigError: there are none of this architecture.
        InputError: they cannot be fetched.
    """
    if architecture not in URLS:
        raise ConfigError(f"--from {COCO}: torchvision has no {architecture} trained on COCO; choose --model "
                          f"{' or '.join(URLS)}")  # fmt: skip
    url = URLS[architecture]
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"--from {COCO}: cannot fetch {url} ({error}); fetch it elsewhere and give the file: --from FILE.pth "
                "--new-classes"
            ) from error
    return path
