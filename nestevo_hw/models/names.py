"""Names of models, without loading any: light enough for a shell's completion."""

from importlib import resources

ARCHITECTURES = (
    "fasterrcnn-tiny", "fasterrcnn-resnet18-slim", "fasterrcnn-resnet30-slim", "fasterrcnn-resnet50-fpn",
    "fasterrcnn-mobilenet-v3", "digits-cnn", "digits-mobilenet", "resnet18",
)  # fmt: skip
"""What can be built without a checkpoint."""
_FAMILIES = ("fasterrcnn-tiny", "digits-cnn")
_ALONE = ("fasterrcnn-resnet18-slim", "fasterrcnn-resnet30-slim", "digits-mobilenet")
PRETRAINED = tuple(family + variant for family in _FAMILIES for variant in ("", "-m1", "-m2", "-m3")) + _ALONE
"""What `pretrain` made and ships: teachers with their pruned variants, and bases of supernets alone."""

ADAPTERS = ("deployed", "nanodet", "nanodet-plus", "rows", "yolov5", "yolov8")
"""How detectors of somebody else's are read, `data/adapters/`."""


def names() -> tuple[str, ...]:
    """Every name that `nestevo_hw.models.zoo.load_model` knows, beside files and `package.module:factory`."""
    data = resources.files("nestevo_hw") / "data"
    shipped = (name for name in PRETRAINED if (data / f"{name}.safetensors").is_file())
    return tuple(dict.fromkeys((*ARCHITECTURES, *shipped)))
