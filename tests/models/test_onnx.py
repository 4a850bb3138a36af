"""The exported detector gives what the model gives, as run by ONNX Runtime."""

import pytest
import torch

from nestevo_hw.base.errors import InputError, NestEvoError
from nestevo_hw.models.faster_rcnn import fasterrcnn_tiny
from nestevo_hw.models.onnx import export as onnx
from nestevo_hw.models.pruning import prune
from nestevo_hw.tasks.faster_rcnn.labelling import predict


def images(count):
    return torch.randint(0, 255, (count, 3, 128, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_exported_terminal_agrees_on_unseen_frames(tmp_path):
    torch.manual_seed(0)
    model, frames = prune(fasterrcnn_tiny(4), 0.5).eval(), images(4)
    onnx.export_detector(model, tmp_path / "t.onnx", frames[0])
    exported = onnx.OnnxDetector(tmp_path / "t.onnx").predict(frames)
    compared = 0
    for expected, got in zip(predict(model, frames), exported, strict=True):
        assert onnx.unmatched(expected, got) == 0
        compared += int((expected["scores"] >= 0.1).sum())
    assert compared > 0


def test_unmatched_counts_what_is_missing_or_moved():
    one = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}
    assert onnx.unmatched(one, one) == 0
    assert onnx.unmatched(one, one | {"boxes": one["boxes"] + 1}) == 1
    assert onnx.unmatched(one, one | {"labels": torch.tensor([2])}) == 1
    assert onnx.unmatched(one, one | {"scores": torch.tensor([0.8])}) == 1


def test_a_failed_parity_check_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "unmatched", lambda *_: 1)
    with pytest.raises(NestEvoError, match="disagree"):
        onnx.export_detector(fasterrcnn_tiny(4), tmp_path / "t.onnx", images(1)[0])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no ONNX file"):
        onnx.OnnxDetector(tmp_path / "absent.onnx")
