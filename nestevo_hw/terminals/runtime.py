"""A deployed model as a terminal runs it: frames of bytes in, objects out, by ONNX Runtime alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.onnx.manifest import SCORE, Manifest, read_manifest

LEAST_SCORE = 0.05
"""Of what the model is asked for, so that it can be judged; what it reports is above the threshold of its manifest."""
Frame = NDArray[np.uint8]
"""(H, W, 3) RGB."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a model sees on one frame; the class of a whole frame is an object that fills it."""

    boxes: NDArray[np.float32]
    """(K, 4) x1 y1 x2 y2, pixels of the frame."""
    labels: NDArray[np.int64]
    """(K,) from 1."""
    scores: NDArray[np.float32]
    """(K,) 0 to 1."""

    def above(self, score: float) -> "Found":
        """What is at least so sure."""
        sure = self.scores >= score
        return Found(self.boxes[sure], self.labels[sure], self.scores[sure])


class Deployed:
    """The model in a folder.

    Args:
        folder: with manifest and file.

    Raises:
        InputError: it is damaged, or no model for frames of bytes.
    """

    def __init__(self, folder: Path) -> None:
        self.manifest: Manifest = read_manifest(folder)
        self.version = self.manifest.sha256[self.manifest.model]
        """SHA-256 of the file."""
        taken = self.manifest.input
        if taken.dtype != "uint8":
            raise InputError(f"{folder}: takes {taken.dtype}, not the bytes of frames; export it without --floats")
        self.detects = taken.layout == "HWC"
        """Whether it finds objects; else it names a class of the whole frame."""
        self._input, self._reverse = taken.name, taken.colour == "bgr"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        least = min(LEAST_SCORE, self.manifest.thresholds.get("score", LEAST_SCORE))
        self._least = onnxruntime.OrtValue.ortvalue_from_numpy(np.array(least, dtype=np.float32))
        try:
            options.add_initializer(SCORE, self._least)
            file = str(folder / self.manifest.model)
            self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise InputError(f"{folder / self.manifest.model}: ONNX Runtime cannot open it; fetch it again") from error

    def look(self, frame: Frame) -> Found:
        """Everything on a frame, of low scores too.

        Raises:
            InputError: the model fails on it.
        """
        given = np.ascontiguousarray(frame[:, :, ::-1] if self._reverse else frame)
        try:
            if self.detects:
                boxes, labels, scores = self._session.run(["boxes", "labels", "scores"], {self._input: given})
            else:
                labels, scores = self._session.run(["labels", "scores"], {self._input: given[None]})
                labels, scores = labels[labels > 0], scores[labels > 0]
                height, width = frame.shape[:2]
                boxes = np.tile(np.array([[0, 0, width, height]], np.float32), (len(labels), 1))
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise InputError(f"the model fails on a frame: {type(error).__name__}") from error
        return Found(boxes, labels, scores)

    def reported(self, frame: Frame) -> Found:
        """What the model reports of a frame: from the threshold of its manifest on."""
        return self.look(frame).above(self.manifest.thresholds.get("score", LEAST_SCORE))
