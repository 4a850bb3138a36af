"""ONNX export of a detector with a parity check, and inference by ONNX Runtime."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou

from nestevo_hw.base.errors import InputError, NestEvoError
from nestevo_hw.base.files import replacing, require_file
from nestevo_hw.models.faster_rcnn import as_list

OPSET = 17
OUTPUTS = ("boxes", "labels", "scores")


class SingleFrame(nn.Module):
    """A detector as a function of one frame, as a camera runs it."""

    def __init__(self, detector: FasterRCNN) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (K, 4), labels (K,) and scores (K,) of a (3, H, W) float frame in 0..1."""
        with _even_without_proposals(self.detector):
            found = self.detector([image])[0]
        return found["boxes"], found["labels"], found["scores"]


class _Coder(BoxCoder):  # type: ignore[misc]  # torchvision has no types
    """Decodes boxes whatever their number.

    Torchvision's asks at export whether there are proposals, and has the number of classes found at run time from the
    number of values: with no proposals that is 0 by 0, which ONNX Runtime refuses.
    """

    def decode(self, rel_codes: Tensor, boxes: list[Tensor]) -> Tensor:
        """(N, C, 4) boxes from (N, 4 C) codes and lists of N boxes."""
        classes = int(rel_codes.shape[1]) // 4
        decoded: Tensor = self.decode_single(rel_codes, torch.cat(boxes)).reshape(rel_codes.shape[0], classes, 4)
        return decoded


@contextmanager
def _even_without_proposals(detector: FasterRCNN) -> Iterator[None]:
    heads = detector.roi_heads
    theirs = heads.box_coder
    heads.box_coder = _Coder(theirs.weights, theirs.bbox_xform_clip)
    try:
        yield
    finally:
        heads.box_coder = theirs


def any_floats(module: nn.Module) -> RemovableHandle:
    """Have a module see the frames that `made_good` makes of its inputs, until the handle's `with` ends."""
    return module.register_forward_pre_hook(lambda _, frames: tuple(made_good(frame) for frame in frames))


def made_good(image: Tensor) -> Tensor:
    """(.., C, H, W) floats in 0..1, whatever they were.

    What is no number, or no pixel by far, counts as black; a frame with values above 2 is one of 0..255.
    """
    image = torch.where(image.abs() < _NO_PIXEL, image, 0.0)
    white = torch.where(image.amax((-3, -2, -1), keepdim=True) > 2.0, 255.0, 1.0)
    return (image / white).clamp(0.0, 1.0)


_NO_PIXEL = 1e4


def write_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Trace a module into an ONNX file that passes ONNX's own check.

    Args:
        module: in eval mode.
        example: its inputs.
        path: file to write.
        inputs: their names.
        outputs: names of what it returns.
        dynamic: names of the dimensions that may differ from the example's, by tensor and dimension.

    Raises:
        InputError: the module computes what ONNX has no operator for.
    """
    with warnings.catch_warnings(), _no_graph_printed():
        # The TorchScript exporter is deprecated, yet the only one that takes torchvision's NMS (torch 2.14).
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module.eval(), example, str(path), dynamo=False, opset_version=OPSET, input_names=list(inputs),
                output_names=list(outputs), dynamic_axes={name: dict(axes) for name, axes in (dynamic or {}).items()},
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            told, *_ = str(error).split(". ")
            raise InputError(f"the model cannot be written as ONNX at this size: {told}; try another size") from error
    onnx.checker.check_model(str(path))


@contextmanager
def _no_graph_printed() -> Iterator[None]:
    """Keep torch from printing the graph that it cannot write; in torch 2.14 its own switch for that stays on."""
    theirs = torch._C._jit_onnx_log
    torch._C._jit_onnx_log = lambda *_: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = theirs


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
    example, model = example.cpu(), model.cpu().eval()
    image = as_list(example[None])[0]
    with replacing(path) as temporary:
        single = SingleFrame(model)
        with any_floats(single):
            write_onnx(
                single, (image,), temporary, inputs=("image",), outputs=OUTPUTS,
                dynamic={name: {0: "detections"} for name in OUTPUTS},
            )  # fmt: skip
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


def open_session(model: Path | bytes, *, threads: int = 1) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """A session of ONNX Runtime on the CPU.

    Args:
        model: a file, or what would stand in one.
        threads: that one operator may compute on.

    Raises:
        InputError: there is no such file.
    """
    if isinstance(model, Path):
        require_file(model, "ONNX file", advice="export the terminal first")
    # Otherwise the import starts a telemetry thread and opens a database in the user's cache (1.31).
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


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
