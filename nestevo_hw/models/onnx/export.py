"""ONNX export of a detector with a parity check, and inference by ONNX Runtime."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.ops import box_iou

from nestevo_hw.base.errors import InputError, NestEvoError
from nestevo_hw.base.files import replacing
from nestevo_hw.models.faster_rcnn import as_list

OPSET = 17
OUTPUTS = ("boxes", "labels", "scores")


class _SingleFrame(torch.nn.Module):
    """A detector as a function of one frame, as a camera runs it."""

    def __init__(self, detector: FasterRCNN) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.detector([image])[0]
        return found["boxes"], found["labels"], found["scores"]


def export_detector(model: FasterRCNN, path: Path, example: Tensor) -> None:
    """Write the whole detector, from frame to detections after NMS, as one ONNX file.

    The number of detections is dynamic; batch size 1 and the frame's size are fixed, because a dynamic size
    changes the results of torchvision's transform.

    Args:
        model: detector in eval mode.
        path: file to write, whole or not at all.
        example: (3, H, W) uint8 frame the export is traced on and checked with.

    Raises:
        NestEvoError: the exported file does not give the detections of the model on `example`.
    """
    image = as_list(example[None].cpu())[0]
    model = model.cpu().eval()
    with replacing(path) as temporary:
        with warnings.catch_warnings():
            # The TorchScript exporter is deprecated, yet the only one that takes torchvision's NMS (torch 2.14).
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _SingleFrame(model).eval(),
                (image,),
                str(temporary),
                dynamo=False,
                opset_version=OPSET,
                input_names=["image"],
                output_names=list(OUTPUTS),
                dynamic_axes={name: {0: "detections"} for name in OUTPUTS},
            )
        onnx.checker.check_model(str(temporary))
        _check_parity(model, OnnxDetector(temporary), example)


def _check_parity(model: FasterRCNN, exported: "OnnxDetector", example: Tensor) -> None:
    with torch.no_grad():
        expected = model(as_list(example[None]))[0]
    got = exported.predict(example[None])[0]
    missing = unmatched(expected, got) + unmatched(got, expected)
    if missing:
        raise NestEvoError(f"ONNX export and model disagree on {missing} detections of the example frame")


def unmatched(expected: dict[str, Tensor], got: dict[str, Tensor], *, min_score: float = 0.1) -> int:
    """Detections of `expected` that `got` lacks: no box of the class with IoU 0.99 and a score within 0.001.

    Detections below `min_score` are passed over: near ties at NMS may resolve either way in the last bit.
    """
    sure = expected["scores"] >= min_score
    if not bool(sure.any()):
        return 0
    same = box_iou(expected["boxes"][sure], got["boxes"]) > 0.99
    same &= expected["labels"][sure][:, None] == got["labels"]
    same &= (expected["scores"][sure][:, None] - got["scores"]).abs() < 1e-3
    return int((~same.any(1)).sum())


def open_session(path: Path) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """A session of ONNX Runtime on the CPU with one thread.

    Raises:
        InputError: there is no such file.
    """
    if not path.is_file():
        raise InputError(f"no ONNX file {path}; export the terminal first")
    # Otherwise the import starts a telemetry thread and opens a database in the user's cache (1.31).
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class OnnxDetector:
    """A detector run by ONNX Runtime on the CPU, one frame at a time and one thread."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)

    def predict(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Detections of each frame of (N, 3, H, W) uint8, shaped like `tasks.detection.predict`."""
        found = []
        for image in as_list(images.cpu()):
            outputs = self._session.run(list(OUTPUTS), {"image": np.ascontiguousarray(image.numpy())})
            found.append({name: torch.from_numpy(value) for name, value in zip(OUTPUTS, outputs, strict=True)})
        return found
