"""Files that take a camera's frames: scaling against arithmetic, detections of none, and frames of every kind."""

import numpy as np
import pytest
import torch

from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.models.onnx import frames
from nestevo_hw.models.onnx.export import SingleFrame, made_good, open_session, unmatched, write_onnx
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.tasks.faster_rcnn.labelling import predict

SIZE = (128, 160)


def scenes(count, size=SIZE):
    stream = SyntheticStream(name="a", place="campus", seed=3, size=size)
    return stream.read([40 * k for k in range(count)]).images


def scaled(frame, size, colour="rgb"):
    found, given = frames._Scaling(size, colour)(torch.from_numpy(frame))
    assert given.tolist() == [frame.shape[1], frame.shape[0]] * 2
    return (found[0] * 255).round().byte().permute(1, 2, 0).numpy()


def brute_force(frame, size):
    """Mean of each area, pixel by pixel."""
    (tall, wide, _), (height, width) = frame.shape, size
    found = np.zeros((*size, 3))
    for row in range(height):
        for column in range(width):
            for y in range(tall):
                for x in range(wide):
                    down = min(y + 1, (row + 1) * tall / height) - max(y, row * tall / height)
                    across = min(x + 1, (column + 1) * wide / width) - max(x, column * wide / width)
                    found[row, column] += max(down, 0) * max(across, 0) * frame[y, x]
    return found * (height * width) / (tall * wide)


@pytest.mark.parametrize("shape", [(6, 8), (7, 5), (2, 3), (1, 1), (5, 40)])
def test_each_pixel_is_the_mean_of_its_area(shape):
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.abs(scaled(frame, (3, 4)) - brute_force(frame, (3, 4))).max() <= 0.501


def test_frames_of_the_right_size_stay_as_they_are_and_colours_are_turned():
    frame = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    assert np.array_equal(scaled(frame, (9, 7)), frame)
    assert np.array_equal(scaled(frame, (9, 7), "bgr"), frame[:, :, ::-1])


def exported(model, path, example, **options):
    how = {"colour": "rgb", "score": 0.5, "batched": False} | options
    frames.write_frame_model(frames.faster_rcnn(model), path, example, **how)
    return path


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A detector whose file was traced on a frame that shows nothing, for cameras that give blue first."""
    model = load_pretrained("fasterrcnn-tiny-m3")
    path = tmp_path_factory.mktemp("frames") / "m.onnx"
    return model, exported(model, path, torch.full((3, *SIZE), 255, dtype=torch.uint8), colour="bgr")


def test_a_file_traced_on_nothing_finds_what_the_model_finds(detector):
    model, path = detector
    seen = 0
    for expected, got in zip(
        predict(model, scenes(3)), frames.OnnxFrames(path, colour="bgr", score=0.0).predict(scenes(3)), strict=True
    ):
        assert unmatched(expected, got) == unmatched(got, expected) == 0
        seen += int((got["scores"] > 0.5).sum())
    assert seen > 0


def test_boxes_are_in_pixels_of_the_frame_given_and_unsure_ones_are_left_out(detector):
    model, path = detector
    large = scenes(2, (256, 480))
    small = large.float().unflatten(2, (128, 2)).unflatten(4, (160, 3)).mean((3, 5)).add(0.5).floor().byte()
    found = frames.OnnxFrames(path, colour="bgr").predict(large)
    seen = 0
    for expected, got in zip(predict(model, small), found, strict=True):
        sure = {name: value[expected["scores"] >= 0.5] for name, value in expected.items()}
        sure["boxes"] = sure["boxes"] * torch.tensor([3.0, 2.0, 3.0, 2.0])
        assert len(sure["scores"]) == len(got["scores"])
        assert unmatched(sure, got) == 0
        seen += len(got["scores"])
    assert seen > 0


def test_no_proposal_at_all_is_no_detection(tmp_path):
    """ONNX Runtime refuses to give nothing a shape that is to be guessed."""
    model = load_pretrained("fasterrcnn-tiny-m3")
    path, outputs = tmp_path / "m.onnx", ("boxes", "labels", "scores")
    write_onnx(SingleFrame(model), (scenes(1)[0] / 255,), path, inputs=("image",), outputs=outputs)
    boxes, labels, scores = open_session(path).run(None, {"image": np.full((3, *SIZE), np.nan, np.float32)})
    assert (boxes.shape, labels.shape, scores.shape) == ((0, 4), (0,), (0,))


def test_floats_of_0_to_255_and_what_is_no_number_are_made_good():
    image = torch.rand(3, 8, 8)
    assert torch.equal(made_good(image), image)
    assert torch.allclose(made_good(image * 255), image)
    image[0, 0, 0], image[1, 1, 1], image[2, 2, 2] = torch.nan, torch.inf, -torch.inf
    assert made_good(image)[[0, 1, 2], [0, 1, 2], [0, 1, 2]].tolist() == [0.0, 0.0, 0.0]
    assert torch.equal(made_good(image)[0, 1:], image[0, 1:])
