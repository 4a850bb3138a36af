"""Scores against hand-made truth, and every form of output."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.zoo import open_model
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.studies.data.dataset import given_data
from nestevo_hw.studies.data.feeding import feed_for
from nestevo_hw.studies.data.outputs import class_scores, detections
from nestevo_hw.studies.data.scores import accuracy, doubt, hits, precision
from nestevo_hw.studies.noise.evaluation import labelled_task
from nestevo_hw.tasks.metrics import mean_average_precision

SCORES = torch.tensor(
    [
        [0.0, 0.9, 0.1, 0.2, 0.3, 0.4, 0.5],  # best: 1, then 6, 5, 4, 3; left out: 2 and 0
        [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1],  # best: 0 to 4
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],  # best: 6 to 2
        [float("nan")] * 7,
    ]
)


def test_top_1_and_top_5_by_hand():
    labels = torch.tensor([1, 4, 1, 0])
    assert hits(SCORES, labels, 1).tolist() == [True, False, False, False]
    assert hits(SCORES, labels, 5).tolist() == [True, True, False, False]
    assert hits(SCORES, torch.tensor([2, 5, 2, 6]), 5).tolist() == [False, False, True, False]


def _data(labels, features=None, **options):
    x = torch.eye(7)[torch.tensor(labels)] if features is None else features
    return given_data(x, labels, **options)


def test_accuracy_of_a_model_that_is_right_about_some_classes():
    labels = [0, 1, 2, 3, 4, 5, 6] * 20
    data = _data(labels)
    wrong = nn.Linear(7, 7, bias=False)
    with torch.no_grad():
        wrong.weight.copy_(torch.eye(7))
        wrong.weight[3] = -1.0  # class 3 is always last
        wrong.weight[:3, 3] = torch.tensor([3.0, 2.0, 1.0])  # and never in the first five of its own samples
        wrong.weight[4:, 3] = torch.tensor([0.5, 0.4, 0.3])
    metrics, measure, classes = accuracy("m", wrong, feed_for("m", wrong, data))
    share = 1 - data.scored.targets.count(3) / len(data.scored)
    assert (metrics, classes) == (("top1", "top5"), 7)
    assert measure(wrong)["all"] == {"top1": pytest.approx(share), "top5": pytest.approx(share)}
    few = nn.Linear(7, 3)
    assert accuracy("m", few, feed_for("m", few, _data([0, 1, 2] * 5)))[0] == ("top1",)


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap, self.inner = wrap, nn.Linear(7, 7)

    def forward(self, x):
        return self.wrap(self.inner(x))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: {"logits": y},
        lambda y: {"features": torch.zeros(len(y), 3), "logits": y},
        lambda y: (y, {"loss": torch.tensor(1.0)}),
        lambda y: [torch.zeros(()), y],
        lambda y: y[:, :, None, None],
    ],
)
def test_class_scores_in_any_wrapping(wrap):
    torch.manual_seed(0)
    model = Wrapped(wrap)
    plain = nn.Sequential(model.inner)
    data = _data([0, 1, 2, 3, 4, 5, 6] * 4)
    expected = accuracy("m", plain, feed_for("m", plain, data))[1](plain)
    assert accuracy("m", model, feed_for("m", model, data))[1](model) == expected


@pytest.mark.parametrize("output", [torch.zeros(4, 1), torch.zeros(3, 5), {"a": 1}, "x", SimpleNamespace(), []])
def test_what_are_no_class_scores(output):
    with pytest.raises(InputError, match=r"expected class scores \(4, classes\) from the model but got") as caught:
        class_scores(output, 4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 9] * 5, "labels go up to 9, but the model gives scores of 7 classes, 0 to 6"), ([0, 1] * 5, None)],
)
def test_labels_that_the_model_does_not_know(labels, message):
    data = given_data(torch.zeros(10, 7), labels)
    if message is None:
        assert labelled_task("m", nn.Linear(7, 7), data).classes == 7
        return
    with pytest.raises(InputError, match=message):
        labelled_task("m", nn.Linear(7, 7), data)


FOUND = {
    "boxes": torch.tensor([[0.0, 0, 4, 4], [1, 1, 5, 5], [2, 2, 2, 6]]),
    "scores": torch.tensor([0.9, 0.5, 0.4]),
    "labels": torch.tensor([1, 2, 1]),
}
ROWS = torch.tensor([[0.0, 0, 4, 4, 0.9, 0], [1, 1, 5, 5, 0.5, 1], [2, 2, 2, 6, 0.4, 0], [0, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize(
    "output",
    [
        [FOUND, FOUND],
        ([FOUND, FOUND], {}),
        {key: torch.stack([value, value]) for key, value in FOUND.items()},
        torch.stack([ROWS, ROWS]),
        [ROWS, ROWS],
        (torch.stack([ROWS, ROWS]), torch.zeros(3)),
    ],
)
def test_detections_in_any_form(output):
    for one in detections(output, 2):
        assert one["labels"].tolist() == [1, 2]  # a box without width and rows that only fill up are none
        assert one["boxes"].tolist() == [[0, 0, 4, 4], [1, 1, 5, 5]]
        assert one["scores"].tolist() == pytest.approx([0.9, 0.5])


def test_numbers_of_the_first_class():
    assert detections([ROWS], 1, first_class=1)[0]["labels"].tolist() == [1]  # 0 is background then
    assert detections([FOUND], 1, first_class=0)[0]["labels"].tolist() == [2, 3]


@pytest.mark.parametrize("output", [torch.zeros(2, 5), torch.zeros(2, 8400, 85), [torch.zeros(3)], {"a": 1}, None])
def test_what_are_no_detections(output):
    with pytest.raises(InputError, match="expected detections of 2 frames from the model but got"):
        detections(output, 2)


class Painter(nn.Module):
    """Finds the bright rectangle of each frame, in one of the forms detectors have."""

    def __init__(self, form, shift=0):
        super().__init__()
        self.form, self.shift, self.layer = form, shift, nn.Conv2d(3, 1, 1)

    def forward(self, images):
        if self.form == "list":
            assert isinstance(images, list)
        else:
            assert isinstance(images, torch.Tensor)
        rows = []
        for image in images:
            y, x = torch.nonzero(image[0] > 0.5, as_tuple=True)
            box = [int(x.min()) + self.shift, int(y.min()), int(x.max()) + 1 + self.shift, int(y.max()) + 1]
            rows.append(torch.tensor([[*map(float, box), 0.8, 0.0]]))
        if self.form == "rows":
            return torch.stack(rows)
        return [{"boxes": r[:, :4], "scores": r[:, 4], "labels": r[:, 5].long() + 1} for r in rows]


def _frames(count=20):
    images, labels = torch.zeros(count, 3, 24, 32), []
    for i in range(count):
        x, y = i % 8, i % 5
        images[i, :, y : y + 10, x : x + 12] = 1
        labels.append({"boxes": [[x, y, x + 12, y + 10]], "labels": [1]})
    return images, labels


@pytest.mark.parametrize("form", ["list", "tensor", "rows"])
def test_precision_is_that_of_the_scorer_of_the_loop(form):
    data = given_data(*_frames())
    model = Painter(form)
    metrics, measure, _ = precision("m", model, feed_for("m", model, data))
    assert metrics == ("map50", "map75", "map")
    assert list(measure(model)["all"].values()) == [1.0, 1.0, 1.0]
    shifted = measure(Painter(form, shift=2))["all"]  # IoU 10 / 14 = 0.71
    assert (shifted["map50"], shifted["map75"]) == (1.0, 0.0)
    found = [{"boxes": t.boxes + torch.tensor([2.0, 0, 2, 0]), "labels": t.labels, "scores": torch.tensor([0.8])}
             for t in data.scored.targets]  # fmt: skip
    assert shifted["map"] == pytest.approx(mean_average_precision(found, data.scored.targets, 1).map)


def test_frames_without_objects_cannot_be_scored():
    images, labels = torch.zeros(10, 3, 8, 8), [{"boxes": [], "labels": []}] * 10
    model = nn.Conv2d(3, 3, 1)
    model.forward = lambda x: torch.zeros(len(x), 4, 6)
    data = given_data(images, labels)
    assert all(isinstance(target, Annotation) for target in data.scored.targets)
    with pytest.raises(InputError, match="no object in the 8 scored frames; use more --frames"):
        precision("m", model, feed_for("m", model, data))


class FixedBatch(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(7, 7)

    def forward(self, x):
        assert x.shape == (4, 7)
        return self.inner(x)


def test_a_model_of_one_batch_size():
    torch.manual_seed(0)
    model, labels = FixedBatch(), [0, 1, 2, 3, 4, 5, 6] * 4
    x = torch.eye(7)[torch.tensor(labels)]
    free = accuracy("m", model.inner, feed_for("m", model.inner, given_data(x, labels)))[1](model.inner)
    with pytest.raises(InputError, match=r"m does not run on inputs of shape .*see .*--batch"):
        feed_for("m", model, given_data(x, labels))
    data = replace(given_data(x, labels), batch=4, fixed=True)
    assert accuracy("m", model, feed_for("m", model, data))[1](model) == free


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(7, 7)

    def forward(self, x, scale):
        return self.inner(x) * scale


def test_several_inputs_go_by_their_names():
    torch.manual_seed(0)
    model, labels = Two(), [0, 1, 2, 3, 4, 5, 6] * 3
    x = torch.eye(7)[torch.tensor(labels)]
    expected = accuracy("m", model.inner, feed_for("m", model.inner, given_data(x, labels)))[1](model.inner)
    data = given_data({"scale": torch.full((21, 1), 2.0), "x": x}, labels)
    assert labelled_task("m", model, data).measure(model) == expected


def test_several_inputs_of_an_onnx_file(tmp_path):
    torch.manual_seed(0)
    model, labels = Two().eval(), [0, 1, 2, 3, 4, 5, 6] * 3
    example = {"x": torch.rand(2, 7), "scale": torch.rand(2, 1)}
    path = tmp_path / "two.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (example["x"], example["scale"]), str(path), input_names=["x", "scale"], dynamo=False,
                          opset_version=17, dynamic_axes={"x": {0: "n"}, "scale": {0: "n"}})  # fmt: skip
    imported = open_model(str(path)).model
    x = torch.eye(7)[torch.tensor(labels)]
    data = given_data({"scale": torch.full((21, 1), 2.0), "x": x}, labels)
    assert labelled_task("m", imported, data).measure(imported) == labelled_task("m", model, data).measure(model)


def test_doubt_is_said_where_the_digital_model_guesses():
    assert "guessing among 10 classes gives 0.100" in doubt("top1", 0.12, 10)
    assert doubt("top1", 0.3, 10) == doubt("map50", 0.2, None) == doubt("top1_agreement", 0.0, None) == ""
    assert "finds next to nothing" in doubt("map50", 0.0, None)


@pytest.mark.parametrize(("share", "said"), [(0.94, False), (0.95, True), (1.0, True), (None, False)])
def test_agreement_on_one_class_is_doubted(share, said):
    told = doubt("top1_agreement", 1.0, None, share)
    assert bool(told) == said
    assert not said or told.startswith(f"the digital model names one class for {share:.0%} of the frames, so agreement")


def test_scores_that_are_not_finite_are_refused():
    data = _data([0, 1, 2] * 5)
    model = nn.Linear(7, 3)
    nn.init.constant_(model.bias, float("inf"))
    with pytest.raises(InputError, match=r"^m: the model's own outputs are not finite"):
        accuracy("m", model, feed_for("m", model, data))
