"""Label a recording frame by frame, in a way that goes on after a kill."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nestevo_hw import __version__
from nestevo_hw.base.documents import plain
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.interruption import resumable
from nestevo_hw.base.jsonlines import Journal
from nestevo_hw.base.locking import one_writer
from nestevo_hw.models.onnx.foreign.adapter import Adapter
from nestevo_hw.models.onnx.foreign.detector import ForeignDetector, open_foreign
from nestevo_hw.models.onnx.manifest import sha256
from nestevo_hw.streams.images import native_frames, open_recording
from nestevo_hw.streams.label_file import DIGITS, SCORE_DIGITS, FrameLabels, write_labels
from nestevo_hw.streams.sources import FrameSource
from nestevo_hw.studies.label.agreement import Agreement, Known, agreement, known_labels
from nestevo_hw.studies.label.request import LabelRequest
from nestevo_hw.tasks.labeller.views import confirmed

JOURNAL = "frames.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A label file as it was written."""

    out: Path
    classes: tuple[str, ...]
    frames: tuple[FrameLabels, ...]
    info: dict[str, Any]
    seconds_per_frame: float | None
    """Measured, decoding included; None where all frames had been labelled before."""
    agreement: Agreement | None
    damaged: int
    """Frames that cannot be decoded, and so have no labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """What has been checked and can start."""

    request: LabelRequest
    adapter: Adapter
    detector: ForeignDetector
    source: FrameSource
    known: Known | None
    indices: tuple[int, ...]
    """Frames to label."""

    @contextmanager
    def writing(self, *, resume: bool) -> Iterator[None]:
        """Hold the folder of what is kept until all is labelled; it goes when it is empty.

        Raises:
            ConfigError: another process holds it, or there is nothing to go on with.
            OutputError: it cannot be made.
        """
        with one_writer(self.request.work, resume=resume):
            yield
        with suppress(OSError):  # made by an earlier process, so that it stays unless it is empty
            self.request.work.rmdir()

    def run(self, *, resume: bool, advance: Callable[[str], None]) -> Labelled:
        """Label what has not been labelled yet and write the file, within `writing`.

        Args:
            resume: go on with what a stopped labelling left.
            advance: called with each frame, those labelled before included.

        Raises:
            ConfigError: what is kept depends on something else.
            InputError: no frame can be decoded.
            OutputError: the file cannot be written.
        """
        work = self.request.work
        journal = Journal(work / JOURNAL, FrameLabels, self._identity(), holds="labels", resume=resume)
        found = {record.index: record for record in journal.records}
        for index in found:
            advance(f"frame {index}")
        left = [index for index in self.indices if index not in found]
        started = time.perf_counter()
        with resumable(work, lambda: f"{len(found)} of {len(self.indices)} frames"):
            for frame in native_frames(self.source, left):
                record = self._labels(frame.index, torch.from_numpy(frame.pixels.copy()).permute(2, 0, 1))
                journal.append(record)
                found[frame.index] = record
                advance(f"frame {frame.index}")
        if not found:
            raise InputError(f"{self.request.clip}: none of its frames can be decoded; copy or encode it again")
        seconds = (time.perf_counter() - started) / len(left) if left else None
        written = self._written([found[index] for index in self.indices if index in found], seconds)
        (work / JOURNAL).unlink()
        return written

    def _labels(self, index: int, image: torch.Tensor) -> FrameLabels:
        """All detections of a (3, H, W) frame; thresholds come last, so that others need no new labelling."""
        found = (
            confirmed(self.detector.predict, image) if self.request.confirm else self.detector.predict(image[None])[0]
        )
        return FrameLabels(
            index=index, size=(image.shape[1], image.shape[2]), sure=0, labels=tuple(found["labels"].tolist()),
            boxes=tuple(tuple(round(side, DIGITS) for side in box) for box in found["boxes"].double().tolist()),
            scores=tuple(round(score, SCORE_DIGITS) for score in found["scores"].double().tolist()),
        )  # fmt: skip

    def _written(self, found: list[FrameLabels], seconds: float | None) -> Labelled:
        thresholds = self.adapter.thresholds
        frames = tuple(_kept(frame, thresholds.score, thresholds.unsure) for frame in found)
        info = self._info()
        write_labels(self.request.out, frames, self.detector.classes, self.request.clip, self.source, info)
        agreed = None if self.known is None else agreement(found, frames, self.known, self.detector.classes)
        return Labelled(
            out=self.request.out, classes=self.detector.classes, frames=frames, info=info, seconds_per_frame=seconds,
            agreement=agreed, damaged=len(self.indices) - len(found),
        )  # fmt: skip

    def _info(self) -> dict[str, Any]:
        """Where the labels are from."""
        thresholds = self.adapter.thresholds
        return {
            "description": f"labels of {self.request.clip.name} by the detector {self.request.labeller.name}, "
            "which nobody has checked",
            "tool": f"nestevo-hw {__version__}", "labeller": self.request.labeller.name,
            "labeller_sha256": sha256(self.request.labeller), "adapter": self.request.adapter,
            "score": thresholds.score, "unsure": thresholds.unsure, "stride": self.request.stride,
            "confirmed": self.request.confirm,
        }  # fmt: skip

    def _identity(self) -> dict[str, Any]:
        """All that detections depend on."""
        usual = replace(self.adapter.thresholds, score=0.0, unsure=0.0)
        return {
            "labeller": sha256(self.request.labeller), "adapter": plain(replace(self.adapter, thresholds=usual)),
            "clip": str(self.request.clip.resolve()), "size": list(self.source.native_size),
            "length": self.source.length, "clip_sha256": _fingerprint(self.request.clip, self.source),
            "stride": self.request.stride, "confirm": self.request.confirm, "version": __version__,
        }  # fmt: skip


def prepare(request: LabelRequest) -> Labelling:
    """Open recording, detector and labels to compare with.

    Raises:
        ConfigError: the label file is there already, or an option contradicts the files.
        InputError: a file is missing, damaged, or not as the adapter says.
    """
    if os.path.lexists(request.out):
        raise ConfigError(f"{request.out} exists; choose another --out, or delete it")
    adapter = request.read_adapter()
    source = open_recording(request.clip)
    detector = open_foreign(request.labeller, adapter, told=request.adapter, threads=request.threads)
    indices = tuple(range(0, source.length, request.stride))
    known = None
    if request.against is not None:
        known = known_labels(request.against, source, request.clip, adapter.class_map, detector.classes)
        if not set(known.truth) & set(indices):
            raise InputError(f"none of the frames to label is among the {len(known.truth)} that {request.against} "
                             "labels; use another --stride")  # fmt: skip
    return Labelling(request=request, adapter=adapter, detector=detector, source=source, known=known, indices=indices)


def _fingerprint(clip: Path, source: FrameSource) -> str:
    """Checksum of a video file, or of the names and contents of a folder's images."""
    if not source.names:
        return sha256(clip)
    found = hashlib.sha256()
    for name in source.names:
        found.update(f"{sha256(clip / name)} {name}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def _kept(frame: FrameLabels, score: float, unsure: float) -> FrameLabels:
    """What reaches the thresholds; scores fall."""
    count = sum(value >= unsure for value in frame.scores)
    return replace(
        frame, boxes=frame.boxes[:count], labels=frame.labels[:count], scores=frame.scores[:count],
        sure=sum(value >= score for value in frame.scores),
    )  # fmt: skip
