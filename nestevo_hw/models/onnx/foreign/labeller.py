"""A detector of somebody else's as a module: computed by ONNX Runtime, or with layers that a crossbar can take."""

from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from nestevo_hw.models.onnx.foreign.adapter import Adapter, Thresholds
from nestevo_hw.models.onnx.foreign.detector import ForeignDetector, open_foreign
from nestevo_hw.models.onnx.foreign.heads import Outputs
from nestevo_hw.models.onnx.imported import ImportedModel, import_onnx


class Labeller(nn.Module):
    """Detects in frames as they are; for inference only.

    Args:
        detector: reads the network's outputs.
        layers: computes them; None: the detector does, by ONNX Runtime.
    """

    def __init__(self, detector: ForeignDetector, layers: ImportedModel | None = None) -> None:
        super().__init__()
        self.layers = layers
        self._detector = detector if layers is None else detector.computed_by(self._through_layers)

    @property
    def classes(self) -> tuple[str, ...]:
        """Label k is classes[k - 1]."""
        return self._detector.classes

    @property
    def thresholds(self) -> Thresholds:
        """Which of its detections count."""
        return self._detector.thresholds

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Detections of (N, 3, H, W) uint8 frames on the CPU; see `ForeignDetector.predict`."""
        return self._detector.predict(images)

    def _through_layers(self, pixels: Tensor) -> Outputs:
        layers = self.layers
        assert layers is not None
        device = next((t.device for t in chain(layers.parameters(), layers.buffers())), torch.device("cpu"))
        return {name: value.cpu() for name, value in layers.outputs_of(pixels.to(device)).items()}


def open_labeller(path: Path, adapter: Adapter, *, told: str, layered: bool) -> Labeller:
    """A detector as an ONNX file, tried on a black frame.

    Args:
        path: of the file.
        adapter: how it is read.
        told: name of the adapter, for messages.
        layered: make its layers with weights modules, for the crossbar.

    Raises:
        InputError: as `open_foreign`, and as `import_onnx` for layers.
        ConfigError: its classes are not known, or the class map does not fit them.
    """
    detector = open_foreign(path, adapter, told=told)
    return Labeller(detector, import_onnx(path) if layered else None).eval()
